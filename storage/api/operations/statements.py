"""ExecuteStatement and BatchExecuteStatement: PartiQL, alone and several at once, each on its own."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator
from typing import Any

from scrubjay.storage.api import errors, limits
from scrubjay.storage.api.call import Body, Call, Trace
from scrubjay.storage.api.capacity import Consumed
from scrubjay.storage.api.errors import ApiError
from scrubjay.storage.api.operations.batch import in_turns, merged_traces
from scrubjay.storage.api.operations.operation import Operation, check_constraints, read_input
from scrubjay.storage.api.operations.statement_run import Asked, NotRun, Planned, Ran, plan
from scrubjay.storage.api.operations.statement_token import make_token
from scrubjay.storage.api.shapes import BOOLEAN, RETURN_CONSUMED_CAPACITY, RETURN_ON_FAILURE, VALUE, Int, ListOf, Str, Struct
from scrubjay.storage.items.errors import ItemError
from scrubjay.storage.items.wire import item_to_json

STATEMENT = Str(min_chars=1, max_chars=limits.STATEMENT_CHARS_MAX)
PARAMETERS = ListOf(VALUE, min_items=1)


# --- ExecuteStatement --------------------------------------------------------------------------------------------------------------------

_EXECUTE = Struct(
    "ExecuteStatementInput",
    {
        "Statement": STATEMENT,
        "Parameters": PARAMETERS,
        "ConsistentRead": BOOLEAN,
        "NextToken": Str(min_chars=1, max_chars=limits.STATEMENT_TOKEN_CHARS_MAX),
        "ReturnConsumedCapacity": RETURN_CONSUMED_CAPACITY,
        "Limit": Int(minimum=1),
        "ReturnValuesOnConditionCheckFailure": RETURN_ON_FAILURE,
    },
    required=("Statement",),
)


def _measured(data: Body) -> bool:
    return bool(data.get("ReturnConsumedCapacity", "NONE") != "NONE")


def execute_statement(call: Call) -> None:
    data = read_input(call)
    check_constraints(call)
    asked = Asked(
        data["Statement"],
        data.get("Parameters"),
        consistent=data.get("ConsistentRead", False),
        shows_old=data.get("ReturnValuesOnConditionCheckFailure") == "ALL_OLD",
        measured=_measured(data),
        limit=data.get("Limit"),
        token=data.get("NextToken"),
    )

    def done(outcome: Ran | NotRun) -> None:
        if isinstance(outcome, NotRun):
            call.fail(outcome.error, outcome.traces)
            return
        body: Body = {"Items": outcome.items}
        if outcome.last is not None:
            body["NextToken"] = make_token(asked.text, asked.parameters, outcome.last)
            body["LastEvaluatedKey"] = item_to_json(outcome.last)
        if asked.measured:
            body["ConsumedCapacity"] = outcome.consumed.body(data["ReturnConsumedCapacity"], outcome.table)
        call.reply(body, outcome.traces)

    plan(call, asked).start(call.guard(done))


# --- BatchExecuteStatement ---------------------------------------------------------------------------------------------------------------

_BATCH = Struct(
    "BatchExecuteStatementInput",
    {
        "Statements": ListOf(
            Struct(
                "BatchStatementRequest",
                {
                    "Statement": STATEMENT,
                    "Parameters": PARAMETERS,
                    "ConsistentRead": BOOLEAN,
                    "ReturnValuesOnConditionCheckFailure": RETURN_ON_FAILURE,
                },
                required=("Statement",),
            ),
            min_items=1,
            max_items=limits.BATCH_STATEMENTS_MAX,
        ),
        "ReturnConsumedCapacity": RETURN_CONSUMED_CAPACITY,
    },
    required=("Statements",),
)
_MIXED = "The entire batch must consist of either read statements or write statements, you cannot mix both in one batch."
_CODES = {
    "ValidationException": "ValidationError",
    "ConditionalCheckFailedException": "ConditionalCheckFailed",
    "ResourceNotFoundException": "ResourceNotFound",
    "DuplicateItemException": "DuplicateItem",
    "AccessDeniedException": "AccessDenied",
    "ThrottlingException": "ThrottlingError",
    "TransactionConflictException": "TransactionConflict",
    "ItemCollectionSizeLimitExceededException": "ItemCollectionSizeLimitExceeded",
}
"""Errors of the API as codes of one statement's; all others are InternalServerError."""


