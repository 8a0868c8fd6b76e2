"""Configuration: one TOML file, environment variables, `--set`; every key with unit, default and meaning.

Order, the later wins: default, file (`--config` or SCRUBJAY_CONFIG), `SCRUBJAY_<SECTION>_<KEY>`, `--set section.key=value`, the verb's own options.
An unknown key is an error that names the nearest known one: a typo must not silently become a default. `docs/CONFIG.md` is generated from here.

Fields hold plain integers, microseconds (`_us`) and bytes (`_bytes`); the key a user types has no unit in its name and its unit in its value.
"""

from __future__ import annotations

import difflib
import functools
import ipaddress
import os
import re
import shlex
import tomllib
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import msgspec

from scrubjay.base.archive_url import url_fault
from scrubjay.base.errors import Invalid
from scrubjay.base.sealed import KEY_ID, KEYS_MAX
from scrubjay.config_cluster import (
    ClusterConfig,
    DurabilityConfig,
    NodesConfig,
    RoutersConfig,
    TlsConfig,
    check_cluster,
    node_names,
    nodes_of,
    routers_of,
)
from scrubjay.config_key import NO_BOUND, ConfigKey
from scrubjay.units import format_duration, format_size, parse_duration, parse_size

SPLIT_SIZE_LEAST = 1 << 20
"""`tables.split_size`, but for 0."""
LOG_FILES_LEAST = 4
"""A log needs one file to write to, one to copy forward into and some that wait for the archive."""


URLS_MAX = 16
_SOURCE = re.compile(rf"({KEY_ID.pattern})=((?:file|env|command):.+)", re.DOTALL)
SEGMENT_BYTES_MAX = 32 << 20
"""The encoder takes 64 MiB (archiver.format.segment): what is on its way when a segment reaches its size (8 MiB proposed, a record of 16 MiB) still fits."""


DAY_US = 86_400_000_000


class ServeConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The process."""

    data: Annotated[str, ConfigKey("data", "text", "data folder; one process at a time", open=True)] = "./scrubjay-data"
    listen: Annotated[str, ConfigKey("listen", "text", "address to listen on; anything but loopback needs auth", open=True)] = "127.0.0.1"
    port: Annotated[int, ConfigKey("port", "count", "TCP port of the DynamoDB API and the admin API; 0 takes a free one", 0, 65535)] = 8000
    auth: Annotated[bool, ConfigKey("auth", "switch", "check signatures against auth.keys")] = False
    insecure_listen: Annotated[bool, ConfigKey("insecure_listen", "switch", "allow listening beyond loopback without auth")] = False
    stop_timeout_us: Annotated[
        int,
        ConfigKey(
            "stop_timeout", "duration", "longest wait for the object store at a planned stop; what is unarchived then stays in the WAL"
        ),
    ] = 30_000_000

    @property
    def endpoint(self) -> str:
        """Where a client on this machine finds the server. Port 0 is only known to the server: the default stands for it."""
        try:
            address = ipaddress.ip_address(self.listen)
            host = ("127.0.0.1" if address.version == 4 else "::1") if address.is_unspecified else self.listen
        except ValueError:
            host = self.listen
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port or 8000}"


class AuthKey(msgspec.Struct, frozen=True, kw_only=True):
    """One access key. role: `data` (the DynamoDB API), `admin` (that and /admin/v1/) or `policy` (what the policies of tables allow it)."""

    id: str
    secret: str
    role: str = "data"


class AuthConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Who may call."""

    keys: Annotated[
        tuple[AuthKey, ...], ConfigKey("keys", "keys", "access keys: tables with id, secret and role (`data`, `admin` or `policy`)")
    ] = ()


class ArchiveConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The archive and its agents."""

    url: Annotated[str, ConfigKey("url", "text", "file:///path or s3://bucket/prefix; empty: file://DATA/archive", open=True)] = ""
    segment_bytes: Annotated[
        int, ConfigKey("segment_bytes", "size", "a segment is sealed when it reaches this size; at most 32 MiB", 4096, SEGMENT_BYTES_MAX)
    ] = 8 << 20
    seal_age_us: Annotated[int, ConfigKey("seal_age", "duration", "a segment with content in it is sealed at this age", 100_000)] = (
        10_000_000
    )
    seal_age_max_us: Annotated[
        int,
        ConfigKey(
            "seal_age_max", "duration", "how far the age doubles, seal by seal, for partitions that only trickle; bounds their RPO", 100_000
        ),
    ] = 10_000_000
    closed_interval_us: Annotated[
        int,
        ConfigKey(
            "closed_interval", "duration", "one object of closed timestamps per node and interval: moves `latest` of idle tables", 100_000
        ),
    ] = 16_000_000
    lag_alarm_us: Annotated[
        int, ConfigKey("lag_alarm", "duration", "`archive status` exits 3 when a table's latest is further back than this")
    ] = 120_000_000
    uploads: Annotated[int, ConfigKey("uploads", "count", "segments uploaded at once per node", 1, 64)] = 4
    timeout_us: Annotated[int, ConfigKey("timeout", "duration", "one request to the object store", 1_000_000)] = 30_000_000
    object_lock: Annotated[
        str,
        ConfigKey(
            "object_lock",
            "text",
            "`governance` or `compliance`: what is archived is locked in the bucket, which must have object lock; `none`",
            open=True,
        ),
    ] = "none"
    lock_for_us: Annotated[
        int,
        ConfigKey(
            "lock_for",
            "duration",
            "with object_lock: how long what is put stays locked",
            4 * DAY_US,
        ),
    ] = 38 * DAY_US


class S3Config(msgspec.Struct, frozen=True, kw_only=True):
    """Credentials and endpoint of the object store where the usual AWS variables and files (profiles too) do not carry them. Keys are given as a pair, with
    their session token if they have one; then nothing of the AWS variables is mixed in."""

    access_key_id: Annotated[str, ConfigKey("access_key_id", "text", "instead of AWS_ACCESS_KEY_ID")] = ""
    secret_access_key: Annotated[str, ConfigKey("secret_access_key", "text", "instead of AWS_SECRET_ACCESS_KEY")] = ""
    session_token: Annotated[str, ConfigKey("session_token", "text", "instead of AWS_SESSION_TOKEN, for temporary keys given here")] = ""
    region: Annotated[str, ConfigKey("region", "text", "instead of AWS_REGION", open=True)] = ""
    endpoint_url: Annotated[str, ConfigKey("endpoint_url", "text", "instead of AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL", open=True)] = ""
    ca_bundle: Annotated[
        str, ConfigKey("ca_bundle", "text", "PEM file of the certificates to trust, instead of AWS_CA_BUNDLE", open=True)
    ] = ""


class SecondConfig(msgspec.Struct, frozen=True, kw_only=True):
    """A second archive, best on another server: everything is put there too, and either is enough to restore from. Its objects are locked and sealed as the first one's are."""

    url: Annotated[
        str, ConfigKey("url", "text", "file:///path or s3://bucket/prefix, empty at first; empty text: there is one archive", open=True)
    ] = ""
    decides_after_us: Annotated[
        int,
        ConfigKey(
            "decides_after",
            "duration",
            "the archive that decides what is there has not answered for so long: the other one decides, and what is written goes there",
            1_000_000,
        ),
    ] = 60_000_000
    rate_bytes: Annotated[int, ConfigKey("rate", "size", "bytes per second that are copied or compared between the two; 0: no bound")] = 0
    access_key_id: Annotated[str, ConfigKey("access_key_id", "text", "as in [s3]; where none of the following is given, [s3] counts")] = ""
    secret_access_key: Annotated[str, ConfigKey("secret_access_key", "text", "as in [s3]")] = ""
    session_token: Annotated[str, ConfigKey("session_token", "text", "as in [s3]")] = ""
    region: Annotated[str, ConfigKey("region", "text", "as in [s3]", open=True)] = ""
    endpoint_url: Annotated[str, ConfigKey("endpoint_url", "text", "as in [s3]", open=True)] = ""
    ca_bundle: Annotated[str, ConfigKey("ca_bundle", "text", "as in [s3]", open=True)] = ""


class EncryptionConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Encryption of the archive: all of it, or nothing, decided when it is begun. What lies on the node's disk is not encrypted by this (docs/formats/encrypted.md)."""

    keys: Annotated[
        tuple[tuple[str, str], ...],
        ConfigKey(
            "keys",
            "sources",
            "none: not encrypted. A list of `ID=file:/path`, `ID=env:NAME` or `ID=command:program arguments`, each a key of 32 bytes (as they are, hex or base64);"
            " the first is written under, all are read with, the last is the one that the archive was begun with; in one text: with commas between, or a TOML list",
        ),
    ] = ()
    command_timeout_us: Annotated[
        int, ConfigKey("command_timeout", "duration", "a command that gives a key must end within this", 100_000)
    ] = 10_000_000


