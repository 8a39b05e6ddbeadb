"""What somebody turned off at AWS stays off when set-up runs again, and is told."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.unit.region_switch.test_pem import authority, device, text

from .conftest import AwsApi
from .modules import error_of, last_request, run_ok
from .test_registration import (
    MONITOR_POLICY,
    POLICY,
    clients,
    identifiers,
    known,  # noqa: F401 - a fixture
    status_of,
)
from .test_setup_modules import OTHER, REGION, write_csr

pytestmark = pytest.mark.usefixtures("known")


def iot(region: str) -> Any:
    return boto3.client("iot", region_name=region)


def set_up(folder: Path, region: str, name: str = "one", check: bool = False, restore: tuple[str, ...] = ()) -> Any:
    """The set-up of one client in a region, as the roles ask for it."""
    asked = clients(folder, name, region=region, issue=region == REGION)
    return run_ok("iot_clients", {**asked, "issuing_region": REGION, "restore": list(restore)}, check)


def arn_of(region: str, name: str = "one") -> str:
    (principal,) = iot(region).list_thing_principals(thingName=name)["principals"]
    return str(principal)


@pytest.fixture
def certificate(tmp_path: Path, known: None) -> str:  # noqa: F811
    """The ID of a certificate that is set up in both regions."""
    write_csr(tmp_path, "one")
    for region in (REGION, OTHER):
        assert set_up(tmp_path, region)["left_out"] == {}
    (identifier,) = identifiers(REGION)
    return identifier


def left_as_it_is(aws_api: AwsApi, folder: Path, region: str) -> str:
    """Why the client is left out, in check mode as well; nothing is written at AWS."""
    before = last_request(aws_api)
    done = set_up(folder, region)
    assert aws_api.writes(before) == []
    assert not done["changed"]
    assert set_up(folder, region, check=True)["left_out"] == done["left_out"]
    reason: str = done["left_out"]["one"]
    assert "\n" not in reason
    return reason


@pytest.mark.parametrize(
    "status", ["INACTIVE", "REVOKED", "PENDING_TRANSFER", "REGISTER_INACTIVE", "PENDING_ACTIVATION"]
)
def test_certificate_that_is_not_active_stays_so_and_is_told(
    certificate: str, aws_api: AwsApi, tmp_path: Path, status: str
) -> None:
    for region in (REGION, OTHER):
        iot(region).update_certificate(certificateId=certificate, newStatus=status)

    for region in (REGION, OTHER):
        reason = left_as_it_is(aws_api, tmp_path, region)
        assert reason.startswith(
            f"found certificate {certificate} {status} in {region}, expected ACTIVE: left as it is"
        )
        assert status_of(region, certificate) == status
        assert identifiers(region) == [certificate]


def test_client_that_is_named_gets_back_what_was_turned_off(certificate: str, aws_api: AwsApi, tmp_path: Path) -> None:
    iot(REGION).update_certificate(certificateId=certificate, newStatus="REVOKED")
    iot(REGION).detach_policy(policyName=POLICY, target=arn_of(REGION))
    assert set_up(tmp_path, REGION, restore=("another",))["left_out"]

    for named in (("one",), ("*",)):
        assert set_up(tmp_path, REGION, restore=named)["left_out"] == {}

    assert status_of(REGION, certificate) == "ACTIVE"
    assert set_up(tmp_path, REGION)["left_out"] == {}


def test_certificate_that_was_turned_off_is_registered_nowhere_else(aws_api: AwsApi, tmp_path: Path) -> None:
    write_csr(tmp_path, "one")
    set_up(tmp_path, REGION)
    (identifier,) = identifiers(REGION)
    iot(REGION).update_certificate(certificateId=identifier, newStatus="REVOKED")

    reason = left_as_it_is(aws_api, tmp_path, OTHER)

    assert reason.startswith(f"found certificate {identifier} REVOKED in {REGION}, expected ACTIVE")
    assert identifiers(OTHER) == []


def detach_policy(certificate: str) -> None:
    iot(OTHER).detach_policy(policyName=POLICY, target=arn_of(OTHER))


def swap_policy(certificate: str) -> None:
    arn = arn_of(OTHER)
    iot(OTHER).detach_policy(policyName=POLICY, target=arn)
    iot(OTHER).attach_policy(policyName=MONITOR_POLICY, target=arn)


def detach_thing(certificate: str) -> None:
    iot(OTHER).detach_thing_principal(thingName="one", principal=arn_of(OTHER))


@pytest.mark.parametrize(
    ("harm", "missing"),
    [(detach_policy, f"policy {POLICY}"), (swap_policy, f"policy {POLICY}"), (detach_thing, "thing one")],
)
def test_what_was_detached_stays_detached(
    certificate: str, aws_api: AwsApi, tmp_path: Path, harm: Callable[[str], None], missing: str
) -> None:
    harm(certificate)

    reason = left_as_it_is(aws_api, tmp_path, OTHER)

    assert f"certificate {certificate} in {OTHER} is not attached to {missing}: left as it is" in reason
    assert set_up(tmp_path, OTHER, restore=("one",))["changed"]
    assert set_up(tmp_path, OTHER)["left_out"] == {}


@pytest.mark.parametrize(
    "interrupted", ["RegisterCertificateWithoutCA", "AttachPolicy", "AttachThingPrincipal", "UpdateThing"]
)
def test_set_up_that_was_interrupted_is_finished(aws_api: AwsApi, tmp_path: Path, interrupted: str) -> None:
    write_csr(tmp_path, "one")
    set_up(tmp_path, REGION)
    aws_api.faults({"operation": interrupted, "kind": "error", "status": 400, "code": "InvalidRequestException"})
    assert interrupted in set_up(tmp_path, OTHER)["left_out"]["one"]
    aws_api.faults()

    assert set_up(tmp_path, OTHER)["left_out"] == {}

    attached = iot(OTHER).list_attached_policies(target=arn_of(OTHER))["policies"]
    assert [each["policyName"] for each in attached] == [POLICY]
    assert not set_up(tmp_path, OTHER)["changed"]


def delete(region: str, certificate: str) -> None:
    arn = arn_of(region)
    iot(region).detach_policy(policyName=POLICY, target=arn)
    iot(region).detach_thing_principal(thingName="one", principal=arn)
    iot(region).update_certificate(certificateId=certificate, newStatus="INACTIVE")
    iot(region).delete_certificate(certificateId=certificate)


def test_certificate_that_was_deleted_where_it_was_issued_is_not_registered_again(
    certificate: str, aws_api: AwsApi, tmp_path: Path
) -> None:
    for region in (REGION, OTHER):
        delete(region, certificate)

    for region, said in ((REGION, "where set-up had registered it"), (OTHER, "which has to register it first")):
        reason = left_as_it_is(aws_api, tmp_path, region)
        assert reason.startswith(f"certificate {certificate} is unknown in {REGION}, {said}: ")
        assert identifiers(region) == []
    assert set_up(tmp_path, REGION, restore=("one",))["left_out"] == {}
    assert identifiers(REGION) == [certificate]


def test_another_controller_takes_the_certificate_that_there_is(
    certificate: str, aws_api: AwsApi, tmp_path: Path
) -> None:
    path = tmp_path / "one.crt"
    issued = path.read_text()
    path.unlink()
    before = last_request(aws_api)

    assert set_up(tmp_path, REGION)["left_out"] == {}

    assert aws_api.writes(before) == []
    assert path.read_text() == issued


@pytest.mark.parametrize("status", ["INACTIVE", "REVOKED"])
@pytest.mark.parametrize("new_key", [True, False])
def test_no_certificate_is_issued_over_one_that_was_turned_off(
    certificate: str, aws_api: AwsApi, tmp_path: Path, status: str, new_key: bool
) -> None:
    for region in (REGION, OTHER):
        iot(region).update_certificate(certificateId=certificate, newStatus=status)
    (tmp_path / "one.crt").unlink()
    if new_key:
        write_csr(tmp_path, "one")

    reason = left_as_it_is(aws_api, tmp_path, REGION)

    assert f"{certificate} {status} in {REGION}" in reason
    assert identifiers(REGION) == [certificate]
    if new_key:
        assert "no new one is made" in reason
        assert set_up(tmp_path, REGION, restore=("one",))["left_out"] == {}
        assert status_of(REGION, certificate) == status


def test_certificate_of_another_thing_is_not_attached_to_this_one(
    certificate: str, aws_api: AwsApi, tmp_path: Path
) -> None:
    """As when a file was copied, and the other client is no longer in the inventory."""
    for suffix in ("csr", "crt"):
        (tmp_path / f"two.{suffix}").write_bytes((tmp_path / f"one.{suffix}").read_bytes())
    before = last_request(aws_api)

    done = set_up(tmp_path, REGION, "two")

    assert f"certificate {certificate} in {REGION} is attached to thing one" in done["left_out"]["two"]
    assert aws_api.writes(before) == []


def test_one_key_of_two_clients_is_told_of_both_and_holds_up_no_other(aws_api: AwsApi, tmp_path: Path) -> None:
    for name in ("one", "three"):
        write_csr(tmp_path, name)
    (tmp_path / "two.csr").write_bytes((tmp_path / "one.csr").read_bytes())

    done = run_ok("iot_clients", clients(tmp_path, "one", "two", "three", issue=True))

    assert done["left_out"] == {
        name: f"its files have the same key as those of {other}: give each client its own key and certificate, in "
        f"{tmp_path}"
        for name, other in (("one", "two"), ("two", "one"))
    }
    assert len(identifiers(REGION)) == 1


def test_file_with_a_private_key_is_not_sent(aws_api: AwsApi, tmp_path: Path) -> None:
    request = write_csr(tmp_path, "one")
    key = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()  # fmt: skip
    request.write_text(key + request.read_text())

    done = set_up(tmp_path, REGION)

    assert f"{request}: found a private key in it" in done["left_out"]["one"]
    assert aws_api.writes() == ["CreatePolicy"] * 4
    assert key.splitlines()[1] not in json.dumps(done)


def test_request_is_read_behind_a_byte_order_mark_and_words(aws_api: AwsApi, tmp_path: Path) -> None:
    request = write_csr(tmp_path, "one")
    request.write_bytes(b"\xef\xbb\xbf" + "friendlyName: Größe\r\n".encode() + request.read_bytes())

    assert set_up(tmp_path, REGION)["left_out"] == {}
    assert not set_up(tmp_path, REGION)["changed"]


def test_own_certificate_behind_its_ca_is_the_one_that_is_registered(aws_api: AwsApi, tmp_path: Path) -> None:
    (tmp_path / "pump.crt").write_bytes(text(authority()) + text(device()))
    (tmp_path / "fan.crt").write_bytes(text(authority()))

    done = run_ok("iot_clients", clients(tmp_path, "pump", "fan"))

    assert list(done["left_out"]) == ["fan"]
    assert "found the certificate of a CA ('Device CA')" in done["left_out"]["fan"]
    (identifier,) = identifiers(REGION)
    described = iot(REGION).describe_certificate(certificateId=identifier)["certificateDescription"]
    assert x509.load_pem_x509_certificate(described["certificatePem"].encode()) == device()


@pytest.mark.parametrize("name", [1001, 83, True, None, 1.5, ["one"]])
def test_client_id_that_is_no_text_is_refused_before_anything_is_written(
    aws_api: AwsApi, tmp_path: Path, name: object
) -> None:
    last = last_request(aws_api)

    error = error_of("iot_clients", {**clients(tmp_path, "one"), "clients": [{"client_id": name, "endpoint": "x"}]})

    assert "put it in quotes" in error or "required" in error
    assert aws_api.writes(last) == []


def test_certificate_module_leaves_the_status_where_none_is_asked_for(
    certificate: str, aws_api: AwsApi, tmp_path: Path
) -> None:
    iot(REGION).update_certificate(certificateId=certificate, newStatus="REVOKED")
    asked = {"region": REGION, "certificate_path": str(tmp_path / "one.crt")}

    assert not run_ok("iot_certificate", asked)["changed"]
    assert run_ok("iot_certificate", {**asked, "status": "ACTIVE"})["changed"]
    assert status_of(REGION, certificate) == "ACTIVE"
