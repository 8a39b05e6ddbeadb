"""What an operator may get wrong with a playbook: one line that names it, exit not 0, nothing written anywhere."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml

from .conftest import AwsApi
from .modules import last_request
from .playbooks import DEVICE, ENDPOINT, Fleet, add_request, make_fleet
from .zone_server import zone_server

REGION, OTHER = "us-east-1", "ap-northeast-1"
SETUP, MOVE = ["setup.yml"], ["failover.yml", "-e", "mode=1"]


@pytest.fixture
def fleet(tmp_path: Path, aws_api: AwsApi) -> Iterator[Fleet]:
    with zone_server() as resolver:
        yield make_fleet(tmp_path, resolver)


def refused(aws_api: AwsApi, fleet: Fleet, *arguments: str) -> str:
    """The one line that a run ends with, which wrote nothing."""
    last, files = last_request(aws_api), fleet.files()

    run = fleet.play(*arguments)

    assert run.returncode == 2, run.output
    assert aws_api.writes(last) == []
    assert fleet.files() == files
    assert run.changed == []
    assert "Traceback" not in run.output
    (error,) = run.errors
    assert "\n" not in error
    return error


def test_move_that_a_limit_leaves_nothing_of_is_refused(aws_api: AwsApi, fleet: Fleet) -> None:
    error = refused(aws_api, fleet, *MOVE, "--limit", REGION)

    assert error.startswith(
        "limit: 'us-east-1' leaves out localhost, where the move runs; a move is for the whole fleet"
    )
    assert aws_api.operations() == []


def test_region_alone_is_set_up_and_devices_that_are_left_out_are_named(aws_api: AwsApi, fleet: Fleet) -> None:
    add_request(fleet)
    hosts = fleet.hosts()
    edge = hosts["all"]["children"]["edge"]["hosts"]
    edge["edge-0002"] = {**edge["edge-0001"], "mqtt_client_id": "device-0002"}
    fleet.write_hosts(hosts)

    run = fleet.play("setup.yml", "--limit", REGION)

    assert run.errors == [
        f"us-east-1: no certificate for device-0002, the first: its signing request {fleet.certificates}/clients/"
        "device-0002.csr is missing: run again when its host is on, or put it there"
    ]
    assert run.returncode == 2
    assert {each["region"] for each in aws_api.requests() if each["write"]} == {REGION}
    iot = boto3.client("iot", region_name=REGION)
    assert iot.describe_domain_configuration(domainConfigurationName="mqtt1-example-com")["domainName"] == ENDPOINT
    assert len(iot.list_thing_principals(thingName=DEVICE)["principals"]) == 1


def test_inventory_that_is_not_there_is_named(aws_api: AwsApi, fleet: Fleet) -> None:
    fleet.inventory.rename(fleet.folder / "moved")

    assert refused(aws_api, fleet, *MOVE).startswith(
        f"inventory: no variables of a fleet in {fleet.inventory} (aws_environment, dns_record_ttl, "
        "dns_resolvers and 4 more): name your inventory with -i; inventory/sample/group_vars/all shows what it has "
        "to set"
    )


def wrong(**variables: Any) -> Callable[[Fleet], None]:
    return lambda fleet: fleet.write_variables(**variables)


def twin_modes(fleet: Fleet) -> None:
    path = fleet.inventory / "group_vars" / "all" / "fleet.yml"
    table = f'failover_modes:\n  "1":\n    {ENDPOINT}: {REGION}\n  1:\n    {ENDPOINT}: {OTHER}\n'
    values = yaml.safe_load(path.read_text())
    del values["failover_modes"]
    path.write_text(yaml.safe_dump(values) + table)


def no_regions(fleet: Fleet) -> None:
    hosts = fleet.hosts()
    del hosts["all"]["children"]["regions"]
    fleet.write_hosts(hosts)


def wrong_device(fleet: Fleet) -> None:
    hosts = fleet.hosts()
    hosts["all"]["children"]["edge"]["hosts"]["edge-0001"]["mqtt_endpoint"] = "mqtt9.example.com"
    fleet.write_hosts(hosts)


@pytest.mark.parametrize(
    ("arguments", "make_wrong", "named"),
    [
        (
            SETUP,
            wrong(hosted_zone_id="ZXXXXXXXXXXXXX"),
            "hosted_zone_id: found the sample's placeholder ZXXXXXXXXXXXXX,",
        ),
        (SETUP, wrong(hosted_zone_id="Z0123456789EXAMPLE"), "hosted_zone_id: found no hosted zone Z0123456789EXAMPLE"),
        (
            MOVE,
            wrong(dns_record_ttl=None, dns_resolvers=None),
            "dns_record_ttl, dns_resolvers: not set: give",
        ),
        (
            MOVE,
            wrong(dns_resolvers=["resolver.example.com"]),
            "resolver resolver.example.com: not an IP address: ",
        ),
        (
            MOVE,
            wrong(failover_wave=[1, 100]),
            "variables: nothing reads failover_wave, expected failover_w",
        ),
        (MOVE, twin_modes, "failover_modes: 1 appears more than once (1 and '1' are the same name): remove one"),
        (
            MOVE,
            no_regions,
            "regions: there are none: give the group 'regions' a host per AWS Region",
        ),
        (
            SETUP,
            no_regions,
            "regions: there are none: give the group 'regions' a host per AWS Region",
        ),
    ],
)
def test_wrong_inventory_is_refused_before_anything_is_written(
    aws_api: AwsApi, fleet: Fleet, arguments: list[str], make_wrong: Callable[[Fleet], None], named: str
) -> None:
    make_wrong(fleet)

    assert refused(aws_api, fleet, *arguments).startswith(named)


def test_device_that_is_wrong_in_the_inventory_stops_a_setup(aws_api: AwsApi, fleet: Fleet) -> None:
    wrong_device(fleet)

    assert "host edge-0001: mqtt_endpoint is mqtt9.example.com, expected one of" in refused(aws_api, fleet, *SETUP)


def test_value_that_stands_twice_is_refused(aws_api: AwsApi, fleet: Fleet) -> None:
    with (fleet.inventory / "group_vars" / "all" / "fleet.yml").open("a") as file:
        file.write("dns_record_ttl: 60\n")

    run = fleet.play(*MOVE)

    assert run.returncode not in (0, None)
    assert "Found duplicate mapping key 'dns_record_ttl'" in run.output
    assert aws_api.operations() == []


def test_move_is_refused_where_the_list_of_clients_would_be_ignored(aws_api: AwsApi, fleet: Fleet) -> None:
    listed = fleet.folder / "canary.csv"
    listed.write_text(f"{DEVICE}\n")
    given = json.dumps({"failover_client_ids_file": str(listed)})

    assert refused(aws_api, fleet, *MOVE, "-e", given).startswith("client_ids_file: found ")
