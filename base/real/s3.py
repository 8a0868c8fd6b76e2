"""`s3://`: create-once objects in a bucket of MinIO, SeaweedFS, AWS or any S3 that passes `archiver.write.probe`.

The data path is obstore (Rust, off the GIL): a PUT is one request with `If-None-Match: *` and a CRC64NVME of the content that the server checks before
it stores anything. Listing, deletion and the checksum probe go through botocore in threads. Both are made from one `base.real.aws.Access` and made again
when that changes. Nothing here retries (`base.wrap.retry` does), but for one second reading of an object that is not what was put.

What comes back is believed only if it can be an S3 server's: an object has an ETag, a listing names its bucket and prefix and counts its entries. Each
object carries its size and a CRC over key and content as metadata, so that an answer that is short, or another object's, is an error and not data.

Servers disagree about the order of a flat listing (SeaweedFS goes folder by folder: `a/b` before `a-b`). So a listing here walks level by level and
orders each level itself, until the probe has seen that this server's flat order is byte order.
"""

from __future__ import annotations

import asyncio
import heapq
import threading
import urllib.request
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from email.utils import parsedate_to_datetime
from typing import Any, NoReturn, TypeVar
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import BaseError

from scrubjay.base.checksum import crc32c_raw
from scrubjay.base.env import ListPage, ObjectInfo, Recalled
from scrubjay.base.errors import Corrupt, Invalid, Missing, ScrubjayError, Unavailable
from scrubjay.base.real.aws import Access, Resolver
from scrubjay.base.real.daemon_pool import DaemonPool
from scrubjay.base.real.localfs import check_key
from scrubjay.base.real.s3_errors import CREDENTIALS, not_a_store, told, translate
from scrubjay.base.real.s3_versions import OBJECT_LOCK, OBJECT_LOCK_US, S3Versions, lock_of

T = TypeVar("T")
Entry = tuple[str, int]
Entries = list[Entry]
Keys = list[str]
Infos = list[ObjectInfo]

THREADS = 8
CONNECT_TIMEOUT_S = 5
REQUEST_TIMEOUT_S = 120
LIST_PAGE_MAX = 1000
MARK = "scrubjay-sum"
"""Name of an object's metadata entry: `<size>-<CRC32C of key and content, 8 hex digits>`. Objects without it (copied by a tool that drops metadata) are
read as they are: the archive's formats carry their own checksums."""
OWN_SETTINGS = ("timeout", OBJECT_LOCK, OBJECT_LOCK_US)
"""Settings that say nothing of where and who."""
_CLIENT_ERRORS = (BaseError, OSError, ValueError)


def mark_of(key: str, data: bytes) -> str:
    """The metadata entry of an object. key: relative to the archive's URL, so that a copied bucket still fits."""
    return f"{len(data)}-{crc32c_raw(data, crc32c_raw(key.encode())):08x}"


@dataclass(frozen=True, slots=True)
class _Clients:
    """objects: obstore's store. requests: botocore's S3 client (thread-safe, blocking)."""

    access: Access
    objects: Any
    requests: Any


