"""Print what a host is, as the monitor's installation needs it; or one line of what it lacks, and end with 1."""

import json
import os
import platform
import re
import subprocess
import sys

# LoadCredential= is of systemd 247 (https://www.freedesktop.org/software/systemd/man/systemd.exec.html).
OLDEST_SYSTEMD, OLDEST_PYTHON = 247, (3, 9)


def systemd():
    """Its version; 0 where there is none."""
    try:
        said = subprocess.run(["systemctl", "--version"], stdout=subprocess.PIPE, text=True, check=False)
    except OSError:
        return 0
    found = re.search(r"systemd (\d+)", said.stdout)
    return int(found.group(1)) if found else 0


def lacking():
    """What the host lacks, and what to do; "" where it has all."""
    python = ".".join(map(str, sys.version_info[:2]))
    if sys.version_info < OLDEST_PYTHON:
        return f"found Python {python}, expected 3.9 or newer: name a newer one in fleet_monitor_python"
    try:
        import ensurepip  # noqa: F401
        import venv  # noqa: F401
    except ImportError:
        return f"Python {python} has no venv: install it (Debian: python3-venv)"
    another = "put another host into the group monitors"
    # As sd_booted(3) does.
    if not os.path.isdir("/run/systemd/system"):  # noqa: PTH112
        return f"systemd is not running: {another}"
    version = systemd()
    if version < OLDEST_SYSTEMD:
        return f"found systemd {version}, expected {OLDEST_SYSTEMD} or newer: {another}"
    return ""


def main():
    """Print it, and return the exit code."""
    problem = lacking()
    if problem:
        sys.stderr.write(problem + "\n")
        return 1
    described = {"python": ".".join(map(str, sys.version_info[:2])), "machine": platform.machine()}
    sys.stdout.write(json.dumps(described) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
