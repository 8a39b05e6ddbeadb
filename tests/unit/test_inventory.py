"""The lab's inventory says what the lab's topology says."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleFilterError
from ansible.module_utils.region_switch.model import device_names
from ansible.module_utils.region_switch.model.errors import RefusedError
from hypothesis import example, given
from hypothesis import strategies as st

from fleet import (
    certificates_alone,
    client_id_fault,
    client_list_fault,
    edge_clients,
    name_fault,
    superseded_certificates,
)
from lab import topology

INVENTORIES = Path(__file__).parent.parent.parent / "inventory"
ENDPOINTS = ["mqtt1.example.com", "mqtt2.example.com"]


def read(*parts: str) -> Any:
    return yaml.safe_load(INVENTORIES.joinpath(*parts).read_text())


def test_devices_and_regions_are_those_of_the_topology() -> None:
    children = read("lab", "hosts.yml")["all"]["children"]

    assert {name: host["ansible_host"] for name, host in children["edge"]["hosts"].items()} == {
        node.name: str(node.address) for node in topology.DEVICES
    }
    assert list(children["regions"]["hosts"]) == [node.name for node in topology.REGIONS]


def test_zone_resolver_and_api_are_those_of_the_topology() -> None:
    fleet = read("lab", "group_vars", "all", "fleet.yml")
    environment = read("lab", "group_vars", "all", "lab.yml")["aws_environment"]

    assert fleet["hosted_zone_id"] == topology.HOSTED_ZONE_ID
    assert fleet["dns_resolvers"] == [str(topology.RESOLVER.address)]
    assert environment["AWS_ENDPOINT_URL"] == topology.AWS_API_URL


def test_sample_has_every_variable_of_the_lab_that_is_not_the_labs_own() -> None:
    lab = read("lab", "group_vars", "all", "fleet.yml")
    sample = read("sample", "group_vars", "all", "fleet.yml")

    own = read("lab", "group_vars", "all", "lab.yml")
    assert set(sample) - {"failover_ledger"} == set(lab)
    assert "failover_ledger" in own
    assert sample["failover_modes"] == lab["failover_modes"]
    assert sample["certs_directory"] != lab["certs_directory"]


def test_sample_names_the_ledger_that_the_monitor_writes_on_the_controller() -> None:
    role = yaml.safe_load((INVENTORIES.parent / "roles" / "fleet_monitor" / "vars" / "main.yml").read_text())

    assert read("sample", "group_vars", "all", "fleet.yml")["failover_ledger"] == role["__fleet_monitor_ledger"]
    assert list(read("sample", "hosts.yml")["all"]["children"]["monitors"]["hosts"]) == ["localhost"]


def test_edge_clients_take_the_host_name_for_client_id() -> None:
    hostvars = {"edge1": {"mqtt_endpoint": ENDPOINTS[0]}}

    assert edge_clients(["edge1"], hostvars, ENDPOINTS) == [{"client_id": "edge1", "endpoint": ENDPOINTS[0]}]


@pytest.mark.parametrize("endpoint", [None, "mqtt3.example.com"])
def test_edge_host_without_a_known_endpoint_is_named(endpoint: str | None) -> None:
    with pytest.raises(AnsibleFilterError, match=r"host edge7: mqtt_endpoint is (not set|mqtt3).*mqtt1.example.com"):
        edge_clients(["edge7"], {"edge7": {"mqtt_endpoint": endpoint}}, ENDPOINTS)


def test_two_hosts_with_one_client_id_are_named() -> None:
    hostvars = {name: {"mqtt_endpoint": ENDPOINTS[0], "mqtt_client_id": "pump"} for name in ("edge1", "edge2")}

    with pytest.raises(AnsibleFilterError, match=r"edge2.*pump.*edge1"):
        edge_clients(["edge1", "edge2"], hostvars, ENDPOINTS)


@pytest.mark.parametrize("managed", [True, "yes", None])
def test_client_id_that_is_longer_than_a_common_name_is_named(managed: object) -> None:
    host = {"mqtt_endpoint": ENDPOINTS[0], "mqtt_client_id": "x" * 65, "mqtt_client_managed": managed}
    if managed is None:
        del host["mqtt_client_managed"]

    with pytest.raises(AnsibleFilterError, match=r"host edge7: mqtt_client_id is x{65}, expected 1 to 64 letters"):
        edge_clients(["edge7"], {"edge7": host}, ENDPOINTS)
    assert edge_clients(["edge7"], {"edge7": {**host, "mqtt_client_id": "x" * 64}}, ENDPOINTS)


@pytest.mark.parametrize("managed", [False, "no"])
def test_client_id_of_a_device_with_software_of_its_own_is_as_long_as_a_things_name(managed: object) -> None:
    host = {"mqtt_endpoint": ENDPOINTS[0], "mqtt_client_id": "x" * 128, "mqtt_client_managed": managed}

    assert edge_clients(["edge7"], {"edge7": host}, ENDPOINTS)
    with pytest.raises(AnsibleFilterError, match="expected 1 to 128 letters"):
        edge_clients(["edge7"], {"edge7": {**host, "mqtt_client_id": "x" * 129}}, ENDPOINTS)


@given(st.text(max_size=140) | st.from_regex(r"[a-zA-Z0-9:_-]{1,130}", fullmatch=True))
@example("a\n")
@example("../ca")
@example("x" * 129)
def test_filters_and_modules_take_the_same_client_ids(text: str) -> None:
    assert (client_id_fault(text) == "") == bool(device_names.CLIENT_ID.fullmatch(text))


def test_superseded_certificates_are_those_of_the_client_alone(tmp_path: Path) -> None:
    folder = tmp_path / "superseded"
    folder.mkdir()
    digest = "0a" * 32
    for name in (f"one.{digest}.crt", f"one.{digest}.key", "one.crt", f"one.two.{digest}.crt", f"oney.{digest}.crt"):
        (folder / name).touch()
    (tmp_path / "ca.key").touch()

    assert superseded_certificates(str(tmp_path), "one") == [str(folder / f"one.{digest}.crt")]
    for name in ("../ca", "*", "", "one.two"):
        with pytest.raises(AnsibleFilterError, match="mqtt_client_id is"):
            superseded_certificates(str(tmp_path), name)


CERTIFICATE = "-----BEGIN CERTIFICATE-----\nMIIB\nAAAA\n-----END CERTIFICATE-----"


@pytest.mark.parametrize(
    "text",
    [
        CERTIFICATE,
        f"\ufeff{CERTIFICATE}",
        CERTIFICATE.replace("\n", "\r\n"),
        f"subject=CN = Größe\n{CERTIFICATE}\n\nthe end",
        CERTIFICATE.replace("\n", "  \n"),
    ],
)
def test_device_gets_certificates_and_nothing_else(text: str) -> None:
    assert certificates_alone(text, "ca.crt") == CERTIFICATE
    assert certificates_alone(f"{text}\n{text}", "ca.crt") == f"{CERTIFICATE}\n{CERTIFICATE}"


@pytest.mark.parametrize("kind", ["PRIVATE KEY", "EC PRIVATE KEY", "ENCRYPTED PRIVATE KEY", "OPENSSH PRIVATE KEY"])
def test_device_gets_no_file_with_a_private_key(kind: str) -> None:
    for text in (f"-----BEGIN {kind}-----\nMIGH\n{CERTIFICATE}", f"{CERTIFICATE}\n-----BEGIN {kind}-----"):
        with pytest.raises(
            AnsibleFilterError, match=r"^ca.crt: found a private key in it, expected certificates alone"
        ):
            certificates_alone(text, "ca.crt")


def test_file_without_a_certificate_is_named() -> None:
    with pytest.raises(AnsibleFilterError, match=r"^ca.crt: has no certificate"):
        certificates_alone("0\x82", "ca.crt")


# What YAML makes of names without quotes, and what is said of it.
UNQUOTED = [
    ("1001", "the number 1001"),
    ("0123", "the number 83"),
    ("0x1F", "the number 31"),
    ("1_000", "the number 1000"),
    ("12:30", "the number 750"),
    ("1.10", "the number 1.1"),
    ("yes", "the boolean true"),
    ("Off", "the boolean false"),
    ("2024-01-02", "the date 2024-01-02"),
    ("2024-01-02 03:04:05", "the time 2024-01-02T03:04:05"),
    ("~", "nothing (null)"),
    ("", "nothing (null)"),
    ("[pump]", "list ['pump']"),
    ("{pump: 1}", "dict {'pump': 1}"),
]


@pytest.mark.parametrize(("written", "said"), UNQUOTED)
def test_name_without_quotes_is_refused_wherever_it_stands(written: str, said: str) -> None:
    value = yaml.safe_load(f"name: {written}")["name"]
    line = f"is {said}, which YAML makes of some names without quotes, expected text: put it in quotes"

    with pytest.raises(AnsibleFilterError) as refused:
        edge_clients(["edge7"], {"edge7": {"mqtt_endpoint": ENDPOINTS[0], "mqtt_client_id": value}}, ENDPOINTS)
    assert f"host edge7: mqtt_client_id {line}" in str(refused.value)
    assert client_id_fault(value).startswith(f"mqtt_client_id {line}")
    for name in ("fleet_monitor_client_id", "iot_device_policy", "iot_issuing_region"):
        assert name_fault({name: value}).startswith(f"{name} {line}")
    listed = [{"client_id": "pump", "endpoint": ENDPOINTS[0]}, {"client_id": value, "endpoint": ENDPOINTS[0]}]
    assert client_list_fault(listed).startswith(f"iot_clients, entry 2: client_id {line}")
    assert client_list_fault([{"client_id": "pump", "endpoint": value}]).startswith(
        f"iot_clients, entry 1: endpoint {line}"
    )
    if not isinstance(value, dt.date):
        # Ansible hands dates to modules as text, as they were written.
        with pytest.raises(RefusedError, match=r"^client ID: found .*put it in quotes"):
            device_names.refuse_other_names(value)


@pytest.mark.parametrize("written", ['"1001"', "'0123'", '"yes"', "pump-1", "12-30", "1e3", "0o17", "v1.10"])
def test_text_is_taken_as_it_stands(written: str) -> None:
    value = yaml.safe_load(f"name: {written}")["name"]

    assert name_fault({"iot_device_policy": value}) == ""
    assert "quotes" not in client_id_fault(value)


def test_names_that_are_not_set_are_no_fault() -> None:
    assert name_fault({"mode": 3}) == ""
    assert client_list_fault([]) == ""


@pytest.mark.parametrize("clients", [None, "pump", {"client_id": "pump"}, ["pump"], [{"client_id": "pump"}]])
def test_list_of_clients_that_is_none_is_named(clients: object) -> None:
    assert client_list_fault(clients).startswith("iot_clients")
