"""The LMDB engine with its real worker processes: life of a tree, damage, killed workers."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scrubjay.base.checksum import row_hash
from scrubjay.base.errors import Corrupt, Exhausted, Exists, Internal, Missing, Unavailable
from scrubjay.base.frames import LENGTH
from scrubjay.base.giving_way import NICE
from scrubjay.base.ids import Lsn, PartitionId, Stamp, uuid_bytes
from scrubjay.base.oserrors import error_of_os
from scrubjay.base.real.child import interpreter_arguments
from scrubjay.storage.btree import lmdb_engine, worker, worker_wire
from scrubjay.storage.btree.engine import EMPTY, Change, Tree, TreeState
from scrubjay.storage.btree.lmdb_engine import LmdbEngine
from scrubjay.storage.btree.lmdb_tree import TreeWriter, open_environment
from scrubjay.storage.btree.rowfile import RowFileWriter
from scrubjay.storage.log.digest import MASK, RangeDigest
from tests.unit.btree.engines import Bench, P

LO = bytes(16)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.close()


def key(n: int) -> bytes:
    return n.to_bytes(16, "big") + b"k%d" % n


def put(n: int, lsn: int, size: int = 30) -> Change:
    return Change(key(n), Lsn(lsn), Stamp(lsn * 10), b"%d-%d-" % (n, lsn) + b"x" * size)


def at(lsn: int) -> TreeState:
    return TreeState(Lsn(lsn), Stamp(lsn), b"extra%d" % lsn)


def test_life_of_a_tree(bench: Bench) -> None:
    tree: Tree = bench.run(bench.engine.create, P)
    assert tree.state == EMPTY
    assert tree.get(key(1)) is None
    assert list(tree.range(b"", None)) == []
    bench.run(tree.checkpoint, [put(n, n) for n in range(1, 301)], at(300))
    assert tree.state == at(300)
    row = tree.get(key(7))
    assert row == put(7, 7)
    bench.run(tree.checkpoint, [Change(key(7), Lsn(301), Stamp(1), None), put(8, 302)], at(302))
    assert tree.get(key(7)) is None
    assert [row.lsn for row in tree.range(key(6), key(10))] == [6, 302, 9]
    assert [row.lsn for row in tree.range(key(6), key(10), reverse=True)] == [9, 302, 6]
    tree.close()
    bench.close()
    again = Bench(bench.root)
    tree = again.run(again.engine.open, P)
    assert tree.state == at(302)
    assert len(list(tree.range(b"", None))) == 299
    with pytest.raises(Exists):
        again.run(again.engine.create, P)
    again.close()
    bench.loop, bench.disk = again.loop, again.disk


def test_a_checkpoint_must_continue_the_tree(bench: Bench) -> None:
    tree = bench.run(bench.engine.create, P)
    bench.run(tree.checkpoint, [put(1, 1)], at(1))
    tree._state = at(0)
    with pytest.raises(Exception, match="does not continue"):
        bench.run(tree.checkpoint, [put(2, 2)], at(2))


def test_missing_and_damaged_trees_do_not_open(bench: Bench) -> None:
    with pytest.raises(Missing):
        bench.run(bench.engine.open, P)
    tree = bench.run(bench.engine.create, P)
    bench.run(tree.checkpoint, [put(n, n) for n in range(1, 301)], at(300))
    tree.close()
    path = bench.root / "replicas" / P / "btree" / "data.mdb"
    data = bytearray(path.read_bytes())
    where = data.find(key(77))
    data[where + 3] ^= 4
    path.write_bytes(data)
    with pytest.raises(Corrupt):
        bench.run(bench.engine.open, P)
    aside = bench.engine.set_aside(P, "test")
    assert (bench.root / aside / "data.mdb").exists()
    with pytest.raises(Missing):
        bench.run(bench.engine.open, P)
    bench.run(bench.engine.create, P)


def test_a_bit_flipped_while_the_tree_is_open_is_found_by_the_next_read(bench: Bench) -> None:
    tree = bench.run(bench.engine.create, P)
    bench.run(tree.checkpoint, [put(n, n) for n in range(1, 301)], at(300))
    path = bench.root / "replicas" / P / "btree" / "data.mdb"
    with open(path, "r+b") as file:
        data = file.read()
        where = data.rfind(b"99-99-")
        file.seek(where)
        file.write(b"98")
    with pytest.raises(Corrupt) as caught:
        tree.get(key(99))
    assert caught.value.fields["key"] == key(99).hex()
    with pytest.raises(Corrupt):
        list(tree.range(key(90), key(110)))
    pin = bench.run(tree.pin, Lsn(300))
    result = bench.run(pin.digest, LO, None, bytes_per_second=None)
    assert result.bad == (key(99),)
    facts = {fact.key: fact.hash for fact in bench.run(pin.rows, key(98), key(101), 100)}
    assert facts[key(99)] == 0
    assert facts[key(100)] == row_hash(key(100), put(100, 100).item or b"")
    with pytest.raises(Corrupt):
        bench.run(pin.dump, "dump.rows")
    pin.release()


def test_pins_see_one_lsn_while_the_tree_moves_on(bench: Bench) -> None:
    tree = bench.run(bench.engine.create, P)
    rows = [put(n, n) for n in range(1, 101)]
    bench.run(tree.checkpoint, rows, at(100))
    with pytest.raises(Unavailable):
        bench.run(tree.pin, Lsn(99))
    pin = bench.run(tree.pin, Lsn(100))
    bench.run(tree.checkpoint, [put(n, n + 1000) for n in range(1, 51)], at(1100))
    result = bench.run(pin.digest, LO, None, bytes_per_second=10_000_000)
    expected = RangeDigest(LO, None)
    for row in rows:
        assert row.item is not None
        expected.add(row.key, row_hash(row.key, row.item))
    assert result.digest.encode() == expected.encode()
    assert (result.bad, result.structure) == ((), ())
    total = bench.run(pin.dump, "work/base.rows")
    assert total == expected.total()
    point = bench.run(pin.cut)
    left = sum(len(row.key) + len(row.item or b"") for row in rows if row.key < point.cut)
    assert (point.left, point.cut) == (left, key(51)[:16]), "half of the bytes, not of the range"
    halves = [
        bench.run(pin.dump, path, start=start, end=end) for path, start, end in (("low", b"", key(41)[:16]), ("high", key(41)[:16], None))
    ]
    assert [half.rows for half in halves] == [40, 60]
    assert sum(half.sum for half in halves) & MASK == total.sum, "every row is in one of them"
    pin.release()
    tree.close()
    loaded = bench.run(bench.engine.load, P, "work/base.rows", at(100))
    assert loaded.state == at(100)
    assert [row.lsn for row in loaded.range(b"", None)] == list(range(1, 101))


def test_load_replaces_a_tree_and_refuses_a_bad_file(bench: Bench) -> None:
    parts: list[bytes] = []
    writer = RowFileWriter(parts.append)
    for n in range(5000):
        writer.add(key(n), n, n, b"item%d" % n)
    total = writer.finish()
    data = b"".join(parts)
    (bench.root / "good").write_bytes(data)
    (bench.root / "bad").write_bytes(data[:200] + bytes([data[200] ^ 1]) + data[201:])
    tree = bench.run(bench.engine.create, P)
    with pytest.raises(Exists):
        bench.run(bench.engine.load, P, "good", at(9))
    tree.close()
    with pytest.raises(Corrupt):
        bench.run(bench.engine.load, P, "bad", at(9))
    tree = bench.run(bench.engine.open, P)
    assert tree.state == EMPTY
    tree.close()
    tree = bench.run(bench.engine.load, P, "good", at(9))
    assert tree.state == at(9)
    assert sum(row_hash(row.key, row.item) for row in tree.range(b"", None)) & MASK == total.sum
    bench.run(tree.checkpoint, [put(7, 10)], at(10))
    assert tree.get(key(7)) == put(7, 10)


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def test_a_tree_that_nobody_closed_is_closed_before_it_is_set_aside_or_removed(bench: Bench) -> None:
    """Whoever loaded it is gone: the next heal, or the drop of its table, must not stop at that."""
    engine = bench.engine
    tree = bench.run(engine.create, P)
    kept = engine.set_aside(P, "its holder died")
    assert (bench.root / kept / "data.mdb").exists()
    with pytest.raises(Internal, match="closed"):
        tree.get(b"k" * 17)
    bench.run(engine.create, P)
    second = engine.set_aside(P, "again")
    bench.engine._disk.remove_tree(kept)  # it was old
    bench.run(engine.create, P)
    assert len({kept, second, engine.set_aside(P, "once more")}) == 3, "a name that another one bears is not taken"
    bench.run(engine.create, P)
    engine.drop(P)
    assert not (bench.root / "replicas" / P).exists()
    assert bench.run(engine.create, P).state == EMPTY


@pytest.mark.slow
def test_a_worker_killed_in_a_checkpoint_is_replaced_and_the_checkpoint_repeated(bench: Bench) -> None:
    tree = bench.run(bench.engine.create, P)
    rand = random.Random(3)
    lsn = 0
    for turn in range(12):
        changes = sorted((put(n, lsn + 1, 500) for n in rand.sample(range(3000), 400)), key=lambda one: one.key)
        lsn += 1
        future = bench.start(tree.checkpoint, changes, at(lsn))
        if turn % 2 and turn < 10:  # the last turns are left alone: a killer must not reach the open below
            bench.loop.call_later(rand.random() * 0.02, _kill, bench.workers[-1].pid)
        bench.wait(future)
        assert tree.state == at(lsn)
        for change in changes[:20]:
            assert tree.get(change.key) == change
    tree.close()
    assert bench.run(bench.engine.open, P).state == at(lsn)
    assert len(bench.workers) > 3


def test_an_open_cut_short_leaves_a_marker_that_makes_the_next_one_thorough(bench: Bench) -> None:
    tree = bench.run(bench.engine.create, P)
    bench.run(tree.checkpoint, [put(n, n) for n in range(1, 301)], at(300))
    tree.close()
    folder = bench.root / "replicas" / P
    marker = folder / "opening"
    marker.write_bytes(b"1\n")
    tree = bench.run(bench.engine.open, P)
    assert not marker.exists(), "a plain kill in an open makes nobody suspect"
    tree.close()
    data = bytearray((folder / "btree" / "data.mdb").read_bytes())
    data[data.rfind(b"99-99-")] ^= 1
    (folder / "btree" / "data.mdb").write_bytes(data)
    tree = bench.run(bench.engine.open, P)
    tree.close()
    marker.write_bytes(b"1\n")
    with pytest.raises(Corrupt):
        bench.run(bench.engine.open, P)


def _two_rows(bench: Bench) -> None:
    tree = bench.run(bench.engine.create, P)
    bench.run(tree.checkpoint, [put(1, 1), put(2, 2)], at(2))
    tree.close()


def _stopped_open(bench: Bench) -> asyncio.Future[Any]:
    """An open whose worker stands still, so that a kill meets it while it serves."""
    os.kill(bench.workers[-1].pid, signal.SIGSTOP)
    return bench.start(bench.engine.open, P)


def test_a_worker_killed_while_verifying_is_replaced_and_the_open_goes_on(bench: Bench) -> None:
    _two_rows(bench)
    future = _stopped_open(bench)
    os.kill(bench.workers[-1].pid, signal.SIGKILL)
    assert bench.wait(future).state == at(2)


def test_workers_killed_again_and_again_say_nothing_about_the_tree(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel's out-of-memory killer, an operator: the open fails by name, nothing is kept, and the next one succeeds."""
    monkeypatch.setattr(lmdb_engine, "REPEATS", 0)
    _two_rows(bench)
    future = _stopped_open(bench)
    os.kill(bench.workers[-1].pid, signal.SIGKILL)
    with pytest.raises(Unavailable, match="storage worker died") as caught:
        bench.wait(future)
    assert "SIGKILL" in str(caught.value)
    assert bench.run(bench.engine.open, P).state == at(2)
    assert not (bench.root / "quarantine").exists()


