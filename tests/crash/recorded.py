"""Power loss by recorded writes: processes run under strace, and what a disk may hold after a cut is built from its writes and syncs.

The model is harsher than a journalling file system. A write is durable by `fdatasync` or `fsync` of its file, or at once through a descriptor opened
with O_DSYNC. A directory's entries are durable by `fsync` of that directory; what is not synced is kept per directory up to any point, in order.
Unsynced writes are lost or kept each by itself, in units of a page or (torn) of a sector. A file is as long as its last kept byte.
"""

from __future__ import annotations

import random
import re
import shutil
import subprocess
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from tests.fixtures.require import unavailable

PAGE = 4096
SECTOR = 512
CALLS = "openat,open,close,mkdir,rename,unlink,unlinkat,rmdir,lseek,write,pwrite64,writev,pwritev,pwritev2,ftruncate,fdatasync,fsync,msync"
SAMPLE = 5
"""Images of one sort at most at one point."""
_LINE = re.compile(r"^(\w+)\((.*)\)\s+= (-?\d+|\?)")
_BEGUN = re.compile(r"^(\w+\(.*) <unfinished \.\.\.>$")
_DONE = re.compile(r"^<\.\.\. \w+ resumed>(.*)$")
_WRITES = ("write", "pwrite64", "writev", "pwritev", "pwritev2")
_NAMING = ("open", "openat", "mkdir", "rename", "unlink", "unlinkat", "rmdir")
_STRING = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')


class Data(NamedTuple):
    """Bytes of a file that are not durable yet."""

    file: int
    offset: int
    data: bytes


class Entry(NamedTuple):
    """A directory's entry `name` is now `node` (None: gone)."""

    folder: int
    name: str
    node: int | None


class Move(NamedTuple):
    folder: int
    source: str
    target: str


class Sync(NamedTuple):
    """Everything before that belongs to this file or directory is durable. call: fdatasync, fsync, O_DSYNC (then only the write before it)."""

    node: int
    call: str


class Ack(NamedTuple):
    """A step was answered."""


Pending = Data | Entry | Move
Event = Pending | Sync | Ack


def strace(arguments: Sequence[str], trace: Path, *, cwd: Path, threads: bool = False, killed_at: tuple[str, int] | None = None) -> None:
    """Run `arguments` and leave their trace. Skips the test where strace cannot be had. killed_at: SIGKILL at the n-th of this call in a thread."""
    program = shutil.which("strace")
    if program is None:
        unavailable("strace", "not installed (Debian: apt-get install strace)")
    options = ["-f"] if threads else []
    if killed_at is not None:
        options += ["-e", f"inject={killed_at[0]}:signal=KILL:when={killed_at[1]}"]
    options += ["-qq", "-xx", "-y", "-s", str(1 << 24), "-e", f"trace={CALLS}", "-e", "signal=none", "-o", str(trace)]
    command = [program, *options, *arguments]
    result = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=60)
    if "Operation not permitted" in result.stderr and "trac" in result.stderr.lower():
        unavailable("strace", result.stderr.strip().splitlines()[0])
    assert result.returncode == (0 if killed_at is None else -9), result.stderr


def _text(escaped: str) -> bytes:
    return bytes.fromhex(escaped.replace("\\x", ""))


def _data(arguments: str) -> bytes:
    """The bytes that a call writes."""
    return b"".join(_text(part) for part in _STRING.findall(re.sub(r"<[^>]*>", "", arguments)))


class Call(NamedTuple):
    """result: None where the process died before the kernel had answered: then nobody knows from the trace whether it was carried out."""

    name: str
    arguments: str
    result: int | None


def calls(lines: Iterable[str]) -> list[Call]:
    """The calls of one trace that were carried out, or may have been. Threads: a write counts from its beginning, and so does a close, whose number another may be given
    before it returns; anything else from its end.

    What was in flight when the process died comes last, names before contents. Raises AssertionError for a write that failed.
    """
    found: list[Call | None] = []
    begun: dict[str, tuple[str, int]] = {}
    for numbered in lines:
        thread, _, line = numbered.partition(" ") if numbered[:1].isdigit() else ("", "", numbered)
        line = line.lstrip()
        if (half := _BEGUN.match(line)) is not None:
            begun[thread] = (half[1], len(found))
            found.append(None)
            continue
        at = len(found)
        if (rest := _DONE.match(line)) is not None:
            start, at = begun.pop(thread)
            line = start + rest[1]
        if (whole := _LINE.match(line)) is None:
            continue
        call = Call(whole[1], whole[2], None if whole[3] == "?" else int(whole[3]))
        if call.name in _WRITES:
            assert call.result is None or call.result >= 0, f"a write failed: {line[-80:]}"
            found[at : at + 1] = [call]
        elif call.name == "close" and call.result is not None:
            found[at : at + 1] = [call]
        elif call.result is None or call.result >= 0:
            found.append(call)
    for start, _ in begun.values():
        name, _, arguments = start.partition("(")
        found.append(Call(name, arguments, None))
    answered = [call for call in found if call is not None and call.result is not None]
    in_flight = [call for call in found if call is not None and call.result is None]
    return answered + sorted(in_flight, key=lambda call: call.name not in _NAMING)


