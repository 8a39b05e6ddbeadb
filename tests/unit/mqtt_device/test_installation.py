"""A client is installed and proven as a whole, or what was there before runs again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from ansible.module_utils.mqtt_device import installation
from ansible.module_utils.mqtt_device.commands import DeviceError
from ansible.module_utils.mqtt_device.identity import ensure_identity
from ansible.module_utils.mqtt_device.installation import Wanted, deploy, installed, roll_back
from ansible.module_utils.mqtt_device.layout import Layout
from ansible.module_utils.mqtt_device.service import State

from .conftest import LOST, PROVEN, SILENT, FakeService, certificate_for

Release = Callable[[str], str]
Of = Callable[[str, Wanted], Wanted]
ONCE = PROVEN.replace("acknowledged 3", "acknowledged 1")
OUTCOMES = {
    "one": PROVEN,
    "two": PROVEN,
    "three": PROVEN,
    "once": ONCE,
    "silent": SILENT,
    "lost": LOST,
    "crash": "crash",
}


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

    with pytest.raises(DeviceError, match="rolled back to release one, which is not connected either: check the end"):
        deploy(layout, service, of("lost", first), check_mode=False)


def test_first_release_that_does_not_prove_itself_keeps_trying(
    layout: Layout, service: FakeService, first: Wanted, of: Of
) -> None:
    with pytest.raises(DeviceError, match="there is no earlier release, it keeps trying"):
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

    with pytest.raises(DeviceError, match=r"\(port: no\): nothing was changed"):
        deploy(layout, service, replace(first, configuration='"wrong"\n'), check_mode=False)

    assert installed(layout) == before
    assert service.calls == ["reload", "restart"]
    assert not (layout.settings / "staged").exists()


def test_credential_that_was_on_the_device_before_is_there_for_the_check(
    layout: Layout, service: FakeService, first: Wanted, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    secret = tmp_path / "proxy"
    wanted = replace(first, unit=f"{first.unit}LoadCredential=proxy_credentials:{secret}\n")
    with pytest.raises(DeviceError, match=f"proxy_credentials: the file {secret} is missing on the device"):
        deploy(layout, service, wanted, check_mode=False)
    assert set(installed(layout)) == {"client.key"}
    secret.write_text("user:secret\n")
    seen: list[str] = []

    def look(_: Layout, __: str, staged: Path) -> None:
        seen.append((staged / "proxy_credentials").read_text())

    monkeypatch.setattr(installation, "check_configuration", look)
    deploy(layout, service, wanted, check_mode=False)

    assert seen == ["user:secret\n"]
    assert secret.exists()


def test_certificate_of_another_key_touches_nothing(layout: Layout, service: FakeService, first: Wanted) -> None:
    other = replace(layout, settings=layout.settings.with_name("other"))
    asked = {"client_id": "client_01", "key_type": "ECC", "renew": False}
    csr = ensure_identity(other, asked, check_mode=False)["csr"]

    with pytest.raises(
        DeviceError, match="the certificate on the controller is for another private key than the device's"
    ):
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


def test_link_to_the_metrics_stays_with_the_next_release(
    layout: Layout, service: FakeService, first: Wanted, of: Of
) -> None:
    wanted = replace(first, metrics_link=layout.units / "mqtt_client.prom")
    deploy(layout, service, wanted, check_mode=False)

    assert deploy(layout, service, of("two", wanted), check_mode=False)["connected"]
    assert (layout.units / "mqtt_client.prom").readlink() == first.metrics_file


def test_file_of_somebody_else_is_not_replaced_by_the_link(layout: Layout, service: FakeService, first: Wanted) -> None:
    link = layout.units / "mqtt_client.prom"
    link.write_text("theirs")

    with pytest.raises(DeviceError, match="another file is there"):
        deploy(layout, service, replace(first, metrics_link=link), check_mode=False)
    assert link.read_text() == "theirs"


def test_going_back_where_nothing_was_changes_nothing(layout: Layout, service: FakeService, first: Wanted) -> None:
    deploy(layout, service, first, check_mode=False)

    assert roll_back(layout, service, 0.0, check_mode=False)["changed"] is False


def test_check_foretells_where_the_key_is_still_to_be_made(layout: Layout, service: FakeService, first: Wanted) -> None:
    """A device that was installed anew: the certificate that the controller has is of its old key."""
    (layout.settings / "client.key").unlink()

    assert deploy(layout, service, first, check_mode=True)["changed"]


class SlowService(FakeService):
    """A service whose next states are given: systemd does not wait for a restart."""

    def __init__(self, layout: Layout, service: FakeService, states: list[State]) -> None:
        super().__init__(layout, service.outcomes)
        self._state = service.state()
        self.states = states

    def state(self) -> State:
        if len(self.states) > 1:
            return self.states.pop(0)
        return self.states[0]

    def restart(self) -> None:
        self.calls.append("restart")


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks at the service follow each other without a pause."""
    monkeypatch.setattr("ansible.module_utils.mqtt_device.service.POLL", 0.0)


