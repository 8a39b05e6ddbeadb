"""The devices: whole Debian systems in containers, reached over SSH like any other machine."""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from lab import cgroup, files, topology
from lab.commands import run
from lab.errors import LabError
from lab.network import NAMESPACES
from lab.topology import Node

RELEASE = "bookworm"
PACKAGES = (
    "systemd",
    "systemd-sysv",
    "dbus",
    "systemd-resolved",
    "libnss-resolve",
    "openssh-server",
    "python3",
    "python3-venv",
    "iproute2",
    "ca-certificates",
)
# Where Debian's node_exporter looks for files of metrics; it is not installed itself.
METRICS_DIRECTORY = Path("var/lib/prometheus/node-exporter")
BUILD_TIMEOUT = 900.0
NSPAWN_RUNTIME = Path("/run/systemd/nspawn")

# What a container has no use for, and boots faster without.
MASKED_UNITS = (
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "fstrim.timer",
    "getty.target",
    "console-getty.service",
    "systemd-networkd.service",
    "systemd-networkd-wait-online.service",
    "systemd-timesyncd.service",
    "systemd-logind.service",
)


def base_directory() -> Path:
    """Where the system that all devices share is kept; its name changes with its contents."""
    recipe = hashlib.sha256("\n".join((RELEASE, *PACKAGES)).encode()).hexdigest()[:12]
    return topology.cache_directory() / f"device-base-{RELEASE}-{recipe}"


def build_base() -> None:
    """Install the devices' system with debootstrap; takes about a minute and 325 MB.

    Raises:
        LabError: debootstrap failed, most often because the Debian mirror cannot be reached.
    """
    base = base_directory()
    partial = base.with_name(base.name + ".partial")
    if partial.exists():
        # One that was killed leaves /proc mounted in there.
        for mount_point in mounts_below(partial, _mounts()):
            _unmount(mount_point)
        shutil.rmtree(partial)
    partial.parent.mkdir(exist_ok=True)
    command = ["debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}", RELEASE, str(partial)]
    mirror = os.environ.get("LAB_DEBIAN_MIRROR")
    run([*command, mirror] if mirror else command, timeout=BUILD_TIMEOUT)
    shutil.rmtree(partial / "var/cache/apt/archives", ignore_errors=True)
    shutil.rmtree(partial / "var/lib/apt/lists", ignore_errors=True)
    partial.rename(base)


def fetch_clients() -> None:
    """Make the archives that are deployed to the devices, as the role does; their wheels are downloaded once.

    Raises:
        LabError: wheels cannot be downloaded.
    """
    clients = topology.REPOSITORY / "clients"
    python = (base_directory() / "usr/bin/python3").readlink().name.removeprefix("python")
    for requirements in sorted(clients.glob("requirements-*.txt")):
        run(
            [
                sys.executable,
                str(topology.REPOSITORY / "roles/mqtt_client/files/build_bundle.py"),
                f"--package={clients / 'mqtt_fleet'}",
                f"--requirements={requirements}",
                f"--python={python}",
                f"--machine={platform.machine()}",
                f"--cache={topology.cache_directory()}",
            ],
            timeout=BUILD_TIMEOUT,
        )


def directory(node: Node) -> Path:
    return topology.state_directory() / "devices" / node.name


def ssh_directory() -> Path:
    return topology.state_directory() / "ssh"


def prepare() -> None:
    """Write what identifies each device and the operator's SSH key; running devices are left alone."""
    _make_key(ssh_directory() / "id_ed25519", "operator")
    for node in topology.DEVICES:
        upper = directory(node) / "upper"
        for folder in ("upper", "work", "merged"):
            (directory(node) / folder).mkdir(parents=True, exist_ok=True)
        _make_key(upper / "etc/ssh/ssh_host_ed25519_key", node.name)
        if not (directory(node) / "merged").is_mount():
            _configure(node, upper)
            _mount(node)
    known = (_known_host(node) for node in topology.DEVICES)
    files.write(ssh_directory() / "known_hosts", "".join(known))


def system_files(node: Node) -> dict[str, str]:
    """Return what a device's system has beside the base: path below its root to content."""
    resolver = topology.RESOLVER.address
    return {
        "etc/hostname": f"{node.name}\n",
        "etc/hosts": f"127.0.0.1 localhost\n127.0.1.1 {node.name}\n",
        "etc/machine-id": hashlib.sha256(node.namespace.encode()).hexdigest()[:32] + "\n",
        "etc/systemd/resolved.conf.d/lab.conf": (
            f"[Resolve]\nDNS={resolver}\nFallbackDNS=\nDomains=~.\nDNSSEC=no\nLLMNR=no\nMulticastDNS=no\n"
        ),
        "etc/systemd/journald.conf.d/lab.conf": "[Journal]\nStorage=volatile\nRuntimeMaxUse=64M\n",
        "etc/ssh/sshd_config.d/lab.conf": (
            "HostKey /etc/ssh/ssh_host_ed25519_key\nPasswordAuthentication no\nPermitRootLogin prohibit-password\n"
            "UseDNS no\n"
        ),
    }


