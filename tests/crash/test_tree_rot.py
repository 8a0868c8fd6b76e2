"""Rot enumeration of a tree's file: whatever bit flips, a read is right or says Corrupt; it never gives a wrong byte and never says "not there" of what is.

A damaged page can kill the process that reads it, so images are read in forked children. A child that dies is an outcome too: in the product that child is
the storage worker, which walks a tree before the node serves it.
"""

from __future__ import annotations

import faulthandler
import os
import shutil
import struct
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from scrubjay.base.errors import Corrupt, ScrubjayError
from scrubjay.base.ids import Lsn, Stamp
from scrubjay.storage.btree import lmdb_tree
from scrubjay.storage.btree.engine import Change, Row, TreeState
from scrubjay.storage.btree.lmdb_tree import TreeReader, TreeWriter, open_databases, open_environment

PARTITION = bytes(range(16))
PAGE = 4096
ROWS = 260
_RESULT = struct.Struct("<IB")
OUTCOMES = ("right", "refused", "older", "WRONG", "killed")


def key(n: int) -> bytes:
    return (n * 7919 % 65521).to_bytes(4, "big") * 4 + b"%d" % n


def item(n: int, lsn: int) -> bytes:
    return b"item %d at %d " % (n, lsn) + b"v" * (n % 50)


def build(folder: Path) -> tuple[bytes, dict[int, dict[bytes, Row]]]:
    """A tree of three checkpoints. Its file, and its content at each applied LSN."""
    writer = TreeWriter(str(folder), PARTITION, create=True, map_size=1 << 24)
    writer.create(TreeState(Lsn(0), Stamp(0), b""))
    content: dict[bytes, Row] = {}
    states = {0: {}}
    for lsn, numbers in ((1, range(ROWS)), (2, range(0, ROWS, 3)), (3, range(1, ROWS, 5))):
        changes = []
        for n in numbers:
            gone = lsn == 3 and n % 2
            changes.append(Change(key(n), Lsn(lsn), Stamp(lsn), None if gone else item(n, lsn)))
            if gone:
                content.pop(key(n), None)
            else:
                content[key(n)] = Row(key(n), Lsn(lsn), Stamp(lsn), item(n, lsn))
        writer.checkpoint(sorted(changes), TreeState(Lsn(lsn), Stamp(lsn), b"x"), expected=lsn - 1)
        states[lsn] = dict(content)
    writer.close()
    return (folder / "data.mdb").read_bytes(), states


def judge(path: str, states: dict[int, dict[bytes, Row]], *, verify: bool) -> str:
    """Read everything there is to read. "refused" wins over "right"; any wrong answer is "WRONG"."""
    outcome = "right"
    try:
        environment = open_environment(path, write=False, map_size=1 << 24)
    except ScrubjayError:
        return "refused"
    try:
        databases = open_databases(environment, create=False)
        reader = TreeReader(environment.begin(), databases, PARTITION)
        applied = reader.facts().state.applied
        if verify:
            reader.verify(values=False)
    except ScrubjayError:
        return "refused"
    expected = states.get(applied)
    if expected is None:
        return "WRONG"
    for one in (*(key(n) for n in range(ROWS)), b"absent", key(3) + b"0", bytes(16), b"\xff" * 16):
        try:
            if reader.get(one) != expected.get(one):
                return "WRONG"
        except Corrupt:
            outcome = "refused"
    rows = [expected[one] for one in sorted(expected)]
    bounds = sorted(expected)[20:200:60]
    for start, end in ((b"", None), (bounds[0], bounds[1]), (bounds[1], bounds[2])):
        right = [row for row in rows if row.key >= start and (end is None or row.key < end)]
        for reverse in (False, True):
            got: list[Row] = []
            try:
                for row in reader.range(start, end, reverse=reverse):
                    got.append(row)  # noqa: PERF402  (what came before the error counts)
            except Corrupt:
                outcome = "refused"
                if got != (right[::-1] if reverse else right)[: len(got)]:
                    return "WRONG"
                continue
            if got != (right[::-1] if reverse else right):
                return "WRONG"
    return "older" if outcome == "right" and applied != max(states) else outcome


