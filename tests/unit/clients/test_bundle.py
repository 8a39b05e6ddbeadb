"""The archive for a device: same contents, same file; and the pins it installs."""

from __future__ import annotations

import sys
import tarfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent.parent.parent
sys.path.insert(0, str(REPOSITORY / "roles" / "mqtt_client_prepare" / "files"))

import build_bundle  # noqa: E402


def fill(folder: Path, text: str) -> list[tuple[str, Path]]:
    package, wheels, requirements = folder / "mqtt_fleet", folder / "wheels", folder / "requirements-paho.txt"
    package.mkdir(parents=True)
    wheels.mkdir()
    (package / "client.py").write_text(text)
    (package / "__init__.py").touch()
    (package / "sources").mkdir()
    (package / "sources" / "socket.py").touch()
    (package / "__pycache__").mkdir()
    (package / "__pycache__" / "client.cpython-311.pyc").touch()
    (wheels / "paho.whl").write_bytes(b"wheel")
    requirements.write_text("paho-mqtt==1\n")
    return build_bundle.members(package, requirements, wheels)


def test_same_contents_make_the_same_archive(tmp_path: Path) -> None:
    one, two = fill(tmp_path / "one", "a = 1"), fill(tmp_path / "two", "a = 1")
    build_bundle.pack(one, tmp_path / "one.tar.gz")
    build_bundle.pack(two, tmp_path / "two.tar.gz")
    assert build_bundle.content_digest(one) == build_bundle.content_digest(two)
    assert (tmp_path / "one.tar.gz").read_bytes() == (tmp_path / "two.tar.gz").read_bytes()


def test_a_changed_file_changes_the_digest(tmp_path: Path) -> None:
    digests = {build_bundle.content_digest(fill(tmp_path / text, text)) for text in ("one", "two")}
    assert len(digests) == 2


def test_archive_holds_package_wheels_and_requirements(tmp_path: Path) -> None:
    build_bundle.pack(fill(tmp_path / "in", "a = 1"), tmp_path / "out" / "bundle.tar.gz")
    with tarfile.open(tmp_path / "out" / "bundle.tar.gz") as archive:
        assert archive.getnames() == [
            "mqtt_fleet/__init__.py",
            "mqtt_fleet/client.py",
            "mqtt_fleet/sources/socket.py",
            "requirements.txt",
            "wheels/paho.whl",
        ]


def test_folder_of_wheels_is_not_downloaded_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    requirements = tmp_path / "requirements-paho.txt"
    requirements.write_text("paho-mqtt==1\n")
    commands: list[list[str]] = []
    monkeypatch.setattr(build_bundle.subprocess, "run", lambda command, **_: commands.append(command))
    folder = build_bundle.download(requirements, "3.11", "x86_64", tmp_path)
    assert build_bundle.download(requirements, "3.11", "x86_64", tmp_path) == folder
    assert build_bundle.download(requirements, "3.9", "x86_64", tmp_path) != folder
    assert len(commands) == 2
    assert "manylinux2014_x86_64" in commands[0]


@pytest.mark.parametrize("library", ["awsiotsdk", "paho"])
def test_devices_get_the_version_the_controller_has(library: str) -> None:
    pinned = set((REPOSITORY / "clients" / f"requirements-{library}.txt").read_text().split())
    # The last that runs on Python 3.9, which the controller need not.
    pinned.remove("dnspython==2.7.0")
    assert len(pinned) == 1
    assert pinned <= set((REPOSITORY / "requirements.txt").read_text().split())
