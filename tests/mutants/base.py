"""Mutants of this room: clock, disk, and what wraps a store."""

from __future__ import annotations

from tests.mutants.catalogue import Mutant

MUTANTS: list[Mutant] = []
