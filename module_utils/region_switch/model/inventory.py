"""Validation of the inventory, before anything is read or changed. No I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from .device_names import not_text
from .dns_server import parse_server
from .errors import RefusedError, one_line
from .modes import Modes, desired, normalise
from .names import plain

_LABEL = r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_DNS_NAME = re.compile(rf"(?=.{{1,254}}\Z){_LABEL}(\.{_LABEL})*\.?")
# Such as us-east-1, us-gov-west-1 and eusc-de-east-1. A letter at the end would be that of an Availability Zone
# (https://docs.aws.amazon.com/global-infrastructure/latest/regions/aws-regions.html).
_REGION = re.compile(r"[a-z]{2,4}(-[a-z]+)+-[0-9]{1,2}")
# https://docs.aws.amazon.com/Route53/latest/APIReference/API_HostedZone.html (32 characters at most), with
# or without the prefix that Route 53 writes.
_HOSTED_ZONE = re.compile(r"(/hostedzone/)?[A-Z0-9]{1,32}")
# The placeholder of inventory/sample.
_PLACEHOLDER = re.compile(r"(/hostedzone/)?ZX+")
# https://docs.aws.amazon.com/iot/latest/apireference/API_CreateDomainConfiguration.html
_CONFIGURATION_NAME_LENGTH = 128
# https://datatracker.ietf.org/doc/html/rfc2181#section-8
TTL_MAX = 2**31 - 1
# Longest text of an address with a port.
_ADDRESS_LENGTH = 80


def check(
    modes: object,
    endpoints: object,
    regions: object,
    resolvers: object = None,
    record_ttl: object = None,
    hosted_zone_id: object = None,
) -> Modes:
    """Validate the inventory; return the mode table with the names of modes as strings.

    Args:
        modes: `{mode: {endpoint: region}}`.
        endpoints: DNS names without the final dot, which name certificates and files.
        regions: AWS Regions, the names of the hosts of group `regions`.
        resolvers: `address`, `address:port` or `[address]:port` each; None: not checked.
        record_ttl: seconds, also as text; None: not checked.
        hosted_zone_id: ID of a Route 53 hosted zone; None: not checked.

    Raises:
        RefusedError: names the first problem.
    """
    names = _texts("endpoints", endpoints, _DNS_NAME, "DNS names such as mqtt1.example.com", "correct iot_endpoints")
    _refuse_final_dots(names)
    hosts = _texts(
        "regions", regions, _REGION, "AWS Regions such as us-east-1", "correct the hosts of the group 'regions'"
    )
    table = normalise(modes, names, hosts)
    if resolvers is not None:
        _check_resolvers(resolvers)
    if record_ttl is not None:
        _check_ttl(record_ttl)
    if hosted_zone_id is not None:
        _check_zone(hosted_zone_id)
    return table


def check_setup(
    table: Modes,
    regions: Sequence[str],
    initial_mode: object,
    issuing_region: object,
    validation_certificate_arns: Mapping[str, object],
    server_certificate_arns: Mapping[str, object],
) -> dict[str, str]:
    """Validate what setup needs; return the regions for endpoints without a record: `{endpoint: region}`.

    Args:
        table: what `check` returned.
        regions: those of the inventory.
        initial_mode: the mode that names those regions.
        issuing_region: the region in which client certificates are issued.
        validation_certificate_arns, server_certificate_arns: `{region: {endpoint: ARN of an ACM certificate}}`.

    Raises:
        RefusedError: a problem that setup would otherwise meet after it has made something.
    """
    endpoints = list(next(iter(table.values())))
    _check_configuration_names(endpoints)
    if issuing_region not in regions:
        raise RefusedError(
            f"iot_issuing_region: found {one_line(issuing_region)}, expected one of {', '.join(regions)}: correct it"
        )
    for option, regions_arns in (("validation", validation_certificate_arns), ("server", server_certificate_arns)):
        for region, arns in regions_arns.items():
            _check_arns(f"iot_region_{option}_certificate_arns of {region}", region, arns, endpoints)
    try:
        return desired(table, initial_mode)[1]
    except RefusedError as error:
        raise RefusedError(
            f"dns_records_initial_mode: found {one_line(initial_mode)}, expected one of {', '.join(table)}, to which "
            "endpoints without a record are pointed: set it to one of them"
        ) from error


def configuration_name(endpoint: str) -> str:
    """The name of the domain configuration that setup creates for an endpoint."""
    return endpoint.replace(".", "-")


def _check_configuration_names(endpoints: Sequence[str]) -> None:
    names: dict[str, str] = {}
    for endpoint in endpoints:
        name = configuration_name(endpoint)
        if len(name) > _CONFIGURATION_NAME_LENGTH:
            raise RefusedError(
                f"endpoint {endpoint}: found {len(name)} characters, expected {_CONFIGURATION_NAME_LENGTH} at most, as "
                "names of domain configurations have: shorten it in iot_endpoints"
            )
        if name in names:
            raise RefusedError(
                f"endpoints: the domain configurations of {names[name]} and {endpoint} would both be named {name}: "
                "rename one of them in iot_endpoints"
            )
        names[name] = endpoint


def _check_arns(where: str, region: str, arns: object, endpoints: Sequence[str]) -> None:
    if not isinstance(arns, Mapping):
        raise RefusedError(f"{where}: found {one_line(arns)}, expected {{endpoint: ARN}}: correct it")
    for endpoint, arn in arns.items():
        if not isinstance(endpoint, str) or plain(endpoint) not in endpoints:
            raise RefusedError(
                f"{where}: found endpoint {one_line(endpoint)}, expected one of {', '.join(endpoints)}: correct it"
            )
        if not isinstance(arn, str) or not re.fullmatch(rf"arn:[a-z-]+:acm:{region}:[0-9]{{12}}:certificate/\S+", arn):
            raise RefusedError(
                f"{where}: found {one_line(arn)}, expected the ARN of an ACM certificate of {region}: correct it"
            )


def _refuse_final_dots(names: Sequence[str]) -> None:
    for name in names:
        if name.endswith("."):
            raise RefusedError(
                f"endpoints: found {name}, expected {name.rstrip('.')}, without the final dot, as in "
                "certificates: correct iot_endpoints, failover_modes and the devices' mqtt_endpoint"
            )


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


def _check_zone(value: object) -> None:
    expected = "expected the ID of the endpoints' Route 53 hosted zone, such as Z0123456789EXAMPLE"
    if isinstance(value, str) and _PLACEHOLDER.fullmatch(value):
        raise RefusedError(f"hosted_zone_id: found the sample's placeholder {value}, {expected}: set it")
    if not isinstance(value, str) or not _HOSTED_ZONE.fullmatch(value):
        raise RefusedError(f"hosted_zone_id: found {one_line(value)}, {expected}: correct it in the inventory")
