"""The consensus profile: seeds hold, a seed replays to the byte in another process, and every planted bug is noticed."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from scrubjay.sim.__main__ import main
from scrubjay.sim.consensus_run import ConsensusRun
from scrubjay.sim.mutants import CONSENSUS, KILLERS, hunt

SEEDS = range(1, 13)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_seed_holds(seed: int) -> None:
    result = ConsensusRun(seed).run()
    assert not result.violation, f"{result.violation}\n{result.replay}"
    assert result.unknown == 0
    assert result.chosen > 0


@pytest.mark.slow
def test_the_seeds_are_not_idle() -> None:
    """Progress and faults: a cluster that never chooses anything would pass everything else."""
    results = [ConsensusRun(seed, seconds=8).run() for seed in range(1, 6)]
    assert sum(result.acknowledged for result in results) > 200
    assert sum(result.publications for result in results) > 100
    assert len({name for result in results for name, count in result.faults.items() if count}) >= 5


def _run(seed: int, hash_seed: str) -> dict[str, object]:
    done = subprocess.run(
        [sys.executable, "-m", "scrubjay.sim", "run", "--seed", str(seed), "--seconds", "8", "--json"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
    )
    document: dict[str, object] = json.loads(done.stdout)
    return document


@pytest.mark.slow
@pytest.mark.parametrize("seed", [3, 8])
def test_a_seed_is_the_same_in_another_process_with_another_hash_seed(seed: int) -> None:
    one, other = _run(seed, "1"), _run(seed, "4242")
    assert one == other
    assert one["digest"] != _run(seed + 1, "1")["digest"]


@pytest.mark.slow
@pytest.mark.parametrize("mutant", CONSENSUS, ids=lambda mutant: mutant.name)
def test_a_planted_bug_is_noticed(mutant: object) -> None:
    from scrubjay.sim.mutants import Mutant

    assert isinstance(mutant, Mutant)
    first = KILLERS[mutant.name]
    result, _ = hunt(mutant, [first, *range(1, 60)])
    assert result is not None, f"{mutant.name} survives: {mutant.rule}"


@pytest.mark.parametrize("seed", sorted(set(KILLERS.values())))
def test_the_seeds_that_kill_hold_without_the_bug(seed: int) -> None:
    """The negative control's control: it is the planted bug that is noticed."""
    assert not ConsensusRun(seed).run().violation


def test_the_command_replays_a_seed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--seed", "2", "--seconds", "3"]) == 0
    assert "seed 2 ok trace" in capsys.readouterr().out
    with pytest.raises(SystemExit) as stopped:
        main(["run", "--profile", "none"])
    assert stopped.value.code == 64
