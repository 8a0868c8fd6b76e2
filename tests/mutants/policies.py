"""Mutants of resource policies: what a policy says of a request, in which form it is kept, and where it is asked."""

from __future__ import annotations

from tests.mutants.catalogue import Mutant

_RULES, _DOCUMENT = "storage/api/policy/rules.py", "storage/api/policy/document.py"
_GUARD, _CALL, _PUT = "storage/api/guard.py", "storage/api/call.py", "storage/api/operations/resource_policies.py"
_SAYS = ("tests/unit/api/test_policy_rules.py::test_what_a_policy_says",)
_SIGNS = ("tests/unit/api/test_policy_rules.py::test_signs_that_stand_for_others",)
_REFUSED = ("tests/unit/api/test_policy_document.py::test_what_is_refused",)
_SAME = ("tests/unit/api/test_policy_document.py::test_one_that_means_the_same_is_the_same",)
_FORM = ("tests/unit/api/test_policy_document.py::test_the_form_in_which_it_is_kept",)
_API = "tests/unit/api/test_resource_policies.py::"
_DENIED = (_API + "test_a_deny_is_asked_by_every_operation_on_a_table",)
_NOTHING_ELSE = (_API + "test_who_may_only_do_what_a_policy_allows_may_do_nothing_else",)
_ITEMS = (_API + "test_items_by_their_partition_key",)
_NAMES = (_API + "test_attributes_by_every_name_of_a_request",)
_SHOWN = (_API + "test_what_is_shown_is_known_without_being_said",)
_STATED = (_API + "test_items_that_statements_reach",)
_KEPT = (_API + "test_a_policy_is_shown_as_it_is_kept_until_it_is_removed",)

