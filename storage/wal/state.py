"""What the WAL knows of one replica: its control state, and where in the files its log records lie. One code for live frames and for recovery.

The log is indexed by extents (a run of LSNs inside one frame body), not by record. A `Body` is the record bytes of one Append frame; several extents may
show parts of it after cuts. A file is free for recycling once no body in it is referenced.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator

from scrubjay.base.env import File
from scrubjay.base.ids import Ballot, Lsn, Member, PartitionId, uuid_bytes
from scrubjay.storage.log.record import Record
from scrubjay.storage.wal.format import PLACE, STAGED, FrameHeader, Type


class WalFile:
    """One file of the log. id: rises with every life of a file. end: where the next batch goes. bodies: referenced bodies in it, in the order they came; live: their bytes.
    size: its bytes. old_name: the name it still has on the disk, if it is to be written under a new one."""

    __slots__ = ("bodies", "end", "handle", "id", "live", "name", "old_name", "size", "stated", "unfit")

    def __init__(self, id_: int, name: str, handle: File, end: int, size: int) -> None:
        self.id = id_
        self.name = name
        self.handle = handle
        self.end = end
        self.old_name = ""
        self.bodies: dict[Body, None] = {}
        self.live = 0
        self.size = size
        self.unfit = False
        """Its marks cannot be read, or it was cut off: it is not written again under any name."""
        self.stated = False
        """Every partition's control state is durable in it, so older files hold nothing but records."""


class Body:
    """The records base..base+count-1 of `state`'s log, `length` bytes at `offset` of `file` (None: still queued). records: kept until the bytes are synced.

    unused(body): called when the last extent that shows it goes.
    """

    __slots__ = ("base", "count", "file", "length", "offset", "records", "refs", "state", "unused")

    def __init__(self, state: LogState, base: int, count: int, length: int, records: tuple[Record, ...] | None = None) -> None:
        self.state = state
        self.base = base
        self.count = count
        self.length = length
        self.records = records
        self.file: WalFile | None = None
        self.offset = 0
        self.refs = 0
        self.unused: Callable[[Body], None] | None = None

    def place(self, file: WalFile, offset: int) -> None:
        self.file, self.offset = file, offset
        if self.refs:
            file.bodies[self] = None
            file.live += self.length

    def hold(self) -> None:
        self.refs += 1
        if self.refs == 1 and self.file is not None:
            self.file.bodies[self] = None
            self.file.live += self.length

    def release(self) -> None:
        self.refs -= 1
        if self.refs:
            return
        if self.file is not None:
            del self.file.bodies[self]
            self.file.live -= self.length
        if self.unused is not None:
            self.unused(self)


class Extent:
    """LSNs [first, end) of `body`."""

    __slots__ = ("body", "end", "first")

    def __init__(self, first: int, end: int, body: Body) -> None:
        self.first = first
        self.end = end
        self.body = body


def _first_of(extent: Extent) -> int:
    return extent.first


def _end_of(extent: Extent) -> int:
    return extent.end


