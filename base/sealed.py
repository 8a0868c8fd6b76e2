"""Sealed objects: bytes encrypted and authenticated under a name (docs/formats/encrypted.md, ADR 0043).

A data key of its own for each object, AES-256-GCM over the bytes, with the header and the object's name as associated data; the data key is wrapped (RFC 3394)
under a key of the keyring, whose id the header names. Who has not got that key learns from the header which one it was; what fails under the right key is
rot. The header has its own checksum, so that rot in it is not taken for a key that is lost.

Names that carry a hash of the content carry a keyed permutation of it instead, made with the keyring's last key: nobody without it can test a guess of the content.
"""

from __future__ import annotations

import hmac
import json
import re
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from scrubjay.base.checksum import crc32c_masked
from scrubjay.base.errors import Corrupt, Invalid, NoKey

MAGIC = b"SJsealed"
VERSION = 1
AES_256_GCM = 1
HEADER = struct.Struct("<8sHBBI32s8s32s8s40s12s8sI")
TAG_BYTES = 16
OVERHEAD = HEADER.size + TAG_BYTES
"""A sealed object is longer than what it holds by this, always."""
SECRET_BYTES = 32
KEY_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}")
KEYS_MAX = 16
HASHED = re.compile(r"(.*\.[1-9][0-9]{0,8}\.)([0-9a-f]{16})(?=[./])")
"""A name with a hash of the content in it: `<stem with a generation>.<16 hex digits>`, then a dot or a slash. Group 1: the stem."""
_STEM = re.compile(r"(.*\.[1-9][0-9]{0,8}\.)[0-9a-f]{0,16}(?=[./]|$)")
_ROUNDS = 4
_CRC = struct.Struct("<I")

assert HEADER.size == 160

Random = Callable[[int], bytes]
"""random(n): n bytes that nobody can guess."""


@dataclass(frozen=True, slots=True)
class Key:
    """id: public, stands in every header. secret: 32 bytes; never shown. What it is used for are keys derived from it, one for each purpose."""

    id: str
    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if not KEY_ID.fullmatch(self.id):
            raise Invalid("not the id of a key: letters, digits and ._- (at most 32)", key_id=self.id)
        if len(self.secret) != SECRET_BYTES:
            raise Invalid(f"a key has {SECRET_BYTES} bytes", key_id=self.id, found=f"{len(self.secret)} bytes")

    def derived(self, purpose: bytes) -> bytes:
        """32 bytes for one purpose."""
        return hmac.digest(self.secret, b"scrubjay " + purpose, "sha256")

    @property
    def check(self) -> bytes:
        """8 bytes that tell this key from another one under the same id, and nothing else of it."""
        return self.derived(b"check")[:8]


@dataclass(frozen=True, slots=True)
class Keyring:
    """keys: newest first. Objects are written under the first and read under any; names are made with the last, the one that the archive was begun with."""

    keys: tuple[Key, ...]

    def __post_init__(self) -> None:
        if not 1 <= len(self.keys) <= KEYS_MAX or len({key.id for key in self.keys}) != len(self.keys):
            raise Invalid(f"from 1 to {KEYS_MAX} keys, each id once", found=", ".join(key.id for key in self.keys))

    @property
    def writing(self) -> Key:
        return self.keys[0]

    @property
    def naming(self) -> Key:
        return self.keys[-1]

    def of(self, key_id: str) -> Key | None:
        return next((key for key in self.keys if key.id == key_id), None)

    def as_text(self) -> str:
        """With the secrets: for a worker's environment, nowhere else."""
        return json.dumps([[key.id, key.secret.hex()] for key in self.keys])


def ring_of(text: str) -> Keyring:
    """Of `Keyring.as_text`."""
    return Keyring(tuple(Key(key_id, bytes.fromhex(secret)) for key_id, secret in json.loads(text)))


@dataclass(frozen=True, slots=True)
class SealHead:
    """A header, read. key: the id of the key it is sealed under; naming: of the one that names are made with; check, naming_check: which keys of these ids."""

    key: str
    check: bytes
    naming: str
    naming_check: bytes
    wrapped: bytes
    nonce: bytes


