"""Addresses of a name, from the system's resolver or from named DNS servers."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

LIFETIME = 5.0
FAMILIES = (socket.AF_INET6, socket.AF_INET)
# What getaddrinfo(3) says of a name that exists without addresses of the family asked for; not every C library has all.
NO_SUCH_ADDRESS = tuple(getattr(socket, name) for name in ("EAI_NODATA", "EAI_ADDRFAMILY") if hasattr(socket, name))


@dataclass(frozen=True)
class Lookup:
    """What a name resolves to.

    Attributes:
        canonical: the name at the end of its CNAMEs, or the name itself.
        unanswered: address families, of socket.AF_*, of which nobody knows whether it has some.
    """

    addresses: tuple[str, ...]
    canonical: str
    unanswered: tuple[int, ...] = ()


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


def addresses_of(host: str, port: int, family: int, resolvers: Sequence[str] = ()) -> list[str]:
    """Addresses of one family that a name has now; empty: it has none of them.

    Args:
        family: socket.AF_INET or socket.AF_INET6.
        host, port, resolvers: see `look_up`.

    Raises:
        OSError: see `look_up`.
    """
    if resolvers:
        return _ask_for(host, family, resolvers)[0]
    try:
        found = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM)
    except UnicodeError as error:
        raise OSError(f"{host}: is no name: {error}") from error
    except socket.gaierror as error:
        if error.errno in NO_SUCH_ADDRESS:
            return []
        raise
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def _ask(host: str, resolvers: Sequence[str]) -> Lookup:
    """Both families at once: servers that never answer for one of them are common."""
    with ThreadPoolExecutor(len(FAMILIES), "lookup") as pool:
        asked = {family: pool.submit(_ask_for, host, family, resolvers) for family in FAMILIES}
    problems = [error for answer in asked.values() if (error := answer.exception())]
    answers = {family: answer.result() for family, answer in asked.items() if not answer.exception()}
    if not any(found for found, _ in answers.values()) and problems:
        raise problems[0]
    canonical = next((name for found, name in answers.values() if found), host)
    # IPv4 first, for who takes the first.
    addresses = tuple(address for family in sorted(answers) for address in answers[family][0])
    return Lookup(addresses, canonical, tuple(set(FAMILIES) - set(answers)))


def _ask_for(host: str, family: int, resolvers: Sequence[str]) -> tuple[list[str], str]:
    """(addresses of this family, name at the end of the CNAMEs)."""
    # Imported here: only who names resolvers needs it.
    try:
        import dns.exception
        import dns.resolver
    except ImportError as error:
        raise OSError(f"resolvers: asking them needs dnspython, which is not installed: {error}") from error

    resolver = dns.resolver.Resolver(configure=False)
    resolver.nameservers = list(resolvers)
    kind = "AAAA" if family == socket.AF_INET6 else "A"
    try:
        answer = resolver.resolve(host, kind, lifetime=LIFETIME, raise_on_no_answer=False)
    except dns.exception.DNSException as error:
        raise OSError(" ".join(str(error).split())) from error
    canonical = str(answer.canonical_name).rstrip(".").lower()
    return [record.address for record in answer.rrset or ()], canonical
