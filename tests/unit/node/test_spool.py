"""Row files on their way to a node: in order, as they were sent, bounded, and gone when nobody wants them any more."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

import pytest

from scrubjay.base.checksum import crc32c_masked
from scrubjay.base.errors import Corrupt, DiskFull, Invalid, Missing, ScrubjayError, Unavailable
from scrubjay.sim.world import World, WorldHost
from scrubjay.storage.node.errand_messages import ROOM_LEFT_BYTES
from scrubjay.storage.node.spool import FILES_MAX, FOLDER, IDLE_S, Spool

SECOND = 1_000_000


class Place:
    """A host whose process is a spool."""

    def __init__(self) -> None:
        self.world = World(1)
        self.host: WorldHost = self.world.add_host("n1", build=lambda host: Spool(host.env, host.disk))  # type: ignore[arg-type]
        self.host.start()

    @property
    def spool(self) -> Spool:
        spool: Spool = self.host.process
        return spool

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        async def body() -> Any:
            try:
                return await work
            except ScrubjayError as error:
                return error

        task = self.host.env.tasks.spawn(body(), name="test")
        assert self.world.run(until_us=self.world.now + 60 * SECOND, stop=task.done)
        return task.result()

    def send(self, file: int, offset: int, data: bytes, crc: int | None = None) -> Any:
        return self.run(self.spool.chunk(file, offset, data, crc32c_masked(data) if crc is None else crc))

    def pass_time(self, seconds: float) -> None:
        self.world.run(until_us=self.world.now + int(seconds * SECOND))


@pytest.fixture
def place() -> Place:
    return Place()


def test_a_file_is_what_was_sent_whatever_was_sent_twice(place: Place) -> None:
    file = place.spool.receive(10)
    assert [place.send(file, 0, b"0123"), place.send(file, 0, b"0123"), place.send(file, 4, b"456789")] == [4, 4, 10]
    path = place.spool.take(file)
    assert place.host.disk.read_file(path) == b"0123456789"
    place.spool.discard(file)
    assert place.host.disk.listdir(FOLDER) == []


def test_a_chunk_that_is_not_what_was_sent_is_refused_and_may_be_sent_again(place: Place) -> None:
    file = place.spool.receive(4)
    assert isinstance(place.send(file, 0, b"0123", crc=crc32c_masked(b"0133")), Corrupt)
    assert place.send(file, 0, b"0123") == 4
    assert place.host.disk.read_file(place.spool.take(file)) == b"0123"


def test_no_gap_no_surplus_and_no_half_file(place: Place) -> None:
    file = place.spool.receive(8)
    assert place.send(file, 0, b"0123") == 4
    assert isinstance(place.send(file, 5, b"5"), Invalid)
    assert isinstance(place.send(file, 4, b"45678"), Invalid)
    with pytest.raises(Invalid):
        place.spool.take(file)


def test_a_file_that_nobody_adds_to_goes_by_itself_and_one_in_use_stays(place: Place) -> None:
    left, used = place.spool.receive(8), place.spool.receive(4)
    place.send(left, 0, b"0123")
    place.send(used, 0, b"0123")
    path = place.spool.take(used)
    place.pass_time(IDLE_S + 1)
    assert place.host.disk.listdir(FOLDER) == [path.rpartition("/")[2]]
    assert isinstance(place.send(left, 4, b"4567"), Missing)


def test_a_start_removes_what_an_earlier_life_left(place: Place) -> None:
    file = place.spool.receive(8)
    place.send(file, 0, b"0123")
    place.host.crash(power=False)
    place.host.start()
    assert place.host.disk.listdir(FOLDER) == []
    assert isinstance(place.send(file, 4, b"4567"), Missing)


def test_only_so_many_and_only_where_there_is_room(place: Place) -> None:
    files = [place.spool.receive(8) for _ in range(FILES_MAX)]
    with pytest.raises(Unavailable) as refused:
        place.spool.receive(8)
    assert refused.value.fields["files"] == FILES_MAX
    place.spool.discard(files[0])
    place.host.disk.capacity = ROOM_LEFT_BYTES + 7
    with pytest.raises(DiskFull):
        place.spool.receive(8)
    place.host.disk.capacity += 1
    place.spool.receive(8)


def test_a_disk_that_fills_while_a_file_comes_leaves_nothing_of_it(place: Place) -> None:
    file = place.spool.receive(8)
    place.send(file, 0, b"0123")
    place.host.disk.capacity = 4
    assert isinstance(place.send(file, 4, b"4567"), DiskFull)
    assert (len(place.spool), place.host.disk.listdir(FOLDER)) == (0, [])


def test_what_is_said_of_a_file_of_an_earlier_life_meets_no_other_file(place: Place) -> None:
    """Whoever brings a file when the node dies goes on with its next chunk, or gives the file up: another one's must not be filled, or go."""
    before = place.spool.receive(10)
    place.pass_time(0.1)
    place.host.crash(power=False)
    place.host.start()
    now = place.spool.receive(10)
    assert isinstance(place.send(before, 0, b"strange"), Missing)
    place.spool.discard(before)
    assert place.send(now, 0, b"0123456789") == 10
    assert place.spool.take(now)
