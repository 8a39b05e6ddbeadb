"""The CNAME of an endpoint. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Record:
    """A CNAME as a DNS method has read it.

    Attributes:
        name: without the trailing dot.
        value: the target, lower case, without the trailing dot.
        raw: the record exactly as read, such as a ResourceRecordSet, for compare-and-swap.
    """

    name: str
    value: str
    ttl: int
    raw: Mapping[str, Any] = field(compare=False)
