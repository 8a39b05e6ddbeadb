"""Which certificates AWS IoT Core takes for public: those of a CA in Mozilla's bundle.

Source: https://docs.aws.amazon.com/iot/latest/developerguide/iot-custom-endpoints-configurable-custom.html
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

import botocore
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.utils import CryptographyDeprecationWarning

# Mozilla's, as botocore brings it.
BUNDLE = Path(botocore.__file__).parent / "cacert.pem"


@cache
def mozilla() -> tuple[x509.Certificate, ...]:
    """Return the roots of Mozilla's bundle."""
    with warnings.catch_warnings():
        # One of them has a serial number that RFC 5280 does not allow.
        warnings.simplefilter("ignore", CryptographyDeprecationWarning)
        return tuple(x509.load_pem_x509_certificates(BUNDLE.read_bytes()))


def is_public(chain: Sequence[x509.Certificate], roots: Iterable[x509.Certificate]) -> bool:
    """Return whether a chain, the certificate first, ends at one of the roots."""
    return any(_of(certificate, root) for root in roots for certificate in chain)


def issued(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Return whether a certificate is signed by another's key."""
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _of(certificate: x509.Certificate, root: x509.Certificate) -> bool:
    if certificate == root:
        return True
    return certificate.issuer == root.subject and issued(certificate, root)
