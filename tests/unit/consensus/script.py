"""Scripted traces of real groups: commands in, everything that the groups then did out, as text that a person can read and a test can compare.

A trace is a text file. `> command` lines are carried out one after the other; the lines below a command are what came of it; `#` lines and empty lines are the
author's. Commands (N, A, B: node numbers; MS: milliseconds):

    members N                     the group has nodes 1..N, all new; the first command
    elect N                       time passes until N is in reach of a quorum, it campaigns, everything arrives, and its first record is chosen
    campaign N   resign N         as a shell may ask
    propose N COUNT [BYTES]       COUNT data records of about BYTES each (60)
    transfer A B                  A hands leadership to B
    successor N                   whom N would hand it to
    deliver [A->B] [KIND] [MOST]  what is in flight arrives, in order, and what comes of that too; with any word: what is in flight now of these, once
    lose / double / reverse [A->B] [KIND] [MOST]    what is in flight is lost, arrives twice, arrives the last first
    cut A B | C ...  cut A->B     no message passes between the sides; or in that one direction
    heal                          every link is whole again
    tick MS   run MS              time passes, in steps of 25 ms; `run` lets everything arrive after each step, `tick` nothing but grants
    hold N   sync N               N's disk does not sync until `sync`
    crash N   restart N           the process ends, what was not synced is lost; it begins anew with what was
    vote N on|off   lead N on|off    the shell's word on log and tree
    trim N LSN                    N's log begins at LSN
    install A B                   B takes a snapshot of A's applied state
    closed N                      what N may close at, in milliseconds before its clock
    skew N MS                     N's wall clock jumps
    state                         every node, a line each
    show NAME on|off              leave a kind of line out: grants (whom nodes support), messages
    quietly COMMAND               without its output

Grants between nodes travel by themselves, at once, on links that are whole.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable

from scrubjay.base.hlc import HybridClock, stamp_of
from scrubjay.base.ids import Ballot, Lsn, Member, PartitionId, Stamp, ballot_owner, ballot_round, uuid_bytes
from scrubjay.sim.group_wal import ReplicaImage
from scrubjay.storage.consensus.group import Group
from scrubjay.storage.consensus.group_config import GroupConfig, GroupStart
from scrubjay.storage.consensus.liveness import Liveness
from scrubjay.storage.consensus.membership import Membership
from scrubjay.storage.consensus.messages import Ask, Chosen, Grant, Moved, PartitionMessage
from scrubjay.storage.consensus.options import ConsensusOptions
from scrubjay.storage.consensus.ready import Envelope, Now
from scrubjay.storage.log.configuration import CopyKind, Vote, decode_configuration, founding
from scrubjay.storage.log.record import Record, RecordKind, decode_all, encode, owner_tag
from scrubjay.storage.wal import port as wal

PARTITION = PartitionId("11111111-2222-4333-8444-555555555555")
OWNER = owner_tag(uuid_bytes(PARTITION))
BOOT, WALL = 1_000_000, 1_800_000_000_000_000
STEP_US = 25_000
OPTIONS = ConsensusOptions(
    grant_us=1_000_000, interval_us=200_000, drift_us=10_000, election_us=100_000, retry_us=200_000, batch_bytes=400, tail_bytes=2_000
)
_BALLOTS = {"ballot", "promised", "accepted", "source"}
_LEFT_OUT = {"clock", "nonce", "boot"}


class ScriptError(Exception):
    """The script itself is wrong."""


def _ballot(value: int) -> str:
    if value == 0:
        return "none"
    owner = ballot_owner(Ballot(value))
    return (
        f"{ballot_round(Ballot(value))}.{owner.node}"
        if owner.incarnation == 1
        else f"{ballot_round(Ballot(value))}.{owner.node}/{owner.incarnation}"
    )


def _span(records: list[Record] | tuple[Record, ...]) -> str:
    if not records:
        return "[]"
    return f"[{records[0].lsn}]" if len(records) == 1 else f"[{records[0].lsn}..{records[-1].lsn}]"


def _epoch(value: int) -> str:
    return f"{value >> 32}:{value & 0xFFFFFFFF}" if value else "none"


def _members(payload: bytes) -> list[str]:
    """Nothing while all vote that ever did."""
    places = decode_configuration(payload).places
    if all((place.member.incarnation, place.kind, place.vote) == (1, CopyKind.STORAGE, Vote.VOTES) for place in places):
        return []
    return [f"members={' '.join([f'{one.member.node}/{one.member.incarnation} {one.kind.name} {one.vote.name}' for one in places])}"]


def _said(message: PartitionMessage) -> str:
    """Kind and fields of a message, without clocks."""
    words = [type(message).__name__]
    for name in message.__struct_fields__:
        value = getattr(message, name)
        if name in _LEFT_OUT:
            continue
        if name == "members":
            words += _members(value)
            continue
        if name in _BALLOTS:
            words.append(_ballot(value) if name == "ballot" else f"{name}={_ballot(value)}")
        elif name == "records":
            words.append(_span(list(decode_all(value, owner=OWNER))))
        elif name == "epoch":
            words.append(f"epoch={_epoch(value)}")
        elif name not in ("voter", "incarnation") or value != 1:
            words.append(f"{name}={'yes' if value is True else 'no' if value is False else value}")
    return " ".join(words)


def _frame(frame: wal.Frame) -> str:
    if isinstance(frame, wal.Append):
        return f"{'staged ' if frame.staged else ''}Append {_ballot(frame.ballot)} {_span(frame.records)}"
    if isinstance(frame, wal.Adopt):
        return f"Adopt {_ballot(frame.ballot)} cut_at={frame.cut_at} adopted_last={frame.adopted_last}"
    if isinstance(frame, wal.Install):
        return f"Install lsn={frame.lsn}"
    if isinstance(frame, wal.Promise | wal.Resign):
        return f"{type(frame).__name__} {_ballot(frame.ballot)}"
    raise ScriptError(frame)


class _Reader:
    """What left memory, out of the frames that were queued."""

    def __init__(self, image: ReplicaImage) -> None:
        self._image = image

    def read(self, first: Lsn, end: Lsn, *, max_bytes: int) -> list[Record]:
        found, size = [], 0
        for lsn in range(first, end):
            found.append(self._image.records[lsn])
            size += len(found[-1].data)
            if size >= max_bytes:
                break
        return found


class Player:
    """One node. durable: what its synced frames say; seen: all queued ones. waiting: (token, frames) not synced. skew_us: its wall clock is ahead by."""

    def __init__(self, play: Play, number: int) -> None:
        self.play = play
        self.number = number
        self.boot = 0
        self.alive = False
        self.held = False
        self.skew_us = 0
        self.durable = ReplicaImage()
        self.applied = Lsn(0)
        self.stamp = Stamp(0)
        self.start()

    def start(self) -> None:
        self.boot += 1
        self.alive = True
        self.held = False
        self.waiting: list[tuple[int, tuple[wal.Frame, ...]]] = []
        self.seen = self.durable.copy()
        self.clock = HybridClock(reservation=stamp_of(WALL + 10**12), max_offset_us=500_000)
        self.clock.latest = stamp_of(1)
        now, image = self.now, self.seen
        self.liveness = Liveness(me=self.number, boot_count=self.boot, clock=self.clock, options=OPTIONS, now=now)
        self.group = Group(
            GroupConfig(
                partition=PARTITION,
                members=Membership(Member(self.number, 1), founding(self.play.members)),
                start=GroupStart(image.promised, image.accepted, image.resigned, image.first, image.last, self.applied, self.stamp),
                reader=_Reader(image),
                liveness=self.liveness,
                clock=self.clock,
                options=OPTIONS,
                jitter=lambda: 0.1 * self.number,
            )
        )

    @property
    def now(self) -> Now:
        return Now(self.play.boot_us, self.play.boot_us - BOOT + WALL + self.skew_us)

    def pump(self) -> None:
        """Carry out what the group wants, as a shell does."""
        say, group = self.play.say, self.group
        while (ready := group.ready()) is not None:
            if ready.persist:
                for frame in ready.persist:
                    self.seen.apply(frame)
                self.waiting.append((ready.token, ready.persist))
                say(f"n{self.number} persists #{ready.token}: {', '.join(_frame(frame) for frame in ready.persist)}")
            self.play.post(self.number, ready.send_now)
            if ready.elected is not None:
                say(f"n{self.number} leads under {_ballot(ready.elected)}")
            if ready.deposed:
                say(f"n{self.number} leads no more")
            if ready.install_from is not None:
                say(f"n{self.number} is to fetch a snapshot from n{ready.install_from.node}")
            if ready.chosen:
                say(f"n{self.number} applies {_span(ready.chosen)}")
                self.play.agree(self.number, ready.chosen)
                self.applied, self.stamp = ready.chosen[-1].lsn, ready.chosen[-1].stamp
                group.applied_to(self.applied)
            if not self.held:
                self.sync()
        group.check_invariants()

    def sync(self) -> None:
        if self.waiting:
            token = self.waiting[-1][0]
            for _, frames in self.waiting:
                for frame in frames:
                    self.durable.apply(frame)
            self.waiting = []
            if self.held:
                self.play.say(f"n{self.number} synced up to #{token}")
            self.play.post(self.number, self.group.persisted(token))

    def after_liveness(self) -> None:
        for sender, _, ballot, lsn in self.liveness.take_chosen():
            self.group.step(sender, Chosen(ballot, lsn), self.now)
        if self.liveness.changed():
            others = [one.number for one in self.play.players.values() if one is not self]
            supports = [str(one) for one in others if self.liveness.supports(one, self.now)]
            backed = [str(one) for one in others if self.liveness.credited(one, self.now)]
            self.play.say(
                f"n{self.number} supports {','.join(supports) or 'nobody'}, is backed by {','.join(backed) or 'nobody'}", "grants"
            )
            self.group.on_liveness(self.now)
        self.pump()

    def tick(self) -> None:
        if self.liveness.deadline() <= self.play.boot_us:
            self.play.grants(self.number, self.liveness.tick(self.now))
            self.after_liveness()
        due = self.group.deadline()
        if due is not None and due <= self.play.boot_us:
            self.group.tick(self.now)
        self.pump()

    def line(self) -> str:
        if not self.alive:
            return f"n{self.number} down"
        group, state, log = self.group, self.group.state, self.group.log
        role = "leader" if group.leading else "candidate" if state.campaign is not None else "follower"
        words = [f"n{self.number} {role} promised={_ballot(state.promised)} accepted={_ballot(state.accepted)}"]
        if state.resigned:
            words.append(f"resigned={_ballot(state.resigned)}")
        words.append(f"log={log.first}..{log.last} synced={log.synced} chosen={log.chosen} applied={log.applied}")
        if group.leading:
            words.append("lease" if group.lease.held(self.now) else "no-lease")
            words.append("serving" if group.serving(self.now) else "not-serving")
        if self.liveness.quiet(self.now):
            words.append("quiet")
        words += [word for word, may in (("no-vote", state.may_vote), ("no-lead", state.may_lead)) if not may]
        return " ".join(words)


class Play:
    """All nodes, the messages in flight and the output of the command at hand."""

    def __init__(self) -> None:
        self.boot_us = BOOT
        self.members: tuple[Member, ...] = ()
        self.players: dict[int, Player] = {}
        self.flight: list[tuple[int, int, PartitionMessage]] = []
        self._cut: set[tuple[int, int]] = set()
        self._out: list[str] = []
        self._hidden: set[str] = {"grants"}
        self._chosen: dict[int, bytes] = {}
        self._stepped = False
        self._said_us = BOOT

    # --- output and what all nodes share ---

    def say(self, line: str, kind: str = "") -> None:
        if kind not in self._hidden:
            if self._stepped and self._said_us != self.boot_us:
                self._out.append(f"at {(self.boot_us - BOOT) / 1000:.0f} ms")
                self._said_us = self.boot_us
            self._out.append(line)

    def agree(self, number: int, records: tuple[Record, ...]) -> None:
        """Whatever two members apply at one LSN is the same."""
        for record in records:
            known = self._chosen.setdefault(record.lsn, record.data)
            assert known == record.data, f"n{number} applies another record {record.lsn}"

    def post(self, sender: int, envelopes: tuple[Envelope, ...] | list[Envelope]) -> None:
        for to, message in envelopes:
            self.flight.append((sender, to, message))  # type: ignore[arg-type]
            self.say(f"n{sender} -> n{to} {_said(message)}", "messages")  # type: ignore[arg-type]

    def grants(self, sender: int, envelopes: list[Envelope]) -> None:
        for to, message in envelopes:
            player = self.players[to]
            if player.alive and (sender, to) not in self._cut and isinstance(message, Ask | Grant | Moved):
                self.grants(to, player.liveness.step(sender, message, player.now))
                player.after_liveness()

    def arrive(self, sender: int, to: int, message: PartitionMessage) -> None:
        player = self.players[to]
        if not player.alive or (sender, to) in self._cut:
            self.say(f"lost: n{sender} -> n{to} {type(message).__name__}", "messages")
            return
        self.say(f"n{to} <- n{sender} {type(message).__name__}", "messages")
        player.group.step(sender, message, player.now)
        player.pump()

    def settle(self) -> None:
        for _ in range(5_000):
            if not self.flight:
                return
            self.arrive(*self.flight.pop(0))
        raise ScriptError("messages go round in circles")

    def step(self) -> None:
        self.boot_us += STEP_US
        for player in self.players.values():
            if player.alive:
                player.tick()

    def pass_time(self, ms: int, *, deliver: bool) -> None:
        self._stepped = True
        for _ in range(ms * 1000 // STEP_US):
            self.step()
            if deliver:
                self.settle()
        self._stepped = False

    # --- commands ---

    def command(self, line: str) -> list[str]:
        """What comes of it. Raises ScriptError for what is no command."""
        words = shlex.split(line)
        if words[0] == "quietly":
            self.command(line.partition(" ")[2])
            return []
        method: Callable[..., None] | None = getattr(self, f"do_{words[0]}", None)
        if method is None:
            raise ScriptError(f"no such command: {line}")
        self._out = []
        self._said_us = self.boot_us
        try:
            method(*words[1:])
        except (TypeError, KeyError, ValueError) as error:
            raise ScriptError(f"{line}: {error!r}") from error
        return self._out

    def __getitem__(self, number: str) -> Player:
        return self.players[int(number)]

    def do_members(self, count: str) -> None:
        self.members = tuple([Member(number, 1) for number in range(1, int(count) + 1)])
        self.players = {member.node: Player(self, member.node) for member in self.members}

    def do_elect(self, number: str) -> None:
        player = self[number]
        for _ in range(200):
            self.step()
            self.settle()
            player.group.campaign(player.now)
            player.pump()
            self.settle()
            if player.group.can_propose(1, player.now):
                self._propose(player, 1, 0, RecordKind.NOOP)
                self.settle()
                return
        raise ScriptError(f"n{number} cannot be elected")

    def do_campaign(self, number: str) -> None:
        self[number].group.campaign(self[number].now)
        self[number].pump()

    def do_resign(self, number: str) -> None:
        self[number].group.resign(self[number].now)
        self[number].pump()

    def _propose(self, player: Player, count: int, size: int, kind: RecordKind = RecordKind.DATA) -> None:
        records = [
            encode(owner=OWNER, lsn=player.group.next_lsn + at, stamp=player.clock.tick(player.now.wall_us), kind=kind, payload=bytes(size))
            for at in range(count)
        ]
        player.group.propose(records)
        player.pump()

    def do_propose(self, number: str, count: str, size: str = "60") -> None:
        player = self[number]
        if player.group.can_propose(int(count) * int(size), player.now):
            self._propose(player, int(count), int(size))
        else:
            self.say(f"n{number} may not propose")

    def do_transfer(self, number: str, to: str) -> None:
        self[number].group.transfer(Member(int(to), 1), self[number].now)
        self[number].pump()

    def do_successor(self, number: str) -> None:
        heir = self[number].group.successor(self[number].now, besides=frozenset())
        self.say(f"n{heir.node}" if heir is not None else "nobody")

    def _find(self, words: tuple[str, ...]) -> list[int]:
        """Places in `flight` of what is meant."""
        link = next((tuple(int(one) for one in word.split("->")) for word in words if "->" in word), None)
        most = next((int(word) for word in words if word.isdigit()), None)
        kind = next((word for word in words if word.isalpha()), None)
        found = [
            at
            for at, (sender, to, message) in enumerate(self.flight)
            if link in {None, (sender, to)} and kind in {None, type(message).__name__}
        ]
        if not found:
            raise ScriptError(f"nothing of the kind is in flight: {' '.join(words)}")
        return found[:most]

    def _take(self, words: tuple[str, ...]) -> list[tuple[int, int, PartitionMessage]]:
        found = self._find(words)
        taken = [self.flight[at] for at in found]
        self.flight = [one for at, one in enumerate(self.flight) if at not in found]
        return taken

    def do_deliver(self, *words: str) -> None:
        if not words:
            self.settle()
            return
        for one in self._take(words):
            self.arrive(*one)

    def do_lose(self, *words: str) -> None:
        for sender, to, message in self._take(words):
            self.say(f"lost: n{sender} -> n{to} {type(message).__name__}")

    def do_double(self, *words: str) -> None:
        found = self._find(words)
        self.flight = [copy for at, one in enumerate(self.flight) for copy in ([one, one] if at in found else [one])]

    def do_reverse(self, *words: str) -> None:
        found = self._find(words)
        for at, one in zip(found, [self.flight[at] for at in reversed(found)], strict=True):
            self.flight[at] = one

    def do_cut(self, *words: str) -> None:
        text = " ".join(words)
        if match := re.fullmatch(r"(\d+)->(\d+)", text):
            self._cut.add((int(match[1]), int(match[2])))
            return
        sides = [[int(one) for one in side.split()] for side in text.split("|")]
        for at, side in enumerate(sides):
            for other in sides[:at] + sides[at + 1 :]:
                self._cut |= {(a, b) for a in side for b in other}

    def do_heal(self) -> None:
        self._cut.clear()

    def do_tick(self, ms: str) -> None:
        self.pass_time(int(ms), deliver=False)

    def do_run(self, ms: str) -> None:
        self.pass_time(int(ms), deliver=True)

    def do_hold(self, number: str) -> None:
        self[number].held = True

    def do_sync(self, number: str) -> None:
        player = self[number]
        player.sync()
        player.held = False
        player.pump()

    def do_crash(self, number: str) -> None:
        player = self[number]
        player.alive = False
        for token, frames in player.waiting:
            self.say(f"n{number} loses #{token}: {', '.join(_frame(frame) for frame in frames)}")

    def do_restart(self, number: str) -> None:
        self[number].start()
        self[number].tick()

    def do_vote(self, number: str, may: str) -> None:
        self[number].group.set_vote(may == "on", self[number].now)
        self[number].pump()

    def do_lead(self, number: str, may: str) -> None:
        self[number].group.set_lead(may == "on", self[number].now)
        self[number].pump()

    def do_trim(self, number: str, below: str) -> None:
        player = self[number]
        player.group.trimmed(Lsn(int(below)))
        player.seen.trim(Lsn(int(below)))
        player.durable.trim(Lsn(int(below)))

    def do_install(self, source: str, number: str) -> None:
        player, lsn, stamp = self[number], self[source].applied, self[source].stamp
        player.group.installed(lsn, stamp, player.now)
        player.applied, player.stamp = lsn, stamp
        player.pump()

    def do_closed(self, number: str) -> None:
        player = self[number]
        closed = player.group.closed(player.now)
        if closed is None:
            self.say("nothing")
        else:
            self.say(f"{(player.now.wall_us - (closed >> 12)) / 1000:.0f} ms ago")

    def do_skew(self, number: str, ms: str) -> None:
        self[number].skew_us += int(ms) * 1000

    def do_state(self) -> None:
        for player in self.players.values():
            self.say(player.line())

    def do_show(self, name: str, on: str) -> None:
        if name not in {"grants", "messages"}:
            raise ScriptError(f"no such kind of line: {name}")
        (self._hidden.discard if on == "on" else self._hidden.add)(name)


def perform(text: str) -> str:
    """The trace with the output that its commands have now. Raises ScriptError (a command is wrong, or a line stands above the first)."""
    play = Play()
    lines: list[str] = []
    for line in text.splitlines():
        if line.startswith("> "):
            lines.append(line)
            lines += [f"    {said}" for said in play.command(line[2:])]
        elif line.startswith("#") or not line.strip():
            lines.append(line)
        elif not line.startswith("    "):
            raise ScriptError(f"neither command, comment nor output: {line}")
    return "\n".join(lines) + "\n"
