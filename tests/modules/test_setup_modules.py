"""The modules of setup in four steps: check, run, check again, run again."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import boto3
import pytest
from ansible.module_utils.region_switch.setup import certificate as certificate_module
from botocore.config import Config
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from .conftest import HOSTED_ZONE_ID, AwsApi, validation_arn
from .modules import error_of, last_request, run_ok

REGION, OTHER = "us-east-1", "ap-northeast-1"
ATS = {region: f"a2labrehearsal-ats.iot.{region}.amazonaws.com" for region in (REGION, OTHER)}
DOCUMENT = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "iot:Connect", "Resource": "arn:aws:iot:us-east-1:123456789012:*"}],
}


def four_steps(aws_api: AwsApi, name: str, parameters: dict[str, Any]) -> dict[str, Any]:
    """Assert that a check writes nothing and foretells the run, and that a second run writes nothing."""
    before = last_request(aws_api)
    assert run_ok(name, parameters, check=True)["changed"]
    assert aws_api.writes(before) == []

    done = run_ok(name, parameters)
    assert done["changed"]
    after = last_request(aws_api)
    assert aws_api.writes(before)

    assert not run_ok(name, parameters, check=True)["changed"]
    assert not run_ok(name, parameters)["changed"]
    assert aws_api.writes(after) == []
    return done


def write_csr(folder: Path, name: str) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    csr = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    path = folder / f"{name}.csr"
    path.write_bytes(csr.public_bytes(serialization.Encoding.PEM))
    return path


def import_server_certificate(name: str, key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | None = None) -> str:
    key = key or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=30))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.ExtendedKeyUsage([x509.OID_SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    # ACM imports one certificate a second.
    patient = Config(retries={"mode": "standard", "total_max_attempts": 10})
    answer = boto3.client("acm", region_name=REGION, config=patient).import_certificate(
        Certificate=certificate.public_bytes(pem),
        PrivateKey=key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    )
    return str(answer["CertificateArn"])


def test_policy(aws_api: AwsApi) -> None:
    policy = {"region": REGION, "name": "fleet-device", "document": DOCUMENT}

    assert four_steps(aws_api, "iot_policy", policy)["arn"].endswith("policy/fleet-device")
    four_steps(aws_api, "iot_policy", {"region": REGION, "name": "fleet-device", "state": "absent"})


def test_policy_is_the_same_in_any_order_and_spacing(aws_api: AwsApi) -> None:
    text = json.dumps(DOCUMENT, indent=4, sort_keys=True)
    boto3.client("iot", region_name=REGION).create_policy(policyName="fleet-device", policyDocument=text)

    assert not run_ok("iot_policy", {"region": REGION, "name": "fleet-device", "document": DOCUMENT})["changed"]


def test_policy_keeps_room_for_versions(aws_api: AwsApi) -> None:
    iot = boto3.client("iot", region_name=REGION)
    for number in range(7):
        statement = [{**DOCUMENT["Statement"][0], "Sid": f"v{number}"}]
        document = {**DOCUMENT, "Statement": statement}
        assert run_ok("iot_policy", {"region": REGION, "name": "fleet-device", "document": document})["changed"]

    assert len(iot.list_policy_versions(policyName="fleet-device")["policyVersions"]) <= 5
    assert '"v6"' in iot.get_policy(policyName="fleet-device")["policyDocument"]


def test_thing_keeps_other_attributes(aws_api: AwsApi) -> None:
    boto3.client("iot", region_name=REGION).create_thing(
        thingName="client_01", attributePayload={"attributes": {"site": "tokyo"}}
    )
    thing = {"region": REGION, "name": "client_01", "attributes": {"mqtt_endpoint": "mqtt1.example.com"}}

    done = four_steps(aws_api, "iot_thing", thing)

    assert done["attributes"] == {"site": "tokyo", "mqtt_endpoint": "mqtt1.example.com"}
    four_steps(aws_api, "iot_thing", {"region": REGION, "name": "client_01", "state": "absent"})


def test_thing_is_made_with_attributes(aws_api: AwsApi) -> None:
    """CreateThing takes no merge, which UpdateThing needs."""
    attributes = {"site": "tokyo", "mqtt_endpoint": "mqtt1.example.com"}
    four_steps(aws_api, "iot_thing", {"region": REGION, "name": "client_01", "attributes": attributes})


@pytest.mark.parametrize(
    ("attributes", "says"),
    [
        ({"a": "1", "b": "2", "c": "3", "d": "4"}, "found 4 attributes (a, b, c, d), expected 3 at most without"),
        ({"site": "Zürich"}, "found attribute 'site' = 'Zürich', expected a name of 1 to 128 and a value of up to 800"),
    ],
)
def test_attributes_that_aws_does_not_take_are_said_first(
    aws_api: AwsApi, attributes: dict[str, str], says: str
) -> None:
    error = error_of("iot_thing", {"region": REGION, "name": "client_01", "attributes": attributes})

    assert error.startswith("thing client_01: found ")
    assert says in error
    assert aws_api.writes() == []


def test_attribute_that_would_be_one_too_many_is_said_first(aws_api: AwsApi) -> None:
    three = {"attributes": dict.fromkeys("abc", "1")}
    boto3.client("iot", region_name=REGION).create_thing(thingName="client_01", attributePayload=three)
    last = last_request(aws_api)
    thing = {"region": REGION, "name": "client_01", "attributes": {"mqtt_endpoint": "mqtt1.example.com"}}

    assert "found 4 attributes (a, b, c, mqtt_endpoint), expected 3" in error_of("iot_thing", thing)
    assert aws_api.writes(last) == []
    four_steps(aws_api, "iot_thing", {**thing, "attributes": {**thing["attributes"], "c": ""}})


def test_policy_that_is_too_long_is_said_first(aws_api: AwsApi) -> None:
    long = {**DOCUMENT, "Statement": [{**DOCUMENT["Statement"][0], "Resource": "r" * 2048}]}

    error = error_of("iot_policy", {"region": REGION, "name": "fleet-device", "document": long})

    assert error.startswith("policy fleet-device: found 21")
    assert "characters without white space, expected 2048 at most" in error
    assert aws_api.requests() == [] or aws_api.writes() == []


def test_empty_attribute_is_removed(aws_api: AwsApi) -> None:
    boto3.client("iot", region_name=REGION).create_thing(
        thingName="client_01", attributePayload={"attributes": {"site": "tokyo", "line": "7"}}
    )

    done = four_steps(aws_api, "iot_thing", {"region": REGION, "name": "client_01", "attributes": {"site": ""}})

    assert done["attributes"] == {"line": "7"}


def test_indexed_shadows_stay_indexed(aws_api: AwsApi) -> None:
    iot = boto3.client("iot", region_name=REGION)
    iot.update_indexing_configuration(thingIndexingConfiguration={"thingIndexingMode": "REGISTRY_AND_SHADOW"})
    modes = {"thing_indexing_mode": "REGISTRY", "thing_connectivity_indexing_mode": "STATUS"}

    done = four_steps(aws_api, "iot_indexing_configuration", {"region": REGION, **modes})

    assert done["thing_indexing_mode"] == "REGISTRY_AND_SHADOW"


def test_indexing(aws_api: AwsApi) -> None:
    modes = {"thing_indexing_mode": "REGISTRY", "thing_connectivity_indexing_mode": "STATUS"}
    four_steps(aws_api, "iot_indexing_configuration", {"region": REGION, **modes})


def test_certificate_is_the_same_in_every_region(aws_api: AwsApi, tmp_path: Path) -> None:
    for region in (REGION, OTHER):
        run_ok("iot_policy", {"region": region, "name": "fleet-device", "document": DOCUMENT})
        run_ok("iot_thing", {"region": region, "name": "client_01"})
    certificate = {
        "csr_path": str(write_csr(tmp_path, "client_01")),
        "certificate_path": str(tmp_path / "client_01.crt"),
        "policies": ["fleet-device"],
        "thing": "client_01",
    }

    issued = four_steps(aws_api, "iot_certificate", {"region": REGION, **certificate})
    registered = four_steps(aws_api, "iot_certificate", {"region": OTHER, **certificate})

    assert issued["certificate_id"] == registered["certificate_id"]
    assert issued["status"] == registered["status"] == "ACTIVE"
    four_steps(aws_api, "iot_certificate", {"region": OTHER, **certificate, "status": "INACTIVE"})
    four_steps(aws_api, "iot_certificate", {"region": OTHER, **certificate, "state": "absent"})


def test_certificate_of_another_key_is_refused(aws_api: AwsApi, tmp_path: Path) -> None:
    certificate = {"region": REGION, "certificate_path": str(tmp_path / "client_01.crt")}
    run_ok("iot_certificate", {**certificate, "csr_path": str(write_csr(tmp_path, "client_01"))})

    error = error_of("iot_certificate", {**certificate, "csr_path": str(write_csr(tmp_path, "client_02"))})

    assert "found another public key" in error
    assert "expected the same" in error


@pytest.mark.parametrize("content", [b"", b"not PEM", b"\xff\xfe"])
def test_file_that_holds_no_certificate_is_refused(aws_api: AwsApi, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "client_01.crt"
    path.write_bytes(content)

    error = error_of("iot_certificate", {"region": REGION, "certificate_path": str(path)})

    assert f"{path}: not a valid certificate in PEM" in error
    assert aws_api.requests() == []


def test_folder_in_the_place_of_a_certificate_is_refused(aws_api: AwsApi, tmp_path: Path) -> None:
    error = error_of("iot_certificate", {"region": REGION, "certificate_path": str(tmp_path)})

    assert f"{tmp_path}: cannot be read" in error


def test_no_certificate_is_issued_that_cannot_be_kept(aws_api: AwsApi, tmp_path: Path) -> None:
    csr, nowhere = write_csr(tmp_path, "client_01"), tmp_path / "missing" / "client_01.crt"

    error = error_of("iot_certificate", {"region": REGION, "csr_path": str(csr), "certificate_path": str(nowhere)})

    assert f"its folder {nowhere.parent} is missing" in error
    assert aws_api.writes() == []


def test_certificate_is_found_among_other_text(aws_api: AwsApi, tmp_path: Path) -> None:
    """As `openssl x509 -text` and files with a chain have it."""
    path = tmp_path / "client_01.crt"
    certificate = {"region": REGION, "certificate_path": str(path)}
    issued = run_ok("iot_certificate", {**certificate, "csr_path": str(write_csr(tmp_path, "client_01"))})
    path.write_text(f"Certificate:\n    Data: für\n{path.read_text()}{path.read_text()}", encoding="utf-8")

    registered = four_steps(aws_api, "iot_certificate", {**certificate, "region": OTHER})

    assert registered["certificate_id"] == issued["certificate_id"]
    described = boto3.client("iot", region_name=OTHER).describe_certificate(certificateId=issued["certificate_id"])
    assert described["certificateDescription"]["certificatePem"].startswith("-----BEGIN")


def test_certificate_is_deleted_once_aws_has_detached_it(
    aws_api: AwsApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Detaching a thing takes AWS seconds; until then the certificate is in conflict."""
    monkeypatch.setattr(certificate_module, "DETACH_INTERVAL", 0)
    certificate = {"region": REGION, "certificate_path": str(tmp_path / "client_01.crt")}
    run_ok("iot_certificate", {**certificate, "csr_path": str(write_csr(tmp_path, "client_01"))})
    conflict = {"operation": "DeleteCertificate", "kind": "error", "status": 409, "code": "DeleteConflictException"}
    aws_api.faults({**conflict, "times": 2})

    assert run_ok("iot_certificate", {**certificate, "state": "absent"})["changed"]
    assert boto3.client("iot", region_name=REGION).list_certificates()["certificates"] == []


