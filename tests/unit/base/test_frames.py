"""Frames between us and our workers: cut anywhere they come out whole; and a worker whose parent is gone ends, whatever its input does."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scrubjay.base.errors import Invalid
from scrubjay.base.frames import FrameReader, framed
from scrubjay.base.real.child import interpreter_arguments


@given(st.lists(st.binary(max_size=40), max_size=8), st.integers(min_value=1, max_value=50))
def test_frames_come_out_whole_however_the_stream_is_cut(bodies: list[bytes], step: int) -> None:
    stream = b"".join(framed(body, most=40, what="sample") for body in bodies)
    reader = FrameReader()
    assert [body for at in range(0, len(stream), step) for body in reader.feed(stream[at : at + step])] == bodies


def test_a_body_beyond_the_bound_is_refused_before_it_travels() -> None:
    with pytest.raises(Invalid, match="sample frame too large") as caught:
        framed(bytes(41), most=40, what="sample")
    assert caught.value.fields == {"size": 41, "limit": 40}


@pytest.mark.parametrize(
    ("module", "arguments"), [("scrubjay.storage.btree.worker", ["scan"]), ("scrubjay.base.real.job_worker", [])], ids=["storage", "job"]
)
def test_a_worker_whose_parent_was_gone_before_it_was_tied_to_it_ends(tmp_path: Path, module: str, arguments: list[str]) -> None:
    command = interpreter_arguments(module, [*arguments, str(tmp_path), "1"])  # its parent is not process 1
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as worker:
        try:
            assert worker.wait(timeout=60) == 3, "its input is open still"
        finally:
            worker.kill()
