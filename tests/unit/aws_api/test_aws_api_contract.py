"""The contract check: what is not as botocore's models say is found, whichever side it is on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import botocore.session
import pytest

from lab.aws_api import operations
from lab.aws_api.contract import Contract
from lab.aws_api.operations import Message, Models, error_code, problems_of
from lab.aws_api.shapes import pattern_of
from tests import contract

MODELS = Models()
JSON = {"content-type": "application/json"}
SERVICES = ("iot", "iot-data", "route53", "acm", "service-quotas", "sts")
XMLNS = "https://route53.amazonaws.com/doc/2013-04-01/"


def connection_request(client_id: str = "client_01", method: str = "DELETE", query: str = "") -> Message:
    return Message({}, b"", method=method, path=f"/connections/{quote(client_id, safe='')}", query=query)


def answer(content: object = None, status: int = 200, headers: dict[str, str] | None = None) -> Message:
    body = b"" if content is None else json.dumps(content).encode()
    return Message(headers or JSON, body, status=status)


def error(code: str, status: int) -> Message:
    return answer({"__type": code, "message": "no"}, status, {"x-amzn-errortype": code})


def xml(body: str, status: int = 200) -> Message:
    return Message({"content-type": "text/xml"}, body.encode(), status=status)


def found(service: str, operation: str, request: Message | None, reply: Message) -> list[str]:
    """Sides and members of what is wrong."""
    return [f"{side} {problem.member}" for side, problem in problems_of(MODELS, service, operation, request, reply)]


GONE = error("ResourceNotFoundException", 404)
FINE = answer()


@pytest.mark.parametrize(
    ("request_", "wrong"),
    [
        (connection_request(query="cleanSession=false&preventWillMessage=true"), []),
        (connection_request("a/b %"), []),
        (connection_request("$x"), ["request clientId"]),
        (connection_request("x" * 129), ["request clientId"]),
        (connection_request(query="cleanSession=False"), ["request cleanSession"]),
        (connection_request(query="cleansession=false"), ["request cleansession"]),
        (connection_request(method="POST"), ["request method"]),
        (Message({}, b"{}", method="DELETE", path="/connections/a/subscriptions"), ["request path"]),
        (Message({}, b'{"a": 1}', method="DELETE", path="/connections/a"), ["request body"]),
    ],
)
def test_request_of_the_data_plane(request_: Message, wrong: list[str]) -> None:
    assert found("iot-data", "DeleteConnection", request_, FINE) == wrong


def thing_request(**members: object) -> Message:
    return Message(JSON, json.dumps(members).encode(), method="POST", path="/things/client_01")


@pytest.mark.parametrize(
    ("members", "wrong"),
    [
        ({"attributePayload": {"attributes": {"a": "b"}}}, []),
        ({"attributePayload": {"attributes": {"a": "b c"}}}, ["request attributePayload.attributes{}"]),
        ({"attributePayload": {"attributes": {"a b": "c"}}}, ["request attributePayload.attributes{}"]),
        ({"attributePayload": {"merge": "true"}}, ["request attributePayload.merge"]),
        ({"attributePayload": []}, ["request attributePayload"]),
        ({"thingName": "client_01"}, ["request thingName"]),
    ],
)
def test_request_with_a_body(members: dict[str, object], wrong: list[str]) -> None:
    assert found("iot", "CreateThing", thing_request(**members), answer({"thingName": "a"})) == wrong


@pytest.mark.parametrize(
    ("content", "wrong"),
    [
        ({"clientId": "a", "connected": True, "connectedSince": 1700000000000, "disconnectReason": "NONE"}, []),
        ({"connected": "true"}, ["answer connected"]),
        ({"connectedSince": 1.5}, ["answer connectedSince"]),
        ({"clientId": "$x"}, ["answer clientId"]),
        ({"sessionexpiry": 1}, ["answer sessionexpiry"]),
        # What is null is not there.
        ({"thingName": None}, []),
        (["a"], ["answer body"]),
    ],
)  # fmt: skip
def test_answer_in_json(content: object, wrong: list[str]) -> None:
    request = connection_request(method="GET")

    assert found("iot-data", "GetConnection", request, answer(content)) == wrong


@pytest.mark.parametrize(
    ("things", "wrong"),
    [
        ([{"thingName": "a", "attributes": {"b": "c"}}], []),
        ([{"thingName": "a b"}], ["answer things[].thingName"]),
        ([{"attributes": {"a": 1}}], ["answer things[].attributes{}"]),
        ({}, ["answer things"]),
    ],
)
def test_answer_with_a_list(things: object, wrong: list[str]) -> None:
    assert found("iot", "ListThings", None, answer({"things": things})) == wrong


@pytest.mark.parametrize(
    ("reply", "wrong"),
    [
        (GONE, []),
        (error("ThrottlingException", 429), []),
        (error("ForbiddenException", 403), []),
        (error("ResourceNotFoundException", 400), ["answer status of ResourceNotFoundException"]),
        (error("NoSuchHostedZone", 404), ["answer error"]),
        (answer({"message": "no"}, 400), ["answer error"]),
        (answer({"__type": "B"}, 400, {"x-amzn-errortype": "A"}), ["answer error"]),
        (answer(None, 204), ["answer status"]),
    ],
)
def test_errors_and_statuses(reply: Message, wrong: list[str]) -> None:
    assert found("iot-data", "DeleteConnection", connection_request(), reply) == wrong


def test_operation_that_is_none() -> None:
    assert found("iot", "MakeTea", thing_request(), answer({})) == ["request operation"]
    assert found("teapot", "MakeTea", thing_request(), answer({})) == ["request operation"]


RECORD = (
    "<ResourceRecordSet><Name>a.example.com.</Name><Type>CNAME</Type><TTL>0</TTL><ResourceRecords><ResourceRecord>"
    "<Value>b</Value></ResourceRecord></ResourceRecords></ResourceRecordSet>"
)
CHANGE = (
    "<ChangeInfo><Id>/change/C1</Id><Status>PENDING</Status>"
    "<SubmittedAt>2026-11-27T18:00:00Z</SubmittedAt></ChangeInfo>"
)


@pytest.mark.parametrize(
    ("record", "wrong"),
    [
        (RECORD, []),
        (RECORD.replace("CNAME", "cname"), ["ChangeBatch.Changes[].ResourceRecordSet.Type"]),
        (RECORD.replace("<TTL>0", "<TTL>-1"), ["ChangeBatch.Changes[].ResourceRecordSet.TTL"]),
        (RECORD.replace("<Type>CNAME</Type>", ""), ["ChangeBatch.Changes[].ResourceRecordSet.Type"]),
        (
            RECORD.replace("ResourceRecord>", "Record>"),
            ["ChangeBatch.Changes[].ResourceRecordSet.ResourceRecords[Record]"],
        ),
    ],
)
def test_request_in_xml(record: str, wrong: list[str]) -> None:
    body = (
        f'<ChangeResourceRecordSetsRequest xmlns="{XMLNS}"><ChangeBatch><Changes><Change><Action>CREATE</Action>'
        f"{record}</Change></Changes></ChangeBatch></ChangeResourceRecordSetsRequest>"
    )
    request = Message({}, body.encode(), method="POST", path="/2013-04-01/hostedzone/Z1/rrset/")
    reply = xml(f'<ChangeResourceRecordSetsResponse xmlns="{XMLNS}">{CHANGE}</ChangeResourceRecordSetsResponse>')

    members = found("route53", "ChangeResourceRecordSets", request, reply)

    assert members == [f"request {member}" for member in wrong]


@pytest.mark.parametrize(
    ("body", "wrong"),
    [
        (CHANGE, []),
        (CHANGE.replace("PENDING", "pending"), ["answer ChangeInfo.Status"]),
        (CHANGE.replace("27T18", "27 18"), ["answer ChangeInfo.SubmittedAt"]),
        (CHANGE.replace("<Status>PENDING</Status>", ""), ["answer ChangeInfo.Status"]),
        (CHANGE.replace("Status", "State"), ["answer ChangeInfo.Status", "answer ChangeInfo.State"]),
        (CHANGE + CHANGE, ["answer ChangeInfo"]),
        ("", ["answer ChangeInfo"]),
    ],
)
def test_answer_in_xml(body: str, wrong: list[str]) -> None:
    assert found("route53", "GetChange", None, xml(f"<GetChangeResponse>{body}</GetChangeResponse>")) == wrong


def test_both_bodies_of_a_refused_batch_have_its_code() -> None:
    """https://docs.aws.amazon.com/Route53/latest/APIReference/API_ChangeResourceRecordSets.html, "Errors"."""
    common = "<ErrorResponse><Error><Code>InvalidChangeBatch</Code><Message>no</Message></Error></ErrorResponse>"
    own = "<InvalidChangeBatch><Messages><Message>no</Message></Messages></InvalidChangeBatch>"

    assert [error_code(xml(body, 400)) for body in (common, own)] == ["InvalidChangeBatch"] * 2
    assert found("route53", "ChangeResourceRecordSets", None, xml(own, 400)) == []