class Life(NamedTuple):
    """trace: of one process. left: the folder as that process left it; it decides about the calls that were in flight when the process died."""

    trace: Path
    left: Path


class Recording:
    """The events below `root` of processes that ran one after another. Nodes are numbers; 0 is `root`. Calls it does not know are an error, not a hole.

    What a killed process wrote is pending still: as much of it as the folder holds that it left.
    """

    def __init__(self, lives: Sequence[Life], root: Path, acks: Path) -> None:
        self.events: list[Event] = []
        self.folders = {0}
        self._root = str(root)
        self._acks = str(acks)
        self._answers = acks.read_bytes()
        self._answered = 0
        self._names: dict[int, dict[str, int]] = {0: {}}
        self._open: dict[int, int] = {}
        self._direct: set[int] = set()
        self._ack_descriptors: set[int] = set()
        self._at: dict[int, int] = {}
        self._sizes: Counter[int] = Counter()
        for life in lives:
            for known in (self._open, self._at):
                known.clear()
            self._direct.clear()
            self._ack_descriptors.clear()
            for call in calls(life.trace.read_text().splitlines()):
                if call.result is None:
                    self._in_flight(call.name, call.arguments, life.left)
                else:
                    self._call(call.name, call.arguments, call.result)

    def _in_flight(self, call: str, arguments: str, left: Path) -> None:
        """A call that nobody heard the answer of: what it changed is what the folder shows. No sync: none was told."""
        if call in _NAMING:
            at = 1 if call == "rename" else 0
            places = [self._place(path) for path in self._paths(arguments)]
            if (place := places[0]) is None or len(places) <= at:
                return
            here = (left / self._path(place[0]) / place[1]).exists()
            known = place[1] in self._names[place[0]]
            if call in ("open", "openat"):
                if here and not known:
                    self._new(place, folder=False)
            elif here == (call == "mkdir"):
                self._name(call, arguments)
            return
        number = re.match(r"\d+", arguments)
        assert number is not None, f"a map was synced: {call}({arguments[:80]}"
        descriptor = int(number[0])
        if descriptor in self._ack_descriptors:
            data = _data(arguments)
            if self._answers[self._answered :].startswith(data):
                self._acked(data)
        elif (node := self._open.get(descriptor)) is not None and call in (*_WRITES, "ftruncate"):
            if not (path := self._path(node)):
                return
            content = (left / path).read_bytes()
            if call == "ftruncate":
                length = int(arguments.rpartition(",")[2])
                if self._sizes[node] < length <= len(content):
                    self._write(node, length, b"")
                return
            offset = self._offset(call, descriptor, arguments)
            self._write(node, offset, content[offset : offset + len(_data(arguments))])

    def _acked(self, data: bytes) -> None:
        self._answered += len(data)
        self.events.append(Ack())

    def _call(self, call: str, arguments: str, result: int) -> None:
        if call in ("open", "openat"):
            self._opened(arguments, result)
            return
        if call in ("mkdir", "rename", "unlink", "rmdir", "unlinkat"):
            self._name(call, arguments)
            return
        number = re.match(r"\d+", arguments)
        if number is None:
            assert call == "msync", f"{call}({arguments[:80]}"
            raise AssertionError("a map was synced: writes through maps are not recorded")
        descriptor = int(number[0])
        if call == "close":
            for known in (self._open, self._at):
                known.pop(descriptor, None)
            self._direct.discard(descriptor)
            self._ack_descriptors.discard(descriptor)
        elif descriptor in self._ack_descriptors:
            assert call == "write"
            self._acked(_data(arguments))
        elif descriptor in self._open:
            self._on_file(call, descriptor, arguments, result)

    def _on_file(self, call: str, descriptor: int, arguments: str, result: int) -> None:
        node = self._open[descriptor]
        if call == "lseek":
            self._at[descriptor] = result
        elif call in ("fdatasync", "fsync"):
            self.events.append(Sync(node, call))
        elif call == "ftruncate":
            length = int(arguments.rpartition(",")[2])
            assert length >= self._sizes[node], "a file was cut: not modelled"
            self._write(node, length, b"")
        else:
            data = _data(arguments)
            assert result == len(data), f"{call} wrote {result} bytes of {len(data)}"
            offset = self._offset(call, descriptor, arguments)
            if call in ("write", "writev"):
                self._at[descriptor] = offset + len(data)
            self._write(node, offset, data)
            if descriptor in self._direct:
                self.events.append(Sync(node, "O_DSYNC"))

    def _offset(self, call: str, descriptor: int, arguments: str) -> int:
        if call in ("pwrite64", "pwritev", "pwritev2"):
            return int(arguments.split(",")[-2 if call == "pwritev2" else -1])
        return self._at.get(descriptor, 0)

    def _write(self, node: int, offset: int, data: bytes) -> None:
        self._sizes[node] = max(self._sizes[node], offset + len(data))
        self.events.append(Data(node, offset, data))

    def _path(self, node: int) -> str:
        """Below `root`, by the names that are known now; "" for `root` and for what has no name any more."""
        for folder, names in self._names.items():
            for name, child in names.items():
                if child == node:
                    return f"{self._path(folder)}/{name}".lstrip("/")
        return ""

    def _paths(self, arguments: str) -> list[str]:
        """The paths a call names, below `root`; others are None."""
        base = re.match(r"(?:AT_FDCWD|\d+)<([^>]*)>, ", arguments)
        names = [_text(part).decode() for part in _STRING.findall(re.sub(r"<[^>]*>", "", arguments))]
        folder = _text(base[1]).decode() if base else ""
        return [name if name.startswith("/") else f"{folder}/{name}" for name in names]

    def _place(self, path: str) -> tuple[int, str] | None:
        """The folder and name of a path below `root`."""
        if not path.startswith(self._root + "/"):
            return None
        *above, name = path[len(self._root) + 1 :].split("/")
        folder = 0
        for part in above:
            folder = self._names[folder][part]
        return folder, name

    def _new(self, place: tuple[int, str], *, folder: bool) -> int:
        node = len(self._names)
        self._names[node] = {}
        if folder:
            self.folders.add(node)
        self._names[place[0]][place[1]] = node
        self.events.append(Entry(place[0], place[1], node))
        return node

    def _opened(self, arguments: str, descriptor: int) -> None:
        (path,) = self._paths(arguments)
        self._at[descriptor] = 0
        if path == self._acks:
            self._ack_descriptors.add(descriptor)
            return
        if path == self._root:
            self._open[descriptor] = 0
            return
        place = self._place(path)
        if place is None:
            return
        node = self._names[place[0]].get(place[1])
        if node is None:
            node = self._new(place, folder=False)
        else:
            assert re.search("O_TRUNC|O_APPEND", arguments) is None, arguments
        self._open[descriptor] = node
        if "O_DSYNC" in arguments or "O_SYNC" in arguments:
            self._direct.add(descriptor)

    def _name(self, call: str, arguments: str) -> None:
        places = [self._place(path) for path in self._paths(arguments)]
        if None in places:
            assert not any(places), f"{call} across the folder's edge"
            return
        source = places[0]
        assert source is not None
        names = self._names[source[0]]
        if call == "mkdir":
            self._new(source, folder=True)
        elif call == "rename":
            target = places[1]
            assert target is not None
            assert target[0] == source[0], "renamed between folders"
            names[target[1]] = names.pop(source[1])
            self.events.append(Move(source[0], source[1], target[1]))
        else:
            del names[source[1]]
            self.events.append(Entry(source[0], source[1], None))


