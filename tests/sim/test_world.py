"""The simulated ports: order of events, clocks, lives, futures, faulty disk, network and store."""

from __future__ import annotations

import gc
import sys
import warnings

import pytest

import scrubjay.sim.tasks as tasks_of_the_simulator
from scrubjay.archiver.read.index import KnownArchived
from scrubjay.base.errors import Corrupt, DiskFull, Exists, Missing, ScrubjayError, Unavailable
from scrubjay.base.ids import NodeName
from scrubjay.sim.disk import SimDisk
from scrubjay.sim.events import Life
from scrubjay.sim.store import SimStore
from scrubjay.sim.tasks import Cancelled
from scrubjay.sim.world import World, WorldHost


def _host(world: World, name: str = "n1") -> WorldHost:
    host = world.add_host(NodeName(name), build=lambda host: object())
    host.start()
    return host


def test_events_run_in_the_order_of_time_then_of_being_asked_for() -> None:
    world, seen = World(1), []
    world.after(20, lambda: seen.append("c"))
    world.after(10, lambda: seen.append("a"))
    world.after(10, lambda: seen.append("b"))
    gone = world.after(15, lambda: seen.append("never"))
    gone.cancel()
    world.run(until_us=100)
    assert seen == ["a", "b", "c"]
    assert world.now == 100


def test_a_clock_has_its_own_rate_and_a_boot_clock_never_goes_back() -> None:
    world = World(1)
    host = _host(world)
    host.clock._rate += 2_000
    boot, wall = host.clock.boot_us(), host.clock.wall_us()
    world.run(until_us=1_000_000)
    assert host.clock.boot_us() - boot == 1_002_000
    host.clock.jump(-500_000)
    assert host.clock.wall_us() - wall == 502_000
    assert host.clock.boot_us() - boot == 1_002_000
    host.clock.reboot()
    assert host.clock.boot_us() == 5_000_000


def test_a_dead_life_runs_nothing_and_a_paused_one_later() -> None:
    world, seen = World(1), []
    host = _host(world)
    tasks = host.env.tasks
    tasks.call_later(0.001, lambda: seen.append("dead"))
    host.crash(power=False)
    host.start()
    host.env.tasks.call_later(0.001, lambda: seen.append("paused"))
    host.life.pause()
    world.run(until_us=10_000)
    assert seen == []
    host.life.resume()
    world.run(until_us=20_000)
    assert seen == ["paused"]


def test_tasks_await_sleep_raise_and_are_cancelled() -> None:
    world = World(1)
    tasks = _host(world).env.tasks
    log: list[object] = []

    async def child() -> int:
        await tasks.sleep(0.01)
        log.append(("slept", world.now))
        return 7

    async def bad() -> None:
        await tasks.sleep(0.001)
        raise Unavailable("no")

    async def parent() -> None:
        log.append(await tasks.spawn(child(), name="child"))
        try:
            await tasks.spawn(bad(), name="bad")
        except Unavailable:
            log.append("caught")
        log.append(await tasks.blocking(lambda: 3))
        try:
            await tasks.sleep(100)
        except Cancelled:
            log.append("cancelled")
            raise

    task = tasks.spawn(parent(), name="parent")
    world.run(until_us=50_000)
    assert log == [("slept", 10_000), 7, "caught", 3]
    task.cancel()
    world.run(until_us=60_000)
    assert log[-1] == "cancelled"
    assert task.done()
    with pytest.raises(Cancelled):
        task.result()


def test_an_exception_nobody_awaits_is_kept() -> None:
    world = World(1)
    tasks = _host(world).env.tasks

    async def bad() -> None:
        raise Unavailable("no")

    tasks.spawn(bad(), name="bad")
    world.run(until_us=2_000_000)
    assert [name for name, _ in tasks.failures] == ["bad"]  # type: ignore[attr-defined]


def test_futures_wake_in_the_order_of_waiting() -> None:
    world = World(1)
    tasks = _host(world).env.tasks
    future, seen = tasks.future(), []

    async def wait(name: str) -> None:
        seen.append((name, await future))

    for name in "abc":
        tasks.spawn(wait(name), name=name)
    world.run(until_us=10)
    future.set_result(1)
    world.run(until_us=20)
    assert seen == [("a", 1), ("b", 1), ("c", 1)]


