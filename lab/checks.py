"""What must hold before the lab is touched. Every failing check is one line that says what to do."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from lab import mosquitto_plugin, network, topology
from lab.errors import LabError

MINIMUM_PYTHON = (3, 11)
DISTRIBUTIONS = ("debian", "ubuntu")

# Linux allows 108 bytes with the final zero; HAProxy and supervisord first bind a longer name,
# made of the path and a process ID.
SOCKET_PATH_LIMIT = 107
SOCKET_SUFFIX = len(".4194304.tmp")

# What is needed of the system: one program of each Debian package.
PACKAGES = {
    "debootstrap": "debootstrap",
    "haproxy": "haproxy",
    "ip": "iproute2",
    "knotd": "knot",
    "mosquitto": "mosquitto",
    "nsenter": "util-linux",
    "ssh": "openssh-client",
    "systemd-nspawn": "systemd-container",
    "tcc": "tcc",
    "unbound": "unbound",
}
# What only the tests need: a browser that opens a report, a token for keys and the program that makes one in it.
TEST_PACKAGES = {
    "chromedriver": "chromium-driver",
    "chromium": "chromium",
    "pkcs11-tool": "opensc",
    "softhsm2-util": "softhsm2",
}


@dataclass(frozen=True)
class Facts:
    """What the checks look at.

    Attributes:
        system: "Linux", "Darwin", ….
        user_id: 0 is root.
        python: major and minor version.
        distribution: ID and ID_LIKE of /etc/os-release.
    """

    system: str
    user_id: int
    python: tuple[int, int]
    distribution: frozenset[str]


def read_facts() -> Facts:
    """Read the facts of this machine."""
    return Facts(platform.system(), os.geteuid(), sys.version_info[:2], _distribution(Path("/etc/os-release")))


def _distribution(path: Path) -> frozenset[str]:
    if not path.is_file():
        return frozenset()
    fields = dict(line.split("=", 1) for line in path.read_text(encoding="utf-8").splitlines() if "=" in line)
    return frozenset(f"{fields.get('ID', '')} {fields.get('ID_LIKE', '')}".replace('"', "").split())


def check_machine(facts: Facts) -> None:
    """Refuse a machine that cannot run the lab.

    Raises:
        LabError: what is found, and what is expected.
    """
    if facts.system != "Linux":
        raise LabError(f"system is {facts.system}, the lab needs Linux: run it on a Debian or Ubuntu machine")
    if facts.user_id != 0:
        raise LabError(f"user ID is {facts.user_id}, the lab needs root: run it with sudo or as root")
    if facts.python < MINIMUM_PYTHON:
        found, expected = (".".join(map(str, version)) for version in (facts.python, MINIMUM_PYTHON))
        raise LabError(f"Python is {found}, the lab needs {expected} or newer: name one with make PYTHON=…")
    if not facts.distribution.intersection(DISTRIBUTIONS):
        found = ", ".join(sorted(facts.distribution)) or "unknown"
        raise LabError(f"distribution is {found}, the lab needs Debian or Ubuntu: run it on one of them")


def check_owner(owner: str | None, repository: Path) -> None:
    """Refuse to touch the lab of another checkout.

    Args:
        owner: the checkout that the lab's bridge belongs to, None where there is no bridge.
        repository: this checkout.
    """
    if owner is not None and owner != str(repository):
        raise LabError(f"{topology.BRIDGE} belongs to the lab of {owner}: run 'make lab-down' there first")


def is_dead(owner: str | None, repository: Path, processes: Collection[int]) -> bool:
    """Return whether the bridge is another checkout's, and nothing of that lab runs any more.

    Args:
        owner: the checkout that the lab's bridge belongs to, None where there is no bridge.
        repository: this checkout.
        processes: IDs of the lab's processes, whoever's it is.
    """
    return owner not in (None, str(repository)) and not processes


def check_network() -> None:
    """Refuse when the lab's addresses are in use by somebody else, or its bridge is."""
    check_owner(network.bridge_owner(), topology.REPOSITORY)
    if (foreign := network.foreign_interface()) is not None:
        raise LabError(
            f"interface {foreign} uses addresses of {topology.NETWORK}, which the lab needs: take it down first"
        )


def check_socket_paths(paths: Iterable[Path]) -> None:
    """Refuse a state directory so deep that Unix sockets in it cannot be bound."""
    for path in paths:
        length = len(os.fsencode(path)) + SOCKET_SUFFIX
        if length > SOCKET_PATH_LIMIT:
            raise LabError(
                f"{path}: socket path takes {length} bytes, at most {SOCKET_PATH_LIMIT} are possible: "
                "clone to a shorter path or set LAB_STATE_DIR to one"
            )


def socket_paths(state: Path) -> list[Path]:
    """Return the longest socket paths of the lab."""
    regions = [state / "regions" / node.name / "mosquitto.sock" for node in topology.REGIONS]
    return [state / "supervisor.sock", *regions]


def missing_packages(facts: Facts, tests: bool = False) -> list[str]:
    """Return the Debian packages whose programs are not there; with `tests` also those that only tests need."""
    path = program_path()
    wanted = {**PACKAGES, **(TEST_PACKAGES if tests else {})}
    missing = {package for program, package in wanted.items() if shutil.which(program, path=path) is None}
    missing |= {package for header, package in mosquitto_plugin.HEADERS.items() if not header.exists()}
    keyring = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
    if "ubuntu" in facts.distribution and not keyring.exists():
        missing.add("debian-archive-keyring")
    return sorted(missing)


def program_path() -> str:
    """Return where programs are looked for: root's directories too, which `su` and cron leave out."""
    return f"{os.environ.get('PATH', os.defpath)}:/usr/local/sbin:/usr/sbin:/sbin"
