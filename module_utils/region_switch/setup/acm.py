"""The server certificate that a region serves for an endpoint, and whether another may be imported over it."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..aws.clients import AwsClient
from ..aws.paced import retried
from ..model.errors import RefusedError
from ..model.inventory import configuration_name
from ..model.names import plain
from .domain_configuration import configurations
from .server_certificate import Certificate, covers, is_newer, kind, names_for, read_certificates, serving_differences

# Who imported a certificate: `ca:<SHA-256 of the CA's public key>` where setup issued it from that CA, or GIVEN.
TAG = "mqtt-region-switch:origin"
GIVEN = "inventory"
NAME_TAG = "Name"
# Without this filter, ACM lists only certificates with RSA keys of up to 2048 bits
# (https://docs.aws.amazon.com/acm/latest/APIReference/API_Filters.html).
KEY_TYPES = (
    "RSA_1024", "RSA_2048", "RSA_3072", "RSA_4096", "EC_prime256v1", "EC_secp384r1", "EC_secp521r1",
)  # fmt: skip
# Of these, the types that AWS IoT serves
# (https://docs.aws.amazon.com/iot/latest/developerguide/iot-custom-endpoints-configurable-custom.html).
SERVED_KEY_TYPES = ("RSA_2048", "EC_prime256v1")
# Type of a public certificate of ACM's own (https://docs.aws.amazon.com/acm/latest/APIReference/API_CertificateDetail.html).
AMAZON_ISSUED = "AMAZON_ISSUED"
# ACM takes one import a second per account and Region, and others import as well
# (https://docs.aws.amazon.com/acm/latest/userguide/acm-limits.html).
IMPORT_ATTEMPTS = 30
IMPORT_INTERVAL = 2.0
# DescribeDomainConfiguration is called for each endpoint, at most ten times a second.
ATTEMPTS = 8


@dataclass(frozen=True)
class Served:
    """A certificate that a region has for an endpoint.

    Attributes:
        configuration: the domain configuration that serves it; None where it is only in ACM, with the endpoint as its
            tag Name.
        certificate: None where ACM no longer has it.
    """

    endpoint: str
    region: str
    arn: str
    certificate: Certificate | None
    configuration: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def where(self) -> str:
        return f"{self.endpoint} in {self.region} ({self.arn or 'no certificate'})"


@dataclass(frozen=True)
class Refusal:
    """Why setup has to stop; `what` names the place."""

    what: str
    found: str
    expected: str
    advice: str


@dataclass(frozen=True)
class Material:
    """The certificate to import for an endpoint.

    Attributes:
        certificate: None where nothing can be imported.
        chain, private_key: PEM.
        origin: value of TAG.
        authority: the CA of a certificate that setup issues; None where the inventory provides the certificate.
        made: public keys (SHA-256) whose private keys only setup has: the CA's, the endpoint's.
    """

    certificate: Certificate | None
    chain: str
    private_key: bytes | None
    origin: str
    authority: Certificate | None
    made: Collection[str] = ()


def region_state(
    iot: AwsClient, acm: AwsClient, endpoints: Sequence[str], arns: Mapping[str, str]
) -> tuple[dict[str, Served], list[Refusal]]:
    """Return the certificates that a region has for its endpoints, and the problems that setup cannot solve.

    Args:
        endpoints: all endpoints of the inventory.
        arns: `{endpoint: ARN}` of the operator's own certificates in this region.

    Raises:
        AwsError: AWS refuses, or does not answer.
    """
    described = list(configurations(iot))
    domains = {plain(each.get("domainName", "")): each for each in described}
    names = {each["domainConfigurationName"]: each.get("domainName") or "another service" for each in described}
    served, refusals = {}, []
    for endpoint in endpoints:
        configuration = domains.get(plain(endpoint))
        if configuration is not None:
            served[endpoint] = _served(acm, endpoint, configuration)
        elif (taken := names.get(configuration_name(endpoint))) is not None:
            refusals.append(_name_taken(iot.region, endpoint, taken))
    refusals += [refusal for each in served.values() if (refusal := _own_refusal(each, arns.get(each.endpoint)))]
    for endpoint, arn in arns.items():
        if endpoint in endpoints and (refusal := arn_refusal(acm, endpoint, arn)):
            refusals.append(refusal)
    unserved = [endpoint for endpoint in endpoints if endpoint not in served and endpoint not in arns]
    return {**served, **_tagged(acm, unserved)}, refusals


def _served(acm: AwsClient, endpoint: str, configuration: Mapping[str, Any]) -> Served:
    certificates = configuration.get("serverCertificates") or [{}]
    arn = certificates[0].get("serverCertificateArn") or ""
    certificate = _certificate(acm, arn) if arn else None
    tags = _tags(acm, arn) if certificate else {}
    return Served(endpoint, acm.region, arn, certificate, configuration["domainConfigurationName"], tags)


def _certificate(acm: AwsClient, arn: str) -> Certificate | None:
    found = acm.find("GetCertificate", CertificateArn=arn)
    return read_certificates(arn, found["Certificate"].encode())[0] if found else None


def _tags(acm: AwsClient, arn: str) -> dict[str, str]:
    listed = acm.call("ListTagsForCertificate", CertificateArn=arn).get("Tags") or []
    return {each["Key"]: each.get("Value", "") for each in listed}


def _tagged(acm: AwsClient, endpoints: Sequence[str]) -> dict[str, Served]:
    """Imported certificates that no domain configuration serves yet, found by their tag Name."""
    found: dict[str, Served] = {}
    wanted = {plain(endpoint): endpoint for endpoint in endpoints}
    if not wanted:
        return found
    cursor = ("NextToken", "NextToken")
    for summary in acm.pages("ListCertificates", "CertificateSummaryList", cursor, Includes={"keyTypes": [*KEY_TYPES]}):
        if summary.get("Type", "IMPORTED") != "IMPORTED" or not _may_be_for(summary, wanted):
            continue
        tags = _tags(acm, summary["CertificateArn"])
        endpoint = wanted.get(plain(tags.get(NAME_TAG, "")))
        if endpoint is not None and (certificate := _certificate(acm, summary["CertificateArn"])):
            found[endpoint] = Served(endpoint, acm.region, summary["CertificateArn"], certificate, None, tags)
    return found


def _may_be_for(summary: Mapping[str, Any], wanted: Collection[str]) -> bool:
    """Whether a certificate may be for one of the endpoints, by the names in its summary, which need not list all."""
    names = [summary.get("DomainName"), *(summary.get("SubjectAlternativeNameSummaries") or [])]
    known = {plain(name) for name in names if isinstance(name, str) and name}
    return any(known & names_for(name) for name in wanted) or bool(summary.get("HasAdditionalSubjectAlternativeNames"))


def _name_taken(region: str, endpoint: str, domain: str) -> Refusal:
    name = configuration_name(endpoint)
    return Refusal(
        f"domain configuration {name} in {region}",
        f"one of {domain}",
        f"none, or that of {endpoint}",
        "delete it, or create a domain configuration of another name for the endpoint, which setup.yml then uses",
    )


def _own_refusal(served: Served, arn: str | None) -> Refusal | None:
    """A refusal where the configuration serves another certificate than the ARN in the inventory."""
    if arn is None or arn == served.arn:
        return None
    return Refusal(
        f"domain configuration {served.configuration} in {served.region}",
        f"server certificate {served.arn}",
        f"{arn} (iot_region_server_certificate_arns), which AWS cannot change",
        "correct the ARN; or delete the configuration, while no failover needs it, and run again",
    )


def arn_refusal(acm: AwsClient, endpoint: str, arn: str) -> Refusal | None:
    """Why the operator's own certificate cannot serve an endpoint; None where it can.

    Source: https://docs.aws.amazon.com/iot/latest/developerguide/iot-custom-endpoints-configurable-custom.html
    ("Certificate requirements").
    """
    what = f"iot_region_server_certificate_arns of {endpoint} in {acm.region}"
    if arn.split(":")[2:4] != ["acm", acm.region]:
        return Refusal(what, f"'{arn}'", f"the ARN of an ACM certificate in {acm.region}", "correct it in host_vars")
    found = acm.find("DescribeCertificate", CertificateArn=arn)
    if found is None:
        return Refusal(what, f"'{arn}', which ACM does not have", "one that it has", "correct it in host_vars")
    described: dict[str, Any] = found.get("Certificate") or {}
    # ACM also spells it with hyphens.
    key = str(described.get("KeyAlgorithm")).replace("-", "_")
    if key not in SERVED_KEY_TYPES:
        return Refusal(
            what,
            f"a key of type {key}",
            " or ".join(SERVED_KEY_TYPES),
            "name a certificate with such a key",
        )
    return status_refusal(what, str(described.get("Status"))) or name_refusal(what, described, endpoint)


def status_refusal(what: str, status: str) -> Refusal | None:
    """Why a certificate with this ACM status cannot be used."""
    if status == "ISSUED":
        return None
    advice = "create the CNAME that DescribeCertificate names, and wait until ACM has seen it; or name another"
    return Refusal(
        what,
        f"a certificate that is {status}",
        "one that is ISSUED",
        advice if status == "PENDING_VALIDATION" else "name one that is",
    )


def name_refusal(what: str, described: Mapping[str, Any], endpoint: str) -> Refusal | None:
    """Why a certificate, as returned by DescribeCertificate, is not valid for an endpoint."""
    names = described.get("SubjectAlternativeNames") or [described.get("DomainName") or ""]
    if names_for(endpoint) & {plain(name) for name in names}:
        return None
    return Refusal(what, f"a certificate for {', '.join(names)}", f"one for {endpoint}", "correct it in host_vars")


# What setup does with the certificate of an endpoint in a region.
KEEP, IMPORT = "keep", "import"


@dataclass(frozen=True)
class Decision:
    """Attributes: action: KEEP or IMPORT; warning: for the operator, or None."""

    action: str
    warning: str | None = None


def decide(served: Served | None, material: Material, now: dt.datetime) -> Decision | Refusal:
    """Decide whether to import: never over a certificate that setup did not make, nor over a newer one."""
    if served is None:
        return Decision(IMPORT)
    if served.certificate is None:
        return Refusal(
            served.where,
            "no such certificate in ACM",
            f"the one that domain configuration {served.configuration} names",
            "delete the domain configuration, while no failover needs it, and run again",
        )
    refusal = _foreign(served, served.certificate, material)
    if refusal is not None:
        return refusal
    offered = material.certificate
    if offered is None or offered.parsed == served.certificate.parsed:
        return Decision(KEEP)
    if not _replaces(offered, served.certificate, served.endpoint, now):
        return Decision(KEEP, _left("is not older", served, served.certificate, offered))
    if not is_setups(served, material):
        return Decision(KEEP, _left("was not imported by setup.yml", served, served.certificate, offered))
    if kind(offered) != kind(served.certificate):
        return Refusal(
            served.where,
            f"a key of kind {kind(served.certificate)}",
            f"{kind(offered)}, which ACM does not take under the same ARN",
            f"use a key of kind {kind(served.certificate)}",
        )
    return Decision(IMPORT, _serving_warning(served, served.certificate, offered))


def _serving_warning(served: Served, present: Certificate, offered: Certificate) -> str | None:
    """A warning where AWS IoT keeps serving the certificate that is replaced in ACM."""
    differing = serving_differences(present, offered)
    if served.configuration is None or not differing:
        return None
    return (
        f"{served.where}: the {' and '.join(differing)} of the certificate that is imported differ from those of the "
        "one that is served, which AWS IoT keeps: delete the domain configuration, while no failover needs it, "
        "and run again"
    )


def _foreign(served: Served, certificate: Certificate, material: Material) -> Refusal | None:
    """Why setup must not replace a region's certificate; None where it may."""
    keep = "to keep it, set iot_region_server_certificate_arns in host_vars/<region>.yml to its ARN (given in brackets)"
    if material.authority is None:
        same = material.certificate is not None and material.certificate.parsed == certificate.parsed
        if same or served.tags.get(TAG) == GIVEN:
            return None
        return Refusal(
            served.where,
            f"a certificate of {certificate.issuer} that setup.yml did not import from pki_server_certificates",
            "none, or one that it did",
            keep,
        )
    if certificate.issued_by(material.authority):
        return None
    return Refusal(
        served.where,
        f"a certificate of another CA ({certificate.issuer})",
        f"one of this inventory's CA ({material.authority.subject})",
        f"bring the ca.crt and ca.key that it was set up with into certs_directory, or name them in pki_ca_certificate "
        f"and pki_ca_private_key; {keep}",
    )


