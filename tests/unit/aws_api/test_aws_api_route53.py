"""Batches of record changes, and the updates they become."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from lab.aws_api.errors import AwsError
from lab.aws_api.name_servers import update_message
from lab.aws_api.route53 import Change, Records, apply_batch, key_of


def _record(name: str, value: str, kind: str = "CNAME", ttl: int = 0) -> dict[str, Any]:
    return {"Name": name, "Type": kind, "TTL": ttl, "ResourceRecords": [{"Value": value}]}


def _records(*records: dict[str, Any]) -> Records:
    return {key_of(record): record for record in records}


def _change(action: str, record: dict[str, Any]) -> dict[str, Any]:
    return {"Action": action, "ResourceRecordSet": record}


def test_batch_moves_several_names_and_leaves_the_input() -> None:
    before = _records(_record("a.example.com.", "old."), _record("b.example.com.", "old."))
    changes = [
        change
        for name in "ab"
        for change in (
            _change("DELETE", _record(f"{name.upper()}.example.com", "old")),
            _change("CREATE", _record(f"{name}.example.com", "new")),
        )
    ]
    after = apply_batch(before, changes, "example.com")
    assert {key[0]: record["ResourceRecords"][0]["Value"] for key, record in after.items()} == {
        "a.example.com.": "new",
        "b.example.com.": "new",
    }
    assert {record["ResourceRecords"][0]["Value"] for record in before.values()} == {"old."}


def test_every_problem_of_a_batch_is_told() -> None:
    before = _records(_record("a.example.com.", "old."))
    changes = [
        _change("DELETE", _record("a.example.com.", "other.")),
        _change("CREATE", _record("a.example.com.", "new.")),
        _change("DELETE", _record("b.example.com.", "old.")),
    ]
    with pytest.raises(AwsError) as caught:
        apply_batch(before, changes, "example.com.")
    assert caught.value.message == (
        "[Tried to delete resource record set [name='a.example.com.', type='CNAME']"
        " but the values provided do not match the current values,"
        " Tried to create resource record set [name='a.example.com.', type='CNAME'] but it already exists,"
        " Tried to delete resource record set [name='b.example.com.', type='CNAME'] but it was not found]"
    )


def test_cname_stands_alone() -> None:
    before = _records(_record("a.example.com.", "192.0.2.1", "A"))
    with pytest.raises(AwsError, match="conflicts with other records"):
        apply_batch(before, [_change("CREATE", _record("a.example.com.", "new."))], "example.com.")


def test_upsert_counts_twice() -> None:
    record = _record("a.example.com.", "192.0.2.1", "A")
    record["ResourceRecords"] = [{"Value": f"192.0.2.{number % 256}"} for number in range(501)]
    assert apply_batch({}, [_change("CREATE", record)], "example.com.")
    with pytest.raises(AwsError, match="limit of 1000"):
        apply_batch({}, [_change("UPSERT", record)], "example.com.")


@pytest.mark.parametrize("action", ["CREATE", "UPSERT", "DELETE"])
def test_protected_record_is_neither_made_nor_changed_nor_deleted(action: str) -> None:
    record = _record("a.example.com.", "old.")
    before = {} if action == "CREATE" else {key_of(record): record}
    protections = {("a.example.com.", "CNAME"): "ask the network team"}
    with pytest.raises(AwsError, match="is protected: ask the network team"):
        apply_batch(before, [_change(action, record)], "example.com.", protections)
    assert apply_batch(before, [_change(action, record)], "example.com.", {("a.example.com.", "A"): None}) is not None


def test_change_is_in_sync_when_servers_have_it_and_the_delay_is_over() -> None:
    now = datetime.now(UTC)
    change = Change("C1", now, {"ns1"})
    assert change.status(now + timedelta(seconds=9), 1.5) == "PENDING"
    change.pending.clear()
    assert change.status(now + timedelta(seconds=1), 1.5) == "PENDING"
    assert change.status(now + timedelta(seconds=2), 1.5) == "INSYNC"


def test_update_replaces_what_differs_and_leaves_the_apex() -> None:
    apex = _record("example.com.", "ns1.", "NS", 172800)
    before = _records(apex, _record("a.example.com.", "old."), _record("gone.example.com.", "old."))
    after = _records(_record("a.example.com.", "new.amazonaws.com"))
    text = update_message("example.com.", before, after).to_text()
    assert "a.example.com. 0 IN CNAME new.amazonaws.com." in text
    assert "gone.example.com. ANY CNAME" in text
    assert " NS " not in text


def test_change_is_in_sync_without_servers_that_are_not_waited_for() -> None:
    now = datetime.now(UTC)
    change = Change("C1", now, {"ns1", "ns2"})
    assert change.status(now, 0.0, ["ns2"]) == "PENDING"
    change.pending.discard("ns1")
    assert change.status(now, 0.0, ["ns2"]) == "INSYNC"
    assert change.status(now, 0.0) == "PENDING"
