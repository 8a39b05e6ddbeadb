"""Certificates, domain configurations, ACM and quotas of the stand-in, through boto3."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from lab.aws_api.service_quotas import DEFAULTS
from tests.modules.conftest import HOSTED_ZONE_ID, REGIONS, AwsApi, validation_arn
from tests.modules.mqtt_server import Authority

ONCE = Config(retries={"total_max_attempts": 1})
NAME = "mqtt1.example.com"


@pytest.fixture
def iot(aws_api: AwsApi) -> Any:
    return boto3.client("iot", config=ONCE)


@pytest.fixture
def acm(aws_api: AwsApi) -> Any:
    # One a second each otherwise.
    aws_api.settings(quotas={"ImportCertificate": 100, "CreateDomainConfiguration": 100})
    return boto3.client("acm", config=ONCE)


def _subject(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _server(
    name: str = NAME,
    usage: x509.ObjectIdentifier = ExtendedKeyUsageOID.SERVER_AUTH,
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | None = None,
) -> dict[str, bytes]:
    """What is imported of a self-signed certificate."""
    key, now = key or ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(_subject(name))
        .issuer_name(_subject(name))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=30))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return {"Certificate": pem, "PrivateKey": private}


def _domain(arn: str, region: str = REGIONS[0], **more: Any) -> dict[str, Any]:
    """The request for a domain configuration of NAME that serves a certificate of a private CA."""
    certificates = {"serverCertificateArns": [arn], "validationCertificateArn": validation_arn(region, NAME)}
    return {"domainConfigurationName": "mqtt1", "domainName": NAME, **certificates, **more}


def _code(call: Any, **arguments: object) -> str:
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    return str(caught.value.response["Error"]["Code"])


def test_csr_is_signed_for_its_own_key(iot: Any) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    csr = x509.CertificateSigningRequestBuilder().subject_name(_subject("client_01")).sign(key, hashes.SHA256())
    pem = csr.public_bytes(serialization.Encoding.PEM).decode()
    issued = iot.create_certificate_from_csr(certificateSigningRequest=pem, setAsActive=True)
    certificate = x509.load_pem_x509_certificate(issued["certificatePem"].encode())
    assert certificate.public_key() == key.public_key()
    der = certificate.public_bytes(serialization.Encoding.DER)
    assert issued["certificateId"] == hashlib.sha256(der).hexdigest()
    described = iot.describe_certificate(certificateId=issued["certificateId"])["certificateDescription"]
    assert described["status"] == "ACTIVE"


def test_certificate_is_registered_once_in_each_region(aws_api: AwsApi, iot: Any) -> None:
    pem = _server("client_01")["Certificate"].decode()
    first = iot.register_certificate_without_ca(certificatePem=pem, status="ACTIVE")
    assert _code(iot.register_certificate_without_ca, certificatePem=pem) == "ResourceAlreadyExistsException"
    other = boto3.client("iot", region_name="ap-northeast-1")
    second = other.register_certificate_without_ca(certificatePem=pem)
    assert second["certificateId"] == first["certificateId"]
    described = other.describe_certificate(certificateId=second["certificateId"])["certificateDescription"]
    assert described["status"] == "INACTIVE"


def test_active_certificate_is_not_deleted(iot: Any) -> None:
    pem = _server("client_01")["Certificate"].decode()
    identifier = iot.register_certificate_without_ca(certificatePem=pem, status="ACTIVE")["certificateId"]
    assert _code(iot.delete_certificate, certificateId=identifier) == "CertificateStateException"
    iot.update_certificate(certificateId=identifier, newStatus="INACTIVE")
    iot.delete_certificate(certificateId=identifier)
    assert _code(iot.describe_certificate, certificateId=identifier) == "ResourceNotFoundException"


def test_acm_returns_the_chain_as_imported(acm: Any, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    pair = authority.issue(NAME)
    given = {"Certificate": pair.certificate.read_bytes(), "PrivateKey": pair.key.read_bytes()}
    given["CertificateChain"] = authority.file.read_bytes()
    arn = acm.import_certificate(**given)["CertificateArn"]
    returned = acm.get_certificate(CertificateArn=arn)
    assert returned["CertificateChain"].strip() == given["CertificateChain"].decode().strip()
    assert returned["Certificate"].strip() == given["Certificate"].decode().strip()


def test_domain_configuration_is_kept_whole(acm: Any, iot: Any) -> None:
    arn = acm.import_certificate(**_server())["CertificateArn"]
    iot.create_domain_configuration(**_domain(arn, tlsConfig={"securityPolicy": "IoTSecurityPolicy_TLS12_1_2_2022_10"}))
    described = iot.describe_domain_configuration(domainConfigurationName="mqtt1")
    assert described["domainConfigurationStatus"] == "ENABLED"
    assert described["serverCertificates"] == [{"serverCertificateArn": arn, "serverCertificateStatus": "VALID"}]
    assert described["tlsConfig"] == {"securityPolicy": "IoTSecurityPolicy_TLS12_1_2_2022_10"}
    assert described["authenticationType"] == "DEFAULT"
    assert _code(acm.delete_certificate, CertificateArn=arn) == "ResourceInUseException"
    assert _code(iot.delete_domain_configuration, domainConfigurationName="mqtt1") == "InvalidRequestException"
    iot.update_domain_configuration(domainConfigurationName="mqtt1", domainConfigurationStatus="DISABLED")
    iot.delete_domain_configuration(domainConfigurationName="mqtt1")


def test_domain_configuration_tells_when_its_certificate_no_longer_fits(acm: Any, iot: Any) -> None:
    arn = acm.import_certificate(**_server())["CertificateArn"]
    iot.create_domain_configuration(**_domain(arn))
    acm.import_certificate(**_server("elsewhere.example.com"), CertificateArn=arn)

    [served] = iot.describe_domain_configuration(domainConfigurationName="mqtt1")["serverCertificates"]

    assert served["serverCertificateStatus"] == "INVALID"
    assert "do not cover" in served["serverCertificateStatusDetail"]


@pytest.mark.parametrize(
    "server", [_server("other.example.com"), _server(NAME, ExtendedKeyUsageOID.CLIENT_AUTH)], ids=["name", "usage"]
)
def test_domain_configuration_needs_a_fitting_certificate(acm: Any, iot: Any, server: dict[str, bytes]) -> None:
    arn = acm.import_certificate(**server)["CertificateArn"]
    assert _code(iot.create_domain_configuration, **_domain(arn)) == "CertificateValidationException"


def test_domain_configuration_needs_an_existing_certificate(iot: Any) -> None:
    arn = "arn:aws:acm:us-east-1:123456789012:certificate/00000000-0000-0000-0000-000000000000"
    assert _code(iot.create_domain_configuration, **_domain(arn)) == "CertificateValidationException"


def test_endpoint_and_quotas_are_the_region_s(iot: Any) -> None:
    endpoint = iot.describe_endpoint(endpointType="iot:Data-ATS")["endpointAddress"]
    assert endpoint == "a2labrehearsal-ats.iot.us-east-1.amazonaws.com"
    quotas = boto3.client("service-quotas")
    quota = quotas.get_service_quota(ServiceCode="iotcore", QuotaCode="L-6F708547")["Quota"]
    assert quota["Value"] == 100
    assert boto3.client("sts").get_caller_identity()["Account"] == "123456789012"


def test_state_is_forgotten_on_reset(aws_api: AwsApi, iot: Any) -> None:
    iot.create_thing(thingName="client_01")
    aws_api.reset()
    assert iot.list_things()["things"] == []
    assert aws_api.operations() == ["ListThings"]


def _public(acm: Any, name: str = NAME, **more: Any) -> tuple[str, dict[str, Any]]:
    """Request a public certificate, and return its ARN and the record that proves the name."""
    arn = acm.request_certificate(DomainName=name, ValidationMethod="DNS", **more)["CertificateArn"]
    described = acm.describe_certificate(CertificateArn=arn)["Certificate"]
    assert (described["Type"], described["Status"]) == ("AMAZON_ISSUED", "PENDING_VALIDATION")
    (option,) = described["DomainValidationOptions"]
    return arn, option["ResourceRecord"]


def _prove(record: dict[str, Any]) -> None:
    entry = {
        "Name": record["Name"],
        "Type": record["Type"],
        "TTL": 300,
        "ResourceRecords": [{"Value": record["Value"]}],
    }
    batch = {"Changes": [{"Action": "CREATE", "ResourceRecordSet": entry}]}
    boto3.client("route53").change_resource_record_sets(HostedZoneId=HOSTED_ZONE_ID, ChangeBatch=batch)


def test_public_certificate_is_issued_once_dns_proves_its_name(acm: Any, iot: Any) -> None:
    arn, record = _public(acm)
    request = {"domainConfigurationName": "mqtt1", "domainName": NAME, "serverCertificateArns": [arn]}
    assert _code(acm.get_certificate, CertificateArn=arn) == "RequestInProgressException"
    assert _code(iot.create_domain_configuration, **request) == "CertificateValidationException"

    _prove(record)

    assert acm.describe_certificate(CertificateArn=arn)["Certificate"]["Status"] == "ISSUED"
    # It needs no other to prove whose the name is.
    iot.create_domain_configuration(**request)
    [served] = iot.describe_domain_configuration(domainConfigurationName="mqtt1")["serverCertificates"]
    assert served["serverCertificateStatus"] == "VALID"
    assert _code(acm.import_certificate, CertificateArn=arn, **_server()) == "ValidationException"


def test_certificate_of_a_private_ca_needs_a_validation_certificate(acm: Any, iot: Any) -> None:
    arn = acm.import_certificate(**_server())["CertificateArn"]
    request = _domain(arn)
    pending, _ = _public(acm)
    elsewhere = validation_arn(REGIONS[1], NAME)
    of_another_name = validation_arn(REGIONS[0], "mqtt2.example.com")
    for refused in (None, arn, pending, elsewhere, of_another_name):
        given = {**request, "validationCertificateArn": refused}
        wrong = {key: value for key, value in given.items() if value is not None}
        assert _code(iot.create_domain_configuration, **wrong) == "CertificateValidationException"
    assert iot.list_domain_configurations()["domainConfigurations"] == []

    iot.create_domain_configuration(**request)


@pytest.mark.deviates("CreateDomainConfiguration domainConfigurationName")
@pytest.mark.parametrize("name", ["IoT:Jobs", "a b"])
def test_name_that_a_domain_configuration_cannot_have(acm: Any, iot: Any, name: str) -> None:
    arn = acm.import_certificate(**_server())["CertificateArn"]
    request = {**_domain(arn), "domainConfigurationName": name}
    assert _code(iot.create_domain_configuration, **request) == "InvalidRequestException"


def test_import_of_parts_that_do_not_belong_together(acm: Any) -> None:
    given, other = _server(), _server()
    assert _code(acm.import_certificate, **given | {"PrivateKey": other["PrivateKey"]}) == "ValidationException"
    assert _code(acm.import_certificate, **given, CertificateChain=other["Certificate"]) == "ValidationException"
    listed = acm.list_certificates(Includes={"keyTypes": ["EC_prime256v1"]})["CertificateSummaryList"]
    assert {each["Type"] for each in listed} == {"AMAZON_ISSUED"}


def test_reimport_keeps_the_key_type(acm: Any) -> None:
    arn = acm.import_certificate(**_server())["CertificateArn"]
    rsa_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    assert _code(acm.import_certificate, CertificateArn=arn, **_server(key=rsa_key)) == "ValidationException"
    acm.import_certificate(CertificateArn=arn, **_server())


def test_list_without_key_types_is_of_rsa_keys(acm: Any) -> None:
    rsa_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    arns = [acm.import_certificate(**_server(key=key))["CertificateArn"] for key in (None, rsa_key)]
    assert [each["CertificateArn"] for each in acm.list_certificates()["CertificateSummaryList"]] == arns[1:]
    of_curves = acm.list_certificates(Includes={"keyTypes": ["EC_prime256v1"]})["CertificateSummaryList"]
    assert arns[0] in [each["CertificateArn"] for each in of_curves]
    assert arns[1] not in [each["CertificateArn"] for each in of_curves]


@pytest.mark.deviates("ListThings maxResults", "ListCertificates MaxItems")
def test_lists_are_read_a_page_at_a_time(aws_api: AwsApi, acm: Any, iot: Any) -> None:
    names = [f"client_{number}" for number in range(30)]
    for name in names:
        iot.create_thing(thingName=name)
    first = iot.list_things()
    assert len(first["things"]) == 25
    assert len(iot.list_things(nextToken=first["nextToken"])["things"]) == 5
    assert len(iot.list_things(maxResults=30)["things"]) == 30
    assert _code(iot.list_things, maxResults=251) == "InvalidRequestException"
    assert _code(iot.list_things, nextToken="25") == "InvalidRequestException"
    assert _code(iot.list_certificates, marker=first["nextToken"]) == "InvalidRequestException"

    aws_api.settings(page_size=2)
    pages = list(iot.get_paginator("list_things").paginate(maxResults=250))
    assert [each["thingName"] for page in pages for each in page["things"]] == names
    assert len(pages) == 15
    kinds = {"keyTypes": ["EC_prime256v1"]}
    pages = list(acm.get_paginator("list_certificates").paginate(Includes=kinds))
    assert [len(page["CertificateSummaryList"]) for page in pages] == [2, 1]
    assert _code(acm.list_certificates, MaxItems=1001) == "ValidationException"
    quotas = boto3.client("service-quotas").get_paginator("list_service_quotas")
    pages = list(quotas.paginate(ServiceCode="iotcore"))
    assert len(pages) > 1
    assert sum(len(page["Quotas"]) for page in pages) == len(DEFAULTS)


@pytest.mark.deviates("CreateThing thingName")
def test_thing_is_made_without_merge_and_with_three_attributes(iot: Any) -> None:
    make, change = iot.create_thing, iot.update_thing
    merge = {"attributes": {"a": "1"}, "merge": True}
    assert _code(make, thingName="client_01", attributePayload=merge) == "InvalidRequestException"
    four = {"attributes": dict.fromkeys("abcd", "1")}
    assert _code(make, thingName="client_01", attributePayload=four) == "InvalidRequestException"
    assert _code(make, thingName="client 01") == "InvalidRequestException"
    make(thingName="client_01", attributePayload={"attributes": dict.fromkeys("abc", "1")})
    fourth = {"attributes": {"d": "1"}, "merge": True}
    assert _code(change, thingName="client_01", attributePayload=fourth) == "InvalidRequestException"
    change(thingName="client_01", attributePayload={"attributes": {"c": "", "d": "1"}, "merge": True})
    assert iot.describe_thing(thingName="client_01")["attributes"] == dict.fromkeys("abd", "1")


@pytest.mark.deviates("CreatePolicy policyName")
def test_policy_document_is_read(iot: Any) -> None:
    good = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "iot:Connect", "Resource": "*"}]}
    bad = json.dumps({**good, "Statement": [{**good["Statement"][0], "Action": "iot:Conect"}]})
    assert _code(iot.create_policy, policyName="device", policyDocument=bad) == "MalformedPolicyException"
    assert _code(iot.create_policy, policyName="a/b", policyDocument=json.dumps(good)) == "InvalidRequestException"
    iot.create_policy(policyName="device", policyDocument=json.dumps(good))
    assert _code(iot.create_policy_version, policyName="device", policyDocument=bad) == "MalformedPolicyException"


def test_certificate_has_ten_policies_at_most(iot: Any) -> None:
    pem = _server("client_01")["Certificate"].decode()
    target = iot.register_certificate_without_ca(certificatePem=pem)["certificateArn"]
    good = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "iot:Connect", "Resource": "*"}]}
    for number in range(11):
        iot.create_policy(policyName=f"p{number}", policyDocument=json.dumps(good))
    for number in range(10):
        iot.attach_policy(policyName=f"p{number}", target=target)
    iot.attach_policy(policyName="p0", target=target)
    assert _code(iot.attach_policy, policyName="p10", target=target) == "LimitExceededException"


def test_each_operation_is_throttled(aws_api: AwsApi, iot: Any) -> None:
    aws_api.settings(every_quota=True)
    iot.update_indexing_configuration(thingIndexingConfiguration={"thingIndexingMode": "REGISTRY"})
    again = {"thingIndexingConfiguration": {"thingIndexingMode": "REGISTRY"}}
    assert _code(iot.update_indexing_configuration, **again) == "ThrottlingException"