def _die_of(bench: Bench, statuses: list[int]) -> None:
    """The worker that serves ends with each of `statuses` in turn, having said hello. The processes themselves are closed: a real fault cannot be timed."""
    engine = bench.engine
    assert isinstance(engine, LmdbEngine)
    writer = engine._writer
    for status in statuses:
        writer._silent = 0
        link, writer._link = writer._link, None
        assert link is not None
        link.close()
        writer._exited(status)


def test_a_tree_that_faults_every_worker_is_rot(bench: Bench) -> None:
    _two_rows(bench)
    future = bench.start(bench.engine.open, P)
    _die_of(bench, [-signal.SIGBUS] * (lmdb_engine.REPEATS + 1))
    with pytest.raises(Corrupt, match="kill every process"):
        bench.wait(future)


@pytest.mark.parametrize("statuses", [[-signal.SIGBUS, -signal.SIGKILL, -signal.SIGSEGV], [1, 1, 1], [-signal.SIGTERM] * 3])
def test_deaths_that_have_another_cause_prove_nothing(bench: Bench, statuses: list[int]) -> None:
    _two_rows(bench)
    future = bench.start(bench.engine.open, P)
    _die_of(bench, statuses)
    with pytest.raises(Unavailable, match="storage worker died"):
        bench.wait(future)
    assert bench.run(bench.engine.open, P).state == at(2)


