"""Many clients at once, signing requests that devices made, and certificates that have a successor."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import pytest
from ansible.module_utils.region_switch.setup import registration
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.x509.oid import NameOID

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


def test_lists_that_come_a_page_at_a_time_are_read_to_their_end(known: None, aws_api: AwsApi, tmp_path: Path) -> None:
    """Where a certificate has other policies, ours may come last."""
    write_csr(tmp_path, "one")
    run_ok("iot_clients", clients(tmp_path, "one", issue=True))
    iot = boto3.client("iot", region_name=REGION)
    (principal,) = iot.list_thing_principals(thingName="one")["principals"]
    document = iot.get_policy(policyName=POLICY)["policyDocument"]
    iot.detach_policy(policyName=POLICY, target=principal)
    for name in ("a-first", "b-second"):
        iot.create_policy(policyName=name, policyDocument=document)
        iot.attach_policy(policyName=name, target=principal)
    iot.attach_policy(policyName=POLICY, target=principal)
    aws_api.settings(page_size=1)
    last = last_request(aws_api)

    done = run_ok("iot_clients", clients(tmp_path, "one", issue=True))

    assert (done["changed"], done["left_out"]) == (False, {})
    assert aws_api.operations(last).count("ListAttachedPolicies") == 3


def test_setting_up_a_fleet_keeps_to_every_quota(aws_api: AwsApi, tmp_path: Path) -> None:
    """Nothing is left out, and AWS is not asked in vain all the time."""
    aws_api.settings(every_quota=True)
    names = [f"client-{number:02}" for number in range(25)]
    for name in names:
        write_csr(tmp_path, name)
    for region in (REGION, OTHER):
        run_ok("iot_policy", {"region": region, "name": POLICY, "document": DOCUMENT})
        parameters = clients(tmp_path, *names, region=region, issue=region == REGION)
        parameters |= {"issuing_region": REGION} if region != REGION else {}

        assert run_ok("iot_clients", parameters)["left_out"] == {}
        assert not run_ok("iot_clients", parameters)["changed"]

    refused = [each["operation"] for each in aws_api.requests() if each["status"] == 400]
    assert len(refused) < 5, refused


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

    assert error.startswith(f"client monitor: its signing request {tmp_path / 'monitor.csr'} is missing")
    # The others are made known all the same.
    assert len(identifiers(REGION)) == 1


def test_client_without_a_request_holds_up_no_other(known: None, aws_api: AwsApi, tmp_path: Path) -> None:
    write_csr(tmp_path, "one")
    (tmp_path / "three.csr").write_text("no PEM")

    done = run_ok("iot_clients", clients(tmp_path, "one", "two", "three", issue=True))

    assert set(done["left_out"]) == {"two", "three"}
    assert f"its signing request {tmp_path / 'two.csr'} is missing" in done["left_out"]["two"]
    assert "\n" not in "".join(done["left_out"].values())
    assert (tmp_path / "one.crt").exists()
    assert len(identifiers(REGION)) == 1


def test_client_that_is_not_issued_yet_is_named_elsewhere(known: None, aws_api: AwsApi, tmp_path: Path) -> None:
    write_csr(tmp_path, "one")

    done = run_ok("iot_clients", clients(tmp_path, "one", region=OTHER))

    assert "see the message of the region that issues it" in done["left_out"]["one"]


def test_check_foretells_clients_whose_request_or_certificate_is_still_to_be_made(
    known: None, aws_api: AwsApi, tmp_path: Path
) -> None:
    write_csr(tmp_path, "one")
    before = last_request(aws_api)
    asked = clients(tmp_path, "one", "two", "three", region=OTHER, monitor="monitor")

    foretold = run_ok("iot_clients", {**asked, "planned": ["two", "monitor"]}, check=True)

    assert foretold["changed"]
    # Another region is going to issue the first, and nothing is going to make the third's request.
    assert set(foretold["left_out"]) == {"three"}
    assert aws_api.writes(before) == []
    # A run believes files only.
    assert " is missing: " in error_of("iot_clients", {**asked, "planned": ["two", "monitor"]})


def test_check_foretells_a_certificate_for_a_new_request(known: None, aws_api: AwsApi, tmp_path: Path) -> None:
    write_csr(tmp_path, "one")
    asked = clients(tmp_path, "one", issue=True)
    run_ok("iot_clients", asked)

    assert not run_ok("iot_clients", asked, check=True)["changed"]
    assert run_ok("iot_clients", {**asked, "planned": ["one"]}, check=True)["changed"]


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

    assert error.startswith("signing request of one: not a valid certificate signing request in PEM")
    assert list(tmp_path.iterdir()) == []


NAMES = ["../ca", "..", ".", "a/b", "", "one\n", "one.two", "*", "ä", "x" * 129]


@pytest.mark.parametrize("name", NAMES)
def test_name_of_a_file_elsewhere_is_no_client_id(tmp_path: Path, name: str) -> None:
    folder, superseded = tmp_path / "clients", tmp_path / "clients" / "superseded"
    superseded.mkdir(parents=True)
    csr = write_csr(tmp_path, "one").read_text()
    for path in (tmp_path / "ca.key", folder / "one.key", superseded / f"one.{'a' * 64}.crt"):
        path.write_text("not to be touched")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    asked: list[tuple[str, dict[str, Any]]] = [
        ("device_signing_request", {"directory": str(folder), "client_id": name, "csr": csr}),
        ("iot_clients", clients(folder, name, issue=True)),
        ("iot_clients", {"region": REGION, "directory": str(folder), "retire": [name]}),
        ("message_arrival_info", {"ledger": str(tmp_path / "ledger.sqlite"), "client_id": name}),
    ]

    for module, parameters in asked:
        assert error_of(module, parameters).startswith("client ID: found "), module
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def request(key: Any, *names: str, hashed_with: Any = None) -> str:
    """A signing request with these common names."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name) for name in names])
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    return builder.sign(key, hashed_with).public_bytes(serialization.Encoding.PEM).decode()


