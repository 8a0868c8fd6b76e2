"""Object keys: every key of the archive is built and parsed here (DESIGN section 6). Keys are relative to the archive's URL.

    <cluster>/identity
    <cluster>/epoch/<n:016x>
    <cluster>/former/<n:016x>                        whose folders are of a former membership, since a lost quorum was recovered
    <cluster>/t=<table>/p=<partition>/log/<first:016x>-<last:016x>.<g>.<raw sha256, 16 hex>.seg | .json
    <cluster>/t=<table>/p=<partition>/base/<lsn:016x>.<g>.<sha256, 16 hex>/manifest.json | rows-<index:06d>
    <cluster>/t=<table>/p=<partition>/expired/<up to lsn:016x>.<g>.json
    <cluster>/closed/<node>/<YYYYMMDDTHHMMSS.ffffffZ>.json
    <cluster>/index/<YYYYMMDD>.<g>.json
    <cluster>/pins/<created, ms, 14 digits>-<8 hex>.json        a backup; whatever else lies below pins/ is of a later version, and holds everything

Numbers have a fixed width, so listing order is number order. Generations start at 1.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from scrubjay.base.errors import Invalid

_UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_NODE = r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}"
_HEX16 = r"[0-9a-f]{16}"
_GENERATION = r"[1-9][0-9]{0,8}"
_TIME = r"[0-9]{8}T[0-9]{6}\.[0-9]{6}Z"

_IDENTITY = re.compile(rf"({_UUID})/identity")
_EPOCH = re.compile(rf"({_UUID})/epoch/({_HEX16})")
_FORMER = re.compile(rf"({_UUID})/former/({_HEX16})")
_SEGMENT = re.compile(rf"({_UUID})/t=({_UUID})/p=({_UUID})/log/({_HEX16})-({_HEX16})\.({_GENERATION})\.({_HEX16})\.(seg|json)")
_BASE = re.compile(rf"({_UUID})/t=({_UUID})/p=({_UUID})/base/({_HEX16})\.({_GENERATION})\.({_HEX16})/(manifest\.json|rows-[0-9]{{6}})")
_EXPIRED = re.compile(rf"({_UUID})/t=({_UUID})/p=({_UUID})/expired/({_HEX16})\.({_GENERATION})\.json")
PIN_ID = re.compile(r"[0-9]{14}-[0-9a-f]{8}")
_PIN = re.compile(rf"({_UUID})/pins/({PIN_ID.pattern})\.json")
_INDEX = re.compile(rf"({_UUID})/index/([0-9]{{8}})\.({_GENERATION})\.json")
_CLOSED = re.compile(rf"({_UUID})/closed/({_NODE})/({_TIME})\.json")

AFTER_ALL = "~"
"""Sorts behind every character of a key: `list(prefix, after=folder + AFTER_ALL)` skips a folder."""
_EPOCH_START = datetime(1970, 1, 1, tzinfo=UTC)


class IdentityKey(NamedTuple):
    cluster: str


class EpochKey(NamedTuple):
    cluster: str
    number: int


class FormerKey(NamedTuple):
    """number: of the recovery of a lost quorum, from 1 on."""

    cluster: str
    number: int


class SegmentKey(NamedTuple):
    """manifest: the `.json` beside the `.seg`. sha16: first 16 hex digits of the raw SHA-256."""

    cluster: str
    table: str
    partition: str
    first: int
    last: int
    generation: int
    sha16: str
    manifest: bool

    def twin(self) -> SegmentKey:
        """The manifest of a segment, the segment of a manifest."""
        return self._replace(manifest=not self.manifest)


class BaseKey(NamedTuple):
    """part: index of a rows object, None for the manifest. sha16: of the whole row file."""

    cluster: str
    table: str
    partition: str
    lsn: int
    generation: int
    sha16: str
    part: int | None

    def folder(self) -> str:
        return f"{partition_prefix(self.cluster, self.table, self.partition)}base/{self.lsn:016x}.{self.generation}.{self.sha16}/"


class ExpiredKey(NamedTuple):
    """lsn: up to which records were taken away."""

    cluster: str
    table: str
    partition: str
    lsn: int
    generation: int


class ClosedKey(NamedTuple):
    """time_us: microseconds since the epoch at which it was published."""

    cluster: str
    node: str
    time_us: int


class PinKey(NamedTuple):
    """id: of the backup, as its ARN ends: milliseconds since the epoch at which it was made, and random bits."""

    cluster: str
    id: str


class IndexKey(NamedTuple):
    """What was there at the end of a day. day: YYYYMMDD, UTC. generation: one after the other, where a day has several."""

    cluster: str
    day: str
    generation: int


Key = IdentityKey | EpochKey | FormerKey | SegmentKey | BaseKey | ExpiredKey | ClosedKey | PinKey | IndexKey


def partition_prefix(cluster: str, table: str, partition: str) -> str:
    return f"{cluster}/t={table}/p={partition}/"


def log_prefix(cluster: str, table: str, partition: str) -> str:
    return partition_prefix(cluster, table, partition) + "log/"


def base_prefix(cluster: str, table: str, partition: str) -> str:
    return partition_prefix(cluster, table, partition) + "base/"


def expired_prefix(cluster: str, table: str, partition: str) -> str:
    return partition_prefix(cluster, table, partition) + "expired/"


def pins_prefix(cluster: str) -> str:
    return f"{cluster}/pins/"


def index_prefix(cluster: str) -> str:
    return f"{cluster}/index/"


def tables_prefix(cluster: str) -> str:
    return f"{cluster}/t="


def epoch_prefix(cluster: str) -> str:
    return f"{cluster}/epoch/"


def former_prefix(cluster: str) -> str:
    return f"{cluster}/former/"


def closed_prefix(cluster: str, node: str | None = None) -> str:
    return f"{cluster}/closed/" if node is None else f"{cluster}/closed/{node}/"


def time_text(time_us: int) -> str:
    """UTC time as it stands in a `closed/` key; fixed width, sorts as time does. Raises Invalid if no calendar has it."""
    try:
        return (_EPOCH_START + timedelta(microseconds=time_us)).strftime("%Y%m%dT%H%M%S.%fZ")
    except OverflowError as error:
        raise Invalid("no calendar has this moment", time_us=time_us) from error


def _time_us(text: str) -> int:
    try:
        moment = datetime.strptime(text, "%Y%m%dT%H%M%S.%fZ").replace(tzinfo=UTC)
    except ValueError as error:
        raise Invalid("not a time in an object key", text=text) from error
    return (moment - _EPOCH_START) // timedelta(microseconds=1)


def build(key: Key) -> str:
    """The object's name. Raises Invalid if a part does not fit the format."""
    text = _build(key)
    if parse(text) != key:
        raise Invalid("the parts do not make an object key", key=text)
    return text


