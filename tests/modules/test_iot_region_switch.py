"""The move against the stand-in: clients connect where its reconnect rules say."""

from __future__ import annotations

import csv
import html
import json
import platform
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from ansible.module_utils.region_switch.aws import refusals
from ansible.module_utils.region_switch.aws.clients import ATTEMPTS, Aws
from ansible.module_utils.region_switch.dns import gate
from ansible.module_utils.region_switch.dns.method import Change, DnsMethod
from ansible.module_utils.region_switch.dns.methods import method
from ansible.module_utils.region_switch.fleet.roster import Roster
from ansible.module_utils.region_switch.model.errors import AwsError, RecordsChangedError
from ansible.module_utils.region_switch.move import records as move_records
from ansible.module_utils.region_switch.move import records_watch, survey, sweep
from ansible.module_utils.region_switch.move.landing import Looker
from ansible.module_utils.region_switch.move.survey import silent_regions
from ansible.module_utils.region_switch.move.sweep import Sweep
from ansible.module_utils.region_switch.record import folder, history

from mqtt_monitor.ledger import Arrival, Ledger

from .conftest import HOSTED_ZONE_ID, AwsApi
from .modules import error_of, last_request, run, run_ok
from .zone_server import Cname, dns_server, zone_server

OLD, NEW = "us-east-1", "ap-northeast-1"
ATS = {region: f"a2labrehearsal-ats.iot.{region}.amazonaws.com" for region in (OLD, NEW)}
ENDPOINTS = ["mqtt1.example.com", "mqtt2.example.com"]
CLIENTS = {"client_01": ENDPOINTS[0], "client_02": ENDPOINTS[1]}
MODES = {
    1: {ENDPOINTS[0]: OLD, ENDPOINTS[1]: OLD},
    2: {ENDPOINTS[0]: OLD, ENDPOINTS[1]: NEW},
    3: {ENDPOINTS[0]: NEW, ENDPOINTS[1]: NEW},
}
SUMMARY_KEYS = {
    *("run_id", "mode", "outcome", "started_at", "finished_at", "plan", "phases"),
    *("clients", "sweep", "messages", "gap_seconds", "by"),
}


@pytest.fixture
def options(aws_api: AwsApi, tmp_path: Path) -> Iterator[dict[str, Any]]:
    """Both regions with two clients connected in the old one; the options of a move, but for its mode."""
    modes = {"thingIndexingMode": "REGISTRY", "thingConnectivityIndexingMode": "STATUS"}
    for region in (OLD, NEW):
        iot = boto3.client("iot", region_name=region)
        iot.update_indexing_configuration(thingIndexingConfiguration=modes)
        for client_id, endpoint in CLIENTS.items():
            iot.create_thing(thingName=client_id, attributePayload={"attributes": {"mqtt_endpoint": endpoint}})
    point(dict.fromkeys(ENDPOINTS, ATS[OLD]), "CREATE")
    for client_id in CLIENTS:
        aws_api.connect(OLD, client_id, thing_name=client_id)
    aws_api.reconnect(dict.fromkeys(CLIENTS, NEW))
    with zone_server() as server:
        yield {
            "modes": MODES,
            "endpoints": ENDPOINTS,
            "regions": [OLD, NEW],
            "hosted_zone_id": HOSTED_ZONE_ID,
            "name_servers": [server],
            "resolvers": [server],
            "dns_timeout": 10,
            # One name server of a test: what N answers in a row prove is proven in test_dns_gate.py.
            "dns_consecutive": 1,
            "landing_timeout": 5,
            # There is no MQTT endpoint here to look at.
            "preflight": False,
            "reports_directory": str(tmp_path / "reports"),
        }


def point(targets: dict[str, str], action: str = "UPSERT", ttl: int = 0) -> None:
    """Point the CNAMEs of endpoints at these host names, as somebody else would."""
    sets = [
        {"Name": name, "Type": "CNAME", "TTL": ttl, "ResourceRecords": [{"Value": value}]}
        for name, value in targets.items()
    ]
    boto3.client("route53", region_name=OLD).change_resource_record_sets(
        HostedZoneId=HOSTED_ZONE_ID,
        ChangeBatch={"Changes": [{"Action": action, "ResourceRecordSet": each} for each in sets]},
    )


def to_new(dns: DnsMethod) -> list[Change]:
    """The changes that switch all records, as they are now, to the new region."""
    return [Change(read, dns.record(name, ATS[NEW], 0, read)) for name, read in dns.read(ENDPOINTS).items()]


def records() -> dict[str, str]:
    found = boto3.client("route53", region_name=OLD).list_resource_record_sets(HostedZoneId=HOSTED_ZONE_ID)
    return {
        entry["Name"].rstrip("."): entry["ResourceRecords"][0]["Value"].rstrip(".")
        for entry in found["ResourceRecordSets"]
        if entry["Type"] == "CNAME"
    }


def test_four_steps(aws_api: AwsApi, options: dict[str, Any]) -> None:
    move = {**options, "mode": "3"}
    aws_api.settings(insync_delay_seconds=0.3)
    start = last_request(aws_api)

    foretold = run_ok("iot_region_switch", move, check=True)
    assert foretold["changed"]
    assert foretold["diff"]["after"]["clients"] == dict.fromkeys(CLIENTS, NEW)
    assert aws_api.writes(start) == []
    assert not Path(options["reports_directory"]).exists()

    done = run_ok("iot_region_switch", move)
    assert done["outcome"] == "moved"
    assert done["changed"]
    assert records() == dict.fromkeys(ENDPOINTS, ATS[NEW])
    assert aws_api.connected(NEW) == set(CLIENTS)
    assert aws_api.writes(start) == ["ChangeResourceRecordSets", "DeleteConnection", "DeleteConnection"]

    after = last_request(aws_api)
    assert not run_ok("iot_region_switch", move, check=True)["changed"]
    again = run_ok("iot_region_switch", move)
    assert (again["changed"], again["outcome"]) == (False, "unchanged")
    assert again["summary"]["clients"]["landed"] == 2
    assert aws_api.writes(after) == []


def test_report_of_a_move(aws_api: AwsApi, options: dict[str, Any]) -> None:
    done = run_ok("iot_region_switch", {**options, "mode": 3})

    latest = Path(options["reports_directory"]) / "latest"
    assert latest.resolve() == Path(done["report"]).resolve()
    summary = json.loads((latest / "summary.json").read_text())
    assert summary == done["summary"]
    assert set(summary) == SUMMARY_KEYS
    assert summary["plan"] == {endpoint: {"from": OLD, "to": NEW} for endpoint in ENDPOINTS}
    assert summary["clients"] == {
        "total": 2,
        "misplaced": 2,
        "landed": 2,
        "stragglers": 0,
        "bounced": 0,
        "in_both_regions": 0,
    }
    assert summary["messages"] is None
    steps = [json.loads(line)["step"] for line in (latest / "journal.jsonl").read_text().splitlines()]
    assert steps[:6] == ["start", "plan", "preflight", "switch", "switched", "insync"]
    with (latest / "clients.csv").open(newline="") as table:
        rows = {row["client_id"]: row for row in csv.DictReader(table)}
    assert {client_id: (row["from"], row["to"], row["state"]) for client_id, row in rows.items()} == dict.fromkeys(
        CLIENTS, (OLD, NEW, "landed")
    )
    assert steps.index("dns") < steps.index("sweep") < steps.index("delete_connection") < steps.index("landed")
    assert steps[-1] == "end"


def test_the_plan_says_where_clients_are_disconnected_from_and_no_time_of_0_seconds(
    aws_api: AwsApi, options: dict[str, Any]
) -> None:
    foretold = run_ok("iot_region_switch", {**options, "mode": "3"}, check=True)

    assert foretold["diff"]["before"]["to_disconnect"] == []
    assert foretold["diff"]["after"]["to_disconnect"] == [f"2 from {OLD}, to come back in {NEW}"]
    assert f"2 clients in {OLD} belong to {NEW}: 100 per second, less than 1 s" in foretold["lines"]
    assert "disconnecting everyone takes less than 1 s at least" in foretold["lines"]
    records_only = run_ok("iot_region_switch", {**options, "mode": "3", "sweep": "none"}, check=True)["diff"]["after"]
    assert (records_only["to_disconnect"], records_only["clients"]) == ([], {})


def test_only_misplaced_clients_are_disconnected(aws_api: AwsApi, options: dict[str, Any]) -> None:
    start = last_request(aws_api)

    done = run_ok("iot_region_switch", {**options, "mode": "2"})

    assert done["summary"]["clients"]["misplaced"] == 1
    assert aws_api.writes(start).count("DeleteConnection") == 1
    assert (aws_api.connected(OLD), aws_api.connected(NEW)) == ({"client_01"}, {"client_02"})


@pytest.mark.parametrize("ended", [False, True])
def test_session_in_the_region_that_is_left_ends_only_where_it_is_to(
    aws_api: AwsApi, options: dict[str, Any], ended: bool
) -> None:
    for client_id in CLIENTS:
        aws_api.connect(OLD, client_id, thing_name=client_id, clean_session=False)

    run_ok("iot_region_switch", {**options, "mode": "3", **({"clean_session": True} if ended else {})})

    left = aws_api.connections()[OLD]
    assert {client_id: left[client_id]["clean_session"] for client_id in CLIENTS} == dict.fromkeys(CLIENTS, ended)


