"""What every DNS method keeps, whatever answers for the names: `dns/method.py` says it in words."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Protocol

import pytest
from ansible.module_utils.region_switch.dns.method import Change, DnsMethod, differing
from ansible.module_utils.region_switch.dns.methods import METHODS
from ansible.module_utils.region_switch.dns.route53_cname import record_set
from ansible.module_utils.region_switch.model.errors import AwsError, NotConvergedError, RecordsChangedError

from .fakes import Clock, FakeAws, Route53, aws_error, cnames

ONE, TWO, NONE = "mqtt1.example.com", "mqtt2.example.com", "mqtt3.example.com"
OLD, NEW, OTHER = "old.example.net", "new.example.net", "other.example.net"


class Service(Protocol):
    """What answers for the names ONE and TWO, which point at OLD; NONE has no record.

    Attributes:
        dns: the method that uses it.
        fates: what becomes of each change, the first first: `answered`, `answer lost`, `request lost`, `denied`.
        silent: whether it does not answer who reads.
        pending: whether it has not carried everything out yet.
    """

    dns: DnsMethod
    fates: list[str]
    silent: bool
    pending: bool

    def state(self) -> Mapping[str, Any]:
        """All that it has of the names, to be compared."""

    def write(self, name: str, host: str | None, ttl: int = 60) -> None:
        """What somebody else writes; None deletes."""


class Cnames(Route53):
    """A hosted zone, whose records have something that a move has to keep."""

    def __init__(self) -> None:
        check = {"HealthCheckId": "abcdef11-2222-3333-4444-555555fedcba"}
        super().__init__({ONE: {**record_set(ONE, OLD, 60), **check}, TWO: record_set(TWO, OLD, 30)}, [])
        self.silent = self.pending = False
        self.dns: DnsMethod = cnames(FakeAws(self), Clock())

    def __call__(self, operation: str, **parameters: Any) -> Any:
        if operation == "GetChange":
            return {"ChangeInfo": {"Status": "PENDING" if self.pending else "INSYNC"}}
        if operation == "GetHostedZone":
            delegation = {"NameServers": ["ns-1.awsdns-1.com."]}
            return {"HostedZone": {"Name": "example.com."}, "DelegationSet": delegation}
        if operation == "ListResourceRecordSetProtections":
            return {"ResourceRecordSetProtections": []}
        if operation == "ListResourceRecordSets" and self.silent:
            return aws_error("ServiceUnavailable", 503)
        return super().__call__(operation, **parameters)

    def state(self) -> Mapping[str, Any]:
        return dict(self.records)

    def write(self, name: str, host: str | None, ttl: int = 60) -> None:
        if host is None:
            del self.records[name]
        else:
            self.records[name] = record_set(name, host, ttl)


SERVICES = {"route53_cname": Cnames}


@pytest.fixture(params=sorted(METHODS))
def service(request: pytest.FixtureRequest) -> Service:
    made: Service = SERVICES[request.param]()
    return made


def to_new(dns: DnsMethod, *names: str, host: str = NEW) -> list[Change]:
    """The changes that point names elsewhere, from what is read now."""
    return [Change(read, dns.record(name, host, 5, read)) for name, read in dns.read(names or [ONE, TWO]).items()]


def undone(dns: DnsMethod, changes: list[Change]) -> list[Change]:
    """The changes that put back what these have changed."""
    before = [change.before for change in changes if change.before]
    now = dns.read([record.name for record in before])
    return [Change(now[record.name], record) for record in before]


def hosts(dns: DnsMethod) -> dict[str, tuple[str, int] | None]:
    return {name: read and (read.value, read.ttl) for name, read in dns.read([ONE, TWO, NONE]).items()}


def test_a_method_says_what_it_needs_and_how_much_it_takes_at_once(service: Service) -> None:
    assert service.dns.needs
    assert all(service.dns.needs)
    assert service.dns.max_records > 0


def test_names_are_read_pointed_elsewhere_and_waited_for(service: Service) -> None:
    assert hosts(service.dns) == {ONE: (OLD, 60), TWO: (OLD, 30), NONE: None}

    change = service.dns.swap(to_new(service.dns), "test")

    assert change
    service.dns.wait(change, 10)
    assert hosts(service.dns) == {ONE: (NEW, 5), TWO: (NEW, 5), NONE: None}


def test_the_wait_ends_when_its_time_is_over_or_somebody_who_looks_ends_it(service: Service) -> None:
    change = service.dns.swap(to_new(service.dns), "test")
    assert change
    service.pending = True

    with pytest.raises(NotConvergedError):
        service.dns.wait(change, 10)

    def look() -> None:
        raise RecordsChangedError("somebody moves them")

    with pytest.raises(RecordsChangedError, match="somebody moves them"):
        service.dns.wait(change, 10, look)


@pytest.mark.parametrize("theirs", [(OTHER, 30), (OLD, 31), (NEW, 5), None], ids=["host", "ttl", "ours", "deleted"])
@pytest.mark.parametrize("carried", [False, True])
def test_one_record_that_is_not_what_was_read_keeps_all_from_being_changed(
    service: Service, theirs: tuple[str, int] | None, carried: bool
) -> None:
    """Also one that stays, and is carried along."""
    first, second = to_new(service.dns)
    assert second.before
    changes = [first, Change(second.before, second.before)] if carried else [first, second]
    service.write(TWO, *(theirs or (None,)))
    before = service.state()

    with pytest.raises(RecordsChangedError) as refused:
        service.dns.swap(changes, "test")

    assert service.state() == before
    assert refused.value.found == {ONE: OLD, TWO: theirs[0] if theirs else None}


def test_a_record_that_stays_is_left_as_it_is(service: Service) -> None:
    first, second = to_new(service.dns)
    assert second.before
    before = service.state()

    service.dns.swap([first, Change(second.before, second.before)], "test")

    assert service.state()[TWO] == before[TWO]
    assert hosts(service.dns)[ONE] == (NEW, 5)


def test_what_else_a_name_has_goes_with_it(service: Service) -> None:
    """Pointed back to where it was, it is as it was."""
    before, ttls = service.state(), {ONE: 60, TWO: 30}
    service.dns.swap(to_new(service.dns), "test")

    now = service.dns.read([ONE, TWO])
    back = [Change(read, service.dns.record(name, OLD, ttls[name], read)) for name, read in now.items()]
    service.dns.swap(back, "test")

    assert service.state() == before


def test_undo_puts_back_exactly_what_was_read(service: Service) -> None:
    before = service.state()
    changes = to_new(service.dns)
    service.dns.swap(changes, "test")
    assert service.state() != before

    service.dns.swap(undone(service.dns, changes), "test")

    assert service.state() == before


def test_undo_overwrites_nobody(service: Service) -> None:
    changes = to_new(service.dns)
    service.dns.swap(changes, "test")
    back = undone(service.dns, changes)
    service.write(ONE, OTHER)
    before = service.state()

    with pytest.raises(RecordsChangedError):
        service.dns.swap(back, "test")

    assert service.state() == before


def test_what_a_journal_keeps_of_a_record_is_the_record(service: Service) -> None:
    before = service.state()
    changes = to_new(service.dns)
    kept = [json.loads(json.dumps(dict(change.before.raw))) for change in changes if change.before]
    service.dns.swap(changes, "test")

    now = service.dns.read([ONE, TWO])
    records = [record for raw in kept if (record := service.dns.kept(raw))]
    service.dns.swap([Change(now[record.name], record) for record in records], "test")

    assert service.state() == before
    assert service.dns.kept({"of": "another method"}) is None


def test_an_answer_that_was_lost_is_settled_by_reading_again(service: Service) -> None:
    service.fates = ["answer lost"]

    assert service.dns.swap(to_new(service.dns), "test") is None

    assert hosts(service.dns) == {ONE: (NEW, 5), TWO: (NEW, 5), NONE: None}


@pytest.mark.parametrize("fate", ["request lost", "denied"])
@pytest.mark.parametrize("host", [NEW, OLD], ids=["another host", "another ttl alone"])
def test_changes_that_were_not_made_are_an_error_and_nobody_s_fault(service: Service, fate: str, host: str) -> None:
    service.fates = [fate]
    before = service.state()

    with pytest.raises(AwsError):
        service.dns.swap(to_new(service.dns, host=host), "test")

    assert service.state() == before


def test_changes_that_may_have_been_made_before_somebody_else_s_are_no_accusation(service: Service) -> None:
    """Whose the records were in between nobody knows."""
    changes = to_new(service.dns)
    service.write(ONE, OTHER)
    service.fates = ["request lost"]

    with pytest.raises(AwsError):
        service.dns.swap(changes, "test")

    assert hosts(service.dns) == {ONE: (OTHER, 60), TWO: (OLD, 30), NONE: None}


def test_a_name_without_a_record_gets_one_where_there_still_is_none(service: Service) -> None:
    record = service.dns.record(NONE, NEW, 20)
    before = service.state()

    service.dns.swap([Change(None, record)], "test")

    assert hosts(service.dns)[NONE] == (NEW, 20)
    assert {name: service.state()[name] for name in (ONE, TWO)} == before
    # The very same is somebody else's, unless it is all the same whose.
    with pytest.raises(RecordsChangedError):
        service.dns.swap([Change(None, record)], "test")
    assert service.dns.swap([Change(None, record)], "test", or_others=True) is None
    service.write(NONE, OTHER)
    with pytest.raises(RecordsChangedError):
        service.dns.swap([Change(None, record)], "test", or_others=True)
    assert hosts(service.dns)[NONE] == (OTHER, 60)


def test_records_that_differ_are_told_and_silence_tells_nothing(service: Service) -> None:
    expected = {ONE: f"{OLD.upper()}.", TWO: OLD}
    assert differing(service.dns, expected) is None

    service.write(TWO, None)
    found = differing(service.dns, {**expected, ONE: NEW})
    assert found
    assert found.wrong == {ONE: OLD, TWO: "no record"}
    assert found.found == {ONE: OLD, TWO: None}

    service.silent = True
    assert differing(service.dns, expected) is None
    with pytest.raises(AwsError):
        service.dns.read([ONE], patiently=True)


def test_the_zone_says_who_answers_for_the_names(service: Service) -> None:
    zone = service.dns.zone([ONE, TWO])

    assert (zone.name, zone.private, zone.delegations, zone.obstacles) == ("example.com", False, {}, [])
    assert zone.name_servers


def test_what_is_checked_beforehand_changes_nothing(service: Service) -> None:
    before = service.state()
    records = [record for record in service.dns.read([ONE, TWO]).values() if record]

    for check in service.dns.checks(records).values():
        assert [finding for finding in check() if finding.blocking] == []

    assert service.state() == before
