"""Answers that an S3 server does not give, and refusals that a person must understand: each is an error by name, never data, never "missing"."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from scrubjay.base.errors import Corrupt, DiskFull, Exists, Missing, ScrubjayError, Unavailable, Unsafe
from scrubjay.base.real.loop import AsyncTasks, run
from scrubjay.base.real.s3 import S3Store
from tests.contract.object_store_kinds import shared_bucket
from tests.fixtures.false_s3 import Answer, Asked, FalseS3, false_s3, page, refusal
from tests.fixtures.s3 import S3Server

Verb = Callable[[S3Store], Awaitable[Any]]
VERBS: dict[str, Verb] = {
    "put": lambda store: store.put("k/1", b"content"),
    "get": lambda store: store.get("k/1"),
    "get_range": lambda store: store.get_range("k/1", 1, 3),
    "head": lambda store: store.head("k/1"),
    "list": lambda store: store.list("k/"),
    "delete": lambda store: store.delete("k/1"),
}


@pytest.fixture
def false() -> Iterator[FalseS3]:
    with false_s3() as server:
        yield server


def settings(false: FalseS3) -> dict[str, str]:
    return {"endpoint": false.url, "access_key": "a", "secret_key": "s", "region": "us-east-1", "timeout": "5"}


def outcomes(false: FalseS3, cases: Sequence[Answer], *verbs: str) -> list[dict[str, Any]]:
    """For each answer, given to everything: what each verb raised, or its result."""

    async def main(tasks: AsyncTasks) -> list[dict[str, Any]]:
        store = S3Store("bucket", "p", settings(false))
        found = []
        for case in cases:
            false.before = lambda asked, case=case: case  # type: ignore[misc]
            found.append({verb: await _outcome(store, verb) for verb in verbs or VERBS})
        store.close()
        return found

    return run(main)


async def _outcome(store: S3Store, verb: str) -> Any:
    try:
        return await VERBS[verb](store)
    except ScrubjayError as error:
        return error


def code_of(found: Any) -> str:
    assert isinstance(found, ScrubjayError), f"no error: {found!r}"
    return str(found.fields.get("error_code", found.code))


@pytest.mark.slow
def test_a_page_of_something_on_the_way_says_nothing_about_objects(false: FalseS3) -> None:
    statuses = (200, 400, 403, 404, 409, 412)
    for status, found in zip(statuses, outcomes(false, [page(status) for status in statuses]), strict=True):
        expected = {403: ("CredentialsRefused",), 409: ("StoreConflict",)}.get(status, ("NotAStore", "Unavailable"))
        for verb, error in found.items():
            assert type(error) is Unavailable, (status, verb, error)
            assert code_of(error) in expected, (status, verb, error)


REFUSALS = [
    (400, "ExpiredToken", "CredentialsExpired"),
    (403, "ExpiredToken", "CredentialsExpired"),
    (403, "AccessDenied", "CredentialsRefused"),
    (403, "InvalidAccessKeyId", "CredentialsRefused"),
    (403, "SignatureDoesNotMatch", "CredentialsRefused"),
    (400, "InvalidToken", "CredentialsRefused"),
    (403, "RequestTimeTooSkewed", "ClockSkewed"),
    (301, "PermanentRedirect", "WrongRegion"),
    (307, "TemporaryRedirect", "WrongRegion"),
    (400, "AuthorizationHeaderMalformed", "WrongRegion"),
    (404, "NoSuchBucket", "BucketMissing"),
    (409, "ConditionalRequestConflict", "StoreConflict"),
    (503, "SlowDown", "Unavailable"),
    (500, "InternalError", "Unavailable"),
]


@pytest.mark.slow
def test_a_refusal_has_a_name_and_says_what_to_do(false: FalseS3) -> None:
    told = outcomes(false, [refusal(status, code) for status, code, _ in REFUSALS])
    for (status, code, expected), found in zip(REFUSALS, told, strict=True):
        for verb, error in found.items():
            assert isinstance(error, Unavailable), (status, code, verb, error)
            assert code_of(error) == expected, (status, code, verb, error)
            assert expected in ("Unavailable", "StoreConflict") or error.fields["next"]
    assert len(false.seen) == len(VERBS) * len(REFUSALS)  # nothing here retries or follows


@pytest.mark.slow
def test_the_right_region_is_named(false: FalseS3) -> None:
    (found,) = outcomes(false, [refusal(400, "AuthorizationHeaderMalformed", "<Region>eu-central-1</Region>")])
    for error in found.values():
        assert "eu-central-1" in error.fields["next"]


def test_a_redirect_to_a_page_is_no_answer(false: FalseS3) -> None:
    async def main(tasks: AsyncTasks) -> None:
        def away(asked: Asked) -> Answer:
            return page() if asked.path == "/login" else Answer(307, b"", (("Location", f"{false.url}/login"),))

        false.before = away
        store = S3Store("bucket", "p", settings(false))
        for verb in VERBS:
            assert isinstance(await _outcome(store, verb), Unavailable), verb
        store.close()

    run(main)


@pytest.mark.slow
def test_missing_taken_full_and_refused_content(false: FalseS3) -> None:
    cases = [refusal(404, "NoSuchKey"), refusal(412, "PreconditionFailed"), refusal(507, "InsufficientStorage")]
    cases += [refusal(400, "BadDigest"), refusal(501, "NotImplemented"), Answer(304)]
    gone, taken, full, digest, lacks, unmodified = outcomes(false, cases)
    assert type(gone["get"]) is Missing
    assert gone["head"] is None
    assert type(taken["put"]) is Exists
    assert type(full["put"]) is DiskFull
    assert type(digest["put"]) is Corrupt
    assert type(lacks["put"]) is Unsafe
    assert type(unmodified["put"]) is Unavailable


LISTING = """<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>{bucket}</Name><Prefix>{prefix}</Prefix>
<MaxKeys>1000</MaxKeys><KeyCount>{count}</KeyCount>{truncated}{contents}</ListBucketResult>"""


def listing(
    *, bucket: str = "bucket", prefix: str = "p/k/", count: int = 1, truncated: str = "<IsTruncated>false</IsTruncated>", key: str = "p/k/1"
) -> bytes:
    contents = f"<Contents><Key>{key}</Key><Size>7</Size><LastModified>2026-01-01T00:00:00.000Z</LastModified></Contents>"
    return LISTING.format(bucket=bucket, prefix=prefix, count=count, truncated=truncated, contents=contents if count else "").encode()


def test_the_listing_that_was_asked_for_is_taken(false: FalseS3) -> None:
    xml = (("Content-Type", "application/xml"),)
    one, none = outcomes(false, [Answer(200, listing(), xml), Answer(200, listing(count=0), xml)], "list")
    assert [info.key for info in one["list"].objects] == ["k/1"]
    assert none["list"].objects == ()


NO_LISTINGS = [
    b"",
    b"{}",
    b"<html/>",
    b"<ListBucketResult/>",
    listing(bucket="other"),
    listing(prefix="p/"),
    listing(truncated=""),
    listing(truncated="<IsTruncated>true</IsTruncated>"),
    listing(key="q/k/1"),
    listing().replace(b"<KeyCount>1", b"<KeyCount>3"),
    listing()[:-30],
    listing()[: len(listing()) // 2],
]


@pytest.mark.slow
def test_a_200_that_is_no_listing_is_no_listing(false: FalseS3) -> None:
    found = outcomes(false, [Answer(200, body, (("Content-Type", "application/xml"),)) for body in NO_LISTINGS], "list")
    for body, told in zip(NO_LISTINGS, found, strict=True):
        assert isinstance(told["list"], Unavailable), body


# --- objects that are not what was put, through a real server ---


def through(server: S3Server, main: Callable[[S3Store, FalseS3], Awaitable[None]]) -> None:
    with false_s3(server.url) as false:

        async def whole(tasks: AsyncTasks) -> None:
            keys = {"access_key": server.access_key, "secret_key": server.secret_key, "endpoint": false.url, "timeout": "5"}
            store = S3Store(shared_bucket(server), f"wrong-{tasks.loop.time()}", keys)
            try:
                await main(store, false)
            finally:
                store.close()

        run(whole)


def only_objects(change: Callable[[Answer], Answer], *, times: int = 1 << 30) -> Callable[[Asked, Answer], Answer]:
    left = [times]

    def after(asked: Asked, answer: Answer) -> Answer:
        if asked.method == "GET" and not asked.lists and "?" not in asked.path and answer.status in (200, 206) and left[0]:
            left[0] -= 1
            return change(answer)
        return answer

    return after


@pytest.mark.s3
@pytest.mark.xdist_group("s3")
class TestThroughARealServer:
    def test_an_answer_cut_short_once_is_read_again(self, minio: S3Server) -> None:
        async def main(store: S3Store, false: FalseS3) -> None:
            await store.put("k/1", b"0123456789" * 10)
            false.after = only_objects(lambda answer: replace(answer, body=answer.body[:50]), times=1)
            assert await store.get("k/1") == b"0123456789" * 10

        through(minio, main)

    def test_an_object_that_stays_short_is_an_error(self, minio: S3Server) -> None:
        async def main(store: S3Store, false: FalseS3) -> None:
            await store.put("k/1", b"0123456789" * 10)
            false.after = only_objects(lambda answer: replace(answer, body=answer.body[:50]))
            with pytest.raises(Corrupt):
                await store.get("k/1")

        through(minio, main)

    def test_another_objects_answer_is_not_taken(self, minio: S3Server) -> None:
        async def main(store: S3Store, false: FalseS3) -> None:
            await store.put("k/1", b"one of some size")
            await store.put("k/2", b"two of same size")

            def swap(asked: Asked) -> Answer | None:
                if asked.method == "GET" and asked.path.endswith("k/1"):
                    return kept[0]
                return None

            kept: list[Answer] = []

            def keep(asked: Asked, answer: Answer) -> Answer:
                kept.append(answer)
                return answer

            false.after = keep
            assert await store.get("k/2") == b"two of same size"
            false.before = swap
            with pytest.raises(Corrupt):
                await store.get("k/1")

        through(minio, main)

    def test_a_body_that_ends_early_is_unavailable(self, minio: S3Server) -> None:
        async def main(store: S3Store, false: FalseS3) -> None:
            await store.put("k/1", b"0123456789" * 10)
            false.after = only_objects(lambda answer: replace(answer, body=answer.body[:50], cut=50))
            with pytest.raises(Unavailable):
                await store.get("k/1")

        through(minio, main)

    def test_a_bucket_that_went_away_is_no_missing_object(self, minio: S3Server) -> None:
        async def main(store: S3Store, false: FalseS3) -> None:
            store.bucket = store._versions._bucket = "was-taken-away"
            for verb in VERBS.values():
                with pytest.raises(Unavailable) as caught:
                    await verb(store)
                assert code_of(caught.value) == "BucketMissing"

        through(minio, main)

    def test_objects_copied_without_metadata_are_read(self, s3_server: S3Server) -> None:
        async def main(store: S3Store, false: FalseS3) -> None:
            client = store.client()
            client.put_object(Bucket=store.bucket, Key=store.prefix + "k/1", Body=b"copied by another tool")
            assert await store.get("k/1") == b"copied by another tool"
            client.put_object(Bucket=store.bucket, Key=store.prefix + "k/2", Body=b"")
            assert await store.get("k/2") == b""
            info = await store.head("k/2")
            assert info is not None
            assert info.size == 0

        through(s3_server, main)

    def test_every_object_of_ours_is_marked(self, s3_server: S3Server) -> None:
        async def main(store: S3Store, false: FalseS3) -> None:
            await store.put("k/1", b"content")
            head = store.client().head_object(Bucket=store.bucket, Key=store.prefix + "k/1")
            assert re.fullmatch(r"7-[0-9a-f]{8}", head["Metadata"]["scrubjay-sum"])

        through(s3_server, main)
