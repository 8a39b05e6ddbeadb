"""Server certificates are imported at the pace of ACM, as role iot_region does it."""

from __future__ import annotations

import datetime as dt
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from .conftest import REPOSITORY, AwsApi

TASK = "Import the server certificates"
ENDPOINTS = ["mqtt1.example.com", "mqtt2.example.com"]


def write_certificate(folder: Path, name: str) -> None:
    """A certificate that signs itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    made = x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
    made = made.serial_number(x509.random_serial_number())
    made = made.not_valid_before(now - dt.timedelta(days=1)).not_valid_after(now + dt.timedelta(days=1))
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    (folder / f"{name}.crt").write_bytes(made.sign(key, hashes.SHA256()).public_bytes(pem))
    (folder / f"{name}.key").write_bytes(key.private_bytes(pem, pkcs8, serialization.NoEncryption()))


@dataclass
class Setup:
    """The role's task, alone, in a region of the stand-in."""

    folder: Path
    aws_api: AwsApi

    def run(self) -> subprocess.CompletedProcess[str]:
        tasks = yaml.safe_load((REPOSITORY / "roles/iot_region/tasks/main.yml").read_text())
        (task,) = [each for each in tasks if each["name"] == TASK]
        playbook = self.folder / "playbook.yml"
        playbook.write_text(yaml.safe_dump([{"hosts": "localhost", "gather_facts": False, "tasks": [task]}]))
        values = {
            "iot_region_name": "us-east-1",
            "iot_region_endpoints": ENDPOINTS,
            "iot_region_certs_directory": str(self.folder),
            "ansible_python_interpreter": sys.executable,
        }
        return subprocess.run(
            [str(Path(sys.executable).parent / "ansible-playbook"), "-v", str(playbook), "-e", json.dumps(values)],
            cwd=REPOSITORY,
            # Whoever waits is the task, and not boto3, whose four further attempts may all come too early.
            env={**os.environ, "AWS_MAX_ATTEMPTS": "1", "ANSIBLE_LOCAL_TEMP": str(self.folder / "ansible")},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )

    def imports(self) -> list[int]:
        """The status of each import that was asked for."""
        return [each["status"] for each in self.aws_api.requests() if each["operation"] == "ImportCertificate"]


@pytest.fixture
def setup(aws_api: AwsApi, tmp_path: Path) -> Setup:
    for name in ("ca", *ENDPOINTS):
        write_certificate(tmp_path, name)
    return Setup(tmp_path, aws_api)


def test_import_that_comes_too_early_is_made_again(setup: Setup) -> None:
    setup.aws_api.faults({"operation": "ImportCertificate", "kind": "throttle", "after": 1, "times": 2})

    done = setup.run()

    assert done.returncode == 0, done.stdout
    assert setup.imports() == [200, 400, 400, 200]
    assert setup.run().returncode == 0
    assert len(setup.imports()) == 4


def test_import_that_is_refused_for_another_reason_is_not(setup: Setup) -> None:
    refused = {"kind": "error", "status": 400, "code": "LimitExceededException"}
    setup.aws_api.faults({"operation": "ImportCertificate", **refused})

    done = setup.run()

    assert done.returncode == 2, done.stdout
    assert setup.imports() == [400] * len(ENDPOINTS)
    # Why, though the task shows nothing of itself, since it has private keys.
    assert "mqtt1.example.com: " in done.stdout
    assert "LimitExceededException" in done.stdout
    assert "PRIVATE KEY" not in done.stdout
