"""What idle tables cost: an hour of many tables that nobody writes to must make no object beyond `closed/`, and still move every `latest`."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

from archiver.agent import ArchiveAgent
from archiver.identity import attach
from archiver.index import ArchiveIndex
from archiver.writer import Writer
from base.env import Env
from base.wrap.metered import MeteredStore
from base.wrap.retry import RetryingStore
from server.node import RunningNode
from server.windows import Windows
from sim.whole.cluster import CLUSTER, WholeCluster
from sim.whole.commands import SCHEMA, Put
from sim.world import Host, World
from storage.api.backend import TableSpec
from storage.control.catalogue import Throughput

SECOND = 1_000_000


@dataclass
class IdleResult:
    """new_objects: keys made during the hour that are not in `closed/`. closed: objects made in `closed/`. lag_s: the worst `now - latest` at the end.
    moved: tables whose latest moved, as the server shows it, which follows the archive all the while. puts to lists: requests to the store during the hour. frames: between nodes. syncs and events: of the simulator."""

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


class IdleRun:
    """idle: tables with one item each. empty: tables without any. seconds: of idleness."""

    def __init__(self, *, idle: int, empty: int, seconds: int, seed: int = 1) -> None:
        self.world = World(seed)
        self.cluster = WholeCluster(self.world, wal_file_bytes=1 << 20)
        self.cluster.on_node.append(self._start_agent)
        self._writer = Writer(CLUSTER)
        self._idle, self._empty, self._seconds = idle, empty, seconds
        self._agents: list[ArchiveAgent] = []
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

    def _start_agent(self, host: Host, life: RunningNode) -> None:
        store = RetryingStore(self.cluster.archive.client(host.env.tasks), host.env)
        agent = ArchiveAgent(host.env, store, life.source, self._writer)
        agent.start()
        self._agents.append(agent)

    async def _main(self, env: Env) -> None:
        cluster, result = self.cluster, self.result
        client = RetryingStore(cluster.archive.client(env.tasks), env)
        await attach(client, env, cluster_id=CLUSTER, folder_is_new=True)
        cluster.start()
        await cluster.up()
        cluster.claim(client, self._writer)
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
            cluster.store.write(table, Put(number, 1, blind=True), partial(_settle, future))
            await future
        while cluster.store.unarchived_bytes():
            await env.tasks.sleep(1.0)
        await env.tasks.sleep(60.0)  # attestations and their bookkeeping come to rest
        index = ArchiveIndex(client, CLUSTER, tasks=env.tasks)
        windows = Windows(
            env, client, index, MeteredStore(client, env), url=cluster.archive.url, lag_alarm_us=60 * SECOND, log=self.world.note
        )
        windows.watch(cluster.parts, self._agents)
        windows.start()
        await env.tasks.sleep(30.0)
        before = dict.fromkeys(cluster.archive.objects)
        latest = {key: found.window().latest_us for key, found in index.partitions.items()}
        requests, frames = cluster.archive.requests, self.world.net.sent
        puts, gets, lists, heads = requests.put, requests.get, requests.list, requests.head
        await env.tasks.sleep(float(self._seconds))
        made = sorted(key for key in cluster.archive.objects if key not in before)
        result.puts, result.gets, result.lists = requests.put - puts, requests.get - gets, requests.list - lists
        result.heads = requests.head - heads
        result.frames = self.world.net.sent - frames
        closed = [key for key in made if "/closed/" in key]
        result.closed, result.closed_bytes = len(closed), sum(len(cluster.archive.objects[key].data) for key in closed)
        result.new_objects = [key for key in made if "/closed/" not in key]
        now = env.clock.wall_us()
        windows.stop()
        lags = []
        for key, found in sorted(index.partitions.items()):
            after, then = found.window().latest_us, latest.get(key)
            result.moved += after is not None and then is not None and after > then
            lags.append(now - after if after is not None else now)
        result.lag_s = max(lags) / SECOND


def _settle(future: object, answer: object) -> None:
    future.set_result(answer)  # type: ignore[attr-defined]