MUTANTS: list[Mutant] = [
    Mutant("policy-allow-outweighs", _RULES, "            return Judgement.DENIED\n", "            found = Judgement.DENIED\n", _SAYS),
    Mutant(
        "policy-account-is-nobody",
        _RULES,
        "for one in (asked.principal, account_root(asked.principal)))",
        "for one in (asked.principal,))",
        _SAYS,
    ),
    Mutant("policy-not-principal-unread", _RULES, "    if named == statement.other_principals:", "    if not named:", _SAYS),
    Mutant("policy-not-action-unread", _RULES, "    if acted == statement.other_actions:", "    if not acted:", _SAYS),
    Mutant("policy-not-resource-unread", _RULES, "    if met == statement.other_resources:", "    if not met:", _SAYS),
    Mutant("policy-action-by-case", _RULES, "fits(one.lower(), asked.action.lower())", "fits(one, asked.action)", _SAYS),
    Mutant("policy-region-looked-at", _RULES, "fits(without_region(one), resource,", "fits(one, resource,", _SAYS),
    Mutant("policy-unknown-does-not-deny", _RULES, "        return not allows\n", "        return False\n", _SAYS),
    Mutant("policy-unknown-allows", _RULES, "        return not allows\n", "        return True\n", _SAYS),
    Mutant("policy-one-of-many-allows", _RULES, "return all(held) if allows else any(held)", "return any(held)", _SAYS),
    Mutant("policy-all-of-many-to-deny", _RULES, "return all(held) if allows else any(held)", "return all(held)", _SAYS),
    Mutant("policy-absent-is-never-unequal", _RULES, "        return operator.negated\n", "        return False\n", _SAYS),
    Mutant("policy-if-exists-unread", _RULES, "    if absent and operator.if_exists:", "    if False:", _SAYS),
    Mutant("policy-any-clause-is-enough", _RULES, "return all(_holds(clause,", "return any(_holds(clause,", _SAYS),
    Mutant("policy-names-stand-for-others", _RULES, "pieces[-1][0] + re.escape(value)", 'pieces[-1][0] + value.replace("*", ".*")', _SAYS),
    Mutant("policy-end-anywhere", _RULES, "start = len(text) - _split(pattern, values)[-1][1]", "start = at", _SIGNS),
    Mutant("policy-pieces-overlap", _RULES, "    return start >= at and ", "    return start >= 0 and ", _SIGNS),
    Mutant("policy-dot-is-any-sign", _RULES, '("." if sign == "?" else re.escape(sign))', '("." if sign == "?" else sign)', _SIGNS),
    Mutant("policy-open-to-all-taken", _DOCUMENT, "and not _narrowed(condition):", "and False:", _REFUSED),
    Mutant(
        "policy-narrowed-by-a-not",
        _DOCUMENT,
        'if operator.negated or operator.if_exists or operator.quantifier == "ForAllValues"',
        'if operator.if_exists or operator.quantifier == "ForAllValues"',
        _REFUSED,
    ),
    Mutant("policy-stranger-taken", _DOCUMENT, "self._owner.users is None or user in self._owner.users", "user", _REFUSED),
    Mutant("policy-any-account", _DOCUMENT, "or pieces[4] != account:\n            raise", "or False:\n            raise", _REFUSED),
    Mutant("policy-any-action", _DOCUMENT, "        if unknown:\n", "        if False:\n", _REFUSED),
    Mutant("policy-any-condition-key", _DOCUMENT, "if key.lower() not in CONDITION_KEYS:", "if False:", _REFUSED),
    Mutant("policy-characters-counted", _DOCUMENT, "> limits.POLICY_BYTES_MAX:", "> limits.POLICY_BYTES_MAX + 1024:", _REFUSED),
    Mutant("policy-version-is-no-part", _DOCUMENT, "return self.versioned == versioned and json", "return json", _SAME),
    Mutant("policy-account-as-given", _DOCUMENT, '            return f"arn:aws:iam::{account}:root"', "            return name", _FORM),
    Mutant(
        "policy-reads-unguarded",
        _CALL,
        "            guard.check_items(self, table, action,",
        "            (lambda *_, **__: None)(self, table, action,",
        _DENIED,
    ),
    Mutant(
        "policy-whole-table-unguarded",
        _CALL,
        "            guard.check(self, table, self.operation, self.api.table_arn(table.name))",
        "            pass",
        _DENIED,
    ),
    Mutant(
        "policy-stream-unguarded",
        "storage/api/operations/streams.py",
        "                guard.check(call, meta, call.operation, arn, stream=stream.label)",
        "                pass",
        _DENIED,
    ),
    Mutant("policy-silence-allows", _GUARD, "(found is Judgement.SILENT and call.role == ROLE_POLICY)", "False", _NOTHING_ELSE),
    Mutant("policy-role-may-list", _GUARD, "if call.role == ROLE_POLICY and operation not in GUARDED:", "if False:", _NOTHING_ELSE),
    Mutant(
        "policy-absence-told",
        _GUARD,
        "    if call.role == ROLE_POLICY:\n        raise denied(call, action, resource",
        "    if False:\n        raise denied(call, action, resource",
        _NOTHING_ELSE,
    ),
    Mutant("policy-index-by-the-tables-key", _GUARD, "        if one.name == index:", "        if False:", _ITEMS),
    Mutant(
        "policy-first-key-only",
        _GUARD,
        "tuple([_text(item, name) for item in items])",
        "tuple([_text(item, name) for item in items[:1]])",
        _ITEMS,
    ),
    Mutant("policy-expressions-unread", _GUARD, "    for one in touched.named:", "    for one in ():", _NAMES),
    Mutant("policy-operands-unread", _GUARD, "(one.reads if isinstance(one, Update) else ())", "()", _NAMES),
    Mutant("policy-items-unread", _GUARD, "[name for item in items or () for name in item]", "[]", _NAMES),
    Mutant(
        "policy-transactions-expressions-unread",
        "storage/api/operations/transactions.py",
        "NamedItems([action.item], action.named, within",
        "NamedItems([action.item], (), within",
        _NAMES,
    ),
    Mutant(
        "policy-keys-unnamed",
        _GUARD,
        "[*attributes, *_key_attributes(table, touched.index_name)]",
        "attributes",
        (_API + "test_key_attributes_are_always_named",),
    ),
    Mutant("policy-everything-is-specific", _GUARD, "        specific = any(", "        specific = True or any(", _SHOWN),
    Mutant(
        "policy-failure-shows-unseen",
        _GUARD,
        'if call.input.get("ReturnValuesOnConditionCheckFailure") == "ALL_OLD":',
        "if False:",
        _SHOWN,
    ),
    Mutant(
        "policy-failure-of-a-part-shows-unseen",
        "storage/api/operations/transactions.py",
        'returns=("ALL_OLD",) if action.wants_item else ()',
        "returns=()",
        _SHOWN,
    ),
    Mutant(
        "policy-returning-unseen",
        "storage/api/operations/statement_run.py",
        "(*(() if returning is None else (return_values_of(returning),)), *(",
        "(*(), *(",
        _SHOWN,
    ),
    Mutant(
        "policy-scan-of-a-statement-unseen",
        _GUARD,
        '("true" if items is None else "false",)',
        '("false",)',
        (_API + "test_a_statement_that_scans_is_denied_where_scans_are",),
    ),
    Mutant(
        "policy-statement-reaches-nothing",
        "storage/api/operations/statement_run.py",
        "    return None if keys is None else [",
        "    return [] if keys is None else [",
        _STATED,
    ),
    Mutant(
        "policy-statement-by-the-tables-key",
        "storage/api/operations/statement_run.py",
        "    if several is not None:\n        schema = KeySchema(several.hash",
        "    if False:\n        schema = KeySchema(several.hash",
        _STATED,
    ),
    Mutant(
        "policy-boss-locked-out",
        _GUARD,
        'if action == "DeleteResourcePolicy" and call.role == ROLE_ADMIN:',
        "if False:",
        (_API + "test_an_administrator_can_always_open_what_is_shut",),
    ),
    Mutant(
        "policy-anybody-unlocks",
        _GUARD,
        'if action == "DeleteResourcePolicy" and call.role == ROLE_ADMIN:',
        'if action == "DeleteResourcePolicy":',
        (_API + "test_an_administrator_can_always_open_what_is_shut",),
    ),
    Mutant(
        "policy-lockout-unasked",
        _PUT,
        'if locked_out and not data.get("ConfirmRemoveSelfResourceAccess", False):',
        "if False:",
        (_API + "test_who_would_be_locked_out_has_to_confirm_it",),
    ),
    Mutant("policy-stale-revision-taken", _PUT, "    if policy.revision != expected:", "    if False:", _KEPT),
    Mutant(
        "policy-none-wanted-unread",
        _PUT,
        "        if policy is not None:\n            raise",
        "        if False:\n            raise",
        _KEPT,
    ),
    Mutant(
        "policy-same-is-a-change",
        _PUT,
        "            return None\n        return ResourcePolicy(wanted.text",
        "            pass\n        return ResourcePolicy(wanted.text",
        _KEPT,
    ),
    Mutant(
        "policy-revision-of-the-clock",
        "storage/api/operations/tables.py",
        "return max(call.api.env.clock.wall_us(), 0 if last is None else last.changed_at + 1000)",
        "return call.api.env.clock.wall_us() // 10_000_000_000 * 10_000_000_000",
        _KEPT,
    ),
    Mutant(
        "policy-of-another-stream",
        "storage/catalogue.py",
        "for one in self.policies or () if one.stream == stream), None)",
        "for one in self.policies or ()), None)",
        (_API + "test_a_table_has_its_policy_and_its_stream_another",),
    ),
]
