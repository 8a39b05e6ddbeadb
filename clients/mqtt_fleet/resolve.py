"""Addresses of a name, from the system's resolver or from named DNS servers."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence
from dataclasses import dataclass

LIFETIME = 5.0


@dataclass(frozen=True)
class Lookup:
    """What a name leads to; `canonical` is the name at the end of its CNAMEs, or the name itself."""

    addresses: tuple[str, ...]
    canonical: str


def addresses(host: str, port: int, resolvers: Sequence[str] = ()) -> list[str]:
    """Resolve a name now, see `look_up`."""
    return list(look_up(host, port, resolvers).addresses)


def look_up(host: str, port: int, resolvers: Sequence[str] = ()) -> Lookup:
    """Resolve a name now.

    Args:
        host: name or address.
        port: the port that will be connected to.
        resolvers: addresses of DNS servers to ask in place of the system's resolver.

    Raises:
        OSError: there is no answer, or the name does not exist.
    """
    if resolvers and not is_address(host):
        return _ask(host, resolvers)
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_CANONNAME)
    except UnicodeError as error:
        raise OSError(f"{host}: is no name: {error}") from error
    canonical = next((entry[3] for entry in found if entry[3]), host)
    return Lookup(tuple(str(entry[4][0]) for entry in found), canonical.rstrip(".").lower())


def is_address(host: str) -> bool:
    """Whether it is an IP address and no name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _ask(host: str, resolvers: Sequence[str]) -> Lookup:
    # Imported here: only who names resolvers needs it.
    try:
        import dns.exception
        import dns.resolver
    except ImportError as error:
        raise OSError(f"resolvers: asking them needs dnspython, which is not installed: {error}") from error

    resolver = dns.resolver.Resolver(configure=False)
    resolver.nameservers = list(resolvers)
    try:
        answer = resolver.resolve(host, "A", lifetime=LIFETIME, raise_on_no_answer=False)
        if not answer.rrset:
            answer = resolver.resolve(host, "AAAA", lifetime=LIFETIME)
    except dns.exception.DNSException as error:
        raise OSError(f"{host}: {error}") from error
    found = tuple(record.address for record in answer)
    return Lookup(found, str(answer.canonical_name).rstrip(".").lower())
