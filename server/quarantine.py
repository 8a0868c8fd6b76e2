"""Trees that were set aside as evidence (`nodes/<node>/quarantine/`) leave when what was found in them does: 35 days after a run of retention first saw them.

When that was is kept beside them, in `nodes/<node>/quarantine.json`. A tree whose time is not known, or lies ahead, is taken to be new.
What an open finding names stays until it is closed, however old.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import msgspec

from scrubjay.archiver.expire.plan import KEEP_MAX_US
from scrubjay.base.env import Disk

NODES = "nodes"


class AgedTrees(NamedTuple):
    """trees: that lie there. old: those of them that go, or went: paths below the data folder."""

    trees: int
    old: tuple[str, ...]

    def as_json(self) -> dict[str, object]:
        return {"trees": self.trees, "old": list(self.old)}


def parted(
    names: Sequence[str], seen: Mapping[str, int], *, now_us: int, dated_us: int, kept: Sequence[str] = ()
) -> tuple[list[str], dict[str, int]]:
    """Which of a node's trees go, and since when the others have been seen. dated_us: the time by which things are old, never later than now. kept: that stay. Pure."""
    since = {name: seen[name] if seen.get(name, now_us + 1) <= now_us else now_us for name in names}
    old = [name for name in names if dated_us - since[name] > KEEP_MAX_US and name not in kept]
    return old, {name: at_us for name, at_us in since.items() if name not in old}


class SetAside:
    """Over the data folder of this machine."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk

    def look(self, *, now_us: int, dated_us: int, needed: Collection[str] = ()) -> AgedTrees:
        """Changes nothing."""
        return self._all(now_us, dated_us, needed, act=False)

    def age(self, *, now_us: int, dated_us: int, needed: Collection[str] = ()) -> AgedTrees:
        """Note what is new, remove what is old. needed: trees, by their paths, that stay however old they are. A tree's time is forgotten before it goes: what is
        cut off in between, or bears its name later, is new. Raises DiskFull."""
        return self._all(now_us, dated_us, needed, act=True)

    def _all(self, now_us: int, dated_us: int, needed: Collection[str], *, act: bool) -> AgedTrees:
        trees, gone = 0, []
        for node in self._disk.listdir(NODES):
            place, note = f"{NODES}/{node}/quarantine", f"{NODES}/{node}/quarantine.json"
            names = self._disk.listdir(place)
            trees += len(names)
            # Also where no tree lies: the times of those that somebody moved away are forgotten, for their names come again.
            seen = self._seen(note)
            kept = [name for name in names if f"{place}/{name}" in needed]
            old, since = parted(names, seen, now_us=now_us, dated_us=dated_us, kept=kept)
            gone += [f"{place}/{name}" for name in old]
            if act and since != seen:
                self._disk.write_file(note, msgspec.json.encode(since, order="sorted"))
            if act and old:
                for name in old:
                    self._disk.remove_tree(f"{place}/{name}")
                self._disk.sync_dir(place)
        return AgedTrees(trees, tuple(gone))

    def _seen(self, note: str) -> dict[str, int]:
        """One that cannot be read says nothing."""
        try:
            return msgspec.json.decode(self._disk.read_file(note) or b"{}", type=dict[str, int])
        except msgspec.MsgspecError:
            return {}