def _build(key: Key) -> str:
    if isinstance(key, IdentityKey):
        return f"{key.cluster}/identity"
    if isinstance(key, EpochKey):
        return f"{key.cluster}/epoch/{key.number:016x}"
    if isinstance(key, FormerKey):
        return f"{former_prefix(key.cluster)}{key.number:016x}"
    if isinstance(key, SegmentKey):
        name = f"{key.first:016x}-{key.last:016x}.{key.generation}.{key.sha16}.{'json' if key.manifest else 'seg'}"
        return log_prefix(key.cluster, key.table, key.partition) + name
    if isinstance(key, BaseKey):
        return key.folder() + ("manifest.json" if key.part is None else f"rows-{key.part:06d}")
    if isinstance(key, ExpiredKey):
        return f"{expired_prefix(key.cluster, key.table, key.partition)}{key.lsn:016x}.{key.generation}.json"
    if isinstance(key, PinKey):
        return f"{pins_prefix(key.cluster)}{key.id}.json"
    if isinstance(key, IndexKey):
        return f"{index_prefix(key.cluster)}{key.day}.{key.generation}.json"
    return f"{closed_prefix(key.cluster, key.node)}{time_text(key.time_us)}.json"


def parse(text: str) -> Key | None:
    """The parts of an object key; None if it is none of ours (such objects are ignored, never touched)."""
    if match := _SEGMENT.fullmatch(text):
        cluster, table, partition, first, last, generation, sha16, ending = match.groups()
        found = SegmentKey(cluster, table, partition, int(first, 16), int(last, 16), int(generation), sha16, ending == "json")
        return found if 1 <= found.first <= found.last else None
    if match := _BASE.fullmatch(text):
        cluster, table, partition, lsn, generation, sha16, name = match.groups()
        part = None if name == "manifest.json" else int(name[5:])
        return BaseKey(cluster, table, partition, int(lsn, 16), int(generation), sha16, part)
    if match := _EXPIRED.fullmatch(text):
        cluster, table, partition, lsn, generation = match.groups()
        return ExpiredKey(cluster, table, partition, int(lsn, 16), int(generation))
    if match := _CLOSED.fullmatch(text):
        try:
            return ClosedKey(match[1], match[2], _time_us(match[3]))
        except Invalid:
            return None
    if match := _PIN.fullmatch(text):
        return PinKey(match[1], match[2])
    if match := _INDEX.fullmatch(text):
        return IndexKey(match[1], match[2], int(match[3]))
    if match := _EPOCH.fullmatch(text):
        return EpochKey(match[1], int(match[2], 16))
    if match := _FORMER.fullmatch(text):
        return FormerKey(match[1], int(match[2], 16))
    if match := _IDENTITY.fullmatch(text):
        return IdentityKey(match[1])
    return None


_LOG = re.compile(rf"{_UUID}/t={_UUID}/p={_UUID}/log/")


def segment_of(text: str) -> str | None:
    """The segment that an object of a log belongs to: its own key, a manifest's twin, of a lost one as much of it as is known. None: no object of a log."""
    key = parse(text)
    if isinstance(key, SegmentKey):
        return build(key._replace(manifest=False))
    return text if _LOG.match(text) else None


def is_of_base(text: str, base: BaseKey) -> bool:
    """The key is that of the base's manifest or of one of its parts."""
    return isinstance(key := parse(text), BaseKey) and key.folder() == base.folder()


def cluster_of(text: str) -> str | None:
    """The cluster id that an object key begins with, whatever follows; None if there is none."""
    match = re.match(rf"({_UUID})/", text)
    return match[1] if match else None