def test_no_sweep_stops_after_dns_and_a_later_run_finishes(aws_api: AwsApi, options: dict[str, Any]) -> None:
    first = run_ok("iot_region_switch", {**options, "mode": "3", "sweep": "none"})
    assert first["outcome"] == "moved"
    assert aws_api.connected(OLD) == set(CLIENTS)
    start = last_request(aws_api)

    second = run_ok("iot_region_switch", {**options, "mode": "3"})

    assert second["outcome"] == "moved"
    assert aws_api.connected(NEW) == set(CLIENTS)
    assert "ChangeResourceRecordSets" not in aws_api.writes(start)


def test_straggler_is_named_and_the_run_fails(aws_api: AwsApi, options: dict[str, Any]) -> None:
    aws_api.reconnect({"client_01": NEW})

    tolerant = {"landing_timeout": 2, "max_stragglers": 100}
    found = run("iot_region_switch", {**options, **tolerant, "mode": "3"})

    assert found["failed"]
    assert "client_02" in found["msg"]
    assert "client_01" not in found["msg"]
    assert (found["outcome"], found["summary"]["clients"]["stragglers"]) == ("partial", 1)


def test_client_that_goes_back_is_counted(aws_api: AwsApi, options: dict[str, Any]) -> None:
    aws_api.reconnect({"client_01": NEW, "client_02": OLD})

    # As long as several looks take: the first may be earlier than the client is back.
    tolerant = {"landing_timeout": 8, "max_stragglers": 100}
    found = run("iot_region_switch", {**options, **tolerant, "mode": "3"})

    assert found["summary"]["clients"]["bounced"] == 1
    assert found["outcome"] == "partial"


def test_throttled_requests_are_tried_again(aws_api: AwsApi, options: dict[str, Any]) -> None:
    aws_api.faults({"operation": "DeleteConnection", "kind": "throttle", "times": 1})

    done = run_ok("iot_region_switch", {**options, "mode": "3"})

    assert done["summary"]["sweep"]["throttled"] == 1
    assert done["summary"]["clients"]["landed"] == 2


def test_two_clients_told_at_once_are_two_per_second(options: dict[str, Any]) -> None:
    assert 0 < run_ok("iot_region_switch", {**options, "mode": "3"})["summary"]["sweep"]["rate"] <= 2


def test_single_refusals_of_the_data_plane_do_not_end_a_switched_move(aws_api: AwsApi, options: dict[str, Any]) -> None:
    once = {"kind": "error", "status": 403, "code": "ForbiddenException", "times": 1}
    aws_api.faults({**once, "operation": "DeleteConnection"}, {**once, "operation": "GetConnection"})

    done = run_ok("iot_region_switch", {**options, "mode": "3"})

    assert done["outcome"] == "moved"
    assert "1 DeleteConnection requests were refused (403) and tried again" in done["lines"]


@pytest.mark.parametrize("operation", ["ListResourceRecordSets", "ChangeResourceRecordSets"])
def test_records_that_cannot_be_changed_end_a_move_before_anybody_is_disconnected(
    aws_api: AwsApi, options: dict[str, Any], operation: str
) -> None:
    aws_api.faults({"operation": operation, "kind": "error", "status": 503, "code": "ServiceUnavailable"})
    start = last_request(aws_api)

    found = run("iot_region_switch", {**options, "mode": "3"})

    assert found["outcome"] == "failed"
    assert f"{operation} in us-east-1: found ServiceUnavailable" in found["msg"]
    assert "records are changed in us-east-1 alone" in found["msg"]
    assert aws_api.writes(start) == []
    assert aws_api.connected(OLD) == set(CLIENTS)


def test_missing_permission_stops_the_sweep(
    aws_api: AwsApi, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refusals, "SECONDS", 1.0)
    monkeypatch.setattr(refusals, "FEWEST", 2)
    aws_api.faults({"operation": "DeleteConnection", "kind": "error", "status": 403, "code": "ForbiddenException"})

    found = run("iot_region_switch", {**options, "mode": "3"})

    assert found["failed"]
    assert "DeleteConnection in us-east-1" in found["msg"]
    assert "IAM" in found["msg"]
    assert found["outcome"] == "failed"
    assert found["summary"]["clients"]["stragglers"] == 2
    assert json.loads((Path(found["report"]) / "summary.json").read_text())["outcome"] == "failed"


def test_stale_name_server_is_named_and_nobody_is_disconnected(
    aws_api: AwsApi, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate, "QUERY_TIMEOUT", 0.3)
    nobody = "127.0.0.1:1"
    start = last_request(aws_api)
    servers = {"name_servers": [*options["name_servers"], nobody], "dns_timeout": 1}

    error = error_of("iot_region_switch", {**options, **servers, "mode": "3"})

    assert nobody in error
    assert options["name_servers"][0] + ":" not in error
    assert "DeleteConnection" not in aws_api.writes(start)


def test_record_to_an_unknown_target_is_refused(aws_api: AwsApi, options: dict[str, Any]) -> None:
    start = last_request(aws_api)
    only_new = {"modes": {3: MODES[3]}, "regions": [NEW]}

    found = run("iot_region_switch", {**options, **only_new, "mode": "3"})

    assert f"found {ATS[OLD]}, expected" in found["msg"]
    assert found["outcome"] == "refused"
    assert aws_api.writes(start) == []


@pytest.mark.parametrize("body", ["ErrorResponse", "InvalidChangeBatch"])
def test_record_changed_since_it_was_read_is_not_overwritten(
    aws_api: AwsApi, options: dict[str, Any], body: str
) -> None:
    """The one that changed is named, and the other stays, too: a batch is all or nothing."""
    aws_api.settings(invalid_change_batch=body)
    untouched, name = ENDPOINTS
    other = "broker.example.net"
    dns = method(Aws([OLD]), HOSTED_ZONE_ID)
    changes = to_new(dns)
    point({name: other})

    with pytest.raises(RecordsChangedError, match=f"read: found {name} = {other}"):
        dns.swap(changes, "test")

    assert records() == {untouched: ATS[OLD], name: other}


@pytest.mark.parametrize("body", ["ErrorResponse", "InvalidChangeBatch"])
def test_refused_batch_says_why_in_either_of_its_bodies(aws_api: AwsApi, options: dict[str, Any], body: str) -> None:
    aws_api.settings(invalid_change_batch=body)
    dns = method(Aws([OLD]), HOSTED_ZONE_ID)
    changes = [Change(None, dns.record(name, ATS[NEW], 0)) for name in ("a.example.org", "b.example.org")]
    with pytest.raises(AwsError) as refused:
        dns.swap(changes, "test")

    error = refused.value
    assert (error.code, error.status) == ("InvalidChangeBatch", 400)
    for name in ("a.example.org.", "b.example.org."):
        assert f"RRSet with DNS name {name} is not permitted in zone example.com" in error.text


def test_guardrail_that_would_refuse_the_batch_is_found_before_it_is_sent(
    aws_api: AwsApi, options: dict[str, Any]
) -> None:
    aws_api.settings(change_guardrails=["ALIAS_TARGET_CHECK", "ACTIVE_RECORD_CHECK"])
    alias = {"HostedZoneId": HOSTED_ZONE_ID, "DNSName": ENDPOINTS[0], "EvaluateTargetHealth": False}
    record = {"Name": "www.example.com", "Type": "CNAME", "AliasTarget": alias}
    change = {"Action": "CREATE", "ResourceRecordSet": record}
    zone: dict[str, Any] = {"HostedZoneId": HOSTED_ZONE_ID}
    route53 = boto3.client("route53", region_name=OLD)
    route53.change_resource_record_sets(**zone, ChangeBatch={"Changes": [change]})
    start = last_request(aws_api)

    refused = run("iot_region_switch", {**options, "mode": "3"})

    assert refused["outcome"] == "refused"
    assert f"change_guardrail ({ENDPOINTS[0]}): ALIAS_TARGET_CHECK is turned on" in refused["msg"]
    assert aws_api.writes(start) == []
    waived = run("iot_region_switch", {**options, "mode": "3", "waive": ["change_guardrail"]})
    assert waived["outcome"] == "failed"
    assert "DeleteConnection" not in aws_api.writes(start)
    assert "ALIAS_TARGET_CHECK: tried to delete" in waived["msg"]

    aws_api.settings(change_guardrails=["ACTIVE_RECORD_CHECK"])
    moved = run_ok("iot_region_switch", {**options, "mode": "3"})
    assert moved["outcome"] == "moved"
    assert any("change_guardrail (example.com): ACTIVE_RECORD_CHECK turned on" in line for line in moved["lines"])


def test_busy_zone_is_waited_for(aws_api: AwsApi, options: dict[str, Any]) -> None:
    # Pending is what the fixture has written.
    aws_api.settings(one_change_at_a_time=True, insync_delay_seconds=600)
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 3:
            aws_api.settings(insync_delay_seconds=0)

    dns = method(Aws([OLD]), HOSTED_ZONE_ID, sleep=sleep)
    assert dns.swap(to_new(dns), "test")
    assert slept == [1, 2, 3]
    assert records() == dict.fromkeys(ENDPOINTS, ATS[NEW])


