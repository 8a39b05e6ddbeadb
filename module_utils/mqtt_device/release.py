"""Releases of the client on a device: a folder each, with the client's package and a virtual environment."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import sys
import tarfile
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from .commands import DeviceError, run, write
from .layout import Layout

# Only the archive and its lock file decide what is installed, neither the device's settings of pip nor an index.
PIP_INSTALL = ["-m", "pip", "--isolated", "--disable-pip-version-check", "install", "--quiet", "--no-index"]
PIP_INSTALL += ["--only-binary=:all:", "--require-hashes"]
CHUNK = 1 << 20
MOST_PROBLEMS = 10


def install_release(layout: Layout, name: str, archive: Path | None, archive_digest: str | None) -> None:
    """Unpack an archive and install its wheels, unless the release is complete.

    Args:
        archive_digest: SHA-256 of the archive on the controller, in hex.

    Raises:
        DeviceError: the archive is missing, is not the controller's, or cannot be installed.
    """
    folder = layout.releases / name
    if (folder / "installed").exists():
        return
    if archive is None or not archive.exists():
        raise DeviceError(f"release {name}: neither it nor its archive is on the device: deploy again")
    with archive.open("rb") as file:
        _refuse_other(archive, file, archive_digest)
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir(parents=True)
        _unpack(file, folder)
    advice = "the device needs Python's venv (Debian: python3-venv) and room for the client"
    run([sys.executable, "-m", "venv", str(folder / "venv")], advice)
    pip = ["env", f"PIP_CONFIG_FILE={os.devnull}", str(folder / "venv/bin/python"), *PIP_INSTALL]
    run([*pip, "--find-links", str(folder / "wheels"), "--requirement", str(folder / "requirements.txt")], advice)
    shutil.rmtree(folder / "wheels")
    write(folder / "installed", "", 0o644)
    archive.unlink()


def _refuse_other(archive: Path, file: BinaryIO, expected: str | None) -> None:
    """Refuse and remove an archive that is not the controller's; otherwise rewind the file."""
    total = hashlib.sha256()
    while chunk := file.read(CHUNK):
        total.update(chunk)
    if total.hexdigest() != expected:
        archive.unlink()
        raise DeviceError(
            f"{archive.name}: found SHA-256 {total.hexdigest()}, expected {expected} as on the controller: "
            "nothing was unpacked, deploy again"
        )
    file.seek(0)


def _unpack(file: BinaryIO, folder: Path) -> None:
    """Unpack the contents of files only, no owner, mode or link; Python 3.9 has no extraction filters.

    Raises:
        DeviceError: it has a member that is no file, or a path that leads out of the folder.
    """
    with tarfile.open(fileobj=file) as packed:
        for member in packed:
            place = PurePosixPath(member.name)
            content = packed.extractfile(member) if member.isreg() else None
            if content is None or place.is_absolute() or ".." in place.parts:
                raise DeviceError(f"archive: found {member.name!r}, expected files below its own folder: deploy again")
            path = folder / place
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("xb") as target:
                os.fchmod(target.fileno(), 0o644)
                shutil.copyfileobj(content, target)


def check_configuration(layout: Layout, name: str, staged: Path) -> None:
    """Have a release check the configuration in a folder, with the files that it names.

    Raises:
        DeviceError: the client refuses it; the error quotes the client.
    """
    folder = layout.releases / name
    environment = [f"PYTHONPATH={folder}", f"CREDENTIALS_DIRECTORY={staged}", f"STATE_DIRECTORY={staged}"]
    client = [str(folder / "venv/bin/python"), "-B", "-m", "mqtt_fleet.client"]
    check = ["--check-config", "--config", str(staged / "client.json")]
    # The client prints one problem per line.
    run(
        ["env", *environment, f"RUNTIME_DIRECTORY={staged}", *client, *check],
        "nothing was changed",
        lines=MOST_PROBLEMS,
    )


def named_release(unit: str | None) -> str | None:
    """The release that a unit runs; None where it names none."""
    found = re.search(r"^ExecStart=\S*/releases/([^/\s]+)/", unit or "", re.MULTILINE)
    return found[1] if found else None


def prune_releases(layout: Layout, keep: set[str]) -> list[str]:
    """Remove all releases but these; return the names of those removed."""
    gone = [path for path in sorted(layout.releases.glob("*")) if path.name not in keep]
    for path in gone:
        shutil.rmtree(path)
    return [path.name for path in gone]
