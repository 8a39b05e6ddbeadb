"""Which certificates AWS IoT treats as public: those of a CA in Mozilla's bundle.

Source: https://docs.aws.amazon.com/iot/latest/developerguide/iot-custom-endpoints-configurable-custom.html
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from botocore.httpsession import where
from cryptography import x509
from cryptography.utils import CryptographyDeprecationWarning

from .server_certificate import Certificate


@cache
def roots() -> tuple[Certificate, ...]:
    """The roots of Mozilla's bundle, which botocore ships; none where it was removed."""
    try:
        with warnings.catch_warnings():
            # One root has a serial number that RFC 5280 does not allow.
            warnings.simplefilter("ignore", CryptographyDeprecationWarning)
            found = x509.load_pem_x509_certificates(Path(where()).read_bytes())
    except (OSError, ValueError):
        return ()
    return tuple(Certificate(each) for each in found)


def is_public(chain: Sequence[Certificate]) -> bool:
    """Whether a chain, the server certificate first, leads to a public CA."""
    by_subject: dict[str, list[Certificate]] = {}
    for root in roots():
        by_subject.setdefault(root.subject, []).append(root)
    return any(
        each.parsed == root.parsed or each.issued_by(root) for each in chain for root in by_subject.get(each.issuer, [])
    )
