"""What is asked of a node about one copy's tree as a whole: heal it, load it, scan it, pin it, keep its log. Values only; no path of a file system.

Row files come in chunks (`Receive`, `RowFileChunk`) and are kept in the node's spool until an errand uses them. What takes long is an *errand*: begun under an id
that the asker chose (`Begin`), asked about until it is over (`Look`), so that no answer that is lost loses the outcome, and an asker that dies leaves nothing
half done. Pins and holds of the log end by themselves if their owner is heard of no more. These are part of the node port (`storage.node.port`), which also has
`Fine`, the answer of those that only say that it is done.
"""

from __future__ import annotations

import msgspec

from scrubjay.base.ids import Lsn, PartitionId, Stamp
from scrubjay.storage.btree.engine import ExpiredItem, RowFact
from scrubjay.storage.catalogue import PartitionInfo, TableMeta
from scrubjay.storage.commands.values import Failure
from scrubjay.storage.log.digest import Total
from scrubjay.storage.log.stated import Stated

NO_TREE = "-"
"""The note of a heal that found nothing to set aside."""
CHUNK_BYTES = (1 << 20) - 4096
"""Of a row file in one message: with what is around it a frame stays below 1 MiB."""
ROOM_LEFT_BYTES = 64 << 20
"""What a row file that comes in leaves free on the disk: the log and the trees need it more."""
LOOK_S = 2.0
"""How long a node keeps a `Look` at an errand about which there is nothing new."""
LEASE_S = 60.0
"""How long the log is held for somebody who is heard of no more."""
RENEW_S = 15.0
"""How often a hold is renewed by who wants it."""
EXPIRED_WAIT_S = 900.0
"""The longest that a page of FindExpired may take: a worker that hangs is waited for no longer, and nothing is pinned longer."""
PAGE_ROWS = 4096
"""Row facts in one answer."""
KEYS_BYTES_MAX = 512 << 10
"""Of the keys in one answer. Rows are told page by page; of rotten keys what exceeds it is not named: their rows are in no digest, so a comparison meets them."""


