"""Answers of the control plane that are none, over real sockets: an error each, never an empty fleet."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.module_utils.region_switch.aws import caller, quotas
from ansible.module_utils.region_switch.aws import clients as aws
from ansible.module_utils.region_switch.aws.clients import Aws, AwsClient, describe_data_endpoint
from ansible.module_utils.region_switch.checks.admission import ControlPlane
from ansible.module_utils.region_switch.dns.method import Change
from ansible.module_utils.region_switch.dns.route53_cname import Route53Cname
from ansible.module_utils.region_switch.fleet import stream as streams
from ansible.module_utils.region_switch.fleet.index import IndexSource
from ansible.module_utils.region_switch.fleet.source import Connection
from ansible.module_utils.region_switch.model.errors import AwsError, SwitchError
from ansible.module_utils.region_switch.model.options import FleetOptions

REGION = "us-east-1"
ZONE = "Z0LABEXAMPLE00000000"
INDEX = IndexSource(FleetOptions())
HTML = b"<!DOCTYPE html><html><body>Please log in</body></html>"
# As AWS answers: every member, null where there is nothing.
THING = {
    "attributes": {"mqtt_endpoint": "mqtt1.example.com"},
    "connectivity": {"connected": True, "timestamp": 1000, "disconnectReason": None},
    "thingGroupNames": None,
    "thingName": "client_01",
}
NO_JSON = {
    "a page": HTML,
    "nothing": b"",
    "white space": b" \r\n",
    "half": json.dumps({"nextToken": None, "things": [THING]}).encode()[:-9],
    "bytes": b"\xff\xfe\x00",
    "a list": b"[]",
    "null": b"null",
    "text": b'"things"',
    "no member": b"{}",
    "another's members": b'{"message": "hello"}',
    "deep": b'{"things": ' + b"[" * 100_000,
    "not a number": b'{"things": [], "nextToken": NaN}',
}


class Server(ThreadingHTTPServer):
    """Answers every request with the same body, and status."""

    daemon_threads = True
    body = b""
    status = 200

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(self.server.body)))
        self.end_headers()
        self.wfile.write(self.server.body)

    do_POST = do_PATCH = do_GET  # noqa: N815 - the library's names

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def started() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Handler) as found, pytest.MonkeyPatch.context() as patch:
        thread = threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        patch.setenv("AWS_ENDPOINT_URL", found.url)
        patch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        aws._session.cache_clear()
        yield found
        aws._session.cache_clear()
        found.shutdown()
        thread.join()


@pytest.fixture
def server(started: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    started.body, started.status = b"", 200
    # What fails for a moment is tried again; nobody waits here.
    monkeypatch.setattr(streams, "CLIENT_INTERVAL", 0.0)
    return started


@pytest.fixture(scope="module")
def account(started: Server) -> Aws:
    return Aws([REGION])


def answers(server: Server, content: object) -> None:
    server.body = content if isinstance(content, bytes) else json.dumps(content).encode()


def found(account: Aws) -> list[Connection]:
    return [client for batch in streams.stream(account, [REGION], INDEX) for client in batch]


@pytest.mark.parametrize("body", NO_JSON.values(), ids=NO_JSON)
def test_index_that_cannot_be_read_is_no_empty_fleet(account: Aws, server: Server, body: bytes) -> None:
    answers(server, body)

    with pytest.raises(AwsError, match="SearchIndex in us-east-1: found Unreadable") as failed:
        found(account)

    assert "check AWS_ENDPOINT_URL and proxies" in str(failed.value)


@pytest.mark.parametrize(
    ("content", "clients"),
    [
        ({"nextToken": None, "thingGroups": None, "things": []}, 0),
        ({"nextToken": None, "thingGroups": None, "things": None}, 0),
        ({"things": []}, 0),
        ({"nextToken": None, "thingGroups": None, "things": [THING]}, 1),
        ({"things": [THING, THING]}, 2),
        ({"things": [{**THING, "connectivity": {"connected": True, "timestamp": 1e3}}]}, 1),
    ],
)
def test_index_is_read_as_aws_answers(account: Aws, server: Server, content: object, clients: int) -> None:
    answers(server, content)

    assert found(account) == [Connection("client_01", "mqtt1.example.com", REGION, 1.0)] * clients


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ({"things": {}}, "things = {}, no list"),
        ({"things": "client_01"}, "things = 'client_01', no list"),
        ({"things": [None]}, "one of things = nothing, no structure"),
        ({"things": ["client_01"]}, "one of things = 'client_01', no structure"),
        ({"things": [{**THING, "thingName": 5}]}, "thingName = 5, no string"),
        ({"things": [{**THING, "attributes": ["a"]}]}, r"attributes = ['a'], no map"),
        ({"things": [{**THING, "connectivity": {"connected": "true"}}]}, "connected = 'true', no boolean"),
        ({"things": [{**THING, "connectivity": {"timestamp": "1"}}]}, "timestamp = '1', no long"),
        ({"things": [], "nextToken": 5}, "nextToken = 5, no string"),
    ],
)
def test_member_of_another_type_is_named(account: Aws, server: Server, content: object, problem: str) -> None:
    answers(server, content)

    with pytest.raises(AwsError) as failed:
        found(account)

    assert f"found Unreadable ({problem})" in str(failed.value)


def test_page_that_points_at_itself_ends(account: Aws, server: Server) -> None:
    answers(server, {"things": [], "nextToken": "again"})

    with pytest.raises(AwsError, match="not the next page's"):
        found(account)


CALLS: dict[str, Callable[[Aws], object]] = {
    "ListThings": lambda account: list(INDEX.known(account, REGION)),
    "ListCertificates": lambda account: list(
        ControlPlane(account.iot[REGION]).pages("ListCertificates", "certificates", ("nextMarker", "marker"))
    ),
    "ListPrincipalThings": lambda account: list(
        account.iot[REGION].pages("ListPrincipalThings", "things", principal="arn")
    ),
    "GetStatistics": lambda account: INDEX.count(account.iot[REGION]),
    "GetPolicy": lambda account: account.iot[REGION].find("GetPolicy", policyName="a"),
    "UpdateThing": lambda account: account.iot[REGION].call("UpdateThing", thingName="a"),
    "ListResourceRecordSets": lambda account: Route53Cname(account, ZONE).read(["a.example.com"]),
    "GetChange": lambda account: Route53Cname(account, ZONE).wait("C1", 0.0),
    "GetHostedZone": lambda account: Route53Cname(account, ZONE).zone([]),
}


@pytest.mark.parametrize("operation", CALLS)
def test_page_of_a_proxy_is_an_error_whatever_was_asked(account: Aws, server: Server, operation: str) -> None:
    for body in (HTML, b"<html><body/></html>", b"<html>", b"[1]"):
        answers(server, body)

        with pytest.raises(AwsError, match=f"{operation} in {REGION}: found Unreadable"):
            CALLS[operation](account)


@pytest.mark.parametrize("operation", [name for name in CALLS if name != "UpdateThing"])
def test_empty_body_is_an_error_where_the_operation_answers_something(
    account: Aws, server: Server, operation: str
) -> None:
    with pytest.raises(AwsError, match=f"{operation} in {REGION}: found Unreadable"):
        CALLS[operation](account)


def test_empty_body_is_an_answer_where_the_operation_has_none(account: Aws, server: Server) -> None:
    for body in (b"", b"{}"):
        answers(server, body)

        assert account.iot[REGION].call("UpdateThing", thingName="a").keys() == {"ResponseMetadata"}


@pytest.mark.parametrize(
    ("operation", "content"),
    [
        ("GetStatistics", {"statistics": {"count": None}}),
        ("GetStatistics", {"statistics": None}),
        ("GetPolicy", {"policyName": "a", "policyDocument": None}),
        ("ListCertificates", {"certificates": [{"certificateId": "ab"}]}),
    ],
)
def test_member_that_is_read_must_be_there(account: Aws, server: Server, operation: str, content: object) -> None:
    answers(server, content)

    with pytest.raises(AwsError, match=f"{operation} in {REGION}: found Unreadable .* without "):
        CALLS[operation](account)


@pytest.mark.parametrize("status", [403, 404, 429, 500, 503])
@pytest.mark.parametrize("body", [*NO_JSON.values(), b"{" * 9, b'{"__type": 5}', b'{"message": [1]}'])
def test_refusal_that_cannot_be_read_is_still_one(server: Server, account: Aws, status: int, body: bytes) -> None:
    server.status = status
    answers(server, body)
    client = AwsClient("iot", REGION, attempts=1)

    with pytest.raises(AwsError) as failed:
        client.find("DescribeThing", thingName="a")

    assert failed.value.status == status
    # Only AWS can say that something does not exist.
    assert not failed.value.not_found


def test_region_that_answers_nonsense_is_not_taken_for_dead(server: Server) -> None:
    for body in NO_JSON.values():
        answers(server, body)

        with pytest.raises(SwitchError, match="DescribeEndpoint in us-east-1: found ") as failed:
            describe_data_endpoint(AwsClient("iot", REGION))

        assert not isinstance(failed.value, AwsError)


def test_quotas_that_cannot_be_read_are_the_defaults(account: Aws, server: Server) -> None:
    answers(server, {"Quotas": [{"QuotaCode": "L-6F708547", "Value": "many"}]})

    assert quotas.read(account, REGION) == quotas.defaults(REGION)


def test_caller_that_is_not_named_is_not_believed(server: Server) -> None:
    answers(server, HTML)

    with pytest.raises(SwitchError, match=r"no region answered GetCallerIdentity \(us-east-1: Unreadable"):
        caller.identify([REGION], "look")


def test_batch_without_a_readable_answer_is_looked_for_in_the_records(account: Aws) -> None:
    """It may have been carried out."""
    record = {"Name": "a.example.com.", "Type": "CNAME", "TTL": 60, "ResourceRecords": [{"Value": "new.example.net"}]}
    asked: list[str] = []

    def call(operation: str, **_: Any) -> dict[str, Any]:
        asked.append(operation)
        return {"ResourceRecordSets": [record]} if operation == "ListResourceRecordSets" else {}

    route: Any = SimpleNamespace(call=call, region=REGION)
    both: Any = SimpleNamespace(route53=route, route53_writer=route)
    dns = Route53Cname(both, ZONE)

    assert dns.swap([Change(None, dns.record("a.example.com", "new.example.net", 60))], "test") is None
    assert asked == ["ChangeResourceRecordSets", "ListResourceRecordSets"]
