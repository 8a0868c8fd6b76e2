"""The errors of the API as AWS names, numbers and words them.

An `ApiError` is what an operation raises or hands to its caller; `storage.api.http` turns it into an answer. `type` carries the name space
because SDKs take the part after '#', while recorded conformance tests compare the whole of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from scrubjay.base.errors import Conflict, DiskFull, Invalid, Missing, ScrubjayError, Unavailable, Unsafe

_DYNAMO = "com.amazonaws.dynamodb.v20120810#"
_SERVICE = "com.amazon.coral.service#"
_VALIDATE = "com.amazon.coral.validate#"
_AVAILABILITY = "com.amazon.coral.availability#"


class ApiError(Exception):
    """One error answer.

    status: HTTP status. type: `__type` with its name space. message: None leaves the member out. extra: further members of the body.
    message_member: AWS writes `Message` for what the deserialiser finds and for a denied access, and `message` for the rest.
    """

    def __init__(
        self, type_: str, message: str | None, *, status: int = 400, extra: dict[str, Any] | None = None, message_member: str = "message"
    ) -> None:
        super().__init__(message)
        self.type = type_
        self.message = message
        self.status = status
        self.extra = extra
        self.message_member = message_member

    @property
    def name(self) -> str:
        """The error's name without its name space."""
        return self.type.partition("#")[2]

    def body(self) -> dict[str, Any]:
        """The JSON object of the answer."""
        result: dict[str, Any] = {"__type": self.type}
        if self.message is not None:
            result[self.message_member] = self.message
        if self.extra:
            result.update(self.extra)
        return result


# -- what the front of the service says ------------------------------------------------------------------------------------------------


def serialization(message: str | None = None) -> ApiError:
    return ApiError(_SERVICE + "SerializationException", message, message_member="Message")


def unknown_operation() -> ApiError:
    return ApiError(_SERVICE + "UnknownOperationException", None)


def missing_authentication_token() -> ApiError:
    return ApiError(_SERVICE + "MissingAuthenticationTokenException", "Request is missing Authentication Token")


def incomplete_signature(message: str) -> ApiError:
    return ApiError(_SERVICE + "IncompleteSignatureException", message)


def invalid_signature(message: str) -> ApiError:
    return ApiError(_SERVICE + "InvalidSignatureException", message)


def unrecognized_client(message: str = "The security token included in the request is invalid.") -> ApiError:
    return ApiError(_SERVICE + "UnrecognizedClientException", message)


def access_denied(message: str = "Access is denied") -> ApiError:
    return ApiError(_SERVICE + "AccessDeniedException", message, message_member="Message")


def request_entity_too_large() -> ApiError:
    return ApiError(_SERVICE + "RequestEntityTooLargeException", "Request body is too large", status=413)


def throttling(message: str = "Rate of requests exceeds the allowed throughput.") -> ApiError:
    return ApiError(_AVAILABILITY + "ThrottlingException", message)


def service_unavailable(message: str) -> ApiError:
    return ApiError(_SERVICE + "ServiceUnavailableException", message, status=503)


# -- what the service says -------------------------------------------------------------------------------------------------------------


def validation(message: str) -> ApiError:
    return ApiError(_VALIDATE + "ValidationException", message)


def enveloped(message: str) -> ApiError:
    """A ValidationException of the request validator, which counts what it found."""
    return validation("1 validation error detected: " + message)


def constraints(found: Sequence[str]) -> ApiError:
    """found: at least one constraint failure, already worded."""
    plural = "" if len(found) == 1 else "s"
    return validation(f"{len(found)} validation error{plural} detected: " + "; ".join(found))


def not_built(what: str) -> ApiError:
    """A parameter asks for something this store does not do yet. what: the parameter, for example "GlobalSecondaryIndexes"."""
    return validation(f"One or more parameter values were invalid: {what} is not supported")


def no_such_kms_key(key: str) -> ApiError:
    """As the service passes on what its KMS says of a key that is not there."""
    if not key.startswith("arn:"):
        key = f"arn:aws:kms:us-east-1:000000000000:{key if key.startswith('alias/') else f'key/{key}'}"
    what = f"Alias {key} is not found." if ":alias/" in key else f"Key '{key}' does not exist"
    return validation(
        f"KMS validation error: com.amazonaws.services.kms.model.NotFoundException: {what} (Service: AWSKMS; Status Code: 400; Error Code: NotFoundException)"
    )


def conditional_check_failed(item: Any | None = None) -> ApiError:
    """item: the item as it was, for ReturnValuesOnConditionCheckFailure=ALL_OLD; beside it AWS writes `Message`."""
    name, message = _DYNAMO + "ConditionalCheckFailedException", "The conditional request failed"
    return ApiError(name, message) if item is None else ApiError(name, message, extra={"Item": item}, message_member="Message")


def duplicate_item() -> ApiError:
    return ApiError(_DYNAMO + "DuplicateItemException", "Duplicate primary key exists in table")


def item_collection_full(message: str) -> ApiError:
    """Of a write that would bring the items of one partition key, with their rows in local indexes, beyond their limit."""
    return ApiError(_DYNAMO + "ItemCollectionSizeLimitExceededException", message)


TRANSACTION_ONGOING = "Transaction is ongoing for the item"


def transaction_conflict() -> ApiError:
    """Of a single write whose item a transaction holds."""
    return ApiError(_DYNAMO + "TransactionConflictException", TRANSACTION_ONGOING)


