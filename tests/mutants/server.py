"""Mutants of this room: what is wrong and who is told."""

from __future__ import annotations

from tests.mutants.catalogue import Mutant

MUTANTS: list[Mutant] = []
