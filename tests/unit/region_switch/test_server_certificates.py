"""What setup decides about server certificates, without AWS and without files."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from ansible.module_utils.region_switch.model.errors import RefusedError
from ansible.module_utils.region_switch.setup import acm
from ansible.module_utils.region_switch.setup.acm import IMPORT, KEEP, TAG, Decision, Material, Refusal, Served, decide
from ansible.module_utils.region_switch.setup.server_certificate import (
    Certificate,
    PrivateKey,
    covers,
    end_of,
    is_newer,
    key_pem,
    make_authority,
    make_key,
    make_server_certificate,
    public_key,
    read_certificates,
    read_key,
    serving_differences,
)

NOW = dt.datetime(2026, 11, 27, tzinfo=dt.UTC)
NAME = "mqtt1.example.com"
LATER = NOW + dt.timedelta(days=3000)
CA_KEY, KEY, OTHER_KEY = make_key("ECC"), make_key("ECC"), make_key("ECC")
CA = make_authority(CA_KEY, "MQTT fleet CA", LATER, NOW)
# Another of the same name.
OTHER_CA = make_authority(OTHER_KEY, "MQTT fleet CA", LATER, NOW)
ORIGIN = f"ca:{CA.public_key}"


def issue(days: float, age: float = 0, key: PrivateKey = KEY, name: str = NAME, foreign: bool = False) -> Certificate:
    """A certificate that is so many days old, and ends so many days from now."""
    authority, signer = (OTHER_CA, OTHER_KEY) if foreign else (CA, CA_KEY)
    made, end = NOW - dt.timedelta(days=age), NOW + dt.timedelta(days=days)
    return make_server_certificate(key, name, authority, signer, end, made)


def served(certificate: Certificate | None, tag: str = "") -> Served:
    return Served(NAME, "us-east-1", "arn:1", certificate, "mqtt1-example-com", {TAG: tag} if tag else {})


def offer(certificate: Certificate | None, *made: PrivateKey) -> Material:
    return Material(certificate, CA.pem, key_pem(KEY), ORIGIN, CA, {public_key(each) for each in made})


def test_import_that_aws_iot_does_not_pick_up_is_told() -> None:
    """It serves what it has where the signing algorithm, the common name or the alternative names are others."""
    renamed = issue(100, 700, name="*.example.com")
    decision = decide(served(renamed, ORIGIN), offer(NEW), NOW)
    assert isinstance(decision, Decision)
    assert decision.action == IMPORT
    assert "the common name and alternative names of the certificate that is imported differ" in str(decision.warning)
    assert "delete the domain configuration" in str(decision.warning)

    # Nothing serves it yet.
    unserved = replace(served(renamed, ORIGIN), configuration=None)
    assert decide(unserved, offer(NEW), NOW) == decide(served(OLD, ORIGIN), offer(NEW), NOW) == Decision(IMPORT)


def test_another_signing_algorithm_is_not_picked_up() -> None:
    signed_otherwise = make_authority(make_key("RSA"), NAME, LATER, NOW)
    assert serving_differences(CA, signed_otherwise) == ["signing algorithm", "common name"]


OLD, NEW = issue(100, 700), issue(800)


@pytest.mark.parametrize(
    ("present", "material", "action"),
    [
        (None, offer(NEW), IMPORT),
        (served(NEW), offer(NEW), KEEP),
        # Issued by a CA whose key is setup's, or for a key that is setup's, or imported by setup.
        (served(OLD), offer(NEW, CA_KEY), IMPORT),
        (served(OLD), offer(NEW, KEY), IMPORT),
        (served(OLD, ORIGIN), offer(NEW), IMPORT),
        (served(issue(100, 700, OTHER_KEY), ORIGIN), offer(NEW), IMPORT),
        # One that was issued later, or that lasts longer.
        (served(NEW, ORIGIN), offer(OLD, CA_KEY, KEY), KEEP),
        (served(issue(90), ORIGIN), offer(issue(800, 1), CA_KEY), KEEP),
        (served(issue(900, 30), ORIGIN), offer(NEW, CA_KEY), KEEP),
        # One that is of no use.
        (served(issue(-1, 1), ORIGIN), offer(issue(800, 2), CA_KEY), IMPORT),
        (served(issue(900, name="elsewhere.example.com"), ORIGIN), offer(NEW, CA_KEY), IMPORT),
        (served(issue(-1, 1), ORIGIN), offer(issue(-0.5, 2), CA_KEY), KEEP),
        # There is none here to import.
        (served(OLD, ORIGIN), offer(None, CA_KEY), KEEP),
        # Nobody knows who imported it.
        (served(issue(100, 700, OTHER_KEY)), offer(NEW, KEY), KEEP),
        (served(OLD, "ca:another"), offer(NEW), KEEP),
    ],
)
def test_nothing_is_imported_over_what_is_later_or_somebody_elses(
    present: Served | None, material: Material, action: str
) -> None:
    found = decide(present, material, NOW)

    assert isinstance(found, Decision)
    assert found.action == action
    # Of a certificate for other names it is told that AWS IoT does not pick it up.
    same_names = present is None or present.certificate is None or present.certificate.names == [NAME]
    quiet = present is None or (action == IMPORT and same_names) or material.certificate in (None, present.certificate)
    assert (found.warning is None) == quiet


@pytest.mark.parametrize(
    ("present", "material", "found"),
    [
        (served(issue(100, 700, foreign=True)), offer(NEW, CA_KEY, KEY), "a certificate of another CA"),
        # A tag stays where somebody else imports under the ARN.
        (served(issue(100, 700, foreign=True), ORIGIN), offer(NEW, CA_KEY, KEY), "a certificate of another CA"),
        (served(None), offer(NEW, CA_KEY), "no such certificate in ACM"),
        (served(issue(9, 9, make_key("RSA")), ORIGIN), offer(NEW, CA_KEY), "a key of kind RSA_2048"),
        (served(OLD), Material(NEW, "", b"", acm.GIVEN, None), "that setup.yml did not import from pki_server"),
        (served(OLD, ORIGIN), Material(NEW, "", b"", acm.GIVEN, None), "that setup.yml did not import from pki_server"),
    ],
)
def test_what_setup_cannot_go_on_with_is_refused(present: Served, material: Material, found: str) -> None:
    refusal = decide(present, material, NOW)

    assert isinstance(refusal, Refusal)
    assert found in refusal.found


def test_same_refusal_of_several_places_is_said_once() -> None:
    one, two = Refusal("a in x", "f", "e", "do"), Refusal("b in x", "f", "e", "do")

    with pytest.raises(RefusedError, match=r"^a in x, b in x: found f, expected e: do; c: found g, expected e: do$"):
        acm.refuse([one, Refusal("c", "g", "e", "do"), two])
    acm.refuse([])


class ListingAcm:
    """ACM, which without key types lists no ECC keys."""

    region = "us-east-1"

    def __init__(self) -> None:
        self.asked: list[str] = []

    def pages(self, operation: str, _items: str, cursor: tuple[str, str], **parameters: Any) -> list[dict[str, Any]]:
        assert (operation, cursor) == ("ListCertificates", ("NextToken", "NextToken"))
        assert "EC_prime256v1" in parameters["Includes"]["keyTypes"]
        return [
            {"CertificateArn": "nameless", "Type": "IMPORTED"},
            {"CertificateArn": "amazon's", "Type": "AMAZON_ISSUED", "DomainName": NAME},
            {"CertificateArn": "elsewhere", "Type": "IMPORTED", "DomainName": "elsewhere.example.com"},
            {"CertificateArn": "wildcard", "Type": "IMPORTED", "DomainName": "*.example.com"},
            {"CertificateArn": "ours", "Type": "IMPORTED", "SubjectAlternativeNameSummaries": [NAME]},
        ]

    def call(self, _operation: str, **parameters: str) -> dict[str, Any]:
        self.asked.append(parameters["CertificateArn"])
        return {"Tags": [{"Key": "Name", "Value": NAME}] if parameters["CertificateArn"] == "ours" else []}

    def find(self, operation: str, **parameters: str) -> dict[str, Any]:
        assert (operation, parameters) == ("GetCertificate", {"CertificateArn": "ours"})
        return {"Certificate": NEW.pem}


def test_certificate_that_nothing_serves_yet_is_found_by_names_and_tag() -> None:
    client = ListingAcm()

    found = acm._tagged(client, [NAME])  # type: ignore[arg-type]

    assert {endpoint: each.arn for endpoint, each in found.items()} == {NAME: "ours"}
    assert client.asked == ["wildcard", "ours"]


@pytest.mark.parametrize(
    ("text", "end"),
    [
        ("+825d", NOW + dt.timedelta(days=825)),
        ("+1w2d3h4m5s", NOW + dt.timedelta(days=9, hours=3, minutes=4, seconds=5)),
        ("20301231235959Z", dt.datetime(2030, 12, 31, 23, 59, 59, tzinfo=dt.UTC)),
    ],
)
def test_end_of_a_certificate(text: str, end: dt.datetime) -> None:
    assert end_of("pki_server_not_after", text, NOW) == end


@pytest.mark.parametrize(
    "text", ["", "+", "soon", "-1d", "+0d", "825d", "+1x", "20200101000000Z", "+99999999d", "+9999999999999d"]
)
def test_end_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(RefusedError, match=r"^pki_server_not_after: found .*, expected a time in the future"):
        end_of("pki_server_not_after", text, NOW)


@pytest.mark.parametrize(
    ("names", "covered"),
    [("mqtt1.example.com", True), ("MQTT1.Example.COM", True), ("*.example.com", True), ("*.com", False), ("x", False)],
)
def test_names_that_cover_the_endpoint(names: str, covered: bool) -> None:
    assert covers(issue(9, name=names), "MQTT1.example.com.") == covered


@pytest.mark.parametrize(
    "dress", [lambda pem: pem.replace("\n", "\r\n"), lambda pem: f"\ufeffBag Attributes: x\n{pem}"]
)
def test_text_around_pem_is_no_part_of_it(dress: Callable[[str], str]) -> None:
    pem, key = CA.pem, key_pem(KEY).decode()

    assert [each.pem for each in read_certificates("x", (dress(pem) + dress(NEW.pem)).encode())] == [pem, NEW.pem]
    assert public_key(read_key("x", dress(key).encode(), "a passphrase without need")) == public_key(KEY)


def test_newer_is_later_and_longer() -> None:
    assert is_newer(NEW, OLD)
    assert not is_newer(OLD, NEW)
    assert not is_newer(NEW, NEW)
    assert not is_newer(issue(90), issue(100, 1))


def test_name_too_long_for_a_common_name_is_in_a_certificate_all_the_same() -> None:
    name = "a" * 60 + ".example.com"

    made = issue(9, name=name)

    assert made.names == [name]
    assert made.parsed.subject.rdns == []