def s3_environment(settings: Mapping[str, str]) -> dict[str, str]:
    """Variables by which a child that reads its configuration has the same settings of the store (`store_settings`); those that are no keys of `[s3]` are left out."""
    names = {"access_key": "access_key_id", "secret_key": "secret_access_key", "endpoint": "endpoint_url"}
    known = {field.name for field in msgspec.structs.fields(S3Config)}
    found = {names.get(name, name): value for name, value in settings.items() if value}
    return {f"SCRUBJAY_S3_{name}".upper(): value for name, value in found.items() if name in known}


class ScrubConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Scrubs."""

    archive_wait_us: Annotated[
        int, ConfigKey("archive_wait", "duration", "how long a scrub waits for the archive to reach its SEAL before it says `unverified`")
    ] = 60_000_000
    pin_wait_us: Annotated[int, ConfigKey("pin_wait", "duration", "how long a scrub waits for a replica to pin its tree at the SEAL")] = (
        30_000_000
    )
    heal_wait_us: Annotated[int, ConfigKey("heal_wait", "duration", "how long a scrub waits for running heals before it compares")] = (
        60_000_000
    )
    rate_bytes: Annotated[int, ConfigKey("rate", "size", "bytes per second read from one copy; 0: no bound")] = 0
    parallel: Annotated[int, ConfigKey("parallel", "count", "partitions scrubbed, or verified, at once", 1, 64)] = 2


class JobsConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Where scrubs, verifies, restores and time travel read the archive: in processes beside the server, or on the workers of a Dask cluster (docs/FLEET.md)."""

    backend: Annotated[str, ConfigKey("backend", "text", "`local` or `dask`", open=True)] = "local"
    address: Annotated[str, ConfigKey("address", "text", "of the Dask scheduler: `tcp://host:8786` or `tls://host:8786`", open=True)] = ""
    wait_us: Annotated[int, ConfigKey("wait", "duration", "how long a job waits for a fleet without workers to have one", 1_000_000)] = (
        30_000_000
    )
    share_percent: Annotated[
        int,
        ConfigKey(
            "share_percent",
            "count",
            "of a core, for each process of this machine that scrubs or verifies while requests are served; 100: no bound",
            1,
            100,
        ),
    ] = 25


class TablesConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Partitions of tables."""

    initial_partitions: Annotated[
        int, ConfigKey("initial_partitions", "count", "the hash range of a new table is split evenly into so many", 1, 1024)
    ] = 1
    split_size_bytes: Annotated[
        int,
        ConfigKey(
            "split_size",
            "size",
            "a partition, of a table or of a global index, with so many bytes of items becomes two by itself, while it is written to; 1MiB at least; 0: never",
        ),
    ] = 10 << 30


class ConsensusConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Replication groups."""

    support_interval_us: Annotated[
        int, ConfigKey("support_interval", "duration", "between two messages asking a node for support", 10_000)
    ] = 250_000
    lease_us: Annotated[int, ConfigKey("lease", "duration", "D: how long a node's support holds from receipt", 100_000)] = 1_500_000
    max_clock_offset_us: Annotated[
        int,
        ConfigKey(
            "max_clock_offset", "duration", "a node whose clock is further off is refused; the ± printed with every restore plan", 1_000
        ),
    ] = 500_000
    clock_ahead_accepted_us: Annotated[
        int,
        ConfigKey(
            "clock_ahead_accepted",
            "duration",
            "how far the cluster's time may be ahead of this machine's clock, once that ran ahead and was set right (runbooks/clock-ahead.md)",
            0,
        ),
    ] = 0


class StorageConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Write-ahead log and B-trees."""

    checkpoint_bytes: Annotated[
        int, ConfigKey("checkpoint_bytes", "size", "a replica checkpoints when its overlay reaches this size", 4096)
    ] = 8 << 20
    checkpoint_age_us: Annotated[int, ConfigKey("checkpoint_age", "duration", "and when its oldest change reaches this age", 10_000)] = (
        1_000_000
    )
    wal_file_bytes: Annotated[int, ConfigKey("wal_file", "size", "size of one WAL file; files are recycled", 1 << 20, 1 << 30)] = 16 << 20
    wal_limit_bytes: Annotated[
        int,
        ConfigKey(
            "wal_limit",
            "size",
            "the WAL of a node grows to this while the store is down; then writes are refused, history never dropped",
            1 << 22,
        ),
    ] = 4 << 30
    wal_reserve_bytes: Annotated[int, ConfigKey("wal_reserve", "size", "part of the limit kept for control records")] = 64 << 20
    keep_log_us: Annotated[
        int,
        ConfigKey(
            "keep_log",
            "duration",
            "what is archived and in the trees stays in the WAL for so long, while less than a quarter of wal_limit is in use: a node that was away for less goes on from it, and is not healed",
        ),
    ] = 30_000_000
    item_collection_limit_bytes: Annotated[
        int,
        ConfigKey(
            "item_collection_limit",
            "size",
            "of a table with local indexes: how large the items of one partition key and their index rows may become together; a write that makes them larger still is refused (ItemCollectionSizeLimitExceededException). The same on all nodes",
            1 << 10,
        ),
    ] = 10 << 30


class PitrConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Point-in-time recovery."""

    default: Annotated[bool, ConfigKey("default", "switch", "what the API says of new tables; archiving is always on")] = True
    days: Annotated[int, ConfigKey("days", "count", "length of the window in days", 1, 35)] = 35
    archive_wait_us: Annotated[
        int, ConfigKey("archive_wait", "duration", "a restore to a moment after `latest` waits this long for the archive to reach it")
    ] = 60_000_000
    parallel: Annotated[int, ConfigKey("parallel", "count", "partitions rebuilt at once", 1, 64)] = 2


class TtlConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Tables with a time to live: how fast what is over goes. A walk looks at every item; a million of them take 50 s, and to take away a million takes 17 minutes, while nobody is
    served; while somebody is, jobs.share_percent of that pace is kept."""

    every_us: Annotated[int, ConfigKey("every", "duration", "between two walks over all such tables", 1_000_000)] = 120_000_000
    rows_per_second: Annotated[int, ConfigKey("rows_per_second", "count", "items looked at", 100, 1_000_000)] = 20_000
    deletes_per_second: Annotated[int, ConfigKey("deletes_per_second", "count", "items taken away", 1, 100_000)] = 1_000


class AlertsConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Who is told when a problem begins and when it is over. A notice is a JSON object: `event` (`problem` | `over` | `test` | `untold`), `id`, `at`, `cluster`,
    `version`, `kind`, `what`, `since`, `runbook`; of `untold`, which says that notices were given up because too many waited, `kinds`: how many of each kind."""

    webhooks: Annotated[
        tuple[str, ...],
        ConfigKey("webhooks", "urls", "http or https URLs that notices are posted to; in one text: with commas between, or a TOML list"),
    ] = ()
    secret: Annotated[
        str, ConfigKey("secret", "text", "notices are signed with it: `X-Scrubjay-Signature: sha256=` and the HMAC of the body")
    ] = ""
    timeout_us: Annotated[int, ConfigKey("timeout", "duration", "one notice to one webhook", 100_000)] = 10_000_000


class LimitsConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What one client may cost."""

    connections: Annotated[int, ConfigKey("connections", "count", "open client connections", 1, 1 << 20)] = 1024
    request_bytes: Annotated[int, ConfigKey("request_bytes", "size", "longest request body", 1 << 20)] = 16 << 20
    header_timeout_us: Annotated[int, ConfigKey("header_timeout", "duration", "a request's headers must arrive within this", 1_000_000)] = (
        10_000_000
    )
    body_timeout_us: Annotated[int, ConfigKey("body_timeout", "duration", "a request's body must arrive within this", 1_000_000)] = (
        30_000_000
    )
    idle_timeout_us: Annotated[int, ConfigKey("idle_timeout", "duration", "a silent connection is closed after this", 1_000_000)] = (
        120_000_000
    )


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """The whole configuration; immutable."""

    serve: ServeConfig = ServeConfig()
    auth: AuthConfig = AuthConfig()
    archive: ArchiveConfig = ArchiveConfig()
    s3: S3Config = S3Config()
    second: SecondConfig = SecondConfig()
    encryption: EncryptionConfig = EncryptionConfig()
    scrub: ScrubConfig = ScrubConfig()
    jobs: JobsConfig = JobsConfig()
    tables: TablesConfig = TablesConfig()
    consensus: ConsensusConfig = ConsensusConfig()
    storage: StorageConfig = StorageConfig()
    pitr: PitrConfig = PitrConfig()
    ttl: TtlConfig = TtlConfig()
    limits: LimitsConfig = LimitsConfig()
    alerts: AlertsConfig = AlertsConfig()
    cluster: ClusterConfig = ClusterConfig()
    nodes: NodesConfig = NodesConfig()
    routers: RoutersConfig = RoutersConfig()
    durability: DurabilityConfig = DurabilityConfig()
    tls: TlsConfig = TlsConfig()

    @property
    def archive_url(self) -> str:
        """`archive.url`, or the archive folder below the data folder."""
        return self.archive.url or (Path(os.path.realpath(self.serve.data)) / "archive").as_uri()


RESERVED_ENV = ("SCRUBJAY_CONFIG", "SCRUBJAY_ENDPOINT", "SCRUBJAY_ACCESS_KEY_ID", "SCRUBJAY_SECRET_ACCESS_KEY", "SCRUBJAY_LOG")
"""Variables of ours that are no configuration keys."""
_SERVICE_LINK = re.compile(r"SCRUBJAY_(.*_)?(SERVICE_HOST|SERVICE_PORT|SERVICE_PORT_\w+|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)")
_SERVICE_URL = re.compile(r"(tcp|udp|sctp)://\S+")


def is_service_link(name: str, value: str) -> bool:
    """Whether Kubernetes put this variable into the container because a Service is called `scrubjay` or `scrubjay-…`. They say nothing about us.

    `SCRUBJAY_SERVE_PORT` is one of them, for a Service `scrubjay-serve`, if it holds an address.
    """
    return _SERVICE_LINK.fullmatch(name) is not None or (name.endswith("_PORT") and _SERVICE_URL.fullmatch(value) is not None)


@dataclass(frozen=True, slots=True)
class Field:
    """One configurable key: its section, the struct's field name, and how users type it."""

    section: str
    attribute: str
    key: ConfigKey
    default: Any

    @property
    def dotted(self) -> str:
        return f"{self.section}.{self.key.name}"

    @property
    def env(self) -> str:
        return f"SCRUBJAY_{self.section}_{self.key.name}".upper()


@functools.cache
def fields() -> Mapping[str, Field]:
    """Every key by its dotted name, in order of declaration."""
    found: dict[str, Field] = {}
    for section, kind in typing.get_type_hints(Config).items():
        defaults = kind()
        for attribute, hint in typing.get_type_hints(kind, include_extras=True).items():
            key = next(extra for extra in hint.__metadata__ if isinstance(extra, ConfigKey))
            entry = Field(section, attribute, key, getattr(defaults, attribute))
            found[entry.dotted] = entry
    return found


def sections() -> Mapping[str, str]:
    """Section names and the sentence that describes each."""
    return {name: (kind.__doc__ or "").strip() for name, kind in typing.get_type_hints(Config).items()}


def load(
    *,
    path: str | None = None,
    env: Mapping[str, str] | None = None,
    sets: Iterable[str] = (),
    options: Mapping[str, Any] | None = None,
) -> Config:
    """The configuration from all its sources. Raises Invalid (exit 64) naming source, key and the nearest known key.

    path: of the TOML file; None: SCRUBJAY_CONFIG of `env`, else no file. sets: "section.key=value". options: dotted name -> value; None values are skipped.
    """
    env = env or {}
    values: dict[str, Any] = {}
    path = path or env.get("SCRUBJAY_CONFIG")
    if path:
        values.update(_from_file(path))
    values.update(_from_env(env))
    for text in sets:
        values.update(_from_set(text))
    for dotted, value in (options or {}).items():
        if value is not None:
            values[dotted] = _convert(fields()[dotted], value, source="option")
    structs: dict[str, Any] = {}
    for section, kind in typing.get_type_hints(Config).items():
        structs[section] = kind(
            **{entry.attribute: values[dotted] for dotted, entry in fields().items() if entry.section == section and dotted in values}
        )
    config = Config(**structs)
    _check_together(config)
    return config


