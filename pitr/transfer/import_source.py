"""What lies at the URL of an import: an export in AWS's layout, by its manifests, or plain objects, as ImportTable takes them. Found by a job; nothing is changed.

Of an export the summary comes first: without it there is none. Its list of files carries their checksums and counts, to which whoever reads a file holds it.
"""

from __future__ import annotations

import re
import zlib
from typing import Any, NamedTuple

import msgspec
import zstandard

from scrubjay.base.env import JobContext, ObjectInfo, ObjectStore
from scrubjay.base.errors import Corrupt, Invalid, Missing, Unavailable, Unsafe
from scrubjay.pitr.transfer.aws_layout import CSV, DYNAMODB_JSON, OURS, PARQUET, SUMMARY, WORDS, folder, md5_of
from scrubjay.pitr.transfer.known_formats import check_installed

FILES_MAX = 100_000
HEAD_BYTES = 1 << 20
"""Of an object, to see its first item by."""
TAIL_BYTES, FOOTER_BYTES_MAX = 64 << 10, 16 << 20
"""Of a Parquet file, to see its columns by: read at first, and at most."""
HEADS_MAX = 10
"""Objects that are looked into for a first item."""
GZIP, ZSTD, NONE = "GZIP", "ZSTD", "NONE"
_EXPORT = re.compile(r"(?:(.*)/)?AWSDynamoDB/([A-Za-z0-9-]+)(?:/(?:data|manifest-(?:summary|files|scrubjay)\.json))?")
_SUMMARY_OF = re.compile(r"AWSDynamoDB/([A-Za-z0-9-]+)/" + re.escape(SUMMARY))
_FORMATS = {word: name for name, word in WORDS.items()}
_decode = msgspec.json.Decoder().decode


class SourceFile(NamedTuple):
    """key: relative to the place. bytes: as they lie there. md5: base64; items: how many; both None of what no manifest lists."""

    key: str
    bytes: int
    md5: str | None = None
    items: int | None = None


class Source(NamedTuple):
    """place: URL that the keys of files are relative to. export: its id, None: plain objects. digest, key ([name, type], …): what an export of ours says of its
    table. types: of the attributes of the first item, by name, where that was asked for."""

    place: str
    files: tuple[SourceFile, ...]
    format: str
    export: str | None = None
    digest: str | None = None
    key: tuple[tuple[str, str], ...] | None = None
    types: tuple[tuple[str, str], ...] = ()


def compression_of(head: bytes) -> str:
    """By an object's first bytes."""
    if head[:2] == b"\x1f\x8b":
        return GZIP
    return ZSTD if head[:4] == b"\x28\xb5\x2f\xfd" else NONE


async def source_job(context: JobContext, arguments: dict[str, Any]) -> dict[str, Any]:
    """arguments: url, format (of plain objects; None: DynamoDB JSON), typed (whether the key's types are known). Answer: source (`Source` as plain data). Raises Missing,
    Unsafe (no export, or not one), Corrupt (a manifest), Unavailable."""
    source = await find_source(context, arguments["url"], arguments["format"])
    if source.key is None and not arguments["typed"] and source.format != CSV:
        looked_for = _column_types if source.format == PARQUET else _first_types
        source = source._replace(types=await looked_for(context.place(source.place), source))
    return {"source": msgspec.to_builtins(source)}


async def find_source(context: JobContext, url: str, format_: str | None) -> Source:
    """The folder of an export, a place with one export in it, a folder with plain objects below it, or one object. Raises as `source_job`."""
    root, path = _split(url)
    export = _EXPORT.fullmatch(path)
    if export is not None:
        return await _export(context, _joined(root, export[1] or ""), export[2])
    place = _joined(root, path)
    there = await _listed(context.place(place), "")
    ids = [found[1] for key in there if (found := _SUMMARY_OF.fullmatch(key))]
    if len(ids) == 1:
        return await _export(context, place, ids[0])
    if ids:
        raise Unsafe(
            "there are several exports", asked=url, found=", ".join(ids[-10:]), error_code="SeveralExports",
            next=f"say which one: {place}/{folder(ids[-1])}",
        )  # fmt: skip
    if any(key.startswith("AWSDynamoDB/") for key in there):
        raise _no_summary(url)
    if not there:
        place, there = await _one_object(context, url, root, path)
    return Source(place, tuple(SourceFile(key, size) for key, size in there.items()), format_ or DYNAMODB_JSON)