def modes(folder: Path) -> dict[str, str]:
    return {path.name: oct(path.stat().st_mode & 0o777) for path in folder.iterdir()}


def test_old_process_does_not_prove_a_new_release(layout: Layout, service: FakeService, first: Wanted, of: Of) -> None:
    deploy(layout, service, first, check_mode=False)
    slow = SlowService(layout, service, [service.state()])

    with pytest.raises(DeviceError, match="release two: found active, not restarted, still process 1, expected a conn"):
        deploy(layout, slow, of("two", first), check_mode=False)


def test_new_process_is_waited_for_until_it_proves_itself(
    layout: Layout, service: FakeService, first: Wanted, of: Of, at_once: None
) -> None:
    deploy(layout, service, first, check_mode=False)
    old = service.state()
    starting = replace(old, process=0, status="")
    new = replace(old, process=2, status=SILENT)
    states = [old, old, old, starting, new, replace(new, status=ONCE)]
    slow = SlowService(layout, service, states)

    done = deploy(layout, slow, replace(of("two", first), timeout=60.0), check_mode=False)

    assert (done["changed"], done["status"]) == (True, ONCE)
    assert slow.calls == ["reload", "restart"]


def test_what_is_said_while_no_process_runs_proves_nothing(
    layout: Layout, service: FakeService, first: Wanted, of: Of, at_once: None
) -> None:
    deploy(layout, service, first, check_mode=False)
    old = service.state()
    # systemd keeps the words of the process that has ended.
    slow = SlowService(layout, service, [old, old, replace(old, process=0), replace(old, process=2, status=ONCE)])

    assert deploy(layout, slow, replace(of("two", first), timeout=60.0), check_mode=False)["status"] == ONCE


def test_one_message_acknowledged_is_enough(layout: Layout, service: FakeService, first: Wanted, of: Of) -> None:
    assert deploy(layout, service, of("once", first), check_mode=False)["connected"]


def test_what_was_expected_is_said(layout: Layout, service: FakeService, first: Wanted, of: Of) -> None:
    late = "acknowledged never, expected a connection"
    with pytest.raises(DeviceError, match=rf"{late} and a message .* within 0 s: there is no earlier release"):
        deploy(layout, service, of("silent", first), check_mode=False)
    with pytest.raises(DeviceError, match=rf"{late} within 0 s: there is no earlier release"):
        deploy(layout, service, replace(of("lost", first), needs_message=False), check_mode=False)


def test_unchanged_client_is_given_time_to_connect(
    layout: Layout, service: FakeService, first: Wanted, at_once: None
) -> None:
    deploy(layout, service, first, check_mode=False)
    proven = service.state()
    slow = SlowService(layout, service, [replace(proven, status=LOST), replace(proven, status=LOST), proven])

    done = deploy(layout, slow, replace(first, timeout=60.0), check_mode=False)

    assert (done["changed"], done["connected"], slow.calls) == (False, True, [])


@pytest.mark.parametrize(
    ("active", "enabled", "changed"),
    [
        ("inactive", True, True),
        ("failed", True, True),
        ("active", False, True),
        ("activating", True, False),
    ],
)
def test_client_that_does_not_run_or_would_not_after_a_boot_is_changed(
    layout: Layout, service: FakeService, first: Wanted, active: str, enabled: bool, changed: bool
) -> None:
    deploy(layout, service, first, check_mode=False)
    service._state = replace(service.state(), active=active, enabled=enabled)

    assert deploy(layout, service, first, check_mode=True)["changed"] is changed


def test_release_that_is_gone_is_a_change(layout: Layout, service: FakeService, first: Wanted) -> None:
    deploy(layout, service, first, check_mode=False)
    (layout.releases / "one/installed").unlink()

    assert deploy(layout, service, first, check_mode=True)["changed"]
    with pytest.raises(DeviceError, match="neither it nor its archive is on the device"):
        deploy(layout, service, first, check_mode=False)


def test_release_before_the_previous_one_is_removed(
    layout: Layout, service: FakeService, first: Wanted, of: Of
) -> None:
    deploy(layout, service, first, check_mode=False)
    for name in ("two", "three"):
        deploy(layout, service, of(name, first), check_mode=False)

    assert layout.installed_releases() == ["three", "two"]


