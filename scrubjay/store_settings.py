"""What `base.real.stores.open_store` is told of the configuration: credentials, the keys of an encrypted archive, and for how long what is archived is locked."""

from __future__ import annotations

import json
from collections.abc import Mapping

from scrubjay.base.real.key_sources import keyring
from scrubjay.base.real.s3_versions import OBJECT_LOCK, OBJECT_LOCK_US
from scrubjay.base.real.stores import KEYS, SECOND
from scrubjay.base.sealed import Keyring, ring_of
from scrubjay.config import Config, S3Config, SecondConfig, s3_environment

JUDGE = "scrubjay.archiver.format.sound:PLAIN"
"""Which of two copies in a plain archive is believed."""


def keyring_of(config: Config) -> Keyring | None:
    """None: the archive is not encrypted. The first call reads them, which may run commands. Raises Unavailable, Unsafe, Invalid."""
    return keyring(config.encryption.keys, timeout_s=config.encryption.command_timeout_us / 1e6)


def settings_for(config: Config, url: str, **more: str) -> dict[str, str]:
    """As `store_settings`, of the archive at a URL: the second one alone has its own access, and no second."""
    if config.second.url and url.rstrip("/") == config.second.url.rstrip("/"):
        return {**store_settings(config, **more), **_second_access(config), SECOND: ""}
    return store_settings(config, **more)


def store_settings(config: Config, **more: str) -> dict[str, str]:
    """Settings for stores, and for the environment of workers; they hold secrets. Empty ones leave the AWS variables in force. more: for this use alone. Raises
    as `keyring_of` does."""
    ring, archive = keyring_of(config), config.archive
    return {
        **_access(config.s3),
        SECOND: _second(config),
        KEYS: "" if ring is None else ring.as_text(),
        OBJECT_LOCK: "" if archive.object_lock == "none" else archive.object_lock,
        OBJECT_LOCK_US: str(archive.lock_for_us) if archive.object_lock != "none" else "",
        **more,
    }


def _access(where: S3Config | SecondConfig) -> dict[str, str]:
    return {
        "access_key": where.access_key_id,
        "secret_key": where.secret_access_key,
        "session_token": where.session_token,
        "region": where.region,
        "endpoint": where.endpoint_url,
        "ca_bundle": where.ca_bundle,
    }


def _second(config: Config) -> str:
    """The setting of that name, "" where there is one archive."""
    if not config.second.url:
        return ""
    return json.dumps({"of": config.archive_url, "url": config.second.url, "judge": JUDGE, **_second_access(config)})


def _second_access(config: Config) -> dict[str, str]:
    own = _access(config.second)
    return own if any(own.values()) else _access(config.s3)


def store_environment(settings: Mapping[str, str]) -> dict[str, str]:
    """Variables by which a child that reads its configuration has the same credentials and the same keys. They hold secrets."""
    return {**s3_environment(settings), **key_environment(settings)}


def key_environment(settings: Mapping[str, str]) -> dict[str, str]:
    """Only the keys: of a child whose archive is elsewhere, and as secret. None where the archive is not encrypted."""
    keys = ring_of(settings[KEYS]).keys if settings.get(KEYS) else ()
    secrets = {f"KEY_{number}_OF_SCRUBJAY": key.secret.hex() for number, key in enumerate(keys)}
    listed = ",".join(f"{key.id}=env:{name}" for key, name in zip(keys, secrets, strict=True))
    return {**secrets, **({"SCRUBJAY_ENCRYPTION_KEYS": listed} if keys else {})}
