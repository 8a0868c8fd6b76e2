"""What a policy says of a request: a table of cases."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from scrubjay.storage.api.policy.document import PolicyOwner, read_policy, statements_of
from scrubjay.storage.api.policy.rules import UNKNOWN, Judgement, PolicyRequest, Values, fits, judgement

ACCOUNT = "000000000000"
TABLE = f"arn:aws:dynamodb:us-east-1:{ACCOUNT}:table/t"
ANN, BOB = (f"arn:aws:iam::{ACCOUNT}:user/{name}" for name in ("ann", "bob"))
OWNER = PolicyOwner(ACCOUNT, frozenset(("ann", "bob", "b*b")))
DENIED, ALLOWED, SILENT = Judgement.DENIED, Judgement.ALLOWED, Judgement.SILENT


def statement(effect: str = "Deny", **members: Any) -> dict[str, Any]:
    given = {"Principal": {"AWS": ANN}, "Action": "dynamodb:GetItem", "Resource": "*", **members}
    return {"Effect": effect, **{name: value for name, value in given.items() if f"Not{name}" not in members}}


def asked(action: str = "GetItem", *, principal: str = ANN, resource: str = TABLE, **context: Values) -> PolicyRequest:
    names = {name.replace("__", ":").lower(): value for name, value in context.items()}
    known: dict[str, Values] = {
        "aws:principalarn": (principal,),
        "aws:username": (principal.partition("/")[2],),
        "aws:principalaccount": (ACCOUNT,),
    }
    return PolicyRequest(principal, f"dynamodb:{action}", resource, {**known, **names})


def said(statements: Any, request: PolicyRequest) -> Judgement:
    return judgement(statements_of(read_policy(json.dumps({"Version": "2012-10-17", "Statement": statements}), OWNER).text), request)


def keys(operator: str, *values: str, key: str = "dynamodb:LeadingKeys") -> dict[str, Any]:
    return {"Condition": {operator: {key: list(values)}}}


@pytest.mark.parametrize(
    ("statements", "request_", "expected"),
    [
        # who
        (statement(), asked(), DENIED),
        (statement(), asked(principal=BOB), SILENT),
        (statement("Allow"), asked(), ALLOWED),
        (statement(Principal="*"), asked(principal=BOB), DENIED),
        (statement(Principal={"AWS": "*"}), asked(principal=BOB), DENIED),
        (statement(Principal={"AWS": ACCOUNT}), asked(principal=BOB), DENIED),
        (statement(Principal={"AWS": [BOB, f"arn:aws:iam::{ACCOUNT}:root"]}), asked(), DENIED),
        (statement(Principal={"Service": "redshift.amazonaws.com"}), asked(), SILENT),
        (statement(NotPrincipal={"AWS": ANN}), asked(), SILENT),
        (statement(NotPrincipal={"AWS": ANN}), asked(principal=BOB), DENIED),
        # what
        (statement(Action="dynamodb:getitem"), asked(), DENIED),
        (statement(Action="DynamoDB:*"), asked(), DENIED),
        (statement(Action=["dynamodb:Put*", "dynamodb:?etItem"]), asked(), DENIED),
        (statement(Action="dynamodb:Batch*"), asked(), SILENT),
        (statement(NotAction="dynamodb:GetItem"), asked(), SILENT),
        (statement(NotAction=["dynamodb:Put*"]), asked(), DENIED),
        # of what
        (statement(Resource=TABLE), asked(), DENIED),
        (statement(Resource=TABLE.replace("us-east-1", "eu-west-3")), asked(), DENIED),
        (statement(Resource=f"{TABLE}2"), asked(), SILENT),
        (statement(Resource=TABLE), asked("Query", resource=f"{TABLE}/index/i"), SILENT),
        (statement(Action="dynamodb:Query", Resource=f"{TABLE}/index/*"), asked("Query", resource=f"{TABLE}/index/i"), DENIED),
        (statement(Action="dynamodb:Query", Resource=f"{TABLE}/*"), asked("Query"), SILENT),
        (statement(NotResource=f"{TABLE}/index/*"), asked(), DENIED),
        (statement(NotResource=TABLE), asked(), SILENT),
        # one Deny outweighs every Allow, wherever it stands
        ([statement("Allow"), statement()], asked(), DENIED),
        ([statement(), statement("Allow")], asked(), DENIED),
        ([statement("Allow"), statement(Action="dynamodb:PutItem")], asked(), ALLOWED),
        # one value
        (statement(**keys("StringEquals", "Query", "Scan", key="dynamodb:Select")), asked(dynamodb__Select=("Scan",)), DENIED),
        (statement(**keys("StringEquals", "scan", key="dynamodb:Select")), asked(dynamodb__Select=("Scan",)), SILENT),
        (statement(**keys("StringEqualsIgnoreCase", "scan", key="dynamodb:Select")), asked(dynamodb__Select=("Scan",)), DENIED),
        (statement(**keys("StringNotEqualsIgnoreCase", "scan", key="dynamodb:Select")), asked(dynamodb__Select=("Scan",)), SILENT),
        (statement(**keys("StringEquals", "COUNT", key="dynamodb:Select")), asked(), SILENT),
        (statement(**keys("StringEqualsIfExists", "COUNT", key="dynamodb:Select")), asked(), DENIED),
        (statement(**keys("StringNotEquals", "COUNT", key="dynamodb:Select")), asked(), DENIED),
        (statement(**keys("StringNotEquals", "COUNT", key="dynamodb:Select")), asked(dynamodb__Select=("COUNT",)), SILENT),
        (statement(**keys("StringLike", "SPEC*", key="dynamodb:Select")), asked(dynamodb__Select=("SPECIFIC_ATTRIBUTES",)), DENIED),
        (statement(**keys("StringEquals", "SPEC*", key="dynamodb:Select")), asked(dynamodb__Select=("SPECIFIC_ATTRIBUTES",)), SILENT),
        (statement(**keys("StringNotLike", "SPEC*", key="dynamodb:Select")), asked(dynamodb__Select=("SPECIFIC_ATTRIBUTES",)), SILENT),
        (statement(**keys("ArnLike", f"arn:aws:iam::{ACCOUNT}:user/a*", key="aws:PrincipalArn")), asked(), DENIED),
        (statement(Principal="*", **keys("ArnNotEquals", ANN, key="aws:PrincipalArn")), asked(principal=BOB), DENIED),
        (statement(Principal="*", **keys("ArnNotEquals", ANN, key="aws:PrincipalArn")), asked(), SILENT),
        (statement(**keys("Bool", "true", key="dynamodb:FullTableScan")), asked(dynamodb__FullTableScan=("true",)), DENIED),
        (statement(**keys("Bool", "True", key="dynamodb:FullTableScan")), asked(dynamodb__FullTableScan=("true",)), DENIED),
        (statement(**keys("Bool", "true", key="dynamodb:FullTableScan")), asked(dynamodb__FullTableScan=("false",)), SILENT),
        (statement(**keys("Bool", "true", key="dynamodb:FullTableScan")), asked(), SILENT),
        (statement(**keys("Null", "true", key="dynamodb:Select")), asked(), DENIED),
        (statement(**keys("Null", "true", key="dynamodb:Select")), asked(dynamodb__Select=("COUNT",)), SILENT),
        (statement(**keys("Null", "false", key="dynamodb:Select")), asked(dynamodb__Select=("COUNT",)), DENIED),
        # many values
        (statement("Allow", **keys("ForAllValues:StringEquals", "ann", "x")), asked(dynamodb__LeadingKeys=("ann", "x")), ALLOWED),
        (statement("Allow", **keys("ForAllValues:StringEquals", "ann")), asked(dynamodb__LeadingKeys=("ann", "x")), SILENT),
        (statement("Allow", **keys("ForAllValues:StringEquals", "ann")), asked(), ALLOWED),
        (statement(**keys("ForAnyValue:StringEquals", "ann")), asked(dynamodb__LeadingKeys=("x", "ann")), DENIED),
        (statement(**keys("ForAnyValue:StringEquals", "ann")), asked(), SILENT),
        (statement(**keys("ForAnyValue:StringNotEquals", "ann")), asked(dynamodb__LeadingKeys=("ann", "x")), DENIED),
        (statement("Allow", **keys("ForAllValues:StringNotEquals", "ann")), asked(dynamodb__LeadingKeys=("x", "ann")), SILENT),
        # without a word for which of them: against the request
        (statement(**keys("StringEquals", "ann")), asked(dynamodb__LeadingKeys=("x", "ann")), DENIED),
        (statement("Allow", **keys("StringEquals", "ann")), asked(dynamodb__LeadingKeys=("x", "ann")), SILENT),
        (statement("Allow", **keys("StringEquals", "ann")), asked(dynamodb__LeadingKeys=("ann", "ann")), ALLOWED),
        # what is not known counts against it
        (statement(**keys("ForAnyValue:StringEquals", "ann")), asked(dynamodb__LeadingKeys=UNKNOWN), DENIED),
        (statement("Allow", **keys("ForAllValues:StringEquals", "ann")), asked(dynamodb__LeadingKeys=UNKNOWN), SILENT),
        # all clauses have to hold
        (
            statement(
                Condition={"StringEquals": {"dynamodb:Select": "COUNT", "aws:username": "ann"}, "Null": {"dynamodb:ReturnValues": True}}
            ),
            asked(dynamodb__Select=("COUNT",)),
            DENIED,
        ),
        (
            statement(Condition={"StringEquals": {"dynamodb:Select": "COUNT", "aws:username": "bob"}}),
            asked(dynamodb__Select=("COUNT",)),
            SILENT,
        ),
        # variables
        (statement("Allow", **keys("ForAllValues:StringEquals", "${aws:username}")), asked(dynamodb__LeadingKeys=("ann",)), ALLOWED),
        (statement("Allow", **keys("ForAllValues:StringLike", "${AWS:UserName}-*")), asked(dynamodb__LeadingKeys=("ann-1",)), ALLOWED),
        (statement("Allow", **keys("ForAllValues:StringLike", "${aws:username}-*")), asked(dynamodb__LeadingKeys=("bob-1",)), SILENT),
        (statement(Resource=f"{TABLE}/index/${{aws:username}}"), asked(resource=f"{TABLE}/index/ann"), DENIED),
        # a name with signs in it stands for itself
        (
            statement("Allow", Principal={"AWS": ACCOUNT}, **keys("ForAllValues:StringLike", "${aws:username}")),
            asked(principal=f"arn:aws:iam::{ACCOUNT}:user/b*b", dynamodb__LeadingKeys=("boob",)),
            SILENT,
        ),
        (
            statement("Allow", Principal={"AWS": ACCOUNT}, **keys("ForAllValues:StringLike", "${aws:username}")),
            asked(principal=f"arn:aws:iam::{ACCOUNT}:user/b*b", dynamodb__LeadingKeys=("b*b",)),
            ALLOWED,
        ),
    ],
)
def test_what_a_policy_says(statements: Any, request_: PolicyRequest, expected: Judgement) -> None:
    assert said(statements, request_) is expected


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("a*c", "abbc", True),
        ("a*c", "abbd", False),
        ("a*a", "a", False),
        ("*a*b*", "xaxbx", True),
        ("*a*b", "xbxa", False),
        ("a?c", "abc", True),
        ("a?c", "ac", False),
        ("*ab", "aab", True),
        ("a**b", "ab", True),
        ("?*", "", False),
        (".*", "ab", False),
        ("*", "\n", True),
        ("", "", True),
        ("", "a", False),
    ],
)
def test_signs_that_stand_for_others(pattern: str, text: str, expected: bool) -> None:
    assert fits(pattern, text) is expected


def test_no_pattern_costs_more_than_its_length() -> None:
    """Of a pattern that expressions with backtracking would take years for."""
    began = time.process_time()
    assert not fits("*a" * 40 + "*b", "a" * 2048)
    assert not fits("*" + "a?" * 20 + "*b", "a" * 2048)
    assert time.process_time() - began < 1