def test_files_are_for_root_only_and_the_unit_for_all(
    layout: Layout, service: FakeService, first: Wanted, of: Of, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, dict[str, str]] = {}

    def look(_layout: Layout, _release: str, staged: Path) -> None:
        seen[staged.name] = {**modes(staged), ".": oct(staged.stat().st_mode & 0o777)}

    monkeypatch.setattr(installation, "check_configuration", look)
    deploy(layout, service, first, check_mode=False)
    deploy(layout, service, of("two", first), check_mode=False)

    private = dict.fromkeys(("ca.crt", "client.crt", "client.key", "client.json"), "0o400")
    assert seen == {"staged": {**private, ".": "0o700"}}
    assert private.items() <= modes(layout.settings).items()
    assert modes(layout.units) == {"mqtt-client.service": "0o644"}
    assert modes(layout.previous) == {**private, "mqtt-client.service": "0o400"}
    assert oct(layout.previous.stat().st_mode & 0o777) == "0o700"


def test_what_a_killed_deployment_staged_is_not_used(layout: Layout, service: FakeService, first: Wanted) -> None:
    (layout.settings / "staged").mkdir()
    (layout.settings / "staged/client.json").write_text('"wrong"')

    assert deploy(layout, service, first, check_mode=False)["connected"]
    assert not (layout.settings / "staged").exists()