def ecc(curve: ec.EllipticCurve) -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(curve)


def hashed_with_sha1() -> str:
    """One that the library here would not sign."""
    new = ["openssl", "req", "-new", "-sha1", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    settings = "[req]\ndistinguished_name = name\n[name]\n"
    command = [*new, "-keyout", "/dev/null", "-subj", "/CN=one", "-config", "/dev/stdin"]
    return subprocess.run(command, input=settings, capture_output=True, text=True, check=True).stdout


WEAK: dict[str, Callable[[], tuple[str, str]]] = {
    "another's name": lambda: (
        request(ecc(ec.SECP256R1()), "two", hashed_with=hashes.SHA256()),
        "found common name 'two', expected 'one': correct the device",
    ),
    "two names": lambda: (
        request(ecc(ec.SECP256R1()), "one", "two", hashed_with=hashes.SHA256()),
        "found common name 'one, two', expected 'one'",
    ),
    "no name": lambda: (
        request(ecc(ec.SECP256R1()), hashed_with=hashes.SHA256()),
        "found common name nothing, expected 'one'",
    ),
    "RSA of 1024 bits": lambda: (
        request(rsa.generate_private_key(65537, 1024), "one", hashed_with=hashes.SHA256()),  # noqa: S505
        "found a key that is RSA, 1024 bits, expected RSA of 2048 bits or more, P-256, P-384 or P-521",
    ),
    "DSA": lambda: (
        request(dsa.generate_private_key(2048), "one", hashed_with=hashes.SHA256()),
        "found a key that is DSA, 2048 bits, expected RSA of",
    ),
    "Ed25519": lambda: (
        request(ed25519.Ed25519PrivateKey.generate(), "one"),
        "found a key that is Ed25519, expected RSA of",
    ),
    "another curve": lambda: (
        request(ecc(ec.SECP256K1()), "one", hashed_with=hashes.SHA256()),
        "found a key that is EC, 256 bits, expected RSA of",
    ),
    "SHA-1": lambda: (
        hashed_with_sha1(),
        "its signature does not use SHA-256",
    ),
    "20 MB": lambda: (
        request(ecc(ec.SECP256R1()), "one", hashed_with=hashes.SHA256()) + "\n" * 20_000_000,
        "found 20000",
    ),
}


@pytest.mark.parametrize("fault", WEAK)
def test_request_that_aws_would_not_take_or_that_is_of_another_is_not_kept(tmp_path: Path, fault: str) -> None:
    csr, says = WEAK[fault]()
    (tmp_path / "one.key").write_text("made on the controller once")

    error = error_of("device_signing_request", {"directory": str(tmp_path), "client_id": "one", "csr": csr})

    assert error.startswith(f"signing request of one: {says}")
    assert [path.name for path in tmp_path.iterdir()] == ["one.key"]


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()], ids=lambda curve: curve.name)
def test_request_with_a_key_that_aws_takes_is_kept(tmp_path: Path, curve: ec.EllipticCurve) -> None:
    csr = request(ecc(curve), "one", hashed_with=hashes.SHA384())

    assert run_ok("device_signing_request", {"directory": str(tmp_path), "client_id": "one", "csr": csr})["changed"]


def test_weak_request_of_somebody_else_is_not_sent(known: None, aws_api: AwsApi, tmp_path: Path) -> None:
    (tmp_path / "one.csr").write_text(WEAK["RSA of 1024 bits"]()[0])
    last = last_request(aws_api)

    done = run_ok("iot_clients", clients(tmp_path, "one", issue=True))

    assert "found a key that is RSA, 1024 bits" in done["left_out"]["one"]
    assert "CreateCertificateFromCsr" not in aws_api.operations(last)


def test_folder_that_is_still_to_be_made_is_named(tmp_path: Path) -> None:
    missing = tmp_path / "clients"

    error = error_of("device_signing_request", keep(missing, "one", write_csr(tmp_path, "one")))

    assert error == f"{missing}: the folder is missing: run setup.yml first"