def _disk(world: World) -> SimDisk:
    host = _host(world)
    host.disk.mkdir("d")
    return host.disk


def test_synced_bytes_survive_and_unsynced_are_lost_torn_or_kept() -> None:
    outcomes: dict[bytes, None] = {}
    for seed in range(40):
        world = World(seed)
        disk = _disk(world)
        file = disk.open("d/f", create_size=2048)
        disk.sync_dir("d")
        file.write(0, b"s" * 600)
        file.sync()
        file.write(600, b"u" * 1400)
        world.hosts[NodeName("n1")].crash(power=True)
        data = disk.read_file("d/f")
        assert data is not None
        assert data[:600] == b"s" * 600
        outcomes[data[600:]] = None
    assert bytes(1448) in outcomes, "all lost"
    assert b"u" * 1400 + bytes(48) in outcomes, "all kept"
    assert len(outcomes) > 3, "torn at sectors"


def test_a_crash_of_the_process_alone_loses_nothing_written() -> None:
    world = World(1)
    disk = _disk(world)
    disk.open("d/f", create_size=10).write(0, b"x" * 10)
    world.hosts[NodeName("n1")].crash(power=False)
    assert disk.read_file("d/f") == b"x" * 10


def test_directory_entries_are_durable_after_sync_dir_only() -> None:
    lost = 0
    for seed in range(20):
        world = World(seed)
        disk = _disk(world)
        disk.open("d/synced", create_size=1)
        disk.sync_dir("d")
        disk.open("d/unsynced", create_size=1)
        disk.write_file("d/atomic", b"whole")
        world.hosts[NodeName("n1")].crash(power=True)
        assert disk.exists("d/synced")
        assert disk.read_file("d/atomic") == b"whole"
        lost += not disk.exists("d/unsynced")
    assert 0 < lost < 20


def test_a_failed_sync_drops_its_pages_and_the_file_stays_broken() -> None:
    world = World(1)
    disk = _disk(world)
    file = disk.open("d/f", create_size=100)
    disk.sync_dir("d")
    disk.faults.sync_error = 1.0
    seen: list[ScrubjayError | None] = []
    file.write_sync(0, [b"a" * 50], seen.append)
    world.run(until_us=10_000)
    assert isinstance(seen[0], Corrupt)
    disk.faults.sync_error = 0.0
    with pytest.raises(Corrupt):
        file.sync()
    world.hosts[NodeName("n1")].crash(power=True)
    assert disk.read_file("d/f") == bytes(100)


def test_a_full_disk_and_rot() -> None:
    world = World(1)
    host = world.add_host(NodeName("n1"), build=lambda host: None, disk_bytes=1_000)
    host.start()
    host.disk.mkdir("d")
    file = host.disk.open("d/f", create_size=900)
    with pytest.raises(DiskFull):
        file.write(900, b"x" * 200)
    with pytest.raises(Exists):
        host.disk.open("d/f", create_size=1)
    with pytest.raises(Missing):
        host.disk.open("d/none")
    at = host.disk.flip_bit("d/f")
    assert at is not None
    assert file.pread(at, 1) != b"\0"
    host.disk.make_unreadable("d/f", 10, 20)
    with pytest.raises(Corrupt):
        file.pread(0, 11)
    assert file.pread(20, 5) is not None


def test_links_lose_double_delay_and_are_cut() -> None:
    world = World(3)
    a, b = _host(world, "a"), _host(world, "b")
    got: list[bytes] = []
    b.network.listen(lambda sender, frame: got.append(frame))
    world.net.faults.loss = world.net.faults.duplicate = 0.3
    for number in range(200):
        a.network.send(b.name, bytes([number]))
    world.run(until_us=1_000_000)
    assert 100 < len({*got}) < 180
    assert len(got) > len({*got})
    assert got != sorted(got), "reordered"
    world.net.faults.loss = world.net.faults.duplicate = 0.0
    got.clear()
    world.net.cut_link(a.name, b.name)
    a.network.send(b.name, b"x")
    world.run(until_us=2_000_000)
    assert got == []
    world.net.heal()
    a.network.send(b.name, b"y")
    world.run(until_us=3_000_000)
    assert got == [b"y"]


