"""What `base.real.stores.open_store` is told of the configuration: credentials, the keys of an encrypted archive, and for how long what is archived is locked."""

from __future__ import annotations

from collections.abc import Mapping

from scrubjay.base.real.key_sources import keyring
from scrubjay.base.real.s3_versions import OBJECT_LOCK, OBJECT_LOCK_US
from scrubjay.base.real.stores import KEYS
from scrubjay.base.sealed import Keyring, ring_of
from scrubjay.config import Config, s3_environment


def keyring_of(config: Config) -> Keyring | None:
    """None: the archive is not encrypted. The first call reads them, which may run commands. Raises Unavailable, Unsafe, Invalid."""
    return keyring(config.encryption.keys, timeout_s=config.encryption.command_timeout_us / 1e6)


def store_settings(config: Config, **more: str) -> dict[str, str]:
    """Settings for stores, and for the environment of workers; they hold secrets. Empty ones leave the AWS variables in force. more: for this use alone. Raises
    as `keyring_of` does."""
    s3, ring, archive = config.s3, keyring_of(config), config.archive
    return {
        "access_key": s3.access_key_id,
        "secret_key": s3.secret_access_key,
        "session_token": s3.session_token,
        "region": s3.region,
        "endpoint": s3.endpoint_url,
        "ca_bundle": s3.ca_bundle,
        KEYS: "" if ring is None else ring.as_text(),
        OBJECT_LOCK: "" if archive.object_lock == "none" else archive.object_lock,
        OBJECT_LOCK_US: str(archive.lock_for_us) if archive.object_lock != "none" else "",
        **more,
    }


def store_environment(settings: Mapping[str, str]) -> dict[str, str]:
    """Variables by which a child that reads its configuration has the same credentials and the same keys. They hold secrets."""
    return {**s3_environment(settings), **key_environment(settings)}


def key_environment(settings: Mapping[str, str]) -> dict[str, str]:
    """Only the keys: of a child whose archive is elsewhere, and as secret. None where the archive is not encrypted."""
    keys = ring_of(settings[KEYS]).keys if settings.get(KEYS) else ()
    secrets = {f"KEY_{number}_OF_SCRUBJAY": key.secret.hex() for number, key in enumerate(keys)}
    listed = ",".join(f"{key.id}=env:{name}" for key, name in zip(keys, secrets, strict=True))
    return {**secrets, **({"SCRUBJAY_ENCRYPTION_KEYS": listed} if keys else {})}
