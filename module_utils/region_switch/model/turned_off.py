"""What somebody turned off stays off: why set-up leaves a client's certificate in a region as it is. No I/O.

AWS says what a certificate's status is and what is attached to it, not who had it so. Set-up gives the thing of a
client its endpoint's attribute when all else is done: where the attribute is and an attachment is missing, somebody
has taken the attachment away, and set-up was not interrupted.
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
_WAY_ON = "name it in iot_region_restored_clients to admit it again"


@dataclass(frozen=True)
class Wanted:
    """What set-up would attach to a client's certificate.

    Attributes:
        thing: None for a client without one.
        complete: whether set-up was complete here once.
    """

    policy: str
    thing: str | None
    complete: bool


def status_reason(certificate_id: str, status: str, region: str) -> str | None:
    """Why a certificate of this status is left as it is; None where it is ACTIVE."""
    if status == ACTIVE:
        return None
    advice = _PENDING.get(status, f"{_OFF}; {_WAY_ON}")
    return f"found certificate {certificate_id} {status} in {region}, expected {ACTIVE}: {advice}"


def attachment_reason(known: Mapping[str, Any], wanted: Wanted, region: str) -> str | None:
    """Why nothing is attached to a certificate that the region knows; None where it may be, or need not.

    Args:
        known: as `certificate.known_certificate` returns it.
    """
    place = f"certificate {known['certificate_id']} in {region}"
    missing = [] if wanted.policy in known["policies"] else [f"policy {wanted.policy}"]
    if wanted.thing and wanted.thing not in known["things"]:
        if known["things"]:
            things = ", ".join(known["things"])
            return (
                f"found {place} attached to thing {things}, expected one client for a certificate: detach it there, or "
                "give this client its own"
            )
        missing.append(f"thing {wanted.thing}")
    if not missing or not wanted.complete:
        return None
    return (
        f"found {place} without {' and '.join(missing)}, expected it attached: left as it is, since somebody detached "
        f"it; {_WAY_ON}"
    )


def shut_out_reason(statuses: Iterable[tuple[str, str]], region: str) -> str | None:
    """Why a client gets no other certificate: it has some, and each was turned off.

    Args:
        statuses: `(certificate ID, status)` of what is attached to its thing.
    """
    found = list(statuses)
    if not found or any(status == ACTIVE for _, status in found):
        return None
    named = ", ".join(f"{identifier} {status}" for identifier, status in found)
    return (
        f"found certificate {named} in {region} and no other of this client, expected one that is {ACTIVE}: no new one "
        f"is made, since somebody turned it off; {_WAY_ON}"
    )


def deleted_reason(certificate_id: str, region: str) -> str:
    """Why a certificate that set-up had once registered in a region is not registered again."""
    return (
        f"found certificate {certificate_id} unknown in {region}, expected it there, as set-up had made it: not "
        f"registered again, since somebody deleted it; {_WAY_ON}"
    )