class Image:
    """What a disk holds. Files are byte strings by node, folders are names by node."""

    def __init__(self, folders: set[int]) -> None:
        self._folders = folders
        self.files: dict[int, bytearray] = {}
        self.names: dict[int, dict[str, int]] = {}

    def copy(self) -> Image:
        other = Image(self._folders)
        other.files = {node: bytearray(data) for node, data in self.files.items()}
        other.names = {node: dict(names) for node, names in self.names.items()}
        return other

    def apply(self, event: Pending) -> None:
        match event:
            case Data(file, offset, data):
                content = self.files.setdefault(file, bytearray())
                content.extend(bytes(max(0, offset + len(data) - len(content))))
                content[offset : offset + len(data)] = data
            case Entry(folder, name, None):
                self.names.setdefault(folder, {}).pop(name, None)
            case Entry(folder, name, node):
                assert node is not None
                self.names.setdefault(folder, {})[name] = node
            case Move(folder, source, target):
                names = self.names.setdefault(folder, {})
                names[target] = names.pop(source)

    def write(self, path: Path, node: int = 0) -> None:
        """As files below `path`, which must not be there."""
        if node not in self._folders:
            path.write_bytes(self.files.get(node, b""))
            return
        path.mkdir()
        for name, child in self.names.get(node, {}).items():
            self.write(path / name, child)

    def listed(self, folder: str) -> dict[str, bytes]:
        """The files of a folder right below the root, by name."""
        node = self.names.get(0, {}).get(folder)
        return {name: bytes(self.files.get(child, b"")) for name, child in self.names.get(node, {}).items()} if node is not None else {}