class S3Store:
    """One bucket and prefix as an `ObjectStore`. `settings`: endpoint, region, access_key, secret_key, session_token, ca_bundle, timeout (seconds, of one
    request), each "" if not given: then the usual AWS variables and files say (see `base.real.aws`); object_lock and object_lock_us (`base.real.s3_versions`).

    More than 25 methods: the port's ten, the clients that are made again when credentials change, and the walk that puts a listing in order."""

    def __init__(self, bucket: str, prefix: str, settings: Mapping[str, str]) -> None:
        self.bucket = bucket
        self.prefix = prefix.strip("/") + "/" if prefix.strip("/") else ""
        self.url = f"s3://{bucket}/{self.prefix}".rstrip("/")
        self.flat_order = False
        """The server lists flat in byte order: set by `confirm_flat_order`, never assumed."""
        self._timeout_s = float(settings.get("timeout") or REQUEST_TIMEOUT_S)
        self._resolver = Resolver({name: value for name, value in settings.items() if name not in OWN_SETTINGS})
        self._versions = S3Versions(
            bucket, self.prefix, self._run, lock_of(settings), ours=lambda key, data, mark: mark == mark_of(key, data)
        )
        self._clients: _Clients | None = None
        self._lock = threading.Lock()
        self._pool: DaemonPool | None = None

    # --- clients, made at first use and when credentials or endpoint changed ---

    def _build(self, access: Access) -> _Clients:
        """Blocking."""
        with self._lock:
            if self._clients is None or self._clients.access != access:
                requests = self._requests(access)
                self._clients = _Clients(access, self._objects(access, requests.meta.endpoint_url), requests)
            return self._clients

    def _objects(self, access: Access, aws_endpoint: str) -> Any:
        from obstore.store import S3Store as Client

        endpoint, virtual = access.endpoint, False
        if not endpoint:
            # Always said outright: obstore reads the AWS variables by rules of its own.
            parts = urlsplit(aws_endpoint)
            virtual = "." not in self.bucket
            endpoint = f"{parts.scheme}://{self.bucket}.{parts.netloc}" if virtual else aws_endpoint
        config: dict[str, Any] = {
            "bucket": self.bucket,
            "region": access.region,
            "endpoint": endpoint,
            "aws_endpoint_url_s3": endpoint,  # else a variable of that name wins over the line above
            "virtual_hosted_style_request": virtual,
            "checksum_algorithm": "CRC64NVME",
            "unsigned_payload": True,
            "skip_signature": False,
            "conditional_put": "etag",
        }
        keys: dict[str, Any] = {
            "access_key_id": access.access_key,
            "secret_access_key": access.secret_key,
            "token": access.token or None,
            "expires_at": None,
        }
        options: Any = {
            "allow_http": endpoint.startswith("http://"),
            "connect_timeout": timedelta(seconds=min(CONNECT_TIMEOUT_S, self._timeout_s)),
            "timeout": timedelta(seconds=self._timeout_s),
        }
        if access.ca_bundle is not None:
            options["root_certificate"] = access.ca_bundle
        retry: Any = {"max_retries": 0, "retry_timeout": timedelta(seconds=1)}
        provider: Any = lambda: keys  # noqa: E731 - these keys for this client's life; other keys make another client
        return Client(config=config, client_options=options, retry_config=retry, credential_provider=provider)  # type: ignore[arg-type]

    def _requests(self, access: Access) -> Any:
        import botocore.session
        from botocore.config import Config

        client = botocore.session.Session().create_client(
            "s3",
            endpoint_url=access.endpoint or None,
            region_name=access.region,
            aws_access_key_id=access.access_key,
            aws_secret_access_key=access.secret_key,
            aws_session_token=access.token or None,
            verify=access.ca_path if access.ca_path is not None else not access.endpoint.startswith("http://"),
            config=Config(
                connect_timeout=min(CONNECT_TIMEOUT_S, self._timeout_s),
                read_timeout=self._timeout_s,
                retries={"total_max_attempts": 1},
                max_pool_connections=THREADS,
                s3={"addressing_style": "path" if access.endpoint else "auto"},
            ),
        )
        # A wrong region is said, not followed: obstore does not follow either, and half an archive elsewhere helps nobody.
        client.meta.events.register_last("before-parameter-build.s3", _stay)
        return client

    async def _ready(self, key: str) -> _Clients:
        access = self._resolver.fresh()
        if access is None or self._clients is None or self._clients.access != access:
            return await self._blocking(lambda: self._build(self._resolver.resolve()), key)
        return self._clients

    def client(self) -> Any:
        """The botocore client (thread-safe). Blocking: call it on a thread."""
        return self._build(self._resolver.resolve()).requests

    async def _blocking(self, work: Callable[[], T], key: str) -> T:
        if self._pool is None:
            self._pool = DaemonPool(THREADS, name="archive-s3")
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        except ScrubjayError:
            raise
        except Exception as error:
            raise self._translated(error, key) from error

    async def _run(self, work: Callable[[Any], T], key: str) -> T:
        """work(client) on a thread."""
        requests = (await self._ready(key)).requests
        return await self._blocking(lambda: work(requests), key)

    def close(self) -> None:
        """Let threads and connections go."""
        if self._pool is not None:
            self._pool.shutdown(wait=True)
            self._pool = None
        if self._clients is not None:
            self._clients.requests.close()
            self._clients = None

    def _translated(self, error: BaseException, key: str) -> ScrubjayError:
        problem = translate(error, key)
        clients = self._clients
        if clients is not None:
            if problem.fields.get("error_code") in CREDENTIALS:
                self._resolver.refused(clients.access)
            if isinstance(problem, Unavailable) and (proxy := _proxy_of(clients.access.endpoint)):
                problem.fields.setdefault("proxy", proxy)
        return problem

    def _raise(self, error: BaseException, key: str) -> NoReturn:
        raise self._translated(error, key) from error

    # --- the port ---

    async def put(self, key: str, data: bytes) -> None:
        full = self.prefix + check_key(key)
        data = bytes(data)
        attributes: Any = {MARK: mark_of(key, data), "Content-Type": "application/octet-stream"}
        if self._versions.locks(key):
            await self._versions.put(key, data, {MARK: attributes[MARK]})  # obstore has no locks
            return
        objects = (await self._ready(key)).objects
        try:
            await obstore.put_async(objects, full, data, mode="create", use_multipart=False, attributes=attributes)
        except _CLIENT_ERRORS as error:
            self._raise(error, key)

    async def get(self, key: str) -> bytes:
        check_key(key)
        try:
            data, mark, _ = await self._fetch(key, None)
        except Missing:
            older = await self._recall(key, missing=True)
            if older is None:
                raise
            return older
        if mark == mark_of(key, data):
            self._versions.sound(key)
            return data
        if mark is None:
            # Put by a tool that drops metadata, or on top of ours by somebody else.
            older = await self._recall(key, missing=False)
            return data if older is None else older
        # Cut short or mixed up on the way, most likely: look once more before anything is said of the object itself.
        again, mark, _ = await self._fetch(key, None)
        if mark is None or mark == mark_of(key, again):
            return again
        older = await self._recall(key, missing=False)
        if older is not None:
            return older
        if again != data:
            raise not_a_store(key, "two readings of one object differ, and neither is what was put")
        raise Corrupt("the object is not what was put there", what="object", where=key, expected=mark, found=mark_of(key, data))

    async def get_range(self, key: str, start: int, end: int) -> bytes:
        check_key(key)
        if not 0 <= start <= end:
            raise Invalid("not a range", start=start, end=end)
        if start == end:
            return b""
        try:
            data, mark, size = await self._fetch(key, (start, end))
            missing = False
        except Missing as error:
            data, mark, size, missing = b"", None, 0, True
            gone = error
        # Whether a part is what was put cannot be told from it; only whether there is anything to doubt.
        if mark is None or mark.partition("-")[0] != str(size) or len(data) != end - start:
            older = await self._recall(key, missing=missing)
            if older is not None:
                data, size = older[start:end], len(older)
            elif missing:
                raise gone
        if len(data) != end - start:
            raise Corrupt("the object is shorter than the range", what="object", where=key, expected=end, found=size)
        return data

    async def head(self, key: str) -> ObjectInfo | None:
        """By reading one byte: an answer to HEAD has no body, so it could not say whether the object is missing or the bucket, or what was refused."""
        check_key(key)
        try:
            _, _, size = await self._fetch(key, (0, 1))
        except Missing:
            return await self._versions.seen(key)
        return ObjectInfo(key, size)

    async def _fetch(self, key: str, part: tuple[int, int] | None) -> tuple[bytes, str | None, int]:
        """Bytes (of the part, fewer if the object ends before), the object's mark if it has one, and its size. Raises Missing, Unavailable."""
        full = self.prefix + key
        objects = (await self._ready(key)).objects
        options: Any = None if part is None else {"range": part}
        try:
            answer = await obstore.get_async(objects, full, options=options)
            meta, attributes = answer.meta, answer.attributes
            data = bytes(memoryview(await answer.bytes_async()))
        except _CLIENT_ERRORS as error:
            if part is not None and (told(error).status == 416 or told(error).code == "InvalidRange"):
                # An empty object has no first byte; any other is shorter than the range.
                whole, mark, size = await self._fetch(key, None)
                return whole[part[0] : part[1]], mark, size
            self._raise(error, key)
        kind = str(attributes.get("Content-Type", ""))
        if meta["e_tag"] is None or kind.startswith("text/html"):
            raise not_a_store(key, f"a {kind or 'nameless'} answer without an ETag" if meta["e_tag"] is None else f"a page ({kind})")
        mark = attributes.get(MARK)
        return data, None if mark is None else str(mark), int(meta["size"])

    async def list(self, prefix: str, *, after: str = "", limit: int = 1000) -> ListPage:
        found: list[ObjectInfo] = []
        more = False
        if self.flat_order:
            found, more = await self._flat(prefix, after, limit)
        else:
            async for info in self._walk(prefix, after, limit):
                if len(found) == limit:
                    more = True
                    break
                found.append(info)
        return self._versions.covered.shown(ListPage(tuple(found), more), prefix, after=after, limit=limit)

    async def delete(self, key: str) -> None:
        await self._versions.delete(check_key(key))

    async def uncover(self, prefix: str) -> None:
        await self._versions.uncover(prefix)

    def recalled(self, prefix: str) -> dict[str, Recalled]:
        return self._versions.covered.recalled(prefix)

    def locks_us(self) -> int:
        return 0 if self._versions.lock is None else self._versions.lock.keep_us

    async def retain(self, key: str, until_us: int) -> int:
        return await self._versions.retain(check_key(key), until_us)

    async def _recall(self, key: str, *, missing: bool) -> bytes | None:
        return await self._versions.recall(key, missing=missing)

    # --- listing ---

    async def _page(self, prefix: str, after: str, token: str, limit: int, *, levels: bool) -> tuple[Entries, str]:
        """One raw page: (key, size) in the server's order; size -1 is a folder (its key ends in "/"). Keys are relative."""
        request: dict[str, Any] = {"Bucket": self.bucket, "Prefix": self.prefix + prefix, "MaxKeys": min(limit, LIST_PAGE_MAX)}
        if levels:
            request["Delimiter"] = "/"
        if token:
            request["ContinuationToken"] = token
        elif after:
            request["StartAfter"] = self.prefix + after
        answer = await self._run(lambda client: client.list_objects_v2(**request), prefix)
        _check_listing(answer, request, prefix)
        cut = len(self.prefix)
        # SeaweedFS shows an emptied folder as an object whose name ends in a slash; no key of ours does.
        entries = [(item["Key"][cut:], int(item["Size"])) for item in answer.get("Contents", ()) if not item["Key"].endswith("/")]
        entries += [(item["Prefix"][cut:], -1) for item in answer.get("CommonPrefixes", ())]
        entries.sort(key=lambda entry: entry[0].rstrip("/") if levels else "")
        return entries, answer.get("NextContinuationToken", "") if answer.get("IsTruncated") else ""

    async def _flat(self, prefix: str, after: str, limit: int) -> tuple[Infos, bool]:
        """As many requests as the server has pages: whether another one follows it says itself."""
        found: list[ObjectInfo] = []
        token, last = "", after
        while True:
            entries, token = await self._page(prefix, after if after > prefix else "", token, limit - len(found), levels=False)
            for key, size in entries:
                if key > last:
                    last = key
                    found.append(ObjectInfo(key, size))
            if not token or len(found) >= limit:
                return found[:limit], bool(token) or len(found) > limit

    async def _walk(self, prefix: str, after: str, limit: int) -> AsyncIterator[ObjectInfo]:
        """Keys in byte order whatever order the server lists folders in."""
        level = prefix[: prefix.rfind("/") + 1]
        token, waiting = "", Entries()
        start = _start_of_level(level, after)
        while True:
            entries, token = await self._page(prefix, start if start > prefix else "", token, limit + 1, levels=True)
            for key, size in entries:
                # Later entries sort at or above this one's name without its slash: what is below that may go out.
                while waiting and waiting[0][0] < key.rstrip("/"):
                    async for info in self._emit(heapq.heappop(waiting), after, limit):
                        yield info
                heapq.heappush(waiting, (key, size))
            if not token:
                break
        while waiting:
            async for info in self._emit(heapq.heappop(waiting), after, limit):
                yield info

    async def _emit(self, entry: Entry, after: str, limit: int) -> AsyncIterator[ObjectInfo]:
        key, size = entry
        if size >= 0:
            if key > after:
                yield ObjectInfo(key, size)
        elif key > after or after.startswith(key):
            async for info in self._walk(key, after if after.startswith(key) else "", limit):
                yield info

    # --- what the probe asks of an S3 server, beyond the port ---

    async def refuses_wrong_checksum(self, key: str) -> bool:
        """True if a PUT whose CRC32 does not fit its body is refused and leaves nothing behind."""
        full = self.prefix + check_key(key)

        def work(client: Any) -> bool:
            from botocore.exceptions import ClientError

            try:
                client.put_object(Bucket=self.bucket, Key=full, Body=b"not what was checked", ChecksumCRC32="AAAAAA==")
            except ClientError as error:
                if error.response["ResponseMetadata"]["HTTPStatusCode"] != 400:
                    raise
                return True
            return False

        refused = await self._run(work, key)
        left = await self.head(key)
        if left is not None:
            await self.delete(key)
        return refused and left is None

    async def check_lock(self, folder: str) -> str | None:
        """Why the bucket does not lock what is put as it is configured to; None if it does, or no lock is asked for. folder: of a probe, below `probe/`."""
        return None if self._versions.lock is None else await self._versions.check_lock(folder)

    async def clock_ahead_s(self, wall_us: Callable[[], int]) -> float:
        """How far the server's clock is ahead of `wall_us`, in seconds, to a second or so; by the Date of an answer."""
        answer = await self._run(lambda client: client.list_objects_v2(Bucket=self.bucket, Prefix=self.prefix, MaxKeys=1), "")
        date = answer["ResponseMetadata"]["HTTPHeaders"].get("date")
        if date is None:
            return 0.0
        return parsedate_to_datetime(date).timestamp() - wall_us() / 1e6

    async def confirm_flat_order(self, prefix: str, expected: Keys) -> bool:
        """Whether a flat listing of `prefix` comes in byte order; remembered, so that later listings need one request per page."""
        entries, token = await self._page(prefix, "", "", LIST_PAGE_MAX, levels=False)
        middle = len(expected) // 2
        after, _ = await self._page(prefix, expected[middle], "", LIST_PAGE_MAX, levels=False)
        self.flat_order = [key for key, _ in entries] == expected and not token and [key for key, _ in after] == expected[middle + 1 :]
        return self.flat_order