def transaction_cancelled(message: str, reasons: list[Any]) -> ApiError:
    return ApiError(_DYNAMO + "TransactionCanceledException", message, extra={"CancellationReasons": reasons}, message_member="Message")


def transaction_in_progress() -> ApiError:
    return ApiError(
        _DYNAMO + "TransactionInProgressException",
        "Transaction from previous request is still in progress",
        message_member="Message",
    )


def idempotent_parameter_mismatch() -> ApiError:
    return ApiError(
        _DYNAMO + "IdempotentParameterMismatchException",
        "DynamoDB rejected the request because you retried a request with a different payload but with an idempotent token that was already used.",
        message_member="Message",
    )


def resource_not_found(message: str = "Requested resource not found") -> ApiError:
    return ApiError(_DYNAMO + "ResourceNotFoundException", message)


def table_not_found(name: str) -> ApiError:
    """As the table operations word it (the item operations name nothing)."""
    return resource_not_found(f"Requested resource not found: Table: {name} not found")


def resource_in_use(message: str) -> ApiError:
    return ApiError(_DYNAMO + "ResourceInUseException", message)


_BUSY = {"CREATING": "created", "UPDATING": "updated", "DELETING": "deleted"}


def table_busy(name: str, status: str) -> ApiError:
    """A change of a table that is not ACTIVE. status: what it is instead."""
    return resource_in_use(
        f"Attempt to change a resource which is still in use: Table is being {_BUSY.get(status, status.lower())}: {name}"
    )


def backups_table_not_found(name: str) -> ApiError:
    return ApiError(_DYNAMO + "TableNotFoundException", f"Table not found: {name}")


def table_already_exists(name: str) -> ApiError:
    return ApiError(_DYNAMO + "TableAlreadyExistsException", f"Table already exists: {name}")


def table_in_use(message: str) -> ApiError:
    return ApiError(_DYNAMO + "TableInUseException", message)


def backup_not_found(arn: str) -> ApiError:
    return ApiError(_DYNAMO + "BackupNotFoundException", f"Backup not found: {arn}")


def backup_in_use(message: str) -> ApiError:
    return ApiError(_DYNAMO + "BackupInUseException", message)


def export_not_found(arn: str) -> ApiError:
    return ApiError(_DYNAMO + "ExportNotFoundException", f"Export not found: Export not found: {arn}")


_DUPLICATE = "Duplicate request detected with conflicting parameters"


def export_conflict() -> ApiError:
    """The ClientToken was of another."""
    return ApiError(_DYNAMO + "ExportConflictException", f"Export conflict: {_DUPLICATE}")


def invalid_export_time(message: str) -> ApiError:
    return ApiError(_DYNAMO + "InvalidExportTimeException", message)


def import_not_found(arn: str) -> ApiError:
    return ApiError(_DYNAMO + "ImportNotFoundException", f"Import not found: {arn}")


def import_conflict() -> ApiError:
    """As `export_conflict`."""
    return ApiError(_DYNAMO + "ImportConflictException", f"Import conflict: {_DUPLICATE}")


def expired_iterator(message: str) -> ApiError:
    return ApiError(_DYNAMO + "ExpiredIteratorException", message)


def trimmed_data_access(message: str) -> ApiError:
    return ApiError(_DYNAMO + "TrimmedDataAccessException", message)


def policy_not_found(message: str) -> ApiError:
    return ApiError(_DYNAMO + "PolicyNotFoundException", message)


def global_table_not_found(message: str) -> ApiError:
    return ApiError(_DYNAMO + "GlobalTableNotFoundException", message)


def limit_exceeded(message: str) -> ApiError:
    return ApiError(_DYNAMO + "LimitExceededException", message)


def continuous_backups_unavailable(message: str) -> ApiError:
    return ApiError(_DYNAMO + "ContinuousBackupsUnavailableException", message)


def point_in_time_recovery_unavailable(name: str) -> ApiError:
    return ApiError(_DYNAMO + "PointInTimeRecoveryUnavailableException", f"Point in time recovery is not enabled for table '{name}'")


def invalid_restore_time(message: str) -> ApiError:
    return ApiError(_DYNAMO + "InvalidRestoreTimeException", message)


def internal(message: str = "The request processing has failed because of an unknown error, exception or failure.") -> ApiError:
    """SDKs retry it."""
    return ApiError(_DYNAMO + "InternalServerError", message, status=500)


CANNOT_NOW = "The store cannot do this now: "
"""How the message of a 500 begins that is no fault of ours: what the store lacks follows."""


def from_store(error: ScrubjayError) -> ApiError:
    """What a data operation answers when the store could not do it.

    DiskFull (disk or log): ServiceUnavailableException, which says so. Any other Unavailable (leader lost, no quorum): InternalServerError with what was lacking, and whether the
    outcome is unknown. Every SDK retries both. Conflict with a transaction: TransactionConflictException. Missing: the table went away.
    """
    if isinstance(error, DiskFull):
        return service_unavailable(f"The store has no room for writes: {error.message}. Reads go on; scrubjay status says what to do.")
    if isinstance(error, Unavailable):
        outcome = " What was asked for may have been done, or be done yet." if error.fields.get("unknown") else ""
        return internal(f"{CANNOT_NOW}{error.message}.{outcome}")
    if isinstance(error, Missing):
        return resource_not_found()
    if isinstance(error, Conflict) and error.fields.get("what") == "transaction":
        return transaction_conflict()
    if isinstance(error, Conflict):
        return resource_in_use(error.message)
    if isinstance(error, Invalid | Unsafe):
        return validation(error.message)
    return internal()