def _check_together(config: Config) -> None:
    """Raises Invalid for values that are good alone and cannot work together."""
    storage, consensus, archive = config.storage, config.consensus, config.archive
    data = storage.wal_limit_bytes - storage.wal_reserve_bytes
    least = LOG_FILES_LEAST * storage.wal_file_bytes
    slowest_us = max(archive.seal_age_us, archive.seal_age_max_us)
    wrong: tuple[tuple[bool, str, str, str], ...] = (
        (
            data < least,
            "storage.wal_limit",
            f"{format_size(storage.wal_limit_bytes)}, less {format_size(storage.wal_reserve_bytes)} of storage.wal_reserve",
            f"leave room for {LOG_FILES_LEAST} files of storage.wal_file ({format_size(least)})",
        ),
        (
            data >= least and archive.segment_bytes * 2 > data,
            "archive.segment_bytes",
            f"{format_size(archive.segment_bytes)}; a log takes {format_size(data)}",
            "two segments must fit into a log, or it is full before one is archived",
        ),
        (
            slowest_us > archive.lag_alarm_us,
            "archive.seal_age_max" if slowest_us == archive.seal_age_max_us else "archive.seal_age",
            f"{format_duration(slowest_us)}; archive.lag_alarm is {format_duration(archive.lag_alarm_us)}",
            "make it at most archive.lag_alarm, or a table that only trickles is an alarm in the ordinary course of things",
        ),
        (
            consensus.lease_us < 2 * consensus.support_interval_us,
            "consensus.lease",
            f"{format_duration(consensus.lease_us)}; support is asked for every {format_duration(consensus.support_interval_us)}",
            "make it at least twice consensus.support_interval, or leaders lose their lease between two messages",
        ),
        *(
            (bool(url) and bool(url_fault(url)), key, f"{url}: {url_fault(url)}", "give file:///path or s3://bucket/prefix")
            for key, url in (("archive.url", archive.url), ("second.url", config.second.url))
        ),
        (
            archive.object_lock not in ("none", "governance", "compliance"),
            "archive.object_lock",
            archive.object_lock,
            "one of none, governance, compliance",
        ),
        (
            archive.object_lock != "none" and not config.archive_url.startswith("s3://"),
            "archive.object_lock",
            f"{archive.object_lock}, and the archive is {config.archive_url}",
            "a folder has no object lock: give an s3:// archive, or none",
        ),
        (
            bool(config.s3.access_key_id) != bool(config.s3.secret_access_key),
            "s3.access_key_id" if config.s3.access_key_id else "s3.secret_access_key",
            "half a pair of keys",
            "give s3.access_key_id and s3.secret_access_key together, or neither",
        ),
        (
            bool(config.second.access_key_id) != bool(config.second.secret_access_key),
            "second.access_key_id" if config.second.access_key_id else "second.secret_access_key",
            "half a pair of keys",
            "give second.access_key_id and second.secret_access_key together, or neither",
        ),
        (
            bool(config.second.url) and config.second.url.rstrip("/") == config.archive_url.rstrip("/"),
            "second.url",
            f"{config.second.url}, which is the archive itself",
            "give another place, best on another server",
        ),
        (
            bool(config.second.url) and archive.object_lock != "none" and not config.second.url.startswith("s3://"),
            "second.url",
            f"{config.second.url}, and archive.object_lock is {archive.object_lock}",
            "a folder has no object lock: give an s3:// archive, or none",
        ),
        (
            bool(config.second.url) and config.jobs.backend == "dask" and not config.second.url.startswith("s3://"),
            "second.url",
            config.second.url,
            "the workers of a fleet need an s3:// archive: a folder on this machine is none of theirs",
        ),
        (
            0 < config.tables.split_size_bytes < SPLIT_SIZE_LEAST,
            "tables.split_size",
            format_size(config.tables.split_size_bytes),
            f"give {format_size(SPLIT_SIZE_LEAST)} or more, or 0: nothing is split by itself",
        ),
        (config.jobs.backend not in ("local", "dask"), "jobs.backend", config.jobs.backend, "give local or dask"),
        (
            config.jobs.backend == "dask" and not config.jobs.address.startswith(("tcp://", "tls://")),
            "jobs.address",
            config.jobs.address or "nothing",
            "give the address of the Dask scheduler: tcp://host:8786",
        ),
        (
            config.jobs.backend == "dask" and not config.archive.url.startswith("s3://"),
            "archive.url",
            config.archive.url or "the folder below the data folder",
            "the workers of a fleet need an s3:// archive: a folder on this machine is none of theirs",
        ),
    )
    for is_wrong, key, found, step in (*wrong, *check_cluster(config.cluster, config.nodes, config.routers, config.durability, config.tls)):
        if is_wrong:
            raise Invalid("configuration values do not work together", asked=key, found=found, next=step)