def test_services_with_one_path() -> None:
    headers = {"x-amz-target": "CertificateManager.ListCertificates", "content-type": "application/x-amz-json-1.1"}
    request = Message(headers, b'{"MaxItems": 0}', method="POST", path="/")
    assert found("acm", "ListCertificates", request, answer({})) == ["request MaxItems"]

    other = Message({**headers, "x-amz-target": "ACM.ListCertificates"}, b"{}", method="POST", path="/")
    assert found("acm", "ListCertificates", other, answer({})) == ["request x-amz-target"]


def test_form_of_the_query_protocol() -> None:
    result = "<Account>1</Account><Arn>short</Arn><UserId>U</UserId>"
    reply = xml(
        f"<GetCallerIdentityResponse><GetCallerIdentityResult>{result}</GetCallerIdentityResult></GetCallerIdentityResponse>"
    )

    def form(text: str) -> list[str]:
        return found("sts", "GetCallerIdentity", Message({}, text.encode(), method="POST", path="/"), reply)

    assert form("Action=GetCallerIdentity&Version=2011-06-15") == ["answer Arn"]
    assert form("Action=GetCallerIdentity&Version=2011-06-15&Of=me") == ["request Of", "answer Arn"]
    assert form("Action=GetCallerIdentity") == ["request Version", "answer Arn"]


