"""What the meter says of the store without asking it: trouble has a beginning, a name and an end."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from scrubjay.base.env import Env
from scrubjay.base.errors import Missing, Unavailable
from scrubjay.base.ids import NodeName
from scrubjay.base.wrap.faulty import FaultyStore
from scrubjay.base.wrap.metered import MeteredStore
from scrubjay.sim.store import SimStore
from scrubjay.sim.world import World


def simulate(main: Callable[[MeteredStore, FaultyStore, Env], Coroutine[Any, Any, None]]) -> None:
    world = World(seed=3)
    store = SimStore(world)
    host = world.add_host(NodeName("n1"), build=lambda host: None)
    host.start()
    bad = FaultyStore(store.client(host.env.tasks), host.env)
    task = host.env.tasks.spawn(main(MeteredStore(bad, host.env), bad, host.env), name="meter")
    task.__await__()
    assert world.run(until_us=world.now + 3_600_000_000, stop=task.done)
    task.result()


def test_trouble_has_a_beginning_a_name_and_an_end() -> None:
    async def main(store: MeteredStore, bad: FaultyStore, env: Env) -> None:
        await store.put("k", b"x")
        assert store.state() == (True, None, None, None, 1)
        bad.fault = lambda verb, key: Unavailable(
            "refused", error_code="CredentialsExpired", found="of the profile lab", cause="a library said so"
        )
        began = env.clock.wall_us()
        for _ in range(2):
            with pytest.raises(Unavailable):
                await store.get("k")
            await env.tasks.sleep(5.0)
        state = store.state()
        assert (state.reachable, state.code) == (False, "CredentialsExpired")
        assert state.last_error == "refused: of the profile lab"
        assert state.since_us == began
        bad.fault = lambda verb, key: Missing("no such object", what=key)
        with pytest.raises(Missing):
            await store.get("k")  # an answer, if not the one hoped for
        assert store.state()[:4] == (True, None, None, None)

    simulate(main)


def test_an_answer_to_what_was_asked_before_the_trouble_does_not_end_it() -> None:
    """A read that was answered before an archive's folder went away, and was told of after the first request that missed it, made `status` say `ok`."""

    async def main(store: MeteredStore, bad: FaultyStore, env: Env) -> None:
        await store.put("k", b"x")
        bad.slow_s = 5.0
        late = env.tasks.spawn(store.get("k"), name="late")
        await env.tasks.sleep(1.0)
        bad.slow_s = 0.0
        bad.fault = lambda verb, key: Unavailable("gone", error_code="ArchiveGone")
        with pytest.raises(Unavailable):
            await store.head("k")
        bad.fault = lambda verb, key: None
        await late
        assert store.state().code == "ArchiveGone"
        await store.head("k")
        assert store.state().reachable

    simulate(main)


def test_what_a_store_without_versions_and_locks_answers_unasked_does_not_end_trouble() -> None:
    """The search for a newer epoch begins with `uncover`, which asks a folder nothing: it made `status` say `ok` of one that was gone."""

    async def main(store: MeteredStore, bad: FaultyStore, env: Env) -> None:
        bad.fault = lambda verb, key: Unavailable("gone", error_code="ArchiveGone")
        with pytest.raises(Unavailable):
            await store.head("k")
        bad.fault = lambda verb, key: None
        await store.uncover("")
        await store.retain("k", 1)
        assert store.state().code == "ArchiveGone"

    simulate(main)


def test_a_store_that_never_answers_is_not_reachable() -> None:
    async def main(store: MeteredStore, bad: FaultyStore, env: Env) -> None:
        await store.put("k", b"x")
        bad.slow_s = 60.0
        hung = env.tasks.spawn(store.get("k"), name="hung")
        sent = env.clock.wall_us()
        await env.tasks.sleep(9.0)
        assert store.state().reachable
        await env.tasks.sleep(2.0)
        state = store.state()
        assert (state.reachable, state.last_error) == (False, "the store does not answer")
        assert state.since_us is not None
        assert abs(state.since_us - sent) < 1000
        bad.slow_s = 0.0
        await store.get("k")
        assert store.state().reachable  # another request was answered since: slow, not gone
        await hung

    simulate(main)


def test_requests_a_minute() -> None:
    async def main(store: MeteredStore, bad: FaultyStore, env: Env) -> None:
        await env.tasks.sleep(60.0 - env.clock.boot_us() % 60_000_000 / 1e6)
        for number in range(30):
            await store.put(f"k{number}", b"x")
            await env.tasks.sleep(1.0)
        assert store.state().requests_per_minute == 30
        await env.tasks.sleep(35.0)
        await store.get("k1")
        assert store.state().requests_per_minute == 30
        await env.tasks.sleep(120.0)
        assert store.state().requests_per_minute == 0

    simulate(main)
