"""Composition of the server: which parts a process has and how they are wired. Decisions live in the rooms below; here is only the wiring."""
