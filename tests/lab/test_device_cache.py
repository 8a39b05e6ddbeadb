"""A device's systemd-resolved keeps what has a TTL, and forgets it when told to."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import dns.message
import dns.query
import pytest

from lab import api, device, topology
from lab import dns as lab_dns
from lab.topology import Node

EDGE1 = topology.DEVICES[0]
OLD, NEW = topology.REGIONS
NAME = "mqtt1.example.com"
TIMEOUT = 30.0


def point(target: Node) -> None:
    """Move the name, and return once every name server, which the resolver may ask any of, has the target's."""
    record = {"Name": NAME, "Type": "CNAME", "TTL": 0, "ResourceRecords": [{"Value": str(target.dns_name)}]}
    changes = [{"Action": "UPSERT", "ResourceRecordSet": record}]
    route53 = api.client("route53", topology.REGIONS[0].name)
    route53.change_resource_record_sets(HostedZoneId=topology.HOSTED_ZONE_ID, ChangeBatch={"Changes": changes})
    deadline = time.monotonic() + TIMEOUT
    while any(str(target.dns_name) not in said(server) for server in topology.NAME_SERVERS):
        assert time.monotonic() < deadline, f"{NAME}: found another target than {target.dns_name} for {TIMEOUT} s"
        time.sleep(0.1)
    # The resolver forgets what it knew.
    lab_dns.clamp_ttl(0)


def said(server: Node) -> str:
    query = dns.message.make_query(NAME, "CNAME")
    return " ".join(str(each) for each in dns.query.udp(query, str(server.address), timeout=5).answer)


def on_the_device() -> str:
    """The address that the device's programs get."""
    return device.ssh(EDGE1, f"getent ahostsv4 {NAME}").split()[0]


@contextmanager
def old_answer_seen(ttl: int) -> Iterator[None]:
    """The device has just looked the name up, through a resolver that raises TTLs to this; then the name moves."""
    try:
        point(OLD)
        lab_dns.clamp_ttl(ttl)
        device.ssh(EDGE1, "resolvectl flush-caches")
        assert on_the_device() == str(OLD.address)
        point(NEW)
        yield
    finally:
        point(OLD)
        device.ssh(EDGE1, "resolvectl flush-caches")


@pytest.mark.usefixtures("fleet")
def test_name_without_a_ttl_is_asked_for_each_time() -> None:
    with old_answer_seen(ttl=0):
        assert on_the_device() == str(NEW.address)


@pytest.mark.usefixtures("fleet")
def test_raised_ttl_leads_back_to_the_old_region_until_the_cache_is_flushed() -> None:
    with old_answer_seen(ttl=300):
        assert on_the_device() == str(OLD.address)
        device.ssh(EDGE1, "resolvectl flush-caches")
        assert on_the_device() == str(NEW.address)
