"""Things, attributes and policies that IoT Core refuses."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lab.aws_api.documents import (
    ACTIONS,
    POLICY_CHARACTERS,
    attributes_problem,
    policy_name_problem,
    policy_problem,
    thing_name_problem,
)

STATEMENT = {"Effect": "Allow", "Action": "iot:Connect", "Resource": "*"}


def document(**changes: Any) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [{**STATEMENT, **changes}]}, indent=4)


@pytest.mark.parametrize("action", [*ACTIONS, "iot:*", "*", "iot:Get*", ["iot:Publish", "iot:Receive"]])
def test_policy_of_known_actions(action: object) -> None:
    assert policy_problem(document(Action=action)) is None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "not JSON"),
        ("[]", "not a JSON object"),
        (json.dumps({"Version": "2012-10-17", "Statement": []}), "no Statement"),
        (json.dumps({"Version": "2020-01-01", "Statement": [STATEMENT]}), "Version '2020-01-01'"),
        (document(Effect="allow"), "Effect 'allow'"),
        (document(Action="iot:Conect"), "unknown Action 'iot:Conect'"),
        (document(Action="s3:GetObject"), "unknown Action 's3:GetObject'"),
        (document(Resource=[]), "without Action or Resource"),
    ],
)
def test_policy_that_is_none(text: str, says: str) -> None:
    assert says in str(policy_problem(text))


def test_policy_has_2048_characters_without_white_space() -> None:
    size = len("".join(document(Resource="").split()))
    longest = document(Resource="r" * (POLICY_CHARACTERS - size))
    assert len(longest) > POLICY_CHARACTERS
    assert policy_problem(longest) is None
    assert "2049 characters" in str(policy_problem(document(Resource="r" * (POLICY_CHARACTERS - size + 1))))


@pytest.mark.parametrize(
    ("attributes", "typed", "says"),
    [
        (dict.fromkeys("abc", "1"), False, None),
        (dict.fromkeys("abcd", "1"), False, "4 attributes, expected 3 at most without a thing type"),
        (dict.fromkeys("abcd", "1"), True, None),
        ({f"a{number}": "1" for number in range(51)}, True, "51 attributes, expected 50 at most with a thing type"),
        ({"a b": "1"}, False, "attribute name 'a b'"),
        ({"a" * 129: "1"}, False, "expected 1 to 128"),
        ({"a": "Zürich"}, False, "value of attribute a"),
        ({"a": "x" * 801}, False, "expected 800"),
        ({"mqtt_endpoint": "mqtt1.example.com"}, False, None),
    ],
)
def test_attributes(attributes: dict[str, str], typed: bool, says: str | None) -> None:
    problem = attributes_problem(attributes, typed=typed)
    assert problem is None if says is None else says in str(problem)


def test_names() -> None:
    assert thing_name_problem("client_01:a-b") is None
    assert thing_name_problem("a" * 129)
    assert thing_name_problem("client 01")
    assert policy_name_problem("mqtt-fleet-device+=,.@") is None
    assert policy_name_problem("a/b")
