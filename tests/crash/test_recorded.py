"""The reader of strace's record itself: a process dies while other threads are in the kernel, and then the folder says what they did."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.crash.recorded import Ack, Data, Entry, Life, Move, Recording, calls, everything


def hexed(text: str | bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in (text.encode() if isinstance(text, str) else text))


DATA = b"new bytes"
OLD = b"old bytes"
ONE, TWO = b"one\n", b"two\n"
FORMS: dict[str, Callable[[str, str], list[str]]] = {
    "one line": lambda name, arguments: [f"12 {name}({arguments}) = ?"],
    "resumed": lambda name, arguments: [
        f"12 {name}({arguments} <unfinished ...>",
        "13 fdatasync(9</x>) = 0",
        f"12 <... {name} resumed>)        = ?",
    ],
    "never resumed": lambda name, arguments: [f"12 {name}({arguments} <unfinished ...>", "12 +++ killed by SIGKILL +++"],
}
"""How strace shows a call that a process died in."""


class Place:
    """A folder in which `log` holds OLD, and what was recorded of it."""

    def __init__(self, folder: Path) -> None:
        self.root, self.acks, self.trace = folder / "node", folder / "acks", folder / "trace"
        self.root.mkdir()
        self.acks.write_bytes(ONE)
        (self.root / "log").write_bytes(OLD)
        self.lines = [
            f'12 openat(AT_FDCWD<\\x2f>, "{hexed(str(self.root / "log"))}", O_RDWR|O_CREAT|O_DSYNC, 0600) = 3<x>',
            f'12 pwrite64(3<x>, "{hexed(OLD)}", {len(OLD)}, 0) = {len(OLD)}',
            f'12 openat(AT_FDCWD<\\x2f>, "{hexed(str(self.acks))}", O_WRONLY) = 4<y>',
            f'12 write(4<y>, "{hexed(ONE)}", 4) = 4',
        ]

    def named(self, name: str) -> str:
        return f'"{hexed(str(self.root / name))}"'

    def read(self, *more: str) -> Recording:
        self.trace.write_text("\n".join([*self.lines, *more]))
        recording = Recording([Life(self.trace, self.root)], self.root, self.acks)
        left = {path.name: path.read_bytes() for path in self.root.iterdir() if path.is_file()}
        image = everything(recording)
        assert {name: bytes(image.files.get(node, b"")) for name, node in image.names[0].items()} == left
        return recording


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("done", [0, 4, len(DATA)])
def test_a_write_that_the_process_died_in_counts_as_far_as_the_folder_holds_it(place: Place, form: str, done: int) -> None:
    (place.root / "log").write_bytes(DATA[:done] + OLD[done:])
    recording = place.read(*FORMS[form]("pwritev2", f'3<x>, [{{iov_base="{hexed(DATA)}", iov_len={len(DATA)}}}], 1, 0, 0'))
    assert recording.events[-1] == Data(1, 0, DATA[:done] + OLD[done:]), "and it is not durable: no sync was told"


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("done", [False, True])
def test_an_answer_that_the_process_died_in_counts_if_it_was_written(place: Place, form: str, done: bool) -> None:
    place.acks.write_bytes(ONE + TWO if done else ONE)
    recording = place.read(*FORMS[form]("write", f'4<y>, "{hexed(TWO)}", 4'))
    assert sum(isinstance(event, Ack) for event in recording.events) == 1 + done


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("done", [False, True])
def test_a_name_that_the_process_died_in_counts_if_it_is_there(place: Place, form: str, done: bool) -> None:
    if done:
        (place.root / "log").rename(place.root / "kept")
    recording = place.read(*FORMS[form]("rename", f"{place.named('log')}, {place.named('kept')}"))
    assert (recording.events[-1] == Move(0, "log", "kept")) == done


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("done", [False, True])
@pytest.mark.parametrize("call", ["mkdir", "openat", "unlink"])
def test_what_was_made_or_removed_counts_if_the_folder_says_so(place: Place, form: str, done: bool, call: str) -> None:
    name, arguments = {
        "mkdir": ("sub", "{}, 0700"),
        "openat": ("new", "AT_FDCWD<\\x2f>, {}, O_RDWR|O_CREAT, 0600"),
        "unlink": ("log", "{}"),
    }[call]
    if done:
        {"mkdir": (place.root / name).mkdir, "openat": (place.root / name).touch, "unlink": (place.root / name).unlink}[call]()
    place.trace.write_text("\n".join([*place.lines, *FORMS[form](call, arguments.format(place.named(name)))]))
    recording = Recording([Life(place.trace, place.root)], place.root, place.acks)
    last = recording.events[-1]
    assert (isinstance(last, Entry) and last.name == name and (last.node is None) == (call == "unlink")) == done


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("done", [False, True])
def test_a_file_grew_if_the_folder_says_so(place: Place, form: str, done: bool) -> None:
    (place.root / "log").write_bytes(OLD + bytes(91 if done else 0))
    place.read(*FORMS[form]("ftruncate", "3<x>, 100"))


def test_a_write_that_failed_is_an_error_and_not_a_hole(place: Place) -> None:
    with pytest.raises(AssertionError, match="a write failed"):
        place.read('12 pwrite64(3<x>, "\\x00", 1, 0) = -1 ENOSPC (No space left on device)')


def test_names_in_flight_come_before_the_contents_in_flight() -> None:
    names = [call.name for call in calls(['1 pwrite64(3<x>, "", 0, 0) = ?', "2 rename(a, b) = ?", "1 close(4<y>) = 0"])]
    assert names == ["close", "rename", "pwrite64"]


def test_a_descriptor_is_free_from_when_its_close_begins(place: Place) -> None:
    """Another thread may be given its number, and write to what it opened, before the first has heard that it is closed."""
    (place.root / "new").write_bytes(DATA)
    place.read(
        "12 close(3<x> <unfinished ...>",
        f"13 openat(AT_FDCWD<\\x2f>, {place.named('new')}, O_RDWR|O_CREAT, 0600) = 3<z>",
        "12 <... close resumed>)        = 0",
        f'13 pwrite64(3<z>, "{hexed(DATA)}", {len(DATA)}, 0) = {len(DATA)}',
    )