def test_a_bug_in_reading_an_answer_is_told_to_who_asked_at_once(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    _two_rows(bench)
    heard: list[dict[str, Any]] = []
    bench.loop.set_exception_handler(lambda _, context: heard.append(context))

    def broken(*_: Any) -> Any:
        raise TypeError("no such argument")

    with monkeypatch.context() as patch:
        patch.setattr(LmdbEngine, "_read", broken)
        with pytest.raises(Internal, match=r"could not be read.*TypeError.*no such argument"):
            bench.run(bench.engine.open, P)
    assert [type(context["exception"]) for context in heard] == [TypeError], "and the log has it whole"
    tree: Tree = bench.run(bench.engine.open, P)
    with monkeypatch.context() as patch:
        patch.setattr(RangeDigest, "load", broken)
        pin = bench.run(tree.pin, Lsn(2))
        with pytest.raises(Internal, match="could not be read"):
            bench.run(pin.digest, LO, None, bytes_per_second=None)


class SilentLink:
    """In place of a worker process that has not answered yet."""

    def send(self, data: bytes) -> None: ...

    def close(self) -> None: ...


@pytest.mark.parametrize("dies", [False, True])
def test_who_falls_over_an_answer_holds_up_no_other(dies: bool) -> None:
    worker_ = lmdb_engine._Worker(lambda *_, **__: SilentLink(), (), in_order=False)
    told: list[Any] = []

    def falls(_: Any) -> None:
        raise KeyError("a bug")

    asked = [worker_wire.Release(worker_.next_id(), 1) for _ in range(3)]
    for request, reply in zip(asked, (told.append, falls, told.append), strict=True):
        worker_.call(request, reply)
    answers = b"".join(worker_wire.encode(worker_wire.Answer(request.id, "", "", {}, 7)) for request in asked)
    with pytest.raises(KeyError, match="a bug"):
        worker_._exited(1) if dies else worker_._data(answers)
    assert [type(one) for one in told] == [Unavailable if dies else int] * 2


def test_a_worker_that_cannot_be_started_is_named_and_tried_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    _two_rows(bench)
    engine = bench.engine
    assert isinstance(engine, LmdbEngine)
    bench.workers[-1].close()
    engine._writer._link = None

    def refused(*_: Any, **__: Any) -> Any:
        raise error_of_os(errno.EAGAIN, what="scrubjay.storage.btree.worker", action="start a worker process")

    with monkeypatch.context() as patch:
        patch.setattr(engine._writer, "_spawn", refused)
        with pytest.raises(Exhausted, match="processes"):
            bench.run(engine.open, P)
    assert bench.run(engine.open, P).state == at(2)


@pytest.mark.parametrize(
    ("limit", "bounds"),
    [("RLIMIT_NOFILE", (5, 5)), ("RLIMIT_AS", (1 << 20, 1 << 20))],
)
def test_lmdb_without_descriptors_or_memory_is_exhausted_not_corrupt(tmp_path: Path, limit: str, bounds: tuple[int, int]) -> None:
    """In a process of its own, with the real limit: both ways of opening."""
    script = f"""
import resource, sys
from scrubjay.base.errors import Exhausted
from scrubjay.base.ids import Lsn, Stamp
from scrubjay.storage.btree.engine import TreeState
from scrubjay.storage.btree.lmdb_tree import TreeWriter, open_environment
path = sys.argv[1]
writer = TreeWriter(path, bytes(16), create=True)
writer.create(TreeState(Lsn(0), Stamp(0), b""))
writer.close()
resource.setrlimit(resource.{limit}, {bounds})
named = []
for write in (False, True):
    held = []
    try:
        for _ in range(8):
            held.append(open("/dev/null"))
    except OSError:
        pass
    try:
        open_environment(path, write=write)
    except Exhausted as error:
        named.append(error.message)
    for one in held:
        one.close()
print(len(named), named)
"""
    out = subprocess.run([sys.executable, "-c", script, str(tmp_path / "tree")], capture_output=True, text=True, check=False)
    assert out.stdout.startswith("2 "), out.stdout + out.stderr


def test_more_trees_than_may_be_open_rest_and_are_opened_again(bench: Bench) -> None:
    """Constant descriptors and address space, whatever the number of partitions."""
    engine = bench.engine
    assert isinstance(engine, LmdbEngine)
    engine._readers_open_max = 3
    partitions = [PartitionId(f"00000000-0000-4000-8000-{n:012x}") for n in range(10)]
    trees = []
    before = len(list(Path("/proc/self/fd").iterdir()))
    for at_, partition in enumerate(partitions):
        tree = bench.run(engine.create, partition)
        bench.run(tree.checkpoint, [put(at_, 1)], at(1))
        trees.append(tree)
        assert len(engine._reading) <= 3
    for _ in range(2):
        for at_, tree in enumerate(trees):
            assert tree.get(key(at_)) == put(at_, 1)
            assert [row.key for row in tree.range(b"", None)] == [key(at_)]
    assert len(list(Path("/proc/self/fd").iterdir())) - before <= 3 * 2 + 8  # two each, and the worker's pipes
    bench.run(trees[0].checkpoint, [put(0, 2)], at(2))
    assert trees[0].get(key(0)) == put(0, 2)
    for tree in trees:
        tree.close()
    assert not engine._reading


def test_a_tree_that_was_changed_behind_a_resting_reader_is_found(bench: Bench) -> None:
    tree = bench.run(bench.engine.create, P)
    bench.run(tree.checkpoint, [put(1, 1)], at(1))
    tree.rest()
    other = TreeWriter(str(bench.root / "replicas" / P / "btree"), uuid_bytes(P))
    other.checkpoint([put(2, 2)], at(2), expected=1)
    other.close()
    with pytest.raises(Corrupt, match="not at the state it had"):
        tree.get(key(1))


@pytest.mark.parametrize("answered", [True, False], ids=["answered-late", "answer-lost"])
def test_a_tree_that_is_woken_between_a_commit_and_its_answer_is_not_rot(bench: Bench, answered: bool) -> None:
    """The worker has committed, the node does not know it yet, or never hears of it: the tree on disk is ahead of the known state, and right."""
    engine = bench.engine
    assert isinstance(engine, LmdbEngine)
    tree = bench.run(engine.create, P)
    bench.run(tree.checkpoint, [put(1, 1)], at(1))
    ordinary = engine.checkpoint
    replies: list[Any] = []
    results: list[Any] = []

    def held(partition: PartitionId, changes: Any, expected: TreeState, state: TreeState, done: Any) -> None:
        replies.append(done)
        ordinary(partition, changes, expected, state, reply)

    reply: Any = None

    def committed(done: Any) -> None:
        nonlocal reply
        reply = done
        engine.checkpoint = held  # type: ignore[method-assign]
        tree.checkpoint([put(1, 2), put(2, 2)], at(2), results.append)
        engine.checkpoint = ordinary  # type: ignore[method-assign]

    answer = bench.run(committed)
    assert results == []
    tree.rest()
    assert tree.get(key(1)) == put(1, 2)
    assert [row.key for row in tree.range(b"", None)] == [key(1), key(2)]
    assert tree.state == at(1), "a checkpoint counts from its answer on"
    replies[0](answer if answered else Unavailable("the storage worker died"))
    if answered:
        assert results == [None]
    else:
        assert isinstance(results[0], Unavailable)
        tree.rest()
        assert tree.get(key(2)) == put(2, 2)
        bench.run(tree.checkpoint, [put(1, 2), put(2, 2)], at(2))  # tried again: it was done before
    assert tree.state == at(2)
    tree.rest()
    assert tree.get(key(2)) == put(2, 2)
    bench.run(tree.checkpoint, [put(3, 3)], at(3))
    tree.rest()
    other = TreeWriter(str(bench.root / "replicas" / P / "btree"), uuid_bytes(P))
    other.checkpoint([put(4, 4)], at(4), expected=3)
    other.close()
    with pytest.raises(Corrupt, match="not at the state it had"):
        tree.get(key(1))  # a state that nobody here asked for is still found


def test_what_the_binding_refuses_says_nothing_of_bytes(bench: Bench) -> None:
    bench.run(bench.engine.create, P)
    with pytest.raises(Unavailable, match="already open in this process"):
        open_environment(str(bench.root / "replicas" / P / "btree"), write=False)


def test_a_folder_with_packages_named_like_ours_does_not_decide_what_workers_run(tmp_path: Path) -> None:
    """Started there, and with it on PYTHONPATH: neither the storage worker nor the job worker imports from it."""
    for name in ("storage", "base", "lmdb", "runpy"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(f"open({str(tmp_path / 'imported')!r}, 'a').write('{name} ')\nraise SystemExit(9)\n")
    for module, arguments in (
        ("scrubjay.storage.btree.worker", ["write", str(tmp_path), "1"]),
        ("scrubjay.base.real.job_worker", [str(tmp_path), "1"]),
    ):
        command = interpreter_arguments(module, arguments)
        subprocess.run(
            command,
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(tmp_path)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
        assert not (tmp_path / "imported").exists(), (module, (tmp_path / "imported").read_text())


def test_every_folder_a_new_tree_makes_is_synced_into_its_parent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A power loss after the first acknowledged write must find them: `replicas` in the node's folder, the partition in `replicas`, the tree in the partition."""
    synced: list[Path] = []
    sync_folder = worker.sync_folder
    monkeypatch.setattr(worker, "sync_folder", lambda path: (synced.append(path), sync_folder(path)))
    worker.WriteRole(tmp_path).handle(worker_wire.Build(1, P, None, 0, 0, b"", replace=False))
    made = tmp_path / "replicas" / P
    assert {tmp_path, tmp_path / "replicas", made} <= set(synced)
    assert synced.index(tmp_path / "replicas") < synced.index(made), "a folder is durable before what is put into it is relied on"


def test_workers_end_with_their_node(bench: Bench) -> None:
    bench.run(bench.engine.create, P)
    pid = bench.workers[0].pid
    bench.engine.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_writer_without_room_for_its_lock_ends_with_a_line(tmp_path: Path) -> None:
    command = interpreter_arguments("scrubjay.storage.btree.worker", ["write", str(tmp_path / "gone"), str(os.getpid())])
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [f"storage worker: {tmp_path}/gone/storage-worker.lock: No such file or directory"]


def test_a_worker_whose_node_died_while_it_started_ends_without_a_word(tmp_path: Path) -> None:
    """The pipes of who dies break before the kernel ends his children."""
    command = interpreter_arguments("scrubjay.storage.btree.worker", ["write", str(tmp_path), str(os.getpid())])
    ours, its = os.pipe()
    os.close(ours)
    with os.fdopen(its, "wb") as nobody_reads:
        done = subprocess.run(
            command, stdin=subprocess.PIPE, stdout=nobody_reads, stderr=subprocess.PIPE, text=True, timeout=60, check=False
        )
    assert (done.returncode, done.stderr) == (0, "")


def let_go(pid: int) -> int:
    """How often a process has given up the processor of its own will."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("voluntary_ctxt_switches")).split()[1])


@pytest.mark.slow
def test_scans_that_nobody_waits_for_give_way_and_rest_and_those_of_a_copy_that_is_to_serve_do_not(bench: Bench) -> None:
    assert isinstance(bench.engine, LmdbEngine)
    tree = bench.run(bench.engine.create, P)
    bench.run(tree.checkpoint, [put(n, n) for n in range(1, 12_001)], at(12_000))
    bench.engine.share(0.5)
    rested: dict[bool, int] = {}
    for hurry in (False, True):
        pin = bench.run(tree.pin, at(12_000).applied, hurry=hurry)
        pid = bench.workers[-1].pid
        assert os.getpriority(os.PRIO_PROCESS, pid) == min(19, os.nice(0) + (0 if hurry else NICE))
        before = let_go(pid)
        assert bench.run(pin.digest, LO, None, bytes_per_second=None).digest.total().rows == 12_000
        rested[hurry] = let_go(pid) - before
        pin.release()
    assert rested[False] > rested[True] + 5, rested


@pytest.mark.slow
def test_a_scan_that_waits_for_its_rate_is_not_looked_at(bench: Bench) -> None:
    """Each look is a turn of a core that somebody else wants: a wait of 0.4 s was a hundred of them."""
    assert isinstance(bench.engine, LmdbEngine)
    tree = bench.run(bench.engine.create, P)
    bench.run(tree.checkpoint, [put(n, n) for n in range(1, 3_001)], at(3_000))
    bench.engine.share(0.5)
    pin = bench.run(tree.pin, at(3_000).applied)
    size = bench.run(pin.digest, LO, None, bytes_per_second=None).bytes_read
    pid = bench.workers[-1].pid
    before = let_go(pid)
    bench.run(pin.digest, LO, None, bytes_per_second=int(size / 0.4))
    assert let_go(pid) - before < 60
    pin.release()


def test_a_scan_worker_that_was_replaced_keeps_to_the_share_too(bench: Bench) -> None:
    told: list[worker_wire.Request] = []

    class Link:
        def send(self, data: bytes) -> None:
            told.append(worker_wire.decode_request(data[LENGTH.size :]))

        def close(self) -> None: ...

    ends: list[Any] = []

    def spawn(module: str, arguments: Any, *, on_data: Any, on_exit: Any) -> Link:
        ends.append(on_exit)
        return Link()

    engine = LmdbEngine(str(bench.root), bench.disk, spawn)
    engine.share(0.25)
    engine.pin(P, 1, lambda _result: None, hurry=False)
    ends[-1](-9)
    engine.pin(P, 1, lambda _result: None, hurry=False)
    engine.share(1.0)
    assert [one.share if isinstance(one, worker_wire.Share) else "pin" for one in told] == [0.25, "pin", 0.25, "pin", 1.0]
    engine.close()
