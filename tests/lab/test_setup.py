"""Setting up and deploying twice: the second time changes nothing."""

from __future__ import annotations

import stat

import pytest

from .conftest import REPOSITORY, StandIn, failover, run_playbook, summary


@pytest.mark.parametrize("playbook", ["setup.yml", "playbooks/deploy_clients.yml"])
def test_second_run_changes_nothing(fleet: dict[str, str], stand_in: StandIn, playbook: str) -> None:
    last = stand_in.last_request()

    run = run_playbook(playbook)

    assert run.returncode == 0, run.error
    assert run.changed == 0, run.output
    assert stand_in.writes_since(last) == []


def test_setup_does_not_undo_a_move(fleet: dict[str, str]) -> None:
    failover("3")

    run = run_playbook("setup.yml")

    assert run.changed == 0, run.output
    failover("3")
    assert summary()["outcome"] == "unchanged"


def test_check_mode_looks_at_everything_of_a_fleet_that_is_set_up(fleet: dict[str, str], stand_in: StandIn) -> None:
    last = stand_in.last_request()

    run = run_playbook("setup.yml", "--check", "--diff")

    assert run.returncode == 0, run.error
    assert run.changed == 0, run.output
    # That it tells what it finds is seen in tests/modules/test_setup_check.py.
    asked = [(each["operation"], each["region"]) for each in stand_in.get(f"requests?after={last}")]
    for operation in ("GetIndexingConfiguration", "DescribeDomainConfiguration", "GetPolicy", "DescribeCertificate"):
        for region in ("us-east-1", "ap-northeast-1"):
            assert (operation, region) in asked


def test_private_keys_are_readable_by_their_owner_only(fleet: dict[str, str]) -> None:
    certs = REPOSITORY / "certs"
    keys = [*certs.glob("*.key"), *certs.glob("clients/*.key")]

    # The CA's, one per endpoint and the monitor's: devices make theirs themselves.
    assert len(keys) == 4
    assert {stat.S_IMODE(key.stat().st_mode) for key in keys} == {0o600}