def batch_execute_statement(call: Call) -> Coroutine[Any, Any, None] | None:
    steps = _batch(call)
    if call.size > limits.AT_ONCE_BYTES_MAX:
        return in_turns(call, steps)
    for _ in steps:
        pass
    return None


def _batch(call: Call) -> Iterator[None]:
    """Yields after each statement."""
    data = read_input(call)
    check_constraints(call)
    jobs: list[Planned | NotRun] = []
    for one in data["Statements"]:
        yield
        jobs.append(_job(call, one, measured=_measured(data)))
    if len({job.reads for job in jobs if isinstance(job, Planned)}) > 1:
        raise errors.validation(_MIXED)
    _BatchRun(call, jobs).start()


def _job(call: Call, one: Body, *, measured: bool) -> Planned | NotRun:
    asked = Asked(
        one["Statement"],
        one.get("Parameters"),
        consistent=one.get("ConsistentRead", False),
        shows_old=one.get("ReturnValuesOnConditionCheckFailure") == "ALL_OLD",
        measured=measured,
        within="BatchExecuteStatement",
    )
    try:
        return plan(call, asked)
    except (ApiError, ItemError) as error:
        return NotRun(error)


class _BatchRun:
    """Starts all statements and answers when the last is done. One that fails says so in its place, and hinders no other."""

    def __init__(self, call: Call, jobs: list[Planned | NotRun]) -> None:
        self._call = call
        self._jobs = jobs
        self._outcomes: list[Ran | NotRun | None] = [job if isinstance(job, NotRun) else None for job in jobs]
        self._left = sum(isinstance(job, Planned) for job in jobs)

    def start(self) -> None:
        if not self._left:
            self._finish()
        for index, job in enumerate(self._jobs):
            if isinstance(job, Planned):
                job.start(self._collector(index))

    def _collector(self, index: int) -> Callable[[Ran | NotRun], None]:
        def collect(outcome: Ran | NotRun) -> None:
            self._outcomes[index] = outcome
            self._left -= 1
            if not self._left:
                self._call.guard(self._finish)()

        return collect

    def _finish(self) -> None:
        responses: list[Body] = []
        units: dict[str, Consumed] = {}
        traces: list[Trace] = []
        for outcome in self._outcomes:
            assert outcome is not None
            if isinstance(outcome, NotRun):
                responses.append(_failed(self._call, outcome))
                continue
            response: Body = {"TableName": outcome.table}
            if outcome.items:
                response["Item"] = outcome.items[0]
            responses.append(response)
            units.setdefault(outcome.table, Consumed()).add(outcome.consumed)
            traces += outcome.traces
        body: Body = {"Responses": responses}
        mode = self._call.input.get("ReturnConsumedCapacity")
        if mode is not None and mode != "NONE":
            body["ConsumedCapacity"] = [total.body(mode, table) for table, total in units.items()]
        self._call.reply(body, merged_traces(traces))


def _failed(call: Call, outcome: NotRun) -> Body:
    error = call.answer_to(outcome.error)
    response: Body = {"Error": {"Code": _CODES.get(error.name, "InternalServerError"), "Message": error.message or ""}}
    if error.extra and "Item" in error.extra:
        response["Error"]["Item"] = error.extra["Item"]
    if outcome.table is not None:
        response["TableName"] = outcome.table
    return response


OPERATIONS: dict[str, Any] = {
    "ExecuteStatement": Operation(_EXECUTE, execute_statement),
    "BatchExecuteStatement": Operation(_BATCH, batch_execute_statement),
}