def judge_images(images: Sequence[bytes], judged: Callable[[str], str]) -> Counter[str]:
    """Each image in turn, in a child that is replaced when it dies."""
    counts: Counter[str] = Counter()
    folder = Path(tempfile.mkdtemp(dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
    at = 0
    try:
        while at < len(images):
            read, write = os.pipe()
            child = os.fork()
            if child == 0:
                status = 1
                faulthandler.disable()
                try:
                    for number in range(at, len(images)):
                        path = folder / str(number)
                        path.mkdir()
                        (path / "data.mdb").write_bytes(images[number])
                        result = judged(str(path))
                        os.write(write, _RESULT.pack(number, OUTCOMES.index(result)))
                        shutil.rmtree(path)
                    status = 0
                finally:
                    os._exit(status)
            os.close(write)
            with open(read, "rb") as results:
                while data := results.read(_RESULT.size):
                    number, result = _RESULT.unpack(data)
                    counts[OUTCOMES[result]] += 1
                    at = number + 1
            _, status = os.waitpid(child, 0)
            if status:
                assert os.WIFSIGNALED(status), f"image {at} raised"
                counts["killed"] += 1
                at += 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return counts


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, dict[int, dict[bytes, Row]]]:
    return build(tmp_path_factory.mktemp("tree") / "btree")


def flips(data: bytes, step: int) -> Iterator[bytes]:
    for bit in range(0, len(data) * 8, step):
        image = bytearray(data)
        image[bit // 8] ^= 1 << bit % 8
        yield bytes(image)


def test_the_tree_itself_is_right(tree: tuple[bytes, dict[int, dict[bytes, Row]]]) -> None:
    data, states = tree
    assert judge_images([data], lambda path: judge(path, states, verify=True)) == {"right": 1}


@pytest.mark.parametrize("step", [1511, pytest.param(503, marks=pytest.mark.slow)])
def test_no_flip_gives_a_wrong_answer(tree: tuple[bytes, dict[int, dict[bytes, Row]]], step: int) -> None:
    data, states = tree
    counts = judge_images(list(flips(data, step)), lambda path: judge(path, states, verify=False))
    assert counts["WRONG"] == 0, counts
    assert counts["refused"] > counts.total() // 10, counts
    assert counts["killed"] < 0.02 * counts.total(), counts


@pytest.mark.slow
def test_lost_and_swapped_and_stale_pages_give_no_wrong_answer(tree: tuple[bytes, dict[int, dict[bytes, Row]]]) -> None:
    data, states = tree
    images = []
    pages = len(data) // PAGE
    for page in range(pages):
        for other in (None, (page + 1) % pages, (page + 5) % pages):
            image = bytearray(data)
            image[page * PAGE : (page + 1) * PAGE] = bytes(PAGE) if other is None else data[other * PAGE : (other + 1) * PAGE]
            images.append(bytes(image))
    images += [data[: size * PAGE] for size in range(3, pages)]
    counts = judge_images(images, lambda path: judge(path, states, verify=True))
    assert counts["WRONG"] == 0, counts
    assert counts["refused"] > 10, counts


@pytest.mark.slow
def test_negative_control_without_row_hashes_flips_come_out(
    tree: tuple[bytes, dict[int, dict[bytes, Row]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    data, states = tree

    def blind(found: bytes, value: bytes) -> Row:
        return Row(found, Lsn(int.from_bytes(value[10:18], "little")), Stamp(int.from_bytes(value[18:26], "little")), value[26:])

    monkeypatch.setattr(lmdb_tree, "decode_value", blind)
    counts = judge_images(list(flips(data, 4001)), lambda path: judge(path, states, verify=False))
    assert counts["WRONG"] > 5, counts


@pytest.mark.slow
def test_negative_control_without_fences_absences_are_wrong(
    tree: tuple[bytes, dict[int, dict[bytes, Row]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    data, states = tree
    monkeypatch.setattr(TreeReader, "check_absent", lambda self, key: None)
    counts = judge_images(list(flips(data, 4001)), lambda path: judge(path, states, verify=False))
    assert counts["WRONG"] > 0, counts
