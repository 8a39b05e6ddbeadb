"""DNS servers as an inventory names them. No I/O."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from .errors import RefusedError

DNS_PORT = 53

# [2001:db8::1]:53, [2001:db8::1], 192.0.2.1:53 or ns.example.com:53; the port is checked for itself.
_WITH_PORT = re.compile(r"(\[(?P<six>[^]]*:[^]]*)\]|(?P<host>[^][:]+))(?P<port>:[^:]*)?")
_PORT = re.compile(r":[0-9]{1,5}")
_HOST_NAME = re.compile(r"[A-Za-z0-9_.-]+")


@dataclass(frozen=True)
class Server:
    """A DNS server to ask.

    Attributes:
        name: what errors call it.
        recursive: a resolver (asked to recurse) or one of the zone's own name servers.
    """

    name: str
    address: str
    port: int = DNS_PORT
    recursive: bool = False


def parse_server(text: str, recursive: bool) -> Server:
    """Return the server of `address` or `address:port` (`[address]:port` for IPv6).

    Raises:
        RefusedError: a port that is none, what is neither address nor host name, or a resolver without an address:
            who would look its name up?
    """
    host, port = text, ""
    shown = text if text.isprintable() else repr(text)
    if match := _WITH_PORT.fullmatch(text):
        host, port = match["six"] or match["host"], match["port"] or ""
    if recursive and not _is_address(host):
        raise RefusedError(f"resolver {shown}: found no IP address, expected one: correct dns_resolvers")
    if not _is_address(host) and not _HOST_NAME.fullmatch(host):
        raise RefusedError(f"name server {shown}: found no address or host name, expected one: correct it")
    return Server(text, host, _port(shown, port) if port else DNS_PORT, recursive)


def _port(shown: str, port: str) -> int:
    if not _PORT.fullmatch(port) or not 0 < int(port[1:]) < 65536:
        raise RefusedError(f"DNS server {shown}: found no such port, expected 1 to 65535: correct it")
    return int(port[1:])


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
