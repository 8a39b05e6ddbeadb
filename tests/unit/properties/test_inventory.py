"""Inventories: anything an operator may write is either a correct one or refused in one line."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible.module_utils.region_switch.model.errors import RefusedError
from ansible.module_utils.region_switch.model.inventory import check, check_setup
from ansible.module_utils.region_switch.model.modes import desired, name_of, normalise
from hypothesis import example, given
from hypothesis import strategies as st

from fleet import edge_clients

from .anything import ANYTHING, ENDPOINTS, REGIONS, SCALARS, TEXT, assert_one_line, refused_at_most

GOOD: dict[str, Any] = {
    "modes": {"1": dict.fromkeys(ENDPOINTS, REGIONS[0])},
    "endpoints": ENDPOINTS,
    "regions": REGIONS,
    "resolvers": ["192.0.2.53", "192.0.2.53:5353", "2001:db8::53", "[2001:db8::53]:5353"],
    "record_ttl": 60,
    "hosted_zone_id": "Z0123456789EXAMPLE",
}
TARGETS = st.fixed_dictionaries({endpoint: st.sampled_from(REGIONS) for endpoint in ENDPOINTS})
# Nearly right tables: most of what operators get wrong is one entry.
NEARLY = st.dictionaries(
    st.integers(0, 9) | TEXT,
    TARGETS | st.dictionaries(st.sampled_from(ENDPOINTS) | TEXT, st.sampled_from(REGIONS) | SCALARS, max_size=3),
    max_size=4,
)


def test_good_inventory_is_its_own_table() -> None:
    assert check(**GOOD) == GOOD["modes"]


@given(ANYTHING | NEARLY, ANYTHING | st.just(ENDPOINTS), ANYTHING | st.just(REGIONS), ANYTHING, ANYTHING)
def test_any_inventory_is_a_correct_table_or_refused(
    modes: object, endpoints: object, regions: object, resolvers: object, record_ttl: object
) -> None:
    with refused_at_most():
        table = check(modes, endpoints, regions, resolvers, record_ttl)

        for targets in table.values():
            assert set(targets) == set(endpoints)
            assert set(targets.values()) <= set(regions)


@given(st.sampled_from(sorted(GOOD)), ANYTHING)
def test_one_wrong_value_is_enough_to_be_refused_or_is_right(name: str, value: object) -> None:
    with refused_at_most():
        check(**{**GOOD, name: value})


@given(st.lists(TEXT, max_size=3), st.lists(TEXT, max_size=3), NEARLY)
def test_any_names_are_refused_in_one_line(endpoints: list[str], regions: list[str], table: object) -> None:
    with refused_at_most():
        normalise(table, endpoints, regions)


@given(NEARLY)
def test_nearly_right_table_is_kept_whole_or_refused(table: dict[object, dict[str, str]]) -> None:
    with refused_at_most():
        modes = normalise(table, ENDPOINTS, REGIONS)

        assert modes == {str(name): targets for name, targets in table.items()}


@given(st.dictionaries(st.from_regex(r"[a-z0-9]{1,4}", fullmatch=True), TARGETS, min_size=1), ANYTHING)
def test_mode_that_is_looked_up_is_one_of_the_table(modes: dict[str, dict[str, str]], mode: object) -> None:
    with refused_at_most():
        name, targets = desired(modes, mode)

        assert modes[name] == targets
        assert str(mode) == name


@given(st.dictionaries(st.from_regex(r"[a-z0-9]{1,4}", fullmatch=True), TARGETS, min_size=1), TARGETS)
def test_name_of_a_table_is_a_mode_that_has_it(modes: dict[str, dict[str, str]], targets: dict[str, str]) -> None:
    name = name_of(modes, {f"{endpoint.upper()}.": region for endpoint, region in targets.items()})

    assert modes[name] == targets if name else targets not in modes.values()


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        ("endpoints", "mqtt1.example.com", "endpoints: found 'mqtt1.example.com', expected a list of DNS names"),
        ("endpoints", ["mqtt1..com"], "endpoints: found 'mqtt1..com', expected DNS names"),
        ("endpoints", [], "endpoints: there are none"),
        (
            "endpoints",
            ["mqtt1.example.com."],
            "endpoints: found mqtt1.example.com., expected mqtt1.example.com, without",
        ),
        ("regions", ["US East"], "regions: found 'US East', expected AWS Regions"),
        ("regions", ["us-east-1a"], "regions: found 'us-east-1a', expected AWS Regions such as us-east-1"),
        ("regions", ["us-east-1-bos-1"], "regions: found 'us-east-1-bos-1', expected AWS Regions"),
        ("regions", ["use1-az1"], "regions: found 'use1-az1', expected AWS Regions"),
        ("hosted_zone_id", "ZXXXXXXXXXXXXX", "hosted_zone_id: found the sample's placeholder ZXXXXXXXXXXXXX, expected"),
        ("hosted_zone_id", 12, "hosted_zone_id: found 12, expected"),
        ("hosted_zone_id", "example.com", "hosted_zone_id: found 'example.com', expected"),
        ("resolvers", ["192.0.2.53", "resolver.example.com"], "resolver resolver.example.com: not an IP address"),
        ("resolvers", ["192.0.2.53:0"], "DNS server 192.0.2.53:0: the port is not 1 to 65535"),
        ("resolvers", "192.0.2.53", "resolvers: found '192.0.2.53', expected addresses"),
        ("record_ttl", "soon", "dns_record_ttl: found 'soon'"),
        ("record_ttl", -1, "dns_record_ttl: found -1"),
        ("record_ttl", True, "dns_record_ttl: found true"),
        ("record_ttl", 1.5, "dns_record_ttl: found 1.5"),
        ("record_ttl", 2**31, "dns_record_ttl: found 2147483648"),
    ],
)
def test_refusal_names_what_is_wrong(name: str, value: object, found: str) -> None:
    with pytest.raises(RefusedError) as refused:
        check(**{**GOOD, name: value})

    assert str(refused.value).startswith(found)


@pytest.mark.parametrize(
    "region", ["us-east-1", "us-gov-west-1", "us-isob-east-1", "cn-north-1", "eusc-de-east-1", "ap-southeast-5"]
)
def test_names_of_regions_are_taken(region: str) -> None:
    assert check(**{**GOOD, "modes": {"1": dict.fromkeys(ENDPOINTS, region)}, "regions": [region]})


@pytest.mark.parametrize("zone", ["Z0123456789EXAMPLE", "/hostedzone/Z0123456789EXAMPLE"])
def test_hosted_zones_are_taken(zone: str) -> None:
    assert check(**{**GOOD, "hosted_zone_id": zone})


ARN = "arn:aws:acm:{}:123456789012:certificate/0f3a"
TABLE = {mode: dict.fromkeys(ENDPOINTS, REGIONS[0]) for mode in ("one", "two")}
SETUP: dict[str, Any] = {
    "table": TABLE,
    "regions": REGIONS,
    "initial_mode": "two",
    "issuing_region": REGIONS[0],
    "validation_certificate_arns": {REGIONS[0]: {ENDPOINTS[0].upper(): ARN.format(REGIONS[0])}, REGIONS[1]: {}},
    "server_certificate_arns": {},
}


def test_setup_points_endpoints_where_the_initial_mode_says() -> None:
    assert check_setup(**SETUP) == TABLE["two"]


@given(st.sampled_from(["initial_mode", "issuing_region"]), ANYTHING)
def test_any_setting_of_a_setup_is_right_or_refused(name: str, value: object) -> None:
    with refused_at_most():
        check_setup(**{**SETUP, name: value})


@given(ANYTHING)
def test_any_validation_certificates_are_right_or_refused(value: object) -> None:
    with refused_at_most():
        check_setup(**{**SETUP, "validation_certificate_arns": {REGIONS[0]: value}})


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        (
            "initial_mode",
            "1",
            "dns_records_initial_mode: found '1', expected one of one, two, to which endpoints without",
        ),
        ("issuing_region", "eu-west-1", "iot_issuing_region: found 'eu-west-1', expected one of "),
        (
            "table",
            {"1": {"cmd.iot.example.com": REGIONS[0], "cmd-iot.example.com": REGIONS[0]}},
            "endpoints: the domain configurations of cmd.iot.example.com and cmd-iot.example.com would both be named "
            "cmd-iot-example-com: rename",
        ),
        (
            "table",
            {"1": {f"{'a' * 60}.{'b' * 60}.example": REGIONS[0]}},
            f"endpoint {'a' * 60}.{'b' * 60}.example: found 129",
        ),
        (
            "validation_certificate_arns",
            {REGIONS[1]: {"mqtt9.example.com": ARN.format(REGIONS[1])}},
            f"iot_region_validation_certificate_arns of {REGIONS[1]}: found endpoint 'mqtt9.example.com', expected one",
        ),
        (
            "validation_certificate_arns",
            {REGIONS[1]: {ENDPOINTS[0]: ARN.format(REGIONS[0])}},
            f"iot_region_validation_certificate_arns of {REGIONS[1]}: found '{ARN.format(REGIONS[0])}', expected",
        ),
    ],
)
def test_setup_that_would_fail_late_is_refused(name: str, value: object, found: str) -> None:
    with pytest.raises(RefusedError) as refused:
        check_setup(**{**SETUP, name: value})

    assert str(refused.value).startswith(found)


HOSTVARS = st.fixed_dictionaries(
    {}, optional={"mqtt_endpoint": st.sampled_from(ENDPOINTS) | ANYTHING, "mqtt_client_id": ANYTHING}
)


@given(st.dictionaries(TEXT, HOSTVARS, max_size=4))
@example({"edge1": {"mqtt_endpoint": "a\nb"}})
@example({"edge1": {"mqtt_endpoint": ENDPOINTS[0], "mqtt_client_id": None}})
@example({"edge1": {"mqtt_endpoint": ENDPOINTS[0], "mqtt_client_id": "../../etc/passwd"}})
def test_devices_have_names_of_their_own_and_known_endpoints_or_are_refused(
    hostvars: dict[str, dict[str, Any]],
) -> None:
    try:
        clients = edge_clients(list(hostvars), hostvars, ENDPOINTS)
    except AnsibleFilterError as error:
        assert_one_line(str(error))
        return
    names = [client["client_id"] for client in clients]
    assert len(clients) == len(hostvars) == len(set(names))
    assert {client["endpoint"] for client in clients} <= set(ENDPOINTS)
    # They become names of things and of files.
    assert all(name.isascii() and name.isprintable() and "/" not in name and 0 < len(name) <= 128 for name in names)
