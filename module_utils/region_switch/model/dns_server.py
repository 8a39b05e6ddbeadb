"""DNS servers as an inventory names them. No I/O."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from .errors import RefusedError

DNS_PORT = 53

# [2001:db8::1]:53, [2001:db8::1], 192.0.2.1:53 or ns.example.com:53; the port is checked separately.
_WITH_PORT = re.compile(r"(\[(?P<six>[^]]*:[^]]*)\]|(?P<host>[^][:]+))(?P<port>:[^:]*)?")
_PORT = re.compile(r":[0-9]{1,5}")
_HOST_NAME = re.compile(r"[A-Za-z0-9_.-]+")


@dataclass(frozen=True)
class Server:
    """A DNS server to ask.

    Attributes:
        name: as errors name it.
        recursive: True for a resolver, False for one of the zone's own name servers.
    """

    name: str
    address: str
    port: int = DNS_PORT
    recursive: bool = False


def parse_server(text: str, recursive: bool) -> Server:
    """Return the server of `address` or `address:port` (`[address]:port` for IPv6).

    Raises:
        RefusedError: an invalid port, neither an address nor a host name, or a resolver given by name, which could not
            be looked up.
    """
    host, port = text, ""
    shown = text if text.isprintable() else repr(text)
    if match := _WITH_PORT.fullmatch(text):
        host, port = match["six"] or match["host"], match["port"] or ""
    if recursive and not _is_address(host):
        raise RefusedError(f"resolver {shown}: not an IP address: correct dns_resolvers")
    if not _is_address(host) and not _HOST_NAME.fullmatch(host):
        raise RefusedError(f"name server {shown}: neither an address nor a host name: correct it")
    return Server(text, host, _port(shown, port) if port else DNS_PORT, recursive)


def _port(shown: str, port: str) -> int:
    if not _PORT.fullmatch(port) or not 0 < int(port[1:]) < 65536:
        raise RefusedError(f"DNS server {shown}: the port is not 1 to 65535: correct it")
    return int(port[1:])


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