async def _listed(store: ObjectStore, prefix: str) -> dict[str, int]:
    """Sizes of the objects there by key, sorted. Of a folder that is not there: none. Raises Unsafe (too many), Unavailable."""
    found: dict[str, int] = {}
    more = True
    while more:
        try:
            page = await store.list(prefix, after=next(reversed(found), ""))
        except Unavailable as error:
            if error.fields.get("error_code") != "ArchiveGone":
                raise
            return {}
        found.update((one.key, one.size) for one in page.objects)
        more = page.more
        if len(found) > FILES_MAX:
            raise Unsafe("there are more objects than one import takes", found=f"more than {FILES_MAX}", error_code="TooMany")
    return found


async def _one_object(context: JobContext, url: str, root: str, path: str) -> tuple[str, dict[str, int]]:
    """The URL names an object itself. Raises Unsafe."""
    above, _, name = path.rpartition("/")
    place = _joined(root, above)
    info: ObjectInfo | None = None
    try:
        info = await context.place(place).head(name) if name else None
    except Invalid:
        pass  # no object of a folder has such a name
    except Unavailable as error:  # nor is the folder above it there
        if error.fields.get("error_code") != "ArchiveGone":
            raise
    if info is None:
        raise Unsafe(
            "nothing is there to be imported", asked=url, error_code="NothingThere",
            next="give an export, a folder of files, or one file: file:///… (of the server's machine) or s3://bucket/…",
        )  # fmt: skip
    return place, {name: info.size}


def _split(url: str) -> tuple[str, str]:
    """The root of a URL (a bucket; of folders, the machine) and the path below it."""
    scheme, _, rest = url.partition("://")
    host, _, path = rest.partition("/")
    return f"{scheme}://{host}", path.strip("/")


def _joined(root: str, path: str) -> str:
    return f"{root}/{path}"


# ---------------------------------------------------------------------------------------------------------------- an export


