"""What somebody turned off stays off: why set-up does not change a client's certificate in a region. No I/O.

AWS knows a certificate's status and attachments, but not who set them. Set-up gives a client's thing the endpoint
attribute last: where the thing has the attribute and an attachment is missing, set-up was not interrupted, but somebody
detached it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

ACTIVE = "ACTIVE"
# https://docs.aws.amazon.com/iot/latest/apireference/API_CertificateDescription.html, status.
_PENDING = {
    "PENDING_TRANSFER": "left as it is; accept, reject or cancel its transfer to another account, then run again",
    "PENDING_ACTIVATION": "left as it is; what registered it just in time has to activate it, then run again",
}
_OFF = "left as it is, since somebody turned it off"
_REMEDY = "name it in iot_region_restored_clients to admit it again"


@dataclass(frozen=True)
class Wanted:
    """The attachments that set-up would make to a client's certificate.

    Attributes:
        thing: None for a client without one.
        complete: whether set-up was completed in the region before.
    """

    policy: str
    thing: str | None
    complete: bool


def status_reason(certificate_id: str, status: str, region: str) -> str | None:
    """Why a certificate of this status is not changed; None where it is ACTIVE."""
    if status == ACTIVE:
        return None
    advice = _PENDING.get(status, f"{_OFF}; {_REMEDY}")
    return f"found certificate {certificate_id} {status} in {region}, expected {ACTIVE}: {advice}"


def attachment_reason(known: Mapping[str, Any], wanted: Wanted, region: str) -> str | None:
    """Why nothing is attached to a certificate that the region knows; None where nothing forbids it.

    Args:
        known: as `certificate.known_certificate` returns it.
    """
    place = f"certificate {known['certificate_id']} in {region}"
    missing = [] if wanted.policy in known["policies"] else [f"policy {wanted.policy}"]
    if wanted.thing and wanted.thing not in known["things"]:
        if known["things"]:
            things = ", ".join(known["things"])
            return (
                f"{place} is attached to thing {things}, and a certificate is for one client: detach it there, or give "
                "this client its own"
            )
        missing.append(f"thing {wanted.thing}")
    if not missing or not wanted.complete:
        return None
    return f"{place} is not attached to {' and '.join(missing)}: left as it is, since somebody detached it; {_REMEDY}"


def shut_out_reason(statuses: Iterable[tuple[str, str]], region: str) -> str | None:
    """Why a client gets no new certificate: all of its certificates were turned off.

    Args:
        statuses: `(certificate ID, status)` of those attached to its thing.
    """
    found = list(statuses)
    if not found or any(status == ACTIVE for _, status in found):
        return None
    named = ", ".join(f"{identifier} {status}" for identifier, status in found)
    return (
        f"certificate {named} in {region}, and the client has no other: no new one is made, since somebody turned it "
        f"off; {_REMEDY}"
    )


def deleted_reason(certificate_id: str, region: str) -> str:
    """Why a certificate that set-up had registered in a region is not registered again."""
    return (
        f"certificate {certificate_id} is unknown in {region}, where set-up had registered it: not registered again, "
        f"since somebody deleted it; {_REMEDY}"
    )