def test_one_domain_configuration_per_second_is_enough_for_several(aws_api: AwsApi) -> None:
    for number in (1, 2):
        domain_name = f"mqtt{number}.example.com"
        arn = import_server_certificate(domain_name)
        certificates = {
            "server_certificate_arn": arn,
            "validation_certificate_arn": validation_arn(REGION, domain_name),
        }
        domain = {"region": REGION, "name": f"mqtt{number}", "domain_name": domain_name, **certificates}
        run_ok("iot_domain_configuration", domain)

    listed = boto3.client("iot", region_name=REGION).list_domain_configurations()["domainConfigurations"]
    assert {each["domainConfigurationName"] for each in listed} == {"mqtt1", "mqtt2"}


def test_domain_name_is_the_same_in_any_case(aws_api: AwsApi) -> None:
    domain = {
        "region": REGION,
        "name": "mqtt1-example-com",
        "domain_name": "mqtt1.example.com",
        "server_certificate_arn": import_server_certificate("mqtt1.example.com"),
        "validation_certificate_arn": validation_arn(REGION, "mqtt1.example.com"),
    }
    run_ok("iot_domain_configuration", domain)

    assert not run_ok("iot_domain_configuration", {**domain, "domain_name": "MQTT1.Example.com."})["changed"]


def test_domain_configuration(aws_api: AwsApi) -> None:
    domain = {
        "region": REGION,
        "name": "mqtt1-example-com",
        "domain_name": "mqtt1.example.com",
        "server_certificate_arn": import_server_certificate("mqtt1.example.com"),
        "validation_certificate_arn": validation_arn(REGION, "mqtt1.example.com"),
        "tls_security_policy": "IoTSecurityPolicy_TLS13_1_2_2022_10",
    }

    assert four_steps(aws_api, "iot_domain_configuration", domain)["status"] == "ENABLED"
    four_steps(aws_api, "iot_domain_configuration", {**domain, "status": "DISABLED"})
    # What somebody disabled stays so where nothing else is asked for.
    kept = run_ok("iot_domain_configuration", domain)
    assert (kept["changed"], kept["status"]) == (False, "DISABLED")
    four_steps(aws_api, "iot_domain_configuration", {**domain, "status": "ENABLED"})
    other = {**domain, "server_certificate_arn": import_server_certificate("mqtt1.example.com")}
    assert "AWS cannot change" in error_of("iot_domain_configuration", other)
    four_steps(aws_api, "iot_domain_configuration", {**domain, "state": "absent"})