async def _export(context: JobContext, place: str, id_: str) -> Source:
    store, here = context.place(place), folder(id_)
    try:
        data = await _summed(store, here + SUMMARY)
    except Missing:
        raise _no_summary(f"{place}/{here}") from None
    try:
        said = _decode(data)
        if said.get("exportType", "FULL_EXPORT") != "FULL_EXPORT":
            raise Unsafe(
                "an incremental export is no table", asked=f"{place}/{here}", error_code="IncrementalExport", next="import a full export"
            )
        word, list_key, items = str(said["outputFormat"]), str(said["manifestFilesS3Key"]), int(said["itemCount"])
    except (msgspec.DecodeError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise _malformed(here + SUMMARY, error) from error
    if word not in _FORMATS:
        raise Unsafe("exports of that format cannot be imported", asked=f"{place}/{here}", found=word, error_code="NoSuchFormat")
    files = await _files(store, _below(list_key))
    if sum(one.items or 0 for one in files) != items:
        raise Corrupt(
            "the summary and the list of files differ in how many items there are",
            what="import", where=here, expected=items, found=sum(one.items or 0 for one in files),
        )  # fmt: skip
    digest, key = await _ours(store, here + OURS)
    return Source(place, files, _FORMATS[word], id_, digest, key)


async def _files(store: ObjectStore, key: str) -> tuple[SourceFile, ...]:
    """The data files that an export lists, each of which is there. Raises Missing, Corrupt."""
    listed: list[tuple[str, str, int]] = []
    try:
        for line in (await _summed(store, key)).splitlines():
            one = _decode(line)
            listed.append((_below(str(one["dataFileS3Key"])), str(one["md5Checksum"]), int(one["itemCount"])))
    except (msgspec.DecodeError, KeyError, TypeError, ValueError) as error:
        raise _malformed(key, error) from error
    there = await _listed(store, key.rpartition("/")[0] + "/data/")
    gone = next((where for where, _, _ in listed if where not in there), None)
    if gone is not None:
        raise Missing("a data file of the export is gone", what="import", where=gone)
    return tuple(SourceFile(where, there[where], md5, items) for where, md5, items in listed)


async def _summed(store: ObjectStore, key: str) -> bytes:
    """A manifest; what the .md5 beside it says of it holds, if there is one. Raises Missing, Corrupt."""
    data = await store.get(key)
    try:
        said = (await store.get(key.removesuffix(".json") + ".md5")).decode("ascii", "replace").strip()
    except Missing:
        return data
    if said != md5_of(data):
        raise Corrupt("a manifest is not what its checksum says", what="import", where=key, expected=said, found=md5_of(data))
    return data


async def _ours(store: ObjectStore, key: str) -> tuple[str | None, tuple[tuple[str, str], ...] | None]:
    """Digest and key of the table, if it is an export of ours. Raises Corrupt."""
    try:
        said = _decode(await store.get(key))
        return str(said["digest"]), tuple((str(name), str(kind)) for name, kind in said["key"])
    except Missing:
        return None, None
    except (msgspec.DecodeError, KeyError, TypeError, ValueError) as error:
        raise _malformed(key, error) from error


def _below(key: str) -> str:
    """A key in a manifest, relative to the place: the export may have been copied, and lie below another prefix than when it was written."""
    return "AWSDynamoDB/" + key.rpartition("AWSDynamoDB/")[2]


def _no_summary(where: str) -> Unsafe:
    return Unsafe("no summary is there: that export is not finished, or none", asked=where, error_code="NoSummary", next="export again")


def _malformed(key: str, error: Exception) -> Corrupt:
    return Corrupt(f"a manifest is malformed: {error}", what="import", where=key)


# ---------------------------------------------------------------------------------------------------------------- the first item


async def _first_types(store: ObjectStore, source: Source) -> tuple[tuple[str, str], ...]:
    """By the first item that is met. Empty if there is none, or if it is no item: whoever reads all of it says so with the line."""
    for file in [one for one in source.files if one.bytes][:HEADS_MAX]:
        line = _opened(await store.get_range(file.key, 0, min(file.bytes, HEAD_BYTES))).partition(b"\n")[0]
        if line.strip():
            try:
                return tuple((str(name), str(next(iter(value)))) for name, value in _decode(line)["Item"].items())
            except (msgspec.DecodeError, KeyError, TypeError, AttributeError, StopIteration):
                return ()
    return ()


async def _column_types(store: ObjectStore, source: Source) -> tuple[tuple[str, str], ...]:
    """By the columns of the first file. Empty if it is no Parquet: whoever reads all of it says so. Raises Unavailable."""
    check_installed(PARQUET)
    from scrubjay.pitr.transfer.parquet import types_in  # an extra: nobody else needs it

    for file in source.files[:1]:
        tail = await store.get_range(file.key, max(0, file.bytes - TAIL_BYTES), file.bytes)
        footer = int.from_bytes(tail[-8:-4], "little") + 8
        if len(tail) < footer <= min(file.bytes, FOOTER_BYTES_MAX):
            tail = await store.get_range(file.key, file.bytes - footer, file.bytes)
        return types_in(tail)
    return ()


def _opened(head: bytes) -> bytes:
    """The beginning of what an object holds, by its beginning."""
    kind = compression_of(head)
    try:
        if kind == GZIP:
            return zlib.decompressobj(31).decompress(head, HEAD_BYTES)
        return zstandard.ZstdDecompressor().decompressobj().decompress(head)[:HEAD_BYTES] if kind == ZSTD else head
    except (zlib.error, zstandard.ZstdError):
        return b""
