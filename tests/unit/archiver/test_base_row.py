"""One row out of a base of many parts and blocks: what a scan of all rows finds, by the parts that can hold it."""

from __future__ import annotations

import random
from dataclasses import replace
from functools import partial

import pytest

from scrubjay.archiver.format.base import BaseManifest
from scrubjay.archiver.format.layout import BaseKey, build, parse
from scrubjay.archiver.format.manifest import Sums
from scrubjay.archiver.read import touched
from scrubjay.archiver.read.objects import row_of_base
from scrubjay.archiver.write import bases
from scrubjay.archiver.write.bases import upload_base
from scrubjay.base.errors import Corrupt, Missing
from scrubjay.sim.lone import LoneDisk, LoneHost, LoneStore
from scrubjay.storage.btree import rowfile
from scrubjay.storage.btree.rowfile import RowFileWriter, read_rowfile
from scrubjay.storage.log import chain as chains
from tests.unit.archiver.sample import ATTACHED, PARTITION, TABLE


class Base:
    """rows: so many, in blocks of a few and parts of a few hundred bytes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
        monkeypatch.setattr(rowfile, "BLOCK_BYTES", 300)
        monkeypatch.setattr(bases, "PART_BYTES", 500)
        self.loop, self.store, disk = LoneHost(), LoneStore(), LoneDisk()
        parts: list[bytes] = []
        writer = RowFileWriter(parts.append)
        for number in range(rows):
            # bytes that do not compress, so that blocks and parts are many
            writer.add(
                b"%06d" % (2 * number), number + 1, number + 1, (number * 2654435761 % (1 << 256)).to_bytes(32) * (number % 3) + b"x"
            )
        total = writer.finish()
        self.data = b"".join(parts)
        disk.write_file("base", self.data)
        self.manifest: BaseManifest = self.loop.run(
            upload_base(
                self.store, disk, "base", writer=ATTACHED, table=TABLE, partition=PARTITION, table_name="t", schema="{}", lo="", hi="",
                lsn=0, stamp=0, chain=chains.START, total=total,
            )
        )  # fmt: skip
        self.gets: list[str] = []
        get = self.store.get

        async def watched(key: str) -> bytes:
            self.gets.append(key)
            return await get(key)

        self.store.get = watched  # type: ignore[method-assign]


@pytest.mark.parametrize("rows", [0, 1, 2, 150])
def test_a_row_is_found_as_by_a_scan(monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    base = Base(monkeypatch, rows)
    known = {row.key: row for row in read_rowfile(lambda at, length: base.data[at : at + length], len(base.data))}
    assert len(known) == rows
    read = []
    for key in [b"", b"x", *(b"%06d" % number for number in range(2 * rows + 1))]:
        base.gets.clear()
        assert base.loop.run(row_of_base(base.store, base.manifest, key)) == known.get(key)
        read.append(len(base.gets))
        assert len(set(base.gets)) == len(base.gets)
    if rows == 150:
        assert len(base.manifest.parts) > 8
        assert max(read) < len(base.manifest.parts)


def test_a_part_that_is_not_what_the_manifest_says_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    base = Base(monkeypatch, 150)
    key = b"%06d" % 40
    base.loop.run(row_of_base(base.store, base.manifest, key))
    for name in list(base.gets):
        parsed = parse(name)
        assert isinstance(parsed, BaseKey)
        good = base.store.objects[name]
        base.store.objects[name] = good[:-1] + bytes([good[-1] ^ 1])
        with pytest.raises(Corrupt) as caught:
            base.loop.run(row_of_base(base.store, base.manifest, key))
        assert caught.value.fields["where"] == name
        del base.store.objects[name]
        with pytest.raises(Missing):
            base.loop.run(row_of_base(base.store, base.manifest, key))
        base.store.objects[name] = good


def test_a_row_file_that_lies_names_the_base(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its parts are what the manifest says, and together no row file."""
    base = Base(monkeypatch, 0)
    lie = base.data[:-1] + bytes([base.data[-1] ^ 1])
    manifest = replace(base.manifest, file=Sums.of(lie), parts=(Sums.of(lie),))
    base.store.objects[build(manifest.key(0))] = lie
    with pytest.raises(Corrupt) as caught:
        base.loop.run(row_of_base(base.store, manifest, b"k"))
    assert (caught.value.kind, caught.value.fields["where"]) == ("forged", build(manifest.key()))


@pytest.mark.parametrize("rows", [0, 1, 150])
@pytest.mark.parametrize("span", [1, 700, 1 << 20])
def test_the_rows_of_some_keys_are_found_as_by_a_scan(monkeypatch: pytest.MonkeyPatch, rows: int, span: int) -> None:
    monkeypatch.setattr(touched, "SPAN_BYTES", span)
    monkeypatch.setattr(touched, "GAP_BYTES", span // 2)
    base, disk = Base(monkeypatch, rows), LoneDisk()
    known = list(read_rowfile(lambda at, length: base.data[at : at + length], len(base.data)))
    rng = random.Random(rows + span)
    for _ in range(20):
        keys = sorted({b"%06d" % rng.randrange(2 * rows + 4) for _ in range(rng.choice((0, 1, 5, 60)))})
        blocks = [keys[at : at + 7] for at in range(0, len(keys), 7)]
        low, high = rng.choice((b"", b"%06d" % rng.randrange(2 * rows + 2))), rng.choice((None, b"%06d" % rng.randrange(2 * rows + 2)))
        told = base.loop.run(touched.fetch_touched(base.store, base.manifest, partial(iter, blocks), disk, "some", low=low, high=high))
        file = disk.open("some")
        found = list(read_rowfile(file.pread, file.size()))
        assert found == [row for row in known if row.key in keys]
        inside = [row for row in known if low <= row.key and (high is None or row.key < high)]
        assert told == (len(inside), sum(row.key in keys for row in inside))


def test_a_base_whose_row_file_has_another_total_is_no_good(monkeypatch: pytest.MonkeyPatch) -> None:
    base, disk = Base(monkeypatch, 9), LoneDisk()
    lying = replace(base.manifest, total=base.manifest.total._replace(sum=base.manifest.total.sum ^ 1))
    with pytest.raises(Corrupt, match="another total") as found:
        base.loop.run(touched.fetch_touched(base.store, lying, lambda: iter([[b"000002"]]), disk, "some", low=b"", high=None))
    assert found.value.fields["where"] == build(lying.key())


def test_what_is_read_at_once_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many blocks are wanted, and though they lie side by side."""
    monkeypatch.setattr(touched, "SPAN_BYTES", 1500)
    base, disk = Base(monkeypatch, 150), LoneDisk()
    sizes: list[int] = []
    read = touched._bytes

    async def watched(store: LoneStore, manifest: BaseManifest, start: int, end: int) -> touched._Part:
        sizes.append(end - start)
        return await read(store, manifest, start, end)

    monkeypatch.setattr(touched, "_bytes", watched)
    keys = [row.key for row in read_rowfile(lambda at, length: base.data[at : at + length], len(base.data))]
    told = base.loop.run(touched.fetch_touched(base.store, base.manifest, partial(iter, [keys]), disk, "some", low=b"", high=None))
    assert told == (150, 150)
    spans = sizes[2:]  # behind footer and index
    assert max(spans) <= 1500
    assert 2 < len(spans) <= 3 * sum(spans) // 1500