def _configure(node: Node, upper: Path) -> None:
    for name, content in system_files(node).items():
        files.write(upper / name, content)
    authorized = (ssh_directory() / "id_ed25519.pub").read_text(encoding="ascii")
    (upper / METRICS_DIRECTORY).mkdir(parents=True, exist_ok=True)
    (upper / "root").mkdir(mode=0o700, exist_ok=True)
    (upper / "root/.ssh").mkdir(mode=0o700, exist_ok=True)
    files.write(upper / "root/.ssh/authorized_keys", authorized, 0o600)
    units = upper / "etc/systemd/system"
    units.mkdir(parents=True, exist_ok=True)
    for unit in MASKED_UNITS:
        if not (units / unit).is_symlink():
            (units / unit).symlink_to("/dev/null")


def _mount(node: Node) -> None:
    device = directory(node)
    layers = f"lowerdir={base_directory()},upperdir={device / 'upper'},workdir={device / 'work'}"
    run(["mount", "-t", "overlay", node.namespace, "-o", layers, str(device / "merged")])


def _make_key(path: Path, comment: str) -> None:
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(path)])


def _known_host(node: Node) -> str:
    public = directory(node) / "upper/etc/ssh/ssh_host_ed25519_key.pub"
    kind, key = public.read_text(encoding="ascii").split()[:2]
    return f"{node.address} {kind} {key}\n"


def boot_command(node: Node) -> list[str]:
    """Return the command line that boots a device."""
    return [
        sys.executable,
        "-m",
        "lab.launch",
        node.name,
        "systemd-nspawn",
        "--quiet",
        "--boot",
        # Neither a running systemd on the host nor its permission is needed.
        "--register=no",
        "--keep-unit",
        f"--directory={directory(node) / 'merged'}",
        f"--machine={node.namespace}",
        f"--hostname={node.name}",
        f"--network-namespace-path={NAMESPACES / node.namespace}",
        "--resolv-conf=off",
        "--timezone=off",
        "--link-journal=no",
        "--console=pipe",
    ]


def cut_power(node: Node) -> None:
    """End a device between two instructions; its supervisor boots it again."""
    cgroup.end_processes(node.name)


def ssh_command(node: Node, *command: str) -> list[str]:
    """Return the command line that runs a command on a device as root, its host key checked."""
    options = {
        "IdentityFile": ssh_directory() / "id_ed25519",
        "IdentitiesOnly": "yes",
        "UserKnownHostsFile": ssh_directory() / "known_hosts",
        "StrictHostKeyChecking": "yes",
        "BatchMode": "yes",
        "ConnectTimeout": 5,
        "LogLevel": "ERROR",
    }
    flags = [f"-o{name}={value}" for name, value in options.items()]
    return ["ssh", "-F", "none", *flags, f"root@{node.address}", "--", *command]


def ssh(node: Node, *command: str, timeout: float = 30.0) -> str:
    """Run a command on a device and return what it printed.

    Raises:
        LabError: the device cannot be reached or the command failed.
    """
    return run(ssh_command(node, *command), timeout=timeout)


def system_state(node: Node) -> str:
    """Return the state that systemd on a device reports: "running", "degraded", "starting", … or "unreachable"."""
    try:
        done = subprocess.run(
            ssh_command(node, "systemctl", "is-system-running"),
            capture_output=True,
            text=True,
            timeout=15,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return "unreachable"
    return done.stdout.strip() or "unreachable"


def mount_points(mounts: str) -> list[Path]:
    """Return where devices' systems are mounted, last first, of any checkout.

    Args:
        mounts: what /proc/self/mounts says.
    """
    sources = {node.namespace for node in topology.DEVICES}
    return [where for source, where in _mounted(mounts) if source in sources]


def mounts_below(folder: Path, mounts: str) -> list[Path]:
    """Return what is mounted in a folder, last first; `mounts` as in `mount_points`."""
    return [where for _, where in _mounted(mounts) if folder in where.parents]


def _mounted(mounts: str) -> list[tuple[str, Path]]:
    """(source, mount point), last first."""
    entries = [line.split() for line in reversed(mounts.splitlines())]
    return [(source, Path(where.replace("\\040", " "))) for source, where, *_ in entries]


def _mounts() -> str:
    return Path("/proc/self/mounts").read_text(encoding="utf-8")


def _unmount(mount_point: Path) -> None:
    try:
        run(["umount", str(mount_point)])
    except LabError:
        # What ran in there may have taken it down at the same moment.
        if mount_point in (where for _, where in _mounted(_mounts())):
            raise


def down() -> None:
    """Unmount the devices' systems and remove what systemd-nspawn leaves behind."""
    for mount_point in mount_points(_mounts()):
        _unmount(mount_point)
    for node in topology.DEVICES:
        for leftover in NSPAWN_RUNTIME.glob(f"*/{node.namespace}"):
            with suppress(FileNotFoundError):
                shutil.rmtree(leftover)
    for lock in NSPAWN_RUNTIME.glob("locks/*"):
        _remove_unless_held(lock)
    # Other containers of this machine may use these.
    for folder in (*NSPAWN_RUNTIME.glob("*"), NSPAWN_RUNTIME):
        with suppress(OSError):
            folder.rmdir()


def _remove_unless_held(lock: Path) -> None:
    with suppress(BlockingIOError, FileNotFoundError), lock.open(encoding="ascii") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        lock.unlink()
