"""What the broker's plugin is told of policies; that it heeds it is seen at a real broker."""

from __future__ import annotations

from typing import Any

import pytest

from lab.aws_api.device_policies import KINDS, Kind, Principal, render, thing_variables

ARN = "arn:aws:iot:us-east-1:123456789012:"
ALWAYS, NEVER = "1" * len(KINDS), "0" * len(KINDS)


def document(*statements: dict[str, Any]) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": list(statements)}


def statement(action: object, resource: object = "*", effect: str = "Allow", **more: Any) -> dict[str, Any]:
    return {"Effect": effect, "Action": action, "Resource": resource, **more}


def lines(*statements: dict[str, Any]) -> list[list[str]]:
    """The statements of one policy, as they are written."""
    text = render(ARN, [Principal("ab" * 32, {"p": document(*statements)})])
    return [line.split("\t") for line in text.splitlines() if line.startswith(("allow", "deny"))]


@pytest.mark.parametrize(
    ("action", "letters"),
    [
        ("iot:Connect", "C"),
        (["iot:publish", "iot:RetainPublish"], "PT"),
        ("iot:Re*", "TR"),
        ("*", "CPTSR"),
        (["iot:Subscribe", "iot:Nothing", "iot:[a-z]*"], "S"),
    ],
)
def test_actions_are_letters(action: object, letters: str) -> None:
    assert lines(statement(action)) == [["allow", letters, ALWAYS, "*"]]


def test_statement_of_no_action_of_the_broker_is_left_out() -> None:
    assert lines(statement("iot:UpdateThingShadow")) == []


@pytest.mark.parametrize(
    ("resource", "written"),
    [
        (f"{ARN}client/${{iot:ClientId}}-*?", f"{ARN}client/${{iot:ClientId}}-*?"),
        ("topic/+/#", "topic/+/#"),
        ("topic/a\tb\n%", "topic/a%09b%0A%25"),
        ("topic/${*}${?}${$}$", "topic/%2A%3F%24%24"),
        ("topic/{x}", "topic/%7Bx%7D"),
        ("topic/ü", "topic/%C3%BC"),
    ],
)
def test_only_wildcards_and_variables_are_more_than_themselves(resource: str, written: str) -> None:
    assert lines(statement("iot:Publish", resource)) == [["allow", "P", ALWAYS, written]]


def test_each_resource_has_a_line_and_deny_its_own_word() -> None:
    found = lines(statement("iot:Publish", ["a", "b"], "Deny"), {**statement("iot:Receive"), "Resource": "c"})
    assert [line[::3] for line in found] == [["deny", "a"], ["deny", "b"], ["allow", "c"]]


def when(condition: dict[str, Any], effect: str = "Allow") -> set[Kind]:
    """The kinds of connection that a statement with a condition applies to."""
    found = lines(statement("iot:Connect", effect=effect, Condition=condition))
    digits = found[0][2] if found else NEVER
    return {kind for kind, digit in zip(KINDS, digits, strict=True) if digit == "1"}


@pytest.mark.parametrize(
    ("condition", "applies"),
    [
        ({"Bool": {"iot:Connection.Thing.IsAttached": "true"}}, lambda kind: kind.attached),
        ({"Bool": {"iot:Connection.Thing.IsAttached": ["false"]}}, lambda kind: not kind.attached),
        ({"ForAllValues:StringEquals": {"iot:ConnectAttributes": ["LastWill"]}}, lambda kind: not kind.persistent),
        ({"ForAllValues:StringNotEquals": {"iot:ConnectAttributes": "LastWill"}}, lambda kind: not kind.will),
        ({"ForAnyValue:StringEquals": {"iot:ConnectAttributes": ["PersistentConnect"]}}, lambda kind: kind.persistent),
        (
            {
                "Bool": {"iot:Connection.Thing.IsAttached": "true"},
                "ForAnyValue:StringEquals": {"iot:ConnectAttributes": ["LastWill"]},
            },
            lambda kind: kind.attached and kind.will,
        ),
        ({}, lambda _: True),
    ],
)
def test_condition_holds_for_kinds_of_connections(condition: dict[str, Any], applies: Any) -> None:
    assert when(condition) == set(filter(applies, KINDS))


@pytest.mark.parametrize(
    "condition", [{"IpAddress": {"aws:SourceIp": "192.0.2.0/24"}}, {"Bool": {"aws:Other": "true"}}]
)
def test_condition_that_is_not_known_allows_nothing_and_denies_all(condition: dict[str, Any]) -> None:
    assert when(condition) == set()
    assert when(condition, "Deny") == set(KINDS)


def test_policy_that_many_have_is_written_once() -> None:
    shared, own = document(statement("iot:Connect")), document(statement("iot:Publish"))
    text = render(ARN, [Principal("bb", {"shared": shared, "own": own}), Principal("aa", {"shared": shared})])
    assert text.splitlines() == [
        f"arn\t{ARN}",
        "policy",
        f"allow\tP\t{ALWAYS}\t*",
        "policy",
        f"allow\tC\t{ALWAYS}\t*",
        "certificate\taa\t1",
        "certificate\tbb\t1\t0",
    ]


def test_things_are_in_the_order_of_their_bytes_with_the_variables_that_are_used() -> None:
    site = "iot:Connection.Thing.Attributes[site]"
    variables = thing_variables({"site": "a/b c", "other": "x"}, "pump")
    used = document(statement("iot:Publish", f"topic/${{{site}}}"))
    text = render(ARN, [Principal("aa", {"p": used}, {"ü": {}, "z": variables, "Z": {}})])
    assert text.splitlines()[-3:] == ["thing\tZ", f"thing\tz\t{site}\ta/b c", "thing\t%C3%BC"]


def test_thing_type_is_a_variable() -> None:
    assert thing_variables({}, "pump") == {"iot:Connection.Thing.ThingTypeName": "pump"}
    assert thing_variables({}, None) == {}
