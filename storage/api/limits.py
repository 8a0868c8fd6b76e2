"""Every bound of the front door, by name and unit. What waits or grows beyond one is refused, never kept."""

from __future__ import annotations

from scrubjay.base.http_values import HttpLimits
from scrubjay.storage.items.size import TRANSACTION_SIZE_MAX

# -- HTTP ------------------------------------------------------------------------------------------------------------------------------
URL_BYTES_MAX = 8 * 1024
"""Longest request target, query string included (a presigned request carries its signature there)."""
HEADER_BYTES_MAX = 32 * 1024
"""Names and values of one request's headers together."""
HEADER_COUNT_MAX = 100
BODY_BYTES_MAX = 16 * 1024 * 1024
"""Longest request body, as sent (DynamoDB: 16 MB for a batch). Answered 413."""
BODY_BYTES_BUFFERED_MAX = 256 * 1024 * 1024
"""Bodies not yet complete, over all connections together. A body beyond it is answered 503."""
CONNECTIONS_MAX = 10_000
PIPELINE_MAX = 32
"""Requests of one connection that may be under way; reading stops beyond it."""
REQUESTS_IN_FLIGHT_MAX = 8_192
"""Requests under way over all connections; one more is answered with ThrottlingException."""
CATALOGUE_MS = 3_000
"""How long a call waits, at most, to be told whether what is not there as far as is known here is not there."""
CATALOGUE_FIRST_MS = 500
"""How long an operation on tables waits for the catalogue as it is now, before it is answered by what is known."""
WRITE_BUFFER_BYTES_HIGH = 1024 * 1024
"""Unsent answer bytes of one connection at which reading from it stops."""
HEADERS_TIMEOUT_MS = 10_000
"""From the first byte of a request (or the accept) to the end of its headers."""
BODY_TIMEOUT_MS = 60_000
"""From the end of the headers to the end of the body."""
BODY_STALL_TIMEOUT_MS = 10_000
"""Without a new byte of a body."""
IDLE_TIMEOUT_MS = 60_000
"""Between requests on a kept connection."""
WRITE_STALL_TIMEOUT_MS = 60_000
"""With a full send buffer from which the peer takes nothing."""
CODED_BYTES_MIN = 4096
"""Shortest answer that is compressed when the client asks for it."""

HTTP = HttpLimits(
    url_bytes=URL_BYTES_MAX,
    header_bytes=HEADER_BYTES_MAX,
    header_count=HEADER_COUNT_MAX,
    body_bytes=BODY_BYTES_MAX,
    buffered_bytes=BODY_BYTES_BUFFERED_MAX,
    connections=CONNECTIONS_MAX,
    pipeline=PIPELINE_MAX,
    write_buffer_bytes=WRITE_BUFFER_BYTES_HIGH,
    headers_timeout_ms=HEADERS_TIMEOUT_MS,
    body_timeout_ms=BODY_TIMEOUT_MS,
    body_stall_timeout_ms=BODY_STALL_TIMEOUT_MS,
    idle_timeout_ms=IDLE_TIMEOUT_MS,
    write_stall_timeout_ms=WRITE_STALL_TIMEOUT_MS,
)
"""The above as the server takes them."""

# -- Signature -------------------------------------------------------------------------------------------------------------------------
CLOCK_SKEW_MS_MAX = 15 * 60 * 1000
PRESIGN_SECONDS_MAX = 7 * 24 * 3600

# -- Indexes ---------------------------------------------------------------------------------------------------------------------------
LOCAL_INDEXES_MAX = 5
"""Of one table."""
GLOBAL_INDEXES_MAX = 20
"""Of one table."""
KEY_PARTS_MAX = 4
"""Attributes that place a row of a global index, and as many that order it."""
PROJECTED_ATTRIBUTES_MAX = 100
"""NonKeyAttributes of all indexes of one table together."""

