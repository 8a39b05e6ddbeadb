"""Pack what a device needs into one archive: the client's package, and the wheels of its MQTT library.

Prints {"changed", "digest", "path", "archive_digest"}: `digest` is of the contents and in the archive's name, so that
the same contents give the same file; `archive_digest` is the SHA-256 of the archive itself, for the device to check.
Wheels are downloaded once per library, Python and machine, and compared with the lock whenever they are packed.
"""

from __future__ import annotations

import argparse
import fcntl
import gzip
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

# Wheels of these glibc versions and older run on a device with the newest of them (PEP 600).
GLIBC_MINORS = range(36, 16, -1)

# What a device reports becomes part of file names here.
MACHINE = r"[A-Za-z0-9_]{1,32}"
PYTHON = r"3\.[0-9]{1,2}"
REQUIREMENTS = r"requirements-[a-z0-9]{1,32}\.txt"

# Name and version of each requirement, and the SHA-256 of its files.
Lock = Mapping[str, frozenset[str]]
# Name in the archive, or in a folder, to content.
Files = Mapping[str, bytes]


class BundleError(Exception):
    """One line: the problem, and what to do."""


@dataclass(frozen=True)
class Device:
    """What the wheels have to fit.

    Attributes:
        python: major and minor version, such as 3.11.
        machine: as `uname -m` names it.

    Raises:
        BundleError: one of them is no such thing.
    """

    python: str
    machine: str

    def __post_init__(self) -> None:
        refuse_unlike("python", self.python, PYTHON, "a version such as 3.11")
        refuse_unlike("machine", self.machine, MACHINE, "a name of letters, digits and _ such as x86_64")


def refuse_unlike(what: str, text: str, pattern: str, expected: str) -> None:
    """Refuse what is to become part of a path, unless all of it is as the pattern says.

    Raises:
        BundleError: it is not.
    """
    if not re.fullmatch(pattern, text):
        raise BundleError(f"{what}: found {text!r}, expected {expected}: check what the device reports")


def platforms(machine: str) -> list[str]:
    """pip's platform tags for a machine as `uname -m` names it."""
    return [f"manylinux_2_{minor}_{machine}" for minor in GLIBC_MINORS] + [f"manylinux2014_{machine}"]


def locked(requirements: Path) -> Lock:
    """Read the lock of a library.

    Raises:
        BundleError: the file is named otherwise than the locks are, or it names something without a hash.
    """
    name = requirements.name
    refuse_unlike("requirements", name, REQUIREMENTS, "a lock such as requirements-paho.txt")
    lines = requirements.read_text(encoding="utf-8").replace("\\\n", " ").splitlines()
    lock = {}
    for line in (line for line in lines if line and not line.lstrip().startswith(("#", "--"))):
        requirement = line.split()[0]
        hashes = frozenset(re.findall(r"--hash=sha256:([0-9a-f]{64})(?!\S)", line))
        if not hashes:
            raise BundleError(f"{name}: {requirement} has no hash: write the lock with 'make lock'")
        lock[requirement] = hashes
    return lock


def read_wheels(folder: Path) -> Files | None:
    """The files in a folder; None where it is not a folder of files only."""
    if folder.is_symlink() or not folder.is_dir():
        return None
    found = sorted(folder.iterdir())
    if any(path.is_symlink() or not path.is_file() for path in found):
        return None
    return {path.name: path.read_bytes() for path in found}


def as_locked(wheels: Files, lock: Lock) -> bool:
    """Whether they are one wheel of each requirement, and nothing else."""
    left = dict(lock)
    for name, content in wheels.items():
        digest = hashlib.sha256(content).hexdigest()
        requirement = next((each for each, hashes in left.items() if digest in hashes), None)
        if requirement is None or not name.endswith(".whl"):
            return False
        del left[requirement]
    return not left


def fetch_wheels(requirements: Path, device: Device, cache: Path) -> Files:
    """The wheels for a device: from the cache where they match the lock, else downloaded.

    Raises:
        BundleError: no wheel for this Python and machine, or not the lock's; or the lock is not valid.
    """
    lock = locked(requirements)
    digest = hashlib.sha256(requirements.read_bytes()).hexdigest()[:12]
    folder = cache / "wheelhouse" / f"{requirements.stem}-{digest}-python{device.python}-{device.machine}"
    wheels = read_wheels(folder)
    if wheels is None or not as_locked(wheels, lock):
        _download(requirements, device, folder)
        wheels = read_wheels(folder)
    if wheels is None or not as_locked(wheels, lock):
        raise BundleError(
            f"{requirements.name}: found {', '.join(wheels or {}) or 'nothing'} downloaded, expected one wheel each of "
            f"{', '.join(lock)}: write the lock with 'make lock'"
        )
    return wheels


