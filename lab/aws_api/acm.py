"""The public certificates of ACM."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import NamedTuple

from moto.acm.models import CertBundle

PUBLIC = "AMAZON_ISSUED"


def public_arn(account_id: str, region: str, name: str) -> str:
    """Return the ARN of the public certificate that the lab's account has for a name from the beginning."""
    identifier = uuid.uuid5(uuid.NAMESPACE_DNS, f"{region}.{name}")
    return f"arn:aws:acm:{region}:{account_id}:certificate/{identifier}"


class Owner(NamedTuple):
    """Whose certificates they are.

    Attributes:
        root: PEM of the CA that issues them.
        has_cname: whether the account's zones have a CNAME, by name and value.
    """

    account_id: str
    root: str
    has_cname: Callable[[str, str], bool]


class PublicCertificate(CertBundle):  # type: ignore[misc]
    """A certificate of Amazon's; one that was requested is issued once its names are proven to be the account's."""

    def __init__(
        self, owner: Owner, region: str, names: list[str], pem: tuple[str, str], arn: str | None = None
    ) -> None:
        certificate, key = (part.encode() for part in pem)
        super().__init__(owner.account_id, certificate, key, region=region, arn=arn, cert_type=PUBLIC)
        self.chain = owner.root.encode()
        self._owner = owner
        self._names = names

    def check(self) -> None:
        """Issue what is validated; moto does it after a minute, whatever is in DNS.

        Source: https://docs.aws.amazon.com/acm/latest/userguide/dns-validation.html
        """
        if self._cert.not_valid_after_utc <= datetime.now(UTC):
            self.status = "EXPIRED"
        elif self.status == "PENDING_VALIDATION" and self._validated():
            self.status = "ISSUED"

    def _validated(self) -> bool:
        options = self.describe()["Certificate"]["DomainValidationOptions"]
        records = [option["ResourceRecord"] for option in options]
        return all(self._owner.has_cname(record["Name"], record["Value"]) for record in records)
