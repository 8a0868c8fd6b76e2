"""A folder as an archive: one that went away, one that must be there, one that refuses us."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

import scrubjay.base.real.localfs
from scrubjay.base.errors import Missing, Unavailable
from scrubjay.base.real.localfs import LocalStore


def test_a_folder_that_went_is_neither_empty_nor_made_anew(tmp_path: Path) -> None:
    root = tmp_path / "archive"
    store = LocalStore(root)
    assert asyncio.run(store.list("")).objects == ()
    asyncio.run(store.put("a/k", b"x"))
    root.rename(tmp_path / "away")
    calls: list[Callable[[], Coroutine[Any, Any, object]]] = [
        lambda: store.put("a/l", b"y"),
        lambda: store.get("a/k"),
        lambda: store.get_range("a/k", 0, 1),
        lambda: store.head("a/k"),
        lambda: store.list(""),
        lambda: store.delete("a/k"),
    ]
    for call in calls:
        with pytest.raises(Unavailable) as caught:
            asyncio.run(call())
        assert caught.value.fields["error_code"] == "ArchiveGone"
    assert not root.exists()
    (tmp_path / "away").rename(root)
    assert asyncio.run(store.get("a/k")) == b"x"
    asyncio.run(store.put("a/l", b"y"))
    store.close()


@pytest.mark.parametrize("step", ["_sweep", "_write", "_link"])
@pytest.mark.parametrize("before", [True, False])
def test_a_folder_that_goes_in_the_middle_of_a_put_is_not_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, *, before: bool
) -> None:
    """Moved away between two steps: what would be made in its place stands in the way when it is put back."""
    root = tmp_path / "archive"
    store = LocalStore(root)
    asyncio.run(store.put("a/k", b"x"))
    done = getattr(store, step)

    def at_the_step(*arguments: object) -> None:
        if before:
            root.rename(tmp_path / "away")
        done(*arguments)
        if not before:
            root.rename(tmp_path / "away")

    monkeypatch.setattr(store, step, at_the_step)
    with pytest.raises(Unavailable) as caught:
        asyncio.run(store.put("b/l", b"y"))
    assert caught.value.fields["error_code"] == "ArchiveGone"
    assert not root.exists()
    monkeypatch.undo()
    (tmp_path / "away").rename(root)
    assert asyncio.run(store.get("a/k")) == b"x"
    store.close()


def test_an_archive_that_must_be_there_is_not_made(tmp_path: Path) -> None:
    root = tmp_path / "archive"
    store = LocalStore(root, create=False)
    for call in (lambda: store.put("k", b"x"), lambda: store.list("")):
        with pytest.raises(Unavailable):
            asyncio.run(call())
    assert not root.exists()
    root.mkdir()
    asyncio.run(store.put("k", b"x"))
    store.close()


def test_a_neighbours_object_that_gets_its_name_while_we_look_round_is_no_trouble(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Job workers write to the same folder: what lay in `.tmp/` when it was listed may be gone when it is looked at."""
    (tmp_path / ".tmp").mkdir()
    passing = tmp_path / ".tmp" / "1-1-aa"
    passing.write_bytes(b"x")
    seen = list(os.scandir(tmp_path / ".tmp"))
    passing.unlink()
    monkeypatch.setattr(scrubjay.base.real.localfs.os, "scandir", lambda _: seen)
    store = LocalStore(tmp_path)
    asyncio.run(store.put("a/k", b"y"))
    assert asyncio.run(store.get("a/k")) == b"y"
    store.close()


def test_a_read_only_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = LocalStore(tmp_path)

    def refuse(*_: object, **__: object) -> int:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(scrubjay.base.real.localfs.os, "open", refuse)
    with pytest.raises(Unavailable) as caught:
        asyncio.run(store.put("k", b"x"))
    assert caught.value.fields["error_code"] == "StoreNotWritable"
    store.close()


def test_a_delete_while_the_folder_goes_away_is_not_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It went between the look and the deed: what was not found there may be there all the same."""
    root = tmp_path / "archive"
    store = LocalStore(root)
    asyncio.run(store.put("a/k", b"x"))
    unlink = Path.unlink

    def goes(path: Path, missing_ok: bool = False) -> None:
        root.rename(tmp_path / "away")
        unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", goes)
    with pytest.raises(Unavailable) as caught:
        asyncio.run(store.delete("a/k"))
    assert caught.value.fields["error_code"] == "ArchiveGone"
    monkeypatch.undo()
    (tmp_path / "away").rename(root)
    assert asyncio.run(store.get("a/k")) == b"x"
    asyncio.run(store.delete("a/k"))
    asyncio.run(store.delete("a/k"))
    assert asyncio.run(store.head("a/k")) is None


def test_what_is_no_file_is_no_object(tmp_path: Path) -> None:
    """A pipe would be waited for until somebody writes to it, and a device reads as an object of no bytes."""
    root = tmp_path / "archive"
    store = LocalStore(root)
    asyncio.run(store.put("a/k", b"x"))
    (root / "a" / "link").symlink_to(root / "a" / "k")
    (root / "a" / "device").symlink_to("/dev/null")
    os.mkfifo(root / "a" / "pipe")
    assert [one.key for one in asyncio.run(store.list("")).objects] == ["a/k", "a/link"]
    for name in ("a/device", "a/pipe", "a"):
        assert asyncio.run(store.head(name)) is None
        with pytest.raises(Missing):
            asyncio.run(asyncio.wait_for(store.get(name), 1.0))
    assert asyncio.run(store.get("a/link")) == b"x"
    store.close()
