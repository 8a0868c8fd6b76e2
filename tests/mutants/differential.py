"""Mutants of what a 500 says, and of the steps of a transaction that a leader does not do."""

from __future__ import annotations

from tests.mutants.catalogue import Mutant

_FAULTS = "tests/contract/api/test_store_faults.py::"
_LEADER = "storage/replica/transacting.py"
_STEPS = ("tests/sim/test_transactions_at_limits.py::test_a_leader_does_no_step_of_a_transaction_that_cannot_be_one",)
_LACKS = ("tests/property/api/test_against_model.py::test_a_server_that_says_what_it_lacks_is_not_called_wrong_and_one_that_does_not_is",)

MUTANTS = [
    Mutant(
        "lack-is-an-unknown-error",
        "storage/api/errors.py",
        '        return internal(f"{CANNOT_NOW}{error.message}.{outcome}")\n',
        "        return internal()\n",
        _LACKS,
    ),
    Mutant(
        "transact-prepared-twice",
        _LEADER,
        "        if known is not None or command.id in self._proposed or command.id in self._ended:\n",
        "        if False:\n",
        _STEPS,
    ),
    Mutant("transact-effective-before-prepared", _LEADER, "        elif command.effective < since:\n", "        elif False:\n", _STEPS),
    Mutant(
        "transact-effective-any-time", _LEADER, "            if not replica.node.heard(effective):\n", "            if False:\n", _STEPS
    ),
    Mutant("transact-any-number", _LEADER, "len(pending) + len(self._proposed) >= PENDING_MAX or ", "", _STEPS),
    Mutant("transact-any-bytes", _LEADER, " or size > PENDING_BYTES_MAX\n", "\n", _STEPS),
    Mutant(
        "transact-ended-twice-is-a-fault",
        _LEADER,
        "        if command.id in self._ended or known is None:\n            self._answer((), done)",
        '        if command.id in self._ended or known is None:\n            done(Invalid("no such transaction", what="transaction"))',
        _STEPS,
    ),
    Mutant(
        "transact-ended-holds-on",
        _LEADER,
        "        return id_ is not None and id_ not in self._ended\n",
        "        return id_ is not None\n",
        ("tests/sim/test_transactions_at_limits.py::test_an_item_given_up_before_it_was_held_is_another_ones_behind_that",),
    ),
    Mutant(
        "fault-is-a-lack",
        "storage/api/errors.py",
        "        return validation(error.message)\n    return internal()\n",
        "        return validation(error.message)\n    return internal(CANNOT_NOW + error.message)\n",
        (_FAULTS + "test_a_store_that_cannot_is_an_error_that_sdks_retry",),
    ),
    Mutant(
        "unknown-outcome-unsaid",
        "storage/api/errors.py",
        'if error.fields.get("unknown") else ""',
        'if False else ""',
        (_FAULTS + "test_a_write_of_unknown_outcome_is_said_to_be_one",),
    ),
]
