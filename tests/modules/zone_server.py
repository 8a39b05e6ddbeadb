"""A name server on a loopback port that answers what the stand-in's hosted zone says."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import boto3
import dns.flags
import dns.message
import dns.rrset

from .conftest import HOSTED_ZONE_ID


@contextmanager
def zone_server() -> Iterator[str]:
    """Yield the server's `address:port`."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.settimeout(0.1)
        stopped = threading.Event()
        thread = threading.Thread(target=_serve, args=(listener, stopped))
        thread.start()
        try:
            yield f"127.0.0.1:{listener.getsockname()[1]}"
        finally:
            stopped.set()
            thread.join()


def _serve(listener: socket.socket, stopped: threading.Event) -> None:
    route53 = boto3.client("route53", region_name="us-east-1")
    while not stopped.is_set():
        try:
            wire, peer = listener.recvfrom(4096)
        except TimeoutError:
            continue
        query = dns.message.from_wire(wire)
        answer = dns.message.make_response(query)
        answer.flags |= dns.flags.AA
        name = query.question[0].name.to_text()
        found = route53.list_resource_record_sets(HostedZoneId=HOSTED_ZONE_ID)["ResourceRecordSets"]
        for entry in found:
            if entry["Name"] == name and entry["Type"] == "CNAME":
                value = entry["ResourceRecords"][0]["Value"].rstrip(".") + "."
                answer.answer.append(dns.rrset.from_text(name, entry["TTL"], "IN", "CNAME", value))
        listener.sendto(answer.to_wire(), peer)
