"""Check that the account is the one that the inventory describes, before anything is written. Reads only."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from difflib import get_close_matches

import botocore.session

from ..aws.clients import Aws, AwsClient, describe_data_endpoint
from ..dns import hosted_zone, methods
from ..dns.method import DnsMethod, Zone
from ..model.errors import AwsError, RefusedError, unreadable
from ..model.names import plain
from ..setup.records import setup_changes


def check(
    aws: Aws,
    asked: Sequence[str],
    zone: str,
    wanted: Mapping[str, str],
    ttl: int,
    resolvers: Sequence[str] | None = None,
    waived: Collection[str] = (),
) -> list[str]:
    """Return the regions that answer, if zone, regions and records are as setup.yml needs them.

    A region that exists and does not answer is no error of the inventory: its own set-up fails later.

    Args:
        aws: clients of every region of the inventory.
        asked: the regions that are to be set up.
        zone: ID of the hosted zone.
        wanted: `{endpoint: region}`, where endpoints without a record will point.
        ttl: of the records, in seconds.
        resolvers: those to ask for the zone's name servers, none for the system's; None: ask nobody.
        waived: names of checks; `hosted_zone` accepts a zone that resolvers do not ask.

    Raises:
        RefusedError: zone, region or record are not as expected.
        AwsError: AWS refuses a read.
    """
    dns = methods.method(aws, zone)
    with ThreadPoolExecutor(max_workers=len(asked) + 1) as pool:
        asking = {region: pool.submit(_host, aws.probing[region], region) for region in asked}
        found = _zone(dns, zone, wanted)
        check_endpoints(found, wanted)
        hosted_zone.refuse_unasked(found, resolvers, waived)
        hosts = {region: host for region, answer in asking.items() if (host := answer.result())}
    records = dns.read(wanted)
    if set(hosts) >= set(aws.regions):
        wanted_hosts = {name: hosts[region] for name, region in wanted.items()}
        setup_changes(dns, records, wanted_hosts, hosts.values(), ttl)
    return list(hosts)


def check_endpoints(zone: Zone, endpoints: Iterable[str]) -> None:
    """Return where each endpoint can be a CNAME in the zone. No I/O.

    Raises:
        RefusedError: an endpoint that is outside of it or is its apex, where no CNAME is allowed
            (https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/resource-record-sets-choosing-alias-non-alias.html).
        SwitchError: AWS did not say the zone's name.
    """
    if not zone.name:
        raise unreadable("GetHostedZone", {}, "a hosted zone with its name")
    for endpoint in endpoints:
        if plain(endpoint) == zone.name:
            raise RefusedError(
                f"endpoint {endpoint}: found the apex of the hosted zone {zone.id}, where no CNAME is allowed: use a "
                f"name such as mqtt.{zone.name} in iot_endpoints"
            )
        if not plain(endpoint).endswith(f".{zone.name}"):
            raise RefusedError(
                f"endpoint {endpoint}: not in {zone.name}, the hosted zone {zone.id}: correct hosted_zone_id or "
                "iot_endpoints"
            )


def _zone(dns: DnsMethod, zone: str, endpoints: Iterable[str]) -> Zone:
    try:
        return dns.zone(endpoints)
    except AwsError as error:
        if error.not_found:
            raise RefusedError(
                f"hosted_zone_id: found no hosted zone {zone} in this account: correct it in the inventory, or use "
                "other credentials"
            ) from error
        raise


def _host(iot: AwsClient, region: str) -> str | None:
    """The region's endpoint, None where it does not answer at present."""
    try:
        return describe_data_endpoint(iot)
    except AwsError as error:
        if error.denied:
            # A Region that is not opted in does not know the keys: the inventory may name the wrong one.
            advice = error.advice if error.credentials else f"{error.advice}, or correct the group 'regions'"
            raise RefusedError(
                f"region {region}: DescribeEndpoint failed with {error.code} ({error.text}): {advice}"
            ) from error
        known = _known_regions()
        if error.temporary and region in known:
            return None
        if region in known:
            raise
        alike = " or ".join(sorted(get_close_matches(region, known, n=2)))
        raise RefusedError(
            f"region {region}: found no answer, and no such Region of AWS IoT: correct the hosts of the group "
            f"'regions', for example to {alike or 'us-east-1'}"
        ) from error


def _known_regions() -> list[str]:
    session = botocore.session.get_session()
    return [
        region
        for partition in session.get_available_partitions()
        for region in session.get_available_regions("iot", partition_name=partition)
    ]
