"""Who is connected where, asked of the stand-in: odd client IDs, all kinds of discovery, applied quotas."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import boto3
import pytest
from ansible.module_utils.region_switch.aws import quotas
from ansible.module_utils.region_switch.aws.clients import Aws
from ansible.module_utils.region_switch.fleet import index
from ansible.module_utils.region_switch.fleet.client_list import ClientListSource
from ansible.module_utils.region_switch.fleet.index import IndexSource
from ansible.module_utils.region_switch.fleet.source import Connection, FleetSource
from ansible.module_utils.region_switch.fleet.sources import chosen
from ansible.module_utils.region_switch.fleet.stream import stream
from ansible.module_utils.region_switch.model.options import FleetOptions

from .conftest import REGIONS, AwsApi
from .modules import error_of, last_request, run_ok

OLD, NEW = REGIONS
ENDPOINTS = ["mqtt1.example.com", "mqtt2.example.com"]
ODD = [
    *("site/line 1/device", " ", "#", "+", "a#b+c", "a,b", '"quoted"', "100%", "a?b&c=d", "..", "a;b", "\\"),
    *("機器-01", "é" * 128, "x" * 128, "\u2028", "😀"),
]


@pytest.fixture
def fleet(aws_api: AwsApi) -> AwsApi:
    """Three clients with things in the old region, one of whose things says no endpoint; one without thing."""
    indexing = {"thingIndexingMode": "REGISTRY", "thingConnectivityIndexingMode": "STATUS"}
    for region in REGIONS:
        iot = boto3.client("iot", region_name=region)
        iot.update_indexing_configuration(thingIndexingConfiguration=indexing)
        for name, attributes in (
            ("client_01", {"mqtt_endpoint": ENDPOINTS[0]}),
            ("client_02", {"mqtt_endpoint": ENDPOINTS[1]}),
            ("client_03", {}),
            ("absent", {"mqtt_endpoint": ENDPOINTS[0]}),
        ):
            iot.create_thing(thingName=name, attributePayload={"attributes": attributes})
    for name in ("client_01", "client_02", "client_03"):
        aws_api.connect(OLD, name, thing_name=name)
    aws_api.connect(OLD, "no_thing")
    return aws_api


def found(source: FleetSource) -> list[Connection]:
    clients = [client for batch in stream(Aws(REGIONS), REGIONS, source) for client in batch]
    return sorted(clients, key=lambda client: client.client_id)


def endpoints(source: FleetSource) -> dict[str, str]:
    clients = found(source)
    assert all(client.region == OLD and client.connected_since > 0 for client in clients)
    return {client.client_id: client.endpoint for client in clients}


def test_index_that_refuses_a_next_page_is_read_from_the_start(fleet: AwsApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "PAGE_SIZE", 2)
    refusal = {"kind": "error", "status": 400, "code": "InvalidRequestException", "containing": "nextToken"}
    fleet.faults({**refusal, "operation": "SearchIndex", "region": OLD, "times": 1})
    last = last_request(fleet)

    assert {client.client_id for client in found(IndexSource(FleetOptions()))} == {
        "client_01",
        "client_02",
        "client_03",
    }
    assert fleet.operations(last).count("SearchIndex") == 5


@pytest.mark.parametrize("kind", ["index", "things"])
def test_clients_with_things_are_found(fleet: AwsApi, kind: Any) -> None:
    expected = {"client_01": ENDPOINTS[0], "client_02": ENDPOINTS[1], "client_03": ""}

    assert endpoints(chosen(FleetOptions(kind))) == expected
    assert endpoints(chosen(FleetOptions(kind), "other"))["client_03"] == "other"


@pytest.mark.parametrize("kind", ["index", "things"])
def test_clients_are_found_over_pages_that_are_smaller_than_asked_for(fleet: AwsApi, kind: Any) -> None:
    fleet.settings(page_size=1)

    assert set(endpoints(chosen(FleetOptions(kind)))) == {"client_01", "client_02", "client_03"}
    assert {name for name, _ in chosen(FleetOptions(kind), "other").known(Aws(REGIONS), OLD)} == {
        "client_01", "client_02", "client_03", "absent",
    }  # fmt: skip


def test_listed_clients_are_found(fleet: AwsApi, tmp_path: Path) -> None:
    listed = tmp_path / "clients.txt"
    listed.write_text("client_02\nno_thing\nabsent\n")

    source = ClientListSource(FleetOptions(client_ids=["client_01", "never_seen"], client_ids_file=str(listed)))

    assert endpoints(source) == {"client_01": ENDPOINTS[0], "client_02": ENDPOINTS[1], "no_thing": ""}


def test_registry_of_more_than_a_page_is_read(aws_api: AwsApi) -> None:
    iot = boto3.client("iot", region_name=OLD)
    names = [f"client_{number:03}" for number in range(260)]
    for name in names:
        iot.create_thing(thingName=name, attributePayload={"attributes": {"mqtt_endpoint": ENDPOINTS[0]}})

    iot.create_thing(thingName="z_upper", attributePayload={"attributes": {"mqtt_endpoint": "MQTT2.Example.com."}})
    iot.create_thing(thingName="z_without")

    devices = list(IndexSource(FleetOptions(), "default").known(Aws(REGIONS), OLD))

    expected = [*((name, ENDPOINTS[0]) for name in names), ("z_upper", ENDPOINTS[1]), ("z_without", "default")]
    assert sorted(devices) == expected


def test_odd_client_ids_are_found_and_can_be_disconnected(aws_api: AwsApi, tmp_path: Path) -> None:
    listed = tmp_path / "clients.txt"
    lines = ('"{}"\n'.format(name.replace('"', '""')) for name in ODD)
    listed.write_text("".join(lines), encoding="utf-8")
    for name in ODD:
        aws_api.connect(OLD, name)
    aws = Aws(REGIONS)

    clients = found(ClientListSource(FleetOptions(client_ids_file=str(listed))))

    assert sorted(client.client_id for client in clients) == sorted(ODD)
    for client in clients:
        aws.data[client.region].call("DeleteConnection", clientId=client.client_id)
    assert aws_api.connected(OLD) == set()


@pytest.mark.parametrize("region", ["us-east-1", "eu-north-1"])
def test_applied_quotas_are_read(aws_api: AwsApi, region: str, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = quotas.defaults(region)
    # What is not read stays 1; the stand-in does not list the quotas of GetConnection and SearchIndex.
    nothing = quotas.Quotas(1, expected.get_connection, 1, 1, 1, expected.search, 1)
    monkeypatch.setattr(quotas, "defaults", lambda _region: nothing)

    assert quotas.read(Aws([region]), region) == expected
    assert aws_api.operations() == ["ListServiceQuotas"]


def test_module_counts_all_and_lists_some(fleet: AwsApi) -> None:
    result = run_ok("iot_fleet_info", {"regions": list(REGIONS), "limit": 2})

    assert result["counts"] == {OLD: 3, NEW: 0}
    assert result["endpoints"] == {OLD: {"": 1, ENDPOINTS[0]: 1, ENDPOINTS[1]: 1}, NEW: {}}
    assert [entry["client_id"] for entry in result["clients"][OLD]] == ["client_01", "client_02"]
    assert result["truncated"]
    assert not run_ok("iot_fleet_info", {"regions": list(REGIONS), "limit": 3})["truncated"]


def test_module_refuses_a_bad_file_without_asking_for_anyone(fleet: AwsApi, tmp_path: Path) -> None:
    listed = tmp_path / "clients.csv"
    listed.write_text("client_id,endpoint\nclient_01,mqtt1.example.com\nclient_02\n")
    options = {"regions": list(REGIONS), "discovery": "clients", "client_ids_file": str(listed)}

    error = error_of("iot_fleet_info", options)

    assert f"{listed} line 3: found 1 columns, expected 2, client_id,endpoint" in error
    assert "GetConnection" not in fleet.operations()
