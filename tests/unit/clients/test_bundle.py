"""The archive for a device: same contents, same file; and in it only what the lock names."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent.parent.parent
sys.path.insert(0, str(REPOSITORY / "roles" / "mqtt_client" / "files"))

import build_bundle  # noqa: E402
from build_bundle import BundleError, Device, Files  # noqa: E402

DEVICE = Device("3.11", "x86_64")
WHEELS = {"dnspython-1-py3-none-any.whl": b"names", "paho_mqtt-1-py3-none-any.whl": b"messages"}
MISMATCH = """\
ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.
    paho-mqtt==1 from https://index.example/paho_mqtt-1-py3-none-any.whl (from -r requirements-paho.txt (line 1)):
        Expected sha256 00
             Got        11
"""


class Pip:
    """Serves wheels in the place of pip's download, and counts how often it is asked."""

    def __init__(self, wheels: Files) -> None:
        self.wheels = wheels
        self.error = ""
        self.commands: list[list[str]] = []

    def run(self, command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        self.commands.append(command)
        folder = Path(command[command.index("--dest") + 1])
        for name, content in self.wheels.items():
            (folder / name).write_bytes(content)
        return subprocess.CompletedProcess(command, 1 if self.error else 0, "", self.error)


@pytest.fixture
def pip(monkeypatch: pytest.MonkeyPatch) -> Pip:
    found = Pip(WHEELS)
    monkeypatch.setattr(build_bundle.subprocess, "run", found.run)
    return found


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    """The lock of what pip serves."""
    path = tmp_path / "requirements-paho.txt"
    hashes = [hashlib.sha256(content).hexdigest() for content in WHEELS.values()]
    path.write_text(
        f"# written by a tool\n--only-binary :all:\n\ndnspython==1 \\\n    --hash=sha256:{hashes[0]} \\\n"
        f"    --hash=sha256:{'0' * 64}\n    # via -r x\npaho-mqtt==1 --hash=sha256:{hashes[1]}\n"
    )
    return path


@pytest.fixture
def package(tmp_path: Path) -> Path:
    return fill(tmp_path / "clients" / "mqtt_fleet", "a = 1")


def fill(package: Path, text: str) -> Path:
    for name in ("client.py", "__init__.py", "sources/socket.py", "__pycache__/client.cpython-311.pyc"):
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text(text)
    return package


def wheelhouse(cache: Path) -> Path:
    (found,) = (cache / "wheelhouse").iterdir()
    return found


def test_caches_of_python_are_not_looked_into(tmp_path: Path, lock: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = fill(tmp_path / "mqtt_fleet", "a = 1")
    looked = []
    scan = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: looked.append(Path(path).name) or scan(path))

    assert "mqtt_fleet/sources/socket.py" in build_bundle.members([package], lock, WHEELS)
    assert "__pycache__" not in looked
    assert "sources" in looked


def test_same_contents_make_the_same_archive(tmp_path: Path, lock: Path) -> None:
    one, two = (
        build_bundle.members([fill(tmp_path / name / "mqtt_fleet", "a = 1")], lock, WHEELS) for name in ("one", "two")
    )
    assert build_bundle.content_digest(one) == build_bundle.content_digest(two)
    assert build_bundle.pack(one) == build_bundle.pack(two)


def test_a_changed_file_changes_the_digest(tmp_path: Path, lock: Path) -> None:
    digests = {
        build_bundle.content_digest(build_bundle.members([fill(tmp_path / text / "mqtt_fleet", text)], lock, WHEELS))
        for text in ("one", "two")
    }
    assert len(digests) == 2


def test_archive_holds_package_wheels_and_requirements(package: Path, lock: Path) -> None:
    archive = build_bundle.pack(build_bundle.members([package], lock, WHEELS))
    with tarfile.open(fileobj=io.BytesIO(archive)) as packed:
        assert packed.getnames() == [
            "mqtt_fleet/__init__.py",
            "mqtt_fleet/client.py",
            "mqtt_fleet/sources/socket.py",
            "requirements.txt",
            *(f"wheels/{name}" for name in WHEELS),
        ]


def test_what_is_printed_names_the_archive_and_its_digest(tmp_path: Path, package: Path, lock: Path, pip: Pip) -> None:
    built = build_bundle.build([package], lock, DEVICE, tmp_path / "cache")
    archive = Path(str(built["path"]))

    assert built["changed"]
    assert str(built["digest"]) in archive.name
    assert built["archive_digest"] == hashlib.sha256(archive.read_bytes()).hexdigest()
    assert build_bundle.build([package], lock, DEVICE, tmp_path / "cache") == {**built, "changed": False}


def test_wheels_are_downloaded_once_and_by_their_hashes(tmp_path: Path, lock: Path, pip: Pip) -> None:
    for device in (DEVICE, DEVICE, Device("3.9", "x86_64")):
        assert build_bundle.fetch_wheels(lock, device, tmp_path) == WHEELS

    assert len(pip.commands) == 2
    assert {"manylinux2014_x86_64", "--require-hashes", "--only-binary=:all:"} <= set(pip.commands[0])


def swap(folder: Path) -> None:
    next(folder.iterdir()).write_bytes(b"evil")


def add(folder: Path) -> None:
    (folder / "evil-1-py3-none-any.whl").write_bytes(b"evil")


def add_twice(folder: Path) -> None:
    """A wheel of the lock once more, where no other is expected."""
    (folder / "dnspython-2-py3-none-any.whl").write_bytes(WHEELS["dnspython-1-py3-none-any.whl"])


def take(folder: Path) -> None:
    next(folder.iterdir()).unlink()


def rename(folder: Path) -> None:
    next(folder.iterdir()).rename(folder / "dnspython-1.tar.gz")


def link_wheel(folder: Path) -> None:
    wheel = next(folder.iterdir())
    wheel.rename(folder.parent.parent / wheel.name)
    wheel.symlink_to(folder.parent.parent / wheel.name)


def link_folder(folder: Path) -> None:
    folder.rename(folder.parent.parent / "elsewhere")
    folder.symlink_to(folder.parent.parent / "elsewhere")


def put_file(folder: Path) -> None:
    folder.rename(folder.parent.parent / "elsewhere")
    folder.write_bytes(b"evil")


TAMPERINGS = [swap, add, add_twice, take, rename, link_wheel, link_folder, put_file]


@pytest.mark.parametrize("tamper", TAMPERINGS, ids=lambda each: str(each.__name__))
def test_folder_that_is_not_as_locked_is_filled_anew(
    tmp_path: Path, lock: Path, pip: Pip, tamper: Callable[[Path], None]
) -> None:
    cache = tmp_path / "cache"
    build_bundle.fetch_wheels(lock, DEVICE, cache)
    tamper(wheelhouse(cache))

    assert build_bundle.fetch_wheels(lock, DEVICE, cache) == WHEELS
    assert len(pip.commands) == 2
    folder = wheelhouse(cache)
    assert not folder.is_symlink()
    assert {path.name: path.read_bytes() for path in folder.iterdir() if not path.is_symlink()} == WHEELS


@pytest.mark.parametrize(
    "served",
    [{**WHEELS, "evil-1-py3-none-any.whl": b"evil"}, dict([next(iter(WHEELS.items()))])],
    ids=["one more", "one less"],
)
def test_download_that_is_not_as_locked_is_refused(tmp_path: Path, lock: Path, pip: Pip, served: Files) -> None:
    pip.wheels = served

    with pytest.raises(BundleError, match=r"^requirements-paho.txt: found .* downloaded, expected one wheel each of"):
        build_bundle.fetch_wheels(lock, DEVICE, tmp_path)


@pytest.mark.parametrize("content", [b"", b"evil", None], ids=["empty", "other", "link"])
def test_archive_of_that_name_is_replaced_where_it_is_another(
    tmp_path: Path, package: Path, lock: Path, pip: Pip, content: bytes | None
) -> None:
    built = build_bundle.build([package], lock, DEVICE, tmp_path / "cache")
    archive = Path(str(built["path"]))
    right = archive.read_bytes()
    other = tmp_path / "other.tar.gz"
    other.write_bytes(right if content is None else content)
    archive.unlink()
    if content is None:
        archive.symlink_to(other)
    else:
        other.rename(archive)

    assert build_bundle.build([package], lock, DEVICE, tmp_path / "cache") == built
    assert not archive.is_symlink()
    assert archive.read_bytes() == right


def test_what_a_killed_run_left_is_removed(tmp_path: Path, package: Path, lock: Path, pip: Pip) -> None:
    (tmp_path / "wheelhouse" / ".download-x" / "wheels").mkdir(parents=True)
    (tmp_path / "bundles").mkdir()
    (tmp_path / "bundles" / ".part-x").touch()

    built = build_bundle.build([package], lock, DEVICE, tmp_path)

    assert list((tmp_path / "bundles").iterdir()) == [Path(str(built["path"]))]
    assert re.fullmatch("requirements-paho-[0-9a-f]{12}-python3.11-x86_64", wheelhouse(tmp_path).name)


@pytest.mark.parametrize(
    ("python", "machine"),
    [
        ("3.11", "/../../../esc/x"),
        ("3.11", ".."),
        ("3.11", "x86_64/../.."),
        ("3.11", "x86_64\n"),
        ("3.11", ""),
        ("3.11", "m" * 33),
        ("../../esc", "x86_64"),
        ("3.11/../../x", "x86_64"),
        ("3.١", "x86_64"),
        ("3.11\n", "x86_64"),
        ("", "x86_64"),
    ],
)
def test_what_a_device_says_of_itself_leads_nowhere(
    tmp_path: Path, package: Path, lock: Path, python: str, machine: str
) -> None:
    cache = tmp_path / "outer" / "cache"
    program = REPOSITORY / "roles/mqtt_client/files/build_bundle.py"
    command = [sys.executable, str(program), f"--package={package}", f"--requirements={lock}", f"--cache={cache}"]
    before = sorted(tmp_path.rglob("*"))

    done = subprocess.run(
        [*command, f"--python={python}", f"--machine={machine}"], capture_output=True, text=True, check=False
    )

    assert done.returncode == 1
    assert re.fullmatch(r"(python|machine): found '.*', expected a .*: check what the device reports\n", done.stderr)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-..txt", "requirements-a b.txt", "paho.txt"])
def test_lock_of_another_name_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("")

    with pytest.raises(BundleError, match=r"^requirements: found .*, expected a lock such as requirements-paho.txt"):
        build_bundle.locked(tmp_path / name)


@pytest.mark.parametrize("given", ["paho-mqtt==1", "paho-mqtt==1 --hash=md5:0", "paho-mqtt==1 --hash=sha256:0"])
def test_requirement_without_a_hash_is_refused(lock: Path, given: str) -> None:
    lock.write_text(f"{given}\n")

    with pytest.raises(BundleError, match=r"^requirements-paho.txt: paho-mqtt==1 has no hash"):
        build_bundle.locked(lock)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (
            MISMATCH,
            "requirements-paho.txt: paho-mqtt==1 has another SHA-256 than in the lock: ask who serves it",
        ),
        (
            "ERROR: no version\nERROR: No matching distribution found for paho-mqtt==1\n",
            "requirements-paho.txt: no wheels for Python 3.11, x86_64: No matching distribution found for paho-mqtt==1",
        ),
        ("", "requirements-paho.txt: no wheels for Python 3.11, x86_64: pip said nothing"),
    ],
)
def test_refusal_of_pip_is_one_line(tmp_path: Path, lock: Path, pip: Pip, said: str, expected: str) -> None:
    pip.error = said or " "

    with pytest.raises(BundleError) as refused:
        build_bundle.fetch_wheels(lock, DEVICE, tmp_path / "cache")

    assert str(refused.value) == expected
    assert list((tmp_path / "cache" / "wheelhouse").iterdir()) == []


def test_missing_lock_is_named_in_one_line(tmp_path: Path, package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = {"package": package, "requirements": tmp_path / "requirements-none.txt", "cache": tmp_path / "cache"}
    command = [
        "build_bundle.py",
        "--python=3.11",
        "--machine=x86_64",
        *(f"--{key}={value}" for key, value in asked.items()),
    ]
    said = io.StringIO()
    monkeypatch.setattr(sys, "argv", command)
    monkeypatch.setattr(sys, "stderr", said)

    assert build_bundle.main() == 1
    assert said.getvalue().startswith(f"{asked['requirements']}: No such file or directory: make it readable")
    assert said.getvalue().count("\n") == 1


def test_result_is_printed_as_json(
    tmp_path: Path,
    package: Path,
    lock: Path,
    pip: Pip,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked = {"package": package, "requirements": lock, "cache": tmp_path / "cache"}
    command = [
        "build_bundle.py",
        "--python=3.11",
        "--machine=x86_64",
        *(f"--{key}={value}" for key, value in asked.items()),
    ]
    monkeypatch.setattr(sys, "argv", command)

    assert build_bundle.main() == 0
    assert set(json.loads(capsys.readouterr().out)) == {"changed", "digest", "path", "archive_digest"}
