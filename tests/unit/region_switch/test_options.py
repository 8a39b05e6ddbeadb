"""The options of a move: none is silently without effect."""

from __future__ import annotations

from typing import Any

import iot_region_switch
import pytest
from ansible.module_utils.region_switch.model.errors import RefusedError
from ansible.module_utils.region_switch.model.options import IGNORED_UNLESS, Options, refuse_ignored

ALWAYS = {
    "modes", "endpoints", "regions", "hosted_zone_id", "ttl", "resolvers", "name_servers", "dns_consecutive",
    "dns_timeout", "dns_policy", "sweep", "discovery", "endpoint_attribute", "unmapped_clients",
    "subscriptions_per_client", "delete_connection_rate", "preflight", "require_approval", "max_clients",
    "max_endpoints", "min_share", "max_share", "reports_directory", "ledger", "rollback", "run_id", "stale_devices",
    "operator", "source_gone",
}  # fmt: skip
# Of a step that can be switched off as a whole: {option: (the step, its value when it is off)}. They may stand in an
# inventory for the runs that have the step.
OF_A_STEP = {
    **dict.fromkeys(
        ("waves", "max_stragglers", "max_in_flight", "prevent_will_message", "clean_session", "landing_timeout",
         "restore", "pause_after_dns"),
        ("sweep", "none"),
    ),
    **dict.fromkeys(
        ("waive", "ca_file", "certificate_days", "probe_certificate", "probe_private_key", "mqtt_ports"),
        ("preflight", False),
    ),
    **dict.fromkeys(("approve", "approval_drift"), ("require_approval", False)),
}  # fmt: skip


def options(**values: Any) -> Options:
    """The options of a move, the module's defaults but for these."""
    needed = {"mode": "1", "modes": {}, "endpoints": ["mqtt1.example.com"], "regions": ["us-east-1"]}
    return Options.of({**needed, "hosted_zone_id": "Z1", "reports_directory": "reports", **values})


def test_it_is_decided_of_every_option_when_it_has_an_effect() -> None:
    names = list(iot_region_switch.ARGUMENT_SPEC)

    assert sorted([*ALWAYS, *OF_A_STEP, *IGNORED_UNLESS]) == sorted(names)
    for step, off in OF_A_STEP.values():
        assert step in ALWAYS
        assert options().flat[step] != off or step == "require_approval"


GIVEN = {"client_ids": ["pump"], "client_ids_file": "fleet.csv", "mode": "3"}
OTHER = {"discovery": ["index", "things"], "rollback": [True]}


@pytest.mark.parametrize(
    ("ignored", "switch", "value"),
    [(name, switch, value) for name, (switch, *_) in IGNORED_UNLESS.items() for value in OTHER[switch]],
)
def test_option_that_another_would_pass_over_is_refused(ignored: str, switch: str, value: object) -> None:
    asked = {"mode": None, ignored: GIVEN[ignored], switch: value}

    with pytest.raises(RefusedError, match=rf"^{ignored}: found .* with {switch} .*: set {switch} to .*, or remove"):
        options(**asked).check()
    options(**{**asked, ignored: [] if ignored == "client_ids" else None}).check()
    options(
        **{**asked, switch: IGNORED_UNLESS[ignored][1], "client_ids": ["pump"] if switch == "discovery" else []}
    ).check()


def test_list_of_clients_names_the_option_that_reads_it() -> None:
    with pytest.raises(RefusedError) as refused:
        options(client_ids_file="fleet.csv").check()

    assert str(refused.value) == (
        "client_ids_file: found 'fleet.csv' with discovery 'index', which does not use the list: set discovery to "
        "'clients', or remove client_ids_file"
    )


def test_devices_of_no_run_are_refused() -> None:
    with pytest.raises(RefusedError, match=r"^stale_devices: run_id is missing"):
        options(stale_devices=["edge1 still finds 192.0.2.1"]).check()
    options(stale_devices=["edge1 still finds 192.0.2.1"], run_id="20261123T204500Z-mode3-0f3a").check()


def test_token_that_nothing_reads_is_told() -> None:
    assert options(approve="3f0a").passed_over() == [
        "approve: the token was not compared with the plan, since failover_require_approval is false"
    ]
    assert options(approve="3f0a", require_approval=True).passed_over() == options().passed_over() == []


def test_options_that_a_module_does_not_have_are_no_matter() -> None:
    refuse_ignored({"discovery": "index", "client_ids": []})


@pytest.mark.parametrize("ports", [[], [0], [8883, 65536]])
def test_ports_that_are_none_are_refused(ports: list[int]) -> None:
    with pytest.raises(RefusedError, match=r"^mqtt_ports: found .*, expected ports of 1 to 65535: correct it"):
        options(mqtt_ports=ports).check()
    options(mqtt_ports=[443, 8883]).check()


def test_name_that_waives_nothing_is_refused_with_the_one_that_is_meant() -> None:
    with pytest.raises(
        RefusedError, match=r"^waive: found 'device_certificat', expected .* such as device_certificate:"
    ):
        options(waive=["quota", "device_certificat"]).check()
    options(waive=["quota", "device_certificate"]).check()
    assert options(waive=[]).checks.waive == []