def _replaces(offered: Certificate, present: Certificate, endpoint: str, now: dt.datetime) -> bool:
    """Whether the offered certificate is newer, or the present one unusable."""
    if is_newer(offered, present):
        return True
    return offered.not_after > now and (present.not_after <= now or not covers(present, endpoint))


def is_setups(served: Served, material: Material) -> bool:
    """Whether setup imported it: by its tag or, where an earlier release set none, by keys that only setup has."""
    if served.tags.get(TAG) == material.origin:
        return True
    authority, certificate = material.authority, served.certificate
    if authority is None or certificate is None or not certificate.issued_by(authority):
        return False
    return authority.public_key in material.made or certificate.public_key in material.made


def _left(why: str, served: Served, certificate: Certificate, offered: Certificate) -> str:
    return (
        f"{served.where}: its certificate ({certificate.described()}) {why}, and is left as it is; "
        f"the one of this inventory is {offered.described()}"
    )


def refuse(refusals: Sequence[Refusal]) -> None:
    """Raise one error for all refusals; places with the same problem share a sentence.

    Raises:
        RefusedError: there is at least one.
    """
    places: dict[tuple[str, str, str], list[str]] = {}
    for each in refusals:
        places.setdefault((each.found, each.expected, each.advice), []).append(each.what)
    if places:
        lines = (
            f"{', '.join(what)}: found {found}, expected {expected}: {advice}"
            for (found, expected, advice), what in places.items()
        )
        raise RefusedError("; ".join(lines))


