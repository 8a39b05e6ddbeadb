"""Whether the monitor keeps the ledger: one line, which never speaks against a move."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from ansible.module_utils.region_switch.record import ledger as ledgers
from ansible.module_utils.region_switch.record.ledger_state import unkept

from mqtt_monitor.ledger import Arrival, Ledger
from tests.arrivals import read

REGIONS = ("us-east-1", "ap-northeast-1")
NOW = 1_000_000.0


@contextmanager
def nobody() -> Iterator[None]:
    """Be a user who may read nothing of ours; of root, everything is readable."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    """One that a monitor keeps in both regions, in which something arrived 10 s ago."""
    path = tmp_path / "ledger.sqlite"
    with closing(Ledger(path)) as kept:
        kept.add([Arrival("one", "a", 1, REGIONS[0], NOW - 10, NOW - 10)])
        for region in REGIONS:
            kept.set_subscription(region, NOW - 20)
    return path


def line(path: str | Path | None, now: float = NOW) -> str:
    (found,) = unkept(None if path is None else str(path), now)
    assert not found.blocking
    return found.line()


def test_ledger_that_is_kept_is_nothing_to_tell(ledger: Path) -> None:
    assert unkept(str(ledger), NOW) == []
    assert unkept(None, NOW) == []


def test_no_ledger_named() -> None:
    assert line("") == (
        "message_figures: found no ledger named, expected the monitor's: name it in failover_ledger; "
        "without it a move counts neither loss nor gaps"
    )


def test_no_such_file(tmp_path: Path) -> None:
    assert line(tmp_path / "none.sqlite") == (
        f"message_figures: found no ledger {tmp_path}/none.sqlite, expected the monitor's: "
        "run playbooks/deploy_monitor.yml; without it a move counts neither loss nor gaps"
    )
    assert not (tmp_path / "none.sqlite").exists()


def test_nothing_arrived_for_a_while(ledger: Path) -> None:
    assert unkept(str(ledger), NOW + 49) == []
    assert f"found nothing arrived in {ledger} for 5 min, expected messages of the clients" in line(ledger, NOW + 290)


def test_nothing_arrived_yet(tmp_path: Path) -> None:
    with closing(Ledger(tmp_path / "ledger")) as kept:
        kept.set_subscription(REGIONS[0], NOW)
    assert f"found no message in {tmp_path}/ledger yet" in line(tmp_path / "ledger")


def test_region_without_subscription_is_named(ledger: Path) -> None:
    with closing(Ledger(ledger)) as kept:
        kept.set_subscription(REGIONS[1], None)
    assert f"found the monitor of {ledger} not subscribed in ap-northeast-1, expected subscribed" in line(ledger)
    assert line(ledger).endswith("messages that arrive there are not counted")


@pytest.mark.parametrize("content", [b"", b"this is no database at all" * 400])
def test_file_that_is_no_ledger(tmp_path: Path, content: bytes) -> None:
    (path := tmp_path / "ledger").write_bytes(content)
    assert f"found {path} not readable (" in line(path)


def test_folder_that_this_user_may_not_enter_is_said_and_no_traceback(ledger: Path, tmp_path: Path) -> None:
    tmp_path.chmod(0)
    try:
        with nobody():
            told = line(ledger)
            assert read(ledger, 0) is None
            assert ledgers.timeline(ledger, 0, 10, 2) == []
            assert not ledgers.Tally(ledger, 0).update()
    finally:
        tmp_path.chmod(0o700)
    assert (
        f"found {ledger} not readable (Permission denied), expected read permission: add this user to the group" in told
    )