def records(ttl: int = 0, mode: object = 1, domain: str = "example.com") -> dict[str, Any]:
    endpoints = [f"mqtt{number}.{domain}" for number in (1, 2)]
    return {
        "hosted_zone_id": HOSTED_ZONE_ID,
        "mode": mode,
        "modes": {number: dict.fromkeys(endpoints, region) for number, region in ((1, REGION), (3, OTHER))},
        "endpoints": endpoints,
        "regions": [REGION, OTHER],
        "ttl": ttl,
    }


def upsert(name: str, value: str) -> None:
    record = {"Name": name, "Type": "CNAME", "TTL": 0, "ResourceRecords": [{"Value": value}]}
    boto3.client("route53").change_resource_record_sets(
        HostedZoneId=HOSTED_ZONE_ID, ChangeBatch={"Changes": [{"Action": "UPSERT", "ResourceRecordSet": record}]}
    )


def test_records(aws_api: AwsApi) -> None:
    done = four_steps(aws_api, "route53_endpoint_records", records())

    assert set(done["records"].values()) == {ATS[REGION]}
    four_steps(aws_api, "route53_endpoint_records", records(ttl=60))


def test_zone_is_found_by_the_id_as_route_53_writes_it(aws_api: AwsApi) -> None:
    four_steps(aws_api, "route53_endpoint_records", {**records(), "hosted_zone_id": f"/hostedzone/{HOSTED_ZONE_ID}"})


