"""The access keys of a server reach the scratch cluster that is recovered from its archive, whatever is in them, and nobody beside it."""

from __future__ import annotations

from pathlib import Path

import pytest

from scrubjay.base.real.key_sources import keyring
from scrubjay.base.sealed import Key, Keyring, seal
from scrubjay.config import load
from scrubjay.scratch import access_keys
from scrubjay.scratch.recovered import plain
from scrubjay.scratch.server import clean_environment
from scrubjay.store_settings import key_environment, store_settings

LISTED = r'[{id="boss", secret="a \"b\" \\\\ \u00fc # \u0001", role="admin"}, {id="clerk", secret="s"}]'


def test_what_is_recovered_asks_for_the_keys_of_the_original() -> None:
    config = load(sets=["serve.auth=true", f"auth.keys={LISTED}"])
    handed_on = access_keys.for_the_worker(config)
    of_child = access_keys.for_the_server(handed_on)
    found = load(env=of_child)
    assert found.serve.auth
    assert found.auth.keys == config.auth.keys
    assert access_keys.for_the_client(handed_on) == ("boss", config.auth.keys[0].secret)


def test_without_keys_none_are_made_up() -> None:
    assert access_keys.for_the_worker(load(sets=[f"auth.keys={LISTED}"])) == {}
    assert (access_keys.for_the_server({}), access_keys.for_the_client({})) == ({}, None)


def test_what_is_recovered_from_an_encrypted_archive_encrypts_its_own_with_the_same_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for path, secret in ((first, "5a" * 32), (second, "a5" * 32)):
        path.write_text(secret)
        path.chmod(0o600)
    config = load(sets=[f"encryption.keys=2026=file:{first},2025=file:{second}", "s3.access_key_id=id", "s3.secret_access_key=of a bucket"])
    of_child = key_environment(store_settings(config))
    assert "of a bucket" not in of_child.values(), "its archive is a folder"
    for name, value in of_child.items():
        monkeypatch.setenv(name, value)
    ring = keyring(load(env=of_child).encryption.keys, timeout_s=1)
    assert ring is not None
    assert [(key.id, key.secret.hex()) for key in ring.keys] == [("2026", "5a" * 32), ("2025", "a5" * 32)]
    assert key_environment(store_settings(load())) == {}


def test_what_is_not_sealed_in_a_scratch_archive_is_seen(tmp_path: Path) -> None:
    assert plain(tmp_path) == ["nothing"]
    ring = Keyring((Key("2026", bytes(32)),))
    (tmp_path / "a").write_bytes(seal(ring, "a", b"content", random=lambda count: bytes(count)))
    assert plain(tmp_path) == []
    (tmp_path / "b").write_bytes(b"content")
    assert plain(tmp_path) == ["b"]


def test_no_child_but_the_recovered_server_sees_them(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in access_keys.for_the_worker(load(sets=["serve.auth=true", f"auth.keys={LISTED}"])).items():
        monkeypatch.setenv(name, value)
    assert access_keys.for_the_server(), "they are read from the worker's own environment"
    assert access_keys.HANDED_ON not in clean_environment()
