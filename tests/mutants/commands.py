"""Mutants of this room: commands, their codec and their evaluation, and the expressions in them."""

from __future__ import annotations

from tests.mutants.catalogue import Mutant

CODEC = "storage/commands/codec.py"
PACKED = "base/packed.py"
EVALUATE = "storage/commands/evaluate.py"
TESTS = "tests/unit/commands/test_codec.py"
REFUSED = f"{TESTS}::test_what_no_router_sends_is_refused_by_name"
DEPTHS = (f"{TESTS}::test_what_is_just_within_the_bounds_is_taken", REFUSED)
OUTCOMES = f"{TESTS}::test_an_outcome_whose_parts_do_not_belong_together_is_refused"
SIZES = f"{TESTS}::test_sizes_are_bounded_on_both_sides"
EVALUATION = "tests/unit/commands/test_evaluate.py"

MUTANTS: list[Mutant] = [
    Mutant("command-any-version", PACKED, "if len(data) < 2 or data[0] != version:", "if len(data) < 2:", (REFUSED,)),
    Mutant("command-any-depth", CODEC, "if depth > EXPRESSION_DEPTH_MAX:", "if depth > 9 * EXPRESSION_DEPTH_MAX:", (REFUSED,)),
    Mutant("command-depth-too-small", CODEC, "if depth > EXPRESSION_DEPTH_MAX:", "if depth >= EXPRESSION_DEPTH_MAX:", DEPTHS),
    Mutant("command-any-key", CODEC, "if not 0 < len(command.key) <= KEY_BYTES_MAX:", "if not command.key:", (REFUSED,)),
    Mutant("command-blind-condition", CODEC, "        if command.blind:\n", "        if False:\n", (REFUSED,)),
    Mutant("command-any-item", CODEC, "if item is not None and len(item) > ITEM_ENCODED_BYTES_MAX:", "if False:", (REFUSED,)),
    Mutant("command-deep-constant", CODEC, "if is_deeper_than(value, NESTING_MAX):", "if False:", (REFUSED,)),
    Mutant("command-any-index", CODEC, "not 0 <= step <= INDEX_MAX", "step > INDEX_MAX", (REFUSED,)),
    Mutant("command-any-place", CODEC, "            functions = OPERAND_FUNCTIONS\n", "            functions = ARITY\n", (REFUSED,)),
    Mutant(
        "command-any-size",
        PACKED,
        "    if len(data) > limit:\n        raise malformed(",
        "    if False:\n        raise malformed(",
        (SIZES,),
    ),
    Mutant(
        "command-sends-any-size",
        PACKED,
        "    if len(data) > limit:\n        raise Invalid(",
        "    if False:\n        raise Invalid(",
        (SIZES,),
    ),
    Mutant(
        "command-shared-constants",
        CODEC,
        "return ValueNode(encode_value(node.value)) if isinstance(node, ValueNode) else node",
        'return node if not isinstance(node, ValueNode) else (msgspec.structs.force_setattr(node, "value", encode_value(node.value)), node)[1]',
        (f"{TESTS}::test_a_shared_tree_is_not_changed_by_encoding",),
    ),
    Mutant("outcome-any-timestamp", CODEC, "proposed == (answer.timestamp_us is None) or ", "", (OUTCOMES,)),
    Mutant(
        "outcome-any-images", CODEC, '        raise malformed("answer", "images of an outcome", decision)\n', "        pass\n", (OUTCOMES,)
    ),
    Mutant(
        "swap-blind",
        EVALUATE,
        "if old != command.expect or ",
        "if (command.expect is not None and old != command.expect) or ",
        (f"{EVALUATION}::test_swap",),
    ),
    Mutant(
        "update-any-encoding",
        EVALUATE,
        "        check_encoded_size(new, update=True)\n",
        "",
        ("tests/contract/api/test_store_faults.py::test_an_item_that_no_record_can_hold_is_refused",),
    ),
    Mutant(
        "put-any-encoding",
        "storage/api/operations/items.py",
        "        check_encoded_size(data)\n",
        "        pass\n",
        ("tests/contract/api/test_store_faults.py::test_an_item_that_no_record_can_hold_is_refused",),
    ),
    Mutant(
        "error-unknown-code-unsaid",
        "base/errors.py",
        'dict(fields) if kind is not None else {**fields, "code": code}',
        "dict(fields)",
        (f"{TESTS}::test_an_error_of_a_later_version_is_an_internal_one_that_names_it",),
    ),
    Mutant(
        "a-duration-without-an-end",
        "scrubjay/units.py",
        "    if us > NUMBER_MAX:\n",
        "    if False:\n",
        ("tests/unit/cli/test_cli_units.py::test_what_is_too_much_for_anybody_is_wrong_usage_and_no_bug",),
    ),
    Mutant(
        "a-size-without-an-end",
        "scrubjay/units.py",
        "    if size > NUMBER_MAX:\n",
        "    if False:\n",
        ("tests/unit/cli/test_cli_units.py::test_what_is_too_much_for_anybody_is_wrong_usage_and_no_bug",),
    ),
    Mutant(
        "an-age-that-sqlite-cannot-hold",
        "scrubjay/admin.py",
        "    max_age_us: Annotated[int, msgspec.Meta(le=NUMBER_MAX)] = 0\n",
        "    max_age_us: int = 0\n",
        ("tests/unit/cli/test_cli_admin.py::test_the_schedule_is_told_set_and_paused_and_runs_as_a_job",),
    ),
    Mutant(
        "a-bound-of-nothing-is-asked-for",
        "scrubjay/verbs/schedule_set.py",
        "    if value == 0:\n",
        "    if False:\n",
        ("tests/unit/cli/test_cli_verbs.py::test_a_number_out_of_bounds_is_told_by_its_option",),
    ),
    Mutant(
        "bounds-of-a-drill-are-the-servers",
        "scrubjay/verbs/drill_run.py",
        "        if number is not None and not least <= number <= most:\n",
        "        if False:\n",
        ("tests/unit/cli/test_cli_verbs.py::test_a_number_out_of_bounds_is_told_by_its_option",),
    ),
    Mutant(
        "a-zombie-serves",
        "tools/cluster.sh",
        ' && [[ $(ps -o stat= -p "$pid" 2>/dev/null) != Z* ]]',
        "",
        ("tests/unit/cli/test_cluster_script.py::test_a_process_that_died_is_started_again_also_while_nobody_has_taken_note_of_it",),
    ),
]