def importer(region: str) -> AwsClient:
    """A client without retries: repeating an import whose answer was lost makes a second certificate, and each attempt
    counts against the quota."""
    return AwsClient("acm", region, attempts=1)


def import_certificate(acm: AwsClient, endpoint: str, material: Material, served: Served | None) -> str:
    """Import the certificate, over the one that is served if any, and return its ARN.

    Args:
        acm: from `importer`.

    Raises:
        AwsError: ACM refuses, or throttles imports for a minute.
    """
    certificate = material.certificate
    if certificate is None or material.private_key is None:
        raise RefusedError(
            f"{endpoint} in {acm.region}: there is no certificate to import in certs_directory: run setup.yml without "
            "--limit"
        )
    content = {"Certificate": certificate.pem.encode(), "PrivateKey": material.private_key}
    if material.chain:
        content["CertificateChain"] = material.chain.encode()
    tag = {"Key": TAG, "Value": material.origin}
    if served is None:
        tags = [{"Key": NAME_TAG, "Value": endpoint}, tag]
        return str(_import(acm, Tags=tags, **content)["CertificateArn"])
    _import(acm, CertificateArn=served.arn, **content)
    # Not permitted on a re-import.
    if served.tags.get(TAG) != material.origin:
        acm.call("AddTagsToCertificate", CertificateArn=served.arn, Tags=[tag])
    return served.arn


def _import(acm: AwsClient, **content: Any) -> dict[str, Any]:
    return retried(
        lambda: acm.call("ImportCertificate", **content),
        lambda error: IMPORT_ATTEMPTS if error.throttled else 1,
        lambda _: time.sleep(IMPORT_INTERVAL),
    )