def test_temporary_failures_of_route_53_end_no_switched_move(aws_api: AwsApi, options: dict[str, Any]) -> None:
    """More than botocore's own attempts."""
    aws_api.settings(insync_delay_seconds=1)
    aws_api.faults({"operation": "GetChange", "kind": "error", "status": 503, "times": ATTEMPTS + 1})

    assert run_ok("iot_region_switch", {**options, "mode": "3"})["outcome"] == "moved"


@pytest.mark.parametrize("policy", ["wait", "proceed", "abort"])
def test_somebody_else_s_change_ends_the_wait_for_dns_and_is_not_undone(
    aws_api: AwsApi, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch, policy: str
) -> None:
    monkeypatch.setattr(gate, "REPORT_INTERVAL", 0.1)
    monkeypatch.setattr(records_watch, "PAUSE", 0.0)
    other = "a1b2c3-ats.iot.eu-west-1.amazonaws.com"
    changed: list[bool] = []

    def change(*_: object) -> None:
        if not changed:
            point({ENDPOINTS[1]: other})
            changed.append(True)

    monkeypatch.setattr(move_records, "_waiting_for_dns", change)
    start = last_request(aws_api)
    with dns_server(lambda _: Cname(ATS[OLD], 30)) as stale:
        waiting = {"resolvers": [*options["resolvers"], stale], "dns_timeout": 600, "dns_policy": policy}

        found = run("iot_region_switch", {**options, **waiting, "mode": "3"})

    assert found["msg"].startswith("records changed by someone else while this run waited for DNS")
    assert f"{ENDPOINTS[1]} = {other}" in found["msg"]
    assert "run again" not in found["msg"]
    assert records() == {ENDPOINTS[0]: ATS[NEW], ENDPOINTS[1]: other}
    assert "DeleteConnection" not in aws_api.writes(start)


@pytest.mark.parametrize("private", [True, False])
def test_a_zone_that_nobody_asks_is_not_switched(aws_api: AwsApi, options: dict[str, Any], private: bool) -> None:
    """Found by the move, by the readiness check and by the set-up; told where it is waived."""
    vpc = {"VPC": {"VPCRegion": OLD, "VPCId": "vpc-12345678"}} if private else {}
    route53 = boto3.client("route53", region_name=OLD)
    twin = route53.create_hosted_zone(
        Name="example.com.", CallerReference="twin", HostedZoneConfig={"PrivateZone": private, "Comment": ""}, **vpc
    )["HostedZone"]["Id"].removeprefix("/hostedzone/")
    batch = {
        "Changes": [
            {"Action": "CREATE", "ResourceRecordSet": entry}
            for entry in route53.list_resource_record_sets(HostedZoneId=HOSTED_ZONE_ID)["ResourceRecordSets"]
            if entry["Type"] == "CNAME"
        ]
    }
    route53.change_resource_record_sets(HostedZoneId=twin, ChangeBatch=batch)
    wrong = {**options, "hosted_zone_id": twin, "dns_policy": "proceed"}
    start = last_request(aws_api)

    found = run("iot_region_switch", {**wrong, "mode": "3"})

    said = (
        f"the zone {twin} is private"
        if private
        else "found ns-101.awsdns-12.com, ns-202.awsdns-25.net for the name servers"
    )
    assert found["outcome"] == "refused"
    assert f"hosted_zone (example.com): {said}" in found["msg"]
    common = {name: wrong[name] for name in ("modes", "endpoints", "regions", "hosted_zone_id", "resolvers")}
    readiness = run_ok("iot_readiness_info", {**common, "name_servers": options["name_servers"]})
    assert any(line.startswith(f"refused hosted_zone (example.com): {said}") for line in readiness["lines"])
    assert f"hosted_zone (example.com): {said}" in error_of(
        "route53_endpoint_records", {**common, "mode": "1", "ttl": 9}
    )
    assert aws_api.writes(start) == []
    assert run_ok("route53_endpoint_records", {**common, "mode": "1", "ttl": 9, "waive": ["hosted_zone"]})["changed"]


def test_an_endpoint_below_a_delegation_is_refused_by_the_set_up(aws_api: AwsApi, options: dict[str, Any]) -> None:
    servers = [{"Value": "ns1.example.net."}]
    delegation = {"Name": "iot.example.com", "Type": "NS", "TTL": 60, "ResourceRecords": servers}
    boto3.client("route53", region_name=OLD).change_resource_record_sets(
        HostedZoneId=HOSTED_ZONE_ID, ChangeBatch={"Changes": [{"Action": "CREATE", "ResourceRecordSet": delegation}]}
    )
    endpoint = "mqtt.a.iot.example.com"
    common = {"endpoints": [endpoint], "modes": {1: {endpoint: OLD}}, "mode": 1, "regions": options["regions"]}

    error = error_of("route53_endpoint_records", {**common, "hosted_zone_id": HOSTED_ZONE_ID})

    assert error.startswith(f"hosted_zone ({endpoint}): iot.example.com is delegated to other name servers")
    assert endpoint not in records()


def test_a_resolver_that_never_answers_right_is_named_wherever_the_move_is_told_of(options: dict[str, Any]) -> None:
    with dns_server(lambda _: Cname(ATS[OLD], 30)) as stale:
        policy = {"resolvers": [*options["resolvers"], stale], "dns_timeout": 1, "dns_policy": "proceed"}

        done = run_ok("iot_region_switch", {**options, **policy, "mode": "3"})

    assert done["outcome"] == "moved"
    assert done["lines"][0] == f"mode 3: moved, but {stale} never answered the new region"
    (phase,) = (each for each in done["summary"]["phases"] if each["name"] == "dns")
    assert phase["stale"] == [stale]
    journal = (Path(done["report"]) / "journal.jsonl").read_text().splitlines()
    entry = next(each for each in map(json.loads, journal) if each["step"] == "dns")
    assert (set(entry["servers"]), {each["server"] for each in entry["stale"]}) == ({*options["resolvers"]}, {stale})
    assert f"but {stale} never agreed" in (Path(done["report"]) / "report.html").read_text()