class ExtentMap:
    """Extents in ascending order, never overlapping."""

    __slots__ = ("_extents",)

    def __init__(self) -> None:
        self._extents: list[Extent] = []

    def __iter__(self) -> Iterator[Extent]:
        return iter(self._extents)

    def __len__(self) -> int:
        return len(self._extents)

    def add(self, first: int, end: int, body: Body) -> None:
        """Let [first, end) be found in `body`, in place of whatever showed it before. Touches only what it replaces."""
        if first >= end:
            return
        body.hold()
        if not self._extents or self._extents[-1].end <= first:
            self._extents.append(Extent(first, end, body))
        else:
            self._replace(first, end, [Extent(first, end, body)])

    def drop(self, first: int, end: int) -> None:
        """Let [first, end) be found nowhere."""
        if first < end:
            self._replace(first, end, [])

    def _replace(self, first: int, end: int, new: list[Extent]) -> None:
        extents = self._extents
        start = bisect_right(extents, first, key=_end_of)
        stop = bisect_left(extents, end, lo=start, key=_first_of)
        old = extents[start:stop]
        if old and old[-1].end > end:
            old[-1].body.hold()
            new.append(Extent(end, old[-1].end, old[-1].body))
        if old and old[0].first < first:
            old[0].body.hold()
            new.insert(0, Extent(old[0].first, first, old[0].body))
        for extent in old:
            extent.body.release()
        extents[start:stop] = new

    def over(self, first: int, end: int) -> list[Extent]:
        """The extents that show any of [first, end), ascending."""
        extents = self._extents
        return extents[bisect_right(extents, first, key=_end_of) : bisect_left(extents, end, key=_first_of)]

    def of(self, body: Body) -> list[Extent]:
        """The extents that show records of `body`, ascending."""
        extents = self._extents
        start = bisect_right(extents, body.base, key=_end_of)
        stop = bisect_left(extents, body.base + body.count, lo=start, key=_first_of)
        return [extent for extent in extents[start:stop] if extent.body is body]

    def cut_above(self, last: int) -> None:
        """Forget everything above LSN `last`."""
        extents = self._extents
        while extents and extents[-1].first > last:
            extents.pop().body.release()
        if extents and extents[-1].end > last + 1:
            extents[-1].end = last + 1

    def cut_below(self, first: int) -> None:
        """Forget everything below LSN `first`."""
        extents, gone = self._extents, 0
        while gone < len(extents) and extents[gone].end <= first:
            extents[gone].body.release()
            gone += 1
        if gone:
            del extents[:gone]
        if extents and extents[0].first < first:
            extents[0].first = first

    def clear(self) -> None:
        for extent in self._extents:
            extent.body.release()
        self._extents = []

    def at(self, lsn: int) -> Extent | None:
        """The extent that shows `lsn`."""
        index = bisect_right(self._extents, lsn, key=_first_of) - 1
        if index < 0 or self._extents[index].end <= lsn:
            return None
        return self._extents[index]

    def missing(self, first: int, last: int) -> tuple[tuple[Lsn, Lsn], ...]:
        """Ranges of [first, last], both ends included, that no extent shows."""
        holes: list[tuple[Lsn, Lsn]] = []
        at = first
        for extent in self._extents:
            if extent.first > at:
                holes.append((Lsn(at), Lsn(min(extent.first - 1, last))))
            at = max(at, extent.end)
            if at > last:
                break
        if at <= last:
            holes.append((Lsn(at), Lsn(last)))
        return tuple(holes)


