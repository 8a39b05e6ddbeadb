"""Check that each region would accept the endpoints' certificates, before anything is written. Reads only.

AWS IoT serves a custom domain with a certificate of a public CA, or with one of a private CA together with a public
certificate issued by ACM that proves who owns the domain: the validation certificate
(https://docs.aws.amazon.com/iot/latest/developerguide/iot-custom-endpoints-configurable-custom.html).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from ..aws.clients import AwsClient
from ..model.names import plain
from ..setup import acm as server_acm
from ..setup import public_ca
from ..setup.acm import AMAZON_ISSUED, Refusal
from ..setup.domain_configuration import configurations
from ..setup.server_certificate import read_certificates


@dataclass(frozen=True)
class Choice:
    """The certificates that the inventory chooses for a region.

    Attributes:
        own: `{endpoint: ARN}` of the operator's server certificates in ACM.
        validation: `{endpoint: ARN}` of validation certificates.
    """

    region: str
    own: Mapping[str, str] = field(default_factory=dict)
    validation: Mapping[str, str] = field(default_factory=dict)


def check(choices: Sequence[Choice], endpoints: Sequence[str], public: Collection[str]) -> None:
    """Return if each region has its domain configurations, or could create them.

    Args:
        choices: of the regions that will be set up, and answer.
        public: endpoints whose server certificate is imported and issued by a public CA.

    Raises:
        RefusedError: certificates that are missing or not suitable, all of them in one line.
        AwsError: AWS refuses a read.
    """
    with ThreadPoolExecutor(max(1, len(choices))) as pool:
        found = list(pool.map(lambda choice: _refusals(choice, endpoints, public), choices))
    server_acm.refuse([refusal for refusals in found for refusal in refusals])


def public_endpoints(given: Iterable[Mapping[str, str | None]]) -> list[str]:
    """The endpoints whose given certificate (PEM `certificate`, `chain`) is issued by a public CA.

    Raises:
        RefusedError: one that is not PEM.
    """
    found = []
    for each in given:
        text = f"{each['certificate']}\n{each.get('chain') or ''}".encode()
        if public_ca.is_public(read_certificates(f"pki_server_certificates of {each['endpoint']}", text)):
            found.append(str(each["endpoint"]))
    return found


def _refusals(choice: Choice, endpoints: Sequence[str], public: Collection[str]) -> list[Refusal]:
    region = choice.region
    iot, acm = (AwsClient(name, region, attempts=server_acm.ATTEMPTS) for name in ("iot", "acm"))
    # AWS checks ownership only when a domain configuration is created.
    proven = {plain(each.get("domainName", "")) for each in configurations(iot)}
    found: list[Refusal | None] = []
    for endpoint in endpoints:
        own = choice.own.get(endpoint)
        refusal = server_acm.arn_refusal(acm, endpoint, own) if own else None
        found.append(refusal)
        if refusal or plain(endpoint) in proven:
            continue
        is_public = endpoint in public if own is None else _is_public(acm, own)
        arn = choice.validation.get(endpoint)
        if arn:
            found.append(_proof_refusal(acm, endpoint, arn))
        elif not is_public:
            found.append(_no_proof(region, endpoint))
    return [each for each in found if each]


def _is_public(acm: AwsClient, arn: str) -> bool:
    described: dict[str, Any] = acm.call("DescribeCertificate", CertificateArn=arn).get("Certificate") or {}
    if described.get("Type") != "IMPORTED":
        return described.get("Type") == AMAZON_ISSUED
    answer = acm.call("GetCertificate", CertificateArn=arn)
    text = f"{answer.get('Certificate')}\n{answer.get('CertificateChain') or ''}"
    return public_ca.is_public(read_certificates(arn, text.encode()))


def _no_proof(region: str, endpoint: str) -> Refusal:
    return Refusal(
        f"{endpoint} in {region}",
        "a server certificate of a private CA, and none that proves to AWS IoT whose the name is",
        "a public certificate of ACM's for the name, in the same region",
        "request one there (aws acm request-certificate, --validation-method DNS); then name its ARN in "
        "host_vars/<region>.yml, in iot_region_validation_certificate_arns, or in iot_region_server_certificate_arns "
        "where devices are to be served the public one",
    )


def _proof_refusal(acm: AwsClient, endpoint: str, arn: str) -> Refusal | None:
    found = acm.find("DescribeCertificate", CertificateArn=arn)
    what = f"iot_region_validation_certificate_arns of {endpoint} in {acm.region}"
    if found is None:
        return Refusal(what, f"'{arn}', which ACM does not have", "one that it has", "correct it in host_vars")
    described: dict[str, Any] = found.get("Certificate") or {}
    kind, status = described.get("Type"), described.get("Status")
    if kind != AMAZON_ISSUED:
        return Refusal(
            what,
            f"a certificate of type {kind}",
            f"{AMAZON_ISSUED}, one that ACM issued after it validated the name",
            "request one there (aws acm request-certificate, --validation-method DNS), and name that",
        )
    return server_acm.status_refusal(what, str(status)) or server_acm.name_refusal(what, described, endpoint)
