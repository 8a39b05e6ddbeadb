"""Which certificates a region admits by their policies."""

from __future__ import annotations

from typing import Any

import pytest

from lab.aws_api.admission import may_connect

CLIENTS = "arn:aws:iot:us-east-1:123456789012:client/"
PREFIX = "arn:aws:iot:us-east-1:123456789012"
OF_ITS_THING = f"{PREFIX}:client/${{iot:Connection.Thing.ThingName}}"


def policy(resource: object, action: object = "iot:Connect", effect: str = "Allow", **more: Any) -> dict[str, Any]:
    statement = {"Effect": effect, "Action": action, "Resource": resource, **more}
    return {"Version": "2012-10-17", "Statement": [statement]}


@pytest.mark.parametrize(
    "document",
    [
        policy("*"),
        policy(["arn:aws:iot:us-east-1:123456789012:topic/x", f"{PREFIX}:client/client_01"]),
        policy(f"{PREFIX}:*"),
        policy("arn:aws:iot:*:*:client/fleet-*", "iot:*"),
        policy(f"{PREFIX}:client/${{iot:ClientId}}", ["iot:Publish", "*"]),
        policy(OF_ITS_THING, Condition={"Bool": {"iot:Connection.Thing.IsAttached": "true"}}),
        policy("*") | {"Statement": policy("*")["Statement"][0]},
    ],
)
def test_policy_that_lets_some_client_connect(document: dict[str, Any]) -> None:
    assert may_connect([policy(PREFIX, "iot:Publish"), document], CLIENTS, ["client_01"])


@pytest.mark.parametrize(
    "documents",
    [
        [],
        [policy("*", "iot:Publish")],
        [policy("arn:aws:iot:ap-northeast-1:123456789012:client/client_01")],
        [policy("arn:aws:iot:us-east-1:210987654321:client/*")],
        [policy(f"{PREFIX}:topic/client/client_01")],
        [policy(OF_ITS_THING)],
        [policy("*", Condition={"Bool": {"iot:Connection.Thing.IsAttached": "true"}})],
        [policy("*"), policy(f"{PREFIX}:client/*", effect="Deny")],
        [{}],
    ],
)
def test_policies_that_let_nobody_connect(documents: list[dict[str, Any]]) -> None:
    assert not may_connect(documents, CLIENTS, [])


def test_deny_of_one_client_leaves_the_others() -> None:
    assert may_connect([policy("*"), policy(f"{PREFIX}:client/stolen", effect="Deny")], CLIENTS, [])
