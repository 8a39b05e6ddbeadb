"""The endpoints' server certificates: made, renewed and imported, and whose they are."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml
from ansible.module_utils.region_switch.setup import acm as acm_module
from botocore.config import Config
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from .conftest import PUBLIC_NAMES, REGIONS, REPOSITORY, AwsApi, validation_arn
from .modules import last_request, run

ENDPOINTS = ["mqtt1.example.com", "mqtt2.example.com"]
FIRST, SECOND = ENDPOINTS
HOME, OTHER = REGIONS
PEM = serialization.Encoding.PEM
# ACM imports one certificate a second.
PATIENT = Config(retries={"mode": "standard", "total_max_attempts": 10})
Pair = tuple[x509.Certificate, ec.EllipticCurvePrivateKey]


@cache
def acm(region: str = HOME) -> Any:
    return boto3.client("acm", region_name=region, config=PATIENT)


@cache
def iot(region: str = HOME) -> Any:
    return boto3.client("iot", region_name=region, config=PATIENT)


def days(count: float) -> dt.timedelta:
    return dt.timedelta(days=count)


def certificate(
    name: str,
    issuer: Pair | None = None,
    begins: float = -1,
    ends: float = 800,
    key: ec.EllipticCurvePrivateKey | None = None,
) -> Pair:
    """A certificate for a name of this issuer, else a CA; it begins and ends so many days from now."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    builder = x509.CertificateBuilder().subject_name(subject).public_key(key.public_key())
    builder = builder.issuer_name(issuer[0].subject if issuer else subject)
    builder = builder.serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(now + days(begins)).not_valid_after(now + days(ends))
    builder = builder.add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
    if issuer:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        builder = builder.add_extension(x509.ExtendedKeyUsage([x509.OID_SERVER_AUTH]), critical=False)
        usage = x509.KeyUsage(True, False, False, False, False, False, False, False, False)
        builder = builder.add_extension(usage, critical=True)
    return builder.sign(issuer[1] if issuer else key, hashes.SHA256()), key


def pem(pair: Pair) -> str:
    return pair[0].public_bytes(PEM).decode()


def key_pem(pair: Pair) -> str:
    return pair[1].private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()).decode()


def given(endpoint: str, pair: Pair, authority: Pair) -> dict[str, str]:
    return {"endpoint": endpoint, "certificate": pem(pair), "chain": pem(authority), "private_key": key_pem(pair)}


@dataclass
class Checkout:
    """A folder of certificates with its inventory."""

    folder: Path
    options: dict[str, Any]

    def make(self, check: bool = False) -> dict[str, Any]:
        """What role pki runs."""
        own = self.options.get("arns", {})
        regions = [{"name": region, "server_certificate_arns": own.get(region, {})} for region in REGIONS]
        return run("server_certificates", {**self._parameters("ca_private_key"), "regions": regions}, check)

    def bring(self, region: str = HOME, check: bool = False) -> dict[str, Any]:
        """What role iot_region runs: the import, then the domain configurations."""
        own = self.options.get("arns", {}).get(region, {})
        parameters = {**self._parameters(), "region": region, "server_certificate_arns": own}
        done = run("acm_server_certificates", parameters, check)
        if done.get("failed"):
            return done
        parts = [done]
        for each in done["certificates"]:
            domain = {
                "domain_name": each["endpoint"],
                "name": each["endpoint"].replace(".", "-"),
                "validation_certificate_arn": validation_arn(region, each["endpoint"]),
            }
            arn = {"server_certificate_arn": each["arn"]} if each["arn"] else {}
            parts.append(
                run("iot_domain_configuration", {**domain, **arn, "region": region, "update": each["own"]}, check)
            )
        assert not [part["msg"] for part in parts if part.get("failed")]
        return {"changed": any(part["changed"] for part in parts), "warnings": told(*parts)}

    def set_up(self) -> dict[str, Any]:
        parts = [self.make()]
        if not parts[0].get("failed"):
            parts += [self.bring(region) for region in REGIONS]
        if failed := [part for part in parts if part.get("failed")]:
            return {"failed": True, "msg": failed[0]["msg"]}
        return {"changed": any(part["changed"] for part in parts), "warnings": told(*parts)}

    def _parameters(self, *more: str) -> dict[str, Any]:
        names = ("server_certificates", "ca_certificate", *more)
        making = ("server_not_after", "ca_not_after", "renew_days", "ca_private_key_passphrase", "key_type")
        names = (*names, *(making if more else ()))
        chosen = {name: self.options[name] for name in names if name in self.options}
        return {"directory": str(self.folder), "endpoints": ENDPOINTS, "ca_common_name": "MQTT fleet CA", **chosen}


