"""Certificates, domain configurations, ACM and quotas of the stand-in, through boto3."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.modules.conftest import AwsApi

ONCE = Config(retries={"total_max_attempts": 1})
NAME = "mqtt1.example.com"


@pytest.fixture
def iot(aws_api: AwsApi) -> Any:
    return boto3.client("iot", config=ONCE)


@pytest.fixture
def acm(aws_api: AwsApi) -> Any:
    return boto3.client("acm", config=ONCE)


def _subject(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _server(name: str = NAME, usage: x509.ObjectIdentifier = ExtendedKeyUsageOID.SERVER_AUTH) -> dict[str, bytes]:
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
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
    return {"Certificate": pem, "PrivateKey": private, "CertificateChain": pem}


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


def test_acm_returns_the_chain_as_imported(acm: Any) -> None:
    given = _server()
    arn = acm.import_certificate(**given)["CertificateArn"]
    returned = acm.get_certificate(CertificateArn=arn)
    assert returned["CertificateChain"].strip() == given["CertificateChain"].decode().strip()
    assert returned["Certificate"].strip() == given["Certificate"].decode().strip()


def test_domain_configuration_is_kept_whole(acm: Any, iot: Any) -> None:
    arn = acm.import_certificate(**_server())["CertificateArn"]
    iot.create_domain_configuration(
        domainConfigurationName="mqtt1",
        domainName=NAME,
        serverCertificateArns=[arn],
        tlsConfig={"securityPolicy": "IoTSecurityPolicy_TLS12_1_2_2022_10"},
    )
    described = iot.describe_domain_configuration(domainConfigurationName="mqtt1")
    assert described["domainConfigurationStatus"] == "ENABLED"
    assert described["serverCertificates"] == [{"serverCertificateArn": arn, "serverCertificateStatus": "VALID"}]
    assert described["tlsConfig"] == {"securityPolicy": "IoTSecurityPolicy_TLS12_1_2_2022_10"}
    assert described["authenticationType"] == "DEFAULT"
    assert _code(acm.delete_certificate, CertificateArn=arn) == "ResourceInUseException"
    assert _code(iot.delete_domain_configuration, domainConfigurationName="mqtt1") == "InvalidRequestException"
    iot.update_domain_configuration(domainConfigurationName="mqtt1", domainConfigurationStatus="DISABLED")
    iot.delete_domain_configuration(domainConfigurationName="mqtt1")


def test_domain_configuration_tells_when_its_certificate_no_longer_fits(aws_api: AwsApi, acm: Any, iot: Any) -> None:
    aws_api.settings(quotas={"ImportCertificate": 100})
    arn = acm.import_certificate(**_server())["CertificateArn"]
    iot.create_domain_configuration(domainConfigurationName="mqtt1", domainName=NAME, serverCertificateArns=[arn])
    acm.import_certificate(**_server("elsewhere.example.com"), CertificateArn=arn)

    [served] = iot.describe_domain_configuration(domainConfigurationName="mqtt1")["serverCertificates"]

    assert served["serverCertificateStatus"] == "INVALID"
    assert "do not cover" in served["serverCertificateStatusDetail"]


@pytest.mark.parametrize(
    "server", [_server("other.example.com"), _server(NAME, ExtendedKeyUsageOID.CLIENT_AUTH)], ids=["name", "usage"]
)
def test_domain_configuration_needs_a_fitting_certificate(acm: Any, iot: Any, server: dict[str, bytes]) -> None:
    arn = acm.import_certificate(**server)["CertificateArn"]
    arguments = {"domainConfigurationName": "mqtt1", "domainName": NAME, "serverCertificateArns": [arn]}
    assert _code(iot.create_domain_configuration, **arguments) == "CertificateValidationException"


def test_domain_configuration_needs_an_existing_certificate(iot: Any) -> None:
    arn = "arn:aws:acm:us-east-1:123456789012:certificate/00000000-0000-0000-0000-000000000000"
    arguments = {"domainConfigurationName": "mqtt1", "domainName": NAME, "serverCertificateArns": [arn]}
    assert _code(iot.create_domain_configuration, **arguments) == "CertificateValidationException"


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
