"""Mutants of this room: control."""

from __future__ import annotations

from tests.mutants.catalogue import Mutant

MUTANTS: list[Mutant] = []
