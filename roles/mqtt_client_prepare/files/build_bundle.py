"""Pack what a device needs into one archive: the client's package, and the wheels of its MQTT library.

Prints {"changed", "digest", "path"}. The archive's name holds the digest of its contents, so that the
same contents give the same file. Wheels are downloaded once per library, Python and machine.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import json
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

# Wheels of these glibc versions and older run on a device with the newest of them (PEP 600).
GLIBC_MINORS = range(36, 16, -1)


def platforms(machine: str) -> list[str]:
    """pip's platform tags for a machine as `uname -m` names it."""
    return [f"manylinux_2_{minor}_{machine}" for minor in GLIBC_MINORS] + [f"manylinux2014_{machine}"]


def download(requirements: Path, python: str, machine: str, cache: Path) -> Path:
    """Fill a folder with the wheels for a device, unless it exists; return it.

    Raises:
        subprocess.CalledProcessError: pip found no wheel for this Python and machine.
    """
    digest = hashlib.sha256(requirements.read_bytes()).hexdigest()[:12]
    folder = cache / "wheelhouse" / f"{requirements.stem}-{digest}-python{python}-{machine}"
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Renamed when complete: an interrupted download leaves no half-filled folder under the name.
    temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".download-"))
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    command += ["--only-binary=:all:", "--python-version", python, "--implementation", "cp"]
    command += [argument for tag in platforms(machine) for argument in ("--platform", tag)]
    command += ["--dest", str(temporary), "--requirement", str(requirements)]
    subprocess.run(command, check=True, capture_output=True, text=True)
    return temporary.rename(folder)


def members(package: Path, requirements: Path, wheels: Path) -> list[tuple[str, Path]]:
    """(name in the archive, file), in an order that does not depend on the file system."""
    found = [(str(path.relative_to(package.parent)), path) for path in package.rglob("*.py")]
    found += [(f"wheels/{path.name}", path) for path in wheels.glob("*.whl")]
    return sorted([*found, ("requirements.txt", requirements)])


def content_digest(files: list[tuple[str, Path]]) -> str:
    """SHA-256 over names and contents, in hex."""
    total = hashlib.sha256()
    for name, path in files:
        total.update(f"{name}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return total.hexdigest()


def pack(files: list[tuple[str, Path]], target: Path) -> None:
    """Write the archive: root's, times 0, so that only names and contents count."""
    buffer = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=buffer, mode="wb", mtime=0, compresslevel=1) as zipped,
        tarfile.open(fileobj=zipped, mode="w") as archive,
    ):
        for name, path in files:
            entry = tarfile.TarInfo(name)
            entry.size = path.stat().st_size
            entry.mode = 0o644
            with path.open("rb") as source:
                archive.addfile(entry, source)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_suffix(".part")
    temporary.write_bytes(buffer.getvalue())
    temporary.rename(target)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--package", type=Path, required=True, help="the folder mqtt_fleet")
    parser.add_argument("--requirements", type=Path, required=True, help="pinned requirements of the library")
    parser.add_argument("--python", required=True, help="the device's Python, such as 3.11")
    parser.add_argument("--machine", required=True, help="the device's machine, as uname -m names it")
    parser.add_argument("--cache", type=Path, required=True, help="where wheels and archives are kept")
    options = parser.parse_args()
    try:
        wheels = download(options.requirements, options.python, options.machine, options.cache)
    except subprocess.CalledProcessError as error:
        last = (error.stderr.strip().splitlines() or ["pip said nothing"])[-1]
        sys.stderr.write(
            f"{options.requirements.name}: no wheels for Python {options.python}, {options.machine}: {last}\n"
        )
        return 1
    files = members(options.package, options.requirements, wheels)
    digest = content_digest(files)[:16]
    target = options.cache / "bundles" / f"{options.requirements.stem}-{options.machine}-{digest}.tar.gz"
    changed = not target.exists()
    if changed:
        pack(files, target)
    sys.stdout.write(json.dumps({"changed": changed, "digest": digest, "path": str(target)}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
