"""Whether a request is signed with a known access key's secret, now, and for what it asks.

Sources: IAM User Guide, "AWS Signature Version 4 for API requests" and "Troubleshoot Signature Version 4 signing";
the codes are those of "Common errors" in the API references of services of each protocol. Service and region of a
signature are believed, since one address stands for all.
"""

from __future__ import annotations

import functools
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.compat import HTTPHeaders
from botocore.credentials import Credentials

from lab.aws_api.identities import Identity

# How far the time of a signature may be from AWS's.
TOLERANCE = timedelta(minutes=5)
_STAMP = "%Y%m%dT%H%M%SZ"
_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 +Credential=(?P<key>[^/, ]+)/(?P<date>\d{8})/(?P<region>[^/, ]+)/(?P<service>[^/, ]+)"
    r"/aws4_request, *SignedHeaders=(?P<headers>[^, ]+), *Signature=(?P<signature>[0-9a-f]{64})"
)
# By what is wrong: code of services of XML, code of services of JSON.
CODES = {
    "unknown": ("InvalidClientTokenId", "UnrecognizedClientException"),
    "expired": ("ExpiredToken", "ExpiredTokenException"),
    "signature": ("SignatureDoesNotMatch", "InvalidSignatureException"),
    "incomplete": ("IncompleteSignature", "IncompleteSignatureException"),
}
INVALID_TOKEN = "The security token included in the request is invalid."  # noqa: S105 - AWS's words
_OTHER_SIGNATURE = (
    "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key "
    "and signing method. Consult the service documentation for details."
)


@dataclass(frozen=True)
class Signed:
    """A request as it came over the wire.

    Attributes:
        target: path and query, percent-encoded as they came.
        headers: by their names in lower case.
    """

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Problem:
    """Why a request is not taken: a key of CODES, and AWS's words."""

    kind: str
    message: str


class _Verifier(SigV4Auth):  # type: ignore[misc]
    """Botocore's signer, for the headers that a request says are signed."""

    def __init__(self, credentials: Credentials, service: str, region: str, names: list[str]) -> None:
        super().__init__(credentials, service, region)
        self._names = names

    def headers_to_sign(self, request: AWSRequest) -> HTTPHeaders:
        headers = HTTPHeaders()
        for name in self._names:
            headers[name] = request.headers.get(name, "")
        return headers

    def signature(self, string_to_sign: str, request: AWSRequest) -> str:
        stamp = request.context["timestamp"]
        key = _signing_key(self.credentials.secret_key, stamp[:8], self._region_name, self._service_name)
        return hmac.digest(key, string_to_sign.encode(), "sha256").hex()


@functools.lru_cache(maxsize=256)
def _signing_key(secret: str, *scope: str) -> bytes:
    """The same for a day, a region and a service."""
    parts = (*scope, "aws4_request")
    return functools.reduce(
        lambda key, part: hmac.digest(key, part.encode(), "sha256"), parts, f"AWS4{secret}".encode()
    )


def problem(request: Signed, identities: Mapping[str, Identity], now: datetime) -> Problem | None:
    """Return why a request's signature is not taken, None where it is.

    Args:
        identities: by access key.
        now: AWS's time.
    """
    authorization = _AUTHORIZATION.fullmatch(request.headers.get("authorization", ""))
    stamp = request.headers.get("x-amz-date", "")
    signed = _time(stamp)
    if authorization is None or signed is None:
        return Problem(
            "incomplete", "Authorization header requires 'Credential', 'Signature', 'SignedHeaders' and date"
        )
    identity = identities.get(authorization["key"])
    if identity is None or request.headers.get("x-amz-security-token") != identity.token:
        return Problem("unknown", INVALID_TOKEN)
    if authorization["date"] != stamp[:8]:
        return Problem("signature", "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date")
    if said := _wrong_time(stamp, signed, now):
        return Problem("signature", said)
    names = authorization["headers"].split(";")
    if missing := _unsigned(request, names):
        return Problem("signature", f"'{missing}' must be a 'SignedHeader' in the AWS Authorization")
    if not hmac.compare_digest(_expected(request, identity, authorization, names), authorization["signature"]):
        return Problem("signature", _OTHER_SIGNATURE)
    if identity.expired:
        return Problem("expired", "The security token included in the request is expired")
    return None


def _time(stamp: str) -> datetime | None:
    """The time of an X-Amz-Date, None where it is none."""
    try:
        return datetime.fromisoformat(stamp) if re.fullmatch(r"\d{8}T\d{6}Z", stamp) else None
    except ValueError:
        return None


def _wrong_time(stamp: str, signed: datetime, now: datetime) -> str | None:
    shown = now.strftime(_STAMP)
    if signed < now - TOLERANCE:
        earliest = (now - TOLERANCE).strftime(_STAMP)
        return f"Signature expired: {stamp} is now earlier than {earliest} ({shown} - 5 min.)"
    if signed > now + TOLERANCE:
        latest = (now + TOLERANCE).strftime(_STAMP)
        return f"Signature not yet current: {stamp} is still later than {latest} ({shown} + 5 min.)"
    return None


def _unsigned(request: Signed, names: list[str]) -> str | None:
    """A header that has to be signed and is not: host, and every x-amz-* that is there."""
    needed = ["host", *sorted(name for name in request.headers if name.startswith("x-amz-"))]
    return next((name for name in needed if name not in names), None)


def _expected(request: Signed, identity: Identity, authorization: re.Match[str], names: list[str]) -> str:
    signer = _Verifier(
        Credentials(authorization["key"], identity.secret), authorization["service"], authorization["region"], names
    )
    # Only path and query of the address are signed; a scheme that is not https has the payload hashed.
    asked = AWSRequest(request.method, f"http://host{request.target}", dict(request.headers), request.body)
    asked.context["timestamp"] = request.headers["x-amz-date"]
    given = request.headers.get("x-amz-content-sha256")
    if given is not None and given != signer.payload(asked):
        return ""
    return str(signer.signature(signer.string_to_sign(asked, signer.canonical_request(asked)), asked))
