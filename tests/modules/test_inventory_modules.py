"""The modules that look at the inventory and at AWS before anything else does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml
from ansible.module_utils.region_switch.aws import caller
from ansible.module_utils.region_switch.aws.clients import Aws
from ansible.module_utils.region_switch.checks import account
from ansible.module_utils.region_switch.dns.method import Zone
from ansible.module_utils.region_switch.model.errors import AwsError, RefusedError, SwitchError
from ansible.module_utils.region_switch.setup import public_ca
from ansible.module_utils.region_switch.setup.server_certificate import read_certificates
from cryptography.hazmat.primitives.asymmetric import rsa

from .conftest import HOSTED_ZONE_ID, NAME_SERVERS, PUBLIC_NAMES, REPOSITORY, AwsApi, validation_arn
from .modules import error_of, last_request, run_ok
from .mqtt_server import Authority
from .test_setup_modules import ATS, import_server_certificate, upsert
from .zone_server import zone_server

REGION, OTHER = "us-east-1", "ap-northeast-1"
MODULE = "failover_inventory_info"
INVENTORY: dict[str, Any] = {
    "modes": {3: {"mqtt1.example.com": REGION}},
    "endpoints": ["mqtt1.example.com"],
    "regions": [REGION],
    "resolvers": ["192.0.2.53"],
    "record_ttl": "60",
}
ASKING = {**INVENTORY, "regions": [REGION, OTHER], "caller_hint": "Log in again."}


def test_first_region_that_answers_says_who_is_calling(aws_api: AwsApi) -> None:
    found = run_ok(MODULE, ASKING)

    assert found["changed"] is False
    assert (found["caller"]["account"], found["caller"]["region"]) == (aws_api.account_id, REGION)
    assert aws_api.operations().count("GetCallerIdentity") == 1


@pytest.mark.parametrize("fault", [{"kind": "hang"}, {"kind": "error", "status": 403, "code": "InvalidClientTokenId"}])
def test_region_that_is_gone_or_refuses_is_passed_over(
    aws_api: AwsApi, monkeypatch: pytest.MonkeyPatch, fault: dict[str, Any]
) -> None:
    monkeypatch.setattr(caller, "TIMEOUT", 0.3)
    aws_api.faults({"operation": "GetCallerIdentity", "region": REGION, **fault})

    assert run_ok(MODULE, ASKING)["caller"]["region"] == OTHER


def test_aws_that_answers_nowhere_is_said_in_one_line(aws_api: AwsApi, monkeypatch: pytest.MonkeyPatch) -> None:
    aws_api.faults({"operation": "*", "kind": "error", "status": 403, "code": "AccessDenied"})

    error = error_of(MODULE, ASKING)

    assert error.startswith("AWS API: no region answered GetCallerIdentity (us-east-1: AccessDenied (")
    assert "; ap-northeast-1: AccessDenied (" in error
    assert error.endswith("): Log in again.")


def test_credentials_that_have_expired_are_said_once_with_what_to_do(aws_api: AwsApi) -> None:
    aws_api.faults({"operation": "*", "kind": "error", "status": 403, "code": "ExpiredToken"})

    error = error_of(MODULE, ASKING)

    assert error.startswith("GetCallerIdentity in us-east-1: found ExpiredToken (")
    assert error.endswith(", expected success: log in again (aws sso login, or what gave you these credentials), then "
                          "run again")  # fmt: skip


def test_address_of_aws_that_is_none_is_said_in_one_line(aws_api: AwsApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "stand-in")

    assert "AWS API: no region answered" in error_of(MODULE, ASKING)


def test_good_inventory_is_taken() -> None:
    assert run_ok(MODULE, INVENTORY)["modes"] == {"3": {"mqtt1.example.com": REGION}}


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        ("endpoints", {"mqtt1.example.com": REGION}, "endpoints: found {'mqtt1.example.com': 'us-east-1'}, expected"),
        ("regions", [], "regions: there are none"),
        ("resolvers", ["resolver.example.com"], "resolver resolver.example.com: not an IP address: correct"),
        ("record_ttl", -1, "dns_record_ttl: found -1, expected"),
    ],
)
def test_wrong_inventory_is_refused_by_name(name: str, value: object, found: str) -> None:
    assert error_of(MODULE, {**INVENTORY, name: value}).startswith(found)


def test_nobody_is_asked_where_no_hint_is_given_or_the_inventory_is_wrong(aws_api: AwsApi) -> None:
    error_of(MODULE, {**ASKING, "regions": []})
    run_ok(MODULE, INVENTORY)

    assert "GetCallerIdentity" not in aws_api.operations()


def proofs(endpoints: list[str], regions: Sequence[str] = (REGION, OTHER)) -> dict[str, dict[str, str]]:
    """Public certificates that the account has, for those endpoints that it has any for."""
    names = [name for name in endpoints if name in PUBLIC_NAMES]
    return {region: {name: validation_arn(region, name) for name in names} for region in regions}


SETUP: dict[str, Any] = {
    **{name: value for name, value in ASKING.items() if name != "resolvers"},
    "modes": {"1": {"mqtt1.example.com": REGION}, "2": {"mqtt1.example.com": OTHER}},
    "hosted_zone_id": HOSTED_ZONE_ID,
    "setup": {
        "initial_mode": "1",
        "issuing_region": REGION,
        "regions": [REGION, OTHER],
        "validation_certificate_arns": proofs(["mqtt1.example.com"]),
    },
}


def setup(**changes: Any) -> dict[str, Any]:
    """Options for a check before a setup; `endpoints` and `regions` also make the table."""
    endpoints, regions = changes.get("endpoints", SETUP["endpoints"]), changes.get("regions", SETUP["regions"])
    modes = {str(number): dict.fromkeys(endpoints, region) for number, region in enumerate(regions, 1)}
    asked = {"initial_mode": "1", "issuing_region": regions[0], "regions": regions}
    asked["validation_certificate_arns"] = proofs(endpoints, regions)
    return {**SETUP, "modes": modes, "setup": asked, **changes}


def zone(name: str, private: bool = False) -> str:
    """Make a hosted zone."""
    more: dict[str, Any] = {"VPC": {"VPCRegion": REGION, "VPCId": "vpc-0f3a"}} if private else {}
    made = boto3.client("route53").create_hosted_zone(
        Name=name, CallerReference=name, HostedZoneConfig={"Comment": "", "PrivateZone": private}, **more
    )
    return str(made["HostedZone"]["Id"]).rpartition("/")[2]


def test_inventory_that_fits_the_account_is_taken_and_nothing_is_written(aws_api: AwsApi) -> None:
    after = last_request(aws_api)

    assert run_ok(MODULE, SETUP)["caller"]["account"] == aws_api.account_id
    upsert("mqtt1.example.com", ATS[OTHER])
    made = last_request(aws_api)
    run_ok(MODULE, setup(hosted_zone_id=f"/hostedzone/{HOSTED_ZONE_ID}"))

    assert aws_api.writes(after) == ["ChangeResourceRecordSets"]
    assert aws_api.writes(made) == []


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"hosted_zone_id": "Z0123456789EXAMPLE"}, "hosted_zone_id: found no hosted zone Z0123456789EXAMPLE in this"),
        (
            {"endpoints": ["mqtt1.example.org"]},
            f"endpoint mqtt1.example.org: not in example.com, the hosted zone {HOSTED_ZONE_ID}: c",
        ),
        ({"endpoints": ["mqtt1.notexample.com"]}, "endpoint mqtt1.notexample.com: not in example.com, the hosted zone"),
        (
            {"endpoints": ["example.com"]},
            f"endpoint example.com: found the apex of the hosted zone {HOSTED_ZONE_ID}, where",
        ),
        ({"endpoints": ["EXAMPLE.com"]}, "endpoint example.com: found the apex of the hosted zone"),
    ],
)
def test_inventory_that_does_not_fit_the_account_is_refused(
    aws_api: AwsApi, changes: dict[str, Any], found: str
) -> None:
    after = last_request(aws_api)

    assert error_of(MODULE, setup(**changes)).startswith(found)
    assert aws_api.writes(after) == []


@pytest.mark.parametrize("private", [True, False])
def test_zone_that_resolvers_do_not_ask_is_refused_before_anything_is_made(aws_api: AwsApi, private: bool) -> None:
    other = zone("example.com", private)
    after = last_request(aws_api)

    with zone_server() as resolver:
        error = error_of(MODULE, setup(hosted_zone_id=other, resolvers=[resolver]))
        waived = {**SETUP["setup"], "waive": ["hosted_zone"]}
        run_ok(MODULE, {**SETUP, "hosted_zone_id": other, "resolvers": [resolver], "setup": waived})
        run_ok(MODULE, {**SETUP, "resolvers": [resolver]})

    elsewhere = f"found {', '.join(NAME_SERVERS)} for the name servers of this zone"
    found = f"the zone {other} is private" if private else elsewhere
    assert error.startswith(f"hosted_zone (example.com): {found}")
    assert aws_api.writes(after) == []


def test_endpoint_below_a_delegation_is_refused_before_anything_is_made(aws_api: AwsApi) -> None:
    servers = [{"Value": "ns1.example.net."}]
    delegation = {"Name": "iot.example.com", "Type": "NS", "TTL": 60, "ResourceRecords": servers}
    boto3.client("route53").change_resource_record_sets(
        HostedZoneId=HOSTED_ZONE_ID, ChangeBatch={"Changes": [{"Action": "CREATE", "ResourceRecordSet": delegation}]}
    )
    after = last_request(aws_api)

    error = error_of(MODULE, setup(endpoints=["mqtt.a.iot.example.com", "mqtt1.example.com"]))

    assert error == (
        "hosted_zone (mqtt.a.iot.example.com): iot.example.com is delegated to other name servers: name the zone of "
        "iot.example.com in hosted_zone_id"
    )
    assert aws_api.writes(after) == []


def test_endpoints_are_names_in_the_zone() -> None:
    # The final dot and the case of names say nothing.
    account.check_endpoints(Zone("Z1", "example.com"), ["MQTT.example.com.", "a.b.example.com"])

    with pytest.raises(RefusedError, match="apex"):
        account.check_endpoints(Zone("Z1", "example.com"), ["example.com"])
    with pytest.raises(SwitchError, match="GetHostedZone: found"):
        account.check_endpoints(Zone("Z1", ""), ["example.com"])


@pytest.mark.parametrize(
    ("record", "found"),
    [
        (
            {"Type": "CNAME", "ResourceRecords": [{"Value": "broker.example.net"}]},
            "record mqtt1.example.com: found broker",
        ),
        (
            {"Type": "A", "ResourceRecords": [{"Value": "192.0.2.1"}]},
            "record mqtt1.example.com: found 1 record set(s) of type A",
        ),
    ],
)
def test_record_that_is_not_ours_is_found_before_anything_is_made(
    aws_api: AwsApi, record: dict[str, Any], found: str
) -> None:
    changes = [{"Action": "CREATE", "ResourceRecordSet": {"Name": "mqtt1.example.com", "TTL": 0, **record}}]
    boto3.client("route53").change_resource_record_sets(HostedZoneId=HOSTED_ZONE_ID, ChangeBatch={"Changes": changes})

    assert error_of(MODULE, SETUP).startswith(found)


def test_region_that_does_not_answer_is_passed_over_and_one_that_refuses_is_named(aws_api: AwsApi) -> None:
    aws_api.faults({"operation": "DescribeEndpoint", "region": OTHER, "kind": "error", "status": 503})
    run_ok(MODULE, SETUP)

    denied = {"status": 403, "code": "UnrecognizedClientException"}
    aws_api.faults({"operation": "DescribeEndpoint", "region": OTHER, "kind": "error", **denied})
    assert error_of(MODULE, SETUP).startswith(
        "region ap-northeast-1: DescribeEndpoint failed with UnrecognizedClientException ("
    )
    # Another region is set up.
    run_ok(MODULE, {**SETUP, "setup": {**SETUP["setup"], "regions": [REGION]}})


def test_region_that_there_is_not_is_named_with_the_one_that_is_meant(aws_api: AwsApi) -> None:
    aws_api.faults({"operation": "DescribeEndpoint", "region": "us-est-1", "kind": "error", "status": 503})

    error = error_of(MODULE, setup(regions=[REGION, "us-est-1"]))

    assert error.startswith(
        "region us-est-1: found no answer, and no such Region of AWS IoT: correct the hosts of the group 'regions', "
    )
    assert error.endswith("for example to us-east-1 or us-west-1")


FIRST = "mqtt1.example.com"


def certificates(own: dict[str, Any] | None = None, proof: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """SETUP of the first region alone, with these ARNs by endpoint."""
    asked = {
        **SETUP["setup"],
        "regions": [REGION],
        "server_certificate_arns": {REGION: own or {}},
        "validation_certificate_arns": {REGION: proof or {}},
        **more,
    }
    return {**SETUP, "setup": asked}


def test_private_ca_without_a_certificate_that_proves_the_name_is_said_before_anything_is_written(
    aws_api: AwsApi,
) -> None:
    both = {**SETUP, "setup": {key: value for key, value in SETUP["setup"].items() if "arns" not in key}}

    error = error_of(MODULE, both)

    assert error.startswith(
        f"{FIRST} in {REGION}, {FIRST} in {OTHER}: found a server certificate of a private CA, and none that proves to "
        "AWS IoT whose the name is, expected a public certificate of ACM's for the name, in the same region: request"
    )
    assert "iot_region_validation_certificate_arns, or in iot_region_server_certificate_arns" in error
    assert aws_api.writes() == []
    # A region that is not set up is not asked for.
    run_ok(MODULE, certificates(proof={FIRST: validation_arn(REGION, FIRST)}))


def test_public_certificate_in_acm_needs_no_other(aws_api: AwsApi) -> None:
    run_ok(MODULE, certificates(own={FIRST: validation_arn(REGION, FIRST)}))


def test_certificate_of_a_private_ca_in_acm_needs_one(aws_api: AwsApi) -> None:
    own = {FIRST: import_server_certificate(FIRST)}

    assert "found a server certificate of a private CA" in error_of(MODULE, certificates(own=own))
    run_ok(MODULE, certificates(own=own, proof={FIRST: validation_arn(REGION, FIRST)}))


def test_name_that_is_served_already_needs_no_proof(aws_api: AwsApi) -> None:
    arn = import_server_certificate(FIRST)
    boto3.client("iot", region_name=REGION).create_domain_configuration(
        domainConfigurationName="any",
        domainName=FIRST,
        serverCertificateArns=[arn],
        validationCertificateArn=validation_arn(REGION, FIRST),
    )

    run_ok(MODULE, certificates())


def test_imported_certificate_of_a_public_ca_needs_no_proof(
    aws_api: AwsApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = Authority(tmp_path, "Public CA")
    pair = authority.issue(FIRST)
    given = {"endpoint": FIRST, "certificate": pair.pem, "private_key": pair.key.read_text()}
    assert "of a private CA" in error_of(MODULE, certificates(server_certificates=[given]))

    roots = tuple(read_certificates("CA", authority.file.read_bytes()))
    monkeypatch.setattr(public_ca, "roots", lambda: roots)

    run_ok(MODULE, certificates(server_certificates=[given]))


def request(name: str, **more: Any) -> str:
    """A public certificate that waits for its name to be proven."""
    return str(boto3.client("acm", region_name=REGION).request_certificate(DomainName=name, **more)["CertificateArn"])


def rsa_certificate(size: int) -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=size)
    return import_server_certificate(FIRST, key)


NOT_PROVEN = "found a certificate that is PENDING_VALIDATION, expected one that is ISSUED: create the CNAME"
OF_ANOTHER_NAME = f"found a certificate for mqtt2.example.com, expected one for {FIRST}"


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: import_server_certificate(FIRST), "found a certificate of type IMPORTED, expected AMAZON_ISSUED"),
        (lambda: request(FIRST), NOT_PROVEN),
        (
            lambda: validation_arn(REGION, "mqtt2.example.com"),
            "found a certificate for mqtt2.example.com, expected one",
        ),
        (lambda: validation_arn(REGION, FIRST)[:-1] + "x", "which ACM does not have, expected one that it has"),
    ],
)
def test_certificate_that_proves_nothing_is_named(aws_api: AwsApi, make: Callable[[], str], says: str) -> None:
    error = error_of(MODULE, certificates(proof={FIRST: make()}))

    assert error.startswith(f"iot_region_validation_certificate_arns of {FIRST} in {REGION}: found ")
    assert says in error


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: rsa_certificate(4096), "found a key of type RSA_4096, expected RSA_2048 or EC_prime256v1"),
        (lambda: request(FIRST), NOT_PROVEN),
        (
            lambda: validation_arn(REGION, "mqtt2.example.com"),
            "found a certificate for mqtt2.example.com, expected one",
        ),
    ],
)
def test_own_certificate_that_cannot_be_served_is_named(aws_api: AwsApi, make: Callable[[], str], says: str) -> None:
    error = error_of(MODULE, certificates(own={FIRST: make()}))

    assert error.startswith(f"iot_region_server_certificate_arns of {FIRST} in {REGION}: found ")
    assert says in error


def test_own_certificate_of_no_endpoint_is_named(aws_api: AwsApi) -> None:
    error = error_of(MODULE, certificates(own={"mqtt9.example.com": validation_arn(REGION, FIRST)}))

    assert error.startswith(
        f"iot_region_server_certificate_arns of {REGION}: found endpoint 'mqtt9.example.com', expected one of {FIRST}:"
    )
    assert aws_api.requests() == []


def test_wrong_setting_of_a_setup_is_refused_before_aws_is_asked(aws_api: AwsApi) -> None:
    asked = {"initial_mode": "9", "issuing_region": REGION, "regions": [REGION]}

    assert error_of(MODULE, {**SETUP, "setup": asked}).startswith(
        "dns_records_initial_mode: found '9', expected one of"
    )
    assert aws_api.operations() == []


def test_calls_of_the_labs_inventory_go_past_a_proxy(aws_api: AwsApi, monkeypatch: pytest.MonkeyPatch) -> None:
    variables = yaml.safe_load((REPOSITORY / "inventory" / "lab" / "group_vars" / "all" / "lab.yml").read_text())
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert "no region answered" in error_of(MODULE, ASKING)

    for name, value in variables["aws_environment"].items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", aws_api.url)

    run_ok(MODULE, ASKING)
    with pytest.raises(AwsError) as nobody:
        Aws([REGION]).data[REGION].call("GetConnection", clientId="nobody")
    assert nobody.value.not_found