def _from_file(path: str) -> dict[str, Any]:
    try:
        # Editors on Windows begin a file with a mark (BOM) that TOML does not know.
        with open(path, encoding="utf-8-sig", newline="") as file:
            document = tomllib.loads(file.read())
    except OSError as error:
        raise Invalid(
            "cannot read the configuration file", asked=path, found=error.strerror, next="give an existing file with --config"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Invalid(
            "the configuration file is not TOML", asked=path, found=str(error), next="see docs/CONFIG.md for an example"
        ) from None
    values: dict[str, Any] = {}
    for section, content in document.items():
        if section not in sections():
            raise _unknown(section, sections(), source=path)
        if not isinstance(content, dict):
            raise Invalid(
                f"{section} is a section, not a value",
                asked=f"{section} in {path}",
                found=type(content).__name__,
                next=f"write [{section}] on a line of its own and its keys below",
            )
        if section in ("nodes", "routers") and set(content) != {"all"}:
            content = {"all": content}  # [nodes.n1] is a table of its own
        for name, value in content.items():
            dotted = f"{section}.{name}"
            if dotted not in fields():
                raise _unknown(dotted, fields(), source=path)
            values[dotted] = _convert(fields()[dotted], value, source=path)
    return values


def _from_env(env: Mapping[str, str]) -> dict[str, Any]:
    names = {entry.env: entry for entry in fields().values()}
    prefixes = tuple(f"SCRUBJAY_{section.upper()}_" for section in sections())
    values: dict[str, Any] = {}
    for name in sorted(env):
        if not name.startswith("SCRUBJAY_") or name in RESERVED_ENV or is_service_link(name, env[name]):
            continue
        if name in names:
            values[names[name].dotted] = _convert(names[name], env[name], source=name)
        elif name.startswith(prefixes) or difflib.get_close_matches(name, names, n=1, cutoff=0.9):
            raise _unknown(name, names, source="the environment")
    return values


def _from_set(text: str) -> dict[str, Any]:
    dotted, equals, value = text.partition("=")
    dotted = dotted.strip()
    if not equals:
        raise Invalid(
            "--set needs section.key=value", asked=f"--set {text}", found="no =", next="write for example --set archive.seal_age=5s"
        )
    if dotted not in fields():
        raise _unknown(dotted, fields(), source="--set")
    return {dotted: _convert(fields()[dotted], value.strip(), source="--set")}


def _unknown(name: str, known: Iterable[str], *, source: str) -> Invalid:
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.0)
    return Invalid(
        "unknown configuration key",
        asked=f"{name} in {source}",
        found="no such key",
        next=f"did you mean {near[0]}? docs/CONFIG.md lists all keys",
    )


def _convert(entry: Field, value: Any, *, source: str) -> Any:
    """The field's value from TOML, text or an option. Raises Invalid."""
    kind = entry.key.kind
    if kind == "text":
        if isinstance(value, str):
            return value
        raise _wrong(entry, value, source, "a text")
    if kind == "switch":
        return _switch(entry, value, source)
    if kind == "keys":
        return _keys(entry, value, source)
    if kind == "urls":
        return _urls(entry, value, source)
    if kind == "sources":
        return _sources(entry, value, source)
    if kind == "names":
        return node_names(entry.dotted, _listed(value), source)
    if kind == "nodes":
        return nodes_of(entry.dotted, value, source)
    if kind == "routers":
        return routers_of(entry.dotted, value, source)
    return _number(entry, value, source)


def _wrong(entry: Field, value: Any, source: str, wanted: str) -> Invalid:
    return Invalid(
        f"{entry.dotted} takes {wanted}",
        asked=f"{entry.dotted} in {source}",
        found=str(value),
        next=f"its default is {format_value(entry)}",
    )


def _switch(entry: Field, value: Any, source: str) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in ("true", "on", "yes", "1"):
        return True
    if isinstance(value, str) and value.lower() in ("false", "off", "no", "0"):
        return False
    raise _wrong(entry, value, source, "true or false")


def _number(entry: Field, value: Any, source: str) -> int:
    kind = entry.key.kind
    number: int | None = None
    if isinstance(value, int) and not isinstance(value, bool) and kind != "duration":
        number = value
    elif isinstance(value, str):
        try:
            if kind == "duration":
                number = parse_duration(value)
            elif kind == "size":
                number = parse_size(value)
            elif value.isascii() and value.isdigit():
                number = int(value)
        except Invalid:
            number = None
    wanted = {"duration": "a duration such as 10s or 5m", "size": "a size such as 8MiB", "count": "a whole number"}[kind]
    if number is None:
        raise _wrong(entry, value, source, wanted)
    if not entry.key.low <= number <= entry.key.high:
        end = f" to {_format(kind, entry.key.high)}" if entry.key.high < NO_BOUND else " on"
        raise _wrong(entry, value, source, f"{wanted} from {_format(kind, entry.key.low)}{end}")
    return number


