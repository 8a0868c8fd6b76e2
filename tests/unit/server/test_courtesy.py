"""Who gives way is told how much of a core it may have, by whether anybody is served, in simulated time."""

from __future__ import annotations

from scrubjay.base.ids import NodeName
from scrubjay.server.courtesy import HOLD_S, LOOK_S, Courtesy
from scrubjay.sim.world import World


class Table:
    """A server that answers when told to. told: (second, share)."""

    def __init__(self) -> None:
        self.world = World(1)
        host = self.world.add_host(NodeName("server"), build=lambda host: host)
        host.start()
        self.answered = 7
        self.told: list[tuple[float, float]] = []
        self.courtesy = Courtesy(host.env, lambda: self.answered, lambda share: self.told.append((self.world.now / 1e6, share)), share=0.25)
        self.courtesy.start()

    def wait(self, seconds: float) -> None:
        self.world.run(until_us=self.world.now + int(seconds * 1e6))


def test_while_nobody_is_served_a_night_may_have_all_of_a_core() -> None:
    table = Table()
    table.wait(60.0)
    assert [share for _, share in table.told] == [1.0]


def test_the_first_request_makes_it_careful_and_it_stays_so_until_nobody_was_served_for_a_while() -> None:
    table = Table()
    table.wait(20.0)
    served_s = table.world.now / 1e6
    for _ in range(10):
        table.answered += 1
        table.wait(HOLD_S - 1.0)  # one in a while is enough
    last_s = served_s + 9 * (HOLD_S - 1.0)
    table.wait(60.0)
    assert [share for _, share in table.told] == [1.0, 0.25, 1.0]
    assert 0 <= table.told[1][0] - served_s <= LOOK_S
    assert HOLD_S <= table.told[2][0] - last_s <= HOLD_S + 3 * LOOK_S


def test_nothing_is_told_after_its_end() -> None:
    table = Table()
    table.courtesy.stop()
    table.answered += 1
    table.wait(5.0)
    assert [share for _, share in table.told] == [1.0]
