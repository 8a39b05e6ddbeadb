"""Judgements of the checks before a move: what AWS said, and what follows from it."""

from __future__ import annotations

import datetime as dt
import json
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.module_utils.region_switch.aws import paced, refusals
from ansible.module_utils.region_switch.aws.paced import Paced
from ansible.module_utils.region_switch.aws.token_bucket import TokenBucket
from ansible.module_utils.region_switch.checks import admission, preflight
from ansible.module_utils.region_switch.checks.admission import ControlPlane, foreign_regions
from ansible.module_utils.region_switch.checks.probe import ProbeError
from ansible.module_utils.region_switch.fleet.index import IndexSource
from ansible.module_utils.region_switch.model.errors import AwsError
from ansible.module_utils.region_switch.model.findings import unanswered
from ansible.module_utils.region_switch.model.options import CheckOptions, FleetOptions

from .fakes import Clock, FakeAws

TARGET = "ap-northeast-1"


def document(*resources: object, effect: str = "Allow") -> str:
    return json.dumps({"Statement": [{"Effect": effect, "Action": "iot:*", "Resource": each} for each in resources]})


@pytest.mark.parametrize(
    ("text", "foreign"),
    [
        (document("arn:aws:iot:us-east-1:1:client/*"), ["us-east-1"]),
        (document(["arn:aws:iot:us-east-1:1:*", "arn:aws-cn:iot:cn-north-1:1:*"]), ["cn-north-1", "us-east-1"]),
        (document("arn:aws:iot:us-east-1:1:client/*", f"arn:aws:iot:{TARGET}:1:client/*"), []),
        (document("arn:aws:iot:*:1:client/*"), []),
        (document("arn:aws:iot:ap-*:1:client/*"), []),
        (document("*"), []),
        (document("arn:aws:iot:us-east-1:1:client/*", effect="Deny"), []),
        (json.dumps({"Statement": {"Effect": "Allow", "Resource": "arn:aws:iot:us-east-1:1:*"}}), ["us-east-1"]),
        (json.dumps({}), []),
    ],
)  # fmt: skip
def test_policy_that_authorises_only_elsewhere(text: str, foreign: list[str]) -> None:
    assert foreign_regions(text, TARGET) == foreign


def test_server_certificate_that_aws_calls_invalid() -> None:
    described = {
        "domainConfigurationStatus": "ENABLED",
        "serverCertificates": [{"serverCertificateStatus": "INVALID", "serverCertificateStatusDetail": "expired"}],
    }

    (finding,) = preflight._domain_findings(TARGET, "mqtt1.example.com", described)

    assert finding.blocking
    assert finding.found == "server certificate INVALID (expired)"


@pytest.mark.parametrize(
    ("status", "minutes", "found"),
    [
        ("VALID", 12, "configured 12 minutes ago, and still a server certificate that is not trusted"),
        ("VALID", 61, "a server certificate that is not trusted"),
        ("INVALID", 12, "a server certificate that is not trusted"),
    ],
)
def test_certificate_that_is_not_served_yet(status: str, minutes: int, found: str) -> None:
    now = 1_800_000_000.0
    described = {
        "lastStatusChangeDate": dt.datetime.fromtimestamp(now - minutes * 60, dt.UTC),
        "serverCertificates": [{"serverCertificateStatus": status}],
    }
    problem = ProbeError("mqtt1.example.com", "a server certificate that is not trusted", untrusted=True)
    pair = ("mqtt1.example.com", TARGET)
    settings = SimpleNamespace(checks=CheckOptions())

    (finding,) = preflight._probe_findings(
        [preflight.ProbeResult(*pair, problem)],
        [pair],
        settings,
        now,
        {pair: described},  # type: ignore[arg-type]
    )

    assert finding.found == found
    # A connection that fails is no matter of time.
    unreachable = preflight.ProbeResult(*pair, ProbeError("mqtt1.example.com", "no answer within 5 s"))
    (finding,) = preflight._probe_findings([unreachable], [pair], settings, now, {pair: described})  # type: ignore[arg-type]
    assert finding.found == "no answer within 5 s"


def test_every_page_is_read_and_no_faster_than_the_quota(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(paced, "TokenBucket", lambda rate, sleep: TokenBucket(rate, clock, sleep))
    monkeypatch.setattr(Paced, "_pause", lambda _, seconds: clock.sleep(seconds))

    def answer(_operation: str, marker: str = "0", **_: Any) -> dict[str, Any]:
        following = {"nextMarker": str(int(marker) + 1)} if marker != "19" else {}
        return {"certificates": [marker], **following}

    pages = ControlPlane(FakeAws(answer)).pages("ListCertificates", "certificates", ("nextMarker", "marker"))  # type: ignore[arg-type]

    assert [item for page in pages for item in page] == [str(number) for number in range(20)]
    assert clock.now - 1000.0 == pytest.approx(18 / admission.CONTROL_RATE, abs=0.11)


@pytest.mark.parametrize(
    ("operation", "answer"),
    [
        ("ListCertificates", {"certificates": [{"certificateId": "no hex", "certificateArn": "", "status": "ACTIVE"}]}),
        ("ListTargetsForPolicy", {"targets": ["arn:aws:iot:us-east-1:123456789012:cert/zz"]}),
        ("GetPolicy", {"policyDocument": "[]"}),
        ("GetPolicy", {"policyDocument": "{"}),
        ("GetPolicy", {"policyDocument": '{"Statement": ["Allow"]}'}),
        ("GetPolicy", {"policyDocument": "[" * 100_000}),
        ("ListCertificates", {"certificates": "all"}),
        ("ListPolicies", {"policies": [], "nextMarker": "again"}),
    ],
)
def test_answer_that_cannot_be_read_is_a_finding(
    monkeypatch: pytest.MonkeyPatch, operation: str, answer: dict[str, Any]
) -> None:
    clock = Clock()
    monkeypatch.setattr(paced, "TokenBucket", lambda rate, **_: TokenBucket(rate, clock, clock.sleep))
    usual: dict[str, dict[str, Any]] = {
        "ListCertificates": {"certificates": []},
        "ListPolicies": {"policies": [{"policyName": "devices"}]},
        "ListTargetsForPolicy": {"targets": ["arn:aws:iot:us-east-1:123456789012:cert/00ff"]},
        "GetPolicy": {"policyDocument": document("arn:aws:iot:us-east-1:123456789012:*")},
    }
    aws: Any = SimpleNamespace(iot={"us-east-1": FakeAws(lambda asked, **_: {**usual, operation: answer}[asked])})
    route = admission.Route("us-east-1", "us-east-1", frozenset())

    found = admission.Admission(aws, IndexSource(FleetOptions()).endpoint).check([route])

    assert [(finding.blocking, finding.region) for finding in found] == [(True, "us-east-1")]
    assert ": Unreadable (" in found[0].found


def test_permission_is_not_given_by_a_page_of_a_proxy() -> None:
    def attempt() -> None:
        raise AwsError("DeleteConnection", "us-east-1", "Unreadable", 200, "<html>")

    (finding,) = refusals.denied("us-east-1", attempt)

    assert finding.blocking
    assert "DeleteConnection: Unreadable (<html>)" in finding.found


def test_refusal_names_the_action_as_iam_does() -> None:
    found = unanswered("quota", TARGET, AwsError("GetStatistics", TARGET, "UnauthorizedException", 403, "not allowed"))

    assert (found.check, found.found) == ("permission", "iot:GetStatistics denied (not allowed)")
