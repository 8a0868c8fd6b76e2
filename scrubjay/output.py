"""What a verb answers: one exit code, one JSON shape, one way to print an error.

Exit codes (INTERFACE section 1): 0 done and proven; 1 operational failure; 2 mismatch found; 3 incomplete; 4 refused as unsafe; 64 wrong usage; 130 interrupted.
Every JSON answer has `schema`, `exit`, `error` and all fields of its verb's template: absent ones are null, lists empty.
"""

from __future__ import annotations

import copy
import errno
import json
import os
from collections.abc import Iterable, Mapping
from typing import Any

from scrubjay.base.errors import ScrubjayError
from scrubjay.text import wrapped

SCHEMA = 1

DONE, FAILED, MISMATCH, INCOMPLETE, REFUSED, USAGE, INTERRUPTED = 0, 1, 2, 3, 4, 64, 130

EXIT_MEANING: Mapping[int, str] = {
    DONE: "done, and what was to be proven is proven",
    FAILED: "operational failure (unreachable, timed out, internal)",
    MISMATCH: "mismatch found",
    INCOMPLETE: "incomplete: something stayed unverified",
    REFUSED: "refused because it would be unsafe",
    USAGE: "wrong usage",
    INTERRUPTED: "interrupted (state is safe, the verb may be run again)",
}


def merge_exits(codes: Iterable[int]) -> int:
    """One code for several results: 2 before 1 before 3 before 0. Refusals and usage errors are whole answers and never merged."""
    found = list(codes)
    assert all(code in (DONE, FAILED, MISMATCH, INCOMPLETE) for code in found)
    return next((code for code in (MISMATCH, FAILED, INCOMPLETE) if code in found), DONE)


class VerbFailure(Exception):
    """A verb ends without (or with a partial) report. `error` is the JSON `error` object; body: fields that are known all the same."""

    def __init__(
        self,
        message: str,
        *,
        code: str,
        exit_code: int,
        asked: str | None = None,
        found: str | None = None,
        next_step: str | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.exit_code = exit_code
        self.body: dict[str, Any] = dict(body or {})
        self.error: dict[str, str | None] = {"code": code, "message": message, "asked": asked, "found": found, "next": next_step}


_NEXT = {
    "Invalid": "see -h of the verb",
    "NotLeader": "try again: a leader is being chosen",
    "NoKey": "list the right keys in encryption.keys, see runbooks/key-lost.md",
    "Exhausted": "see to what the machine lacks, then try again",
    "Exists": "something has that name already: look what it is before it is tried again",
    "Conflict": "choose another name, or wait until what has it is done",
    "Unsafe": "nothing was changed; what was found says what stands in the way",
    "Unavailable": "try again; scrubjay archive status says whether the store answers, the server's log why it does not",
    "DiskFull": "make room, see runbooks/disk-full.md",
    "Corrupt": "scrubjay verify and scrubjay scrub run name what is damaged",
    "Missing": "scrubjay verify names what is lost",
    "Fenced": "another process writes there now: stop this one",
    "ResourceNotFound": "scrubjay archive status lists all tables",
    "Internal": "please report it; the server's log says more",
}
"""What to do next for an error that does not say it itself, where a server runs that can be asked."""
_NEXT_LOCAL = {
    **_NEXT,
    "Unavailable": "is the object store up, its URL right (--archive), and do its credentials still hold? then try again",
    "Corrupt": "keep the data folder as it is; scrubjay verify --archive URL proves the archive without a server",
    "Missing": "scrubjay verify --archive URL names what is lost",
    "ResourceNotFound": "check the URL and the name",
    "Internal": "please report it with these lines",
}
"""The same where none does: at a start, or for a verb that works alone."""


def failure_of(error: ScrubjayError, *, asked: str | None = None, local: bool = False) -> VerbFailure:
    """The answer for an error of ours. Its fields `asked`, `found`, `next` are taken over; the others become part of `found`. local: no server was asked."""
    fields = dict(error.fields)
    known = {name: fields.pop(name, None) for name in ("asked", "found", "next")}
    code = str(fields.pop("error_code", error.code))
    body = fields.pop("body", None)
    facts = ", ".join(f"{name}={value}" for name, value in sorted(fields.items()))
    found = "; ".join(str(part) for part in (known["found"], facts) if part) or None
    return VerbFailure(
        error.message,
        code=code,
        exit_code=error.exit_code,
        asked=str(known["asked"]) if known["asked"] is not None else asked,
        found=found,
        next_step=str(known["next"])
        if known["next"] is not None
        else (_NEXT_LOCAL if local else _NEXT).get(code, (_NEXT_LOCAL if local else _NEXT).get(error.code)),
        body=body if isinstance(body, dict) else None,
    )


_AGAIN = "try again when the machine has more of it"
_NEXT_OF_ERRNO = {
    errno.EACCES: "let the user that runs it read and write there, or give another place",
    errno.EPERM: "let the user that runs it read and write there, or give another place",
    errno.EROFS: "give a place that can be written",
    errno.ENOSPC: "make room, see runbooks/disk-full.md",
    errno.EDQUOT: "make room within the quota, see runbooks/disk-full.md",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
    errno.ENFILE: "raise the system's limit of open files (fs.file-max)",
    errno.ENOMEM: _AGAIN,
    errno.EAGAIN: "raise the limit of processes (ulimit -u), or try again",
    errno.ENOENT: "give a place that exists",
    errno.ENOTDIR: "give a place that is a folder",
    errno.EISDIR: "give a place that is no folder",
    errno.EEXIST: "give a place that is a folder",
    errno.ELOOP: "give a place that is a folder",
    errno.ENAMETOOLONG: "give a shorter path",
}
_FULL = (errno.ENOSPC, errno.EDQUOT)
_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN)