def test_client_that_comes_to_the_old_region_during_the_sweep_is_moved_too(
    aws_api: AwsApi, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    late = "client_02"
    aws_api.call("DELETE", f"connections/{OLD}/{late}")
    look, looked = Looker.look, list[str]()

    def look_while_another_comes(looker: Looker, client: Any) -> Any:
        if not looked:
            looked.append(client.client_id)
            aws_api.connect(OLD, late)
        return look(looker, client)

    monkeypatch.setattr(Looker, "look", look_while_another_comes)

    done = run_ok("iot_region_switch", {**options, "mode": "3"})

    assert aws_api.connected(NEW) == set(CLIENTS)
    assert (done["summary"]["sweep"]["passes"], done["summary"]["clients"]["landed"]) == (2, 2)


def test_client_whose_thing_names_no_endpoint_is_left_alone(aws_api: AwsApi, options: dict[str, Any]) -> None:
    boto3.client("iot", region_name=OLD).create_thing(thingName="client_03")
    aws_api.connect(OLD, "client_03")

    move = {**options, "mode": "3"}
    told = "1 connected client left alone: their things' attribute mqtt_endpoint names none of the endpoints"

    assert told in run_ok("iot_region_switch", move, check=True)["lines"]
    done = run_ok("iot_region_switch", move)
    assert told in done["lines"]
    assert done["summary"]["clients"]["total"] == 2
    assert aws_api.connected(OLD) == {"client_03"}


def test_long_ttl_does_not_hold_a_move_up(aws_api: AwsApi, options: dict[str, Any]) -> None:
    """Resolvers that keep the old answer for a day would keep the fleet from being saved for a day."""
    point(dict.fromkeys(ENDPOINTS, ATS[OLD]), ttl=86400)

    done = run_ok("iot_region_switch", {**options, "mode": "3", "dns_timeout": 1})

    assert done["outcome"] == "moved"
    assert {phase["name"]: phase["seconds"] for phase in done["summary"]["phases"]}["switch"] >= 1
    steps = [json.loads(line)["step"] for line in (Path(done["report"]) / "journal.jsonl").read_text().splitlines()]
    assert "dns_waiting" in steps[: steps.index("dns")]


def test_zone_and_names_as_aws_and_people_write_them(aws_api: AwsApi, options: dict[str, Any]) -> None:
    shouted = [endpoint.upper() for endpoint in ENDPOINTS]
    table = {"modes": {3: dict.fromkeys(shouted, NEW)}, "endpoints": shouted}
    zone = {"hosted_zone_id": f"/hostedzone/{HOSTED_ZONE_ID}"}

    done = run_ok("iot_region_switch", {**options, **table, **zone, "mode": "3"})

    assert done["summary"]["clients"]["landed"] == 2
    assert aws_api.connected(NEW) == set(CLIENTS)


def test_missing_record_is_refused(aws_api: AwsApi, options: dict[str, Any]) -> None:
    more = {"mqtt3.example.com": OLD}
    table = {"modes": {3: {**MODES[3], **more}}, "endpoints": [*ENDPOINTS, *more]}

    assert "run setup.yml" in error_of("iot_region_switch", {**options, **table, "mode": "3"})


def test_unknown_mode_leaves_nothing(aws_api: AwsApi, options: dict[str, Any]) -> None:
    start = last_request(aws_api)

    error = error_of("iot_region_switch", {**options, "mode": "3.7"})

    assert "3.7" in error
    assert "expected one of 1, 2, 3" in error
    assert aws_api.requests(start) == []
    assert not Path(options["reports_directory"]).exists()


def test_fleet_info(aws_api: AwsApi, options: dict[str, Any]) -> None:
    found = run_ok("iot_fleet_info", {"regions": [OLD, NEW]})

    assert found["counts"] == {OLD: 2, NEW: 0}
    assert [client["endpoint"] for client in found["clients"][OLD]] == ENDPOINTS


@pytest.mark.parametrize(
    ("servers", "named"),
    [
        ({"resolvers": ["resolver.example.com"]}, "resolver resolver.example.com: not an IP address"),
        ({"name_servers": ["ns-404.example.com"]}, "name server ns-404.example.com: found no address"),
    ],
)
def test_server_that_cannot_be_asked_is_refused_before_the_switch(
    aws_api: AwsApi, options: dict[str, Any], servers: dict[str, list[str]], named: str
) -> None:
    last = last_request(aws_api)

    result = run("iot_region_switch", {**options, "mode": "3", **servers})

    assert result["msg"].startswith(named)
    assert result["outcome"] == "refused"
    assert aws_api.writes(last) == []
    assert records() == dict.fromkeys(ENDPOINTS, ATS[OLD])


def test_a_wave_that_does_not_land_is_taken_back(aws_api: AwsApi, options: dict[str, Any]) -> None:
    """The records point back, and who had landed is where the records say."""
    first, second = sorted(CLIENTS, key=lambda name: zlib.crc32(name.encode()))
    point(dict.fromkeys(ENDPOINTS, ATS[OLD]), ttl=1)
    aws_api.reconnect({first: NEW})
    start = last_request(aws_api)

    found = run("iot_region_switch", {**options, "mode": "3", "landing_timeout": 1, "waves": [50, 100]})

    assert found["outcome"] == "rolled_back"
    assert f"wave 2: found 1 of 1 clients not landed within 1 s ({second})" in found["msg"]
    # Both had to move; the first stayed where it had landed, which is not where its record points in the end.
    counts = {"total": 2, "misplaced": 2, "landed": 0, "stragglers": 2, "bounced": 0, "in_both_regions": 0}
    assert found["summary"]["clients"] == counts
    with (Path(found["report"]) / "clients.csv").open(newline="") as table:
        assert {row["client_id"]: row["state"] for row in csv.DictReader(table)} == {first: "straggler", second: "dark"}
    assert records() == dict.fromkeys(ENDPOINTS, ATS[OLD])
    assert {record.ttl for record in method(Aws([OLD]), HOSTED_ZONE_ID).read(ENDPOINTS).values()} == {1}
    assert aws_api.writes(start).count("ChangeResourceRecordSets") == 2
    assert second not in aws_api.connected(NEW)
    journal = (Path(found["report"]) / "journal.jsonl").read_text()
    assert '"step": "restored"' in journal


def test_those_who_had_landed_are_sent_back(aws_api: AwsApi, options: dict[str, Any]) -> None:
    first, second = sorted(CLIENTS, key=lambda name: zlib.crc32(name.encode()))
    aws_api.reconnect({first: NEW})
    reverse = Roster.reverse

    def follow_the_records(roster: Roster) -> Any:
        assert records() == dict.fromkeys(ENDPOINTS, ATS[OLD])
        aws_api.reconnect({first: OLD})
        aws_api.connect(OLD, second)
        return reverse(roster)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Roster, "reverse", follow_the_records)
        found = run("iot_region_switch", {**options, "mode": "3", "landing_timeout": 3, "waves": [50, 100]})

    assert found["outcome"] == "rolled_back"
    assert aws_api.connected(OLD) == set(CLIENTS)
    counts = {"total": 2, "misplaced": 2, "landed": 2, "stragglers": 0, "bounced": 0, "in_both_regions": 0}
    assert found["summary"]["clients"] == counts


def test_a_move_that_is_taken_back_counts_those_it_never_told_where_they_are_and_tells_the_silence(
    aws_api: AwsApi, options: dict[str, Any], tmp_path: Path
) -> None:
    """The canary does not land; it comes back, and the other was never told."""
    canary, other = sorted(CLIENTS, key=lambda name: zlib.crc32(name.encode()))
    aws_api.reconnect({})
    ledger, reverse, now = Ledger(tmp_path / "ledger.sqlite"), Roster.reverse, time.time()
    ledger.add([Arrival(canary, "stream", 1, OLD, now, now)])

    def come_back(roster: Roster) -> Any:
        aws_api.connect(OLD, canary)
        ledger.add([Arrival(canary, "stream", 2, OLD, now + 36, now + 36)])
        return reverse(roster)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Roster, "reverse", come_back)
        more = {"landing_timeout": 1, "waves": [50, 100], "ledger": str(tmp_path / "ledger.sqlite")}
        found = run("iot_region_switch", {**options, **more, "mode": "3"})

    assert found["outcome"] == "rolled_back"
    counts = {"total": 2, "misplaced": 2, "landed": 2, "stragglers": 0, "bounced": 0, "in_both_regions": 0}
    assert found["summary"]["clients"] == counts
    assert found["summary"]["gap_seconds"] == {"p50": 36.0, "p95": 36.0, "max": 36.0}
    assert found["summary"]["messages"] is not None
    with (Path(found["report"]) / "clients.csv").open(newline="") as table:
        states = {row["client_id"]: row["state"] for row in csv.DictReader(table)}
    assert states == {canary: "returned", other: "placed"}


def test_who_had_landed_in_a_region_that_went_silent_is_only_looked_for(
    aws_api: AwsApi, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = min(CLIENTS, key=lambda name: zlib.crc32(name.encode()))
    aws_api.reconnect({first: NEW})
    monkeypatch.setattr("ansible.module_utils.region_switch.aws.clients.PROBE_TIMEOUT", 0.3)
    last: list[int] = []

    def go_silent(*arguments: Any) -> set[str]:
        aws_api.faults({"operation": "*", "region": NEW, "kind": "hang", "seconds": 5})
        aws_api.disconnect(NEW, first)
        for client_id in CLIENTS:
            aws_api.connect(OLD, client_id)
        last.append(last_request(aws_api))
        return silent_regions(*arguments)

    monkeypatch.setattr("ansible.module_utils.region_switch.move.survey.silent_regions", go_silent)
    found = run("iot_region_switch", {**options, "mode": "3", "landing_timeout": 3, "waves": [50, 100]})

    assert found["outcome"] == "rolled_back"
    assert found["summary"]["clients"]["stragglers"] == 0
    assert "DeleteConnection" not in {each["operation"] for each in aws_api.requests(last[0])}


def test_records_that_somebody_else_moved_on_are_not_restored(aws_api: AwsApi, options: dict[str, Any]) -> None:
    aws_api.reconnect({})
    other = "broker.example.net"
    look = Looker.look

    def meddle(looker: Looker, client: Any) -> Any:
        point({ENDPOINTS[0]: other})
        return look(looker, client)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Looker, "look", meddle)
        found = run("iot_region_switch", {**options, "mode": "3", "landing_timeout": 1})

    assert found["failed"]
    assert found["outcome"] == "failed"
    assert records()[ENDPOINTS[0]] == other
    # Nobody is where the record points that somebody else has written.
    assert found["summary"]["clients"]["landed"] == 0


