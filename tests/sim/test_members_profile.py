"""The profile "members": groups whose members change while everything else goes wrong. A seed holds, the changes happen, and planted bugs are noticed.

Three of the planted bugs here; all of them by `python -m scrubjay.sim mutants`, and each as a mutant of the source in `tests/mutants/members.py`.
"""

from __future__ import annotations

from dataclasses import fields, replace

import pytest

from scrubjay.base.ids import Member, PartitionId
from scrubjay.sim.consensus_faults import SECOND, Swarm, draw_swarm
from scrubjay.sim.group_node import GroupReplica
from scrubjay.sim.members_run import MembersRun
from scrubjay.sim.mutants import MEMBERS, hunt
from scrubjay.sim.rand import stream
from scrubjay.storage.consensus.membership import AddLearner, Remove

QUICK = {"emptied-votes": 197, "learners-count": 1, "log-replica-leads": 2}
"""Planted bug -> a seed that notices it early in its run."""


def _quiet() -> tuple[MembersRun, PartitionId, GroupReplica]:
    """Nothing goes wrong in it, and nobody asks for anything: its partition, and the copy that serves."""
    quiet = {item.name: False for item in fields(Swarm) if item.type == "bool"}
    run = MembersRun(1, swarm=replace(draw_swarm(stream(1, "swarm"), seconds=60), **quiet, clients=0, partitions=1))
    (partition,) = run.partitions

    def serving() -> GroupReplica | None:
        led = run._leading(partition)
        return led if led is not None and led.group.serving(led.node.now()) else None

    assert run.world.run(until_us=10 * SECOND, stop=lambda: serving() is not None)
    led = serving()
    assert led is not None
    return run, partition, led


@pytest.mark.slow
def test_a_seed_holds_and_its_members_change() -> None:
    result = MembersRun(4, seconds=8).run()
    assert not result.violation, f"{result.violation}\npython -m scrubjay.sim run --profile members --seed 4 --seconds 8 --trace"
    assert result.unknown == 0
    assert result.changes >= 5
    assert {"AddLearner", "LetVote", "Remove"} <= result.faults.keys()


@pytest.mark.parametrize("name", sorted(QUICK))
def test_a_planted_bug_is_noticed(name: str) -> None:
    (mutant,) = [one for one in MEMBERS if one.name == name]
    result, _ = hunt(mutant, [QUICK[name]])
    assert result is not None, f"{name} survives: {mutant.rule}"


@pytest.mark.parametrize("crashes", [False, True])
def test_a_copy_that_a_node_is_told_to_make_while_its_process_stands_still_is_made(crashes: bool) -> None:
    """Seeds 20225 (it crashed as it stood) and 20290 (it was told to drop what lay there before): the operator waited for a learner for ever that nobody had."""
    run, partition, led = _quiet()
    removed = led.group.members.peers[0].node
    assert led.change_members(Remove(removed))
    assert run.world.run(until_us=20 * SECOND, stop=lambda: led.group.members_chosen.configuration.gone(Member(removed, 1)))
    host = run.world.hosts[run._names[removed]]
    host.life.pause()
    run._make_copy(partition, Member(removed, 2))
    for _ in range(60):
        run._drop_gone(partition, led)
    if crashes:
        host.crash(power=False)
        host.start()
    host.life.resume()
    run.world.run(until_us=run.world.now + SECOND // 10)
    assert host.process.replicas[partition].group.me == Member(removed, 2)


def test_no_copy_is_made_over_one_whose_removal_may_be_cut_off_again() -> None:
    """Seed 38: the operator saw a removal that was not chosen, had the copy made anew, and the removal was cut off with its leader. A member that voted on had lost its log."""
    run, partition, led = _quiet()
    net, me = run.world.net, led.node.host.name
    for other in run.world.hosts:
        net.cut_link(me, other)
    removed = led.group.members.peers[0].node
    assert led.change_members(Remove(removed))

    def copies() -> set[int]:
        changes = [change for _ in range(60) for change in run._possible(partition, led)]
        return {change.member.node for change in changes if isinstance(change, AddLearner)}

    assert removed not in copies(), "the removal may be cut off again"
    net.heal()
    assert run.world.run(until_us=20 * SECOND, stop=lambda: led.group.members_chosen is led.group.members)
    assert removed in copies()