class Sum(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """`storage.log.digest.Total` as it crosses. sum: 16 bytes, little-endian."""

    sum: bytes
    rows: int

    @classmethod
    def of(cls, total: Total) -> Sum:
        return cls(total.sum.to_bytes(16, "little"), total.rows)

    @property
    def total(self) -> Total:
        return Total(int.from_bytes(self.sum, "little"), self.rows)


# --- errands -------------------------------------------------------------------------------------------------------------------------------


class Heal(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=1):
    """Set the copy's tree aside and make it anew from the row file `spooled` (see `Receiving`): its state at the seal `lsn`, 0: what its log
    begins on. It serves again only if the digest recomputed from the loaded bytes is `total`. archived: how far the log is archived as far as anybody knows. ended: closed stamp of the seal `lsn` if it
    is the log's last, else None. configured: LSN and payload of the last chosen CONFIG as of that seal, or of a later one; LSN 0: there is none.
    stated: what the log said last of its table as of that seal, as far as some copy knows (`storage.log.stated`); None: nothing, or nobody knows.
    split: of a log that a SPLIT ended, its payload; b"": none did, or the seal lies in front of it. born: how the partition began (`storage.log.split.encode_born`), b"": with its table.

    Its note: where the old tree lies now, below the node's folder; NO_TREE if there was none. Answer: Healed. Unavailable: it is healed already, or no heal
    helps; Corrupt: the row file, or the digest.
    """

    partition: PartitionId
    spooled: int
    lsn: Lsn
    stamp: Stamp
    total: Sum
    chain: bytes
    archived: Lsn
    ended: Stamp | None
    reason: str
    configured: tuple[Lsn, bytes] = (Lsn(0), b"")
    stated: Stated | None = None
    split: bytes = b""
    born: bytes = b""


class Load(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=2):
    """Take the row file as the base of a restored table (state at LSN 0) and begin the log, if its digest is `total`. Answer: Loaded."""

    partition: PartitionId
    spooled: int
    total: Sum


class Reread(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=3):
    """Recompute the digest of a copy from its bytes, whatever LSN it is at. Answer: Loaded."""

    partition: PartitionId


class Survey(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=4):
    """Every row of a copy that does not serve which fails its check. Answer: Surveyed."""

    partition: PartitionId


class DigestCopy(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=5):
    """Scan the copy as it is pinned at `lsn`. bytes_per_second: pace, None: as fast as it goes. Answer: DigestScanned."""

    partition: PartitionId
    lsn: Lsn
    bytes_per_second: int | None


class TakeTree(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=6):
    """As Load, of the tree that was made on this machine for every copy of the partition: `storage.btree.engine.TreeFile`. last: no other copy will ask for it.
    Answer: Loaded. Missing: this machine has none; Corrupt: the copy's bytes are others."""

    partition: PartitionId
    size: int
    hash: bytes
    digest: bytes
    item_bytes: int
    last: bool
    total: Sum


class FindExpired(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=7):
    """One page of a copy's items whose time to live is over, of its tree as of the last checkpoint, from the key `start` on. attribute, now_s, rows, found: as
    `storage.btree.engine.ExpiredWanted` has them. rows_per_second: pace, None: as fast as it goes. Answer: ExpiredFound. Unavailable: the copy does not serve."""

    partition: PartitionId
    start: bytes
    attribute: str
    now_s: int
    rows: int
    found: int
    rows_per_second: int | None


class PrepareSplit(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=8):
    """Make the trees of the two partitions that this one is to become, of this node's copy, and follow its log with them. id, cut: of the split, 16 bytes each. left, right: the children as the
    catalogue has them; their members are the parent's. Once the parent's log has ended in that SPLIT, and the trees are whole there, the children's replicas begin. What an earlier life left
    half made is made again. Asked for again under another errand id: it is told how far it is.

    Answer: SplitPrepared. Unavailable: not now, or this copy cannot (field `heal`: it is not there, or does not serve: only with `heal` anything begins here). heal: both children
    serve elsewhere: where there is no copy to make them of, they begin without a tree, and are healed."""

    partition: PartitionId
    table: TableMeta
    id: bytes
    cut: bytes
    left: PartitionInfo
    right: PartitionInfo
    heal: bool = False


class FindCut(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=9):
    """Where a partition would be cut in two halves, by bytes, by the copy's tree as of its last checkpoint. Answer: CutFound. Unavailable: the copy does not serve; Corrupt: a row fails its check."""

    partition: PartitionId


Errand = Heal | Load | TakeTree | Reread | Survey | DigestCopy | FindExpired | PrepareSplit | FindCut


# --- requests ------------------------------------------------------------------------------------------------------------------------------


class Begin(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=40):
    """id: the asker's own, a UUID. Answer: Fine."""

    id: str
    errand: Errand


class Look(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=41):
    """How an errand goes. noted: the note that is known. Answer, as soon as there is something new and after LOOK_S at the latest: Running or Ended;
    Unavailable: this life of the node knows nothing of it."""

    id: str
    noted: str


class Receive(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=42):
    """Make room for a row file of `size` bytes, for a copy. Answer: Receiving."""

    partition: PartitionId
    size: int


class RowFileChunk(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=43):
    """Bytes of a row file from `offset` on. crc: masked CRC-32C of them. Answer: Received. Corrupt: not what was sent. Sent again: no harm."""

    spooled: int
    offset: int
    data: bytes
    crc: int


class Discard(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=44):
    """A row file is not wanted any more. Answer: Fine."""

    spooled: int


class PinCopy(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=45):
    """Pin the copy's tree at exactly the scrub seal `lsn`. Answer: Fine, once it is."""

    partition: PartitionId
    lsn: Lsn
    wait_us: int


class Settle(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=51):
    """Answer: Fine, once nothing works on the copy's tree; Unavailable (field `working`) if something does after LOOK_S still."""

    partition: PartitionId


class PinnedRows(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=46):
    """What a pinned copy holds with start <= key < end, good or not, at most PAGE_ROWS. Answer: RowPage."""

    partition: PartitionId
    lsn: Lsn
    start: bytes
    end: bytes | None


class ReadRow(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=47):
    """The present version of a row, whatever state the copy is in. Answer: FoundRow. Corrupt: it fails its check."""

    partition: PartitionId
    key: bytes
    serving: bool
    """Only from a copy that serves."""


class Unpin(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=48):
    """The pin, and the log that it held, may go. Answer: Fine."""

    partition: PartitionId
    lsn: Lsn


class KeepPin(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=52):
    """Whoever reads a pinned copy is there still: its pin ends `StorageOptions.pin_timeout_us` from now, and at the latest after `storage.replica.checkpoints.PIN_LIFE_US`.
    Answer: Fine; Unavailable (field `pin`): it has ended, or ends now, because the node's log is full or the copy's tree takes no checkpoints."""

    partition: PartitionId
    lsn: Lsn


class Hold(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=49):
    """Keep the log above `lsn` for LEASE_S from now; again: so long from then. lease: the asker's own id, a UUID. Answer: Fine."""

    partition: PartitionId
    lease: str
    lsn: Lsn


class ReleaseHold(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=50):
    """Answer: Fine."""

    partition: PartitionId
    lease: str


class FindIndexRows(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=61):
    """One page of the rows that a global index has for a copy's items, of its tree as of the last checkpoint, from the key `start` on. definition, rows, size: as
    `storage.btree.engine.IndexWanted` has them. Answer: IndexRowsFound. Unavailable: the copy does not serve; Corrupt: a row fails its check."""

    partition: PartitionId
    start: bytes
    definition: bytes
    rows: int
    size: int


class ReadLog(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=60):
    """The records of a copy's log from LSN `first` on, as far as they are applied: at least one, and not many more than `bytes_max` bytes. Answer: LogRead. Missing: the log begins
    behind `first`, what was before is in the archive; Corrupt: the copy's log is damaged there."""

    partition: PartitionId
    first: Lsn
    bytes_max: int


Request = (
    ReadLog
    | Begin
    | Look
    | Receive
    | RowFileChunk
    | Discard
    | PinCopy
    | KeepPin
    | PinnedRows
    | ReadRow
    | Unpin
    | Hold
    | ReleaseHold
    | Settle
    | FindIndexRows
)


# --- answers -------------------------------------------------------------------------------------------------------------------------------


class Receiving(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=41):
    """spooled: the number of the row file in the node's spool."""

    spooled: int


class Received(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=42):
    """upto: bytes of the file that are here, without a gap."""

    upto: int


class Running(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=43):
    """note: what the errand has to say so far."""

    note: str


class Healed(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=44):
    """The copy serves."""


class Loaded(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=45):
    """total: recomputed from the copy's bytes."""

    total: Sum


class Surveyed(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=46):
    """applied: LSN up to which the copy had applied. bad: keys, as found, of rows that fail their check."""

    applied: Lsn
    bad: tuple[bytes, ...]


class DigestScanned(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=47):
    """As `storage.btree.engine.ScanResult`. digest: `RangeDigest.encode()`. lo, hi: the range it is over."""

    digest: bytes
    lo: bytes
    hi: bytes | None
    bad: tuple[bytes, ...]
    structure: tuple[str, ...]
    bytes_read: int


class ExpiredFound(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=51):
    """As `storage.btree.engine.ExpiredPage`. next: where the next page begins, None: that was the end. rows: how many were looked at."""

    found: tuple[ExpiredItem, ...]
    next: bytes | None
    rows: int


class IndexDigestScanned(DigestScanned, array_like=True, frozen=True, gc=False, tag=53):
    """Of a copy that has index rows. entries: as of ScanResult."""

    entries: bytes = b""


NOT_MADE = 1 << 32
"""Of `SplitPrepared.left`: so many at least while the trees are not there."""


class SplitPrepared(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=54):
    """left: records that the parent's copy has applied and the children's trees lack; they go on following. NOT_MADE or more: there are no trees yet. begun: the children's replicas run here, on trees that are whole."""

    left: int
    begun: bool


class CutFound(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=55):
    """cut: the hash of the first partition key that would go right, 16 bytes; b"": all is of one partition key, or nothing is there. left, total: bytes below it, and of all."""

    cut: bytes
    left: int = 0
    total: int = 0


class LogRead(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=60):
    """records: one by one, in order, without a hole; none if nothing from there on is applied. applied, stamp: of the last record that the copy has applied."""

    records: tuple[bytes, ...]
    applied: Lsn
    stamp: Stamp


Outcome = Healed | Loaded | Surveyed | DigestScanned | ExpiredFound | IndexDigestScanned | SplitPrepared | CutFound


class Ended(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=48):
    """An errand is over: one of the two."""

    outcome: Outcome | None
    failure: Failure | None


class Fact(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """`storage.btree.engine.RowFact` as it crosses. hash: 16 bytes, little-endian."""

    key: bytes
    hash: bytes
    lsn: Lsn

    @classmethod
    def of(cls, fact: RowFact) -> Fact:
        return cls(fact.key, fact.hash.to_bytes(16, "little"), fact.lsn)

    @property
    def fact(self) -> RowFact:
        return RowFact(self.key, int.from_bytes(self.hash, "little"), self.lsn)


class RowPage(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=49):
    """more: there are others behind the last one."""

    rows: tuple[Fact, ...]
    more: bool


class FoundRow(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=50):
    """item: canonical bytes; None: there is no such row."""

    item: bytes | None


class IndexRowsFound(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=61):
    """As `storage.btree.engine.IndexPage`. lsn: as of which the tree was."""

    found: tuple[tuple[int, bytes, bytes], ...]
    next: bytes | None
    rows: int
    lsn: Lsn


Answer = Receiving | Received | Running | Ended | RowPage | FoundRow | IndexRowsFound | LogRead


def room_to_split(size: int) -> int:
    """Bytes that a node must have free for the halves of a partition beside it, until its copy goes. size: of its keys and items."""
    return 2 * size + ROOM_LEFT_BYTES  # what is written of each half, and what is made of that