def _keys(entry: Field, value: Any, source: str) -> tuple[AuthKey, ...]:
    """Accepts a list of tables with `id`, one such table, or tables named by their id."""
    if isinstance(value, str):
        try:
            value = tomllib.loads(f"keys = {value}")["keys"]
        except tomllib.TOMLDecodeError:
            raise _wrong(entry, "(not shown)", source, 'a TOML list such as [{id="…", secret="…", role="admin"}]') from None
    if isinstance(value, dict):
        named = all(isinstance(inner, dict) for inner in value.values())
        value = [{"id": name, **inner} for name, inner in value.items()] if named else [value]
    keys: list[AuthKey] = []
    for number, inner in enumerate(value if isinstance(value, list) else [], start=1):
        try:
            key = msgspec.convert(inner, AuthKey)
        except msgspec.ValidationError as error:
            raise _wrong(entry, f"key {number}: {error}", source, "tables with id, secret and role") from None
        strange = sorted(set(inner) - {"id", "secret", "role"})
        if strange or key.role not in ("data", "admin", "policy") or not key.id or not key.secret:
            raise _wrong(
                entry,
                f"key {number}: {', '.join(strange) or 'role ' + key.role}",
                source,
                "tables with id, secret and role (`data`, `admin` or `policy`)",
            )
        keys.append(key)
    if not keys or len({key.id for key in keys}) != len(keys):
        raise _wrong(entry, f"{len(keys)} keys", source, "at least one key, each id once")
    return tuple(keys)


def _listed(value: Any) -> Any:
    """A list as it is; of a text what stands between its commas, or the TOML list that it is. None: it is none."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        try:
            found = tomllib.loads(f"list = {value}")
        except tomllib.TOMLDecodeError:
            return None
        return found["list"] if len(found) == 1 else None
    return [text.strip() for text in value.split(",") if text.strip()]


def _urls(entry: Field, value: Any, source: str) -> tuple[str, ...]:
    """A list of texts, or one text: with commas between, or a TOML list. What is refused is not shown: a URL may hold a secret."""
    urls = _listed(value)
    if not isinstance(urls, list) or len(urls) > URLS_MAX:
        raise _wrong(entry, "(not shown)", source, f"at most {URLS_MAX} URLs")
    for number, url in enumerate(urls, start=1):
        if not isinstance(url, str) or not _is_url(url):
            raise _wrong(entry, f"number {number} (not shown)", source, "http or https URLs, without a user and without spaces")
    return tuple(urls)


def _sources(entry: Field, value: Any, source: str) -> tuple[tuple[str, str], ...]:
    """A list of `ID=kind:what`, or one text: with commas between, or a TOML list."""
    texts = _listed(value)
    wanted = "a list of ID=file:/path, ID=env:NAME or ID=command:program arguments, each id once"
    found: dict[str, str] = {}
    for number, text in enumerate(texts if isinstance(texts, list) else [None], start=1):
        match = _SOURCE.fullmatch(text) if isinstance(text, str) else None
        if match is None or match[1] in found or (match[2].startswith("file:") and not match[2].startswith("file:/")):
            # Not shown: somebody may have written the key itself.
            raise _wrong(entry, f"number {number} (not shown)", source, wanted)
        kind, _, what = match[2].partition(":")
        try:
            words = shlex.split(what) if kind == "command" else [what]
        except ValueError:
            words = []
        if not words or not words[0] or "\0" in what:
            said = "a quotation mark without its partner, no program, or a NUL"
            raise _wrong(entry, f"number {number} (not shown): {said}", source, wanted)
        found[match[1]] = match[2]
    if len(found) > KEYS_MAX:
        raise _wrong(entry, f"{len(found)} keys", source, f"at most {KEYS_MAX} keys")
    return tuple(found.items())


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return (
            parts.scheme in ("http", "https")
            and bool(parts.hostname)
            and parts.port != 0
            and "@" not in parts.netloc
            and text.isascii()
            and text.isprintable()
            and " " not in text
        )
    except ValueError:
        return False


def _format(kind: str, value: Any) -> str:
    if kind == "duration":
        return format_duration(value)
    if kind == "size":
        return format_size(value)
    if kind == "switch":
        return "true" if value else "false"
    if kind in ("keys", "urls", "sources", "names", "nodes", "routers"):
        return "none"
    return str(value)


def format_value(entry: Field, value: Any = None) -> str:
    """The default (or `value`) as a user would type it."""
    return _format(entry.key.kind, entry.default if value is None else value) or '""'