def test_private_key_is_not_shown() -> None:
    headers = {"x-amz-target": "CertificateManager.ImportCertificate", "content-type": "application/x-amz-json-1.1"}
    arn = "arn:aws:acm:us-east-1:123456789012:certificate/a"
    # Not in base64, as botocore sends it.
    request = Message(headers, b'{"Certificate": "YQ==", "PrivateKey": "BEGIN"}', method="POST", path="/")

    ((_, problem),) = problems_of(MODELS, "acm", "ImportCertificate", request, answer({"CertificateArn": arn}))

    assert problem.member == "PrivateKey"
    assert "BEGIN" not in problem.found


def test_every_pattern_of_a_model_is_one() -> None:
    """A pattern that Python cannot read would check nothing."""
    session = botocore.session.get_session()
    for service in SERVICES:
        model = session.get_service_model(service)
        for name in model.shape_names:
            if text := model.shape_for(name).metadata.get("pattern"):
                pattern_of(text)


def test_deviation_of_aws_s_own_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    reply = answer({"clientId": "$x"})
    assert found("iot-data", "GetConnection", None, reply) == ["answer clientId"]

    monkeypatch.setattr(operations, "EXEMPTIONS", {("iot-data", "GetConnection", "answer", "clientId"): "seen"})

    assert found("iot-data", "GetConnection", None, reply) == []


def test_every_exemption_names_an_operation_and_its_reason() -> None:
    for (service, operation, _, _), reason in operations.EXEMPTIONS.items():
        assert reason
        assert MODELS.operation(service, operation) is not None


def test_file_has_counts_and_each_kind_once(tmp_path: Path) -> None:
    kept = Contract(tmp_path)
    kept.note("iot-data", "DeleteConnection", connection_request(), FINE)
    for _ in range(3):
        kept.note("iot-data", "DeleteConnection", connection_request("$x"), GONE)
    kept.note("iot-data", "GetConnection", connection_request(method="GET"), answer({"connected": 1}))

    (path,) = tmp_path.iterdir()
    counts, deviations = contract.read_file(path)

    assert (counts.requests, counts.conforming_requests, counts.conforming_answers) == (5, 2, 4)
    assert [each.line for each in deviations] == [
        "iot-data DeleteConnection, request, clientId: found '$x', expected a match of ^[^$].*",
        "iot-data GetConnection, answer, connected: found 1, expected true or false",
    ]
    assert [each["member"] for each in kept.told(1)["deviations"]] == ["connected"]


def test_what_was_on_purpose_is_not_reported(tmp_path: Path) -> None:
    kept = Contract(tmp_path)
    kept.on_purpose = frozenset({"DeleteConnection clientId"})
    kept.note("iot-data", "DeleteConnection", connection_request("$x"), GONE)
    text, code = contract.report(tmp_path)
    assert (code, text.count("\n")) == (0, 0)

    kept.on_purpose = frozenset()
    kept.note("iot-data", "DeleteConnection", connection_request("$x"), GONE)
    text, code = contract.report(tmp_path)

    assert code == 1
    assert text.splitlines() == [
        "contract: iot-data DeleteConnection, request, clientId: found '$x', expected a match of ^[^$].*",
        "contract: 0 of 2 requests and 2 of 2 answers were as AWS's models say (tests that go against them on purpose"
        " included)",
    ]


def test_stand_ins_are_added_up(tmp_path: Path) -> None:
    for _ in range(2):
        kept = Contract(tmp_path)
        kept.note("iot-data", "DeleteConnection", connection_request("$x"), FINE)

    counts, deviations = contract.add_up(sorted(tmp_path.iterdir()))

    assert (counts.answers, counts.conforming_requests, len(deviations)) == (2, 0, 1)


def test_file_that_is_none_is_said(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("[1, 2, 3, 4]\n{}\n")

    text, code = contract.report(tmp_path)

    assert code == 1
    assert "not a file of the contract check" in text


def deviation(**changed: Any) -> dict[str, Any]:
    return {"operation": "GetConnection", "member": "clientId", "line": "a line", "on_purpose": False, **changed}


def test_test_fails_for_what_it_did_not_name() -> None:
    contract.judge([], [])
    contract.judge(["GetConnection clientId"], [deviation(on_purpose=True)])
    with pytest.raises(pytest.fail.Exception, match="a line"):
        contract.judge([], [deviation()])
    with pytest.raises(pytest.fail.Exception, match="take it out of the marker"):
        contract.judge(["GetConnection clientId"], [])