def test_name_outside_the_zone_is_named(aws_api: AwsApi) -> None:
    error = error_of("route53_endpoint_records", records(domain="example.org"))

    assert "mqtt1.example.org. is not permitted in zone example.com." in error
    assert "someone else" not in error


def test_records_survive_a_busy_route_53(aws_api: AwsApi) -> None:
    """Route 53 answers 10 requests per second to a whole account, reads and writes."""
    for operation in ("ListResourceRecordSets", "ChangeResourceRecordSets"):
        aws_api.faults({"operation": operation, "kind": "throttle", "times": 1})
        run_ok("route53_endpoint_records", records(ttl=len(operation)))

    assert not run_ok("route53_endpoint_records", records(ttl=len("ChangeResourceRecordSets")))["changed"]


def test_unknown_zone_is_named(aws_api: AwsApi) -> None:
    assert "found NoSuchHostedZone" in error_of("route53_endpoint_records", {**records(), "hosted_zone_id": "ZNONE"})


def test_records_do_not_undo_a_move(aws_api: AwsApi) -> None:
    upsert("mqtt1.example.com", ATS[OTHER])

    done = four_steps(aws_api, "route53_endpoint_records", records())

    assert done["records"] == {"mqtt1.example.com": ATS[OTHER], "mqtt2.example.com": ATS[REGION]}


def test_record_that_points_elsewhere_is_refused(aws_api: AwsApi) -> None:
    upsert("mqtt1.example.com", "broker.example.net")

    assert "found broker.example.net, expected" in error_of("route53_endpoint_records", records())


@pytest.mark.parametrize("mode", [3, "3"])
def test_names_without_a_record_are_pointed_where_the_mode_says(aws_api: AwsApi, mode: object) -> None:
    done = run_ok("route53_endpoint_records", records(mode=mode))

    assert set(done["records"].values()) == {ATS[OTHER]}


@pytest.mark.parametrize(
    ("mode", "named"), [("3.7", "'3.7'"), (3.7, "3.7"), (True, "true"), ("", "nothing"), ("abc", "'abc'"), (9, "9")]
)
def test_mode_that_the_table_does_not_have_makes_no_record(aws_api: AwsApi, mode: object, named: str) -> None:
    error = error_of("route53_endpoint_records", records(mode=mode))

    assert error.startswith(f"mode: found {named}, expected one of 1, 3")
    assert aws_api.requests() == []
