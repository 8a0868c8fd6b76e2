"""Mutants of PartiQL: what a text means, what a WHERE reaches, what a write demands, what a token is of, and what a batch says of each statement."""

from __future__ import annotations

from tests.mutants.catalogue import Mutant

_UNIT = "tests/unit/items/test_partiql.py::"
_API = "tests/contract/api/test_statements.py::"
_CONDITIONS = (_UNIT + "test_conditions",)
_REACH = (_UNIT + "test_what_a_where_reaches",)
_MANY = (_UNIT + "test_how_many_reads_a_statement_may_be",)
_ANY_TEXT = (_UNIT + "test_any_text_is_a_statement_or_a_fault",)
_WORDS = (_API + "test_what_is_refused_in_whose_words",)
_HOLDS = (_API + "test_a_condition_holds_and_its_denial_does_not",)
_QUERY = (_API + "test_a_pinned_partition_key_is_a_query",)
_SCAN = (_API + "test_everything_else_is_a_scan",)
_TOKEN = (_API + "test_a_token_is_of_its_statement_alone",)
_UPDATE = (_API + "test_update_changes_what_is_there_and_makes_nothing",)
_SETS = (_API + "test_sets",)
_INDEX = (_API + "test_a_local_index_is_read_in_its_order",)
_READS = (_API + "test_a_batch_of_reads",)
_WRITES = (_API + "test_a_batch_of_writes",)
_READS_SAME = ("tests/property/api/test_statements_against_requests.py::test_reads",)
_MODEL = ("tests/property/api/test_against_model.py::test_five_hundred_sequences_with_statements",)
_WRITES_SAME = ("tests/property/api/test_statements_against_requests.py::test_writes",)

_TXS = "tests/contract/api/test_statement_transactions.py::"
_GLOBAL = "tests/contract/api/test_global_indexes.py::test_statements_read_global_indexes"
_TX = "storage/api/operations/statement_transactions.py"
_PARSE = "storage/items/partiql/parse.py"
_BUILDER = "storage/items/partiql/builder.py"
_BIND = "storage/items/partiql/bind.py"
_VALUES = "storage/items/partiql/values.py"
_RANGES = "storage/items/partiql/reach.py"
_RUN = "storage/api/operations/statement_run.py"
_TOKENS = "storage/api/operations/statement_token.py"
_STATEMENTS = "storage/api/operations/statements.py"

