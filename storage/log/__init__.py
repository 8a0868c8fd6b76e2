"""The bytes on which everybody agrees: the log record, the state digest, the chain. Pure; imports only base, items and catalogue."""
