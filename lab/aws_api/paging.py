"""Answers of list operations, a page at a time: moto gives most of them whole."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from lab.aws_api.errors import AwsError

# AWS says the largest page alone; whoever asks for none may get any. This one is small, so that it is noticed when
# the next page is not asked for.
DEFAULT_SIZE = 25


@dataclass(frozen=True)
class Listing:
    """How an operation is paged.

    Attributes:
        items: name of the list in the answer.
        size, cursor: names of the request's parameters.
        next_cursor: name of the next page's token in the answer.
        maximum: the largest page.
        error: code of the error at a page or a token that is none.
    """

    items: str
    size: str = "maxResults"
    cursor: str = "nextToken"
    next_cursor: str = "nextToken"
    maximum: int = 250
    error: str = "InvalidRequestException"


def _marked(items: str) -> Listing:
    return Listing(items, "pageSize", "marker", "nextMarker")


# https://docs.aws.amazon.com/iot/latest/apireference/API_Operations_AWS_IoT.html, each operation's page.
IOT = {
    "ListAttachedPolicies": _marked("policies"),
    "ListCertificates": _marked("certificates"),
    "ListDomainConfigurations": _marked("domainConfigurations"),
    "ListPolicies": _marked("policies"),
    "ListPolicyPrincipals": _marked("principals"),
    "ListPrincipalPolicies": _marked("policies"),
    "ListTargetsForPolicy": _marked("targets"),
    "ListPrincipalThings": Listing("things"),
    "ListThingPrincipals": Listing("principals"),
    "ListThingTypes": Listing("thingTypes"),
    "ListThings": Listing("things"),
}
# https://docs.aws.amazon.com/acm/latest/APIReference/API_ListCertificates.html
ACM = Listing("CertificateSummaryList", "MaxItems", "NextToken", "NextToken", 1000, "ValidationException")
# https://docs.aws.amazon.com/servicequotas/2019-06-24/apireference/API_ListServiceQuotas.html
SERVICE_QUOTAS = Listing("Quotas", "MaxResults", "NextToken", "NextToken", 100, "IllegalArgumentException")


def page(
    listing: Listing, found: Sequence[Any], scope: str, asked: Callable[[str], Any], largest: int | None = None
) -> dict[str, Any]:
    """Return a page of what was found, with the next page's token where there is one.

    Args:
        scope: what is listed; a token is of one list alone.
        asked: returns a parameter of the request, None where it has none of that name.
        largest: of any page, whatever is asked for: AWS may give fewer.

    Raises:
        AwsError: a size that is no number or beyond the documented ones, or a token of another list.
    """
    size, token = _size(listing, asked(listing.size)), asked(listing.cursor)
    first = _offset(listing, scope, token) if token else 0
    end = first + min(size or DEFAULT_SIZE, largest or listing.maximum)
    answer: dict[str, Any] = {listing.items: list(found[first:end])}
    if end < len(found):
        answer[listing.next_cursor] = _token(scope, end)
    return answer


def _size(listing: Listing, asked: Any) -> int | None:
    try:
        size = None if asked is None else int(asked)
    except ValueError as error:
        raise AwsError(listing.error, f"{listing.size} {asked!r}: expected a number") from error
    if size is not None and not 1 <= size <= listing.maximum:
        raise AwsError(listing.error, f"{listing.size} {size}: expected 1 to {listing.maximum}")
    return size


def _token(scope: str, offset: int) -> str:
    return base64.b64encode(f"{hashlib.sha256(scope.encode()).hexdigest()[:16]}:{offset}".encode()).decode()


def _offset(listing: Listing, scope: str, token: str) -> int:
    # What cannot be decoded is a ValueError, too.
    with suppress(ValueError):
        offset = int(base64.b64decode(token, validate=True).decode().rpartition(":")[2])
        if token == _token(scope, offset):
            return offset
    raise AwsError(listing.error, f"{listing.cursor}: not a token of this list")