def seal(ring: Keyring, name: str, data: bytes, *, random: Random) -> bytes:
    """The object's bytes. name: where it will lie, below the archive's URL."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # slow to load, and most archives need none of it
    from cryptography.hazmat.primitives.keywrap import aes_key_wrap

    key, naming = ring.writing, ring.naming
    data_key, nonce = random(32), random(12)
    wrapped = aes_key_wrap(key.derived(b"wrap"), data_key)
    ids = (key.id.encode(), key.check, naming.id.encode(), naming.check)
    top = HEADER.pack(MAGIC, VERSION, AES_256_GCM, 0, HEADER.size, *ids, wrapped, nonce, bytes(8), 0)[:-4]
    head = top + _CRC.pack(crc32c_masked(top))
    body: bytes = AESGCM(data_key).encrypt(nonce, data, head + name.encode())
    return head + body


def is_sealed(data: bytes, *, where: str) -> bool:
    """Whether the bytes begin with a header. Raises Corrupt for one whose magic alone is damaged: it must pass for nothing else."""
    if data.startswith(MAGIC):
        return True
    if len(data) >= HEADER.size and _CRC.unpack_from(data, HEADER.size - 4)[0] == crc32c_masked(MAGIC + data[len(MAGIC) : HEADER.size - 4]):
        raise Corrupt("the header of a sealed object is damaged", what="seal", where=where)
    return False


def read_seal(data: bytes, *, where: str) -> SealHead:
    """The header of a sealed object. Needs no key. Raises Corrupt."""
    if len(data) < OVERHEAD:
        raise Corrupt("a sealed object is cut short", what="seal", where=where, found=len(data))
    magic, version, algorithm, zero, size, key, check, naming, naming_check, wrapped, nonce, zeros, crc = HEADER.unpack_from(data)
    if magic != MAGIC or crc32c_masked(data[: HEADER.size - 4]) != crc:
        raise Corrupt("the header of a sealed object is damaged", what="seal", where=where)
    if version != VERSION:
        raise Corrupt(f"sealed in version {version}, this release reads version {VERSION}", what="seal", where=where, found=version)
    if (algorithm, zero, size, zeros) != (AES_256_GCM, 0, HEADER.size, bytes(8)):
        raise Corrupt("sealed in a way that is not known", what="seal", where=where, found=algorithm)
    return SealHead(_id(key, where), check, _id(naming, where), naming_check, wrapped, nonce)


def _id(field_: bytes, where: str) -> str:
    text = field_.rstrip(b"\0").decode("ascii", "replace")
    if not KEY_ID.fullmatch(text):
        raise Corrupt("the header of a sealed object names no key", what="seal", where=where)
    return text


def unseal(ring: Keyring | None, name: str, data: bytes, *, where: str) -> bytes:
    """What was sealed. name: where it lies. where: what its readers call it. Raises Corrupt (rot, or bytes that were sealed under another name), NoKey."""
    head = read_seal(data, where=where)
    key = _key(ring, head.key, head.check, "the archive is encrypted under", where)
    naming = _key(ring, head.naming, head.naming_check, "the archive's names are made with", where)
    assert ring is not None
    if naming != ring.naming:
        raise NoKey(
            f"the archive's names are made with key {naming.id}, and {ring.naming.id} is the last of the list",
            key_id=naming.id,
            object=where,
            next="list the key that the archive was begun with as the last one in encryption.keys",
        )
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap

    try:
        data_key = aes_key_unwrap(key.derived(b"wrap"), head.wrapped)
        plain: bytes = AESGCM(data_key).decrypt(head.nonce, memoryview(data)[HEADER.size :], data[: HEADER.size] + name.encode())
    except (InvalidUnwrap, InvalidTag) as error:
        raise Corrupt("the object is not what was sealed under this name", what="seal", where=where, key_id=key.id) from error
    return plain


def _key(ring: Keyring | None, key_id: str, check: bytes, for_what: str, where: str) -> Key:
    key = None if ring is None else ring.of(key_id)
    if key is None:
        raise NoKey(
            f"{for_what} key {key_id}, which is not configured",
            key_id=key_id,
            object=where,
            next="list it in encryption.keys (runbooks/key-lost.md); without it nobody can read what was written under it",
        )
    if not hmac.compare_digest(key.check, check):
        raise NoKey(
            f"{for_what} another key {key_id} than the one that is configured under this id",
            key_id=key_id,
            object=where,
            next="give the right one; a new key takes a new id",
        )
    return key


def stem_of(name: str) -> str | None:
    """What stands before the hash in a name; None: there is no hash in it."""
    match = HASHED.match(name)
    return match[1] if match else None


def listed_from(text: str) -> str:
    """The beginning of a name, cut where a hash may have begun in it: as far as it is the same in kept and in true names."""
    match = _STEM.match(text)
    return match[1] if match else text


def kept_name(ring: Keyring, name: str) -> str:
    """The name under which an object of that name lies."""
    return _renamed(ring, name, range(_ROUNDS), forward=True)


def true_name(ring: Keyring, kept: str) -> str:
    """The inverse."""
    return _renamed(ring, kept, range(_ROUNDS - 1, -1, -1), forward=False)


def _renamed(ring: Keyring, name: str, rounds: Sequence[int], *, forward: bool) -> str:
    """A permutation of the 16 hex digits that is another one for each key and stem (four Feistel rounds, HMAC-SHA-256)."""
    match = HASHED.match(name)
    if match is None:
        return name
    stem, digits = match.groups()
    secret = ring.naming.derived(b"names")
    left, right = int(digits[:8], 16), int(digits[8:], 16)
    for number in rounds:
        half = right if forward else left
        mixed = int.from_bytes(hmac.digest(secret, f"{number} {half:08x} {stem}".encode(), "sha256")[:4], "big")
        left, right = (right, left ^ mixed) if forward else (right ^ mixed, left)
    return f"{stem}{left:08x}{right:08x}{name[match.end() :]}"