def _start_of_level(level: str, after: str) -> str:
    """Where to start listing `level` so that nothing above `after` in byte order is missed on a server that sorts folders without their slash.

    A folder `n` may come before `n-1` there and after it in byte order, so the start lies just below the part of the name before its first '-' or '.'.
    """
    if not after.startswith(level):
        return ""
    name = after[len(level) :].split("/", 1)[0]
    for index, char in enumerate(name):
        if char in "-.":
            name = name[:index]
            break
    if not name:
        return ""
    return level + name[:-1] + chr(ord(name[-1]) - 1) + "~"


def _stay(context: dict[str, Any], **_: Any) -> None:
    """Tell botocore's region redirector that this request was redirected already."""
    context.setdefault("s3_redirect", {})["redirected"] = True


def _check_listing(answer: Mapping[str, Any], request: Mapping[str, Any], key: str) -> None:
    """Raises Unavailable (NotAStore) unless this is the listing that was asked for: an empty or foreign 200 would read as "everything is gone"."""
    entries = [*answer.get("Contents", ()), *answer.get("CommonPrefixes", ())]
    if answer.get("Name") != request["Bucket"]:
        raise not_a_store(key, f"a listing of bucket {answer.get('Name')!r} was answered for {request['Bucket']!r}")
    if "IsTruncated" not in answer or answer.get("Prefix", "") != request["Prefix"]:
        raise not_a_store(key, f"a listing of prefix {answer.get('Prefix')!r} was answered for {request['Prefix']!r}")
    if answer["IsTruncated"] and not answer.get("NextContinuationToken"):
        raise not_a_store(key, "a listing says that it goes on, and not where")
    if "KeyCount" in answer and answer["KeyCount"] != len(entries):
        raise not_a_store(key, f"a listing of {answer['KeyCount']} entries holds {len(entries)}")
    foreign = next(
        (name for entry in entries if not (name := str(entry.get("Key") or entry.get("Prefix"))).startswith(request["Prefix"])), None
    )
    if foreign is not None:
        raise not_a_store(key, f"a listing of prefix {request['Prefix']!r} names {foreign!r}")


def _proxy_of(endpoint: str) -> str:
    """The proxy that the environment puts before this endpoint, without credentials; "" if none."""
    parts = urlsplit(endpoint or "https://s3.amazonaws.com")
    proxy = urllib.request.getproxies_environment().get(parts.scheme, "")
    if not proxy or (parts.hostname and urllib.request.proxy_bypass(parts.netloc)):
        return ""
    return proxy.rpartition("@")[2]
