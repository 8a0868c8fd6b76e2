"""Mutants of this room: archiver."""

from __future__ import annotations

from tests.mutants.catalogue import Mutant

MUTANTS: list[Mutant] = []
