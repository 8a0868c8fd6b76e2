"""The access keys of a server reach the scratch cluster that is recovered from its archive, whatever is in them, and nobody beside it."""

from __future__ import annotations

import pytest

from scrubjay.config import load
from scrubjay.scratch import access_keys
from scrubjay.scratch.server import clean_environment

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


def test_no_child_but_the_recovered_server_sees_them(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in access_keys.for_the_worker(load(sets=["serve.auth=true", f"auth.keys={LISTED}"])).items():
        monkeypatch.setenv(name, value)
    assert access_keys.for_the_server(), "they are read from the worker's own environment"
    assert access_keys.HANDED_ON not in clean_environment()
