"""The tree of the rows of a row file, made beside it by the job that writes them, for the copies on that machine (ADR 0059).

Which trees a machine has, LMDB's or the simulator's model of them, its maker knows. What keeps a tree from being made keeps nothing else: the rows are there, and why there is no tree is said.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from scrubjay.base.env import Disk
from scrubjay.base.errors import ScrubjayError
from scrubjay.base.ids import uuid_bytes
from scrubjay.storage.btree.engine import Row, TreeFile

FOLDER = "tmp/trees"
"""Below the data folder: a folder for each tree, named by its partition. What lies here is scratch: no life of a process goes by what an earlier one left."""


class TreeMaker(Protocol):
    """One tree on its way. Every call may raise DiskFull, Unavailable, Exhausted."""

    def add(self, rows: Sequence[Row], hashes: Sequence[int]) -> None:
        """The next rows in key order, and the hash of each. Raises Corrupt (a key that no tree can hold)."""
        ...

    def finish(self, lo: bytes, hi: bytes | None) -> TreeFile:
        """Read back, every row of it. lo, hi: the partition's range. Raises Corrupt."""
        ...

    def close(self) -> None:
        """May be called again. A tree that did not finish is gone then."""
        ...


class TreesHere(NamedTuple):
    """Jobs run on this machine, and so do copies. maker: "package.module:function", which makes a TreeMaker of (disk, folder, partition as 16 raw bytes). root: in front of `FOLDER`
    where the maker names folders of the machine; "": it names those of the jobs' disk."""

    maker: str
    root: str

    def asked(self, partition: str, lo: str, hi: str) -> dict[str, Any]:
        """What a job is told that is to make the tree of a partition's rows. lo, hi: as `PartitionInfo` has them."""
        return {"maker": self.maker, "folder": f"{self.root}{folder_of(partition)}", "partition": partition, "lo": lo, "hi": hi}


def folder_of(partition: str) -> str:
    """Where its tree lies, below the data folder."""
    return f"{FOLDER}/{partition}"


class TreeBeside:
    """asked: of `TreesHere.asked`, None: no tree is wanted. Use: `add` as rows are written, `finish` once, `close` whatever came of it."""

    def __init__(self, disk: Disk, asked: Mapping[str, Any] | None) -> None:
        self._asked = asked
        self._why = ""
        self._tree: TreeMaker | None = None
        if asked is not None:
            module, _, name = asked["maker"].partition(":")
            make = getattr(importlib.import_module(module), name)
            try:
                self._tree = make(disk, asked["folder"], uuid_bytes(asked["partition"]))
            except ScrubjayError as error:
                self._fails(error)

    @property
    def wanted(self) -> bool:
        return self._asked is not None

    def add(self, rows: Sequence[Row], hashes: Sequence[int]) -> None:
        if self._tree is not None:
            try:
                self._tree.add(rows, hashes)
            except ScrubjayError as error:
                self._fails(error)

    def finish(self) -> dict[str, Any]:
        """For the job's answer: tree (the fields of `TreeFile`, None: there is none) and treeless (why); nothing if none was wanted."""
        if self._asked is None:
            return {}
        made = None
        if self._tree is not None:
            try:
                made = list(self._tree.finish(bytes.fromhex(self._asked["lo"]), bytes.fromhex(self._asked["hi"]) or None))
            except ScrubjayError as error:
                self._fails(error)
        return {"tree": made, "treeless": self._why}

    def close(self) -> None:
        if self._tree is not None:
            self._tree.close()

    def _fails(self, error: ScrubjayError) -> None:
        self._why = str(error)
        self.close()
        self._tree = None


def taken_out(answer: dict[str, Any]) -> tuple[TreeFile | None, str]:
    """What `TreeBeside.finish` put into an answer, which has it no longer."""
    made, why = answer.pop("tree", None), answer.pop("treeless", "")
    return None if made is None else TreeFile(*made), why
