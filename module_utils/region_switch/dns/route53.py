"""Calls of the Route 53 API that DNS methods share."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from ..aws.answers import OK
from ..aws.clients import AwsClient
from ..aws.paced import retried
from ..model.errors import UNREADABLE, AwsError, NotConvergedError, one_line, unreadable
from ..model.findings import Finding
from ..model.names import plain
from .method import Clock, Sleep, Zone

POLL_INTERVAL = 0.5
# Before a failed or throttled poll is repeated.
RETRY_INTERVAL = 2.0
# Route 53 refuses a batch while it processes another one of the zone, and asks for exponential backoff
# (https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/DNSLimitations.html#limits-api-requests): 28 seconds.
BUSY_ATTEMPTS = 8
# Change Guardrails (https://docs.aws.amazon.com/Route53/latest/APIReference/API_ChangeGuardrail.html): one
# refuses to delete a record that an alias of the zone points to; others concern NS records, or names below a
# delegation, where no endpoint can be. ACTIVE_RECORD_CHECK refuses to delete the last record of a name that is still
# queried; whether it considers a CREATE of the same batch is not documented.
ALIAS_TARGET = "ALIAS_TARGET_CHECK"
_OF_OTHERS = {
    ALIAS_TARGET,
    *("NS_FORMAT_CHECK", "NS_DELEGATION_AUTHORITY_CHECK", "NS_OCCLUSION_CHECK", "ACTIVE_DELEGATION_CHECK"),
}


def record_sets_of(client: AwsClient, zone: str, name: str, **start: str) -> list[Mapping[str, Any]]:
    """The record sets of a name, of all types or from StartRecordType on.

    Raises:
        AwsError: Route 53 refuses the read, or does not answer.
        SwitchError: an answer without a list of record sets.
    """
    answer = client.call("ListResourceRecordSets", HostedZoneId=zone, StartRecordName=name, MaxItems="10", **start)
    return [entry for entry in _record_sets(answer) if plain(entry["Name"]) == plain(name)]


def _record_sets(answer: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    entries = answer.get("ResourceRecordSets")
    if not isinstance(entries, list) or not all(
        isinstance(entry, Mapping) and isinstance(entry.get("Name"), str) for entry in entries
    ):
        raise unreadable("ListResourceRecordSets", answer, "record sets with names")
    return entries


def change(client: AwsClient, zone: str, changes: Sequence[Mapping[str, Any]], comment: str, sleep: Sleep) -> str:
    """Send one batch, repeated while the zone is busy, and return the change's ID.

    Raises:
        AwsError: Route 53 refuses the batch, or the result is unknown.
    """
    batch = {"Comment": comment, "Changes": changes}

    def send() -> str:
        answer = client.call("ChangeResourceRecordSets", HostedZoneId=zone, ChangeBatch=batch)
        match answer:
            case {"ChangeInfo": {"Id": str(change_id)}}:
                return change_id
        # The batch may have been carried out.
        text = f"no ID of the change in {one_line(answer)}"
        raise AwsError("ChangeResourceRecordSets", client.region, UNREADABLE, OK, text)

    return retried(send, lambda error: BUSY_ATTEMPTS if error.throttled and not error.uncertain else 1, sleep)


def wait_insync(
    client: AwsClient,
    change_id: str,
    timeout: float,
    clock: Clock,
    sleep: Sleep,
    look: Callable[[], None] = lambda: None,
) -> None:
    """`DnsMethod.wait` by GetChange, until INSYNC. A poll that fails temporarily is repeated."""
    deadline = clock() + timeout
    while True:
        pause = POLL_INTERVAL
        try:
            status = _status(client.call("GetChange", Id=change_id))
        except AwsError as error:
            if not error.temporary or clock() >= deadline:
                raise
            status, pause = error.code, RETRY_INTERVAL
        if status == "INSYNC":
            return
        if clock() >= deadline:
            raise NotConvergedError(
                f"Route 53 change {change_id}: found {status} after {timeout:.0f} s, expected INSYNC: "
                "nobody was disconnected; run again"
            )
        look()
        sleep(pause)


def _status(answer: Mapping[str, Any]) -> str:
    match answer:
        case {"ChangeInfo": {"Status": str(status)}}:
            return status
    raise unreadable("GetChange", answer, "the status of the change")


def read_zone(client: AwsClient, zone: str, endpoints: Iterable[str]) -> Zone:
    """`DnsMethod.zone` by GetHostedZone (https://docs.aws.amazon.com/Route53/latest/APIReference/API_GetHostedZone.html),
    with the delegations above the endpoints, and their aliases where a guardrail concerns these."""
    endpoints = list(endpoints)
    answer = client.call("GetHostedZone", Id=zone)
    servers = _delegation_set(answer)
    match answer.get("HostedZone"):
        case {"Name": str(told), **details}:
            name = plain(told)
        case _:
            return Zone(zone, "", False, servers)
    above = {endpoint: _above(plain(endpoint), name) for endpoint in endpoints}
    asked = {each for names in above.values() for each in names}
    delegated = {each for each in sorted(asked) if _is_delegated(client, zone, each)}
    below = {endpoint: each for endpoint, names in above.items() for each in names if each in delegated}
    guardrails = _guardrails(details.get("Features"))
    aliases = _aliases_to(client, zone, endpoints) if ALIAS_TARGET in guardrails else {}
    config = details.get("Config")
    private = isinstance(config, Mapping) and config.get("PrivateZone") is True
    return Zone(zone, name, private, servers, below, _guarded(name, guardrails, aliases))


def _delegation_set(answer: Mapping[str, Any]) -> list[str]:
    match answer:
        case {"DelegationSet": {"NameServers": [*names]}} if all(isinstance(name, str) for name in names):
            return [plain(name) for name in names]
        case {"DelegationSet": _}:
            raise unreadable("GetHostedZone", answer, "the zone's name servers")
    return []


def _above(endpoint: str, zone: str) -> list[str]:
    """The names between an endpoint and its zone, excluding both."""
    inside = endpoint.removesuffix(f".{zone}")
    if not zone or inside == endpoint:
        return []
    labels = inside.split(".")
    return [f"{'.'.join(labels[number:])}.{zone}" for number in range(1, len(labels))]


def _guarded(zone: str, guardrails: Collection[str], aliases: Mapping[str, str]) -> list[Finding]:
    """Findings about Change Guardrails that refuse, or may refuse, a batch that replaces the endpoints' records.

    A record is replaced by its DELETE and a CREATE in one batch. A refused batch changes nothing, but is better known
    before the move.

    Args:
        zone: its name.
        aliases: `{endpoint: a record set of the zone that is an alias of it}`.
    """
    found = [
        Finding("change_guardrail", True, "", name, f"{ALIAS_TARGET} is turned on, and {alias} is an alias of it", "",
                "make the alias a CNAME, or turn this guardrail off in Route 53 for the move")
        for name, alias in sorted(aliases.items())
    ]  # fmt: skip
    if others := sorted(set(guardrails) - _OF_OTHERS):
        found.append(
            Finding("change_guardrail", False, "", zone, f"{', '.join(others)} turned on", "",
                    "it may refuse the batch, which then changes nothing: turn it off in Route 53 in that case")
        )  # fmt: skip
    return found


def _guardrails(features: object) -> tuple[str, ...]:
    """The Change Guardrails that are turned on; empty if this botocore does not know them.

    Source: https://docs.aws.amazon.com/Route53/latest/APIReference/API_ChangeGuardrail.html
    """
    listed = features.get("ChangeGuardrails") if isinstance(features, Mapping) else None
    found = [each for each in listed if isinstance(each, Mapping)] if isinstance(listed, list) else []
    return tuple(str(each.get("Name")) for each in found if each.get("Status") == "ENABLED")


def _aliases_to(client: AwsClient, zone: str, names: Collection[str]) -> dict[str, str]:
    """`{name: a record set that is an alias of it}`, of those names that have one; reads the whole zone."""
    wanted, found = {plain(name) for name in names}, dict[str, str]()
    start: dict[str, Any] = {}
    while True:
        answer = client.call("ListResourceRecordSets", HostedZoneId=zone, **start)
        for entry in _record_sets(answer):
            target = entry.get("AliasTarget")
            name = plain(str(target.get("DNSName", ""))) if isinstance(target, Mapping) else ""
            if name in wanted:
                found.setdefault(name, f"{plain(entry['Name'])} ({entry.get('Type')})")
        keys = {f"StartRecord{part}": answer.get(f"NextRecord{part}") for part in ("Name", "Type", "Identifier")}
        following = {key: value for key, value in keys.items() if value}
        if not answer.get("IsTruncated") or not following or following == start:
            return found
        start = following


def _is_delegated(client: AwsClient, zone: str, name: str) -> bool:
    """Whether a name below a zone's apex has NS records, which delegate it to other name servers."""
    return any(entry.get("Type") == "NS" for entry in record_sets_of(client, zone, name, StartRecordType="NS"))
