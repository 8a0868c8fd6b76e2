"""The codec of the node port: golden bytes, what it refuses, the page in step with the structs; ids, deadlines and loss between a client and a server half."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from scrubjay.base.errors import Corrupt, Invalid, NotLeader, Unavailable
from scrubjay.base.ids import Lsn, Member, NodeName, PartitionId, Stamp, TableId
from scrubjay.storage.btree.engine import ExpiredItem
from scrubjay.storage.catalogue import FinalSeal, KeyAttribute, KeySchema, PartitionInfo, TableMeta
from scrubjay.storage.commands.codec import encode_answer, encode_command
from scrubjay.storage.commands.values import Failure, RangeAnswer, RangeRead, ReadAnswer, SwapCommand
from scrubjay.storage.log.digest import Total
from scrubjay.storage.log.split import Born, Split, encode_born, encode_split
from scrubjay.storage.log.stated import Stated
from scrubjay.storage.node import errand_messages as errands
from scrubjay.storage.node import port, port_codec
from scrubjay.storage.node.port import Answer, NodePort, Request
from scrubjay.storage.node.port_codec import AskedFrame, SaidFrame, decode_request, decode_said, encode_request, encode_said
from scrubjay.storage.node.port_remote import RemoteNode, told
from tests.fixtures.golden import Golden

PAGE = Path("docs/formats/node-port.md")
P = PartitionId("00000000-0000-4000-8000-000000000001")
INFO = PartitionInfo(P, "0" * 32, "", (Member(1, 1), Member(2, 1)))
TABLE = TableMeta(
    table_id=TableId("00000000-0000-4000-8000-000000000002"),
    name="t",
    status="ACTIVE",
    key=KeySchema(KeyAttribute("k", "S")),
    attributes=(("k", "S"),),
    partitions=(INFO,),
    created_at=1,
)
SPLIT = encode_split(Split(bytes(range(16)), b"\x80" + bytes(15), PartitionId("1" * 8 + INFO.partition_id[8:]), P))
BORN = encode_born(Born(P, Lsn(1 << 40), Stamp(1 << 62), bytes(range(32)), Total(1 << 127, 3)))
FACTS = port.ReplicaFacts(
    node=NodeName("n1"),
    partition=P,
    table=TABLE.table_id,
    state="suspect",
    tree="suspect",
    vote="votes",
    reason="rot",
    logged=True,
    lack=Failure("Exhausted", "no memory", {"want": 1}),
    up=True,
    serves=True,
    answers=False,
    leads=True,
    usable=True,
    behind=False,
    applied=Lsn(1 << 40),
    chosen=Lsn(9),
    rows=3,
    size=4,
    waiting=5,
    sealing=True,
    archived=Lsn(6),
    archived_chain=b"c" * 32,
    content=7,
    last_content=Lsn(8),
    last_content_stamp=1 << 62,
    last_seal=Lsn(7),
    sealed=2,
    unarchived=11,
    archived_by=(1, 2, 3),
    final=FinalSeal(P, 1, 2, "aa", "bb", 3),
    ended=Lsn(12),
    ended_closed=13,
    closed=(1 << 62, Lsn(8), Lsn(7)),
    indexes=((3, 4), (0, 0)),
    stated=Stated(12, 1 << 40, True, "2026-11-27T22:00:00.000"),
    configured=(Lsn(8), b"config"),
    incarnation=2,
    stalled=((bytes(range(16)), b"c0123", b"key"),),
    ballot=1 << 60,
    split=SPLIT,
    born=BORN,
)
SUM = errands.Sum(bytes(range(16)), 3)
ERRANDS: dict[str, errands.Errand] = {
    "heal_split": errands.Heal(
        P,
        1,
        Lsn(7),
        Stamp(1 << 62),
        SUM,
        bytes(32),
        Lsn(6),
        None,
        "rot",
        (Lsn(8), b"config"),
        Stated(12, 5, True, "2026-11-27T22:00:00.000"),
        SPLIT,
        BORN,
    ),
    "find_cut": errands.FindCut(P),
    "prepare_split": errands.PrepareSplit(P, TABLE, bytes(range(16)), b"\x80" + bytes(15), INFO, INFO, heal=True),
    "load": errands.Load(P, 1, SUM),
    "take_tree": errands.TakeTree(P, 1 << 40, bytes(16), bytes(6144), 1 << 40, True, SUM),
    "reread": errands.Reread(P),
    "survey": errands.Survey(P),
    "digest": errands.DigestCopy(P, Lsn(7), 1 << 20),
    "find_expired": errands.FindExpired(P, b"from", "ends", 1 << 40, 100_000, 2_000, 20_000),
}
OUTCOMES: dict[str, errands.Outcome] = {
    "healed": errands.Healed(),
    "loaded": errands.Loaded(SUM),
    "surveyed": errands.Surveyed(Lsn(7), (b"one", b"two")),
    "expired": errands.ExpiredFound((ExpiredItem(b"key", b"key item", b"value"),), b"next", 100_000),
    "scanned": errands.DigestScanned(bytes(6144), bytes(16), None, (b"bad",), ("fence",), 1 << 40),
    "cut_found": errands.CutFound(bytes(range(16)), 1 << 40, 1 << 41),
    "split_prepared": errands.SplitPrepared(1 << 40, begun=True),
    "scanned_indexed": errands.IndexDigestScanned(bytes(6144), bytes(16), None, (b"bad",), ("fence",), 1 << 40, b"entries"),
}
REQUESTS: dict[str, Request] = {
    "write": port.Write(P, encode_command(SwapCommand(b"key", b"item", None, b"new"))),
    "read": port.Read(P, b"key", True, Lsn(7)),
    "range": port.Range(P, b"", None, 10, 1 << 20, False, True, Lsn(0)),
    "index_range": port.IndexRange(P, b"", None, 10, 1 << 20, False, True, Lsn(0), 2, True),
    "ask_status": port.AskStatus(),
    "ask_facts_of": port.AskFacts(P),
    "ask_moved": port.AskFacts(None, 1 << 60),
    "seal": port.ProposeSeal(P, 2, bytes(range(16))),
    "host_child": port.Host(TABLE, INFO, parent=P),
    "split": port.SplitPartition(P, bytes(range(16)), b"\x80" + bytes(15), P, P, Stamp(1 << 62)),
    "forget_moved": port.Forget(P, 1 << 40),
    "hand_over": port.HandOver((1, 3)),
    "change_members_of": port.ChangeMembers(P, 3, 0, 2),
    "remove_member_of": port.RemoveMember(P, 3, (3, 4), 2),
    "change_place": port.ChangePlace(P, 4, port.LOG_LEARNS, 2),
    "begin_log": port.BeginLog(P, Lsn(40), (Lsn(38), b"places")),
    "grow_tree": port.GrowTree(P),
    "give_lead": port.GiveLead(P, 4),
    "await_applied": port.AwaitApplied(P, Lsn(7), 20_000_000),
    **{f"begin_{name}": errands.Begin("id", errand) for name, errand in ERRANDS.items()},
    "look": errands.Look("id", "note"),
    "receive": errands.Receive(P, 1 << 40),
    "chunk": errands.RowFileChunk(1, 1 << 33, b"bytes", 0xFFFFFFFF),
    "discard": errands.Discard(1),
    "pin": errands.PinCopy(P, Lsn(7), 5_000_000),
    "pinned_rows": errands.PinnedRows(P, Lsn(7), b"from", None),
    "item": errands.ReadRow(P, b"key", True),
    "unpin": errands.Unpin(P, Lsn(7)),
    "keep_pin": errands.KeepPin(P, Lsn(7)),
    "hold": errands.Hold(P, "lease", Lsn(7)),
    "release": errands.ReleaseHold(P, "lease"),
    "settle": errands.Settle(P),
    "find_index_rows": errands.FindIndexRows(P, b"from", b"definition", 500, 1 << 19),
    "read_log": errands.ReadLog(P, Lsn(1 << 40), 1 << 20),
}
STATUS = port.NodeStatus(
    NodeName("n1"),
    1,
    True,
    Failure("Corrupt", "disk", {"where": 1}),
    True,
    False,
    3,
    {"ok": 2},
    1,
    9,
    10,
    11,
    2,
    True,
    True,
    True,
    True,
    6,
    {"r1": 6},
    True,
)
ANSWERS: dict[str, Answer] = {
    "answered": port.Answered(encode_answer(ReadAnswer(b"item", P, 7))),
    "status_stopping": STATUS,
    "facts_moved": port.FactsOfReplicas((FACTS,), 1 << 60, 7, (P,)),
    "sealed": port.Sealed(Lsn(7), 1 << 62, 5),
    "hosted": port.HostedHere(True),
    "fine": port.Fine(),
    "receiving": errands.Receiving(1),
    "received": errands.Received(1 << 33),
    "running": errands.Running("note"),
    **{f"ended_{name}": errands.Ended(outcome, None) for name, outcome in OUTCOMES.items()},
    "ended_badly": errands.Ended(None, Failure("Corrupt", "no", {"what": "tree"})),
    "rows": errands.RowPage((errands.Fact(b"key", bytes(range(16)), Lsn(7)),), more=True),
    "found": errands.FoundRow(b"item"),
    "index_rows_found": errands.IndexRowsFound(((1 << 40, b"key", b"value"), (7, b"another", b"")), b"next", 500, Lsn(1 << 40)),
    "log_read": errands.LogRead((b"record", b"another"), Lsn(1 << 40), Stamp(1 << 62)),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_golden_requests(golden: Golden, name: str) -> None:
    golden.check(f"node_port/{name}.bin", encode_request(3, 1_000_000, REQUESTS[name]))
    assert decode_request(golden.read(f"node_port/{name}.bin")) == AskedFrame(3, 1_000_000, REQUESTS[name])


def test_who_asks_an_older_way_asks_for_everything(golden: Golden) -> None:
    for name, partition in (("ask_facts", P), ("ask_all_facts", None)):
        assert decode_request(golden.read(f"node_port/{name}.bin")) == AskedFrame(3, 1_000_000, port.AskFacts(partition, 0))
    assert decode_request(golden.read("node_port/forget.bin")) == AskedFrame(3, 1_000_000, port.Forget(P)), "in any case"
    older = port.RemoveMember(P, 3, (3, 4))
    assert decode_request(golden.read("node_port/remove_member.bin")) == AskedFrame(3, 1_000_000, older), "whoever is there"
    learns = port.ChangeMembers(P, 3, 2)
    assert decode_request(golden.read("node_port/change_members.bin")) == AskedFrame(3, 1_000_000, learns), "whoever learns there"


@pytest.mark.parametrize("name", ANSWERS)
def test_golden_answers(golden: Golden, name: str) -> None:
    golden.check(f"node_port/{name}.bin", encode_said(4, ANSWERS[name]))
    assert decode_said(golden.read(f"node_port/{name}.bin")) == SaidFrame(4, ANSWERS[name])


def test_facts_of_an_older_node_are_read_on(golden: Golden) -> None:
    assert decode_said(golden.read("node_port/facts_split.bin")) == SaidFrame(4, port.FactsOfReplicas((FACTS,)))
    ballot = msgspec.structs.replace(FACTS, split=b"", born=b"")
    assert decode_said(golden.read("node_port/facts_ballot.bin")) == SaidFrame(4, port.FactsOfReplicas((ballot,)))
    stalled = msgspec.structs.replace(ballot, ballot=0)
    assert decode_said(golden.read("node_port/facts_stalled.bin")) == SaidFrame(4, port.FactsOfReplicas((stalled,)))
    configured = msgspec.structs.replace(stalled, stalled=())
    assert decode_said(golden.read("node_port/facts_configured.bin")) == SaidFrame(4, port.FactsOfReplicas((configured,)))
    stated = msgspec.structs.replace(configured, configured=(Lsn(0), b""), incarnation=1)
    assert decode_said(golden.read("node_port/facts_stated.bin")) == SaidFrame(4, port.FactsOfReplicas((stated,)))
    indexed = msgspec.structs.replace(stated, stated=None)
    assert decode_said(golden.read("node_port/facts_indexed.bin")) == SaidFrame(4, port.FactsOfReplicas((indexed,)))
    older = port.FactsOfReplicas((msgspec.structs.replace(indexed, indexes=()),))
    assert decode_said(golden.read("node_port/facts.bin")) == SaidFrame(4, older)
    can = msgspec.structs.replace(STATUS, stopping=False)
    assert decode_said(golden.read("node_port/status_can.bin")) == SaidFrame(4, can)
    stands_in = msgspec.structs.replace(can, can=0, guests={})
    assert decode_said(golden.read("node_port/status_stands_in.bin")) == SaidFrame(4, stands_in)
    splits = msgspec.structs.replace(stands_in, stands_in=False)
    assert decode_said(golden.read("node_port/status_splits.bin")) == SaidFrame(4, splits)
    removes = msgspec.structs.replace(splits, splits=False)
    assert decode_said(golden.read("node_port/status_removes.bin")) == SaidFrame(4, removes)
    configures = msgspec.structs.replace(removes, removes=False)
    assert decode_said(golden.read("node_port/status_configures.bin")) == SaidFrame(4, configures)
    assert decode_said(golden.read("node_port/status.bin")) == SaidFrame(
        4, msgspec.structs.replace(configures, incarnation=1, configures=False)
    )


def test_a_heal_asked_for_by_an_older_release_is_read_on(golden: Golden) -> None:
    stated = msgspec.structs.replace(ERRANDS["heal_split"], split=b"", born=b"")
    assert decode_request(golden.read("node_port/begin_heal_stated.bin")) == AskedFrame(3, 1_000_000, errands.Begin("id", stated))
    configured = msgspec.structs.replace(stated, stated=None)
    assert decode_request(golden.read("node_port/begin_heal_configured.bin")) == AskedFrame(3, 1_000_000, errands.Begin("id", configured))
    older = msgspec.structs.replace(configured, configured=(Lsn(0), b""))
    assert decode_request(golden.read("node_port/begin_heal.bin")) == AskedFrame(3, 1_000_000, errands.Begin("id", older))


def test_a_replica_that_an_older_control_part_wants_hosted_is_no_child(golden: Golden) -> None:
    older = port.Host(TABLE, INFO, awaits_base=True)
    assert decode_request(golden.read("node_port/host.bin")) == AskedFrame(3, 1_000_000, older)


def test_every_message_has_its_golden_file() -> None:
    for union, known in ((Request, REQUESTS), (Answer, ANSWERS)):
        assert set(union.__args__) == {type(one) for one in known.values()}
    assert set(errands.Errand.__args__) == {type(one) for one in ERRANDS.values()}
    assert set(errands.Outcome.__args__) == {type(one) for one in OUTCOMES.values()}


def test_an_error_crosses_as_code_message_and_fields() -> None:
    said = decode_said(encode_said(1, NotLeader("not here", hint="n2")))
    assert said.answer == Failure("NotLeader", "not here", {"hint": "n2"})
    back = port.error_of(said.answer)
    assert type(back) is NotLeader
    assert (back.message, back.fields) == ("not here", {"hint": "n2"})


# --- the page ------------------------------------------------------------------------------------------------------------------------------


def test_the_page_and_the_structs_agree() -> None:
    rows = re.findall(r"^\| (\d*) ?\| ([A-Z]\w+) \| ((?:[a-z_]+(?:, [a-z_]+)*)?) ?\|", PAGE.read_text(), re.MULTILINE)
    wanted = {}
    for room in (port, errands, port_codec):
        for one in vars(room).values():
            if isinstance(one, type) and issubclass(one, msgspec.Struct) and one.__module__ == room.__name__:
                tag = one.__struct_config__.tag
                wanted[one.__name__] = ("" if tag is None else str(tag), ", ".join(one.__struct_fields__))
    assert {name: (tag, fields) for tag, name, fields in rows} == wanted


def test_the_page_names_the_bound() -> None:
    assert f"at most {port_codec.MESSAGE_BYTES_MAX:,} bytes" in PAGE.read_text()


def test_no_message_names_a_path() -> None:
    names = {
        field
        for one in (*Request.__args__, *Answer.__args__, *errands.Errand.__args__, *errands.Outcome.__args__, port.ReplicaFacts)
        for field in one.__struct_fields__
    }
    assert not names & {"path", "folder", "file", "rows_path"}


# --- refusals ------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "version"),
        (b"\x02" + encode_request(1, 1, REQUESTS["read"])[1:], "version"),
        (encode_request(1, 1, REQUESTS["read"])[:-1], "structure"),
        (encode_request(1, 1, REQUESTS["read"]) + b"\x00", "structure"),
        (encode_said(1, ANSWERS["fine"]), "structure"),
        (b"\x01" + msgspec.msgpack.encode((1, 1, (99,))), "structure"),
        (b"\x01" + msgspec.msgpack.encode((-1, 1, REQUESTS["read"])), "id or time left"),
        (b"\x01" + msgspec.msgpack.encode((1, -1, REQUESTS["read"])), "id or time left"),
    ],
)
def test_what_no_client_sends_is_refused_by_name(data: bytes, why: str) -> None:
    with pytest.raises(Corrupt, match=re.escape(why)):
        decode_request(data)


def test_sizes_are_bounded_on_both_sides(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encode_request(1, 1, REQUESTS["write"])
    monkeypatch.setattr(port_codec, "MESSAGE_BYTES_MAX", len(data) - 1)
    with pytest.raises(Invalid, match="request too large"):
        encode_request(1, 1, REQUESTS["write"])
    with pytest.raises(Corrupt, match="size"):
        decode_request(data)


# --- ids, deadlines, loss ------------------------------------------------------------------------------------------------------------------


class Timer:
    def __init__(self, callback: Callable[[], object]) -> None:
        self.callback: Callable[[], object] | None = callback

    def cancel(self) -> None:
        self.callback = None


class Later:
    """Tasks whose timers run when told."""

    def __init__(self) -> None:
        self.timers: list[tuple[float, Timer]] = []

    def call_later(self, seconds: float, callback: Callable[[], object]) -> Timer:
        timer = Timer(callback)
        self.timers.append((seconds, timer))
        return timer

    def all_due(self) -> None:
        for _, timer in self.timers:
            if timer.callback is not None:
                timer.callback()


class Wire:
    """A client and the frames it sent. reachable: whether sending goes."""

    def __init__(self) -> None:
        self.tasks = Later()
        self.sent: list[AskedFrame] = []
        self.reachable = True
        self.heard: list[Any] = []
        tasks: Any = self.tasks
        self.remote = RemoteNode(NodeName("n1"), 1, tasks=tasks, send=self._send, look=lambda request: None)
        self.node: NodePort = self.remote

    def _send(self, data: bytes) -> bool:
        self.sent.append(decode_request(data))
        return self.reachable


def test_answers_find_back_by_their_id_in_any_order() -> None:
    wire = Wire()
    for lsn in (1, 2):
        wire.node.read(P, b"k", consistent=True, min_lsn=Lsn(lsn), done=wire.heard.append)
    first, second = wire.sent
    assert first.id != second.id
    for one in (second, first):
        assert isinstance(one.request, port.Read)
        wire.remote.heard(encode_said(one.id, port.Answered(encode_answer(ReadAnswer(None, P, int(one.request.min_lsn))))))
    assert [answer.lsn for answer in wire.heard] == [2, 1]
    assert wire.remote.waiting == 0


def test_a_lost_answer_is_told_as_unknown_and_a_late_one_is_dropped() -> None:
    wire = Wire()
    wire.node.write(P, SwapCommand(b"k", b"i", None, b"n"), wire.heard.append)
    assert wire.sent[0].left_us == int(port.DATA_WAIT_S * 1e6)
    wire.tasks.all_due()
    late = encode_said(wire.sent[0].id, port.Answered(encode_answer(ReadAnswer(None, P, 1))))
    wire.remote.heard(late)
    assert len(wire.heard) == 1
    assert isinstance(wire.heard[0], Unavailable)
    assert wire.heard[0].fields["unknown"] is True
    assert wire.remote.waiting == 0


def test_an_answer_that_came_twice_is_heard_once() -> None:
    wire = Wire()
    wire.node.ask(port.Forget(P), wire.heard.append)
    for _ in range(2):
        wire.remote.heard(encode_said(wire.sent[0].id, port.Fine()))
    wire.tasks.all_due()
    assert wire.heard == [port.Fine()]


def test_an_answer_of_another_kind_to_a_data_request_leaves_the_outcome_unknown() -> None:
    """Never to be taken for an answer: a write would count as done."""
    wire = Wire()
    wire.node.write(P, SwapCommand(b"k", b"i", None, b"n"), wire.heard.append)
    wire.node.read(P, b"k", consistent=True, min_lsn=Lsn(0), done=wire.heard.append)
    wire.remote.heard(encode_said(wire.sent[0].id, port.Fine()))
    wire.remote.heard(encode_said(wire.sent[1].id, port.Answered(encode_answer(RangeAnswer([], more=False, partition=P, lsn=1)))))
    assert [type(one) for one in wire.heard] == [Unavailable, Unavailable]
    assert all(one.fields["unknown"] is True for one in wire.heard)


def test_a_node_that_tells_what_cannot_be_read_counts_as_out_of_reach() -> None:
    tasks: Any = Later()
    node = RemoteNode(NodeName("n1"), 1, tasks=tasks, send=lambda data: True, look=lambda request: told(b"\x01\x00"))
    assert (node.facts(P), node.all_facts(), node.applied(P)) == (None, (), 0)
    assert node.status().failed is not None


def test_a_node_that_cannot_be_reached_is_told_at_once_and_nothing_was_asked_of_it() -> None:
    wire = Wire()
    wire.reachable = False
    wire.node.read_range(P, RangeRead(b"", None, 1, 1, reverse=False, consistent=True), min_lsn=Lsn(0), done=wire.heard.append)
    assert isinstance(wire.heard[0], NotLeader)
    assert "unknown" not in wire.heard[0].fields
    assert wire.node.status().failed is not None
    assert wire.node.facts(P) is None
    assert wire.node.all_facts() == ()


def test_an_answer_that_cannot_be_read_leaves_the_outcome_unknown() -> None:
    wire = Wire()
    wire.node.write(P, SwapCommand(b"k", b"i", None, b"n"), wire.heard.append)
    wire.remote.heard(encode_said(wire.sent[0].id, port.Answered(b"\x01\x00")))
    assert isinstance(wire.heard[0], Unavailable)
    assert wire.heard[0].fields["unknown"] is True
