"""The frame between nodes: golden bytes, round trips, every damaged byte noticed, the page in step with the code."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scrubjay.base.errors import Corrupt
from scrubjay.base.ids import PartitionId
from scrubjay.storage.consensus import messages
from scrubjay.storage.consensus.messages import HEADER, HEADER_SIZE, decode_frame, encode_frame
from tests.docs.format_tables import assert_layout, find_table
from tests.fixtures.golden import Golden

CLUSTER = bytes(range(8))
PARTITION = PartitionId("11111111-2222-4333-8444-555555555555")
PAGE = Path("docs/formats/messages.md")


def _sample(kind: type[msgspec.Struct], seed: int = 7) -> msgspec.Struct:
    """One of each field, distinct numbers."""
    values: list[object] = []
    for place, field in enumerate(msgspec.structs.fields(kind)):
        number = seed * 1_000_003 + place
        values.append(
            {int: number, bool: place % 2 == 0, bytes: bytes([place] * 5), str: f"word{place}"}.get(field.type, ((PARTITION, number, 3),))
        )
    return kind(*values)


GROUP = messages.PartitionMessage.__args__
NODE = messages.NodeMessage.__args__


def _all() -> bytes:
    return encode_frame(
        cluster=CLUSTER, sender=3, node=[_sample(kind) for kind in NODE], groups=[(PARTITION, _sample(kind)) for kind in GROUP]
    )  # type: ignore[misc]


def test_what_versions_without_config_wrote_is_read(golden: Golden) -> None:
    """They had no Removed, and two messages lacked their last field."""
    read = [one for _, one in decode_frame(golden.read("messages/every_message.bin"), cluster=CLUSTER).groups]
    expected = [_sample(kind) for kind in GROUP if kind is not messages.Removed]
    later = {messages.Promise: {"members": b""}, messages.AskHealth: {"incarnation": 0}}
    assert read == [msgspec.structs.replace(one, **later.get(type(one), {})) for one in expected]


def test_golden_frames(golden: Golden) -> None:
    for name, data in (("every_message_2", _all()), ("empty", encode_frame(cluster=CLUSTER, sender=65535))):
        golden.check(f"messages/{name}.bin", data)
        frame = decode_frame(golden.read(f"messages/{name}.bin"), cluster=CLUSTER)
        golden.check_json(
            f"messages/{name}.json",
            {
                "sender": frame.sender,
                "node": [[type(one).__name__, msgspec.to_builtins(one)] for one in frame.node],
                "groups": [[partition, type(one).__name__, msgspec.to_builtins(one)] for partition, one in frame.groups],
            },
        )


def test_round_trip_of_every_message() -> None:
    frame = decode_frame(_all(), cluster=CLUSTER)
    assert frame.sender == 3
    assert frame.node == [_sample(kind) for kind in NODE]
    assert frame.groups == [(PARTITION, _sample(kind)) for kind in GROUP]


@given(st.integers(0, 2**64 - 1), st.binary(max_size=200), st.integers(0, 65535))
def test_round_trip_of_any_accept(number: int, blob: bytes, sender: int) -> None:
    accept = messages.Accept(number, number, 0, blob)
    frame = decode_frame(encode_frame(cluster=CLUSTER, sender=sender, groups=[(PARTITION, accept)]), cluster=CLUSTER)
    assert frame.sender == sender
    assert frame.groups == [(PARTITION, accept)]


def test_every_flipped_bit_and_every_cut_is_noticed() -> None:
    data = _all()
    for at in range(len(data)):
        with pytest.raises(Corrupt):
            decode_frame(data[:at], cluster=CLUSTER)
        for bit in range(8):
            bad = data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :]
            with pytest.raises(Corrupt):
                decode_frame(bad, cluster=CLUSTER)


def test_another_clusters_frame_and_unknown_versions_are_refused() -> None:
    with pytest.raises(Corrupt, match="another cluster"):
        decode_frame(_all(), cluster=b"other..!")
    for offset in (4, 5):
        data = bytearray(_all())
        data[offset] += 1
        body = bytes(data)
        crc = messages.crc32c_masked(body[HEADER_SIZE:], messages.crc32c_raw(body[16:HEADER_SIZE], messages.crc32c_raw(body[:12])))
        data[12:16] = crc.to_bytes(4, "little")
        with pytest.raises(Corrupt, match="version or flag"):
            decode_frame(bytes(data), cluster=CLUSTER)


def test_readers_ignore_fields_added_later() -> None:
    class Longer(msgspec.Struct, array_like=True, frozen=True, tag=10):
        ballot: int
        last: int
        later: str

    body = msgspec.msgpack.encode(([], [(PARTITION, Longer(1, 2, "x"))]))
    head = HEADER.pack(b"SJMF", 1, 0, 3, len(body), 0, CLUSTER)
    crc = messages.crc32c_masked(body, messages.crc32c_raw(head[16:], messages.crc32c_raw(head[:12])))
    frame = decode_frame(head[:12] + crc.to_bytes(4, "little") + head[16:] + body, cluster=CLUSTER)
    assert frame.groups == [(PARTITION, messages.Chosen(1, 2))]


def test_the_page_and_the_code_agree() -> None:
    assert_layout(find_table("docs/formats/messages.md", "Frame header"), HEADER)
    rows = re.findall(r"^\| (\d+) \| (\w+) \| ([\w, ]+) \|", PAGE.read_text(), re.MULTILINE)
    said = [(int(tag), name, fields) for tag, name, fields in rows if name[0].isupper()]
    known = [(kind.__struct_config__.tag, kind.__name__, ", ".join(kind.__struct_fields__)) for kind in (*NODE, *GROUP)]
    assert sorted(said) == sorted(known)
