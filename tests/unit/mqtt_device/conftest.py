"""A device in a folder: its places, a service that does as told, and keys and certificates that fit or do not."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from ansible.module_utils.mqtt_device import identity, installation
from ansible.module_utils.mqtt_device.layout import Layout
from ansible.module_utils.mqtt_device.service import State
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

ADDRESS = "192.0.2.1:8883"
PROVEN = f"connected to {ADDRESS} since 2026-01-01T00:00:00Z; backlog 0; acknowledged 3; last acknowledged now"
SILENT = f"connected to {ADDRESS} since 2026-01-01T00:00:00Z; backlog 9; acknowledged 0; last acknowledged never"
LOST = "not connected: no route to host; backlog 9; acknowledged 0; last acknowledged never"


class FakeService:
    """Runs whatever release the unit names; `outcomes` says with which status."""

    def __init__(self, layout: Layout, outcomes: dict[str, str]) -> None:
        self.layout = layout
        self.outcomes = outcomes
        self.calls: list[str] = []
        self._state = State("inactive", False, 0, 0, "")

    def state(self) -> State:
        return self._state

    def reload(self) -> None:
        self.calls.append("reload")

    def restart(self) -> None:
        self.calls.append("restart")
        release = installation.named_release(self.layout.unit.read_text())
        status = self.outcomes[str(release)]
        self._state = State("active", True, self._state.process + 1, 3 if status == "crash" else 0, status)

    def remove(self) -> None:
        self.calls.append("remove")
        self._state = replace(self._state, active="inactive", enabled=False)


@pytest.fixture
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    monkeypatch.setattr(identity, "refuse_old_systemd", lambda: None)
    found = Layout(
        settings=tmp_path / "etc",
        units=tmp_path / "units",
        software=tmp_path / "opt",
        state=tmp_path / "lib",
        private_state=tmp_path / "private",
    )
    found.units.mkdir()
    return found


@pytest.fixture
def release(layout: Layout) -> Callable[[str], str]:
    """Makes a release that is installed, whose client refuses a configuration that says "wrong"."""

    def make(name: str) -> str:
        python = layout.releases / name / "venv/bin/python"
        python.parent.mkdir(parents=True, exist_ok=True)
        python.write_text(
            "#!/bin/sh\nfor last; do :; done\nif grep -q wrong $last; then echo 'port: no' >&2; exit 2; fi\n"
        )
        python.chmod(0o755)
        (layout.releases / name / "installed").touch()
        return name

    return make


def certificate_for(csr: str) -> str:
    """A certificate of the key that a signing request was made with."""
    request = x509.load_pem_x509_csr(csr.encode())
    signer = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "issuer")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(request.subject)
        .issuer_name(name)
        .public_key(request.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + dt.timedelta(days=1))
        .sign(signer, hashes.SHA256())
    )
    return made.public_bytes(serialization.Encoding.PEM).decode()