def test_doubt_is_noted_until_the_client_has_proven_itself(
    layout: Layout, service: FakeService, first: Wanted, of: Of, monkeypatch: pytest.MonkeyPatch
) -> None:
    unproven = layout.settings / "unproven"
    deploy(layout, service, first, check_mode=False)
    assert not unproven.exists()
    with monkeypatch.context() as power_cut:
        power_cut.setattr(service, "restart", lambda: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            deploy(layout, service, of("two", first), check_mode=False)
    assert modes(layout.settings)["unproven"] == "0o400"

    service._state = replace(service.state(), status=SILENT)
    deploy(layout, service, of("two", first), check_mode=False)
    assert unproven.exists()

    service._state = replace(service.state(), status=PROVEN)
    deploy(layout, service, of("two", first), check_mode=False)
    assert not unproven.exists()


def test_going_back_leaves_no_doubt(layout: Layout, service: FakeService, first: Wanted, of: Of) -> None:
    deploy(layout, service, first, check_mode=False)
    with pytest.raises(DeviceError):
        deploy(layout, service, of("lost", first), check_mode=False)

    assert not (layout.settings / "unproven").exists()


def test_going_back_is_foretold_and_nothing_is_touched(
    layout: Layout, service: FakeService, first: Wanted, of: Of
) -> None:
    deploy(layout, service, first, check_mode=False)
    deploy(layout, service, of("two", first), check_mode=False)
    before, calls = installed(layout), list(service.calls)

    told = roll_back(layout, service, 0.0, check_mode=True)

    assert told == {"changed": True, "release": "one", "connected": True, "status": PROVEN}
    assert (installed(layout), service.calls) == (before, calls)


def test_what_was_before_needs_no_message_to_be_gone_back_to(
    layout: Layout, service: FakeService, first: Wanted, of: Of
) -> None:
    """It would be waited for in vain: timeout is more than any test has."""
    deploy(layout, service, replace(of("silent", first), needs_message=False), check_mode=False)
    deploy(layout, service, of("two", first), check_mode=False)

    told = roll_back(layout, service, 3600.0, check_mode=False)

    assert told == {"changed": True, "release": "silent", "connected": True, "status": SILENT}
    assert service.calls[-2:] == ["reload", "restart"]


def test_nothing_of_an_older_release_is_kept_to_go_back_to(
    layout: Layout, service: FakeService, first: Wanted, of: Of
) -> None:
    deploy(layout, service, first, check_mode=False)
    deploy(layout, service, of("two", first), check_mode=False)
    (layout.previous / "older").write_text("of an older release")
    deploy(layout, service, of("three", first), check_mode=False)

    assert "older" not in modes(layout.previous)
    assert roll_back(layout, service, 0.0, check_mode=False)["release"] == "two"


def test_settings_without_a_unit_are_nothing_to_go_back_to(layout: Layout, service: FakeService, first: Wanted) -> None:
    (layout.settings / "client.json").write_text("{}")

    deploy(layout, service, first, check_mode=False)

    assert not layout.previous.exists()


def test_key_whose_certificate_is_not_deployed_yet_stays_the_next_one(
    layout: Layout, service: FakeService, first: Wanted
) -> None:
    deploy(layout, service, first, check_mode=False)
    renewed(layout, first)
    before = {name: (layout.settings / f"next.{name}").read_text() for name in ("key", "csr")}

    deploy(layout, service, first, check_mode=False)

    assert {name: (layout.settings / f"next.{name}").read_text() for name in ("key", "csr")} == before


def test_signing_request_goes_with_its_key(layout: Layout, service: FakeService, first: Wanted) -> None:
    deploy(layout, service, first, check_mode=False)
    old = (layout.settings / "client.csr").read_text()
    wanted = renewed(layout, first)
    new = (layout.settings / "next.csr").read_text()

    deploy(layout, service, wanted, check_mode=False)
    assert (layout.settings / "client.csr").read_text() == new != old
    assert not (layout.settings / "next.csr").exists()

    roll_back(layout, service, 0.0, check_mode=False)
    assert (layout.settings / "next.csr").read_text() == new
    assert modes(layout.settings)["next.key"] == "0o400"


def test_going_back_keeps_the_next_key_that_is_there(layout: Layout, service: FakeService, first: Wanted) -> None:
    deploy(layout, service, first, check_mode=False)
    deploy(layout, service, renewed(layout, first), check_mode=False)
    renewed(layout, first)
    following = (layout.settings / "next.key").read_text()

    roll_back(layout, service, 0.0, check_mode=False)

    assert (layout.settings / "next.key").read_text() == following


def test_going_back_without_another_key_makes_no_next_one(
    layout: Layout, service: FakeService, first: Wanted, of: Of
) -> None:
    deploy(layout, service, first, check_mode=False)
    deploy(layout, service, of("two", first), check_mode=False)

    roll_back(layout, service, 0.0, check_mode=False)

    assert not (layout.settings / "next.key").exists()


def test_going_back_gives_a_device_its_lost_key_again(
    layout: Layout, service: FakeService, first: Wanted, of: Of
) -> None:
    deploy(layout, service, first, check_mode=False)
    deploy(layout, service, of("two", first), check_mode=False)
    key = (layout.settings / "client.key").read_text()
    (layout.settings / "client.key").unlink()

    roll_back(layout, service, 0.0, check_mode=False)

    assert (layout.settings / "client.key").read_text() == key
    assert not (layout.settings / "next.key").exists()


def test_check_foretells_no_change_of_a_certificate_that_is_still_to_be_made(
    layout: Layout, service: FakeService, first: Wanted
) -> None:
    deploy(layout, service, first, check_mode=False)

    assert deploy(layout, service, replace(first, certificate=""), check_mode=True)["diff"] == []


def test_diff_says_of_a_key_only_that_there_was_one(layout: Layout, service: FakeService, first: Wanted) -> None:
    made = {each["after_header"]: each for each in deploy(layout, service, first, check_mode=False)["diff"]}
    changed = deploy(layout, service, renewed(layout, first), check_mode=False)["diff"]
    key = {"before_header": "client.key", "after_header": "client.key"}
    after = "the private key that the certificate was issued for\n"

    # The key was there before the client was.
    assert "client.key" not in made
    assert made["client.json"] == {
        "before_header": "client.json", "after_header": "client.json", "before": "", "after": "{}\n"
    }  # fmt: skip
    assert [each["after_header"] for each in changed] == ["client.crt", "client.key"]
    assert changed[1] == {**key, "before": "a private key\n", "after": after}


def test_diff_says_where_there_was_no_key(layout: Layout, service: FakeService, first: Wanted) -> None:
    deploy(layout, service, first, check_mode=False)
    wanted = renewed(layout, first)
    (layout.settings / "client.key").unlink()

    key = deploy(layout, service, wanted, check_mode=False)["diff"][1]

    assert (key["after_header"], key["before"]) == ("client.key", "")


@pytest.mark.parametrize(("groups", "made"), [([], [["groupadd", "--system", "senders"]]), (["senders"], [])])
def test_group_is_made_where_there_is_none(
    layout: Layout,
    service: FakeService,
    first: Wanted,
    monkeypatch: pytest.MonkeyPatch,
    groups: list[str],
    made: list[list[str]],
) -> None:
    commands: list[list[str]] = []
    monkeypatch.setattr(installation, "run", lambda command, _advice: commands.append(command))
    monkeypatch.setattr("grp.getgrall", lambda: [SimpleNamespace(gr_name=name) for name in groups])
    deploy(layout, service, first, check_mode=False)

    done = deploy(layout, service, replace(first, group="senders"), check_mode=False)

    assert (done["changed"], commands) == (bool(made), made)


def test_link_to_the_metrics_needs_the_folder_of_node_exporter(
    layout: Layout, service: FakeService, first: Wanted
) -> None:
    wanted = replace(first, metrics_link=layout.units / "missing/mqtt_client.prom")

    with pytest.raises(DeviceError, match="or its folder is missing"):
        deploy(layout, service, wanted, check_mode=False)


def test_link_to_the_metrics_that_was_removed_is_made_again(
    layout: Layout, service: FakeService, first: Wanted
) -> None:
    wanted = replace(first, metrics_link=layout.units / "mqtt_client.prom")
    deploy(layout, service, wanted, check_mode=False)
    (layout.units / "mqtt_client.prom").unlink()

    assert deploy(layout, service, wanted, check_mode=False)["changed"]
    assert (layout.units / "mqtt_client.prom").is_symlink()
