"""Who makes a run, for whoever reads its journal, its summary or its page later."""

from __future__ import annotations

import platform
from dataclasses import asdict, dataclass
from typing import Any

from . import folder


@dataclass(frozen=True)
class Who:
    """Who makes a run, or made a plan.

    Attributes:
        user: name of the user that the module runs as.
        host: name of the controller.
        operator: who began it, as told by `operator`; None where nobody said.
        caller: ARN of GetCallerIdentity; None where AWS did not say.
    """

    user: str
    host: str
    operator: str | None
    caller: str | None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def here(operator: str | None, caller: str | None) -> Who:
    """Who makes what is made by this process."""
    return Who(folder.user(), platform.node(), operator or None, caller)


def line(found: dict[str, Any]) -> str:
    """What `Who.as_dict` returned, for people."""
    operator = f"{found['operator']}, " if found.get("operator") else ""
    caller = found.get("caller") or "not known to AWS"
    return f"{operator}{found.get('user')} on {found.get('host')}, {caller}"
