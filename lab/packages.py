"""Debian packages the lab needs: installed without starting their services."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from lab.errors import LabError

POLICY = Path("/usr/sbin/policy-rc.d")
INSTALL_TIMEOUT = 600.0

# The services of the packages: the lab runs the programs itself.
SERVICES = ("haproxy", "knot", "mosquitto", "unbound")


def install(packages: Sequence[str]) -> None:
    """Install packages, leaving their services neither started now nor at the next boot.

    Raises:
        LabError: apt cannot install them; the line names them.
    """
    names = " ".join(packages)
    if shutil.which("apt-get") is None:
        raise LabError(f"packages {names} are missing and there is no apt-get: install them and run again")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    with _services_denied():
        for arguments in (["update"], ["install", "--yes", "--no-install-recommends", *packages]):
            done = subprocess.run(
                ["apt-get", "-qq", *arguments],
                env=environment,
                capture_output=True,
                text=True,
                check=False,
                timeout=INSTALL_TIMEOUT,
            )
    if done.returncode != 0:
        said = (done.stderr.strip() or "no message").splitlines()[-1]
        raise LabError(
            f"packages {names} are missing and apt-get cannot install them ({said}): install them and run again"
        )
    _disable(packages)


@contextmanager
def _services_denied() -> Iterator[None]:
    """Have Debian's policy layer refuse service starts, and put back what was there."""
    before = POLICY.with_name("policy-rc.d.before-lab")
    existed = os.path.lexists(POLICY)
    if existed:
        POLICY.rename(before)
    POLICY.write_text("#!/bin/sh\nexit 101\n", encoding="ascii")
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        POLICY.unlink(missing_ok=True)
        if existed:
            before.rename(POLICY)


def _disable(packages: Sequence[str]) -> None:
    services = [f"{name}.service" for name in SERVICES if name in packages]
    if services and shutil.which("systemctl") is not None:
        subprocess.run(["systemctl", "disable", "--quiet", *services], capture_output=True, check=False)
