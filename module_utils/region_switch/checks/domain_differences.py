"""Compares what two domain configurations of one name require of a device. No I/O.

A device that is admitted by one may be refused by the other:
https://docs.aws.amazon.com/iot/latest/developerguide/protocols.html#device-protocol-authentication
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

# https://docs.aws.amazon.com/iot/latest/developerguide/iot-endpoints-tls-config.html: the newest supported
# version, and the oldest; the suffix differs between Regions.
_TLS = re.compile(r"IoTSecurityPolicy_TLS1(\d)_1_(\d)_.+")


@dataclass(frozen=True)
class Difference:
    """One thing that differs.

    Attributes:
        blocking: whether devices may be refused because of it.
        found, expected: the values in the target and in the region that is left.
    """

    blocking: bool
    found: str
    expected: str


def compare(left: Mapping[str, object], target: Mapping[str, object]) -> list[Difference]:
    """Compare DescribeDomainConfiguration's answers of the region that is left and of the target."""
    found = [
        Difference(True, f"{key} {_said(target, key)}", _said(left, key))
        for key in ("authenticationType", "applicationProtocol")
        if _said(left, key) != _said(target, key)
    ]
    return [*found, *_authorizers(left, target), *_policies(left, target)]


def _said(described: Mapping[str, object], key: str) -> str:
    # Domain configurations older than these settings do not have them.
    return str(described.get(key) or "DEFAULT")


def _authorizers(left: Mapping[str, object], target: Mapping[str, object]) -> list[Difference]:
    before, after = (_authorizer(each) for each in (left, target))
    if before == after:
        return []
    # The same authorizer may have another name in each Region.
    blocking = (bool(before[0]), before[1]) != (bool(after[0]), after[1])
    return [Difference(blocking, _shown(*after), _shown(*before))]


def _authorizer(described: Mapping[str, object]) -> tuple[str, bool]:
    """The default authorizer, empty for none, and whether a client may name another one."""
    config = described.get("authorizerConfig")
    config = config if isinstance(config, Mapping) else {}
    return str(config.get("defaultAuthorizerName") or ""), bool(config.get("allowAuthorizerOverride"))


def _shown(name: str, override: bool) -> str:
    may = "clients may name another" if override else "clients may name no other"
    return f"authorizer {name or 'none'} ({may})"


def _policies(left: Mapping[str, object], target: Mapping[str, object]) -> list[Difference]:
    before, after = _policy(left), _policy(target)
    old, new = _TLS.fullmatch(before), _TLS.fullmatch(after)
    if before == after or not before or not after:
        return []
    if old and new:
        takes_all = new[1] >= old[1] and new[2] <= old[2]
        # Only the suffix differs.
        return [] if old.groups() == new.groups() else [Difference(not takes_all, f"TLS policy {after}", before)]
    return [Difference(True, f"TLS policy {after}", before)]


def _policy(described: Mapping[str, object]) -> str:
    config = described.get("tlsConfig")
    return str(config.get("securityPolicy") or "") if isinstance(config, Mapping) else ""