def test_the_store_creates_once_and_lies_only_as_told() -> None:
    world = World(5)
    tasks = _host(world).env.tasks
    store = SimStore(world)
    client = store.client(tasks)
    results: list[object] = []

    async def work() -> None:
        await client.put("a/b", b"1")
        try:
            await client.put("a/b", b"2")
        except Exists:
            results.append("exists")
        results.append(await client.get("a/b"))
        results.append((await client.list("a/")).objects[0].key)
        store.faults.timeout_after = 1.0
        try:
            await client.put("a/c", b"3")
        except Unavailable:
            results.append("c" in store.objects or "a/c" in store.objects)
        store.faults.timeout_after = 0.0
        store.faults.short_body = 1.0
        try:
            await client.get("a/b")
        except Unavailable:
            results.append("short")
        store.faults.short_body = 0.0
        store.flip_bit("a/b")
        results.append(await client.get("a/b") != b"1")
        store.lose("a/b")
        results.append(await client.head("a/b"))

    task = tasks.spawn(work(), name="work")
    world.run(until_us=10_000_000)
    task.result()
    assert results == ["exists", b"1", "a/b", True, "short", True, None]


def test_lives_end_once() -> None:
    world = World(1)
    life = Life(world)
    ran: list[int] = []
    life.run(lambda: ran.append(1))
    life.end()
    life.run(lambda: ran.append(2))
    assert ran == [1]


@pytest.mark.slow
def test_a_task_that_the_end_of_its_world_keeps_from_starting_is_nobodys_fault() -> None:
    async def nap(host: WorldHost) -> None:
        await host.env.tasks.sleep(1)

    def left() -> None:
        world = World(1)
        host = _host(world)
        host.env.tasks.spawn(nap(host), name="never started")
        host.crash(power=False)
        host.env.tasks.spawn(nap(host), name="of a dead life")

    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        left()
        gc.collect()
    assert [str(one.message) for one in seen if "nap" in str(one.message)] == []


@pytest.mark.slow
def test_a_task_that_never_began_is_nobodys_fault_in_whatever_order_its_circle_ends() -> None:
    """A collection ends a circle's objects in its own order: here the coroutine lies in the older generation, its world in the younger."""

    async def nap(holder: list[WorldHost]) -> None:
        await holder[0].env.tasks.sleep(1)

    def left() -> None:
        holder: list[WorldHost] = []
        coro = nap(holder)
        gc.collect()
        holder.append(_host(World(1)))
        holder[0].env.tasks.spawn(coro, name="never started")

    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        left()
        gc.collect()
    assert [str(one.message) for one in seen if "nap" in str(one.message)] == []


def test_a_task_that_never_began_is_nobodys_fault_where_a_collection_comes_while_a_named_tuple_is_made() -> None:
    """There its constructor runs, whose text has builtins of its own."""

    async def nap(host: WorldHost) -> None:
        await host.env.tasks.sleep(1)

    def left() -> None:
        host = _host(World(1))
        host.env.tasks.spawn(nap(host), name="never started")

    told: list[str] = []
    collect = eval("lambda collect: collect()", KnownArchived.__new__.__globals__)
    with warnings.catch_warnings(record=True) as seen, pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "unraisablehook", lambda unraisable: told.append(str(unraisable.object)))
        warnings.simplefilter("always")
        left()
        collect(gc.collect)
    assert [one for one in [*told, *(str(one.message) for one in seen)] if "nap" in one] == []


def test_a_coroutine_that_nobody_spawned_is_still_told() -> None:
    async def forgotten() -> None:
        pass

    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        forgotten()  # type: ignore[unused-coroutine]
        gc.collect()
    assert f"coroutine '{forgotten.__qualname__}' was never awaited" in [str(one.message) for one in seen]


def test_what_began_is_no_longer_kept_in_mind() -> None:
    async def short() -> None:
        pass

    world, coro = World(1), short()
    task = _host(world).env.tasks.spawn(coro, name="short")
    assert id(coro) in tasks_of_the_simulator._handed_over
    world.run(until_us=1)
    assert task.done()
    assert id(coro) not in tasks_of_the_simulator._handed_over
