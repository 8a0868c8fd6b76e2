"""Object stores by URL: `file:///path` and `s3://bucket/prefix`; and what lies over every one of them, encryption."""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from scrubjay.base.archive_url import url_fault
from scrubjay.base.errors import Corrupt, Invalid, NoKey
from scrubjay.base.real.aws import settings_from
from scrubjay.base.real.clock import RealClock
from scrubjay.base.real.localfs import LocalStore
from scrubjay.base.real.s3_versions import OBJECT_LOCK, OBJECT_LOCK_US
from scrubjay.base.sealed import Keyring, ring_of, true_name, unseal
from scrubjay.base.wrap.encrypted import EncryptedStore
from scrubjay.base.wrap.paired import Judging, PairedStore

if TYPE_CHECKING:
    from scrubjay.base.real.s3 import S3Store

HANDED_ON = "SCRUBJAY_STORE_SETTINGS"
"""Variable by which a process tells its workers what its configuration says of the store (JSON). Not for users: workers are started with it."""
KEYS = "keys"
"""Setting: the keys of an encrypted archive, as `base.sealed.Keyring.as_text` has them."""

SECOND = "second"
"""Setting: the second archive of a first one, JSON: `of` (the first one's URL), `url`, `judge` ("package.module:name" of a `base.wrap.paired.Judging`), the settings of its store, and
`create` if its folder may not be there yet."""
_OF_THE_PAIR = ("of", "url", "judge", "create")


def worker_environment(settings: Mapping[str, str]) -> dict[str, str]:
    """The environment of worker processes: ours, and `settings` as they are. Never mixed into the AWS variables: a pair of keys from the configuration
    beside a session token from somebody's login would be refused everywhere. Without the lock: what a worker puts are exports, and these are not ours to lock."""
    handed = {name: value for name, value in settings.items() if value and name not in (OBJECT_LOCK, OBJECT_LOCK_US)}
    return {**os.environ, HANDED_ON: json.dumps(handed)}


def handed_on() -> dict[str, str]:
    """In a worker: the settings of the process that started it."""
    found: dict[str, str] = json.loads(os.environ.get(HANDED_ON, "{}"))
    return found


def open_store(
    url: str, *, environment: Mapping[str, str] | None = None, settings: Mapping[str, str] | None = None, create: bool = True
) -> EncryptedStore:
    """As `bare_store`, and: with `keys` in the settings what it holds is sealed, without them what is sealed is refused; with a `second` of this URL it is a pair."""
    given = dict(settings or {})
    keys, second = given.pop(KEYS, ""), json.loads(given.pop(SECOND, "") or "{}")
    ring = ring_of(keys) if keys else None
    store: LocalStore | S3Store | PairedStore = bare_store(url, environment=environment, settings=given, create=create)
    if second and _same_place(second["of"], url):
        locks = {name: given[name] for name in (OBJECT_LOCK, OBJECT_LOCK_US) if given.get(name)}
        others = {name: value for name, value in second.items() if name not in _OF_THE_PAIR} | locks
        other = bare_store(second["url"], settings={**others, "timeout": given.get("timeout", "")}, create="create" in second)
        plain = _named(second["judge"])
        judge = plain if ring is None else _unsealing(ring, plain)
        store = PairedStore(store, other, clock=RealClock(), judge=judge)
    return EncryptedStore(store, ring, random=os.urandom)


def beginning_second(settings: Mapping[str, str]) -> dict[str, str]:
    """The settings with a second archive whose folder may not be there yet."""
    second = json.loads(settings.get(SECOND) or "{}")
    return {**settings, SECOND: json.dumps({**second, "create": "yes"}) if second else ""}


def pair_of(store: object) -> PairedStore | None:
    """The pair under some wrappers; None: it is one archive."""
    while store is not None and not isinstance(store, PairedStore):
        store = getattr(store, "inner", None)
    return store


def bucket_of(store: object) -> S3Store | None:
    """The store, if it is one; None: something else, or nothing."""
    from scrubjay.base.real.s3 import S3Store

    return store if isinstance(store, S3Store) else None


def _same_place(one: str, other: str) -> bool:
    return one.rstrip("/") == other.rstrip("/")


def _named(name: str) -> Judging:
    """Named as jobs are: what a format is, is not known down here."""
    module, _, attribute = name.partition(":")
    found: Judging = getattr(importlib.import_module(module), attribute)
    return found


def _unsealing(ring: Keyring, plain: Judging) -> Judging:
    """Of sealed objects the seal says all; two that say the same are never sealed alike."""

    def sound(kept: str, data: bytes) -> bool | None:
        try:
            unseal(ring, kept, data, where=kept)
        except NoKey:
            return None
        except Corrupt:
            return False
        return True

    def alike(kept: str, one: bytes, two: bytes) -> bool:
        try:
            return plain.alike(true_name(ring, kept), *(unseal(ring, kept, data, where=kept) for data in (one, two)))
        except (NoKey, Corrupt):
            return False

    return Judging(sound, alike)


def bare_store(
    url: str, *, environment: Mapping[str, str] | None = None, settings: Mapping[str, str] | None = None, create: bool = True
) -> LocalStore | S3Store:
    """The store behind `url`, bare (no retry, not probed, its objects as they lie there). Opens nothing yet.

    settings: endpoint, region, access_key, secret_key, session_token, ca_bundle, timeout (seconds, of one request); what is not given is found as every AWS
    tool does, and kept current (`base.real.aws`). environment: AWS variables that are not this process's own, taken as settings. Raises Invalid for a URL
    that is none of ours, and for settings that can never work. create: a folder that is not there may become a new archive; else it is missing.
    """
    if fault := url_fault(url):
        raise Invalid(fault, url=url)
    parts = urlsplit(url)
    if parts.scheme == "file":
        return LocalStore(Path(unquote(parts.path)), create=create)
    from scrubjay.base.real.s3 import (
        S3Store,  # an HTTP client and all that it knows: half a worker's start, of those whose archive is a folder too
    )

    merged = settings_from(environment) if environment is not None else {}
    merged.update({name: value for name, value in (settings or {}).items() if value})
    return S3Store(parts.netloc, parts.path.strip("/"), merged)
