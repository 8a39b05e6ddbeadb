"""Releases of the client on a device: a folder each, with the client's package and a virtual environment."""

from __future__ import annotations

import re
import shutil
import sys
import tarfile
from pathlib import Path

from .commands import DeviceError, run, write
from .layout import Layout


def install_release(layout: Layout, name: str, archive: Path | None) -> None:
    """Unpack an archive and install its wheels, unless the release is complete.

    Raises:
        DeviceError: there is no archive, or it cannot be installed.
    """
    folder = layout.releases / name
    if (folder / "installed").exists():
        return
    if archive is None or not archive.exists():
        raise DeviceError(f"release {name}: found neither it nor its archive, expected one: deploy again")
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    with tarfile.open(archive) as packed:
        packed.extractall(folder)  # noqa: S202 - made on the controller, by root for root
    advice = "the device needs Python's venv (Debian: python3-venv) and room for the client"
    run([sys.executable, "-m", "venv", str(folder / "venv")], advice)
    pip = [str(folder / "venv/bin/python"), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    wheels = ["--no-index", "--find-links", str(folder / "wheels"), "--requirement", str(folder / "requirements.txt")]
    run([*pip, *wheels], advice)
    shutil.rmtree(folder / "wheels")
    write(folder / "installed", "", 0o644)
    archive.unlink()


def check_configuration(layout: Layout, name: str, staged: Path) -> None:
    """Let a release check the configuration in a folder, with the files that it names.

    Raises:
        DeviceError: the client refuses it, in its own words.
    """
    folder = layout.releases / name
    environment = [f"PYTHONPATH={folder}", f"CREDENTIALS_DIRECTORY={staged}", f"STATE_DIRECTORY={staged}"]
    client = [str(folder / "venv/bin/python"), "-B", "-m", "mqtt_fleet.client"]
    check = ["--check-config", "--config", str(staged / "client.json")]
    run(["env", *environment, f"RUNTIME_DIRECTORY={staged}", *client, *check], "nothing was changed")


def named_release(unit: str | None) -> str | None:
    """The release that a unit runs; None where there is none."""
    found = re.search(r"^ExecStart=\S*/releases/([^/\s]+)/", unit or "", re.MULTILINE)
    return found[1] if found else None


def prune_releases(layout: Layout, keep: set[str]) -> list[str]:
    """Remove all releases but these; return the names of those removed."""
    gone = [path for path in sorted(layout.releases.glob("*")) if path.name not in keep]
    for path in gone:
        shutil.rmtree(path)
    return [path.name for path in gone]
