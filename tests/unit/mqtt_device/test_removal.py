"""Nothing of the client stays on a device but messages that were not delivered."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from ansible.module_utils.mqtt_device.layout import Layout
from ansible.module_utils.mqtt_device.removal import remove

from .conftest import FakeService


@pytest.fixture
def service(layout: Layout) -> FakeService:
    """A client that is installed, as far as its files go."""
    for folder in (layout.settings, layout.releases / "one", layout.private_state):
        folder.mkdir(parents=True)
    layout.state.symlink_to(layout.private_state)
    layout.unit.write_text("[Service]\n")
    return FakeService(layout, {})


def outbox(layout: Layout, messages: int) -> Path:
    path = layout.private_state / "outbox.sqlite"
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE message (sequence INTEGER)")
        database.executemany("INSERT INTO message VALUES (?)", [(number,) for number in range(messages)])
    return path


def everything(layout: Layout) -> list[Path]:
    there = (layout.unit, layout.settings, layout.software, layout.state, layout.private_state)
    return [path for path in there if path.exists() or path.is_symlink()]


def test_all_is_gone_where_all_was_delivered(layout: Layout, service: FakeService) -> None:
    outbox(layout, 0)
    assert remove(layout, service, purge=False, metrics_link=None, check_mode=True)["changed"]
    assert len(everything(layout)) == 5

    found = remove(layout, service, purge=False, metrics_link=None, check_mode=False)

    assert found == {"changed": True, "undelivered": 0, "kept": None}
    assert everything(layout) == []
    assert not remove(layout, service, purge=False, metrics_link=None, check_mode=False)["changed"]


def test_undelivered_messages_are_kept_and_counted(layout: Layout, service: FakeService) -> None:
    path = outbox(layout, 7)

    found = remove(layout, service, purge=False, metrics_link=None, check_mode=False)

    assert found == {"changed": True, "undelivered": 7, "kept": str(layout.private_state)}
    assert path.exists()
    assert not remove(layout, service, purge=False, metrics_link=None, check_mode=False)["changed"]


def test_outbox_that_cannot_be_read_is_kept(layout: Layout, service: FakeService) -> None:
    (layout.private_state / "outbox.sqlite").write_text("no outbox")

    found = remove(layout, service, purge=False, metrics_link=None, check_mode=False)

    assert (found["undelivered"], found["kept"]) == (None, str(layout.private_state))


def test_outbox_that_was_set_aside_is_kept(layout: Layout, service: FakeService) -> None:
    aside = outbox(layout, 0).with_name("outbox.sqlite.damaged-20260101T000000Z")
    aside.touch()

    found = remove(layout, service, purge=False, metrics_link=None, check_mode=False)

    assert (found["undelivered"], found["kept"]) == (None, str(layout.private_state))
    assert aside.exists()


def test_undelivered_messages_go_when_asked(layout: Layout, service: FakeService) -> None:
    outbox(layout, 7)

    found = remove(layout, service, purge=True, metrics_link=None, check_mode=False)

    assert found == {"changed": True, "undelivered": 7, "kept": None}
    assert everything(layout) == []


def test_link_to_the_metrics_goes_as_well(layout: Layout, service: FakeService) -> None:
    link = layout.units / "mqtt_client.prom"
    link.symlink_to("/run/mqtt-client/mqtt_client.prom")

    remove(layout, service, purge=False, metrics_link=link, check_mode=False)

    assert not link.is_symlink()
