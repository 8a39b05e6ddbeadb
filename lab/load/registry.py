"""The load's clients in the AWS account: a thing each, and one certificate that all connect with, in every region."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from lab import files, topology
from lab.aws_api import pki
from lab.errors import LabError
from lab.load import configuration
from region_switch.aws.clients import AwsClient
from region_switch.aws.token_bucket import TokenBucket
from region_switch.model.errors import SwitchError
from region_switch.setup.certificate import ensure_certificate
from region_switch.setup.policy import ensure_policy

ATTRIBUTE = "mqtt_endpoint"
PREFIX = "load-"
POLICY = "load"
# CreateThing and DeleteThing: AWS General Reference, "AWS IoT Core endpoints and quotas"; a second and region.
THING_RATE = 100.0
WORKERS = 8
PAGE_SIZE = 250


def register(clients: int, regions: Iterable[str], folder: Path) -> None:
    """Make the certificate and the things of so many clients known in every region, and no others of the load.

    Args:
        folder: where the key and certificate are kept, and made if absent.

    Raises:
        LabError: AWS refused it, or did not answer.
    """
    csr = _request(folder)
    wanted = {configuration.client_id(number): configuration.endpoint(number) for number in range(1, clients + 1)}
    with _one_line():
        first, *others = [AwsClient("iot", region, connections=WORKERS) for region in regions]
        # Issued in the first region, registered in the others.
        _admit(first, folder, csr)
        with ThreadPoolExecutor() as pool:
            admitted = [pool.submit(_admit, iot, folder, csr) for iot in others]
            set_up = [pool.submit(_set_things, iot, wanted) for iot in (first, *others)]
            for each in (*admitted, *set_up):
                each.result()


def remove(regions: Iterable[str], folder: Path) -> None:
    """Remove everything of the load from every region; what is absent is ignored.

    Raises:
        LabError: AWS refused it, or did not answer.
    """
    with _one_line(), ThreadPoolExecutor() as pool:
        list(pool.map(lambda region: _remove(AwsClient("iot", region, connections=WORKERS), folder), regions))


def _remove(iot: AwsClient, folder: Path) -> None:
    _set_things(iot, {})
    if (folder / "load.crt").exists():
        ensure_certificate(iot, {**_certificate(folder, None), "state": "absent"}, check_mode=False)
    ensure_policy(iot, {"name": POLICY, "state": "absent"}, check_mode=False)


def _admit(iot: AwsClient, folder: Path, csr: Path) -> None:
    parameters = {"name": POLICY, "document": policy_document(iot.region), "state": "present"}
    ensure_policy(iot, parameters, check_mode=False)
    ensure_certificate(iot, _certificate(folder, csr), check_mode=False)


def _certificate(folder: Path, csr: Path | None) -> dict[str, Any]:
    return {
        "certificate_path": str(folder / "load.crt"),
        "csr_path": str(csr) if csr else None,
        "status": "ACTIVE",
        "policies": [POLICY],
        "thing": None,
        "state": "present",
    }


def policy_document(region: str) -> dict[str, Any]:
    """Return what the load's clients may do in a region: connect and publish under their own names."""
    prefix = f"arn:aws:iot:{region}:{topology.ACCOUNT_ID}"
    return {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Action": "iot:Connect", "Resource": f"{prefix}:client/{PREFIX}*"},
            {"Effect": "Allow", "Action": "iot:Publish", "Resource": f"{prefix}:topic/fleet/{PREFIX}*"},
        ],
    }


def _set_things(iot: AwsClient, wanted: dict[str, str]) -> None:
    """Create the things that are missing, and delete those of the load that are not wanted."""
    listed = iot.pages("ListThings", "things", maxResults=PAGE_SIZE)
    present = {thing["thingName"] for thing in listed if thing["thingName"].startswith(PREFIX)}
    pace = TokenBucket(THING_RATE)

    def create(name: str) -> None:
        pace.acquire()
        iot.call("CreateThing", thingName=name, attributePayload={"attributes": {ATTRIBUTE: wanted[name]}})

    def delete(name: str) -> None:
        pace.acquire()
        iot.call("DeleteThing", thingName=name)

    _each(create, sorted(wanted.keys() - present))
    _each(delete, sorted(present - wanted.keys()))


def _each(act: Callable[[str], None], names: Iterable[str]) -> None:
    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(act, names))


def _request(folder: Path) -> Path:
    """Return the signing request of the load's key; both are made where the key is absent."""
    key_path, path = folder / "load.key", folder / "load.csr"
    if not (key_path.exists() and path.exists()):
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "load")])
        csr = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
        (folder / "load.crt").unlink(missing_ok=True)
        files.write(key_path, pki.key_pem(key), 0o600)
        files.write(path, csr.public_bytes(serialization.Encoding.PEM))
    return path


@contextmanager
def _one_line() -> Iterator[None]:
    try:
        yield
    except SwitchError as error:
        raise LabError(str(error)) from error
