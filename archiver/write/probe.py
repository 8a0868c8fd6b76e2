"""The probe at start: a store that does not keep what the archive rests on is refused, not trusted.

What is tried: the root answers · an object is read as it was written, at once · a second create loses and
changes nothing · exactly one of several concurrent creates wins · listing is complete, at once, and in byte order · a PUT whose checksum does not fit its
body is refused (S3 only) · deletion · where an object lock is configured: that the bucket has one and it holds. A few small objects below
`probe/<a random uuid>/` are made and removed; no reader takes them for a cluster's.
"""

from __future__ import annotations

from scrubjay.base.env import Env, ObjectStore
from scrubjay.base.errors import Corrupt, Exists, Missing, Unavailable, Unsafe

RACERS = 8
LISTED = 5
CHECKSUM_TRIES = 4
CHECKSUM_PAUSE_S = 0.25
"""Between two tries of the one request that no retries are around."""


async def probe(store: ObjectStore, env: Env) -> None:
    """Raises Unsafe (field `probe`: its name), Unavailable (not reached)."""
    folder = f"probe/{env.rand.uuid()}/"
    keys = [f"{folder}{number:04d}" for number in range(1, LISTED + 1)]
    raced, checked = f"{folder}race", f"{folder}checksum"
    made = sorted({*keys, raced, checked})
    answered = False
    try:
        await _read_your_write(store, keys[0])
        await _create_once(store, keys[0])
        await _race(store, env, raced)
        await store.delete(raced)
        if await store.head(raced) is not None:
            raise _failed("deletion", store, "a deleted object is still there")
        for key in reversed(keys[1:]):
            await store.put(key, key.encode())
        await _list_order(store, folder, keys)
        await _wrong_checksum(store, env, checked)
        await _lock(store, folder)
        answered = True
    except Unsafe:
        answered = True
        raise
    finally:
        # A store that went away in the middle is not asked seven times more, each with its own patience: its few small objects stay.
        for key in made if answered else ():
            await store.delete(key)


def _failed(name: str, store: ObjectStore, found: str) -> Unsafe:
    return Unsafe(f"the object store fails the probe {name!r}: {found}", probe=name, archive=store.url)


async def _read_your_write(store: ObjectStore, key: str) -> None:
    data = key.encode() * 50
    await store.put(key, data)
    try:
        same = await store.get(key) == data
        middle = await store.get_range(key, 7, 70)
        info = await store.head(key)
    except (Missing, Corrupt) as error:
        raise _failed("read-your-write", store, str(error)) from error
    if not same or middle != data[7:70] or info is None or info.size != len(data):
        raise _failed("read-your-write", store, "an object is not what was written")


async def _create_once(store: ObjectStore, key: str) -> None:
    before = await store.get(key)
    try:
        await store.put(key, b"second")
    except Exists:
        pass
    else:
        raise _failed("create-once", store, "a second create of one key succeeded (If-None-Match is ignored)")
    if await store.get(key) != before:
        raise _failed("create-once", store, "a refused create changed the object")


async def _race(store: ObjectStore, env: Env, key: str) -> None:
    won: list[int] = []

    async def run(number: int) -> None:
        try:
            await store.put(key, f"racer {number}".encode())
        except Exists:
            return
        won.append(number)

    racers = [env.tasks.spawn(run(number), name=f"probe racer {number}") for number in range(RACERS)]
    for racer in racers:
        await racer
    if len(won) != 1:
        raise _failed("create-once race", store, f"{len(won)} of {RACERS} concurrent creates won")
    if await store.get(key) != f"racer {won[0]}".encode():
        raise _failed("create-once race", store, "the object is not the winner's")


async def _list_order(store: ObjectStore, prefix: str, keys: list[str]) -> None:
    first = await store.list(prefix, limit=2)
    rest = await store.list(prefix, after=keys[1], limit=LISTED + 1)
    found = [info.key for info in (*first.objects, *rest.objects)]
    if found != keys or not first.more or rest.more:
        raise _failed("list order", store, f"listed {found}")
    confirm = getattr(store, "confirm_flat_order", None)
    if confirm is not None:
        await _flat_order(store, prefix)


async def _flat_order(store: ObjectStore, prefix: str) -> None:
    """Let the store find out whether a flat listing of nested names comes in byte order: a faster listing then, no failure if not."""
    nested = sorted([f"{prefix}a/b", f"{prefix}a-b", f"{prefix}a.b/c", f"{prefix}a/c"])
    try:
        for key in nested:
            await store.put(key, b"order")
        expected = [info.key for info in (await store.list(prefix)).objects]
        await store.confirm_flat_order(prefix, expected)  # type: ignore[attr-defined]
    finally:
        for key in nested:
            await store.delete(key)


def _itself(store: ObjectStore) -> ObjectStore:
    while (inner := getattr(store, "inner", None)) is not None:
        store = inner
    return store


async def _wrong_checksum(store: ObjectStore, env: Env, key: str) -> None:
    """Asked of the store itself: what a server puts around it knows the port alone, and this is beyond it."""
    refuses = getattr(_itself(store), "refuses_wrong_checksum", None)
    if refuses is None:
        return
    for left in reversed(range(CHECKSUM_TRIES)):
        try:
            refused = await refuses(key)
            break
        except Unavailable:
            if not left:
                raise
            await env.tasks.sleep(CHECKSUM_PAUSE_S)
    if not refused:
        raise _failed("wrong checksum", store, "a PUT whose checksum does not fit its body was accepted")


async def _lock(store: ObjectStore, folder: str) -> None:
    check = getattr(_itself(store), "check_lock", None)
    wrong = await check(folder) if check is not None else None
    if wrong is not None:
        raise Unsafe(
            f"the object store fails the probe 'object lock': {wrong}",
            probe="object lock",
            archive=store.url,
            next="make a bucket with object lock (it is given when a bucket is made), or set archive.object_lock to none",
        )
