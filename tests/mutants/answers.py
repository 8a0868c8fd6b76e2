"""Mutants of what becomes of a worker's answer that somebody falls over."""

from __future__ import annotations

from tests.mutants.catalogue import Mutant

_ENGINE = "storage/btree/lmdb_engine.py"
_READ = ("tests/unit/btree/test_lmdb_engine.py::test_a_bug_in_reading_an_answer_is_told_to_who_asked_at_once",)
_OTHERS = ("tests/unit/btree/test_lmdb_engine.py::test_who_falls_over_an_answer_holds_up_no_other",)

MUTANTS: list[Mutant] = [
    Mutant(
        "answer-misread-leaves-asker-waiting",
        _ENGINE,
        """        fallen.append(error)
        outcome = Internal("a worker's answer could not be read", cause=repr(error))
""",
        """        fallen.append(error)
        return
""",
        _READ,
    ),
    Mutant(
        "answer-misread-not-logged",
        _ENGINE,
        """        fallen.append(error)
        outcome = Internal(""",
        """        outcome = Internal(""",
        _READ,
    ),
    Mutant(
        "answer-fallen-over-stops-the-others",
        _ENGINE,
        """    except Exception as error:  # noqa: BLE001  as above
        fallen.append(error)
""",
        """    except Exception as error:  # noqa: BLE001  as above
        raise error
""",
        _OTHERS,
    ),
    Mutant(
        "answer-fallen-over-said-to-nobody",
        _ENGINE,
        """            _hand_over(call, cause or _died(call.deaths or [status]), fallen)
        if fallen:
""",
        """            _hand_over(call, cause or _died(call.deaths or [status]), fallen)
        if fallen[1:]:
""",
        _OTHERS,
    ),
]
