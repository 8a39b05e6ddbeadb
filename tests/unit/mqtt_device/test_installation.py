"""A client is installed and proven as a whole, or what was there before runs again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from ansible.module_utils.mqtt_device.commands import DeviceError
from ansible.module_utils.mqtt_device.identity import ensure_identity
from ansible.module_utils.mqtt_device.installation import Wanted, deploy, installed, roll_back
from ansible.module_utils.mqtt_device.layout import Layout

from .conftest import LOST, PROVEN, SILENT, FakeService, certificate_for

Release = Callable[[str], str]
Of = Callable[[str, Wanted], Wanted]
OUTCOMES = {"one": PROVEN, "two": PROVEN, "silent": SILENT, "lost": LOST, "crash": "crash"}


@pytest.fixture
def service(layout: Layout, release: Release) -> FakeService:
    release("one")
    return FakeService(layout, OUTCOMES)


@pytest.fixture
def first(layout: Layout) -> Wanted:
    """What the first deployment wants: release "one", with a certificate of the device's key."""
    asked = {"client_id": "client_01", "key_type": "ECC", "renew": False}
    csr = ensure_identity(layout, asked, check_mode=False)["csr"]
    return Wanted(
        client_id="client_01",
        ca="the CA\n",
        certificate=certificate_for(csr),
        configuration="{}\n",
        unit=unit("one"),
        release="one",
        archive=None,
        archive_digest=None,
        timeout=0.0,
        needs_message=True,
        group="",
        metrics_link=None,
        metrics_file=Path("/run/mqtt-client/mqtt_client.prom"),
    )


def unit(release: str) -> str:
    return f"[Service]\nExecStart=/opt/mqtt-client/releases/{release}/venv/bin/python -m mqtt_fleet.client\n"


@pytest.fixture
def of(release: Release) -> Of:
    """Says the same of another release, which is on the device."""
    return lambda name, wanted: replace(wanted, release=release(name), unit=unit(name))


def test_second_time_changes_nothing(layout: Layout, service: FakeService, first: Wanted) -> None:
    assert deploy(layout, service, first, check_mode=True)["changed"]
    assert service.calls == []

    done = deploy(layout, service, first, check_mode=False)

    assert (done["changed"], done["connected"], done["status"]) == (True, True, PROVEN)
    assert service.calls == ["reload", "restart"]
    again = deploy(layout, service, first, check_mode=False)
    assert (again["changed"], again["connected"], again["diff"]) == (False, True, [])
    assert service.calls == ["reload", "restart"]


def test_diff_shows_files_and_not_the_key(layout: Layout, service: FakeService, first: Wanted) -> None:
    shown = deploy(layout, service, first, check_mode=True)["diff"]

    assert {each["after_header"] for each in shown} == {"ca.crt", "client.crt", "client.json", "mqtt-client.service"}
    assert "PRIVATE KEY" not in str(shown)


@pytest.mark.parametrize(
    ("name", "found"), [("silent", "acknowledged 0"), ("lost", "no route to host"), ("crash", "crash")]
)
def test_release_that_does_not_prove_itself_is_gone_again(
    layout: Layout, service: FakeService, first: Wanted, of: Of, name: str, found: str
) -> None:
    deploy(layout, service, first, check_mode=False)
    before = installed(layout)

    with pytest.raises(DeviceError) as caught:
        deploy(layout, service, of(name, first), check_mode=False)

    line = str(caught.value)
    assert line.startswith(f"client_01: release {name}: found active, ")
    assert found in line
    assert "rolled back to release one, which is connected" in line
    assert "\n" not in line
    assert installed(layout) == before
    assert service.state().status == PROVEN
    assert not deploy(layout, service, first, check_mode=False)["changed"]


def test_it_is_said_when_the_previous_is_not_connected_either(
    layout: Layout, service: FakeService, first: Wanted, of: Of
) -> None:
    deploy(layout, service, first, check_mode=False)
    service.outcomes = {**OUTCOMES, "one": LOST}

    with pytest.raises(DeviceError, match="rolled back to release one, which is not connected either: see to the end"):
        deploy(layout, service, of("lost", first), check_mode=False)


def test_first_release_that_does_not_prove_itself_keeps_trying(
    layout: Layout, service: FakeService, first: Wanted, of: Of
) -> None:
    with pytest.raises(DeviceError, match="there is none to go back to, it keeps trying"):
        deploy(layout, service, of("lost", first), check_mode=False)

    assert service.state().active == "active"


def test_client_without_messages_of_its_own_needs_a_connection_only(
    layout: Layout, service: FakeService, first: Wanted, of: Of
) -> None:
    wanted = replace(of("silent", first), needs_message=False)

    assert deploy(layout, service, wanted, check_mode=False)["connected"]


def test_client_that_is_not_connected_is_told_and_left(layout: Layout, service: FakeService, first: Wanted) -> None:
    deploy(layout, service, first, check_mode=False)
    service._state = replace(service.state(), status=LOST)

    found = deploy(layout, service, first, check_mode=False)

    assert (found["changed"], found["connected"], found["status"]) == (False, False, LOST)
    assert service.calls == ["reload", "restart"]


def test_stopped_client_is_started(layout: Layout, service: FakeService, first: Wanted) -> None:
    deploy(layout, service, first, check_mode=False)
    service.remove()

    assert deploy(layout, service, first, check_mode=False)["changed"]
    assert service.state().active == "active"