def _download(requirements: Path, device: Device, folder: Path) -> None:
    """Fill a folder with what pip finds for a device, in the place of what was there."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--require-hashes"]
    command += ["--only-binary=:all:", "--python-version", device.python, "--implementation", "cp"]
    command += [argument for tag in platforms(device.machine) for argument in ("--platform", tag)]
    # Renamed when complete: an interrupted download leaves no half-filled folder under the name.
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".download-") as temporary:
        filled = Path(temporary) / "wheels"
        filled.mkdir()
        command += ["--dest", str(filled), "--requirement", str(requirements)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise BundleError(_refusal(requirements.name, device, done.stderr))
        _remove(folder)
        filled.rename(folder)


def _refusal(name: str, device: Device, stderr: str) -> str:
    if "DO NOT MATCH THE HASHES" in stderr:
        found = re.search(r"^\s+(\S+==\S+) from ", stderr, re.MULTILINE)
        which = found[1] if found else "a file"
        return f"{name}: {which} has another SHA-256 than in the lock: ask who serves it"
    errors = [line.removeprefix("ERROR: ") for line in stderr.splitlines() if line.strip()] or ["pip said nothing"]
    return f"{name}: no wheels for Python {device.python}, {device.machine}: {errors[-1]}"


def _remove(path: Path) -> None:
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.exists():
        shutil.rmtree(path)


def _sources(package: Path) -> Iterator[Path]:
    """The package's modules; a program that runs from the same folder may remove its __pycache__ meanwhile."""
    for folder, folders, names in os.walk(package):
        folders[:] = [name for name in folders if name != "__pycache__"]
        yield from (Path(folder, name) for name in names if name.endswith(".py"))


def members(packages: Sequence[Path], requirements: Path, wheels: Files) -> Files:
    """What the archive holds, in an order that does not depend on the file system."""
    sources = [(path.relative_to(package.parent), path) for package in packages for path in _sources(package)]
    found = {name.as_posix(): path.read_bytes() for name, path in sources}
    found |= {f"wheels/{name}": content for name, content in wheels.items()}
    return dict(sorted({**found, "requirements.txt": requirements.read_bytes()}.items()))


def content_digest(files: Files) -> str:
    """SHA-256 over names and contents, in hex."""
    total = hashlib.sha256()
    for name, content in files.items():
        total.update(f"{name}\0{hashlib.sha256(content).hexdigest()}\n".encode())
    return total.hexdigest()


def pack(files: Files) -> bytes:
    """The archive: root's, times 0, so that only names and contents count.

    Not compressed: wheels are, and it takes a tenth of the time for each device.
    """
    buffer = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=buffer, mode="wb", mtime=0, compresslevel=0) as zipped,
        tarfile.open(fileobj=zipped, mode="w") as archive,
    ):
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            entry.mode = 0o644
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def keep(archive: bytes, target: Path) -> bool:
    """Write the archive to a file; return whether that changed it."""
    if target.is_file() and not target.is_symlink() and target.read_bytes() == archive:
        return False
    target.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=target.parent, prefix=".part-")
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(file.fileno(), 0o644)
        file.write(archive)
    Path(temporary).replace(target)
    return True


@contextmanager
def _alone(cache: Path) -> Iterator[None]:
    """Lock the cache, and remove what killed processes left of downloads and archives."""
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "bundles.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        for left in [*cache.glob("wheelhouse/.download-*"), *cache.glob("bundles/.part-*")]:
            _remove(left)
        yield


def build(packages: Sequence[Path], requirements: Path, device: Device, cache: Path) -> dict[str, object]:
    """Make the archive for a device; return what is printed.

    Raises:
        BundleError: see `fetch_wheels`.
    """
    with _alone(cache):
        files = members(packages, requirements, fetch_wheels(requirements, device, cache))
        digest, archive = content_digest(files)[:16], pack(files)
        target = cache / "bundles" / f"{requirements.stem}-{device.machine}-{digest}.tar.gz"
        # Packed and compared each time: a file of that name may be anything.
        changed = keep(archive, target)
    archive_digest = hashlib.sha256(archive).hexdigest()
    return {"changed": changed, "digest": digest, "path": str(target), "archive_digest": archive_digest}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--package", type=Path, required=True, action="append", help="a folder such as mqtt_fleet; may be repeated"
    )
    parser.add_argument("--requirements", type=Path, required=True, help="lock of the library, requirements-NAME.txt")
    parser.add_argument("--python", required=True, help="the device's Python, such as 3.11")
    parser.add_argument("--machine", required=True, help="the device's machine, as uname -m names it")
    parser.add_argument("--cache", type=Path, required=True, help="where wheels and archives are kept")
    options = parser.parse_args()
    try:
        device = Device(options.python, options.machine)
        built = build(options.package, options.requirements, device, options.cache)
    except BundleError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except OSError as error:
        sys.stderr.write(f"{error.filename}: {error.strerror}: make it readable, and the cache writable\n")
        return 1
    sys.stdout.write(json.dumps(built) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
