"""What idle tables cost: many tables that nobody writes to must make no object beyond `closed/`, and still move every `latest`.

The cluster is what `server/` assembles: agents, windows, scrub, healer, restores and health run all the while, and every look at health is a good one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

from scrubjay.archiver.write.agent_state import AgentOptions
from scrubjay.archiver.write.attach import attach
from scrubjay.base.env import Env
from scrubjay.base.together import settle
from scrubjay.sim.whole.cluster import CLUSTER, WholeCluster
from scrubjay.sim.whole.commands import SCHEMA, put
from scrubjay.sim.world import World
from scrubjay.storage.backend import TableSpec
from scrubjay.storage.catalogue import Throughput

SECOND = 1_000_000


@dataclass
class IdleResult:
    """new_objects: keys made during the idle time that are not in `closed/`. closed: objects made in `closed/`. lag_s: the worst `now - latest` at the end.
    moved: tables whose latest moved, as the server shows it. puts to lists: requests to the store in that time. frames: between nodes. events: of the simulator.
    troubles: looks at health, one every ten seconds, that were not ok."""

    tables: int = 0
    new_objects: list[str] = field(default_factory=list)
    closed: int = 0
    closed_bytes: int = 0
    lag_s: float = 0.0
    moved: int = 0
    puts: int = 0
    heads: int = 0
    gets: int = 0
    lists: int = 0
    frames: int = 0
    events: int = 0
    looks: int = 0
    troubles: list[str] = field(default_factory=list)


class IdleRun:
    """idle: tables with one item each. empty: tables without any. seconds: of idleness."""

    def __init__(self, *, idle: int, empty: int, seconds: int, seed: int = 1) -> None:
        self.world = World(seed)
        self.cluster = WholeCluster(self.world, agent=AgentOptions(), wal_file_bytes=1 << 20)
        self._idle, self._empty, self._seconds = idle, empty, seconds
        self.idling = False
        """Everything has come to rest and is watched."""
        self.result = IdleResult(tables=idle + empty)

    def run(self) -> IdleResult:
        """Raises AssertionError if the tables never come up or are never archived."""
        env = self.cluster.env
        main = env.tasks.spawn(self._main(env), name="idle")
        self.world.run(until_us=(self._seconds + 900) * SECOND, stop=main.done)
        assert main.done(), "the run did not come to its end"
        main.result()
        self.result.events = self.world.events
        return self.result

    async def _main(self, env: Env) -> None:
        await self._at_rest(env)
        result, index = self.result, self.cluster.durability.archive.index
        before = dict.fromkeys(self.cluster.archive.objects)
        latest = {key: found.window().latest_us for key, found in index.partitions.items()}
        requests, frames = self.cluster.archive.requests, self.world.net.sent
        puts, gets, lists, heads = requests.put, requests.get, requests.list, requests.head
        self.idling = True
        await self._watch(env)
        self.idling = False
        made = sorted(key for key in self.cluster.archive.objects if key not in before)
        result.puts, result.gets, result.lists = requests.put - puts, requests.get - gets, requests.list - lists
        result.heads = requests.head - heads
        result.frames = self.world.net.sent - frames
        closed = [key for key in made if "/closed/" in key]
        result.closed, result.closed_bytes = len(closed), sum(len(self.cluster.archive.objects[key].data) for key in closed)
        result.new_objects = [key for key in made if "/closed/" not in key]
        now = env.clock.wall_us()
        lags = []
        for key, found in sorted(index.partitions.items()):
            after, then = found.window().latest_us, latest.get(key)
            result.moved += after is not None and then is not None and after > then
            lags.append(now - after if after is not None else now)
        result.lag_s = max(lags) / SECOND

    async def _at_rest(self, env: Env) -> None:
        """Every table is there, its rows are archived, and whatever that entails has come to rest."""
        cluster = self.cluster
        await attach(cluster.look, env, cluster_id=CLUSTER, folder_is_new=True)
        cluster.start()
        await cluster.up()
        for number in range(self._idle + self._empty):
            await cluster.store.create_table(
                TableSpec(name=f"t{number:05d}", key=SCHEMA, attributes=(("k", "S"),), billing="PAY_PER_REQUEST", throughput=Throughput())
            )
        while cluster.store.unhosted() or any(table.status != "ACTIVE" for table in cluster.metadata.tables.values()):
            await env.tasks.sleep(0.5)
        for number in range(self._idle):
            table = cluster.store.table(f"t{number:05d}")
            assert table is not None
            future = env.tasks.future()
            cluster.store.write(table, put(number, 1, blind=True), partial(settle, future))
            await future
        while cluster.store.unarchived_bytes():
            await env.tasks.sleep(1.0)
        await env.tasks.sleep(90.0)

    async def _watch(self, env: Env) -> None:
        end_us = self.world.now + self._seconds * SECOND
        while self.world.now < end_us:
            await env.tasks.sleep(min(10.0, (end_us - self.world.now) / SECOND))
            view = self.cluster.health.view()
            self.result.looks += 1
            if view.health != "ok" or not view.durable:
                self.result.troubles.append(f"{view.health}: {view.problems}")
