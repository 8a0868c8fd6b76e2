"""What an export or an import holds in memory does not grow with the table: each job's peak over a large one is its peak over a small one, as the kernel counts it."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from scrubjay.base.ids import Lsn, Stamp
from scrubjay.base.real.job_worker import WorkerContext
from scrubjay.base.real.loop import AsyncTasks
from scrubjay.pitr.transfer import export_files, import_runs
from scrubjay.pitr.transfer.export_files import export_job
from scrubjay.pitr.transfer.import_runs import merge_job, sort_job
from scrubjay.storage.btree import lmdb_tree
from scrubjay.storage.btree.engine import TreeState
from scrubjay.storage.btree.lmdb_tree import TreeWriter
from scrubjay.storage.btree.rowfile import RowFileWriter, read_blocks
from scrubjay.storage.catalogue import KeyAttribute, KeySchema
from scrubjay.storage.items.encoding import encode_item
from scrubjay.storage.items.keys import storage_key
from scrubjay.storage.items.values import Item

ROOT = Path(__file__).parents[3]
KEY = KeySchema(KeyAttribute("id", "S"), None)
ITEM_BYTES = 16_000
SMALL, LARGE = 400, 4_000
"""Items: 6 MB, and 64 MB."""
SLACK_MIB = 12
"""By which two runs of one job differ: what the allocator keeps."""
HELD_BYTES = 2 << 20
"""Of items, here: of a data file, a run, a commit of a load."""


def items(count: int) -> Iterator[Item]:
    text = "".join(map(chr, range(33, 127))) * (ITEM_BYTES // 94)
    for number in range(count):
        yield {"id": ("S", f"k{number:06d}"), "v": ("S", f"{number}{text}")}


def row_file(path: Path, count: int) -> None:
    keys = sorted((storage_key(KEY, item), number) for number, item in enumerate(items(count)))
    text = "".join(map(chr, range(33, 127))) * (ITEM_BYTES // 94)
    with path.open("wb") as file:
        writer = RowFileWriter(file.write)  # type: ignore[arg-type]
        for key, number in keys:
            writer.add(key, 1, 1, encode_item({"id": ("S", f"k{number:06d}"), "v": ("S", f"{number}{text}")}))
        writer.finish()


def peak_mib() -> int:
    return int(next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")).split()[1]) >> 10


def anon_mib() -> int:
    """Held now, without what is mapped: a tree is."""
    return int(next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("RssAnon")).split()[1]) >> 10


async def load_job(context: WorkerContext, arguments: dict[str, Any]) -> int:
    """A storage worker's part of an import: the rows into a new tree. The most that it held while it asked for them."""
    most = 0

    def looked_at(blocks: Iterator[Any]) -> Iterator[Any]:
        nonlocal most
        for block in blocks:
            most = max(most, anon_mib())
            yield block

    file = context.disk.open(arguments["rows"])
    tree = TreeWriter(arguments["folder"], bytes(16), sync=False, create=True)
    try:
        tree.load(looked_at(read_blocks(file.pread, file.size())), TreeState(Lsn(0), Stamp(0), b""))
    finally:
        tree.close()
        file.close()
    return most


def plain_file(place: Path, format_: str, count: int) -> Path:
    """One file of all items, of Parquet in one row group."""
    path = place / "in"
    if format_ == "parquet":
        schema = pa.schema([("id", pa.string()), ("v", pa.string())])
        with pq.ParquetWriter(path, schema, write_batch_size=16, data_page_size=64 << 10) as writer:
            rows = [{name: value[1] for name, value in item.items()} for item in items(count)]
            writer.write_table(pa.Table.from_pylist(rows, schema=schema), row_group_size=count)
    else:
        with path.open("w") as file:
            file.writelines(json.dumps({"Item": {name: dict([value]) for name, value in item.items()}}) + "\n" for item in items(count))
    return path


def prepare(folder: Path, job: str, count: int) -> dict[str, Any]:
    """What that job is given, in a folder for it."""
    place = folder / f"place-{count}"
    place.mkdir()
    word, _, format_ = job.partition(" ")
    named = {"url": place.as_uri(), "key": msgspec.to_builtins(KEY)}
    if word == "export":
        row_file(folder / f"rows-{count}", count)
        return {**named, "rows": f"rows-{count}", "id": "x", "partition": "p", "format": format_, "view": None}
    if word == "sort":
        size = plain_file(place, format_, count).stat().st_size
        return {**named, "files": [[0, ["in", size]]], "dialect": [format_], "run": f"run-{count}", "work": f"work-{count}/fetched"}
    row_file(folder / f"rows-{count}", count)
    if word == "load":
        return {"rows": f"rows-{count}", "folder": str(place)}
    return {"runs": [f"rows-{count}"], "lo": "00" * 16, "hi": "", "output": f"merged-{count}/rows", "tree": None}


def child(folder: Path, job: str) -> None:
    """Both sizes, one after the other; the process's peak after each."""
    export_files.FILE_BYTES = HELD_BYTES
    import_runs.RUN_BYTES = HELD_BYTES
    lmdb_tree.LOAD_BYTES_PER_COMMIT = HELD_BYTES
    run: Any = {"export": export_job, "sort": sort_job, "merge": merge_job, "load": load_job}[job.partition(" ")[0]]
    peaks = []
    for count in (SMALL, LARGE):
        arguments = json.loads((folder / f"{count}.json").read_text())

        async def whole(arguments: dict[str, Any] = arguments) -> Any:
            tasks = AsyncTasks()
            answer = await run(WorkerContext(str(folder), lambda _: None, tasks), arguments)
            await tasks.close()
            return answer

        answer = asyncio.run(whole())
        peaks.append(answer if run is load_job else peak_mib())
    sys.stdout.write(json.dumps(peaks))


@pytest.mark.slow
@pytest.mark.parametrize("job", ["export dynamodb-json", "export parquet", "sort dynamodb-json", "sort parquet", "merge", "load"])
def test_ten_times_the_table_takes_no_more_memory(tmp_path: Path, job: str) -> None:
    for count in (SMALL, LARGE):
        (tmp_path / f"{count}.json").write_text(json.dumps(prepare(tmp_path, job, count)))
    code = f"from pathlib import Path; from tests.unit.pitr.test_transfer_memory import child; child(Path({str(tmp_path)!r}), {job!r})"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, check=True)
    small, large = json.loads(done.stdout)
    assert large - small <= SLACK_MIB, f"{small} MiB of {SMALL} items, {large} MiB of {LARGE}"
    assert small < 400
