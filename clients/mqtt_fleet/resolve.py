"""Addresses of a name, from the system's resolver or from named DNS servers."""

from __future__ import annotations

import socket
from collections.abc import Sequence

LIFETIME = 5.0


def addresses(host: str, port: int, resolvers: Sequence[str] = ()) -> list[str]:
    """Resolve a name now.

    Args:
        host: name or address.
        port: the port that will be connected to.
        resolvers: addresses of DNS servers to ask in place of the system's resolver.

    Raises:
        OSError: there is no answer, or the name does not exist.
    """
    if not resolvers:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        return [str(entry[4][0]) for entry in found]
    # Imported here because devices do without it.
    import dns.exception
    import dns.resolver

    resolver = dns.resolver.Resolver(configure=False)
    resolver.nameservers = list(resolvers)
    try:
        return [answer.address for answer in resolver.resolve(host, "A", lifetime=LIFETIME)]
    except dns.exception.DNSException as error:
        raise OSError(f"{host}: {error}") from error
