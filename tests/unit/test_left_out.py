"""Which device was left out of a setup or a deployment, and why."""

from __future__ import annotations

from typing import Any

import pytest

from fleet import left_out_of_deployment, left_out_of_setup, requests_to_be_made, why_it_failed

ON = {"unreachable": False, "csr": "PEM"}
OFF = {"unreachable": True, "msg": "timed out"}
HUNG = {"unreachable": True, "msg": "edge1: found no answer", "reason": "no answer within 3 s"}
STATUS = "not connected: no route to host"


@pytest.mark.parametrize(
    ("identity", "refusals", "reason"),
    [
        (ON, [], ""),
        # A device of somebody else is not asked.
        ({}, [], ""),
        # Its certificate is there already.
        (OFF, [], ""),
        (OFF, ["found no x.csr"], "not reachable; found no x.csr"),
        (HUNG, ["found no x.csr"], "could not be asked (no answer within 3 s); found no x.csr"),
        ({}, ["found no x.csr", "found no x.csr"], "found no x.csr"),
        # In check mode.
        ({"unreachable": False, "changed": True, "csr": None}, ["found no x.csr"], ""),
    ],
)
def test_setup_needs_a_certificate_in_every_region(identity: dict[str, Any], refusals: list[str], reason: str) -> None:
    registered = [{"left_out": {"0007": refusal}} for refusal in refusals] + [{"left_out": {"7": "another"}}, {}]

    assert left_out_of_setup(identity, registered, "0007") == reason


def test_every_region_that_has_a_reason_of_its_own_is_told() -> None:
    registered = [
        {"region": region, "left_out": {"7": f"found {status} in {region}"}}
        for region, status in (("a-1", "REVOKED"), ("b-1", "REVOKED"), ("c-1", "INACTIVE"))
    ]

    assert left_out_of_setup(ON, registered, "7") == "found REVOKED in a-1 and b-1; found INACTIVE in c-1"


def test_region_that_waits_for_the_issuing_one_says_nothing_more() -> None:
    issuing = {"left_out": {"7": "found REVOKED in here"}, "awaiting": []}
    waiting = {"left_out": {"7": "see the message of the region"}, "awaiting": ["7"]}

    assert left_out_of_setup(ON, [waiting, issuing], "7") == "found REVOKED in here"
    # With --limit, it is all there is.
    assert left_out_of_setup(ON, [waiting], "7") == "see the message of the region"


@pytest.mark.parametrize(
    ("result", "says"),
    [
        ({"failed": True, "msg": "no\nroom"}, "no room"),
        ({"results": [{"item": "a", "msg": "done"}, {"item": "b", "failed": True, "msg": "denied"}]}, "b: denied"),
    ],
)
def test_task_that_shows_nothing_has_its_reason_told(result: dict[str, Any], says: str) -> None:
    assert why_it_failed(result) == says


@pytest.mark.parametrize(
    ("identity", "installed", "reason"),
    [
        (ON, {"changed": True, "connected": True}, ""),
        (ON, {"changed": False, "connected": True}, ""),
        # In check mode.
        (ON, {"changed": True, "connected": False}, ""),
        ({}, {}, ""),
        (OFF, {}, "not reachable, nothing was changed"),
        (HUNG, {}, "could not be asked (no answer within 3 s), nothing was changed: check the device"),
        (ON, {"unreachable": True}, "went offline during the deployment"),
        (ON, HUNG, "could not be asked (no answer within 3 s) during the deployment"),
        (
            ON,
            {"changed": False, "connected": False, "status": STATUS},
            f"not connected ({STATUS}), nothing was changed",
        ),
    ],
)
def test_deployment_needs_a_client_that_is_connected(
    identity: dict[str, Any], installed: dict[str, Any], reason: str
) -> None:
    assert left_out_of_deployment(identity, installed).startswith(reason)
    assert bool(left_out_of_deployment(identity, installed)) == bool(reason)


def test_requests_that_check_mode_foretells_are_those_of_devices_that_would_make_a_new_one() -> None:
    foretold = {"changed": True, "csr": None}
    hostvars = {
        "edge1": {"__mqtt_client_identity": foretold, "mqtt_client_id": "pump"},
        "edge2": {"__mqtt_client_identity": foretold},
        "edge3": {"__mqtt_client_identity": {**foretold, "csr": "PEM"}},
        "edge4": {"__mqtt_client_identity": {**foretold, "changed": False}},
        "edge5": {"__mqtt_client_identity": OFF},
        "edge6": {},
    }

    assert requests_to_be_made(list(hostvars), hostvars) == ["pump", "edge2"]