def failure_of_machine(error: OSError | MemoryError, *, asked: str) -> VerbFailure:
    """The answer when the operating system refuses something: never a bug of ours, and nothing that is known about data."""
    if isinstance(error, MemoryError):
        return VerbFailure(
            "the machine has no more memory", code="Exhausted", exit_code=FAILED, asked=asked, found="out of memory", next_step=_AGAIN
        )
    number = error.errno
    code = "DiskFull" if number in _FULL else "Exhausted" if number in _EXHAUSTED else "Unavailable"
    where = f": {os.fsdecode(error.filename)}" if isinstance(error.filename, (str, bytes)) else ""
    found = (error.strerror or str(error) or type(error).__name__) + where
    step = _NEXT_OF_ERRNO.get(number or 0, "the system's own log may say more")
    return VerbFailure("the operating system refused", code=code, exit_code=FAILED, asked=asked, found=found, next_step=step)


def answer(
    exit_code: int, body: Mapping[str, Any], *, template: Mapping[str, Any], error: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The JSON answer: the template's fields, over them the body's, and the three every answer has."""
    merged: dict[str, Any] = {"schema": SCHEMA, "exit": exit_code, "error": dict(error) if error is not None else None}
    merged.update(copy.deepcopy(dict(template)))
    merged.update({name: value for name, value in body.items() if name not in ("schema", "exit", "error")})
    return merged


def to_json(document: Mapping[str, Any]) -> str:
    """One object, indented: people read it too."""
    return json.dumps(document, ensure_ascii=False, indent=2)


def error_lines(error: Mapping[str, Any]) -> list[str]:
    """An error for people: what, what was asked, what was found, what to do next."""
    lines = wrapped(f"scrubjay: {error['message']} [{error['code']}]", rest="  ")
    for label in ("asked", "found", "next"):
        if error.get(label):
            lines += wrapped(str(error[label]), first=f"  {label + ':':<7}", rest=" " * 9)
    return lines
