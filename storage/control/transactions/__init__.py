"""Transactions over several partitions: who coordinates them, where they are decided, and who ends what was left pending (ADR 0072)."""
