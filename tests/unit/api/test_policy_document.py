"""A policy's text: the form in which it is kept, and what is refused in which words."""

from __future__ import annotations

import json
from typing import Any

import pytest

from scrubjay.storage.api.errors import ApiError
from scrubjay.storage.api.policy.document import STREAM_ACTIONS, TABLE_ACTIONS, PolicyOwner, read_policy, statements_of
from tests.api_model import service_model

ACCOUNT = "000000000000"
ROOT = f"arn:aws:iam::{ACCOUNT}:root"
TABLE = f"arn:aws:dynamodb:us-east-1:{ACCOUNT}:table/t"
STREAM = f"{TABLE}/stream/2026-01-01T00:00:00.000"
OWNER = PolicyOwner(ACCOUNT, frozenset(("ann",)))
OPEN = PolicyOwner(ACCOUNT, None)
OF_STREAM = PolicyOwner(ACCOUNT, frozenset(("ann",)), stream=True)
STATEMENT: dict[str, Any] = {"Effect": "Deny", "Principal": "*", "Action": "dynamodb:GetItem", "Resource": "*"}


def policy(*statements: Any, **members: Any) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements), **members})


def one(**members: Any) -> str:
    return policy({**{name: value for name, value in STATEMENT.items() if f"Not{name}" not in members}, **members})


def shown(text: str, owner: PolicyOwner = OWNER) -> Any:
    return json.loads(read_policy(text, owner).text)


def refused(text: str, owner: PolicyOwner = OWNER) -> str | None:
    with pytest.raises(ApiError) as caught:
        read_policy(text, owner)
    assert caught.value.name == "ValidationException"
    return caught.value.message


def test_the_form_in_which_it_is_kept() -> None:
    scrambled = {
        "Statement": {
            "Condition": {"StringEquals": {"aws:PrincipalArn": [ROOT]}},
            "Resource": [TABLE],
            "Action": ["dynamodb:GetItem", "dynamodb:Query"],
            "Principal": {"AWS": [ACCOUNT, ROOT]},
            "Effect": "allow",
            "Sid": "One",
        },
        "Id": "named",
    }
    assert read_policy(json.dumps(scrambled, indent=4), OWNER).text == (
        '{"Version":"2008-10-17","Id":"named","Statement":[{"Sid":"One","Effect":"Allow","Principal":{"AWS":"' + ROOT + '"},'
        '"Action":["dynamodb:GetItem","dynamodb:Query"],"Resource":"'
        + TABLE
        + '","Condition":{"StringEquals":{"aws:PrincipalArn":"'
        + ROOT
        + '"}}}]}'
    )


def test_one_that_means_the_same_is_the_same() -> None:
    first = read_policy(one(Principal={"AWS": ACCOUNT}, Action=["dynamodb:GetItem"]), OWNER)
    for text in (
        one(Principal={"AWS": ROOT}),
        one(Principal={"AWS": [ROOT, ACCOUNT]}),
        one(Principal={"AWS": ROOT}).replace(", ", ",\n\t"),
    ):
        assert read_policy(text, OWNER).is_same(first.text, versioned=first.versioned)
    for text in (one(Principal={"AWS": ROOT}, Sid="x"), one(Principal={"AWS": ROOT}, Effect="Allow")):
        assert not read_policy(text, OWNER).is_same(first.text, versioned=first.versioned)
    # one without a Version shows the old one, and is another than one that says so
    bare = read_policy(json.dumps({"Statement": [STATEMENT]}), OWNER)
    assert json.loads(bare.text)["Version"] == "2008-10-17"
    assert bare.is_same(bare.text, versioned=bare.versioned)
    assert not read_policy(bare.text, OWNER).is_same(bare.text, versioned=bare.versioned)


