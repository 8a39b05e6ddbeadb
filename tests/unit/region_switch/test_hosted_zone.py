"""Whether a hosted zone is the one that devices' resolvers ask."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import dns.message
import dns.rcode
import dns.rrset
import pytest
from ansible.module_utils.region_switch.dns import gate, hosted_zone
from ansible.module_utils.region_switch.dns.gate import Answer, Policy
from ansible.module_utils.region_switch.dns.method import Zone
from ansible.module_utils.region_switch.dns.route53 import ALIAS_TARGET
from ansible.module_utils.region_switch.model.dns_server import Server
from ansible.module_utils.region_switch.model.errors import RefusedError
from ansible.module_utils.region_switch.model.findings import Finding

from .fakes import FakeAws, cnames

ZONE, OWN = "example.com", ["ns-1.awsdns-1.com", "ns-2.awsdns-2.net"]
OTHERS = ["ns-3.awsdns-3.com", "ns-4.awsdns-4.net"]
FIRST, SECOND, NAME_SERVER = Server("r1", "192.0.2.1", 53, True), Server("r2", "192.0.2.2", 53, True), Server("n", "1")


class Resolvers:
    """What each resolver says of the zone's name servers: their names, None for silence, or an answer without any."""

    def __init__(self) -> None:
        self.says: dict[str, Any] = {"r1": OWN, "r2": OWN}
        self.addresses: dict[str, str] = {}
        self.asked: set[tuple[str, str, str]] = set()

    def query(self, server: Server, name: str, rdtype: str) -> dns.message.Message | Answer:
        self.asked.add((server.name, name, rdtype))
        reply = dns.message.make_response(dns.message.make_query(name, rdtype))
        said = self.says[server.name]
        if rdtype == "A" and name in self.addresses:
            reply.answer.append(dns.rrset.from_text(f"{name}.", 60, "IN", "A", self.addresses[name]))
        elif said is None:
            return Answer("(Timeout)", received=False)
        elif isinstance(said, list):
            reply.answer += [dns.rrset.from_text(f"{name}.", 60, "IN", "NS", f"{each.upper()}.") for each in said]
        else:
            reply.set_rcode(dns.rcode.from_text(said.split()[0]))
            reply.authority += [
                dns.rrset.from_text(f"{zone}.", 60, "IN", "SOA", "a. b. 1 2 3 4 5") for zone in said.split()[1:]
            ]
        return reply


def zone_with(*guardrails: str, status: str = "ENABLED", aliases: dict[str, str] | None = None) -> FakeAws:
    """A zone with these guardrails, and with aliases in a list of two pages: `{name: target}`."""
    features = {"ChangeGuardrails": [{"Name": name, "Status": status} for name in guardrails]}
    sets = [
        {"Name": f"{name}.", "Type": "A", "AliasTarget": {"DNSName": f"{target.upper()}."}}
        for name, target in (aliases or {}).items()
    ]

    def answer(operation: str, **asked: Any) -> Any:
        if operation == "GetHostedZone":
            return {"HostedZone": {"Name": f"{ZONE}.", "Features": features}, "DelegationSet": {"NameServers": OWN}}
        if "StartRecordType" in asked and "MaxItems" not in asked:
            return {"ResourceRecordSets": sets[1:], "IsTruncated": False}
        following = {"NextRecordName": "b", "NextRecordType": "A"}
        return {"ResourceRecordSets": sets[:1], "IsTruncated": True, **following}

    return FakeAws(answer)


def test_alias_of_a_record_that_is_replaced_is_a_reason_where_a_guardrail_keeps_it() -> None:
    endpoints = [f"mqtt{number}.{ZONE}" for number in (1, 2, 3)]
    aliases = {f"a.{ZONE}": endpoints[0], f"b.{ZONE}": endpoints[1], f"c.{ZONE}": f"www.{ZONE}"}
    for guardrails, named in (({"NS_FORMAT_CHECK"}, []), ({ALIAS_TARGET}, endpoints[:2])):
        found = cnames(zone_with(*guardrails, aliases=aliases)).zone(endpoints).obstacles
        assert [(each.check, each.blocking, each.endpoint) for each in found] == [
            ("change_guardrail", True, name) for name in named
        ]
    assert "a.example.com (A) is an alias of it" in found[0].found


@pytest.mark.parametrize(
    ("status", "told"), [("ENABLED", ["ACTIVE_RECORD_CHECK, OF_NEXT_YEAR turned on"]), ("DISABLED", [])]
)
def test_guardrail_that_may_refuse_is_told(status: str, told: list[str]) -> None:
    on = ("NS_FORMAT_CHECK", "OF_NEXT_YEAR", "ACTIVE_RECORD_CHECK", "NS_OCCLUSION_CHECK")
    found = cnames(zone_with(*on, status=status)).zone([f"mqtt1.{ZONE}"]).obstacles
    assert [each.found for each in found] == told
    assert not any(each.blocking for each in found)


@pytest.fixture
def resolvers(monkeypatch: pytest.MonkeyPatch) -> Iterator[Resolvers]:
    found = Resolvers()
    monkeypatch.setattr(gate, "_query", found.query)
    yield found
    # To be asked for a name makes a resolver keep the answer that is about to become the old one.
    assert {name for _, name, rdtype in found.asked if rdtype == "NS"} <= {ZONE}


def check(zone: Zone, named: bool = False, policy: Policy = "wait") -> list[Finding]:
    return hosted_zone.check(zone, [NAME_SERVER, FIRST, SECOND], named, policy)


PUBLIC = Zone("Z1", ZONE, False, OWN)


def test_a_zone_that_is_delegated_has_no_findings(resolvers: Resolvers) -> None:
    assert check(PUBLIC) == []


