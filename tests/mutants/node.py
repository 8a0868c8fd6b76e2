"""Mutants of this room: node."""

from __future__ import annotations

from tests.mutants.catalogue import Mutant

MUTANTS: list[Mutant] = []
