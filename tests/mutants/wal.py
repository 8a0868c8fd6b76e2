"""Mutants of this room: wal."""

from __future__ import annotations

from tests.mutants.catalogue import Mutant

MUTANTS: list[Mutant] = []