MUTANTS: list[Mutant] = [
    # -- against the plain model
    Mutant("partiql-model-insert-over", _RUN, 'Condition(_exists(meta.key, "attribute_not_exists"))', 'Condition(Or((_exists(meta.key, "attribute_not_exists"), _exists(meta.key, "attribute_exists"))))', _MODEL),
    Mutant("partiql-model-delete-of-nothing", _RUN, 'Condition(Or((_exists(meta.key, "attribute_not_exists"), And(tuple(rest)))))', "Condition(And(tuple(rest)))", _MODEL),
    Mutant("partiql-model-tx-token", _TX, 'digest=digest_of(call.raw["TransactStatements"])', 'digest=b"d" * 32', _MODEL),
    Mutant("partiql-model-tx-item-unseen", _TX, "    reason = reason_of(outcome, wants_item=step.wants_item)", "    reason = reason_of(outcome, wants_item=False)", _MODEL),
    Mutant("partiql-model-tx-duplicate", _TX, "    if step.inserts and reason", "    if False and reason", _MODEL),
    # -- transactions
    Mutant("partiql-tx-mixed", _TX, "    if len({step.read is None for step in steps}) > 1:", "    if len({step.read is None for step in steps}) > 2:", (_TXS + "test_what_a_transaction_may_be",)),
    Mutant("partiql-tx-same-item-twice", _TX, "    if len(set(places)) != len(places):", "    if not places:", (_TXS + "test_what_a_transaction_may_be",)),
    Mutant("partiql-tx-exists-of-nothing", _TX, "    if not rest:\n", "    if rest is None:\n", (_TXS + "test_what_a_statement_of_a_transaction_may_be",)),
    Mutant("partiql-tx-duplicate-unnamed", _TX, "    step.inserts = planned.inserts\n", "", (_TXS + "test_one_that_fails_cancels_all",)),
    Mutant("partiql-tx-half", _TX, "    parts = [TransactPart(step.meta, step.command) for step in steps if step.command is not None]", "    parts = [TransactPart(step.meta, step.command) for step in steps[:1] if step.command is not None]", (_TXS + "test_writes_are_done_together",)),
    Mutant("partiql-tx-token-lost", _TX, "token=None if token is None else token_name(token)", "token=None", (_TXS + "test_a_token_makes_two_calls_one",)),
    Mutant("partiql-tx-returns", _RUN, "    if returning is not None and asked.within == TRANSACTION:", "    if returning is not None and asked.within == TRANSACTION * 2:", (_TXS + "test_what_a_statement_of_a_transaction_may_be",)),
    Mutant("partiql-tx-hides-the-item", _TX, "reason_of(outcome, wants_item=step.wants_item)", "reason_of(outcome, wants_item=False)", (_TXS + "test_the_item_that_failed_is_shown_where_it_is_asked_for",)),
    Mutant("partiql-index-of-several", _RUN, "len(found.hash) > 1 or len(found.sort) > 1", "len(found.hash) > 2 or len(found.sort) > 2", (_GLOBAL,)),
    Mutant("partiql-strong-read-of-an-index", _RUN, "    if asked.consistent and _global_index(meta, index) is not None:", "    if asked.consistent and index == '':", (_GLOBAL,)),
    # -- text
    Mutant("partiql-fault-found-twice", _PARSE, "        return error.with_traceback(None)", "        raise", (_UNIT + "test_a_text_is_parsed_once_and_a_fault_found_once",)),
    Mutant("partiql-half-a-surrogate", _PARSE, "        text.encode()", "        text.encode(errors='replace')", (_UNIT + "test_half_a_surrogate_pair_is_told",)),
    Mutant("partiql-parameters-all-first", _PARSE, "            parameters += 1", "            parameters += 0", (_UNIT + "test_parameters_are_numbered_as_the_text_has_them",)),
    Mutant("partiql-inner-is-a-name", _PARSE, "            elif word in RESERVED:", "            elif word in ():", _WORDS),
    Mutant("partiql-depth-unbounded", _BUILDER, "    if depth > DEPTH_MAX:", "    if depth > 1 << 20:", _WORDS),
    Mutant("partiql-exponent-of-any-length", _VALUES, "    return -(1 << 31) <= power < 1 << 31 and", "    return power is not None or", _WORDS),
    Mutant("partiql-scale-of-any-size", _VALUES, "and -(1 << 31) <= scale < 1 << 31", "and scale == scale", _WORDS),
    Mutant("partiql-quotes-stay-doubled", _BUILDER, "token[1:-1].replace(quote * 2, quote)", "token[1:-1]", _CONDITIONS),
    Mutant("partiql-not-in-is-in", _BUILDER, "        return self._not(self.in_(children))", "        return self.in_(children)", _CONDITIONS),
    Mutant("partiql-leftover-taken", _PARSE, "            parser.feed_token(token)", "            parser.feed_token(token) if index < 8 or token.type != 'IDENT' else None", _WORDS),
    # -- values
    Mutant("partiql-parameters-uncounted", _VALUES, "    if len(values) != parsed.parameters:", "    if len(values) < parsed.parameters:", (_API + "test_parameters_are_counted_and_read",)),
    Mutant("partiql-set-twice", _VALUES, "    if len(value[1]) != len(elements):", "    if not value[1]:", _WORDS),
    Mutant("partiql-value-too-deep", _VALUES, 'value[0] in ("M", "L") and is_deeper_than(value, NESTING_MAX)', 'value[0] == "M" and is_deeper_than(value, NESTING_MAX)', _WORDS),
    Mutant("partiql-key-twice", _VALUES, "        if name in item:", "        if not name:", _WORDS),
    # -- conditions
    Mutant("partiql-unchecked-operands", _BIND, "    check_node(_KIND, node)\n", "", _WORDS),
    Mutant("partiql-or-is-and", _BIND, 'And(terms) if node.operator == "AND" else Or(terms)', "And(terms)", _HOLDS),
    Mutant("partiql-missing-is-null", _BIND, '    if kind == "MISSING":', '    if kind == "NEVER":', _HOLDS),
    Mutant("partiql-false-is-true", _BIND, "return found if payload is (node.operator == \"=\") else Not(found)", "return found", _HOLDS),
    Mutant("partiql-column-by-its-first-name", _BIND, "    at = max(index for", "    at = min(index for", (_API + "test_columns_are_called_by_the_last_name_of_their_path",)),
    Mutant("partiql-set-add-elsewhere", _BIND, "not isinstance(first, syntax.PathSyntax) or first.steps != path.steps", "not isinstance(first, syntax.PathSyntax)", _WORDS),
    Mutant("partiql-set-delete-adds", _BIND, '"set_delete": "DELETE"', '"set_delete": "ADD"', _SETS),
    Mutant("partiql-minus-is-plus", _BIND, "        return Arithmetic(node.operator,", '        return Arithmetic("+",', _UPDATE),
    Mutant("partiql-half-a-key", _BIND, "    if len(key) != len(names):", "    if not key:", _WORDS),
    Mutant("partiql-key-said-twice", _BIND, "and equality[0] not in key:", "and True:", ("tests/contract/api/test_statements.py::test_a_key_that_is_named_twice_is_a_condition",)),
    # -- what is read
    Mutant("partiql-or-pins-by-one", _RANGES, "        return all(_pins(one, schema) for one in term.terms)", "        return any(_pins(one, schema) for one in term.terms)", _SCAN),
    Mutant("partiql-mirrored-wrong", _RANGES, '_MIRRORED = {"=": "=", "<": ">",', '_MIRRORED = {"=": "=", "<": "<",', _REACH),
    Mutant("partiql-bound-before-equality", _RANGES, "        best = [*equal, *", "        best = [*", _REACH),
    Mutant("partiql-filters-of-one-branch-lost", _RANGES, "        left = None if not rest else", "        left = None if rest else", _READS_SAME),
    Mutant("partiql-denied-branches-refused", _RANGES, "if len(group) > 1 and any(branch.denies for branch in group):", "if len(group) > 99:", _QUERY),
    Mutant("partiql-overlap-read-twice", _RANGES, "            if end is None or other.bounds()[0] < end:", "            if end is None:", _WORDS),
    Mutant("partiql-ors-of-others-are-ways", _RANGES, "isinstance(condition, Or) and _mentions(condition, names)", "isinstance(condition, Or)", _REACH),
    Mutant("partiql-reads-unbounded", _RANGES, "            if count > READS_MAX:", "            if count > 1 << 20:", _MANY),
    Mutant("partiql-in-unbounded", _RANGES, "        if len(condition.candidates) > READS_MAX:", "        if len(condition.candidates) > 1 << 20:", _MANY),
    Mutant("partiql-hash-order", _RANGES, "    if hash_descending:", "    if not hash_descending:", _QUERY),
    Mutant("partiql-key-of-any-type", _RANGES, "    if value[0] != wanted:", "    if value[0] == wanted * 2:", _WORDS),
    Mutant("partiql-token-of-any-statement", _TOKENS, "        if data[1:_HEAD_BYTES] != _digest(text, parameters):", "        if not data[1:_HEAD_BYTES]:", _TOKEN),
    Mutant("partiql-token-of-any-parameters", _TOKENS, "_encode([text, parameters or []])", "_encode([text])", _TOKEN),
    Mutant("partiql-page-repeats-its-last", _RUN, 'KeyRange(one.partition, at + b"\\x00", one.end)', "KeyRange(one.partition, at, one.end)", _QUERY),
    Mutant("partiql-page-forgets-other-keys", _RUN, "            return [rest, *ranges[index + 1 :]]", "            return [rest]", _QUERY),
    Mutant("partiql-index-by-what-it-lacks", _RUN, "        check_filter(view, view.definition.name, Condition(tree))\n", "        pass\n", _INDEX),
    Mutant("partiql-get-without-its-filter", _RUN, "self._condition is None or self._condition.evaluate(decode_item(item))", "self._condition is None or item", _QUERY),
    # -- what is written
    Mutant("partiql-insert-over-another", _RUN, 'Condition(_exists(meta.key, "attribute_not_exists"))\n    command = PutCommand', 'None\n    command = PutCommand', (_API + "test_insert_writes_every_type_and_never_twice",)),
    Mutant("partiql-update-makes-an-item", _RUN, 'And((_exists(meta.key, "attribute_exists"), *rest))', "And(tuple(rest))", _UPDATE),
    Mutant("partiql-update-demands-nothing", _RUN, 'And((_exists(meta.key, "attribute_exists"), *rest))', 'And((_exists(meta.key, "attribute_exists"),))', _UPDATE),
    Mutant("partiql-delete-demands-of-nothing", _RUN, 'Or((_exists(meta.key, "attribute_not_exists"), And(tuple(rest))))', "And(tuple(rest))", (_API + "test_delete",)),
    Mutant("partiql-delete-returns-anything", _RUN, "returning is not None and not (returning.all and not returning.new)", "returning is not None and returning.text == ''", _WORDS),
    Mutant("partiql-keys-updated", _RUN, "    check_update_keys(update, meta)\n", "", _WORDS),
    Mutant("partiql-old-and-new-swapped", _RUN, "'NEW' if returning.new else 'OLD'}\"", "'OLD' if returning.new else 'NEW'}\"", (_API + "test_returning",)),
    # -- batches
    Mutant("partiql-batch-reads-more-than-a-key", _RUN, "reach.whole and reach.filter is None and not on_index", "reach.whole", _READS),
    Mutant("partiql-batch-mixed", _STATEMENTS, "isinstance(job, Planned)}) > 1:", "isinstance(job, Planned)}) > 2:", (_API + "test_what_a_batch_may_be",)),
    Mutant("partiql-batch-code", _STATEMENTS, '"DuplicateItemException": "DuplicateItem"', '"DuplicateItemException": "ValidationError"', _WRITES),
    Mutant("partiql-batch-hides-the-item", _STATEMENTS, 'if error.extra and "Item" in error.extra:', 'if error.extra and "Items" in error.extra:', _WRITES),
    Mutant("partiql-batch-capacity-of-the-last", "storage/api/capacity.py", "        self.table += other.table", "        self.table = other.table", _READS),
    Mutant("partiql-capacity-of-a-get", _RUN, "read_units(stored_size(item), consistent=self._asked.consistent)", "read_units(stored_size(item), consistent=True)", (_API + "test_capacity_of_writes",)),
]  # fmt: skip
