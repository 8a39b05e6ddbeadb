"""What the fleet index says, page by page."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.module_utils.region_switch import fleet
from ansible.module_utils.region_switch.aws import AwsClient
from ansible.module_utils.region_switch.errors import AwsError, SwitchError
from ansible.module_utils.region_switch.fleet import Client, discover
from ansible.module_utils.region_switch.pace import BURST_SECONDS, TokenBucket

from .fakes import Clock, FakeAws, aws_error

REGION, ENDPOINT = "us-east-1", "mqtt1.example.com"


def thing(name: str, endpoint: str | None = ENDPOINT, **connectivity: Any) -> dict[str, Any]:
    attributes = {} if endpoint is None else {"mqtt_endpoint": endpoint}
    return {"thingName": name, "attributes": attributes, "connectivity": {"connected": True, **connectivity}}


def found(*pages: list[dict[str, Any]]) -> list[Client]:
    """What is discovered where the index answers these pages; a page may be empty and not be the last."""

    def answer(_operation: str, nextToken: str = "0", **_: Any) -> dict[str, Any]:  # noqa: N803 - AWS's name
        number = int(nextToken)
        more = {"nextToken": str(number + 1)} if number + 1 < len(pages) else {}
        return {"things": pages[number], **more}

    clients: list[Client] = discover({REGION: FakeAws(answer)}, "mqtt_endpoint")
    return clients


def test_every_page_is_read() -> None:
    clients = found([thing("client_01", timestamp=5000)], [], [thing("client_02")])

    assert clients == [Client("client_01", ENDPOINT, REGION, 5.0), Client("client_02", ENDPOINT, REGION, 0.0)]


def test_quota_of_search_index_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(fleet, "TokenBucket", lambda rate: TokenBucket(rate, clock, clock.sleep))
    begun = clock()

    found(*[[thing("client_01")]] * 100)

    assert clock() - begun >= 99 / 15 - BURST_SECONDS


def test_client_id_comes_before_the_thing_s_name() -> None:
    assert found([thing("thing_01", clientId="client_01")])[0].client_id == "client_01"


@pytest.mark.parametrize(
    ("attribute", "endpoint"), [("MQTT1.example.com.", ENDPOINT), (ENDPOINT, ENDPOINT), (None, "")]
)
def test_endpoint_is_compared_as_a_dns_name(attribute: str | None, endpoint: str) -> None:
    assert found([thing("client_01", attribute)])[0].endpoint == endpoint


@pytest.mark.parametrize(
    "code",
    ["IndexNotReadyException", "InvalidRequestException", "InvalidQueryException", "ResourceNotFoundException"],
)
def test_region_without_index_is_named_with_aws_s_words(code: str) -> None:
    with pytest.raises(SwitchError, match=rf"fleet index in {REGION}: found {code} \(some text\).*setup\.yml"):
        discover({REGION: FakeAws(lambda *_, **__: aws_error(code, 400))}, "mqtt_endpoint")


def test_missing_permission_to_search_is_no_matter_of_the_index() -> None:
    with pytest.raises(AwsError, match="IAM"):
        discover({REGION: FakeAws(lambda *_, **__: aws_error("UnauthorizedException", 401))}, "mqtt_endpoint")


def test_lists_that_name_their_next_page_otherwise_are_read_to_the_end() -> None:
    def answer(_operation: str, marker: str = "", **_: Any) -> dict[str, Any]:
        return {"policies": [f"after {marker}"], "nextMarker": {"": "a", "a": "b"}.get(marker)}

    listed = AwsClient.pages(
        FakeAws(answer), "ListAttachedPolicies", "policies", ("nextMarker", "marker"), target="arn"
    )

    assert list(listed) == ["after ", "after a", "after b"]
