"""A resolver on a loopback port that knows addresses."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import dns.flags
import dns.message
import dns.rdatatype
import dns.rrset

FAMILIES = {"A": socket.AF_INET, "AAAA": socket.AF_INET6}


@contextmanager
def address_server(
    addresses: dict[str, str], address: str = "127.0.0.1", port: int = 0, silent: int = 0
) -> Iterator[str]:
    """Yield the `address:port` of a resolver that knows the addresses of these names and nothing else.

    Args:
        addresses: several are parted by spaces.
        silent: family, of socket.AF_*, that it never answers for.
    """
    stopped = threading.Event()

    def serve() -> None:
        while not stopped.is_set():
            try:
                wire, peer = listener.recvfrom(4096)
            except TimeoutError:
                continue
            query = dns.message.from_wire(wire)
            answer = dns.message.make_response(query)
            answer.flags |= dns.flags.RA
            asked = query.question[0]
            kind = dns.rdatatype.to_text(asked.rdtype)
            if FAMILIES.get(kind) == silent:
                continue
            known = addresses.get(asked.name.to_text().rstrip("."), "").split()
            if fitting := [each for each in known if (":" in each) == (kind == "AAAA")]:
                answer.answer.append(dns.rrset.from_text(asked.name, 0, "IN", kind, *fitting))
            listener.sendto(answer.to_wire(), peer)

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind((address, port))
        listener.settimeout(0.1)
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"{address}:{listener.getsockname()[1]}"
        finally:
            stopped.set()
            thread.join()
