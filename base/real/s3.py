"""`s3://`: create-once objects in a bucket of MinIO, SeaweedFS, AWS or any S3 that passes `archiver.probe`.

The data path is obstore (Rust, off the GIL): a PUT is one request with `If-None-Match: *` and a CRC64NVME of the content that the server checks before
it stores anything. Listing, deletion and the checksum probe go through boto3 in threads. Nothing here retries: `base.wrap.retry` does.

Servers disagree about the order of a flat listing (SeaweedFS goes folder by folder: `a/b` before `a-b`). So a listing here walks level by level and
orders each level itself, until the probe has seen that this server's flat order is byte order.
"""

from __future__ import annotations

import asyncio
import heapq
import os
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import timedelta
from typing import Any, NoReturn, TypeVar

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, PermissionDeniedError, PreconditionError, UnauthenticatedError

from base.env import ListPage, ObjectInfo
from base.errors import Corrupt, DiskFull, Exists, Invalid, Missing, ScrubjayError, Unavailable, Unsafe
from base.real.daemon_pool import DaemonPool
from base.real.localfs import check_key

T = TypeVar("T")
Entry = tuple[str, int]
Entries = list[Entry]
Keys = list[str]

THREADS = 8
CONNECT_TIMEOUT_S = 5
REQUEST_TIMEOUT_S = 120
LIST_PAGE_MAX = 1000
_FULL_WORDS = (
    "XMinioStorageFull",
    "QuotaExceeded",
    "InsufficientStorage",
    "507 ",
    "no space left",
    "No writable volumes",
    "no free volumes",
)
_DIGEST_WORDS = ("BadDigest", "XAmzContentChecksumMismatch", "ChecksumMismatch", "InvalidDigest")


def translate(error: BaseException, key: str) -> ScrubjayError:
    """What a client library's error means for the caller."""
    text = f"{error} {error.__cause__ or ''}"
    brief = " ".join(str(error).split())[:300]
    if "NoSuchBucket" in text:
        return Unavailable("the bucket does not exist", key=key, cause=brief)
    if isinstance(error, FileNotFoundError) or any(word in text for word in ("NoSuchKey", "404 Not Found")):
        return Missing("no such object", what=key)
    if isinstance(error, AlreadyExistsError | PreconditionError) or "PreconditionFailed" in text:
        return Exists("the object is already there", key=key)
    if any(word in text for word in _FULL_WORDS):
        return DiskFull("the object store is full", key=key, cause=brief)
    if any(word in text for word in _DIGEST_WORDS):
        return Corrupt("the store refused the content: its checksum differs", what="object", where=key, cause=brief)
    if isinstance(error, PermissionDeniedError | UnauthenticatedError) or any(
        word in text for word in ("AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch")
    ):
        return Unavailable("the object store refuses the credentials", key=key, cause=brief)
    if "NotImplemented" in text:
        return Unsafe("the object store lacks a feature", key=key, cause=brief)
    return Unavailable("the object store did not answer as it should", key=key, cause=brief)


