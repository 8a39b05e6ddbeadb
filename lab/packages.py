"""Debian packages the lab needs: installed without starting their services."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from lab.errors import LabError

INSTALL_TIMEOUT = 600.0

# The services of the packages: the lab runs the programs itself.
SERVICES = ("haproxy", "knot", "mosquitto", "unbound")

# Where the packages' scripts look for programs first. A policy-rc.d would do as well, but for the whole machine and as
# long as it is there: after a kill -9, until somebody finds out why no service starts.
NO_SERVICES = Path(__file__).parent / "no_services"
# apt's own default (apt.conf(5), DPkg::Path).
PROGRAMS = "/usr/sbin:/usr/bin:/sbin:/bin"


def install(packages: Sequence[str]) -> None:
    """Install packages, leaving their services neither started now nor at the next boot.

    Raises:
        LabError: apt cannot install them; the line names them.
    """
    names = " ".join(packages)
    if shutil.which("apt-get") is None:
        raise LabError(f"packages {names} are missing and there is no apt-get: install them and run again")
    services = " ".join(f"{name}.service" for name in SERVICES if name in packages)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "NO_SERVICES": services}
    for arguments in (["update"], ["install", "--yes", "--no-install-recommends", *packages]):
        done = subprocess.run(
            ["apt-get", "-qq", "-o", f"DPkg::Path={NO_SERVICES}:{PROGRAMS}", *arguments],
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
