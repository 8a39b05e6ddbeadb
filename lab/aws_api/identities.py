"""Who may call the stand-in: access keys with their secrets, and what their policies allow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from lab.aws_api import iam


@dataclass(frozen=True)
class Identity:
    """A user or role, by its access key.

    Attributes:
        secret: secret access key.
        arn: of the user or role; empty: a user of the account who has the access key's name.
        token: session token that has to come with temporary credentials; None: long-term credentials, without one.
        expired: whether the session is over.
        policies: documents of its identity-based policies; None: everything is allowed, as to an administrator.
    """

    secret: str
    arn: str = ""
    token: str | None = None
    expired: bool = False
    policies: list[dict[str, Any]] | None = None

    def __post_init__(self) -> None:
        for document in self.policies or ():
            iam.check(document)


def parse(content: Mapping[str, Mapping[str, Any]]) -> dict[str, Identity]:
    """Return identities by access key.

    Raises:
        ValueError: an unknown attribute, one that is missing, or a policy document that AWS would refuse.
    """
    known = {field.name for field in fields(Identity)}
    found = {}
    for access_key, item in content.items():
        if unknown := set(item) - known:
            raise ValueError(
                f"identity {access_key}: {', '.join(sorted(unknown))}: expected {', '.join(sorted(known))}"
            )
        if not isinstance(item.get("secret"), str):
            raise ValueError(f"identity {access_key}: no secret")
        found[access_key] = Identity(**item)
    return found
