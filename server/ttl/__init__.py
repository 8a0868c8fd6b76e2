"""Time to live, carried out: the process that works walks over the tables that have one, and has the leaders take away what is over (ADR 0070)."""