@pytest.mark.parametrize("said", [OTHERS, "NXDOMAIN com", "NOERROR com"])
@pytest.mark.parametrize("named", [True, False])
def test_a_zone_that_is_not_delegated_is_no_zone_to_change(resolvers: Resolvers, said: object, named: bool) -> None:
    resolvers.says = {"r1": said, "r2": None}

    (finding,) = check(PUBLIC, named, "proceed")

    assert finding.blocking
    expected = ", ".join(OTHERS) if said == OTHERS else "none"
    assert f"found {expected} for the name servers of this zone, by resolver r1, expected {OWN[0]}" in finding.line()
    assert "those of the hosted zone Z1" in finding.line()


@pytest.mark.parametrize(("policy", "blocking"), [("wait", True), ("abort", True), ("proceed", False)])
def test_a_resolver_of_two_that_is_led_elsewhere(resolvers: Resolvers, policy: Policy, blocking: bool) -> None:
    resolvers.says["r2"] = OTHERS

    (finding,) = check(PUBLIC, policy=policy)

    assert finding.blocking == blocking
    assert "r2" in finding.found


@pytest.mark.parametrize("said", [None, "SERVFAIL", "REFUSED", "NOERROR", "NOERROR example.com"])
def test_resolvers_that_cannot_tell_are_no_proof_of_anything(resolvers: Resolvers, said: object) -> None:
    resolvers.says = {"r1": said, "r2": said}

    (finding,) = check(PUBLIC)

    assert not finding.blocking
    assert finding.found == "no resolver answers which name servers this zone is delegated to"
    # Whoever has named the name servers knows.
    assert check(PUBLIC, named=True) == []
    # One that can tell is enough.
    resolvers.says["r1"] = OWN
    assert check(PUBLIC) == []


def test_without_resolvers_nothing_is_known() -> None:
    assert [each.blocking for each in hosted_zone.check(PUBLIC, [NAME_SERVER], named=False)] == [False]


def test_name_servers_under_names_of_ones_own_are_the_zone_s(resolvers: Resolvers) -> None:
    resolvers.says = {"r1": ["ns1.example.com", "ns2.example.com"], "r2": None}
    resolvers.addresses = {
        OWN[0]: "192.0.2.11", OWN[1]: "192.0.2.12", "ns1.example.com": "192.0.2.11", "ns2.example.com": "192.0.2.12",
    }  # fmt: skip
    assert check(PUBLIC) == []

    resolvers.addresses["ns1.example.com"] = "198.51.100.1"
    (finding,) = check(PUBLIC)
    assert (finding.blocking, finding.found.split(" ")[0]) == (False, "ns1.example.com")

    resolvers.addresses["ns2.example.com"] = "198.51.100.2"
    assert check(PUBLIC)[0].blocking


def test_a_private_zone_is_no_zone_that_devices_ask(resolvers: Resolvers) -> None:
    (finding,) = check(Zone("Z2", ZONE, True, []))

    assert finding.blocking
    assert finding.line().startswith(f"hosted_zone ({ZONE}): the zone Z2 is private")
    assert resolvers.asked == set()


def answering(sets: list[dict[str, Any]], **zone: Any) -> Any:
    def answer(operation: str, StartRecordName: str = "", **_: Any) -> Any:  # noqa: N803
        if operation == "GetHostedZone":
            return zone
        return {"ResourceRecordSets": [each for each in sets if each["Name"].rstrip(".") == StartRecordName]}

    return FakeAws(answer)


def records_of(name: str, *kinds: str) -> list[dict[str, Any]]:
    return [{"Name": f"{name}.", "Type": kind, "TTL": 60, "ResourceRecords": [{"Value": "x."}]} for kind in kinds]


def test_an_endpoint_below_a_delegation_is_found_with_its_name(resolvers: Resolvers) -> None:
    sets = [*records_of("iot.example.com", "NS"), *records_of("example.com", "NS", "SOA")]
    details = {"HostedZone": {"Name": "Example.com.", "Config": {"PrivateZone": False}}}
    client = answering(sets, DelegationSet={"NameServers": OWN}, **details)
    endpoints = ["a.b.iot.example.com", "mqtt1.example.com", "iot.example.com", "x.other.org"]

    zone = cnames(client).zone(endpoints)

    assert zone == Zone("Z1", ZONE, False, OWN, {"a.b.iot.example.com": "iot.example.com"})
    (finding,) = check(zone)
    assert finding.blocking
    assert finding.line() == (
        "hosted_zone (a.b.iot.example.com): iot.example.com is delegated to other name servers: name the zone of "
        "iot.example.com in hosted_zone_id"
    )


def test_a_private_zone_is_read() -> None:
    client = answering([], HostedZone={"Name": "example.com.", "Config": {"PrivateZone": True}})

    assert cnames(client).zone(["a.example.com"]) == Zone("Z1", ZONE, True, [])


@pytest.mark.parametrize(
    ("kinds", "found", "advice"),
    [
        (("NS", "SOA"), "the apex of the hosted zone (NS, SOA), where no CNAME is allowed", "use a name below it"),
        (("NS",), "NS, which delegates the name to other name servers", "name the zone of mqtt.example.com"),
        (("A", "TXT"), "2 record set(s) of type A, TXT", "delete them if nothing needs them"),
    ],
)
def test_other_records_of_a_name_are_not_all_replaced_by_hand(kinds: tuple[str, ...], found: str, advice: str) -> None:
    with pytest.raises(RefusedError) as refused:
        cnames(answering(records_of("mqtt.example.com", *kinds))).read(["mqtt.example.com"])

    assert f"found {found}, expected one simple CNAME: {advice}" in str(refused.value)
    assert "by hand" not in str(refused.value)
