"""Where credentials, endpoint and certificates come from, and that they are taken anew without a restart: the same for both clients underneath."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from scrubjay.base.errors import Invalid, Unavailable
from scrubjay.base.real.aws import AGAIN_S, CHECK_S
from scrubjay.base.real.loop import AsyncTasks, run
from scrubjay.base.real.s3 import S3Store
from scrubjay.base.real.stores import bare_store, handed_on, worker_environment
from tests.fixtures.false_s3 import Answer, Asked, FalseS3, false_s3, refusal
from tests.fixtures.s3 import S3Server

TLS = Path(__file__).parent.parent / "fixtures" / "tls"
LISTING = b"""<ListBucketResult><Name>bucket</Name><Prefix>p/k/</Prefix><KeyCount>0</KeyCount><IsTruncated>false</IsTruncated></ListBucketResult>"""


def serve_empty(asked: Asked) -> Answer:
    """A bucket without objects."""
    if asked.lists:
        return Answer(200, LISTING, (("Content-Type", "application/xml"),))
    return Answer(200, b"", (("ETag", '"x"'),)) if asked.method == "PUT" else refusal(404, "NoSuchKey")


@pytest.fixture
def false() -> Iterator[FalseS3]:
    with false_s3() as server:
        server.before = serve_empty
        yield server


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Nobody's AWS variables, and a home of its own."""
    for name in list(os.environ):
        if name.startswith(("AWS_", "REQUESTS_CA")) or name.lower() in ("http_proxy", "https_proxy", "no_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    (tmp_path / ".aws").mkdir()
    return tmp_path / ".aws"


def with_store(main: Callable[[S3Store], Awaitable[None]], settings: dict[str, str] | None = None) -> None:
    async def whole(tasks: AsyncTasks) -> None:
        store = bare_store("s3://bucket/p", settings={"timeout": "5", **(settings or {})})
        assert isinstance(store, S3Store)
        try:
            await main(store)
        finally:
            store.close()

    run(whole)


async def both(store: S3Store) -> None:
    """One request of each client."""
    assert await store.head("k/1") is None
    assert (await store.list("k/")).objects == ()


def used(false: FalseS3) -> list[tuple[str, str]]:
    """(key id, session token) of the request of each client, and then forget them.

    Whether the bucket keeps versions is asked now and then, on the way: by the same login as everything else.
    """
    asked_of_versions = {(asked.key_id, asked.token) for asked in false.seen if asked.path.endswith("?versioning")}
    found = [(asked.key_id, asked.token) for asked in false.seen if not asked.path.endswith("?versioning")]
    assert asked_of_versions <= set(found)
    false.seen.clear()
    return found


def credentials(key: str, token: str = "", profile: str = "default") -> str:
    return f"[{profile}]\naws_access_key_id={key}\naws_secret_access_key=secret-{key}\n" + (f"aws_session_token={token}\n" if token else "")


def test_variables(false: FalseS3, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "s",
        "AWS_SESSION_TOKEN": "t",
        "AWS_ENDPOINT_URL": false.url + "/",
    }.items():
        monkeypatch.setenv(name, value)
    with_store(both)
    assert used(false) == [("a", "t")] * 2


@pytest.mark.parametrize("where", ["profile", "services", "default"])
def test_the_files_say_keys_and_endpoint(false: FalseS3, home: Path, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    (home / "credentials").write_text(credentials("of-lab", profile="lab") + credentials("of-default"))
    config = {
        "profile": f"[profile lab]\nendpoint_url={false.url}\n",
        "services": f"[profile lab]\nservices=local\n[services local]\ns3 =\n  endpoint_url = {false.url}\n",
        "default": f"[default]\nendpoint_url={false.url}\n",
    }
    (home / "config").write_text(config[where])
    if where != "default":
        monkeypatch.setenv("AWS_PROFILE", "lab")
    with_store(both)
    assert used(false) == [("of-default" if where == "default" else "of-lab", "")] * 2


@pytest.mark.slow
def test_the_service_variable_wins_and_may_be_ignored(false: FalseS3, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "credentials").write_text(credentials("a"))
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", false.url)
    with_store(both)
    assert used(false) == [("a", "")] * 2
    monkeypatch.setenv("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true")
    with_store(both, {"endpoint": false.url})
    assert used(false) == [("a", "")] * 2


@pytest.mark.parametrize("variable", ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"])
def test_the_endpoint_of_the_configuration_wins_over_the_environments(
    false: FalseS3, home: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    """Of each client underneath: half an archive at another endpoint would be no archive."""
    monkeypatch.setenv(variable, "http://127.0.0.1:9")
    with_store(both, {"access_key": "ours", "secret_key": "s", "endpoint": false.url})
    assert used(false) == [("ours", "")] * 2


@pytest.mark.slow
def test_keys_of_the_configuration_take_nothing_from_somebodys_login(false: FalseS3, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"AWS_ACCESS_KEY_ID": "login", "AWS_SECRET_ACCESS_KEY": "s", "AWS_SESSION_TOKEN": "of the login"}.items():
        monkeypatch.setenv(name, value)
    ours = {"access_key": "ours", "secret_key": "s", "endpoint": false.url}
    with_store(both, ours)
    assert used(false) == [("ours", "")] * 2
    with_store(both, {**ours, "session_token": "our own"})
    assert used(false) == [("ours", "our own")] * 2


def test_workers_get_the_settings_as_they_are(false: FalseS3, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"AWS_ACCESS_KEY_ID": "login", "AWS_SECRET_ACCESS_KEY": "s", "AWS_SESSION_TOKEN": "of the login"}.items():
        monkeypatch.setenv(name, value)
    for name, value in worker_environment({"access_key": "ours", "secret_key": "s", "endpoint": false.url, "region": ""}).items():
        monkeypatch.setenv(name, value)
    with_store(both, handed_on())
    assert used(false) == [("ours", "")] * 2


@pytest.mark.parametrize(
    "given", [{"access_key": "a"}, {"secret_key": "s"}, {"endpoint": "127.0.0.1:9000"}, {"endpoint": "http://"}, {"endpoint": "ftp://h"}]
)
def test_settings_that_cannot_work_are_usage_errors(home: Path, given: dict[str, str]) -> None:
    with pytest.raises(Invalid) as caught:
        bare_store("s3://bucket/p", settings=given)
    assert caught.value.fields["next"]


def test_an_endpoint_without_a_scheme_in_the_environment(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "credentials").write_text(credentials("a"))
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "localhost:9000")

    async def main(store: S3Store) -> None:
        with pytest.raises(Invalid) as caught:
            await store.get("k/1")
        assert "http://localhost:9000" in caught.value.fields["next"]

    with_store(main)


@pytest.mark.parametrize("wrong", ["nothing", "no such profile", "half a pair", "no file"])
def test_missing_credentials_have_a_name(false: FalseS3, home: Path, monkeypatch: pytest.MonkeyPatch, wrong: str) -> None:
    if wrong == "no such profile":
        monkeypatch.setenv("AWS_PROFILE", "absent")
    elif wrong == "half a pair":
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    elif wrong == "no file":
        (home / "credentials").mkdir()

    async def main(store: S3Store) -> None:
        for call in (store.get("k/1"), store.list("k/"), store.put("k/1", b"x")):
            with pytest.raises(Unavailable) as caught:
                await call
            assert caught.value.fields["error_code"] == "CredentialsMissing"
            assert caught.value.fields["next"]

    with_store(main, {"endpoint": false.url})
    assert false.seen == []


async def eventually(check: Callable[[], Awaitable[bool]], *, seconds: float) -> None:
    end = time.monotonic() + seconds
    while not await check():
        assert time.monotonic() < end, "not in time"
        await asyncio.sleep(0.05)


@pytest.mark.slow
def test_a_renewed_file_is_taken_without_a_restart(false: FalseS3, home: Path) -> None:
    file = home / "credentials"
    file.write_text(credentials("first", "t1"))

    async def main(store: S3Store) -> None:
        await both(store)
        assert used(false) == [("first", "t1")] * 2
        new = home / "new"
        new.write_text(credentials("second", "t2"))
        new.rename(file)

        async def renewed() -> bool:
            await both(store)
            return used(false) == [("second", "t2")] * 2

        await eventually(renewed, seconds=CHECK_S + 3)

    with_store(main, {"endpoint": false.url})


@pytest.mark.slow
def test_credentials_that_appear_later_are_taken(false: FalseS3, home: Path) -> None:
    async def main(store: S3Store) -> None:
        with pytest.raises(Unavailable):
            await store.get("k/1")
        (home / "credentials").write_text(credentials("late"))

        async def there() -> bool:
            try:
                await both(store)
            except Unavailable:
                return False
            return True

        await eventually(there, seconds=AGAIN_S + 3)
        assert set(used(false)) == {("late", "")}

    with_store(main, {"endpoint": false.url})


@pytest.mark.slow
def test_container_credentials_are_fetched_again_when_refused_or_expired(
    false: FalseS3, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = ["one"]
    expired: list[str] = []

    def answer(asked: Asked) -> Answer:
        if asked.path == "/credentials":
            facts = {"AccessKeyId": given[0], "SecretAccessKey": "s", "Token": f"token-{given[0]}", "Expiration": "2090-01-01T00:00:00Z"}
            return Answer(200, json.dumps(facts).encode(), (("Content-Type", "application/json"),))
        return refusal(400, "ExpiredToken") if asked.token in expired else serve_empty(asked)

    false.before = answer
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{false.url}/credentials")

    async def main(store: S3Store) -> None:
        await both(store)
        given[0] = "two"
        expired.append("token-one")
        with pytest.raises(Unavailable) as caught:
            await store.get("k/1")
        assert caught.value.fields["error_code"] == "CredentialsExpired"

        async def renewed() -> bool:
            try:
                await both(store)
            except Unavailable:
                return False
            return True

        await eventually(renewed, seconds=AGAIN_S + 3)
        asked = sum(request.path == "/credentials" for request in false.seen)
        assert asked == 2, f"the container was asked {asked} times"
        assert false.seen[-1].token == "token-two"

    with_store(main, {"endpoint": false.url})


# --- certificates ---


def test_a_bundle_that_is_not_there_does_not_stop_a_client_without_tls(false: FalseS3, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "credentials").write_text(credentials("a"))
    monkeypatch.setenv("AWS_CA_BUNDLE", "/nonexistent/bundle.pem")
    with_store(both, {"endpoint": false.url})
    assert len(used(false)) == 2


@pytest.mark.slow
@pytest.mark.parametrize("how", ["variable", "file", "setting"])
def test_both_clients_trust_the_bundle(home: Path, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    (home / "credentials").write_text(credentials("a"))
    bundle = str(TLS / "ca.pem")
    if how == "variable":
        monkeypatch.setenv("AWS_CA_BUNDLE", bundle)
    elif how == "file":
        (home / "config").write_text(f"[default]\nca_bundle={bundle}\n")
    with false_s3(certificate=TLS / "loopback.pem") as false:
        false.before = serve_empty
        with_store(both, {"endpoint": false.url, **({"ca_bundle": bundle} if how == "setting" else {})})
        assert len(used(false)) == 2


@pytest.mark.slow
def test_without_the_bundle_nothing_is_trusted_and_a_bad_bundle_is_named(
    home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (home / "credentials").write_text(credentials("a"))

    async def untrusted(store: S3Store) -> None:
        for call in (store.get("k/1"), store.list("k/")):
            with pytest.raises(Unavailable):
                await call

    async def named(store: S3Store) -> None:
        with pytest.raises(Unavailable) as caught:
            await store.get("k/1")
        assert caught.value.fields["error_code"] == "CaBundleUnreadable"

    with false_s3(certificate=TLS / "loopback.pem") as false:
        false.before = serve_empty
        with_store(untrusted, {"endpoint": false.url})
        (tmp_path / "not.pem").write_text("no certificate")
        for bundle in ("/nonexistent/bundle.pem", str(tmp_path / "not.pem")):
            monkeypatch.setenv("AWS_CA_BUNDLE", bundle)
            with_store(named, {"endpoint": false.url})
        assert false.seen == []


def test_a_proxy_on_the_way_is_named(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://user:secret@127.0.0.1:9")

    async def main(store: S3Store) -> None:
        for call in (store.get("k/1"), store.list("k/")):
            with pytest.raises(Unavailable) as caught:
                await call
            assert caught.value.fields["proxy"] == "127.0.0.1:9"

    with_store(main, {"endpoint": "http://store.invalid:9000", "access_key": "a", "secret_key": "s"})


@pytest.mark.s3
@pytest.mark.xdist_group("s3")
def test_a_profile_reaches_a_real_server(s3_server: S3Server, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not a byte goes anywhere else: endpoint and keys stand in the files only."""
    bucket = s3_server.make_bucket()
    (home / "credentials").write_text(f"[lab]\naws_access_key_id={s3_server.access_key}\naws_secret_access_key={s3_server.secret_key}\n")
    (home / "config").write_text(f"[profile lab]\nregion=us-east-1\nendpoint_url={s3_server.url}\n")
    monkeypatch.setenv("AWS_PROFILE", "lab")

    async def main(tasks: AsyncTasks) -> None:
        from tests.contract.object_store_kinds import settle

        store = bare_store(bucket.url)
        await settle(store)
        await store.put("k/1", b"content")
        assert await store.get("k/1") == b"content"
        assert [info.key for info in (await store.list("k/")).objects] == ["k/1"]
        store.close()

    run(main)
