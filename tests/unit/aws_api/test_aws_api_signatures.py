"""Whose requests the stand-in takes: those signed with a known secret, now, for what they ask."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from ansible.module_utils.region_switch.aws.data_plane import Pattern
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials, ReadOnlyCredentials

from lab.aws_api.identities import Identity, parse
from lab.aws_api.signatures import Problem, Signed, problem

KEY, SECRET = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
IDENTITIES = {KEY: Identity(SECRET)}
HOST = "127.0.0.1:8080"


def signed(
    method: str = "POST",
    target: str = "/things/a%2Fb?x=2&a=1",
    body: bytes = b'{"thingTypeName": "t"}',
    service: str = "iot",
    secret: str = SECRET,
    token: str | None = None,
    **headers: str,
) -> Signed:
    """A request as botocore signs it, at this moment."""
    request = AWSRequest(method, f"http://{HOST}{target}", headers, body)
    SigV4Auth(Credentials(KEY, secret, token), service, "us-east-1").add_auth(request)
    found = {name.lower(): str(value) for name, value in request.headers.items()}
    return Signed(method, target, {"host": HOST, "user-agent": "Boto3", **found}, body)


def kind(request: Signed, now: datetime | None = None, identities: dict[str, Identity] | None = None) -> str | None:
    found = problem(request, identities or IDENTITIES, now or datetime.now(UTC))
    return found.kind if found else None


@pytest.mark.parametrize(
    "request_of",
    [
        signed,
        lambda: signed("GET", "/2013-04-01/hostedzone/Z1/rrset?name=mqtt1.example.com&type=CNAME", b"", "route53"),
        lambda: signed("DELETE", "/connections/a%2Fb%25%20c?cleanSession=true", b"", "iotdata"),
        lambda: signed("GET", "/things/../x//y", b""),
        lambda: signed(**{"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": "CertificateManager.List"}),
    ],
)
def test_what_botocore_signs_is_taken(request_of: object) -> None:
    assert kind(request_of()) is None  # type: ignore[operator]


@pytest.mark.parametrize(
    ("part", "other"),
    [
        ("method", "PUT"),
        ("target", "/things/a%2Fc?x=2&a=1"),
        ("target", "/things/a%2Fb?x=3&a=1"),
        ("target", "/things/a/b?x=2&a=1"),
        ("body", b'{"thingTypeName": "u"}'),
    ],
)
def test_what_is_another_request_than_was_signed_is_refused(part: str, other: object) -> None:
    changed = replace(signed(), **{part: other})

    assert problem(changed, IDENTITIES, datetime.now(UTC)) == Problem(
        "signature",
        "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access "
        "Key and signing method. Consult the service documentation for details.",
    )


@pytest.mark.parametrize("scope", [("/iot/", "/iotdata/"), ("us-east-1", "eu-west-1")])
def test_scope_is_signed_for(scope: tuple[str, str]) -> None:
    request = signed()
    headers = {**request.headers, "authorization": request.headers["authorization"].replace(*scope)}

    assert kind(replace(request, headers=headers)) == "signature"


@pytest.mark.parametrize("name", ["host", "x-amz-date", "x-amz-target"])
def test_header_that_has_to_be_signed_and_is_not_is_refused(name: str) -> None:
    request = signed(**{"X-Amz-Target": "CertificateManager.ListCertificates"})
    authorization = request.headers["authorization"]
    names = authorization.partition("SignedHeaders=")[2].partition(",")[0]
    fewer = ";".join(each for each in names.split(";") if each != name)
    unsigned = replace(request, headers={**request.headers, "authorization": authorization.replace(names, fewer)})

    found = problem(unsigned, IDENTITIES, datetime.now(UTC))

    assert found == Problem("signature", f"'{name}' must be a 'SignedHeader' in the AWS Authorization")


def test_time_of_a_signature_is_five_minutes_from_now_at_most() -> None:
    now = datetime.now(UTC)

    assert kind(signed(), now + timedelta(seconds=290)) is None
    assert kind(signed(), now - timedelta(seconds=290)) is None
    late = problem(signed(), IDENTITIES, now + timedelta(seconds=310))
    early = problem(signed(), IDENTITIES, now - timedelta(seconds=310))
    assert late is not None
    assert early is not None
    assert late.message.startswith("Signature expired: ")
    assert late.message.endswith(" - 5 min.)")
    assert early.message.startswith("Signature not yet current: ")


@pytest.mark.parametrize(
    ("request_of", "identity", "expected"),
    [
        (lambda: signed(secret="another"), Identity(SECRET), "signature"),
        (signed, Identity(SECRET, token="its-token"), "unknown"),
        (lambda: signed(token="its-token"), Identity(SECRET, token="its-token"), None),
        (lambda: signed(token="another"), Identity(SECRET, token="its-token"), "unknown"),
        (lambda: signed(token="any"), Identity(SECRET), "unknown"),
        (lambda: signed(token="its-token"), Identity(SECRET, token="its-token", expired=True), "expired"),
        (lambda: replace(signed(), headers={"host": HOST}), Identity(SECRET), "incomplete"),
    ],
)
def test_credentials_are_those_of_an_identity(request_of: object, identity: Identity, expected: str | None) -> None:
    assert kind(request_of(), identities={KEY: identity}) == expected  # type: ignore[operator]


def test_access_key_that_nobody_has_is_unknown() -> None:
    assert kind(signed(), identities={"AKIDOTHER": Identity(SECRET)}) == "unknown"


@pytest.mark.parametrize("client_id", ["client-1", "a/b", "%", "client/subscriptions", "日本 1"])
@pytest.mark.parametrize("token", [None, "its-token"])
def test_what_the_engine_signs_itself_is_taken(client_id: str, token: str | None) -> None:
    pattern = Pattern("DELETE", f"http://{HOST}", "", HOST, "us-east-1/iotdata", {"User-Agent": "Boto3"})
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    parameters = {"clientId": client_id, "preventWillMessage": True, "cleanSession": False}
    made = pattern.prepare(parameters, ReadOnlyCredentials(KEY, SECRET, token), stamp)
    headers = {name.lower(): value for name, value in made.headers.items()}
    target = made.url.removeprefix(f"http://{HOST}")

    assert kind(Signed("DELETE", target, headers, b""), identities={KEY: Identity(SECRET, token=token)}) is None
    assert kind(Signed("GET", target, headers, b""), identities={KEY: Identity(SECRET, token=token)}) == "signature"


@pytest.mark.parametrize(
    ("item", "said"),
    [
        ({}, "identity k: no secret"),
        ({"secret": "s", "roles": []}, "identity k: roles: expected arn, expired, policies, secret, token"),
        ({"secret": "s", "policies": [{"Version": "2012-10-17"}]}, "policy: no Statement"),
    ],
)
def test_identity_that_cannot_be_one_is_refused(item: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse({"k": item})