def test_configuration_that_the_client_refuses_touches_nothing(
    layout: Layout, service: FakeService, first: Wanted
) -> None:
    deploy(layout, service, first, check_mode=False)
    before = installed(layout)

    with pytest.raises(DeviceError, match=r"\(port: no\), expected 0: nothing was changed"):
        deploy(layout, service, replace(first, configuration='"wrong"\n'), check_mode=False)

    assert installed(layout) == before
    assert service.calls == ["reload", "restart"]
    assert not (layout.settings / "staged").exists()


def test_certificate_of_another_key_touches_nothing(layout: Layout, service: FakeService, first: Wanted) -> None:
    other = replace(layout, settings=layout.settings.with_name("other"))
    asked = {"client_id": "client_01", "key_type": "ECC", "renew": False}
    csr = ensure_identity(other, asked, check_mode=False)["csr"]

    with pytest.raises(DeviceError, match="for another private key than the device's, expected the device's"):
        deploy(layout, service, replace(first, certificate=certificate_for(csr)), check_mode=False)
    assert service.calls == []


def test_current_and_previous_release_are_kept(layout: Layout, service: FakeService, first: Wanted, of: Of) -> None:
    deploy(layout, service, first, check_mode=False)
    deploy(layout, service, of("two", first), check_mode=False)

    assert layout.installed_releases() == ["one", "two"]


def renewed(layout: Layout, first: Wanted) -> Wanted:
    asked = {"client_id": "client_01", "key_type": "ECC", "renew": True}
    return replace(first, certificate=certificate_for(ensure_identity(layout, asked, check_mode=False)["csr"]))


def test_new_key_takes_the_place_of_the_old_one(layout: Layout, service: FakeService, first: Wanted) -> None:
    deploy(layout, service, first, check_mode=False)
    old = (layout.settings / "client.key").read_text()
    wanted = renewed(layout, first)
    new = (layout.settings / "next.key").read_text()

    shown = deploy(layout, service, wanted, check_mode=False)["diff"]

    assert "client.key" in str(shown)
    assert "PRIVATE KEY" not in str(shown)
    assert (layout.settings / "client.key").read_text() == new != old
    assert not (layout.settings / "next.key").exists()
    assert not deploy(layout, service, wanted, check_mode=False)["changed"]


@pytest.mark.parametrize("later", [False, True], ids=["by itself", "asked from outside"])
def test_new_key_is_kept_for_the_next_attempt_when_it_goes_back(
    layout: Layout, service: FakeService, first: Wanted, of: Of, later: bool
) -> None:
    """Its certificate is issued: another key would need another one."""
    deploy(layout, service, first, check_mode=False)
    old = (layout.settings / "client.key").read_text()
    wanted = renewed(layout, first)
    new = (layout.settings / "next.key").read_text()
    if later:
        deploy(layout, service, of("two", wanted), check_mode=False)
        back = roll_back(layout, service, 0.0, check_mode=False)
        assert (back["changed"], back["release"], back["connected"]) == (True, "one", True)
    else:
        with pytest.raises(DeviceError):
            deploy(layout, service, of("lost", wanted), check_mode=False)

    assert (layout.settings / "client.key").read_text() == old
    assert (layout.settings / "next.key").read_text() == new
    deploy(layout, service, wanted, check_mode=False)
    assert (layout.settings / "client.key").read_text() == new


def test_power_cut_in_the_middle_does_not_make_the_unproven_the_previous(
    layout: Layout, service: FakeService, first: Wanted, of: Of, monkeypatch: pytest.MonkeyPatch
) -> None:
    deploy(layout, service, first, check_mode=False)
    monkeypatch.setattr(service, "restart", lambda: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        deploy(layout, service, of("lost", first), check_mode=False)
    monkeypatch.undo()

    with pytest.raises(DeviceError, match="rolled back to release one, which is connected"):
        deploy(layout, service, of("silent", first), check_mode=False)


def test_metrics_are_linked_where_node_exporter_looks(layout: Layout, service: FakeService, first: Wanted) -> None:
    link = layout.units / "mqtt_client.prom"
    wanted = replace(first, metrics_link=link)

    deploy(layout, service, wanted, check_mode=False)

    assert link.readlink() == first.metrics_file
    assert not deploy(layout, service, wanted, check_mode=False)["changed"]


def test_file_of_somebody_else_is_not_replaced_by_the_link(layout: Layout, service: FakeService, first: Wanted) -> None:
    link = layout.units / "mqtt_client.prom"
    link.write_text("theirs")

    with pytest.raises(DeviceError, match="found a file of somebody else"):
        deploy(layout, service, replace(first, metrics_link=link), check_mode=False)
    assert link.read_text() == "theirs"


def test_going_back_where_nothing_was_changes_nothing(layout: Layout, service: FakeService, first: Wanted) -> None:
    deploy(layout, service, first, check_mode=False)

    assert roll_back(layout, service, 0.0, check_mode=False)["changed"] is False


def test_check_foretells_where_the_key_is_still_to_be_made(layout: Layout, service: FakeService, first: Wanted) -> None:
    """A device that was installed anew: the certificate that the controller has is of its old key."""
    (layout.settings / "client.key").unlink()

    assert deploy(layout, service, first, check_mode=True)["changed"]
