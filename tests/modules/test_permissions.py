"""Everything runs under exactly the generated policies, and each action that is missing is named by a step.

docs/iam.md shows the actions, the steps and the lines: `make permissions` writes it, and the tests compare it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible.module_utils.region_switch.setup import registration

from . import permission_page, permission_walk
from .conftest import AwsApi
from .modules import last_request, run
from .permission_walk import DEVICE, ENDPOINT, NEW, OLD, Document, Fleet, Needed, Step, actions, document
from .zone_server import zone_server

SETUP, MOVE = "iam-setup.json", "iam-failover.json"


@pytest.fixture
def fleet(aws_api: AwsApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fleet]:
    monkeypatch.setattr(registration, "CLIENTS_PER_SECOND", 1000.0)
    # Whoever answers for DNS is not the caller.
    with zone_server(**permission_walk.ADMINISTRATOR) as resolver:
        found = Fleet(aws_api, tmp_path, resolver)
        found.begin()
        yield found


@pytest.fixture
def ready(fleet: Fleet) -> Fleet:
    """The fleet as an administrator has set it up."""
    make_all(fleet, None, fleet.first())
    return fleet


def make_all(fleet: Fleet, policies: list[Document] | None, steps: Iterator[Step]) -> list[bool]:
    """Make every step under these policies and return, step by step, whether it changed anything."""
    changed = []
    for step in steps:
        step.prepare()
        fleet.allow(policies)
        result = permission_walk.make(step)
        assert permission_walk.is_done(step, result), (step.where, permission_walk.said(result))
        changed.append(bool(result["changed"]))
    return changed


def compared(name: str, found: list[Needed]) -> None:
    """Each action of a policy is needed, and docs/iam.md says so; writes it where that is asked for."""
    assert sorted(each.action for each in found) == actions(document(name))
    rows = sorted(permission_page.row(each) for each in found)
    if os.environ.get("WRITE_PERMISSIONS"):
        permission_page.write(name, rows)
    assert rows == permission_page.rows(name), "docs/iam.md is of another version: make permissions"


def test_each_action_of_the_set_up_that_is_missing_is_named_by_the_step_that_needs_it(fleet: Fleet) -> None:
    compared(SETUP, permission_walk.walk(fleet, document(SETUP), fleet.setup()))


def test_each_action_of_a_move_that_is_missing_is_named_by_the_step_that_needs_it(ready: Fleet) -> None:
    compared(MOVE, permission_walk.walk(ready, document(MOVE), ready.moves()))


def test_everything_runs_under_the_policies_narrowed_to_what_the_inventory_has(fleet: Fleet) -> None:
    setup, move = ([permission_walk.narrowed(document(name))] for name in (SETUP, MOVE))

    assert all(make_all(fleet, setup, fleet.first())[1:])
    assert not any(make_all(fleet, setup, fleet.first()))
    make_all(fleet, setup, fleet.after_drift())
    make_all(fleet, move, fleet.moves())

    assert permission_walk.denied(fleet.aws_api, 0) == []
    assert fleet.aws_api.connected(NEW) == {DEVICE}


def test_narrowed_policy_names_no_wildcard_but_ids_that_aws_chooses() -> None:
    resources = {
        resource
        for name in (SETUP, MOVE)
        for statement in permission_walk.narrowed(document(name))["Statement"]
        for resource in statement["Resource"]
        if "*" in resource and resource != "*"
    }

    assert {resource.partition(":")[2].split(":", 4)[-1] for resource in resources} == {
        *("cert/*", "certificate/*", "change/*", "policy/*"),
        f"domainconfiguration/{ENDPOINT.replace('.', '-')}/*",
        "client/region-switch-probe-*",
    }


@pytest.mark.parametrize(("policy", "other"), [(SETUP, MOVE), (MOVE, SETUP)])
def test_policy_of_the_one_does_not_do_for_the_other(ready: Fleet, policy: str, other: str) -> None:
    steps = list(ready.first())[1:3] if policy == MOVE else [step for step in ready.moves() if "Move" in step.where][:1]
    ready.allow([document(policy)])
    last = last_request(ready.aws_api)

    results = [permission_walk.make(step) for step in steps]

    missing = permission_walk.denied(ready.aws_api, last)
    assert missing
    assert set(missing) <= set(actions(document(other)))
    assert any(permission_walk.naming(action, permission_walk.said(each)) for action in missing for each in results)


def test_move_of_other_clients_than_the_policy_names_ends_with_the_permission(ready: Fleet) -> None:
    policy = document(MOVE)
    for statement in policy["Statement"]:
        if "iot:DeleteConnection" in statement["Action"]:
            statement["Resource"] = [each.replace("device-*", "pump-*") for each in statement["Resource"]]
    ready.aws_api.connect(OLD, DEVICE, thing_name=DEVICE)
    ready.allow([policy])

    result = run("iot_region_switch", ready.move("3"))

    assert result["failed"]
    assert "allow the caller iot:DeleteConnection in IAM" in result["msg"]
    assert ready.aws_api.connected(OLD) == {DEVICE}