class S3Store:
    """One bucket and prefix as an `ObjectStore`. `settings`: endpoint, region, access_key, secret_key, session_token, timeout (seconds, of one
    request), each "" if not given."""

    def __init__(self, bucket: str, prefix: str, settings: Mapping[str, str]) -> None:
        self.bucket = bucket
        self.prefix = prefix.strip("/") + "/" if prefix.strip("/") else ""
        self.url = f"s3://{bucket}/{self.prefix}".rstrip("/")
        self.flat_order = False
        """The server lists flat in byte order: set by `confirm_flat_order`, never assumed."""
        self._settings = dict(settings)
        self._timeout_s = float(settings.get("timeout") or REQUEST_TIMEOUT_S)
        self._objects: Any = None
        self._client: Any = None
        self._lock = threading.Lock()
        self._pool: DaemonPool | None = None

    # --- clients, made at first use ---

    def _store(self) -> Any:
        if self._objects is None:
            from obstore.store import S3Store as Client

            given = self._settings
            endpoint = given.get("endpoint", "")
            config: dict[str, Any] = {
                "bucket": self.bucket,
                "region": given.get("region") or "us-east-1",
                "checksum_algorithm": "CRC64NVME",
                "unsigned_payload": True,
                "conditional_put": "etag",
                "virtual_hosted_style_request": not endpoint,
            }
            provider: Any = None
            if endpoint:
                config["endpoint"] = endpoint.rstrip("/")
            if given.get("access_key"):
                config["access_key_id"] = given["access_key"]
                config["secret_access_key"] = given.get("secret_key", "")
                if given.get("session_token"):
                    config["session_token"] = given["session_token"]
            else:
                from obstore.auth.boto3 import Boto3CredentialProvider

                provider = Boto3CredentialProvider()
            options: Any = {
                "allow_http": endpoint.startswith("http://"),
                "connect_timeout": timedelta(seconds=min(CONNECT_TIMEOUT_S, self._timeout_s)),
                "timeout": timedelta(seconds=self._timeout_s),
            }
            retry: Any = {"max_retries": 0, "retry_timeout": timedelta(seconds=1)}
            self._objects = Client(config=config, client_options=options, retry_config=retry, credential_provider=provider)  # type: ignore[arg-type]
        return self._objects

    def client(self) -> Any:
        """The boto3 client (thread-safe). Blocking: call it on a thread."""
        with self._lock:
            if self._client is None:
                import boto3
                from botocore.config import Config

                given = self._settings
                self._client = boto3.session.Session().client(
                    "s3",
                    endpoint_url=given.get("endpoint") or None,
                    region_name=given.get("region") or "us-east-1",
                    aws_access_key_id=given.get("access_key") or None,
                    aws_secret_access_key=given.get("secret_key") or None,
                    aws_session_token=given.get("session_token") or None,
                    config=Config(
                        connect_timeout=min(CONNECT_TIMEOUT_S, self._timeout_s),
                        read_timeout=self._timeout_s,
                        retries={"total_max_attempts": 1},
                        max_pool_connections=THREADS,
                        s3={"addressing_style": "path" if given.get("endpoint") else "auto"},
                    ),
                )
        return self._client

    async def _run(self, work: Callable[[], T], key: str) -> T:
        if self._pool is None:
            self._pool = DaemonPool(THREADS, name="archive-s3")
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        except ScrubjayError:
            raise
        except Exception as error:
            raise translate(error, key) from error

    def close(self) -> None:
        """Let threads and connections go."""
        if self._pool is not None:
            self._pool.shutdown(wait=True)
            self._pool = None
        if self._client is not None:
            self._client.close()
            self._client = None

    # --- the port ---

    async def put(self, key: str, data: bytes) -> None:
        full = self.prefix + check_key(key)
        try:
            await obstore.put_async(self._store(), full, bytes(data), mode="create", use_multipart=False)
        except (BaseError, OSError, ValueError) as error:
            self._raise(error, key)

    async def get(self, key: str) -> bytes:
        full = self.prefix + check_key(key)
        try:
            answer = await obstore.get_async(self._store(), full)
            return bytes(memoryview(await answer.bytes_async()))
        except (BaseError, OSError, ValueError) as error:
            self._raise(error, key)

    async def get_range(self, key: str, start: int, end: int) -> bytes:
        full = self.prefix + check_key(key)
        if not 0 <= start <= end:
            raise Invalid("not a range", start=start, end=end)
        if start == end:
            return b""
        try:
            data = bytes(memoryview(await obstore.get_range_async(self._store(), full, start=start, end=end)))
        except (BaseError, OSError, ValueError) as error:
            info = await self.head(key)
            if info is not None and info.size < end:
                raise Corrupt("the object is shorter than the range", what="object", where=key, expected=end, found=info.size) from error
            self._raise(error, key)
        if len(data) != end - start:
            raise Corrupt("the object is shorter than the range", what="object", where=key, expected=end, found=start + len(data))
        return data

    async def head(self, key: str) -> ObjectInfo | None:
        full = self.prefix + check_key(key)
        try:
            meta = await obstore.head_async(self._store(), full)
        except FileNotFoundError:
            return None
        except (BaseError, OSError, ValueError) as error:
            problem = translate(error, key)
            if isinstance(problem, Missing):
                return None
            raise problem from error
        return ObjectInfo(key, int(meta["size"]))

    async def list(self, prefix: str, *, after: str = "", limit: int = 1000) -> ListPage:
        found: list[ObjectInfo] = []
        async for info in self._flat(prefix, after, limit) if self.flat_order else self._walk(prefix, after, limit):
            if len(found) == limit:
                return ListPage(tuple(found), True)
            found.append(info)
        return ListPage(tuple(found), False)

    async def delete(self, key: str) -> None:
        full = self.prefix + check_key(key)
        await self._run(lambda: self.client().delete_object(Bucket=self.bucket, Key=full), key)

    def _raise(self, error: BaseException, key: str) -> NoReturn:
        raise translate(error, key) from error

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
        answer = await self._run(lambda: self.client().list_objects_v2(**request), prefix)
        cut = len(self.prefix)
        # SeaweedFS shows an emptied folder as an object whose name ends in a slash; no key of ours does.
        entries = [(item["Key"][cut:], int(item["Size"])) for item in answer.get("Contents", ()) if not item["Key"].endswith("/")]
        entries += [(item["Prefix"][cut:], -1) for item in answer.get("CommonPrefixes", ())]
        entries.sort(key=lambda entry: entry[0].rstrip("/") if levels else "")
        return entries, answer.get("NextContinuationToken", "") if answer.get("IsTruncated") else ""

    async def _flat(self, prefix: str, after: str, limit: int) -> AsyncIterator[ObjectInfo]:
        token, last = "", after
        while True:
            entries, token = await self._page(prefix, after if after > prefix else "", token, limit + 1, levels=False)
            for key, size in entries:
                if key > last:
                    last = key
                    yield ObjectInfo(key, size)
            if not token:
                return

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

        def work() -> bool:
            from botocore.exceptions import ClientError

            try:
                self.client().put_object(Bucket=self.bucket, Key=full, Body=b"not what was checked", ChecksumCRC32="AAAAAA==")
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


def settings_from(environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """S3 settings from the usual AWS variables. environment: os.environ if None."""
    env = os.environ if environment is None else environment
    return {
        "endpoint": env.get("AWS_ENDPOINT_URL_S3") or env.get("AWS_ENDPOINT_URL") or "",
        "region": env.get("AWS_REGION") or env.get("AWS_DEFAULT_REGION") or "",
        "access_key": env.get("AWS_ACCESS_KEY_ID") or "",
        "secret_key": env.get("AWS_SECRET_ACCESS_KEY") or "",
        "session_token": env.get("AWS_SESSION_TOKEN") or "",
    }
