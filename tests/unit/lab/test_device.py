"""What tells the devices apart, and how they are reached."""

from __future__ import annotations

import fcntl
from pathlib import Path

import pytest

from lab import device, topology
from lab.errors import LabError

EDGE1, EDGE2 = topology.DEVICES


def test_devices_differ_in_identity_and_share_the_resolver() -> None:
    first, second = device.system_files(EDGE1), device.system_files(EDGE2)
    assert first["etc/hostname"] == "edge1\n"
    assert first["etc/machine-id"] != second["etc/machine-id"]
    assert "DNS=198.18.83.53\n" in first["etc/systemd/resolved.conf.d/lab.conf"]


def test_the_machine_id_is_one_that_systemd_accepts() -> None:
    machine_id = device.system_files(EDGE1)["etc/machine-id"].strip()
    assert len(machine_id) == 32
    assert int(machine_id, 16) > 0


def test_ssh_checks_the_host_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LAB_STATE_DIR", str(tmp_path))
    command = device.ssh_command(EDGE1, "true")
    assert "-oStrictHostKeyChecking=yes" in command
    assert f"-oUserKnownHostsFile={tmp_path / 'ssh' / 'known_hosts'}" in command
    assert command[-3:] == ["root@198.18.83.201", "--", "true"]


def test_another_set_of_packages_is_another_base(monkeypatch: pytest.MonkeyPatch) -> None:
    before = device.base_directory()
    monkeypatch.setattr(device, "PACKAGES", (*device.PACKAGES, "curl"))
    assert device.base_directory() != before


def test_only_locks_that_nobody_holds_are_removed(tmp_path: Path) -> None:
    held, left = tmp_path / "held", tmp_path / "left"
    left.touch()
    with held.open("w", encoding="ascii") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        for lock in (held, left):
            device._remove_unless_held(lock)
    assert held.exists()
    assert not left.exists()


def test_devices_mounted_by_any_checkout_are_found_last_first() -> None:
    mounts = (
        "/dev/vda / ext4 rw 0 0\n"
        "mqttlab-edge1 /srv/a\\040b/.lab/devices/edge1/merged overlay rw 0 0\n"
        "overlay /var/lib/other overlay rw 0 0\n"
        "mqttlab-edge2 /srv/c/.lab/devices/edge2/merged overlay rw 0 0\n"
    )

    assert device.mount_points(mounts) == [
        Path("/srv/c/.lab/devices/edge2/merged"),
        Path("/srv/a b/.lab/devices/edge1/merged"),
    ]


def test_what_a_killed_debootstrap_left_mounted_is_found() -> None:
    mounts = "".join(
        f"proc {where} proc rw 0 0\n" for where in ("/proc", "/srv/c/.cache/base.partial/proc", "/srv/c/.cache/base")
    )

    assert device.mounts_below(Path("/srv/c/.cache/base.partial"), mounts) == [Path("/srv/c/.cache/base.partial/proc")]


@pytest.fixture
def refusing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine whose umount finds nothing to do."""

    def refuse(command: list[str]) -> str:
        raise LabError(f"{' '.join(command)}: exit code 32: not mounted")

    monkeypatch.setattr(device, "run", refuse)


def test_what_is_unmounted_by_somebody_else_meanwhile_is_no_error(
    refusing: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(device, "NSPAWN_RUNTIME", tmp_path)
    seen = iter(["mqttlab-edge1 /srv/c/.lab/devices/edge1/merged overlay rw 0 0\n", ""])
    monkeypatch.setattr(device, "_mounts", lambda: next(seen))

    device.down()

    assert list(seen) == []


def test_what_stays_mounted_is_an_error(refusing: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "_mounts", lambda: "mqttlab-edge1 /srv/edge1 overlay rw 0 0\n")

    with pytest.raises(LabError, match="umount /srv/edge1"):
        device.down()


def test_lock_that_goes_meanwhile_is_no_error(tmp_path: Path) -> None:
    device._remove_unless_held(tmp_path / "gone")
