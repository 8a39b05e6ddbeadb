"""Many clients at once, signing requests that devices made, and certificates that have a successor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import boto3
import pytest
from ansible.module_utils.region_switch import registration

from .conftest import AwsApi
from .modules import error_of, last_request, run_ok
from .test_setup_modules import DOCUMENT, OTHER, REGION, four_steps, write_csr

POLICY, MONITOR_POLICY = "fleet-device", "fleet-monitor"
ENDPOINT = "mqtt1.example.com"


@pytest.fixture
def known(aws_api: AwsApi, monkeypatch: pytest.MonkeyPatch) -> None:
    """The policy in both regions, and no waiting for quotas that the stand-in keeps anyway."""
    monkeypatch.setattr(registration, "CLIENTS_PER_SECOND", 1000.0)
    for region in (REGION, OTHER):
        for policy in (POLICY, MONITOR_POLICY):
            run_ok("iot_policy", {"region": region, "name": policy, "document": DOCUMENT})


def clients(folder: Path, *names: str, region: str = REGION, issue: bool = False, monitor: str = "") -> dict[str, Any]:
    monitors = [{"client_id": monitor, "policy": MONITOR_POLICY, "required": True}] if monitor else []
    return {
        "region": region,
        "directory": str(folder),
        "policy": POLICY,
        "issue": issue,
        "clients": [*({"client_id": name, "endpoint": ENDPOINT} for name in names), *monitors],
    }


def status_of(region: str, identifier: str) -> str:
    described = boto3.client("iot", region_name=region).describe_certificate(certificateId=identifier)
    return str(described["certificateDescription"]["status"])


def identifiers(region: str) -> list[str]:
    return [
        each["certificateId"] for each in boto3.client("iot", region_name=region).list_certificates()["certificates"]
    ]


def test_clients_are_issued_in_one_region_and_registered_in_the_other(
    known: None, aws_api: AwsApi, tmp_path: Path
) -> None:
    for name in ("one", "two"):
        write_csr(tmp_path, name)

    done = four_steps(aws_api, "iot_clients", clients(tmp_path, "one", "two", issue=True))
    four_steps(aws_api, "iot_clients", clients(tmp_path, "one", "two", region=OTHER))

    assert done["left_out"] == {}
    assert sorted(identifiers(REGION)) == sorted(identifiers(OTHER))
    for region in (REGION, OTHER):
        iot = boto3.client("iot", region_name=region)
        assert iot.describe_thing(thingName="two")["attributes"] == {"mqtt_endpoint": ENDPOINT}
        (principal,) = iot.list_thing_principals(thingName="two")["principals"]
        assert [each["policyName"] for each in iot.list_attached_policies(target=principal)["policies"]] == [POLICY]


def test_monitor_gets_a_policy_of_its_own_and_no_thing(known: None, aws_api: AwsApi, tmp_path: Path) -> None:
    write_csr(tmp_path, "monitor")

    four_steps(aws_api, "iot_clients", clients(tmp_path, monitor="monitor", issue=True))

    iot = boto3.client("iot", region_name=REGION)
    assert iot.list_things()["things"] == []
    (certificate,) = iot.list_certificates()["certificates"]
    attached = iot.list_attached_policies(target=certificate["certificateArn"])["policies"]
    assert [each["policyName"] for each in attached] == [MONITOR_POLICY]


def test_monitor_that_cannot_be_made_known_is_an_error(known: None, aws_api: AwsApi, tmp_path: Path) -> None:
    write_csr(tmp_path, "one")

    error = error_of("iot_clients", clients(tmp_path, "one", monitor="monitor", issue=True))

    assert error.startswith(f"client monitor: found no {tmp_path / 'monitor.csr'}, expected the client's signing")
    # The others are made known all the same.
    assert len(identifiers(REGION)) == 1


def test_client_without_a_request_holds_up_no_other(known: None, aws_api: AwsApi, tmp_path: Path) -> None:
    write_csr(tmp_path, "one")
    (tmp_path / "three.csr").write_text("no PEM")

    done = run_ok("iot_clients", clients(tmp_path, "one", "two", "three", issue=True))

    assert set(done["left_out"]) == {"two", "three"}
    assert f"found no {tmp_path / 'two.csr'}, expected the client's signing request" in done["left_out"]["two"]
    assert "\n" not in "".join(done["left_out"].values())
    assert (tmp_path / "one.crt").exists()
    assert len(identifiers(REGION)) == 1


def test_client_that_is_not_issued_yet_is_named_elsewhere(known: None, aws_api: AwsApi, tmp_path: Path) -> None:
    write_csr(tmp_path, "one")

    done = run_ok("iot_clients", clients(tmp_path, "one", region=OTHER))

    assert "expected the certificate that the issuing region made" in done["left_out"]["one"]


def test_second_run_of_many_reads_little(known: None, aws_api: AwsApi, tmp_path: Path) -> None:
    names = [f"device-{number}" for number in range(20)]
    for name in names:
        write_csr(tmp_path, name)
    run_ok("iot_clients", clients(tmp_path, *names, issue=True))
    last = last_request(aws_api)

    assert not run_ok("iot_clients", clients(tmp_path, *names, issue=True))["changed"]

    assert len(aws_api.operations(last)) == 4 * len(names)


def keep(folder: Path, name: str, csr: Path) -> dict[str, Any]:
    return {"directory": str(folder), "client_id": name, "csr": csr.read_text()}


def test_request_of_the_same_key_leaves_the_certificate(known: None, aws_api: AwsApi, tmp_path: Path) -> None:
    elsewhere, folder = tmp_path / "device", tmp_path / "clients"
    elsewhere.mkdir()
    folder.mkdir()
    request = keep(folder, "one", write_csr(elsewhere, "one"))
    assert run_ok("device_signing_request", request, check=True)["changed"]
    assert list(folder.iterdir()) == []

    assert run_ok("device_signing_request", request)["changed"]
    run_ok("iot_clients", clients(folder, "one", issue=True))

    assert not run_ok("device_signing_request", request)["changed"]
    assert (folder / "one.crt").exists()


def test_new_key_makes_way_for_a_new_certificate_and_the_old_one_is_retired(
    known: None, aws_api: AwsApi, tmp_path: Path
) -> None:
    elsewhere, folder = tmp_path / "device", tmp_path / "clients"
    elsewhere.mkdir()
    folder.mkdir()
    for name in ("one", "one-and-a-half"):
        run_ok("device_signing_request", keep(folder, name, write_csr(elsewhere, name)))
    run_ok("iot_clients", clients(folder, "one", "one-and-a-half", issue=True))
    old = identifiers(REGION)
    (folder / "one.key").write_text("made on the controller once")

    done = run_ok("device_signing_request", keep(folder, "one", write_csr(elsewhere, "one")))

    assert (done["superseded"], done["key_removed"]) == (True, True)
    assert sorted(path.name for path in folder.glob("one.*")) == ["one.csr"]
    run_ok("iot_clients", clients(folder, "one", "one-and-a-half", issue=True))
    (new,) = set(identifiers(REGION)) - set(old)
    assert {status_of(REGION, each) for each in (*old, new)} == {"ACTIVE"}
    retire = {"region": REGION, "directory": str(folder), "retire": ["one"]}
    retired = four_steps(aws_api, "iot_clients", retire)["retired"]
    assert [status_of(REGION, each) for each in retired] == ["INACTIVE"]
    assert [status_of(REGION, each) for each in {*old, new} - set(retired)] == ["ACTIVE", "ACTIVE"]
    # A region that never knew it does not learn of it.
    assert not run_ok("iot_clients", {**retire, "region": OTHER})["changed"]


def test_text_that_is_no_request_is_refused(tmp_path: Path) -> None:
    error = error_of("device_signing_request", {"directory": str(tmp_path), "client_id": "one", "csr": "no PEM"})

    assert error.startswith("signing request of one: found no valid PEM")
    assert list(tmp_path.iterdir()) == []


def test_folder_that_is_still_to_be_made_is_named(tmp_path: Path) -> None:
    missing = tmp_path / "clients"

    error = error_of("device_signing_request", keep(missing, "one", write_csr(tmp_path, "one")))

    assert error == f"{missing}: found no such folder, expected it: run setup.yml first"
