"""What IoT Core requires of a domain configuration, beyond what moto keeps and checks."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import ExtendedKeyUsageOID

from lab.aws_api.imports import key_algorithm

MAX_CONFIGURATIONS = 10
MAX_NAMES = 4
KEY_ALGORITHMS = ("RSA_2048", "EC_prime256v1")
CHAIN_DEPTH = 5
CHAIN_BYTES = 16 * 1024
DEFAULT_SECURITY_POLICY = "IoTSecurityPolicy_TLS13_1_2_2022_10"
STATUSES = ("ENABLED", "DISABLED")
DEFAULTS: dict[str, Any] = {
    "tlsConfig": {"securityPolicy": DEFAULT_SECURITY_POLICY},
    "serverCertificateConfig": {"enableOCSPCheck": False},
    "authenticationType": "DEFAULT",
    "applicationProtocol": "DEFAULT",
    "clientCertificateConfig": {},
}
_NAME = re.compile(r"[\w.-]{1,128}")


def name_problem(name: str) -> str | None:
    """Return what is wrong with a domain configuration's name, or None."""
    if name.lower().startswith("iot:"):
        return f"domainConfigurationName {name!r}: IoT: is reserved for default endpoints"
    if not _NAME.fullmatch(name):
        return f"domainConfigurationName {name!r}: expected 1 to 128 letters, digits, and . _ -"
    return None


def certificate_problem(certificate: x509.Certificate, domain_name: str) -> str | None:
    """Return why a server certificate cannot serve a domain name, or None.

    Source: AWS IoT developer guide, "Creating and configuring customer managed domains".
    """
    algorithm = key_algorithm(certificate)
    if algorithm not in KEY_ALGORITHMS:
        return f"key algorithm {algorithm}, expected one of {', '.join(KEY_ALGORITHMS)}"
    try:
        usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return "no extended key usage, expected serverAuth"
    if ExtendedKeyUsageOID.SERVER_AUTH not in usage:
        return "extended key usage without serverAuth"
    names = _names(certificate)
    if len(names) > MAX_NAMES:
        return f"{len(names)} names, expected {MAX_NAMES} at most"
    return coverage_problem(certificate, domain_name)


def coverage_problem(certificate: x509.Certificate, domain_name: str) -> str | None:
    """Return a line where a certificate is not for a domain name, else None."""
    names = _names(certificate)
    if not any(covers(name, domain_name) for name in names):
        return f"its names ({', '.join(names) or 'none'}) do not cover {domain_name}"
    return None


def chain_problem(chain: Sequence[x509.Certificate]) -> str | None:
    """Return what is wrong with a chain, the server certificate first, or None; source as for `certificate_problem`."""
    if len(chain) > CHAIN_DEPTH:
        return f"a chain of {len(chain)} certificates, expected {CHAIN_DEPTH} at most"
    size = sum(len(each.public_bytes(serialization.Encoding.PEM)) for each in chain)
    return f"a chain of {size} bytes, expected {CHAIN_BYTES} at most" if size > CHAIN_BYTES else None


def served_problem(certificate: x509.Certificate, domain_name: str) -> str | None:
    """Return why a certificate that is served is INVALID, or None."""
    if certificate.not_valid_after_utc <= datetime.now(UTC):
        return f"expired at {certificate.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}"
    return certificate_problem(certificate, domain_name)


def _names(certificate: x509.Certificate) -> list[str]:
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        return extension.value.get_values_for_type(x509.DNSName)
    except x509.ExtensionNotFound:
        common = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
        return [str(attribute.value) for attribute in common]


def covers(pattern: str, name: str) -> bool:
    """Return whether a certificate's name, exact or with a leading `*.`, covers a domain name."""
    if pattern.startswith("*."):
        return name.partition(".")[2].lower() == pattern[2:].lower()
    return name.lower() == pattern.lower()
