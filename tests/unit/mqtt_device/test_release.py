"""A device installs the archive that its controller made, and of it only files, or nothing."""

from __future__ import annotations

import base64
import hashlib
import io
import subprocess
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from ansible.module_utils.mqtt_device import release
from ansible.module_utils.mqtt_device.commands import DeviceError
from ansible.module_utils.mqtt_device.layout import Layout

WHEEL = "greeting-1-py3-none-any.whl"


def wheel(text: str) -> bytes:
    """A wheel with one module, `greeting`, whose `TEXT` is this."""
    files = {
        "greeting.py": f"TEXT = {text!r}\n",
        "greeting-1.dist-info/METADATA": "Metadata-Version: 2.1\nName: greeting\nVersion: 1\n",
        "greeting-1.dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = ""
    for name, content in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content.encode()).digest()).rstrip(b"=").decode()
        record += f"{name},sha256={digest},{len(content)}\n"
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as packed:
        for name, content in {**files, "greeting-1.dist-info/RECORD": record}.items():
            packed.writestr(name, content)
    return buffer.getvalue()


def lock(content: bytes) -> bytes:
    return f"--only-binary :all:\n\ngreeting==1 \\\n    --hash=sha256:{hashlib.sha256(content).hexdigest()}\n".encode()


def pack(path: Path, files: Mapping[str, bytes], *others: tarfile.TarInfo) -> str:
    """Write an archive and return its digest."""
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o6777
            archive.addfile(entry, io.BytesIO(content))
        for entry in others:
            archive.addfile(entry)
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def archive(layout: Layout) -> Path:
    layout.software.mkdir()
    return layout.software / "archive.tar.gz"


@pytest.fixture
def no_program(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is to be run."""
    monkeypatch.setattr(release, "run", lambda *_: pytest.fail("ran a program"))


def test_wheels_of_the_archive_are_installed(
    layout: Layout, archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the device's own pip looks elsewhere: in an index, for a user, in another folder."""
    (tmp_path / "pip.conf").write_text(f"[install]\ntarget = {tmp_path / 'elsewhere'}\nno-binary = :all:\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    monkeypatch.setenv("PIP_CONSTRAINT", str(tmp_path / "none.txt"))
    content = wheel("hello")
    digest = pack(archive, {"mqtt_fleet/client.py": b"", f"wheels/{WHEEL}": content, "requirements.txt": lock(content)})

    release.install_release(layout, "one", archive, digest)

    python = layout.releases / "one/venv/bin/python"
    said = subprocess.run([python, "-c", "import greeting; print(greeting.TEXT)"], capture_output=True, check=True)
    assert said.stdout == b"hello\n"
    assert layout.installed_releases() == ["one"]
    assert (layout.releases / "one/mqtt_fleet/client.py").stat().st_mode & 0o7777 == 0o644
    assert not (layout.releases / "one/wheels").exists()
    assert not archive.exists()


@pytest.mark.parametrize("lock", [lock(wheel("hello")), b"greeting==1\n"], ids=["of another", "without a hash"])
def test_wheel_that_the_lock_does_not_name_is_not_installed(layout: Layout, archive: Path, lock: bytes) -> None:
    digest = pack(archive, {f"wheels/{WHEEL}": wheel("evil"), "requirements.txt": lock})

    with pytest.raises(DeviceError, match="failed with exit code 1"):
        release.install_release(layout, "one", archive, digest)

    assert not list((layout.releases / "one").glob("venv/lib/*/site-packages/greeting*"))
    assert layout.installed_releases() == []


@pytest.mark.parametrize("known", [True, False])
def test_archive_with_another_digest_is_not_unpacked(
    layout: Layout, archive: Path, no_program: None, known: bool
) -> None:
    digest = pack(archive, {"requirements.txt": b""})
    expected = hashlib.sha256(b"the controller's").hexdigest() if known else None

    with pytest.raises(
        DeviceError, match=f"^archive.tar.gz: found SHA-256 {digest}, expected {expected} as on the contr"
    ):
        release.install_release(layout, "one", archive, expected)

    assert not layout.releases.exists()
    # Else the next deployment would find it in the place of the one it sends.
    assert not archive.exists()


def entry(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    found = tarfile.TarInfo(name)
    found.type, found.linkname = kind, target
    return found


@pytest.mark.parametrize(
    "other",
    [
        entry("/etc/cron.d/x", tarfile.REGTYPE),
        entry("../../x", tarfile.REGTYPE),
        entry("a/../../../x", tarfile.REGTYPE),
        entry("link", tarfile.SYMTYPE, "/etc"),
        entry("link", tarfile.LNKTYPE, "requirements.txt"),
        entry("device", tarfile.CHRTYPE),
        entry("pipe", tarfile.FIFOTYPE),
        entry("folder", tarfile.DIRTYPE),
    ],
    ids=lambda each: f"{each.name} {each.type.decode()}",
)
def test_archive_that_holds_more_than_files_is_refused(
    layout: Layout, archive: Path, no_program: None, other: tarfile.TarInfo
) -> None:
    digest = pack(archive, {"requirements.txt": b""}, other)
    outside = sorted(path for path in layout.software.parent.rglob("*") if layout.releases not in path.parents)

    with pytest.raises(DeviceError, match=r"^archive: found '.*', expected files below its own folder: deploy again"):
        release.install_release(layout, "one", archive, digest)

    assert [path.name for path in (layout.releases / "one").iterdir()] == ["requirements.txt"]
    assert sorted(path for path in layout.software.parent.rglob("*") if layout.releases not in path.parents) == sorted(
        [*outside, layout.releases]
    )


def test_every_problem_of_a_configuration_is_told(layout: Layout, tmp_path: Path) -> None:
    client = layout.releases / "a" / "venv/bin/python"
    client.parent.mkdir(parents=True)
    client.write_text("#!/bin/sh\necho 'ca: is empty' >&2\necho 'endpoint: found a:8883' >&2\nexit 2\n")
    client.chmod(0o755)
    with pytest.raises(DeviceError, match=r"\(ca: is empty; endpoint: found a:8883\): nothing was changed"):
        release.check_configuration(layout, "a", tmp_path)