# -- Requests --------------------------------------------------------------------------------------------------------------------------
VALIDATION_ERRORS_MAX = 10
"""Constraint failures listed in one message."""
TABLE_NAME_CHARS_MIN = 3
TABLE_NAME_CHARS_MAX = 255
TABLE_ARN_CHARS_MAX = 1024
LIST_TABLES_MAX = 100
LIST_BACKUPS_MAX = 100
LIST_INSIGHTS_MAX = 100
TTL_ATTRIBUTE_CHARS_MAX = 255
POLICY_ARN_CHARS_MAX = 1283
POLICY_REVISION_CHARS_MAX = 255
POLICY_BYTES_MAX = 20_480
"""White space included."""
STREAM_ARN_CHARS_MIN = 37
STREAM_ARN_CHARS_MAX = 1024
BACKUP_ARN_CHARS_MIN = 37
BACKUP_ARN_CHARS_MAX = 1024
TRANSFER_ARN_CHARS_MIN = 37
TRANSFER_ARN_CHARS_MAX = 1024
"""ARN of an export or an import."""
LIST_TRANSFERS_MAX = 25
LIST_TRANSFERS_DEFAULT = 10
"""Exports or imports of a page, when nobody says how many."""
TRANSFER_TOKEN_CHARS_MIN = 112
"""Hex digits of the NextToken of their lists."""
TRANSFER_TOKEN_CHARS_MAX = 1024
S3_BUCKET_CHARS_MAX = 255
S3_PREFIX_CHARS_MAX = 1024
KMS_KEY_CHARS_MAX = 2048
CSV_HEADER_NAMES_MAX = 255
CSV_HEADER_CHARS_MAX = 65536
ATTRIBUTES_TO_GET_MAX = 255
KEY_NAME_CHARS_MAX = 255
"""Name of a key attribute, or of one an index projects."""
TAGS_PER_TABLE_MAX = 50
TAG_KEY_CHARS_MAX = 128
TAG_VALUE_CHARS_MAX = 256
CAPACITY_UNITS_MAX = 1_000_000_000_000
ACCOUNT_CAPACITY_UNITS_MAX = 80_000
TABLE_CAPACITY_UNITS_MAX = 40_000
WARM_READ_UNITS = 12_000
WARM_WRITE_UNITS = 4_000
"""What every on-demand table and index is warm to, a second."""
SETTLE_MS_MAX = 2_000
"""How long a description of a table that is being made, changed or deleted waits for that to end: the first poll of a waiter then sees the end, not the way."""
SETTLE_POLL_MS = 10
FIRST_WINDOW_MS_MAX = 10_000
"""How long DescribeContinuousBackups waits for the first restorable window of a table that is younger than FIRST_WINDOW_AGE_MS."""
FIRST_WINDOW_AGE_MS = 30_000
FIRST_WINDOW_POLL_MS = 50
RECOVERY_PERIOD_DAYS_MIN = 1
RECOVERY_PERIOD_DAYS_MAX = 35

# -- Items -----------------------------------------------------------------------------------------------------------------------------
ITEM_BYTES_MAX = 400 * 1024
"""Item size as DynamoDB counts it."""
PAGE_BYTES_MAX = 1024 * 1024
"""Item bytes read by one Query or Scan call, by DynamoDB's count."""
BATCH_GET_KEYS_MAX = 100
BATCH_GET_BYTES_MAX = 16 * 1024 * 1024
"""Item bytes of one BatchGetItem answer; keys beyond it come back as UnprocessedKeys."""
BATCH_WRITE_REQUESTS_MAX = 25
AT_ONCE_BYTES_MAX = 1024 * 1024
"""Longest body of a batch whose items are read in one go; of a longer one they are read one by one, with the loop's other work between them."""
TRANSACT_ITEMS_MAX = 100
TRANSACT_BYTES_MAX = TRANSACTION_SIZE_MAX
"""Item bytes of one transaction, by DynamoDB's count."""
REQUEST_TOKEN_CHARS_MAX = 36
SCAN_SEGMENTS_MAX = 1_000_000
STATEMENT_CHARS_MAX = 8192
"""Of PartiQL."""
STATEMENT_TOKEN_CHARS_MAX = 32768
"""NextToken of ExecuteStatement."""
BATCH_STATEMENTS_MAX = 25
READ_UNIT_BYTES = 4096
WRITE_UNIT_BYTES = 1024
RANGE_READ_ROWS = 1_000
"""Rows asked of a partition in one go."""
STREAM_RECORDS_MAX = 1000
STREAM_BYTES_MAX = 1 << 20
"""Of keys and items in one answer to GetRecords, but for its only record."""
STREAM_PAGE_BYTES = 128 << 10
"""Of the log that GetRecords reads at a time."""
LIST_STREAMS_MAX = 100
DESCRIBE_STREAM_MAX = 100