def test_records_that_somebody_else_changes_in_the_last_moment_are_no_move(
    aws_api: AwsApi, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = Sweep.watch

    def meddle(sweep: Sweep) -> None:
        watch(sweep)
        point({ENDPOINTS[0]: ATS[OLD]})

    monkeypatch.setattr(Sweep, "watch", meddle)
    found = run("iot_region_switch", {**options, "mode": "3"})

    assert found["outcome"] == "failed"
    assert f"records changed by someone else during the move: found {ENDPOINTS[0]} = {ATS[OLD]}" in found["msg"]
    assert (found["summary"]["clients"]["landed"], found["summary"]["clients"]["stragglers"]) == (1, 1)


def test_a_client_that_comes_late_and_does_not_land_sends_nobody_back(
    aws_api: AwsApi, options: dict[str, Any], latecomer: str
) -> None:
    aws_api.reconnect(dict.fromkeys(CLIENTS, NEW))

    found = run("iot_region_switch", {**options, "mode": "3", "landing_timeout": 1})

    assert found["outcome"] == "partial"
    assert f"clients that came late: found 1 of 1 clients not landed within 1 s ({latecomer})" in found["msg"]
    assert records() == dict.fromkeys(ENDPOINTS, ATS[NEW])
    assert aws_api.connected(NEW) == set(CLIENTS)
    assert (found["summary"]["clients"]["landed"], found["summary"]["clients"]["stragglers"]) == (2, 1)


def test_a_canary_that_is_switched_off_before_the_sweep_leaves_nobody_behind(
    aws_api: AwsApi, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep, "VANISHED_GRACE", 0.5)
    canary, other = sorted(CLIENTS, key=lambda name: zlib.crc32(name.encode()))
    run_waves = Sweep.run

    def switch_off(*arguments: Any) -> int:
        aws_api.disconnect(OLD, canary)
        return run_waves(*arguments)

    monkeypatch.setattr(Sweep, "run", switch_off)
    found = run("iot_region_switch", {**options, "mode": "3", "landing_timeout": 2, "waves": [50, 100]})

    assert found["outcome"] == "partial"
    assert canary in found["msg"]
    assert records() == dict.fromkeys(ENDPOINTS, ATS[NEW])
    assert aws_api.connected(NEW) == {other}


def test_an_error_that_nobody_has_thought_of_ends_with_its_report(
    aws_api: AwsApi, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as of a program that gives credentials, and in the middle of the sweep prints a sentence and no JSON."""

    def expired(*_: Any) -> Any:
        return json.loads("Your session has expired. Please log in.")

    monkeypatch.setattr(Looker, "look", expired)
    found = run("iot_region_switch", {**options, "mode": "3"})

    assert found["outcome"] == "failed"
    assert found["msg"].startswith("run: unexpected JSONDecodeError: Expecting value")
    report = Path(found["report"])
    entries = [json.loads(line) for line in (report / "journal.jsonl").read_text().splitlines()]
    end = entries[-1]
    assert (end["outcome"], end["error"]) == ("failed", found["msg"])
    assert json.loads((report / "summary.json").read_text())["outcome"] == "failed"
    assert found["msg"] in html.unescape((report / "report.html").read_text())
    [unforeseen] = [entry for entry in entries if entry["step"] == "unforeseen"]
    assert "sweep.py" in "".join(unforeseen["frames"])


def test_records_are_left_where_the_operator_wants_no_restoring(aws_api: AwsApi, options: dict[str, Any]) -> None:
    aws_api.reconnect({})

    found = run("iot_region_switch", {**options, "mode": "3", "landing_timeout": 1, "restore": False})

    assert found["outcome"] == "partial"
    assert records() == dict.fromkeys(ENDPOINTS, ATS[NEW])


def test_a_run_that_pauses_after_dns_goes_on(aws_api: AwsApi, options: dict[str, Any]) -> None:
    paused = run_ok("iot_region_switch", {**options, "mode": "3", "pause_after_dns": True})
    assert paused["paused"]
    assert paused["targets"] == dict.fromkeys(ENDPOINTS, ATS[NEW])
    assert aws_api.connected(OLD) == set(CLIENTS)

    done = run_ok("iot_region_switch", {**options, "mode": "3", "run_id": paused["run_id"]})

    assert (done["outcome"], done["run_id"], done["paused"]) == ("moved", paused["run_id"], False)
    assert done["summary"]["plan"] == {endpoint: {"from": OLD, "to": NEW} for endpoint in ENDPOINTS}
    assert [phase["name"] for phase in done["summary"]["phases"]].count("switch") == 1
    assert aws_api.connected(NEW) == set(CLIENTS)


def test_a_client_that_moved_by_itself_during_the_pause_is_not_disconnected(
    aws_api: AwsApi, options: dict[str, Any]
) -> None:
    paused = run_ok("iot_region_switch", {**options, "mode": "3", "pause_after_dns": True})
    aws_api.disconnect(OLD, "client_01")
    aws_api.connect(NEW, "client_01")
    start = last_request(aws_api)

    done = run_ok("iot_region_switch", {**options, "mode": "3", "run_id": paused["run_id"]})

    assert done["outcome"] == "moved"
    assert done["summary"]["clients"]["misplaced"] == len(CLIENTS) - 1
    assert aws_api.writes(start).count("DeleteConnection") == len(CLIENTS) - 1


def test_messages_are_counted_from_the_beginning_of_a_run_that_paused(
    aws_api: AwsApi, options: dict[str, Any], tmp_path: Path
) -> None:
    kept = Ledger(tmp_path / "ledger.sqlite")
    move = {**options, "mode": "3", "ledger": str(tmp_path / "ledger.sqlite")}

    def arrive(sequence: int) -> None:
        kept.add([Arrival("client_01", "stream", sequence, OLD, time.time(), time.time())])

    arrive(1)
    paused = run_ok("iot_region_switch", {**move, "pause_after_dns": True})
    arrive(2)
    done = run_ok("iot_region_switch", {**move, "run_id": paused["run_id"]})

    assert done["summary"]["messages"]["received"] == 1


def figures(result: dict[str, Any]) -> list[str]:
    """What a result says of a ledger that nobody keeps."""
    return [line for line in result["lines"] if "message_figures" in line]


def test_ledger_that_nobody_keeps_is_told_before_a_move_and_after_it(
    aws_api: AwsApi, options: dict[str, Any], tmp_path: Path
) -> None:
    move = {**options, "mode": "3", "ledger": str(tmp_path / "ledger.sqlite")}
    expected = f"note    message_figures: found no ledger {tmp_path}/ledger.sqlite, expected the monitor's"

    (told,) = figures(run_ok("iot_region_switch", move, check=True))
    assert told.startswith(expected)
    assert figures(run_ok("iot_region_switch", {**options, "mode": "3"}, check=True)) == []
    (told,) = figures(run_ok("iot_region_switch", move))
    assert told.startswith(expected)
    (told,) = figures(run_ok("iot_region_switch", {**options, "mode": "1", "ledger": ""}, check=True))
    assert told.startswith("note    message_figures: found no ledger named")


def test_monitor_that_stops_during_a_move_is_told(aws_api: AwsApi, options: dict[str, Any], tmp_path: Path) -> None:
    kept = Ledger(tmp_path / "ledger.sqlite")
    move = {**options, "mode": "3", "ledger": str(tmp_path / "ledger.sqlite")}
    now = time.time()
    kept.add([Arrival("client_01", "stream", 1, OLD, now, now)])
    kept.set_subscription(OLD, now)
    paused = run_ok("iot_region_switch", {**move, "pause_after_dns": True})
    assert figures(paused) == []
    kept.close()
    (tmp_path / "ledger.sqlite").unlink()
    done = run_ok("iot_region_switch", {**move, "run_id": paused["run_id"]})

    assert (done["outcome"], done["summary"]["messages"]) == ("moved", None)
    assert len(figures(done)) == 1


def test_readiness_tells_of_a_ledger_that_nobody_keeps(aws_api: AwsApi, options: dict[str, Any]) -> None:
    names = ("modes", "endpoints", "regions", "hosted_zone_id", "resolvers", "ca_file")
    asked = {name: options[name] for name in names if name in options}
    silent = run_ok("iot_readiness_info", asked)
    told = run_ok("iot_readiness_info", {**asked, "ledger": ""})

    assert figures(silent) == []
    assert len(figures(told)) == 1
    assert (told["ready"], told["reasons"]) == (silent["ready"], silent["reasons"])
    assert [each["blocking"] for each in told["findings"] if each["check"] == "message_figures"] == [False]


def test_endpoints_of_regions(aws_api: AwsApi) -> None:
    assert run_ok("iot_endpoint_info", {"regions": [OLD, NEW]})["endpoints"] == ATS


def test_who_sends_numbers_that_nobody_can_have_published_is_told(
    aws_api: AwsApi, options: dict[str, Any], tmp_path: Path
) -> None:
    kept = Ledger(tmp_path / "ledger.sqlite")
    move = {**options, "mode": "3", "ledger": str(tmp_path / "ledger.sqlite")}
    paused = run_ok("iot_region_switch", {**move, "pause_after_dns": True})
    now = time.time()
    kept.add([Arrival("client_01", "stream", sequence, OLD, now, now) for sequence in (1, 10**15)])
    done = run_ok("iot_region_switch", {**move, "run_id": paused["run_id"]})

    assert done["summary"]["messages"] == {"sent": 2, "received": 2, "lost": 0, "duplicated": 0}
    assert any("cannot have published (client_01)" in line for line in done["lines"])


def test_nothing_to_do_does_not_pause(aws_api: AwsApi, options: dict[str, Any]) -> None:
    run_ok("iot_region_switch", {**options, "mode": "3"})
    assert not run_ok("iot_region_switch", {**options, "mode": "3", "pause_after_dns": True})["paused"]


def test_a_paused_run_whose_records_were_moved_meanwhile_disconnects_nobody(
    aws_api: AwsApi, options: dict[str, Any]
) -> None:
    paused = run_ok("iot_region_switch", {**options, "mode": "3", "pause_after_dns": True})
    point(dict.fromkeys(ENDPOINTS, ATS[OLD]))

    found = run("iot_region_switch", {**options, "mode": "3", "run_id": paused["run_id"]})

    assert "changed since" in found["msg"]
    assert aws_api.connected(OLD) == set(CLIENTS)


STALE = "edge1: mqtt1.example.com = 192.0.2.1, expected 192.0.2.2"


@pytest.mark.parametrize(("policy", "outcome", "home"), [("wait", "partial", NEW), ("abort", "rolled_back", OLD)])
def test_devices_that_would_go_back_end_a_run_before_anybody_is_disconnected(
    aws_api: AwsApi, options: dict[str, Any], policy: str, outcome: str, home: str
) -> None:
    move = {**options, "mode": "3", "dns_policy": policy, "dns_timeout": 5}
    paused = run_ok("iot_region_switch", {**move, "pause_after_dns": True})
    start = last_request(aws_api)

    found = run("iot_region_switch", {**move, "run_id": paused["run_id"], "stale_devices": [STALE]})

    assert found["msg"].startswith(f"DNS on devices after 5 s: found {STALE}: nobody was disconnected")
    assert (found["outcome"], found["run_id"]) == (outcome, paused["run_id"])
    assert "DeleteConnection" not in aws_api.writes(start)
    assert records() == dict.fromkeys(ENDPOINTS, ATS[home])
    assert aws_api.connected(OLD) == set(CLIENTS)


def test_devices_that_would_go_back_stop_nobody_where_the_move_is_to_proceed(
    aws_api: AwsApi, options: dict[str, Any]
) -> None:
    move = {**options, "mode": "3", "dns_policy": "proceed"}
    paused = run_ok("iot_region_switch", {**move, "pause_after_dns": True})

    done = run_ok("iot_region_switch", {**move, "run_id": paused["run_id"], "stale_devices": [STALE]})

    assert done["outcome"] == "moved"
    assert f"DNS on devices: {STALE}" in done["lines"]


def test_a_run_resumes_once(aws_api: AwsApi, options: dict[str, Any]) -> None:
    paused = run_ok("iot_region_switch", {**options, "mode": "3", "pause_after_dns": True})
    resumed = {**options, "mode": "3", "run_id": paused["run_id"]}
    done = run_ok("iot_region_switch", resumed)

    assert "found no paused.json that can be read" in error_of("iot_region_switch", resumed)
    assert json.loads((Path(done["report"]) / "summary.json").read_text()) == done["summary"]


def test_a_refused_run_that_touched_nobody_has_no_stragglers(aws_api: AwsApi, options: dict[str, Any]) -> None:
    found = run("iot_region_switch", {**options, "mode": "3", "max_clients": 1})

    assert found["outcome"] == "refused"
    counts = {"total": 2, "misplaced": 2, "landed": 2, "stragglers": 0, "bounced": 0, "in_both_regions": 0}
    assert found["summary"]["clients"] == counts


def test_only_what_was_approved_is_done(aws_api: AwsApi, options: dict[str, Any]) -> None:
    wary = {**options, "mode": "3", "require_approval": True, "approval_drift": 0}
    start = last_request(aws_api)
    assert "approve: this plan needs approval" in error_of("iot_region_switch", wary)
    token = run_ok("iot_region_switch", wary, check=True)["token"]
    aws_api.disconnect(OLD, "client_02")
    refused = run("iot_region_switch", {**wary, "approve": token})
    assert refused["outcome"] == "refused"
    assert "the clients changed (2 then, 1 now)" in refused["msg"]
    assert aws_api.writes(start) == []
    aws_api.connect(OLD, "client_02")
    point(dict.fromkeys(ENDPOINTS, ATS[OLD]), ttl=5)
    assert "records, regions or options" in error_of("iot_region_switch", {**wary, "approve": token})
    point(dict.fromkeys(ENDPOINTS, ATS[OLD]))

    moved = run_ok("iot_region_switch", {**wary, "approve": token, "operator": "alice"})
    assert moved["outcome"] == "moved"
    assert run_ok("iot_region_switch", wary)["outcome"] == "unchanged"

    caller = boto3.client("sts", region_name=OLD).get_caller_identity()["Arn"]
    here = {"user": folder.user(), "host": platform.node(), "caller": caller}
    entries = history.entries(Path(moved["report"]) / "journal.jsonl")
    steps = {entry["step"]: entry for entry in entries}
    by = {**here, "operator": "alice"}
    assert steps["start"]["by"] == by
    planned = steps["approved"]["planned_by"]
    assert {**here, "operator": None, "at": planned["at"]} == planned
    assert moved["summary"]["by"] == {**by, "approved": {"token": token, "planned_by": planned}}
    page = (Path(moved["report"]) / "report.html").read_text()
    assert all(f"<code>{text}</code>" in page for text in ("alice", caller, token)), page


def test_a_device_that_drops_out_after_the_plan_is_shown_and_keeps_nobody(
    aws_api: AwsApi, options: dict[str, Any]
) -> None:
    wary = {**options, "mode": "3", "require_approval": True}
    token = run_ok("iot_region_switch", wary, check=True)["token"]
    aws_api.disconnect(OLD, "client_02")

    moved = run_ok("iot_region_switch", {**wary, "approve": token})
    assert moved["outcome"] == "moved"
    assert f"to {NEW}: 0 more and 1 fewer than the 2 approved (client_02)" in moved["lines"]


@pytest.mark.parametrize("damage", ["removed", "changed"])
def test_a_fleet_may_not_drift_from_a_list_that_is_not_the_one_approved(
    aws_api: AwsApi, options: dict[str, Any], damage: str
) -> None:
    wary = {**options, "mode": "3", "require_approval": True, "approval_drift": 50}
    token = run_ok("iot_region_switch", wary, check=True)["token"]
    (kept,) = (Path(options["reports_directory"]) / "plans").iterdir()
    assert kept.stat().st_mode & 0o077 == 0
    if damage == "removed":
        kept.unlink()
    else:
        kept.write_text(kept.read_text().replace("client_01", "client_03"))
    aws_api.disconnect(OLD, "client_02")
    start = last_request(aws_api)

    assert "the list of those approved is not in the reports" in error_of(
        "iot_region_switch", {**wary, "approve": token}
    )
    assert aws_api.writes(start) == []


def test_clients_that_swap_their_endpoints_are_not_what_was_approved(aws_api: AwsApi, options: dict[str, Any]) -> None:
    """Each endpoint goes the other way: the same clients leave the same regions, for other targets."""
    aws_api.disconnect(OLD, "client_02")
    aws_api.connect(NEW, "client_02", thing_name="client_02")
    point({ENDPOINTS[1]: ATS[NEW]})
    modes = {**MODES, 4: {ENDPOINTS[0]: NEW, ENDPOINTS[1]: OLD}}
    wary = {**options, "modes": modes, "mode": "4", "require_approval": True, "approval_drift": 0}
    token = run_ok("iot_region_switch", wary, check=True)["token"]
    for region in (OLD, NEW):
        iot = boto3.client("iot", region_name=region)
        for client_id, endpoint in zip(CLIENTS, reversed(ENDPOINTS), strict=True):
            iot.update_thing(thingName=client_id, attributePayload={"attributes": {"mqtt_endpoint": endpoint}})
    start = last_request(aws_api)

    assert run("iot_region_switch", {**wary, "approve": token})["outcome"] == "refused"
    assert aws_api.writes(start) == []


@pytest.fixture
def latecomer(aws_api: AwsApi, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> str:
    """A client that connects to the old region after the plan was made."""
    for region in (OLD, NEW):
        attributes = {"attributes": {"mqtt_endpoint": ENDPOINTS[0]}}
        boto3.client("iot", region_name=region).create_thing(thingName="client_03", attributePayload=attributes)
    aws_api.reconnect(dict.fromkeys((*CLIENTS, "client_03"), NEW))
    find, seen = survey.find_clients, set[bool]()

    def find_clients(*arguments: Any, late: bool = False) -> int:
        if late and late not in seen:
            aws_api.connect(OLD, "client_03", thing_name="client_03")
        seen.add(late)
        return find(*arguments, late=late)

    monkeypatch.setattr(survey, "find_clients", find_clients)
    return "client_03"


def test_a_client_that_the_index_shows_late_is_moved_as_well(
    aws_api: AwsApi, options: dict[str, Any], latecomer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reading that finds nobody is not the last one; the one that follows is of the regions that were left."""
    find, readings = survey.find_clients, list[list[str]]()

    def find_clients(*arguments: Any, late: bool = False) -> int:
        if late and not readings:
            aws_api.settings(index_lag_seconds=250)
        found: int = find(*arguments, late=late)
        aws_api.settings(index_lag_seconds=0)
        if late:
            readings.append(sorted(arguments[2]))
        return found

    monkeypatch.setattr(survey, "find_clients", find_clients)
    assert run_ok("iot_region_switch", {**options, "mode": "3"})["outcome"] == "moved"
    assert aws_api.connected(NEW) == {*CLIENTS, latecomer}
    assert readings == [sorted((OLD, NEW)), [OLD], sorted((OLD, NEW)), [OLD]]


def test_a_client_that_comes_after_the_plan_is_moved_as_well(
    aws_api: AwsApi, options: dict[str, Any], latecomer: str
) -> None:
    assert run_ok("iot_region_switch", {**options, "mode": "3", "max_clients": 3})["outcome"] == "moved"
    assert aws_api.connected(NEW) == {*CLIENTS, latecomer}


@pytest.mark.parametrize(
    ("bound", "named"),
    [
        ({"max_clients": 2}, "max_clients: found 3 clients to disconnect, expected 2 at most"),
        (
            {"require_approval": True, "approval_drift": 0},
            f"1 client to {NEW} not approved, expected 0 at most, for 0 % of 2",
        ),
    ],
)
def test_limits_and_approval_hold_for_clients_that_come_after_the_plan(
    aws_api: AwsApi, options: dict[str, Any], latecomer: str, bound: dict[str, Any], named: str
) -> None:
    move = {**options, **bound, "mode": "3"}
    token = run_ok("iot_region_switch", move, check=True)["token"]
    found = run("iot_region_switch", {**move, "approve": token})

    assert found["outcome"] == "partial"
    assert "found 1 that came to a region after the plan was made, and they were not disconnected" in found["msg"]
    assert named in found["msg"]
    assert aws_api.connected(OLD) == {latecomer}
    assert records() == dict.fromkeys(ENDPOINTS, ATS[NEW])


def test_approval_may_allow_for_clients_that_come_after_the_plan(
    aws_api: AwsApi, options: dict[str, Any], latecomer: str
) -> None:
    move = {**options, "mode": "3", "require_approval": True}
    token = run_ok("iot_region_switch", move, check=True)["token"]
    assert run_ok("iot_region_switch", {**move, "approve": token})["outcome"] == "moved"
    assert aws_api.connected(NEW) == {*CLIENTS, latecomer}


@pytest.mark.parametrize(
    ("bound", "named"),
    [
        ({"max_clients": 1}, "max_clients: found 2 clients to disconnect, expected 1 at most"),
        ({"max_endpoints": 1}, "max_endpoints: found 2 endpoints to move, expected 1 at most"),
        ({"max_share": 50}, "share: found 2 of 2 clients to disconnect (100.0 %), expected 0 to 50 %"),
    ],
)
def test_a_plan_beyond_its_bounds_is_refused_unless_it_is_named(
    aws_api: AwsApi, options: dict[str, Any], bound: dict[str, int], named: str
) -> None:
    start = last_request(aws_api)
    refused = run("iot_region_switch", {**options, **bound, "mode": "3"})
    assert named in refused["msg"]
    assert refused["outcome"] == "refused"
    assert aws_api.writes(start) == []
    assert named in run("iot_region_switch", {**options, **bound, "mode": "3"}, check=True)["msg"]

    check = next(finding["check"] for finding in refused["findings"] if finding["blocking"])
    assert run_ok("iot_region_switch", {**options, **bound, "mode": "3", "waive": [check]})["outcome"] == "moved"


@pytest.mark.parametrize("discovery", ["index", "things"])
def test_clients_that_no_endpoint_claims_refuse_a_move_or_follow_an_endpoint(
    aws_api: AwsApi, options: dict[str, Any], discovery: str
) -> None:
    boto3.client("iot", region_name=OLD).create_thing(thingName="client_03")
    aws_api.connect(OLD, "client_03")
    aws_api.reconnect(dict.fromkeys((*CLIENTS, "client_03"), NEW))
    move = {**options, "mode": "3", "discovery": discovery}

    assert "unmapped_clients: found 1" in error_of("iot_region_switch", {**move, "unmapped_clients": "refuse"})
    assert run_ok("iot_region_switch", {**move, "unmapped_clients": ENDPOINTS[0]})["outcome"] == "moved"
    assert aws_api.connected(NEW) == {*CLIENTS, "client_03"}


def test_clients_that_are_listed_are_moved_without_an_index(
    aws_api: AwsApi, options: dict[str, Any], tmp_path: Path
) -> None:
    for region in (OLD, NEW):
        boto3.client("iot", region_name=region).update_indexing_configuration(
            thingIndexingConfiguration={"thingIndexingMode": "OFF"}
        )
    listed = tmp_path / "fleet.csv"
    odd = "a/b c#+"
    aws_api.connect(OLD, odd)
    aws_api.reconnect({**dict.fromkeys(CLIENTS, NEW), odd: NEW})
    listed.write_text(f"client_id,endpoint\nclient_01,\nclient_02,\n{odd},{ENDPOINTS[0]}\n")

    done = run_ok("iot_region_switch", {**options, "mode": "3", "discovery": "clients", "client_ids_file": str(listed)})

    assert done["summary"]["clients"]["landed"] == 3
    assert aws_api.connected(NEW) == {*CLIENTS, odd}


def test_a_dead_region_is_left_and_what_was_skipped_is_said(
    aws_api: AwsApi, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The records move, devices that come by themselves are proven, and a later run finishes the sweep."""
    monkeypatch.setattr("ansible.module_utils.region_switch.aws.clients.PROBE_TIMEOUT", 0.3)
    dead = {"operation": "*", "region": OLD, "kind": "hang", "seconds": 5}
    aws_api.faults(*({**dead, "operation": name} for name in ("DescribeEndpoint", "SearchIndex", "GetConnection")))
    aws_api.connect(NEW, "client_01")

    found = run("iot_region_switch", {**options, "mode": "3", "landing_timeout": 2})

    assert records() == dict.fromkeys(ENDPOINTS, ATS[NEW])
    assert found["outcome"] == "partial"
    assert "client_02" in found["msg"]
    assert "client_01" not in found["msg"]
    [skipped] = [line for line in found["lines"] if line.startswith(f"{OLD}: skipped")]
    assert skipped.startswith(f"{OLD}: skipped, its API does not answer (DescribeEndpoint in {OLD}: found ")
    aws_api.faults()
    start = last_request(aws_api)
    again = run_ok("iot_region_switch", {**options, "mode": "3"})
    assert again["outcome"] == "moved"
    assert aws_api.connected(NEW) == set(CLIENTS)
    assert "ChangeResourceRecordSets" not in aws_api.writes(start)


POWERSHELL = '"client_id","endpoint"\r\n"client_01","mqtt1.example.com"\r\n"client_02","mqtt2.example.com"\r\n'


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_list_as_windows_programs_write_it_moves_its_clients(
    aws_api: AwsApi, options: dict[str, Any], tmp_path: Path, encoding: str
) -> None:
    listed = tmp_path / "fleet.csv"
    listed.write_bytes(POWERSHELL.encode(encoding))

    done = run_ok("iot_region_switch", {**options, "mode": "3", "discovery": "clients", "client_ids_file": str(listed)})

    assert (done["outcome"], done["summary"]["clients"]["landed"]) == ("moved", 2)
    assert aws_api.connected(NEW) == set(CLIENTS)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("client_01,mqtt1.example.com\n", "line 1: found 'client_01,mqtt1.example.com', which may be more"),
        ("Client_01\nclient_2\n", "none of the 2 clients of the list connected (Client_01, client_2)"),
        ("client_id,endpoint\nclient_01,mqtt9.example.com\n", "1 connected client naming none of the endpoints"),
    ],
)
def test_a_list_of_which_nobody_can_be_moved_changes_nothing(
    aws_api: AwsApi, options: dict[str, Any], tmp_path: Path, content: str, said: str
) -> None:
    listed = tmp_path / "fleet.csv"
    listed.write_text(content)
    start = last_request(aws_api)
    move = {**options, "mode": "3", "discovery": "clients", "client_ids_file": str(listed)}

    found = run("iot_region_switch", move)

    assert said in found["msg"]
    assert found.get("outcome", "refused") == "refused"
    assert aws_api.writes(start) == []
    point(dict.fromkeys(ENDPOINTS, ATS[NEW]))
    assert run("iot_region_switch", move).get("outcome", "refused") == "refused"


def test_who_of_a_list_was_not_found_is_told(aws_api: AwsApi, options: dict[str, Any]) -> None:
    listed = [*CLIENTS, "client_9"]

    done = run_ok("iot_region_switch", {**options, "mode": "3", "discovery": "clients", "client_ids": listed})

    assert done["outcome"] == "moved"
    assert any(
        line.startswith("1 of 3 listed clients are not connected") and "client_9" in line for line in done["lines"]
    )


def test_clients_that_all_name_no_endpoint_are_not_moved_by_moving_their_records(options: dict[str, Any]) -> None:
    found = run("iot_region_switch", {**options, "mode": "3", "endpoint_attribute": "MQTT_endpoint"})

    assert found["outcome"] == "refused"
    assert "no_clients (mqtt1.example.com, mqtt2.example.com): found no client, and 2 connected clients" in found["msg"]
    assert records() == dict.fromkeys(ENDPOINTS, ATS[OLD])


def test_a_fleet_of_nobody_is_a_move_of_records_alone(aws_api: AwsApi, options: dict[str, Any]) -> None:
    for client_id in CLIENTS:
        aws_api.disconnect(OLD, client_id)

    first, again = (run_ok("iot_region_switch", {**options, "mode": "3"}) for _ in range(2))

    assert first["lines"][0] == "mode 3: moved, records only: no client was found, and none is proven"
    assert "No client was found in any region" in (Path(first["report"]) / "report.html").read_text()
    assert again["lines"][0] == "mode 3: unchanged, records only: no client was found, and none is proven"


@pytest.fixture
def dead(aws_api: AwsApi, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A move out of a region that does not answer."""
    monkeypatch.setattr("ansible.module_utils.region_switch.aws.clients.PROBE_ATTEMPTS", 1)
    aws_api.faults({"operation": "*", "region": OLD, "kind": "error", "status": 503, "code": "ServiceUnavailable"})
    return {**options, "mode": "3", "landing_timeout": 1}


def test_clients_of_a_dead_region_that_nobody_knows_are_never_said_to_be_moved(
    aws_api: AwsApi, dead: dict[str, Any]
) -> None:
    move = {**dead, "endpoint_attribute": "MQTT_endpoint"}

    first, again = run("iot_region_switch", move), run("iot_region_switch", move)

    assert records() == dict.fromkeys(ENDPOINTS, ATS[NEW])
    for found in (first, again):
        assert found["outcome"] == "partial"
        assert found["msg"].startswith(
            "clients of mqtt1.example.com, mqtt2.example.com: no device is known that uses them"
        )
    assert run_ok("iot_region_switch", {**move, "waive": ["no_clients"]})["outcome"] == "unchanged"
    aws_api.faults()
    assert run("iot_region_switch", move)["outcome"] == "refused"


@pytest.mark.parametrize(
    "how",
    [
        {"endpoint_attribute": "other", "unmapped_clients": ENDPOINTS[0]},
        {"discovery": "clients", "client_ids": [*CLIENTS]},
        {"discovery": "things"},
    ],
)
def test_clients_of_a_dead_region_are_looked_for_however_they_are_known(
    aws_api: AwsApi, dead: dict[str, Any], how: dict[str, Any]
) -> None:
    """One has come over by itself; of the other nobody says that nothing is left to do, as long as it is away."""
    aws_api.connect(NEW, "client_01", thing_name="client_01")

    first, again = (run("iot_region_switch", {**dead, **how}) for _ in range(2))

    for found in (first, again):
        assert found["outcome"] == "partial"
        assert "1 of 2 not landed" in found["msg"]
        assert "client_02" in found["msg"]
    aws_api.connect(NEW, "client_02", thing_name="client_02")
    assert run_ok("iot_region_switch", {**dead, **how})["outcome"] == "unchanged"


@pytest.mark.parametrize("code", ["AccessDeniedException", "UnrecognizedClientException"])
def test_a_region_that_refuses_to_be_asked_is_left_when_it_is_named(
    aws_api: AwsApi, options: dict[str, Any], code: str
) -> None:
    aws_api.faults({"operation": "*", "region": OLD, "kind": "error", "status": 403, "code": code})
    for client_id in CLIENTS:
        aws_api.connect(NEW, client_id, thing_name=client_id)
    start = last_request(aws_api)

    refused = run("iot_region_switch", {**options, "mode": "3"})
    assert refused["outcome"] == "refused"
    assert f"to leave {OLD} without asking it, name it in failover_source_gone" in refused["msg"]
    assert aws_api.writes(start) == []

    start = last_request(aws_api)
    done = run_ok("iot_region_switch", {**options, "mode": "3", "source_gone": [OLD]})
    assert (done["outcome"], records()) == ("moved", dict.fromkeys(ENDPOINTS, ATS[NEW]))
    assert any(line.startswith(f"{OLD}: taken for gone (failover_source_gone)") for line in done["lines"])
    assert [each for each in aws_api.requests(start) if each["region"] == OLD and each["service"] != "route53"] == []


def test_a_region_that_only_parts_of_a_move_may_not_ask_names_the_way_out(
    aws_api: AwsApi, options: dict[str, Any]
) -> None:
    aws_api.faults({"operation": "SearchIndex", "region": OLD, "kind": "error", "status": 403, "code": "AccessDenied"})
    assert "name it in failover_source_gone" in error_of("iot_region_switch", {**options, "mode": "3"})

    aws_api.faults({"operation": "*", "kind": "error", "status": 403, "code": "ExpiredToken"})
    assert "failover_source_gone" not in error_of("iot_region_switch", {**options, "mode": "3"})


def test_a_region_that_is_named_as_gone_cannot_be_moved_to(options: dict[str, Any]) -> None:
    error = error_of("iot_region_switch", {**options, "mode": "3", "source_gone": [NEW]})
    assert f"region {NEW}: its API does not answer (named in failover_source_gone)" in error
    assert "take it out of that list" in error
    assert error_of("iot_region_switch", {**options, "mode": "3", "source_gone": ["eu-west-1"]}).startswith(
        "source_gone"
    )


def test_an_old_region_that_takes_seconds_to_answer_is_left_as_any_other(
    aws_api: AwsApi, options: dict[str, Any]
) -> None:
    aws_api.faults({"operation": "DescribeEndpoint", "region": OLD, "kind": "latency", "seconds": 5.0})

    moved = run_ok("iot_region_switch", {**options, "mode": "3"})

    assert moved["outcome"] == "moved"
    assert not any("skipped" in line for line in moved["lines"])
    assert aws_api.connected(NEW) == set(CLIENTS)


def test_clients_that_cannot_be_looked_at_are_left_where_they_are(aws_api: AwsApi, options: dict[str, Any]) -> None:
    aws_api.faults({"operation": "GetConnection", "kind": "error", "status": 500, "code": "InternalFailureException"})

    found = run("iot_region_switch", {**options, "mode": "3", "waves": [100], "landing_timeout": 2})

    assert found["outcome"] == "partial"
    assert "2 of 2 clients of whom AWS does not say where they are (GetConnection in" in found["msg"]
    assert records() == dict.fromkeys(ENDPOINTS, ATS[NEW])
    aws_api.faults()
    assert run_ok("iot_region_switch", {**options, "mode": "3"})["summary"]["clients"]["landed"] == 2


def test_a_move_into_a_dead_region_is_refused(
    aws_api: AwsApi, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ansible.module_utils.region_switch.aws.clients.PROBE_TIMEOUT", 0.3)
    aws_api.faults({"operation": "DescribeEndpoint", "region": NEW, "kind": "hang", "seconds": 5})
    start = last_request(aws_api)

    found = run("iot_region_switch", {**options, "mode": "3"})

    assert found["outcome"] == "refused"
    assert f"region {NEW}: its API does not answer" in found["msg"]
    assert aws_api.writes(start) == []


@pytest.mark.parametrize("fault", [{"kind": "throttle"}, {"kind": "error", "status": 403, "code": "AccessDenied"}])
def test_a_region_that_answers_with_a_refusal_is_not_taken_for_dead(
    aws_api: AwsApi, options: dict[str, Any], fault: dict[str, object]
) -> None:
    aws_api.faults({"operation": "DescribeEndpoint", "region": OLD, **fault})
    start = last_request(aws_api)

    found = run("iot_region_switch", {**options, "mode": "3"})

    assert found["msg"].startswith(f"DescribeEndpoint in {OLD}: found")
    assert aws_api.writes(start) == []


def test_a_rollback_returns_to_the_records_before_and_does_so_once(aws_api: AwsApi, options: dict[str, Any]) -> None:
    run_ok("iot_region_switch", {**options, "mode": "2"})
    run_ok("iot_region_switch", {**options, "mode": "3"})
    aws_api.reconnect({"client_01": OLD, "client_02": NEW})

    back = run_ok("iot_region_switch", {**options, "rollback": True})

    assert (back["outcome"], back["summary"]["mode"]) == ("moved", "2")
    assert aws_api.connected(OLD) == {"client_01"}
    assert run_ok("iot_region_switch", {**options, "rollback": True})["outcome"] == "unchanged"


def test_a_rollback_from_records_that_another_controller_has_moved_since_is_refused(
    aws_api: AwsApi, options: dict[str, Any]
) -> None:
    run_ok("iot_region_switch", {**options, "mode": "3"})
    point({ENDPOINTS[0]: ATS[OLD]})
    start = last_request(aws_api)
    back = {**options, "rollback": True}

    for check in (True, False):
        found = run("iot_region_switch", back, check=check)
        assert f"found {ENDPOINTS[0]} in {OLD}, expected the records as that run left them" in found["msg"]
    assert found["outcome"] == "refused"
    assert aws_api.writes(start) == []


@pytest.mark.parametrize(
    ("option", "named"),
    [
        ({"waves": [10, 5]}, "waves: found 5"),
        ({"max_stragglers": 101}, "max_stragglers: found 101"),
        ({"unmapped_clients": "mqtt9.example.com"}, "unmapped_clients: found mqtt9.example.com"),
        ({"discovery": "clients"}, "discovery clients: client_ids and client_ids_file are missing"),
        ({"probe_certificate": "only.crt"}, "probe_certificate: set probe_certificate and probe_private_key"),
        ({"run_id": "20261123T204500Z-mode3-0f3a"}, "run 20261123T204500Z-mode3-0f3a: found no paused.json"),
        ({"delete_connection_rate": -1}, "delete_connection_rate: found -1"),
    ],
)
def test_options_that_cannot_be_meant_change_nothing(
    aws_api: AwsApi, options: dict[str, Any], option: dict[str, Any], named: str
) -> None:
    start = last_request(aws_api)
    assert error_of("iot_region_switch", {**options, **option, "mode": "3"}).startswith(named)
    assert aws_api.requests(start) == []