def everything(recording: Recording) -> Image:
    """What the folder holds in the end, by what was recorded: compared with the folder itself, it shows a call that was not recorded."""
    image = Image(recording.folders)
    for event in recording.events:
        if isinstance(event, Data | Entry | Move):
            image.apply(event)
    return image


class Cut(NamedTuple):
    """One image: acknowledged: steps answered before the power went. what: how it was made, for a person."""

    acknowledged: int
    what: str
    image: Image


def units(pending: Iterable[Pending], size: int) -> list[Pending]:
    """Writes cut at multiples of `size`."""
    parts: list[Pending] = []
    for event in pending:
        if not isinstance(event, Data) or not event.data:
            parts.append(event)
            continue
        at = 0
        while at < len(event.data):
            end = min(len(event.data), at + size - (event.offset + at) % size)
            parts.append(Data(event.file, event.offset + at, event.data[at:end]))
            at = end
    return parts


def _some(durable: Image, parts: Sequence[Pending], rand: random.Random, share: float) -> Image:
    """A random choice: each write by itself, each folder's entries up to some point."""
    counts = Counter(event.folder for event in parts if not isinstance(event, Data))
    left = {folder: rand.randint(0, count) for folder, count in counts.items()}
    image = durable.copy()
    for event in parts:
        if isinstance(event, Data):
            keep = rand.random() < share
        else:
            left[event.folder] -= 1
            keep = left[event.folder] >= 0
        if keep:
            image.apply(event)
    return image


def _at(durable: Image, pending: Sequence[Pending], acknowledged: int, rand: random.Random, most: int) -> Iterator[Cut]:
    yield Cut(acknowledged, "nothing unsynced", durable.copy())
    pages = units(pending, PAGE)
    if not pages:
        return

    def sample(count: int) -> list[int]:
        return sorted(rand.sample(range(count), min(count, most)))

    image, upto = durable.copy(), 0
    for cut in sorted({*(at + 1 for at in sample(len(pages))), len(pages)}):
        for event in pages[upto:cut]:
            image.apply(event)
        upto = cut
        yield Cut(acknowledged, f"the first {cut} of {len(pages)}", image.copy())
    for missing in sample(len(pages)):
        if isinstance(pages[missing], Data):
            image = durable.copy()
            for number, event in enumerate(pages):
                if number != missing:
                    image.apply(event)
            yield Cut(acknowledged, f"all {len(pages)} but {missing}", image)
    for share in (0.3, 0.8):
        yield Cut(acknowledged, f"some of the pages ({share})", _some(durable, pages, rand, share))
        yield Cut(acknowledged, f"some of the sectors ({share})", _some(durable, units(pending, SECTOR), rand, share))


def cuts(recording: Recording, *, seed: int, deaf: frozenset[str] = frozenset(), sample: int = SAMPLE) -> Iterator[Cut]:
    """All images: one set before each sync, one after each answer. deaf: calls of syncs that do nothing (negative controls). sample: images of one sort at one point."""
    rand = random.Random(seed)
    durable = Image(recording.folders)
    pending: dict[int, list[tuple[int, Pending]]] = defaultdict(list)
    acknowledged = 0
    for number, event in enumerate(recording.events):
        match event:
            case Ack():
                acknowledged += 1
                yield from _at(durable, _ordered(pending), acknowledged, rand, sample)
            case Sync(node, call):
                yield from _at(durable, _ordered(pending), acknowledged, rand, sample)
                if call in deaf:
                    continue
                done = [pending[node].pop()] if call == "O_DSYNC" else pending.pop(node, [])
                if call == "O_DSYNC":
                    pending[node] = [(at, _under(one, done[0][1])) for at, one in pending[node]]
                for _, one in done:
                    durable.apply(one)
            case Data():
                pending[event.file].append((number, event))
            case _:
                pending[event.folder].append((number, event))


def _under(older: Pending, newer: Pending) -> Pending:
    """`older` as it lies in the page cache once `newer` was written over it."""
    assert isinstance(older, Data)
    assert isinstance(newer, Data)
    start, end = max(older.offset, newer.offset), min(older.offset + len(older.data), newer.offset + len(newer.data))
    if start >= end:
        return older
    data = bytearray(older.data)
    data[start - older.offset : end - older.offset] = newer.data[start - newer.offset : end - newer.offset]
    return older._replace(data=bytes(data))


def _ordered(pending: dict[int, list[tuple[int, Pending]]]) -> list[Pending]:
    return [event for _, event in sorted((pair for pairs in pending.values() for pair in pairs), key=lambda pair: pair[0])]