def told(*parts: dict[str, Any]) -> list[str]:
    lines = [line for part in parts for line in part.get("warnings", [])]
    return [line if isinstance(line, str) else str(line["event"]["msg"]) for line in lines]


Make = Callable[..., Checkout]


@pytest.fixture
def checkout(aws_api: AwsApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Makes checkouts, each with a folder of its own."""
    monkeypatch.setattr(acm_module, "IMPORT_INTERVAL", 0.01)
    hurried = ("ImportCertificate", "CreateDomainConfiguration", "DescribeDomainConfiguration")
    aws_api.settings(quotas=dict.fromkeys(hurried, 1000.0))
    return lambda name="certs", **options: Checkout(tmp_path / name, options)


def files(folder: Path) -> dict[str, str]:
    """Every file with the hash of its content, its mode and when it was changed."""
    found = {}
    for path in sorted(folder.rglob("*")):
        state = path.stat()
        content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        found[str(path)] = f"{content} {state.st_mode:o} {state.st_mtime_ns} {state.st_ino}"
    return found


def served(endpoint: str, region: str = HOME) -> x509.Certificate:
    arn = configuration(endpoint, region)["serverCertificates"][0]["serverCertificateArn"]
    return x509.load_pem_x509_certificate(acm(region).get_certificate(CertificateArn=arn)["Certificate"].encode())


def configuration(endpoint: str, region: str = HOME) -> dict[str, Any]:
    pages = iot(region).get_paginator("list_domain_configurations").paginate()
    names = [each["domainConfigurationName"] for page in pages for each in page["domainConfigurations"]]
    described = [iot(region).describe_domain_configuration(domainConfigurationName=name) for name in names]
    (found,) = [each for each in described if each["domainName"] == endpoint]
    found.pop("ResponseMetadata")
    return dict(found)


def put(pair: Pair, chain: Pair, region: str = HOME, arn: str | None = None, name_tag: str | None = None) -> str:
    """Import a certificate as an operator does."""
    more: dict[str, Any] = {"CertificateArn": arn} if arn else {}
    if name_tag:
        more["Tags"] = [{"Key": "Name", "Value": name_tag}]
    answer = acm(region).import_certificate(
        Certificate=pem(pair).encode(), PrivateKey=key_pem(pair).encode(), CertificateChain=pem(chain).encode(), **more
    )
    return str(answer["CertificateArn"])


def serve(name: str, endpoint: str, arn: str, region: str = HOME, **settings: Any) -> None:
    validation = validation_arn(region, endpoint) if endpoint in PUBLIC_NAMES else public(endpoint, region)
    iot(region).create_domain_configuration(
        domainConfigurationName=name,
        domainName=endpoint,
        serverCertificateArns=[arn],
        validationCertificateArn=validation,
        **settings,
    )


def public(name: str, region: str = HOME) -> str:
    """Request a public certificate, and prove by DNS that the name is ours."""
    arn = str(acm(region).request_certificate(DomainName=name, ValidationMethod="DNS")["CertificateArn"])
    described = acm(region).describe_certificate(CertificateArn=arn)["Certificate"]
    (option,) = described["DomainValidationOptions"]
    record = option["ResourceRecord"]
    entry = {**record, "TTL": 300, "ResourceRecords": [{"Value": record["Value"]}]}
    entry.pop("Value")
    route53 = boto3.client("route53")
    zone = route53.create_hosted_zone(Name=name, CallerReference=name)["HostedZone"]["Id"]
    changes = [{"Action": "UPSERT", "ResourceRecordSet": entry}]
    route53.change_resource_record_sets(HostedZoneId=zone, ChangeBatch={"Changes": changes})
    return arn


def imported(region: str) -> list[dict[str, Any]]:
    """What ACM lists of imported certificates with P-256 keys."""
    listed = acm(region).list_certificates(Includes={"keyTypes": ["EC_prime256v1"]})["CertificateSummaryList"]
    return [each for each in listed if each["Type"] == "IMPORTED"]


def account(aws_api: AwsApi) -> str:
    """All that ACM and IoT have, as one text."""
    state = []
    for region in REGIONS:
        arns = [
            each["CertificateArn"]
            for each in acm(region).list_certificates(Includes={"keyTypes": list(acm_module.KEY_TYPES)})[
                "CertificateSummaryList"
            ]
        ]
        state += [acm(region).get_certificate(CertificateArn=arn)["Certificate"] for arn in arns]
        state += [json.dumps(acm(region).list_tags_for_certificate(CertificateArn=arn)["Tags"]) for arn in arns]
        for each in iot(region).list_domain_configurations()["domainConfigurations"]:
            described = iot(region).describe_domain_configuration(
                domainConfigurationName=each["domainConfigurationName"]
            )
            described.pop("ResponseMetadata")
            state.append(json.dumps(described, default=str, sort_keys=True))
    return "\n".join(state)


def refused(done: dict[str, Any]) -> str:
    """The one line of a refusal."""
    assert done.get("failed"), done
    assert "\n" not in done["msg"]
    assert "Traceback" not in done["msg"]
    return str(done["msg"])


def test_setup_makes_what_is_missing_once(aws_api: AwsApi, checkout: Make) -> None:
    own = checkout()
    assert own.make(check=True)["changed"]
    assert own.bring(check=True)["changed"]
    assert not own.folder.exists()
    assert aws_api.writes() == []

    done = own.set_up()

    assert (done["changed"], done["warnings"]) == (True, [])
    authority = x509.load_pem_x509_certificate((own.folder / "ca.crt").read_bytes())
    for endpoint in ENDPOINTS:
        for region in REGIONS:
            served(endpoint, region).verify_directly_issued_by(authority)
            assert served(endpoint, region).public_bytes(PEM) == (own.folder / f"{endpoint}.crt").read_bytes()
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in own.folder.iterdir()}
    assert {mode for name, mode in modes.items() if name.endswith(".key")} == {0o600}
    last, state = last_request(aws_api), files(own.folder)
    assert own.set_up() == {"changed": False, "warnings": []}
    assert (aws_api.writes(last), files(own.folder)) == ([], state)


def test_lists_that_come_a_page_at_a_time_are_read_to_their_end(aws_api: AwsApi, checkout: Make) -> None:
    aws_api.settings(page_size=1)
    own = checkout()
    own.make()
    own.bring()
    # Imported, and not served yet: it is found in ACM's list.
    name = configuration(SECOND)["domainConfigurationName"]
    iot().update_domain_configuration(domainConfigurationName=name, domainConfigurationStatus="DISABLED")
    iot().delete_domain_configuration(domainConfigurationName=name)
    last = last_request(aws_api)

    assert own.bring()["changed"]

    assert aws_api.writes(last) == ["CreateDomainConfiguration"]
    assert aws_api.operations(last).count("ListCertificates") > 2


@pytest.mark.parametrize("name", ["ca.crt", "ca.key", f"{FIRST}.crt", f"{FIRST}.key"])
def test_file_of_the_operator_is_never_written_over(aws_api: AwsApi, checkout: Make, name: str) -> None:
    own, authority = checkout(), certificate("Example Corp Issuing CA")
    own.folder.mkdir()
    pair = authority if name.startswith("ca") else certificate(FIRST, authority)
    (own.folder / name).write_text(pem(pair) if name.endswith(".crt") else key_pem(pair))
    state = files(own.folder)

    error = refused(own.set_up())

    assert error.startswith(f"{own.folder / name}: found ")
    assert " that setup.yml did not make: name your own in pki_" in error
    assert files(own.folder) == state
    assert aws_api.writes() == []


def test_operators_whole_folder_stays_also_where_setup_had_made_another(aws_api: AwsApi, checkout: Make) -> None:
    """Files that take the place of setup's own are the operator's, whatever the folder has beside them."""
    own = checkout()
    own.set_up()
    authority = certificate("MQTT fleet CA")
    for name, pair in {"ca": authority, FIRST: certificate(FIRST, authority, ends=5)}.items():
        (own.folder / f"{name}.crt").write_text(pem(pair))
        (own.folder / f"{name}.key").write_text(key_pem(pair))
    state, before = files(own.folder), account(aws_api)

    error = refused(own.set_up())

    assert "ca.crt: found a certificate of CN=MQTT fleet CA that setup.yml did not make" in error
    assert (files(own.folder), account(aws_api)) == (state, before)


def test_second_checkout_makes_no_second_ca(aws_api: AwsApi, checkout: Make) -> None:
    checkout().set_up()
    state, second = account(aws_api), checkout("second")

    error = refused(second.set_up())

    arn = configuration(FIRST)["serverCertificates"][0]["serverCertificateArn"]
    assert f"{FIRST} in {HOME} ({arn}), " in error
    assert f"found a certificate of CN=MQTT fleet CA, while {second.folder} has no CA" in error
    assert "provide the certs folder it was set up with, or name its CA in pki_ca_certificate" in error
    assert not second.folder.exists()
    assert account(aws_api) == state
    # Nor with --limit to a region, where role pki does not run.
    assert "has no CA" in refused(second.bring(OTHER))
    assert account(aws_api) == state


def test_checkout_with_a_ca_of_its_own_takes_no_region_that_serves_another(aws_api: AwsApi, checkout: Make) -> None:
    first, second = checkout(), checkout("second")
    second.set_up()
    for region in REGIONS:
        for endpoint in ENDPOINTS:
            name = configuration(endpoint, region)["domainConfigurationName"]
            iot(region).update_domain_configuration(domainConfigurationName=name, domainConfigurationStatus="DISABLED")
            iot(region).delete_domain_configuration(domainConfigurationName=name)
        for each in imported(region):
            acm(region).delete_certificate(CertificateArn=each["CertificateArn"])
    first.set_up()
    state, mine = account(aws_api), files(second.folder)

    for error in (refused(second.set_up()), refused(second.bring(OTHER))):
        assert "found a certificate of another CA (CN=MQTT fleet CA)" in error
        assert "bring the ca.crt and ca.key that it was set up with into certs_directory" in error
    assert (account(aws_api), files(second.folder)) == (state, mine)


def test_copied_folder_is_the_same_inventory(aws_api: AwsApi, checkout: Make, tmp_path: Path) -> None:
    first, second = checkout(), checkout("second")
    first.set_up()
    second.folder.mkdir()
    for path in first.folder.iterdir():
        (second.folder / path.name).write_bytes(path.read_bytes())

    assert second.set_up() == {"changed": False, "warnings": []}


@pytest.mark.parametrize("served_by", [None, "fleet-custom-domain"])
def test_operators_certificate_in_acm_stays(aws_api: AwsApi, checkout: Make, served_by: str | None) -> None:
    authority = certificate("Example Corp Issuing CA")
    arn = put(certificate(FIRST, authority), authority, name_tag=FIRST)
    if served_by:
        serve(served_by, FIRST, arn)
    own, state = checkout(), account(aws_api)

    error = refused(own.set_up())

    assert f"{FIRST} in {HOME} ({arn}): found a certificate of CN=Example Corp Issuing CA" in error
    assert "set iot_region_server_certificate_arns in host_vars/<region>.yml to its ARN" in error
    assert not own.folder.exists()
    assert account(aws_api) == state

    # The way on: nothing is imported for it there, and the other region gets one of setup's.
    own.options["arns"] = {HOME: {FIRST: arn}}
    assert own.set_up() == {"changed": True, "warnings": []}
    assert served(FIRST) == certificate_in_acm(arn)
    assert configuration(FIRST)["domainConfigurationName"] == (served_by or "mqtt1-example-com")
    assert own.set_up() == {"changed": False, "warnings": []}


def certificate_in_acm(arn: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate(acm().get_certificate(CertificateArn=arn)["Certificate"].encode())


@pytest.mark.parametrize(
    ("arn", "says"),
    [
        ("arn:aws:acm:{other}:123456789012:certificate/1", "expected the ARN of an ACM certificate in us-east-1"),
        ("arn:aws:acm:{home}:123456789012:certificate/1", "which ACM does not have, expected one that it has"),
    ],
)
def test_arn_that_cannot_serve_is_said_first(aws_api: AwsApi, checkout: Make, arn: str, says: str) -> None:
    own = checkout(arns={HOME: {FIRST: arn.format(home=HOME, other=OTHER)}})

    error = refused(own.set_up())

    assert error.startswith(f"iot_region_server_certificate_arns of {FIRST} in {HOME}: found ")
    assert says in error
    assert not own.folder.exists()
    assert aws_api.writes() == []


def test_certificate_without_a_name_in_acm_stops_nothing(aws_api: AwsApi, checkout: Make) -> None:
    nameless = certificate("unused")
    key = ec.generate_private_key(ec.SECP256R1())
    now = dt.datetime.now(dt.UTC)
    empty = x509.Name([])
    builder = (
        x509.CertificateBuilder().subject_name(empty).issuer_name(nameless[0].subject).public_key(key.public_key())
    )
    builder = builder.serial_number(1).not_valid_before(now - days(1)).not_valid_after(now + days(9))
    put((builder.sign(nameless[1], hashes.SHA256()), key), nameless)
    summaries = acm().list_certificates(Includes={"keyTypes": ["EC_prime256v1"]})["CertificateSummaryList"]
    assert [each for each in summaries if "DomainName" not in each]

    assert checkout().set_up()["changed"]


def test_public_validation_certificate_is_nobodys_server_certificate(aws_api: AwsApi, checkout: Make) -> None:
    acm().request_certificate(DomainName=FIRST, Tags=[{"Key": "Name", "Value": FIRST}])

    assert checkout().set_up()["changed"]


def test_domain_configuration_of_another_name_is_taken_as_it_is(aws_api: AwsApi, checkout: Make) -> None:
    own = checkout()
    own.make()
    own.bring(OTHER)
    authority = x509.load_pem_x509_certificate((own.folder / "ca.crt").read_bytes()), load_key(own.folder / "ca.key")
    issued = x509.load_pem_x509_certificate((own.folder / f"{FIRST}.crt").read_bytes())
    arn = put((issued, load_key(own.folder / f"{FIRST}.key")), authority, name_tag=FIRST)
    policy = {"securityPolicy": "IoTSecurityPolicy_TLS12_1_2_2022_10"}
    serve("fleet-custom-domain", FIRST, arn, tlsConfig=policy)
    state = configuration(FIRST)

    done = run(
        "iot_domain_configuration",
        {
            "region": HOME,
            "name": "mqtt1-example-com",
            "domain_name": "MQTT1.example.com.",
            "server_certificate_arn": arn,
            "tls_security_policy": "IoTSecurityPolicy_TLS13_1_2_2022_10",
        },
    )

    assert (done["changed"], done["name"]) == (False, "fleet-custom-domain")
    (line,) = told(done)
    assert line.startswith(
        "domain configuration fleet-custom-domain in us-east-1: its tls security policy is IoTSecurity"
    )
    assert own.set_up()["changed"]
    assert own.set_up() == {"changed": False, "warnings": []}
    assert configuration(FIRST) == state


def load_key(path: Path) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(path.read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return key


def test_domain_configuration_of_setups_name_for_another_domain_is_said_first(aws_api: AwsApi, checkout: Make) -> None:
    authority = certificate("Example Corp Issuing CA")
    serve("mqtt1-example-com", "mqtt1.example-com", put(certificate("mqtt1.example-com", authority), authority))
    own, state = checkout(), account(aws_api)

    error = refused(own.set_up())

    assert error.startswith(
        "domain configuration mqtt1-example-com in us-east-1: found one of mqtt1.example-com, expected"
    )
    assert not own.folder.exists()
    assert account(aws_api) == state


def test_certificate_that_ends_soon_is_renewed_with_its_key(aws_api: AwsApi, checkout: Make) -> None:
    own = checkout(server_not_after="+5d")
    own.set_up()
    old = served(FIRST)
    # A renewal that would end no later is none, and told.
    again = own.set_up()
    assert not again["changed"]
    assert "a new one would end no later" in again["warnings"][0]

    del own.options["server_not_after"]
    assert own.make(check=True)["changed"]
    assert own.set_up() == {"changed": True, "warnings": []}

    for region in REGIONS:
        new = served(FIRST, region)
        assert new.not_valid_after_utc - dt.datetime.now(dt.UTC) > days(800)
        assert new.public_key() == old.public_key()
    last, state = last_request(aws_api), files(own.folder)
    assert own.set_up() == {"changed": False, "warnings": []}
    assert (aws_api.writes(last), files(own.folder)) == ([], state)


def test_certificate_with_days_enough_is_not_renewed(aws_api: AwsApi, checkout: Make) -> None:
    own = checkout(server_not_after="+100d")
    own.set_up()
    del own.options["server_not_after"]

    assert not own.set_up()["changed"]
    own.options["renew_days"] = 101
    assert own.set_up()["changed"]


def test_folder_of_the_release_before_is_setups_own(aws_api: AwsApi, checkout: Make) -> None:
    """It has no list of public keys, and what was imported has no tag but Name."""
    own = checkout(server_not_after="+5d")
    own.set_up()
    forget_marks(own.folder)

    assert not own.set_up()["changed"]
    assert not (own.folder / "made-by-setup.json").exists()
    del own.options["server_not_after"]
    assert own.set_up() == {"changed": True, "warnings": []}
    assert served(FIRST, OTHER).not_valid_after_utc - dt.datetime.now(dt.UTC) > days(800)
    assert own.set_up() == {"changed": False, "warnings": []}


def forget_marks(folder: Path) -> None:
    key = load_key(folder / "ca.key")
    request = x509.CertificateSigningRequestBuilder().subject_name(
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "MQTT fleet CA")])
    )
    (folder / "ca.csr").write_bytes(request.sign(key, hashes.SHA256()).public_bytes(PEM))
    (folder / "made-by-setup.json").unlink()
    for region in REGIONS:
        for each in imported(region):
            tag = {"Key": acm_module.TAG}
            acm(region).remove_tags_from_certificate(CertificateArn=each["CertificateArn"], Tags=[tag])


@pytest.mark.parametrize(("begins", "ends"), [(-1.0, 900), (-0.01, 300)], ids=["lasts longer", "was issued later"])
def test_certificate_that_the_operator_renewed_in_acm_is_left(
    aws_api: AwsApi, checkout: Make, begins: float, ends: float
) -> None:
    own = checkout()
    own.set_up()
    authority = x509.load_pem_x509_certificate((own.folder / "ca.crt").read_bytes()), load_key(own.folder / "ca.key")
    renewed = certificate(FIRST, authority, begins, ends, load_key(own.folder / f"{FIRST}.key"))
    put(renewed, authority, arn=configuration(FIRST)["serverCertificates"][0]["serverCertificateArn"])
    state = account(aws_api)

    done = own.set_up()

    assert not done["changed"]
    (line,) = done["warnings"]
    assert line.startswith(f"{FIRST} in {HOME} (arn:aws:acm:")
    assert f"serial {renewed[0].serial_number:x}" in line
    assert "is not older, and is left as it is" in line
    assert account(aws_api) == state
    # Nor is one that setup has just made, where it ends earlier.
    (own.folder / f"{FIRST}.crt").unlink()
    own.options["server_not_after"] = "+200d"
    assert own.set_up()["changed"]
    assert served(FIRST) == renewed[0]


def test_ended_certificate_in_acm_is_replaced(aws_api: AwsApi, checkout: Make) -> None:
    own = checkout()
    own.set_up()
    good = served(FIRST)
    authority = x509.load_pem_x509_certificate((own.folder / "ca.crt").read_bytes()), load_key(own.folder / "ca.key")
    arn = configuration(FIRST)["serverCertificates"][0]["serverCertificateArn"]
    put(certificate("elsewhere.example.com", authority, ends=900), authority, arn=arn)

    found = own.set_up()
    assert found["changed"]
    # AWS IoT goes on with one of another name, should it have taken it up.
    assert [each.split(": ")[0].split(" (")[0] for each in found["warnings"]] == [f"{FIRST} in {REGIONS[0]}"]
    assert served(FIRST) == good


def test_own_server_certificates_come_from_variables(aws_api: AwsApi, checkout: Make) -> None:
    authority = certificate("Example Corp Issuing CA")
    pairs = {endpoint: certificate(endpoint, authority) for endpoint in ENDPOINTS}
    own = checkout(server_certificates=[given(endpoint, pair, authority) for endpoint, pair in pairs.items()])

    assert own.set_up() == {"changed": True, "warnings": []}
    assert served(FIRST, OTHER) == pairs[FIRST][0]
    # Neither a CA nor keys are made.
    assert not own.folder.exists()
    assert own.set_up() == {"changed": False, "warnings": []}

    later = certificate(FIRST, authority, -0.5, 900)
    own.options["server_certificates"][0] = given(FIRST, later, authority)
    assert own.set_up() == {"changed": True, "warnings": []}
    assert served(FIRST) == served(FIRST, OTHER) == later[0]
    own.options["server_certificates"][0] = given(FIRST, pairs[FIRST], authority)
    older = own.set_up()
    assert (older["changed"], len(older["warnings"])) == (False, 2)
    assert served(FIRST) == later[0]


def test_own_server_certificate_is_not_imported_over_setups(aws_api: AwsApi, checkout: Make) -> None:
    own = checkout()
    own.set_up()
    authority = certificate("Example Corp Issuing CA")
    pair = certificate(FIRST, authority, -0.01, 900)
    own.options["server_certificates"] = [given(FIRST, pair, authority)]
    state = account(aws_api)

    assert "that setup.yml did not import from pki_server_certificates" in refused(own.set_up())
    assert account(aws_api) == state


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"private_key": key_pem(certificate("other"))}, "the private key does not belong to the certificate"),
        ({"private_key": "no key at all"}, "not a readable private key"),
        ({"certificate": "no certificate"}, "not a valid certificate in PEM"),
        ({"endpoint": "mqtt9.example.com"}, f"not an endpoint of the inventory, expected one of {FIRST}, {SECOND}"),
        ({"endpoint": SECOND}, f"found a certificate for {FIRST}, expected one for {SECOND}"),
        ({"chain": pem(certificate("other"))}, f"chain: found CN=other after CN={FIRST}, expected its issuer "),
    ],
)
def test_own_server_certificate_that_cannot_serve_is_said_first(
    aws_api: AwsApi, checkout: Make, change: dict[str, str], says: str
) -> None:
    authority = certificate("Example Corp Issuing CA")
    entry = given(FIRST, certificate(FIRST, authority), authority) | change

    error = refused(checkout(server_certificates=[entry]).set_up())

    assert error.startswith(f"pki_server_certificates of {entry['endpoint']}")
    assert says in error
    assert "PRIVATE" not in error
    assert aws_api.requests() == []


def test_own_server_certificate_that_begins_later_is_said_first(aws_api: AwsApi, checkout: Make) -> None:
    authority = certificate("Example Corp Issuing CA")
    entry = given(FIRST, certificate(FIRST, authority, begins=1), authority)

    error = refused(checkout(server_certificates=[entry]).set_up())

    assert error.startswith(f"pki_server_certificates of {FIRST}: the certificate is valid from ")
    assert aws_api.requests() == []


def test_key_of_another_kind_than_the_ca_s_is_said_first(aws_api: AwsApi, checkout: Make) -> None:
    """ACM imports no certificate whose key is of another kind than its CA's."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    authority = certificate("Example Corp Issuing CA", key=key)
    own = checkout(ca_certificate=pem(authority), ca_private_key=key_pem(authority))

    error = refused(own.set_up())

    assert error.startswith(f"{own.folder / f'{FIRST}.key'}: found a key of kind EC and a CA of kind RSA, expected one")
    assert error.endswith("set pki_key_type to RSA")
    assert not own.folder.exists()
    assert aws_api.writes() == []
    own.options["key_type"] = "RSA"
    assert own.set_up() == {"changed": True, "warnings": []}

    entry = given(FIRST, certificate(FIRST, authority), authority)
    error = refused(checkout("given", server_certificates=[entry]).set_up())
    assert error.startswith(f"pki_server_certificates of {FIRST}: found a key of kind EC and a CA of kind RSA")


def test_controller_without_files_works_with_a_ca_from_variables(aws_api: AwsApi, checkout: Make) -> None:
    """As an execution environment, whose disk goes with it; its CA's key is kept elsewhere."""
    authority = certificate("Example Corp Issuing CA", ends=3000)
    own = {"ca_certificate": pem(authority), "ca_private_key": key_pem(authority)}
    first = checkout("first", **own, server_not_after="+5d")
    first.set_up()
    assert (first.folder / "ca.crt").read_text() == pem(authority)
    assert not (first.folder / "ca.key").exists()
    assert key_pem(authority) not in "".join(path.read_text() for path in first.folder.iterdir())

    # Five days are fewer than sixty.
    second = checkout("second", **own)
    assert second.set_up() == {"changed": True, "warnings": []}
    served(FIRST, OTHER).verify_directly_issued_by(authority[0])
    assert served(FIRST) == served(FIRST, OTHER)

    third = checkout("third", **own)
    last = last_request(aws_api)
    assert third.set_up() == {"changed": True, "warnings": []}
    # It needs no key of a server, since what the regions have lasts.
    assert sorted(path.name for path in third.folder.iterdir()) == ["ca.crt"]
    assert aws_api.writes(last) == []


def test_encrypted_key_of_a_ca_takes_its_passphrase(aws_api: AwsApi, checkout: Make) -> None:
    authority = certificate("Example Corp Issuing CA")
    locked = serialization.BestAvailableEncryption(b"once upon")
    key = authority[1].private_bytes(PEM, serialization.PrivateFormat.PKCS8, locked).decode()
    own = checkout(ca_certificate=pem(authority), ca_private_key=key)

    assert "pki_ca_private_key: the private key is encrypted: give its passphrase" in refused(own.make())
    own.options["ca_private_key_passphrase"] = "once upon"
    assert own.make()["changed"]


def test_ca_kept_elsewhere_is_missed_only_where_it_is_needed(aws_api: AwsApi, checkout: Make) -> None:
    own = checkout(server_not_after="+100d")
    own.set_up()
    (own.folder / "ca.key").unlink()
    assert own.set_up() == {"changed": False, "warnings": []}

    own.options.update(server_not_after="+800d", renew_days=101)
    done = own.set_up()
    assert not done["changed"]
    assert "is due for renewal: the CA's private key, ca.key or pki_ca_private_key, is missing" in done["warnings"][0]
    (own.folder / f"{FIRST}.crt").unlink()
    assert f"{FIRST}.crt: the CA's private key, ca.key or pki_ca_private_key, is missing" in refused(own.make())


def test_lost_ca_is_not_made_again(aws_api: AwsApi, checkout: Make) -> None:
    own = checkout()
    own.set_up()
    for name in ("ca.crt", "ca.key"):
        (own.folder / name).unlink()
    state = files(own.folder)

    assert "found no CA beside it, expected the one that issued it (CN=MQTT fleet CA): restore" in refused(own.set_up())
    assert files(own.folder) == state


def test_no_ca_is_made_while_a_region_is_silent(aws_api: AwsApi, checkout: Make) -> None:
    silent = {"operation": "ListDomainConfigurations", "region": OTHER, "kind": "error", "status": 503}
    aws_api.faults(silent)
    own = checkout()

    error = refused(own.make())

    assert "ListDomainConfigurations in ap-northeast-1: found ServiceUnavailableException" in error
    assert not own.folder.exists()
    aws_api.faults()
    own.make()
    aws_api.faults(silent)
    done = own.make()
    assert not done["changed"]
    assert told(done)[0].startswith("ap-northeast-1 was not checked: ")


def test_run_that_was_killed_half_way_goes_on(aws_api: AwsApi, checkout: Make) -> None:
    own = checkout()
    own.make()
    for name in ("ca.crt", f"{FIRST}.crt", f"{FIRST}.csr", f"{SECOND}.key", f"{SECOND}.crt", f"{SECOND}.csr"):
        (own.folder / name).unlink()
    keys = {name: (own.folder / name).read_bytes() for name in ("ca.key", f"{FIRST}.key")}

    assert own.set_up()["changed"]

    assert {name: (own.folder / name).read_bytes() for name in keys} == keys
    assert own.set_up() == {"changed": False, "warnings": []}


def test_import_that_comes_too_early_is_made_again(aws_api: AwsApi, checkout: Make) -> None:
    """ACM takes one a second; whoever waits is the module, and not boto3, whose attempts may all come too early."""
    own = checkout()
    own.make()
    aws_api.faults({"operation": "ImportCertificate", "kind": "throttle", "times": 7})

    assert not own.bring().get("failed")

    statuses = [each["status"] for each in aws_api.requests() if each["operation"] == "ImportCertificate"]
    assert statuses == [400] * 7 + [200] * 2


def test_import_that_is_refused_for_another_reason_is_not(aws_api: AwsApi, checkout: Make) -> None:
    own = checkout()
    own.make()
    refusal = {"kind": "error", "status": 400, "code": "LimitExceededException"}
    aws_api.faults({"operation": "ImportCertificate", **refusal})

    assert "ImportCertificate in us-east-1: found LimitExceededException" in refused(own.bring())
    assert [each["status"] for each in aws_api.requests() if each["operation"] == "ImportCertificate"] == [400]


def test_end_that_is_none_is_said_first(aws_api: AwsApi, checkout: Make) -> None:
    assert refused(checkout(server_not_after="soon").make()).startswith("pki_server_not_after: found 'soon'")
    assert aws_api.requests() == []


def test_roles_take_certificates_from_variables_and_show_no_key(aws_api: AwsApi, tmp_path: Path) -> None:
    authority = certificate("Example Corp Issuing CA")
    pair = certificate(SECOND, authority)
    (tmp_path / "ca.key").write_text(key_pem(authority))
    (tmp_path / "server.key").write_text(key_pem(pair))
    inventory = {
        "certs_directory": str(tmp_path / "certs"),
        "iot_endpoints": ENDPOINTS,
        "iot_clients": [],
        "fleet_monitor_client_id": "fleet-monitor",
        "iot_region_validation_certificate_arns": {name: validation_arn(HOME, name) for name in ENDPOINTS},
        "iot_region_caller": {"account": "123456789012", "arn": "arn:aws:iam::123456789012:user/operator"},
        "pki_ca_certificate": pem(authority),
        "pki_ca_private_key": f"{{{{ lookup('ansible.builtin.file', '{tmp_path}/ca.key') }}}}",
        "pki_server_certificates": [
            {
                "endpoint": SECOND,
                "certificate": pem(pair) + pem(authority),
                "private_key": f"{{{{ lookup('ansible.builtin.file', '{tmp_path}/server.key') }}}}",
            }
        ],
    }
    local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    hosts = {
        "all": {"vars": inventory | local, "hosts": {"localhost": {}}, "children": {"regions": {"hosts": {HOME: {}}}}}
    }
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump(hosts))
    plays = [("localhost", "pki"), ("regions", "iot_region")]
    playbook = [{"hosts": each, "gather_facts": False, "roles": [role]} for each, role in plays]
    (tmp_path / "playbook.yml").write_text(yaml.safe_dump(playbook))

    done = subprocess.run(
        [
            str(Path(sys.executable).parent / "ansible-playbook"),
            "-vvv",
            "-i",
            tmp_path / "hosts.yml",
            tmp_path / "playbook.yml",
        ],
        cwd=REPOSITORY,
        env={**os.environ, "ANSIBLE_LOCAL_TEMP": str(tmp_path / "ansible")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout
    assert served(SECOND) == pair[0]
    served(FIRST).verify_directly_issued_by(authority[0])
    for private in (key_pem(authority), key_pem(pair)):
        assert private.splitlines()[1] not in done.stdout + done.stderr