BAD = "One or more parameter values were invalid: Invalid policy document: "
UNBOUNDED = "Resource-based policy grants unbounded access in one or more elements. Please revise the policy to ensure least-privilege form of access"
AT_ITS_END = None
"""Of a syntax error in a text of one line."""
NOBODY = "One or more parameter values were invalid: Invalid principal in policy document."


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", BAD + "This policy contains invalid Json"),
        ("{not json", BAD + "This policy contains invalid Json"),
        ("[]", BAD + "This policy contains invalid Json"),
        ("[" * 9000, BAD + "This policy contains invalid Json"),
        ('"\\ud800"', BAD + "This policy contains invalid Json"),
        ("null", BAD + "This text appears not to be a policy"),
        ("{}", BAD + "Syntax error at position (1,3)"),
        ('{\n"Statement": [],\n"Else": 1}', BAD + "Syntax error at position (3,11)"),
        (policy(), BAD + "Could not parse the policy: Statement is empty!"),
        (policy({}), BAD + "Missing required field Effect"),
        (policy({"Effect": "Deny"}), BAD + "Missing required field Principal"),
        (policy({"Effect": "Deny", "Principal": "*"}), BAD + "Missing required field Action"),
        (policy({"Effect": "Deny", "Principal": "*", "Action": "dynamodb:*"}), BAD + "Missing required field Resource"),
        (policy(STATEMENT, Version="2012-10-18"), AT_ITS_END),
        (policy({**STATEMENT, "Sid": "a"}, {**STATEMENT, "Sid": "a"}), BAD + "The Statement Ids in the policy are not unique"),
        (one(Effect="Maybe"), AT_ITS_END),
        (one(Principal=ACCOUNT), AT_ITS_END),
        (policy({**STATEMENT, "NotAction": "dynamodb:PutItem"}), AT_ITS_END),
        (one(Principal={"AWS": f"arn:aws:iam::{ACCOUNT}:user/bob"}), NOBODY),
        (one(Principal={"AWS": "arn:aws:iam::123456789012:root"}), NOBODY),
        (one(Principal={"AWS": f"arn:aws:iam::{ACCOUNT}:role/r"}), NOBODY),
        (one(Principal={"Federated": "x"}), NOBODY),
        (one(Effect="Allow"), UNBOUNDED),
        (one(Effect="Allow", Principal={"AWS": "*"}), UNBOUNDED),
        (one(Effect="Allow", NotPrincipal={"AWS": ROOT}), UNBOUNDED),
        (one(Effect="Allow", Condition={"StringEquals": {"dynamodb:Select": "COUNT"}}), UNBOUNDED),
        (one(Effect="Allow", Condition={"StringLike": {"aws:PrincipalArn": "*"}}), UNBOUNDED),
        (one(Effect="Allow", Condition={"StringNotEquals": {"aws:PrincipalArn": ROOT}}), UNBOUNDED),
        (one(Effect="Allow", Condition={"StringEqualsIfExists": {"aws:PrincipalArn": ROOT}}), UNBOUNDED),
        (one(Effect="Allow", Condition={"ForAllValues:StringEquals": {"aws:PrincipalArn": ROOT}}), UNBOUNDED),
        (
            one(Action=["dynamodb:GetItem", "dynamodb:GetRecords", "s3:GetObject", "dynamodb:Nothing*"]),
            BAD + 'The following action names are invalid: "dynamodb:GetRecords", "s3:GetObject", "dynamodb:Nothing*"',
        ),
        (one(Resource="t"), BAD + 'Resource t must be in ARN format or "*".'),
        (
            one(Resource=STREAM),
            BAD + f'The relative-id "table/t/stream/2026-01-01T00:00:00.000" is invalid for ARN "{STREAM}"',
        ),
        (one(Resource="arn:aws:s3:::bucket"), BAD + 'The relative-id "bucket" is invalid for ARN "arn:aws:s3:::bucket"'),
        (one(Condition={"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}), BAD + "The condition operator IpAddress is not supported"),
        (one(Condition={"ForSome:StringLike": {"aws:username": "a"}}), BAD + "The condition operator ForSome:StringLike is not supported"),
        (one(Condition={"ForAllValues:Null": {"aws:username": "true"}}), BAD + "The condition operator ForAllValues:Null is not supported"),
        (one(Condition={"StringEquals": {"dynamodb:Nothing": "a"}}), BAD + "The condition key dynamodb:Nothing is not supported"),
        (one(Condition={"StringEquals": {"aws:username": "${aws:userid}"}}), BAD + "The policy variable ${aws:userid} is not supported"),
        (one(Resource=f"{TABLE}/index/${{aws:userid}}"), BAD + "The policy variable ${aws:userid} is not supported"),
        (
            policy({**STATEMENT, "Condition": {"StringLike": {"aws:username": "${aws:username}"}}}, Version="2008-10-17"),
            BAD + "Policy variables need the Version 2012-10-17",
        ),
        (one(Condition={"StringEquals": {"aws:username": 1}}), AT_ITS_END),
        (one() + " " * 20_480, "One or more parameter values were invalid: Maximum policy size of 20480 bytes exceeded"),
    ],
)
def test_what_is_refused(text: str, message: str | None) -> None:
    assert refused(text) == (f"{BAD}Syntax error at position (1,{len(text) + 1})" if message is AT_ITS_END else message)


def test_white_space_counts_up_to_the_limit() -> None:
    text = one()
    assert "Maximum" not in read_policy(text + " " * (20_480 - len(text)), OWNER).text


@pytest.mark.parametrize(
    "text",
    [
        one(Principal={"AWS": f"arn:aws:iam::{ACCOUNT}:user/ann"}, Effect="Allow"),
        one(Principal={"Service": "redshift.amazonaws.com"}),
        one(Effect="Allow", Condition={"StringEquals": {"aws:PrincipalAccount": ACCOUNT}}),
        one(Resource=[TABLE, f"{TABLE}/index/*", f"{TABLE}/*", TABLE.replace("/t", "/other"), "arn:aws:dynamodb:*:*:*"]),
        one(Action=["dynamodb:*", "*", "dynamodb:get*"]),
        one(NotResource=TABLE, NotAction="dynamodb:PutItem"),
        one(Condition={}),
    ],
)
def test_what_is_taken(text: str) -> None:
    assert statements_of(read_policy(text, OWNER).text)


def test_a_stream_has_actions_and_resources_of_its_own() -> None:
    text = one(Action="dynamodb:GetRecords", Resource=STREAM)
    assert statements_of(read_policy(text, OF_STREAM).text)
    assert refused(text) is not None
    assert refused(one(Action="dynamodb:ListStreams"), OF_STREAM) == BAD + 'The following action names are invalid: "dynamodb:ListStreams"'
    assert refused(one(Action="dynamodb:GetRecords", Resource=f"{TABLE}/index/i"), OF_STREAM) is not None


def test_where_nobody_is_known_any_name_of_the_account_is_taken() -> None:
    for name in ("user/bob", "role/r", "assumed-role/r/session", "root"):
        assert shown(one(Principal={"AWS": f"arn:aws:iam::{ACCOUNT}:{name}"}), OPEN)
    assert refused(one(Principal={"AWS": "arn:aws:iam::123456789012:user/bob"}), OPEN) == NOBODY
    assert refused(one(Principal={"AWS": f"arn:aws:iam::{ACCOUNT}:group/g"}), OPEN) == NOBODY


def test_every_action_is_one_of_the_service() -> None:
    named = {*service_model().operation_names, *service_model("dynamodbstreams").operation_names}
    own = {"ConditionCheckItem", "PartiQLSelect", "PartiQLInsert", "PartiQLUpdate", "PartiQLDelete"}
    assert {*TABLE_ACTIONS, *STREAM_ACTIONS} - named == own
