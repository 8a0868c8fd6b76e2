"""Overlay over a tree against a plain dict: point look-ups and merged ranges, both directions, with layers frozen at any time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from hypothesis import given
from hypothesis import strategies as st

from scrubjay.base.errors import ScrubjayError
from scrubjay.base.ids import Lsn, Stamp
from scrubjay.storage.btree.engine import EMPTY, Change, PinnedTree, Row, TreeState
from scrubjay.storage.replica.overlay import Overlay, layer_changes


class DictTree:
    """The simplest tree there is."""

    def __init__(self) -> None:
        self.rows: dict[bytes, Row] = {}
        self.state = EMPTY

    def get(self, key: bytes) -> Row | None:
        return self.rows.get(key)

    def range(self, start: bytes, end: bytes | None, *, reverse: bool = False) -> Iterator[Row]:
        keys = sorted((key for key in self.rows if key >= start and (end is None or key < end)), reverse=reverse)
        return iter([self.rows[key] for key in keys])

    def checkpoint(self, changes: Sequence[Change], state: TreeState, done: Callable[[ScrubjayError | None], None]) -> None:
        for change in changes:
            if change.item is None:
                self.rows.pop(change.key, None)
            else:
                self.rows[change.key] = Row(change.key, change.lsn, change.stamp, change.item)
        self.state = state
        done(None)

    def pin(self, applied: Lsn, done: Callable[[PinnedTree | ScrubjayError], None], *, hurry: bool = False) -> None:
        raise AssertionError("not used here")

    def close(self) -> None: ...


KEYS = st.sampled_from([bytes([letter]) * 3 for letter in b"abcdefgh"])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), KEYS, st.binary(max_size=3)),
        st.tuples(st.just("delete"), KEYS, st.just(b"")),
        st.tuples(st.sampled_from(["freeze", "commit"]), st.just(b""), st.just(b"")),
    ),
    max_size=40,
)


@given(STEPS, KEYS, st.one_of(st.none(), KEYS), st.booleans())
def test_overlay_equals_dict(steps: list[tuple[str, bytes, bytes]], start: bytes, end: bytes | None, reverse: bool) -> None:
    overlay, tree, model = Overlay(), DictTree(), dict[bytes, bytes]()
    for at, (step, key, item) in enumerate(steps, 1):
        if step == "put":
            overlay.put(key, Lsn(at), Stamp(at), item)
            model[key] = item
        elif step == "delete":
            overlay.put(key, Lsn(at), Stamp(at), None)
            model.pop(key, None)
        elif step == "freeze":
            overlay.freeze(TreeState(Lsn(at), Stamp(at), b""))
        elif overlay.frozen:
            layer = overlay.frozen[0]
            tree.checkpoint(layer_changes(layer), layer.state, lambda _: None)
            overlay.committed()
    for key in {key for _, key, _ in steps if key}:
        change = overlay.find(key)
        row = tree.get(key)
        found = change.item if change is not None else (row.item if row else None)
        assert found == model.get(key)
    expected = sorted(
        ((key, item) for key, item in model.items() if key >= start and (end is None or key < end)),
        reverse=reverse,
    )
    assert list(overlay.merged(tree, start, end, reverse=reverse)) == expected


def test_the_newest_layer_wins_over_older_ones_and_the_tree() -> None:
    overlay, tree = Overlay(), DictTree()
    tree.rows[b"k"] = Row(b"k", Lsn(1), Stamp(1), b"tree")
    overlay.put(b"k", Lsn(2), Stamp(2), b"frozen")
    overlay.freeze(TreeState(Lsn(2), Stamp(2), b""))
    assert list(overlay.merged(tree, b"", None, reverse=False)) == [(b"k", b"frozen")]
    overlay.put(b"k", Lsn(3), Stamp(3), None)
    assert list(overlay.merged(tree, b"", None, reverse=True)) == []
    assert overlay.active_bytes > 0
    overlay.clear()
    assert list(overlay.merged(tree, b"", None, reverse=False)) == [(b"k", b"tree")]


def test_of_two_frozen_layers_the_newer_one_wins() -> None:
    """Of a key in each, by name: what hypothesis draws finds it now and then."""
    overlay, tree = Overlay(), DictTree()
    for at, item in enumerate((b"old", b"new"), 1):
        overlay.put(b"k", Lsn(at), Stamp(at), item)
        overlay.freeze(TreeState(Lsn(at), Stamp(at), b""))
    found = overlay.find(b"k")
    assert found is not None
    assert found.item == b"new"
    for reverse in (False, True):
        assert list(overlay.merged(tree, b"", None, reverse=reverse)) == [(b"k", b"new")]
