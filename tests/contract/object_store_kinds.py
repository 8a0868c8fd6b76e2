"""Every kind of object store, each with a way to run coroutines against it: what the contract suite is parametrised over."""

from __future__ import annotations

import asyncio
import os
import time
import uuid
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from minio.error import ServerError

from scrubjay.base.env import Env, ObjectStore
from scrubjay.base.errors import Unavailable
from scrubjay.base.ids import NodeName
from scrubjay.base.real.clock import RealClock
from scrubjay.base.real.loop import AsyncTasks, run
from scrubjay.base.real.rand import RealRand
from scrubjay.base.real.stores import bare_store
from scrubjay.base.sealed import Key, Keyring
from scrubjay.base.wrap.encrypted import EncryptedStore
from scrubjay.base.wrap.paired import FIRST, PairedStore
from tests.fixtures.s3 import S3Server

T = TypeVar("T")
RING = Keyring((Key("new", b"n" * 32), Key("old", b"o" * 32)))


@dataclass
class Kind:
    """One store, empty at first. run(main): runs main(store, env) to its end."""

    name: str
    run: Callable[[Callable[[ObjectStore, Env], Coroutine[Any, Any, Any]]], Any]


async def settle(store: ObjectStore) -> None:
    """A server that has just made a bucket may still be making room for its first object (SeaweedFS answers 500 for a moment)."""
    for attempt in range(40):
        try:
            await store.put("settle", b"x")
            break
        except Unavailable:
            if attempt == 39:
                raise
            await asyncio.sleep(0.1)
    await store.delete("settle")


def real(name: str, url: str, environment: dict[str, str], *, ring: Keyring | None = None) -> Kind:
    """A store on asyncio. Opened anew for each run: what counts is what is in it."""

    def go(main: Callable[[ObjectStore, Env], Coroutine[Any, Any, T]]) -> T:
        async def whole(tasks: AsyncTasks) -> T:
            store = bare_store(url, environment=environment)
            try:
                await settle(store)
                used = store if ring is None else EncryptedStore(store, ring, random=os.urandom)
                return await main(used, Env(RealClock(), RealRand(), tasks))
            finally:
                store.close()

        return run(whole)

    return Kind(name if ring is None else f"sealed-{name}", go)


def simulated() -> Kind:
    from scrubjay.sim.store import SimStore
    from scrubjay.sim.world import World

    world = World(seed=7)
    store = SimStore(world)
    host = world.add_host(NodeName("n1"), build=lambda host: None)
    host.start()

    def go(main: Callable[[ObjectStore, Env], Coroutine[Any, Any, T]]) -> T:
        env = host.env
        task = env.tasks.spawn(main(store.client(env.tasks), env), name="contract")
        task.__await__()  # somebody wants its outcome
        assert world.run(until_us=world.now + 3_600_000_000, stop=task.done), "not done within an hour"
        return task.result()

    return Kind("sim", go)


def simulated_pair() -> Kind:
    """Two stores of one world, kept; the contract is that of one."""
    from scrubjay.sim.store import SimStore
    from scrubjay.sim.world import World

    world = World(seed=7)
    stores = [SimStore(world, name) for name in ("first", "second")]
    host = world.add_host(NodeName("n1"), build=lambda host: None)
    host.start()

    def go(main: Callable[[ObjectStore, Env], Coroutine[Any, Any, T]]) -> T:
        env = host.env
        task = env.tasks.spawn(main(kept(*(one.client(env.tasks) for one in stores), env=env), env), name="contract")
        task.__await__()
        assert world.run(until_us=world.now + 3_600_000_000, stop=task.done), "not done within an hour"
        return task.result()

    return Kind("pair-sim", go)


BRING_S = 0.1


def kept(first: ObjectStore, second: ObjectStore, *, env: Env) -> PairedStore:
    """A pair of which the first decides. What one lacks for a moment is brought, as `server.pairing` does."""
    pair = PairedStore(first, second, clock=env.clock)
    pair.keep(env.tasks)

    async def bring() -> None:
        for half in pair.halves:
            for key in list(half.lacking):
                await pair.copy(key, half)
        env.tasks.call_later(BRING_S, lambda: env.tasks.spawn(bring(), name="bring"))

    pair.turn = FIRST
    for half in pair.halves:
        half.compared = True
    env.tasks.spawn(bring(), name="bring")
    return pair


def real_pair(name: str, places: list[tuple[str, dict[str, str]]], *, ring: Keyring | None = None) -> Kind:
    """places: URL and environment of each."""

    def go(main: Callable[[ObjectStore, Env], Coroutine[Any, Any, T]]) -> T:
        async def whole(tasks: AsyncTasks) -> T:
            stores = [bare_store(url, environment=environment) for url, environment in places]
            try:
                for store in stores:
                    await settle(store)
                env = Env(RealClock(), RealRand(), tasks)
                pair = kept(*stores, env=env)
                return await main(pair if ring is None else EncryptedStore(pair, ring, random=os.urandom), env)
            finally:
                for store in stores:
                    store.close()

        return run(whole)

    return Kind(name if ring is None else f"sealed-{name}", go)


@contextmanager
def make(kind: str, request: Any, tmp_path: Path, *, ring: Keyring | None = None) -> Iterator[Kind]:
    if kind.startswith("sealed-"):
        with make(kind.removeprefix("sealed-"), request, tmp_path, ring=RING) as made:
            yield made
    elif kind == "sim":
        yield simulated()
    elif kind == "pair-sim":
        yield simulated_pair()
    elif kind == "pair-file":
        yield real_pair("pair-file", [((tmp_path / name).as_uri(), {}) for name in ("first", "second")], ring=ring)
    elif kind == "pair-s3":
        server = request.getfixturevalue("minio")
        places = [(f"s3://{shared_bucket(server)}/{uuid.uuid4()}", server.env), ((tmp_path / "second").as_uri(), {})]
        yield real_pair("pair-s3", places, ring=ring)
    elif kind == "file":
        yield real("file", (tmp_path / "archive").as_uri(), {}, ring=ring)
    else:
        server = request.getfixturevalue(kind)
        yield real(kind, f"s3://{shared_bucket(server)}/{uuid.uuid4()}", server.env, ring=ring)


def shared_bucket(server: S3Server) -> str:
    """One bucket for all contract tests, a prefix each: every SeaweedFS bucket sets volumes of a gigabyte aside, and ten exhaust a small disk."""
    for attempt in range(50):
        try:
            if not server.client().bucket_exists("contract"):
                server.make_bucket("contract")
            break
        except ServerError:  # live, but not ready yet
            if attempt == 49:
                raise
            time.sleep(0.2)
    return "contract"
