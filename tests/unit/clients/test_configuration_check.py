"""`--check-config`: everything that would keep the client from working is told before it is started."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mqtt_fleet import client, configuration_check
from mqtt_fleet.libraries import LIBRARIES

from .test_config import content
from .test_credentials import BEGIN, PEM, YEAR, Key, certificate, ec, ed25519, private


def install(folder: Path, key: Key | None = None, **changes: Any) -> Path:
    """A device's folder whose configuration has nothing wrong but the changes."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    made = certificate(key, BEGIN, BEGIN + 100 * YEAR).public_bytes(PEM)
    for name in ("ca.crt", "client.crt"):
        (folder / name).write_bytes(made)
    (folder / "client.key").write_bytes(private(key))
    (folder / "client.key").chmod(0o400)
    path = folder / "client.json"
    path.write_text(json.dumps(content(**changes)))
    return path


def check(path: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, list[str]]:
    code = client.main(["--config", str(path), "--check-config"])
    lines = capsys.readouterr().err.splitlines()
    return code, [line.removeprefix("mqtt_fleet.client: ") for line in lines]


@pytest.mark.parametrize("library", ["paho", "awsiotsdk"])
def test_usable_configuration_passes_without_a_word(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], library: str
) -> None:
    path = install(tmp_path, library=library, socket="s.sock", metrics_file="m.prom", outbox_max_age=5)
    assert check(path, capsys) == (0, [])
    assert sorted(each.name for each in tmp_path.iterdir()) == ["ca.crt", "client.crt", "client.json", "client.key"]


@pytest.mark.parametrize("library", ["paho", "awsiotsdk"])
def test_all_problems_are_named_in_a_line_each(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], library: str
) -> None:
    path = install(tmp_path, library=library, outbox="none/outbox", socket="/none/s.sock", endpoint="198.51.100.1")
    (tmp_path / "ca.crt").unlink()
    (tmp_path / "client.crt").write_bytes(b"")
    code, lines = check(path, capsys)
    assert code == 2
    assert [line.split(":")[0] for line in lines] == ["endpoint", "ca", "certificate", "outbox", "socket"]
    assert "cannot be read: No such file or directory" in lines[1]


def test_key_that_the_library_cannot_use_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    code, lines = check(install(tmp_path, key, library="awsiotsdk"), capsys)
    assert code == 2
    assert lines[-1].startswith(f"certificate: {tmp_path}/client.crt is for Ed25519, which the AWS IoT SDK cannot use")
    # paho can, other brokers do: told, and not refused.
    code, lines = check(install(tmp_path, key, library="paho"), capsys)
    assert code == 0
    assert lines == [
        line for line in lines if line.startswith("warning: certificate: ") and "AWS IoT Core takes" in line
    ]
    assert len(lines) == 1


def test_what_may_be_right_is_a_warning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = install(tmp_path, client_id="Gerät 1")
    (tmp_path / "client.key").chmod(0o444)
    code, lines = check(path, capsys)
    assert code == 0
    assert [line.split(":")[:2] for line in lines] == [["warning", " private_key"], ["warning", " client_id"]]


def test_dates_are_told(tmp_path: Path) -> None:
    config = client.load(install(tmp_path), {})
    assert configuration_check.doubts(config, time.time()) == []
    later = BEGIN.timestamp() + 101 * YEAR.total_seconds()
    assert [line.split(":")[0] for line in configuration_check.doubts(config, later)] == ["certificate", "ca"]


def test_folder_that_cannot_be_written_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Root, who runs tests too, may write everywhere.
    monkeypatch.setattr(configuration_check.os, "access", lambda path, _: path != tmp_path / "state")
    (tmp_path / "state").mkdir()
    code, lines = check(install(tmp_path, outbox="state/outbox"), capsys)
    assert (code, [line.split(":")[0] for line in lines]) == (2, ["outbox"])


def test_outbox_that_is_a_folder_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "outbox.sqlite").mkdir()
    assert "is a folder: name a file" in check(install(tmp_path), capsys)[1][0]


def test_library_that_is_missing_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(LIBRARIES, "paho", replace(LIBRARIES["paho"], imports=("no_such_module",)))
    code, lines = check(install(tmp_path), capsys)
    assert code == 2
    assert lines[0].startswith("library: paho cannot be imported: ")
