"""What a refused or unanswered batch means."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.module_utils.region_switch.dns.method import Change
from ansible.module_utils.region_switch.dns.route53_cname import READ_ATTEMPTS, record_set
from ansible.module_utils.region_switch.model.errors import (
    AwsError,
    NotConvergedError,
    RecordsChangedError,
    RefusedError,
)

from .fakes import Clock, FakeAws, aws_error, batch_of, cnames

NAME, OLD, NEW, OTHER = "mqtt1.example.com", "old.example.net", "new.example.net", "other.example.net"


def route53(refusal: AwsError | None, now: dict[str, Any] | None) -> FakeAws:
    def answer(operation: str, **_: Any) -> Any:
        if operation == "ListResourceRecordSets":
            return {"ResourceRecordSets": [now] if now else []}
        return refusal or {"ChangeInfo": {"Id": "C1"}}

    return FakeAws(answer)


def send(aws: FakeAws, **options: Any) -> str | None:
    dns = cnames(aws)
    read = dns.record(NAME, OLD, 0)
    found: str | None = dns.swap([Change(read, dns.record(NAME, NEW, 0, read))], "test", **options)
    return found


def test_accepted_batch_has_an_id() -> None:
    assert send(route53(None, None)) == "C1"


@pytest.mark.parametrize("now", [record_set(NAME, OTHER, 0), None])
def test_record_changed_by_someone_else_is_not_overwritten(now: dict[str, Any] | None) -> None:
    with pytest.raises(RecordsChangedError, match="changed by someone else"):
        send(route53(aws_error("InvalidChangeBatch", 400), now))


def test_batch_refused_for_another_reason_is_not_blamed_on_others() -> None:
    """A name outside the zone or a protected record: nobody touched it, and AWS says why."""
    with pytest.raises(AwsError, match="InvalidChangeBatch"):
        send(route53(aws_error("InvalidChangeBatch", 400), record_set(NAME, OLD, 0)))


def test_batch_that_was_carried_out_all_the_same_is_accepted() -> None:
    assert send(route53(aws_error("NoAnswer", 0), record_set(NAME, NEW, 0))) is None


def test_records_that_somebody_else_has_switched_to_the_same_are_not_ours_to_take_back() -> None:
    refused = aws_error("InvalidChangeBatch", 400)
    with pytest.raises(RecordsChangedError, match=f"found {NAME} = {NEW}"):
        send(route53(refused, record_set(NAME, NEW, 0)))
    assert send(route53(refused, record_set(NAME, NEW, 0)), or_others=True) is None


def test_batch_without_answer_that_was_not_carried_out_is_an_error() -> None:
    with pytest.raises(AwsError, match="NoAnswer"):
        send(route53(aws_error("NoAnswer", 0), record_set(NAME, OLD, 0)))


def test_busy_zone_is_tried_again_but_not_for_ever() -> None:
    with pytest.raises(AwsError, match="PriorRequestNotComplete"):
        send(route53(aws_error("PriorRequestNotComplete", 400), record_set(NAME, OLD, 0)))


@pytest.mark.parametrize(
    "entry",
    [
        {"Name": f"{NAME}.", "Type": "A", "AliasTarget": {"DNSName": NEW}},
        {**record_set(NAME, NEW, 0), "SetIdentifier": "primary", "Weight": 1},
    ],
)
def test_record_that_is_no_simple_cname_is_refused(entry: dict[str, Any]) -> None:
    with pytest.raises(RefusedError, match="expected one simple CNAME"):
        cnames(route53(None, entry)).read([NAME])


def test_change_that_stays_pending_is_bounded() -> None:
    clock = Clock()
    aws = FakeAws(lambda *_, **__: {"ChangeInfo": {"Status": "PENDING"}})

    with pytest.raises(NotConvergedError, match="found PENDING after 30 s, expected INSYNC"):
        cnames(aws, clock).wait("C1", 30)


@pytest.mark.parametrize(("code", "status"), [("Throttling", 400), ("ServiceUnavailable", 503), ("NoAnswer", 0)])
def test_poll_that_fails_for_a_moment_is_repeated(code: str, status: int) -> None:
    clock = Clock()
    answers: list[Any] = [{"ChangeInfo": {"Status": "INSYNC"}}, *[aws_error(code, status)] * 20]
    cnames(FakeAws(lambda *_, **__: answers.pop()), clock).wait("C1", 300)
    assert not answers


def test_polls_that_fail_to_the_end_are_an_error() -> None:
    clock = Clock()
    begun = clock()
    with pytest.raises(AwsError, match="Throttling"):
        cnames(FakeAws(lambda *_, **__: aws_error("Throttling", 400)), clock).wait("C1", 300)
    assert clock() - begun >= 300


def test_poll_that_is_forbidden_is_an_error_at_once() -> None:
    answers = [aws_error("AccessDenied", 403)]
    with pytest.raises(AwsError, match="IAM"):
        cnames(FakeAws(lambda *_, **__: answers.pop())).wait("C1", 300)


@pytest.mark.parametrize("failures", [1, READ_ATTEMPTS - 1])
def test_records_are_read_again_where_a_batch_had_no_answer(failures: int) -> None:
    """Whether it was carried out has to be known."""
    troubles = [aws_error("ServiceUnavailable", 503)] * failures

    def answer(operation: str, **_: Any) -> Any:
        if operation == "ChangeResourceRecordSets":
            return aws_error("NoAnswer", 0)
        return troubles.pop() if troubles else {"ResourceRecordSets": [record_set(NAME, NEW, 0)]}

    assert send(FakeAws(answer)) is None


def test_reading_again_ends_when_it_is_forbidden_or_fails_every_time() -> None:
    impatient = (aws_error("NoAnswer", 0), False, 1)
    forbidden = (aws_error("AccessDenied", 403), True, 1)
    for error, patiently, most in (impatient, forbidden, (aws_error("NoAnswer", 0), True, READ_ATTEMPTS)):
        answers = [error] * 9

        def answer(*_: Any, answers: list[AwsError] = answers, **__: Any) -> Any:
            return answers.pop()

        with pytest.raises(AwsError, match=error.code):
            cnames(FakeAws(answer)).read([NAME], patiently)
        assert len(answers) == 9 - most


def test_swap_keeps_what_else_the_record_has() -> None:
    read = {**record_set(NAME, OLD, 60), "HealthCheckId": "abcdef11-2222-3333-4444-555555fedcba"}
    dns = cnames(route53(None, read))
    record = dns.read([NAME])[NAME]

    delete, create = batch_of(Change(record, dns.record(NAME, NEW, 0, record)))

    assert delete["ResourceRecordSet"] == read
    assert create["ResourceRecordSet"] == {**record_set(NAME, NEW, 0), "HealthCheckId": read["HealthCheckId"]}


def test_neighbours_of_a_name_are_not_the_name() -> None:
    """The list goes on behind the name asked for, and Route 53 writes `*` as its octal code."""
    listed = [record_set(f"\\052.{NAME}", OTHER, 0), record_set(f"x.{NAME}", OTHER, 0)]
    aws = FakeAws(lambda *_, **__: {"ResourceRecordSets": listed})

    assert cnames(aws).read([NAME]) == {NAME: None}


def test_name_is_the_same_in_any_case_and_with_a_dot() -> None:
    aws = FakeAws(lambda *_, **__: {"ResourceRecordSets": [record_set(NAME, f"{NEW.upper()}.", 60)]})

    found = cnames(aws).read([NAME.upper()])[NAME.upper()]

    assert found is not None
    assert (found.name, found.value, found.ttl) == (NAME, NEW, 60)