class LogState:
    """One replica. first: lowest LSN kept. last: highest LSN of the log (first - 1: none). nth: number of its newest frame. tree, vote: index into TREES, VOTES.

    doubt: frames of it may have been lost in damage that no later frame has explained yet. partial: its first frames were not seen, and no State frame
    either. amnesia: synced state is lost for good.

    More than 15 fields: all that the frames of one replica say, as recovery reads them and a commit writes them.
    """

    __slots__ = (
        "accepted",
        "amnesia",
        "doubt",
        "extents",
        "first",
        "last",
        "member",
        "nth",
        "owner",
        "partial",
        "partition",
        "promised",
        "raw",
        "resigned",
        "staged",
        "staged_ballot",
        "staged_lost",
        "tree",
        "vote",
    )

    def __init__(self, partition: PartitionId) -> None:
        self.partition = partition
        self.raw = uuid_bytes(partition)
        self.owner = self.raw[:8]
        self.member = 0
        self.promised = 0
        self.accepted = 0
        self.resigned = 0
        self.first = 1
        self.last = 0
        self.nth = 0
        self.tree = 0
        self.vote = 0
        self.extents = ExtentMap()
        self.staged = ExtentMap()
        self.staged_ballot = 0
        self.staged_lost: set[int] = set()
        """Staged records that failed their check: with their adoption they are damaged records of the log."""
        self.doubt = ""
        self.partial = ""
        self.amnesia = ""

    @property
    def member_id(self) -> Member:
        return Member(self.member >> 16, self.member & 0xFFFF)

    def effect(self, kind: Type, flags: int, *, ballot: int, a: int, b: int, bodies: tuple[Body, ...], member: int = 0) -> None:
        """Apply one frame. bodies: where the records of an Append lie, one Body if it is whole, its readable parts in recovery."""
        match kind:
            case Type.APPEND if flags & STAGED:
                if ballot != self.staged_ballot:
                    self._unstage()
                    self.staged_ballot = ballot
                if not flags & PLACE:
                    self.staged.cut_above(a - 1)
                    self.staged_lost = {lsn for lsn in self.staged_lost if lsn < a}
                for body in bodies:
                    self.staged.add(body.base, body.base + body.count, body)
            case Type.APPEND if flags & PLACE:
                for body in bodies:
                    self._show(body, self.last)
            case Type.APPEND:
                self.extents.cut_above(a - 1)
                self.last = a + b - 1
                self.accepted = max(self.accepted, ballot)
                self.promised = max(self.promised, ballot)
                for body in bodies:
                    self._show(body, self.last)
            case Type.ADOPT:
                self._adopt(ballot, a, b)
            case Type.PROMISE:
                self.promised = max(self.promised, ballot)
            case Type.RESIGN:
                self.resigned = max(self.resigned, ballot)
            case Type.TREE:
                self.tree = a
            case Type.VOTE:
                self.vote = a
            case Type.TRIM:
                self.trim(a)
            case Type.STATE:
                self.first = a
                self.extents.cut_below(a)
            case Type.INSTALL:
                self._install(a, ballot)
            case Type.CREATE:
                self._create(a, member, b)
            case _:
                raise AssertionError(kind)

    def _show(self, body: Body, last: int) -> None:
        self.extents.add(max(body.base, self.first), min(body.base + body.count, last + 1), body)

    def _adopt(self, ballot: int, cut_at: int, adopted_last: int) -> None:
        self.extents.cut_above(cut_at)
        if self.staged_ballot == ballot:
            for extent in self.staged:
                self.extents.add(max(extent.first, cut_at + 1, self.first), min(extent.end, adopted_last + 1), extent.body)
        self._unstage()
        self.last = adopted_last
        self.accepted = ballot
        self.promised = max(self.promised, ballot)

    def _install(self, lsn: int, ballot: int) -> None:
        if self.last >= lsn:
            self.trim(lsn + 1)
            return
        self.extents.clear()
        self.first, self.last = lsn + 1, lsn
        self.accepted = max(self.accepted, ballot)
        self.promised = max(self.promised, ballot)

    def _create(self, first: int, member: int, vote: int) -> None:
        self.extents.clear()
        self._unstage()
        self.member = member
        self.promised = self.accepted = self.resigned = self.tree = 0
        self.vote = vote
        self.first, self.last = first, first - 1
        self.doubt = self.partial = self.amnesia = ""

    def _unstage(self) -> None:
        self.staged.clear()
        self.staged_ballot = 0
        self.staged_lost = set()

    def unstaged(self, first: int, last: int) -> bool:
        """Whether some of the records first..last were never staged."""
        return any(lsn not in self.staged_lost for low, high in self.staged.missing(first, last) for lsn in range(low, high + 1))

    def lose(self, lsn: int, body: Body) -> bool:
        """The record `lsn` of `body` fails its check: if the log shows it there (True), it is damaged from now on. One that is only staged keeps no file either."""
        staged = self.staged.at(lsn)
        if staged is not None and staged.body is body:
            self.staged.drop(lsn, lsn + 1)
            self.staged_lost.add(lsn)
        extent = self.extents.at(lsn)
        if extent is None or extent.body is not body:
            return False
        self.extents.drop(lsn, lsn + 1)
        return True

    def trim(self, below: int) -> bool:
        """Records below are not needed. True if that let go of anything."""
        below = min(below, self.last + 1)
        if below <= self.first:
            return False
        self.first = below
        self.extents.cut_below(below)
        return True

    def header(self, kind: Type, flags: int, *, ballot: int = 0, a: int = 0, b: int = 0) -> FrameHeader:
        """The next frame's header: call after `effect`, so that it carries the state behind the frame."""
        self.nth += 1
        return FrameHeader(
            kind,
            flags,
            0,
            0,
            self.raw,
            self.nth,
            ballot,
            a,
            b,
            self.promised,
            self.accepted,
            self.resigned,
            self.last,
            self.member,
            self.tree,
            self.vote,
        )

    def differs(self, header: FrameHeader) -> str:
        """How the state behind a frame differs from what the frame says, or ""."""
        mine = (self.promised, self.accepted, self.resigned, self.last, self.member, self.tree, self.vote)
        said = (header.promised, header.accepted, header.resigned, header.last, header.member, header.tree, header.vote)
        return "" if mine == said else f"after frame {header.nth} the control state is {mine}, the frame says {said}"

    def take_control(self, header: FrameHeader) -> None:
        """Take the control state from a frame, after frames before it were lost."""
        self.promised, self.accepted, self.resigned = header.promised, header.accepted, header.resigned
        self.member, self.tree, self.vote = header.member, header.tree, header.vote

    def ballots(self) -> tuple[Ballot, Ballot, Ballot]:
        return Ballot(self.promised), Ballot(self.accepted), Ballot(self.resigned)
