"""What an operator writes in the inventory, checked before anything is read or changed. No I/O."""

from __future__ import annotations

import re

from .device_names import not_text
from .dns_gate import parse_server
from .errors import RefusedError, one_line
from .modes import Modes, normalise

_LABEL = r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_DNS_NAME = re.compile(rf"(?=.{{1,254}}\Z){_LABEL}(\.{_LABEL})*\.?")
_REGION = re.compile(r"[a-z0-9]+(-[a-z0-9]+)+")
# https://datatracker.ietf.org/doc/html/rfc2181#section-8
TTL_MAX = 2**31 - 1
# Longest text of an address with a port.
_ADDRESS_LENGTH = 80


def check(modes: object, endpoints: object, regions: object, resolvers: object, record_ttl: object) -> Modes:
    """Return the mode table with the names of modes as strings.

    Args:
        modes: `{mode: {endpoint: region}}`.
        endpoints: DNS names.
        regions: AWS Regions, the names of the hosts of group `regions`.
        resolvers: `address`, `address:port` or `[address]:port` each; None where they are not to be checked.
        record_ttl: seconds, also as text; None where it is not to be checked.

    Raises:
        RefusedError: names the first thing that is wrong.
    """
    names = _texts("endpoints", endpoints, _DNS_NAME, "DNS names such as mqtt1.example.com", "correct iot_endpoints")
    hosts = _texts(
        "regions", regions, _REGION, "AWS Regions such as us-east-1", "correct the hosts of the group 'regions'"
    )
    table = normalise(modes, names, hosts)
    if resolvers is not None:
        _check_resolvers(resolvers)
    if record_ttl is not None:
        _check_ttl(record_ttl)
    return table


def _texts(what: str, values: object, pattern: re.Pattern[str], expected: str, advice: str) -> list[str]:
    if not isinstance(values, list):
        raise RefusedError(f"{what}: found {one_line(values)}, expected a list of {expected}: {advice}")
    for value in values:
        if not isinstance(value, str):
            raise RefusedError(f"{what}: {not_text(value)}, and {advice}")
        if not pattern.fullmatch(value):
            raise RefusedError(f"{what}: found {one_line(value)}, expected {expected}: {advice}")
    return values


def _check_resolvers(values: object) -> None:
    expected = "expected addresses such as 192.0.2.53 or 192.0.2.53:53: correct dns_resolvers"
    if not isinstance(values, list):
        raise RefusedError(f"resolvers: found {one_line(values)}, {expected}")
    for value in values:
        if not isinstance(value, str) or len(value) > _ADDRESS_LENGTH:
            raise RefusedError(f"resolver: found {one_line(value)}, {expected}")
        parse_server(value, recursive=True)


def _check_ttl(value: object) -> None:
    text = str(value)
    if isinstance(value, bool) or not re.fullmatch(r"[0-9]{1,10}", text) or int(text) > TTL_MAX:
        raise RefusedError(
            f"dns_record_ttl: found {one_line(value)}, expected a whole number of seconds from 0: "
            "correct it in the inventory"
        )
