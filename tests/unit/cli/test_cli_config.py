"""Configuration: order of sources, conversion, and that no typo becomes a default."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from scrubjay.archiver.format.segment import RAW_BYTES_MAX
from scrubjay.base.errors import Invalid
from scrubjay.base.real.stores import HANDED_ON, worker_environment
from scrubjay.config import SEGMENT_BYTES_MAX, AuthKey, fields, load
from scrubjay.reference_pages import config_page
from scrubjay.storage.consensus.options import ConsensusOptions
from scrubjay.storage.log.record import RECORD_SIZE_MAX
from scrubjay.store_settings import keyring_of, store_environment, store_settings

DOCS = Path(__file__).parents[3] / "docs"


def test_the_later_source_wins(tmp_path: Path) -> None:
    file = tmp_path / "scrubjay.toml"
    file.write_text('[archive]\nseal_age = "1s"\nsegment_bytes = "1MiB"\nuploads = 2\n[serve]\nport = 9000\n')
    env = {"SCRUBJAY_CONFIG": str(file), "SCRUBJAY_ARCHIVE_SEAL_AGE": "2s", "SCRUBJAY_ARCHIVE_UPLOADS": "3"}
    config = load(env=env, sets=["archive.uploads=5"], options={"serve.port": "9001", "serve.data": None})
    assert config.archive.segment_bytes == 1 << 20
    assert config.archive.seal_age_us == 2_000_000
    assert config.archive.uploads == 5
    assert config.serve.port == 9001
    assert config.serve.data == "./scrubjay-data"


@pytest.mark.parametrize("text", ["archive.seal_agee=5s", "arcive.seal_age=5s", "seal_age=5s"])
def test_an_unknown_key_names_the_nearest(text: str) -> None:
    with pytest.raises(Invalid) as caught:
        load(sets=[text])
    assert "archive.seal_age" in caught.value.fields["next"]


def test_unknown_keys_in_file_and_environment_are_errors(tmp_path: Path) -> None:
    file = tmp_path / "scrubjay.toml"
    file.write_text("[scrub]\nspeed = 3\n")
    with pytest.raises(Invalid, match="unknown configuration key"):
        load(path=str(file))
    with pytest.raises(Invalid, match="unknown configuration key"):
        load(env={"SCRUBJAY_SCRUB_SPEED": "3"})
    with pytest.raises(Invalid, match="unknown configuration key"):
        load(env={"SCRUBJAY_ARCHVE_SEAL_AGE": "3s"})
    load(env={"SCRUBJAY_ENDPOINT": "http://x", "SCRUBJAY_ACCESS_KEY_ID": "a", "PATH": "/bin"})


@pytest.mark.parametrize(
    "text",
    [
        "archive.seal_age=5",
        "archive.seal_age=soon",
        "tables.initial_partitions=0",
        "serve.port=70000",
        "serve.auth=perhaps",
        "pitr.days=36",
        "archive.segment_bytes=big",
        "auth.keys=3",
        "no-equals",
    ],
)
def test_wrong_values_are_wrong_usage(text: str) -> None:
    with pytest.raises(Invalid) as caught:
        load(sets=[text])
    assert caught.value.exit_code == 64


@pytest.mark.parametrize(
    "toml",
    [
        '[[auth.keys]]\nid = "A"\nsecret = "s"\nrole = "admin"\n',
        '[auth.keys]\nid = "A"\nsecret = "s"\nrole = "admin"\n',
        '[auth.keys.A]\nsecret = "s"\nrole = "admin"\n',
    ],
)
def test_keys_in_each_of_their_shapes(tmp_path: Path, toml: str) -> None:
    file = tmp_path / "scrubjay.toml"
    file.write_text(toml)
    assert load(path=str(file)).auth.keys == (AuthKey(id="A", secret="s", role="admin"),)


def test_a_refused_key_does_not_show_its_secret() -> None:
    with pytest.raises(Invalid) as caught:
        load(sets=['auth.keys=[{id="A", secret="hush", role="root"}]'])
    assert "hush" not in str(caught.value)


def test_missing_and_broken_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="cannot read"):
        load(path=str(tmp_path / "none.toml"))
    broken = tmp_path / "broken.toml"
    broken.write_text("[archive\n")
    with pytest.raises(Invalid, match="not TOML"):
        load(path=str(broken))


@pytest.mark.parametrize("raw", [b"\xef\xbb\xbf[serve]\r\nport = 81\r\n", b"[serve]\r\nport = 81", b"\xef\xbb\xbf[serve]\nport = 81\n"])
def test_files_of_other_editors_are_read(tmp_path: Path, raw: bytes) -> None:
    file = tmp_path / "scrubjay.toml"
    file.write_bytes(raw)
    assert load(path=str(file)).serve.port == 81


@pytest.mark.parametrize(
    ("raw", "said", "next_step"),
    [
        (b"serve = 3\n", "serve is a section, not a value", r"\[serve\]"),
        (b"[[serve]]\nport = 3\n", "serve is a section, not a value", r"\[serve\]"),
        (b"[sevre]\nport = 3\n", "unknown configuration key", "did you mean serve"),
        (b"[serve]\nport = true\n", "serve.port takes a whole number", ""),
        (b"[serve]\nport = {}\n", "serve.port takes a whole number", ""),
        (b"[serve]\nport = 8000.0\n", "serve.port takes a whole number", ""),
        (b"[archive]\nseal_age = 5\n", "archive.seal_age takes a duration", ""),
        (b"\xff\xfe[\x00", "not TOML", ""),
        (b"a = " + b"[" * 100_000, "not TOML", ""),
    ],
)
def test_what_a_file_has_wrong_is_said(tmp_path: Path, raw: bytes, said: str, next_step: str) -> None:
    file = tmp_path / "scrubjay.toml"
    file.write_bytes(raw)
    with pytest.raises(Invalid, match=said) as caught:
        load(path=str(file))
    assert re.search(next_step, str(caught.value.fields["next"]))


def test_every_key_has_a_meaning_and_the_page_is_current() -> None:
    assert all(entry.key.doc for entry in fields().values())
    assert (DOCS / "CONFIG.md").read_text(encoding="utf-8") == config_page(), "run: python -m scrubjay.reference_pages docs"


def test_archive_defaults_below_the_data_folder(tmp_path: Path) -> None:
    assert load(sets=[f"serve.data={tmp_path}"]).archive_url == f"file://{tmp_path}/archive"
    assert load(sets=["archive.url=s3://b/p"]).archive_url == "s3://b/p"


def test_a_segment_may_not_be_set_larger_than_the_encoder_takes() -> None:
    """Sealed at the largest size that may be set, with everything that may be on its way behind it, a segment still fits into an object."""
    on_its_way = ConsensusOptions().window_bytes + RECORD_SIZE_MAX
    assert SEGMENT_BYTES_MAX + on_its_way <= RAW_BYTES_MAX
    assert load(sets=["archive.segment_bytes=32MiB"]).archive.segment_bytes == SEGMENT_BYTES_MAX
    with pytest.raises(Invalid, match="to 32MiB") as caught:
        load(sets=["archive.segment_bytes=33MiB"])
    assert caught.value.exit_code == 64


@pytest.mark.parametrize(
    ("sets", "key"),
    [
        (["storage.wal_limit=100MiB", "storage.wal_reserve=64MiB", "storage.wal_file=16MiB"], "storage.wal_limit"),
        (
            ["storage.wal_limit=70MiB", "storage.wal_reserve=10MiB", "storage.wal_file=1MiB", "archive.segment_bytes=31MiB"],
            "archive.segment_bytes",
        ),
        (["consensus.lease=400ms", "consensus.support_interval=250ms"], "consensus.lease"),
        (["archive.seal_age_max=3m"], "archive.seal_age_max"),
        (["archive.seal_age=9s", "archive.seal_age_max=8s", "archive.lag_alarm=8s"], "archive.seal_age"),
        (["s3.access_key_id=a"], "s3.access_key_id"),
        (["s3.secret_access_key=a"], "s3.secret_access_key"),
    ],
)
def test_values_that_do_not_work_together_are_named(sets: list[str], key: str) -> None:
    with pytest.raises(Invalid, match="do not work together") as caught:
        load(sets=sets)
    assert caught.value.fields["asked"] == key


def test_values_that_only_just_work_together() -> None:
    load(sets=["storage.wal_limit=70MiB", "storage.wal_reserve=10MiB", "storage.wal_file=1MiB", "archive.segment_bytes=30MiB"])
    load(sets=["consensus.lease=500ms", "consensus.support_interval=250ms"])
    load(sets=["s3.access_key_id=a", "s3.secret_access_key=b"])


def test_true_is_no_number_and_an_id_names_one_key(tmp_path: Path) -> None:
    file = tmp_path / "scrubjay.toml"
    for text in (
        "[serve]\nport = true\n",
        '[auth]\nkeys = [{id="a", secret="x", role="data"}, {id="a", secret="y", role="admin"}]\n',
    ):
        file.write_text(text)
        with pytest.raises(Invalid):
            load(path=str(file))


def test_a_number_without_an_upper_bound_is_told_of_none() -> None:
    with pytest.raises(Invalid, match=r"a duration such as 10s or 5m from 4d on"):
        load(sets=["archive.lock_for=2m"])
    with pytest.raises(Invalid, match=r"from .* to "):
        load(sets=["archive.segment_bytes=1GiB"])


def test_key_sources(tmp_path: Path) -> None:
    file = tmp_path / "scrubjay.toml"
    file.write_text("[encryption]\nkeys = ['2026=file:/etc/k', '2025=command:vault read -field=key \"a b\", c']\ncommand_timeout = '3s'\n")
    expected = (("2026", "file:/etc/k"), ("2025", 'command:vault read -field=key "a b", c'))
    assert load(path=str(file)).encryption.keys == expected
    assert load(path=str(file)).encryption.command_timeout_us == 3_000_000
    assert load(env={"SCRUBJAY_ENCRYPTION_KEYS": "new=env:A, old=file:/b"}).encryption.keys == (("new", "env:A"), ("old", "file:/b"))
    assert load(sets=["encryption.keys="]).encryption.keys == ()
    assert load(sets=['encryption.keys=["new=env:A", "old=file:/b, c"]']).encryption.keys == (("new", "env:A"), ("old", "file:/b, c"))
    urls = ("https://a.test/x", "http://b.test/y")
    for text in (", ".join(urls), f'["{urls[0]}", "{urls[1]}"]', f" ['{urls[0]}',\n'{urls[1]}',]"):
        assert load(sets=[f"alerts.webhooks={text}"]).alerts.webhooks == urls
    for text in (f'["{urls[0]}"', "[1]", f'["{urls[0]}"]\nb=1'):
        with pytest.raises(Invalid, match="takes"):
            load(sets=[f"alerts.webhooks={text}"])
    spaced = ("a=file:/it's a/key", "b=command:'/opt/my tools/give' \"a b\"")
    assert load(sets=[f"encryption.keys={', '.join(spaced)}"]).encryption.keys == tuple(tuple(one.split("=", 1)) for one in spaced)


@pytest.mark.parametrize(
    "text",
    [
        "6c6f6f6b206d61",
        "a=6c6f6f6b",
        "a=file:key",
        "a=env:",
        "=env:A",
        "a b=env:A",
        "a=env:A,a=env:B",
        "a=command:'x",
        "a=command: ",
        "a=command:''",
        "a=file:/a\0b",
    ],
)
def test_what_is_no_key_source_is_refused_and_not_shown(text: str) -> None:
    with pytest.raises(Invalid) as caught:
        load(sets=[f"encryption.keys={text}"])
    assert "6c6f6f6b" not in str(caught.value.fields)


def test_a_child_has_the_same_credentials_and_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OF_MINE", "42" * 32)
    config = load(sets=["encryption.keys=2026=env:OF_MINE,2025=env:OF_MINE", "s3.region=here"])
    for name, value in store_environment(store_settings(config)).items():
        monkeypatch.setenv(name, value)
    child = load(env=os.environ)
    assert keyring_of(child) == keyring_of(config)
    assert store_settings(child) == store_settings(config)
    assert "SCRUBJAY_ENCRYPTION_KEYS" not in store_environment(store_settings(load()))


@pytest.mark.parametrize("key", ["archive.url", "second.url"])
@pytest.mark.parametrize("url", ["fille:///tmp/a", "file://host/a", "s3://", "s3://b/a//b", "s3://b/p?x=1", "/tmp/a", "file://[a"])
def test_a_place_that_is_no_url_of_an_archive_is_refused_before_anything_starts(key: str, url: str) -> None:
    with pytest.raises(Invalid) as caught:
        load(sets=[f"{key}={url}"])
    assert caught.value.fields["asked"] == key
    assert str(caught.value.fields["found"]).startswith(url)


def test_an_object_lock_is_one_of_three_and_of_a_bucket() -> None:
    locked = load(sets=["archive.url=s3://b/p", "archive.object_lock=compliance", "archive.lock_for=10d"])
    assert store_settings(locked)["object_lock"] == "compliance"
    assert store_settings(locked)["object_lock_us"] == str(10 * 86_400_000_000)
    assert not store_settings(load(sets=["archive.url=s3://b/p"]))["object_lock"]
    assert "object_lock" not in worker_environment(store_settings(locked))[HANDED_ON]  # exports go to buckets that are not ours
    for sets in (["archive.url=s3://b/p", "archive.object_lock=on"], ["archive.object_lock=governance"]):
        with pytest.raises(Invalid) as caught:
            load(sets=sets)
        assert caught.value.fields["asked"] == "archive.object_lock"
