"""What a bucket with versions and object lock adds: older versions, delete markers, deletion that frees room, and locks (docs/adr/0044-object-lock.md).

Nothing here runs while all is well, but for a deletion: older versions are looked at once an object is missing, or is not what was put. Of the versions of a
key the newest counts that carries the mark which `base.real.s3` gives to what it puts (size and CRC of key and content).

Deletion takes every version and marker of the key, by its version: a plain DELETE would leave all bytes where they are, behind one marker more.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple, Protocol, TypeVar

from scrubjay.base.env import ObjectInfo, Recalled
from scrubjay.base.errors import HOLE, UNREADABLE, Invalid, Missing, Unsafe
from scrubjay.base.older_versions import UNLOCKED, Covered
from scrubjay.base.real.s3_errors import not_a_store, told

T = TypeVar("T")

OBJECT_LOCK, OBJECT_LOCK_US = "object_lock", "object_lock_us"
"""Settings: a mode (empty or none: no lock), and for how long."""
MODES = ("governance", "compliance")
AGAIN_S = 600.0
"""How long it is believed of a bucket that it keeps no versions."""
PAGES_MAX = 10_000
TRIES = 16
"""Older versions of one object that are read."""
DOUBTFUL_MAX = 1_024
"""Objects with several versions that one look reads."""
PROBE_LOCK_S = 3600


class Lock(NamedTuple):
    """mode: governance | compliance. keep_us: what is put stays locked for so long."""

    mode: str
    keep_us: int


class BucketVersion(NamedTuple):
    """key: full, with the prefix. marker: a delete marker."""

    key: str
    id: str
    size: int
    marker: bool
    latest: bool
    at: datetime


Ours = Callable[[str, bytes, str | None], bool]
"""Whether bytes, with the mark that lies beside them, are what was put under a key."""


class Run(Protocol):
    """Work with the botocore client on a thread; errors are of our tree."""

    def __call__(self, work: Callable[[Any], T], key: str, /) -> Awaitable[T]: ...


def lock_of(settings: Mapping[str, str]) -> Lock | None:
    """settings: object_lock (a mode, or "" or none), object_lock_us. Raises Invalid."""
    mode = settings.get(OBJECT_LOCK) or "none"
    if mode == "none":
        return None
    if mode not in MODES:
        raise Invalid("unknown object lock", asked=f"object_lock={mode}", next=f"one of none, {', '.join(MODES)}")
    return Lock(mode, int(settings[OBJECT_LOCK_US]))


def _moment(us: int) -> datetime:
    return datetime.fromtimestamp(us / 1e6, tz=UTC)


@dataclass(slots=True)
class _Known:
    """kept: whether the bucket keeps versions, None: not asked yet. at: when it was last asked (monotonic)."""

    kept: bool | None = None
    at: float = 0.0


class S3Versions:
    """Of one bucket and prefix."""

    def __init__(self, bucket: str, prefix: str, run: Run, lock: Lock | None, *, ours: Ours) -> None:
        self._bucket, self._prefix, self._run, self.lock, self._ours = bucket, prefix, run, lock, ours
        self._known = _Known(kept=True if lock is not None else None)  # no lock without versions
        self.covered = Covered()

    # --- what is known ---

    async def kept(self, key: str) -> bool:
        """Whether the bucket keeps versions; false where nobody may ask. key: for errors. Raises Unavailable."""
        known = self._known
        if known.kept or (known.kept is not None and time.monotonic() - known.at < AGAIN_S):
            return known.kept

        def work(client: Any) -> bool:
            from botocore.exceptions import ClientError

            try:
                return client.get_bucket_versioning(Bucket=self._bucket).get("Status") in ("Enabled", "Suspended")
            except ClientError as error:
                if told(error).code in ("AccessDenied", "NotImplemented", "MethodNotAllowed"):
                    return False
                raise

        try:
            found = await self._run(work, key)
        except Missing:  # nonsense in answer to a question about the bucket: nothing is learned
            return False
        self._known = _Known(found, time.monotonic())
        return found

    def sound(self, key: str) -> None:
        """The newest version is what was put."""
        self.covered.drop(key)

    # --- versions ---

    async def _page(self, prefix: str, after: Mapping[str, str]) -> tuple[list[BucketVersion], dict[str, str]]:
        """One answer to a listing below a full prefix, and where the next one begins, empty: it was the last. Raises Unavailable."""

        def work(client: Any) -> tuple[list[BucketVersion], dict[str, str]]:
            answer = client.list_object_versions(Bucket=self._bucket, Prefix=prefix, **after)
            if answer.get("Name") != self._bucket or "IsTruncated" not in answer:
                raise not_a_store(prefix, f"a listing of versions in {answer.get('Name')!r} was answered for {self._bucket!r}")
            found: list[BucketVersion] = []
            for kind in ("Versions", "DeleteMarkers"):
                found += [_version(one, marker=kind != "Versions") for one in answer.get(kind, ())]
            if not answer["IsTruncated"]:
                return found, {}
            more = {"KeyMarker": answer["NextKeyMarker"]}
            if answer.get("NextVersionIdMarker"):
                more["VersionIdMarker"] = answer["NextVersionIdMarker"]
            return found, more

        found, more = await self._run(work, prefix.removeprefix(self._prefix))
        if any(not one.key.startswith(prefix) for one in found):
            raise not_a_store(prefix, f"a listing of versions below {prefix!r} names something else")
        return found, more

    async def _listed(self, prefix: str, *, single: bool = True) -> list[BucketVersion]:
        """Of every key below a full prefix the newest version first. single: also those that are all there is, as far as one answer shows. Raises Unavailable."""
        found: list[BucketVersion] = []
        after: dict[str, str] = {}
        for _ in range(PAGES_MAX):
            page, after = await self._page(prefix, after)
            if not single:
                times = Counter(one.key for one in page)
                page = [one for one in page if one.marker or not one.latest or times[one.key] > 1]
            found += page
            if not after:
                # The order is the server's where its clock does not tell two versions apart (some tell seconds).
                return sorted(found, key=lambda one: (one.key, not one.latest, -one.at.timestamp()))
        raise not_a_store(prefix, "a listing of versions without an end")

    async def _of(self, key: str) -> list[BucketVersion]:
        full = self._prefix + key
        return [one for one in await self._listed(full) if one.key == full]

    async def uncover(self, prefix: str) -> None:
        """See `base.env.ObjectStore`. Where an object has several versions they are read, of at most DOUBTFUL_MAX objects: the others are as they were."""
        if not await self.kept(prefix):
            self.covered.replace(prefix, {})
            return
        by_key: dict[str, list[BucketVersion]] = {}
        for one in await self._listed(self._prefix + prefix, single=False):
            by_key.setdefault(one.key[len(self._prefix) :], []).append(one)
        found: dict[str, tuple[Recalled, int]] = {}
        doubtful: dict[str, None] = {}
        for key, versions in by_key.items():
            real = [one for one in versions if not one.marker]
            if versions[0].marker and len(real) == 1:
                found[key] = (_deleted(real[0]), real[0].size)
            elif real:
                doubtful[key] = None
        self.covered.replace(prefix, found, doubtful=doubtful)
        for key in list(doubtful)[:DOUBTFUL_MAX]:
            await self._judge(key)

    async def _judge(self, key: str) -> None:
        """Whether what is read of an object that has several versions is the newest of them."""
        versions = await self._of(key)
        newest = versions[0] if versions else None
        if newest is None:
            self.covered.drop(key)
            return
        if not newest.marker and self._ours(key, *await self._run(lambda client: _fetch(client, self._bucket, newest), key)):
            self.covered.drop(key)
            return
        await self._recalled(key, versions, missing=newest.marker)

    async def seen(self, key: str) -> ObjectInfo | None:
        """What lies under a marker: for whoever was told that the object is not there."""
        if not await self.kept(key):
            return None
        versions = await self._of(key)
        if not versions or not versions[0].marker:
            return None  # nothing was ever there; or it came meanwhile, and the next look sees it
        found = await self._recalled(key, versions, missing=True)
        return None if found is None else ObjectInfo(key, len(found))

    async def recall(self, key: str, *, missing: bool) -> bytes | None:
        """The newest older version that was put by us, and a note of it; None if there is none. missing: the key is not there; else its newest version is
        not what was put."""
        if not await self.kept(key):
            return None
        return await self._recalled(key, await self._of(key), missing=missing)

    async def _recalled(self, key: str, versions: Sequence[BucketVersion], *, missing: bool) -> bytes | None:
        older = [one for one in versions if not one.marker and (missing or not one.latest)]
        for one in older[:TRIES]:
            try:
                data, mark = await self._run(lambda client, one=one: _fetch(client, self._bucket, one), key)  # type: ignore[misc]
            except Missing:
                continue
            if self._ours(key, data, mark):
                over = Recalled(UNREADABLE, f"written over: version {one.id} under it is what was put")
                self.covered.note(key, _deleted(one) if missing else over, len(data))
                return data
        self.covered.drop(key)
        return None

    # --- deletion ---

    async def delete(self, key: str) -> None:
        """Every version and marker. Raises Unsafe (ObjectLocked): then it is there as before."""
        if not self._known.kept:  # nobody asked yet, or there are none: the answer tells, at no cost
            answer = await self._run(lambda client: client.delete_object(Bucket=self._bucket, Key=self._prefix + key), key)
            if "html" in answer["ResponseMetadata"]["HTTPHeaders"].get("content-type", ""):
                raise not_a_store(key, "a page in answer to a deletion")
            if not answer.get("DeleteMarker"):
                return
            # The bucket keeps versions: a marker stands where the object was. It goes first, so that a lock leaves the object as it was.
            self._known = _Known(True, time.monotonic())
            marker = answer["VersionId"]
            await self._run(lambda client: client.delete_object(Bucket=self._bucket, Key=self._prefix + key, VersionId=marker), key)
        # The oldest first: cut off anywhere, the newest is there and the next attempt goes on.
        for one in reversed(await self._of(key)):
            await self._run(lambda client, one=one: _delete(client, self._bucket, one, key), key)  # type: ignore[misc]
        self.covered.drop(key)

    # --- locks ---

    def locks(self, key: str) -> bool:
        return self.lock is not None and UNLOCKED.fullmatch(key) is None

    async def put(self, key: str, data: bytes, mark: Mapping[str, str]) -> None:
        """Create and lock. Raises Exists."""
        assert self.lock is not None
        mode, until = self.lock.mode.upper(), _moment(int(time.time() * 1e6) + self.lock.keep_us)
        await self._run(
            lambda client: client.put_object(
                Bucket=self._bucket, Key=self._prefix + key, Body=data, IfNoneMatch="*", ChecksumAlgorithm="CRC32", Metadata=dict(mark),
                ContentType="application/octet-stream", ObjectLockMode=mode, ObjectLockRetainUntilDate=until,
            ),
            key,
        )  # fmt: skip

    async def retain(self, key: str, until_us: int) -> int:
        """See `base.env.ObjectStore`. One small request; and one more where the lock ends earlier; under a marker, or foreign bytes, a listing of the versions first:
        what is locked further is what was put, and not what stands over it."""
        if self.lock is None or not self.locks(key):
            return 0
        full, mode = self._prefix + key, self.lock.mode.upper()

        def work(client: Any, version: str | None) -> int | None:
            """None: what was put may be another version."""
            from botocore.exceptions import ClientError

            which = {} if version is None else {"VersionId": version}
            try:
                facts = client.head_object(Bucket=self._bucket, Key=full, **which)
            except ClientError as error:
                if version is None and told(error).status == 404:
                    return None
                raise
            mark = facts.get("Metadata", {}).get("scrubjay-sum")
            if version is None and (mark is None or mark.partition("-")[0] != str(facts["ContentLength"])):
                return None
            until = facts.get("ObjectLockRetainUntilDate")
            if until_us <= time.time() * 1e6 or (until is not None and until >= _moment(until_us)):
                return 0 if until is None else int(until.timestamp() * 1e6)
            # It keeps its mode: no server takes a weaker one for compliance, nor, of whoever may not break locks, a stronger one for governance. By its
            # version: what somebody puts over it meanwhile is not ours to lock.
            retention = {"Mode": facts.get("ObjectLockMode") or mode, "RetainUntilDate": _moment(until_us)}
            client.put_object_retention(Bucket=self._bucket, Key=full, VersionId=facts["VersionId"], Retention=retention)
            return until_us

        if key not in self.covered:
            found = await self._run(lambda client: work(client, None), key)
            if found is not None:
                return found
        one = await self._put_version(key)
        return await self._run(lambda client: work(client, one.id), key) or 0

    async def _put_version(self, key: str) -> BucketVersion:
        """The newest that was put by us; of what a tool has copied, which lacks our mark, the newest there is. Raises Missing."""
        versions = [one for one in await self._of(key) if not one.marker]
        for one in versions[:TRIES]:
            if self._ours(key, *await self._run(lambda client, one=one: _fetch(client, self._bucket, one), key)):  # type: ignore[misc]
                return one
        if not versions:
            raise Missing("no such object", what=key)
        return versions[0]

    async def check_lock(self, folder: str) -> str | None:
        """Why the bucket does not lock as it is configured to; None if it does. Leaves one small locked object below `probe/`, for an hour; what earlier
        checks left goes now."""
        assert self.lock is not None
        mode, full = self.lock.mode.upper(), f"{self._prefix}{folder}locked"

        def work(client: Any) -> str | None:
            from botocore.exceptions import ClientError

            try:
                answer = client.get_object_lock_configuration(Bucket=self._bucket)
            except ClientError as error:
                said = told(error)
                if said.status not in (400, 404, 405, 501):
                    raise
                return f"the bucket has no object lock ({said.code or said.status})"
            if answer.get("ObjectLockConfiguration", {}).get("ObjectLockEnabled") != "Enabled":
                return "the bucket has no object lock"
            until = _moment(int((time.time() + PROBE_LOCK_S) * 1e6))
            try:
                made = client.put_object(
                    Bucket=self._bucket, Key=full, Body=b"lock", IfNoneMatch="*", ChecksumAlgorithm="CRC32",
                    ObjectLockMode=mode, ObjectLockRetainUntilDate=until,
                )  # fmt: skip
            except ClientError as error:
                if told(error).status not in (400, 501):
                    raise
                return f"a locked PUT is refused: {told(error).brief}"
            facts = client.head_object(Bucket=self._bucket, Key=full)
            if facts.get("ObjectLockMode") != mode or not facts.get("ObjectLockRetainUntilDate"):
                return f"an object put with a lock has none ({facts.get('ObjectLockMode')})"
            try:
                client.delete_object(Bucket=self._bucket, Key=full, VersionId=made["VersionId"])
            except ClientError as error:
                if told(error).status not in (400, 403):
                    raise
                return None
            return "a locked object was deleted"

        wrong = await self._run(work, folder)
        await self._sweep()
        return wrong

    async def _sweep(self) -> None:
        """What earlier checks left below `probe/`, if its lock has run out."""
        now = datetime.now(UTC).timestamp()
        for one in await self._listed(self._prefix + "probe/"):
            if one.key.endswith("/locked") and now - one.at.timestamp() > PROBE_LOCK_S:
                try:
                    await self._run(lambda client, one=one: _delete(client, self._bucket, one, one.key), one.key)  # type: ignore[misc]
                except Unsafe:
                    continue


def _version(said: Mapping[str, Any], *, marker: bool) -> BucketVersion:
    return BucketVersion(said["Key"], said["VersionId"], int(said.get("Size", 0)), marker, said["IsLatest"], said["LastModified"])


def _deleted(under: BucketVersion) -> Recalled:
    return Recalled(HOLE, f"deleted: a delete marker stands over version {under.id}")


def _fetch(client: Any, bucket: str, version: BucketVersion) -> tuple[bytes, str | None]:
    answer = client.get_object(Bucket=bucket, Key=version.key, VersionId=version.id)
    return answer["Body"].read(), answer.get("Metadata", {}).get("scrubjay-sum")


def _delete(client: Any, bucket: str, version: BucketVersion, key: str) -> None:
    """One version. What a server says of a locked one differs (400, 403, with words and without): whether it is locked is asked."""
    from botocore.exceptions import ClientError

    try:
        client.delete_object(Bucket=bucket, Key=version.key, VersionId=version.id)
    except ClientError as error:
        if told(error).status not in (400, 403) or version.marker:
            raise
        until = _locked_until(client, bucket, version)
        if until is None:
            raise
        raise Unsafe("the store keeps the object locked", key=key, error_code="ObjectLocked", **until) from error


def _locked_until(client: Any, bucket: str, version: BucketVersion) -> dict[str, Any] | None:
    """Until when a version is locked, in words and, where a time says it, in microseconds; None if it is not, or nobody may say."""
    from botocore.exceptions import ClientError

    try:
        facts = client.head_object(Bucket=bucket, Key=version.key, VersionId=version.id)
    except ClientError:
        return None
    if facts.get("ObjectLockLegalHoldStatus") == "ON":
        return {"until": "its legal hold is lifted"}
    until = facts.get("ObjectLockRetainUntilDate")
    if until is None or until < datetime.now(UTC):
        return None
    return {"until": until.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"), "until_us": int(until.timestamp() * 1e6)}
