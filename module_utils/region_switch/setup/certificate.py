"""Device certificates: issued in one region, registered without a CA in the others."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.x509.oid import NameOID

from ..aws.clients import AwsClient
from ..aws.paced import retried
from ..model.errors import RefusedError, one_line
from ..module import Result, changed
from . import pem

# https://docs.aws.amazon.com/iot/latest/apireference/API_DetachThingPrincipal.html: propagates within seconds.
DETACH_ATTEMPTS = 15
DETACH_INTERVAL = 1.0

# https://docs.aws.amazon.com/iot/latest/apireference/API_CreateCertificateFromCsr.html: RSA of 2048 bits at least, or
# one of these curves.
SMALLEST_RSA = 2048
CURVES = {"secp256r1", "secp384r1", "secp521r1"}
HASHES = {"sha256", "sha384", "sha512"}


def ensure_certificate(iot: AwsClient, parameters: dict[str, Any], check_mode: bool) -> Result:
    """Make the certificate present with status, policies and thing, or absent.

    The certificate in `certificate_path` is registered unless the region knows it; where the file does not exist, one
    is issued from the CSR and written there. Without `status`, a known certificate keeps its status, and a new one is
    ACTIVE.
    """
    path = Path(parameters["certificate_path"])
    request = Path(parameters["csr_path"]) if parameters["csr_path"] else None
    read = read_request(request) if request and path.exists() else None
    certificate = read_own_certificate(path, request, read) if path.exists() else None
    if parameters["state"] == "absent":
        return _ensure_absent(iot, certificate, check_mode)
    return ensure_present(iot, certificate, known_certificate(iot, certificate), parameters, check_mode)


def ensure_present(
    iot: AwsClient,
    certificate: x509.Certificate | None,
    before: dict[str, Any],
    parameters: dict[str, Any],
    check_mode: bool,
) -> Result:
    """Issue or register a certificate where needed, attach policies and thing, and set its status.

    Args:
        certificate: None where one is to be issued.
        before: as `known_certificate` returns it.

    Raises:
        AwsError: AWS refused, or did not answer.
        RefusedError: there is no CSR to issue it from, or no folder to write it to.
    """
    after = _after(before, parameters)
    result = changed(before, after, **_identity(before), status=after["status"])
    if check_mode or before == after:
        return result
    if not before:
        before = _create(iot, certificate, parameters, Path(parameters["certificate_path"]))
    _update(iot, before, after)
    return {**result, **_identity(before)}


def read_certificate(path: Path, key: bytes | None = None) -> x509.Certificate:
    """Return the device's certificate from a file.

    Args:
        key: as for `pem.read_device_certificate`.

    Raises:
        RefusedError: not readable, or as `pem.read_device_certificate` says.
    """
    return pem.read_device_certificate(path, _read(path), key)


def read_request(path: Path) -> x509.CertificateSigningRequest:
    """Return the signing request of a file.

    Raises:
        RefusedError: not readable, or as `parse_request` says.
    """
    return parse_request(path, _read(path))


def read_own_certificate(
    path: Path, request_path: Path | None, request: x509.CertificateSigningRequest | None
) -> x509.Certificate:
    """Return the device's certificate from a file; where there is a request, it has to be for the request's key.

    Raises:
        RefusedError: as `read_certificate` says, or the certificate is for another key.
    """
    key = pem.public_key(request) if request else None
    certificate = read_certificate(path, key)
    if key is not None and pem.public_key(certificate) != key:
        raise RefusedError(
            f"certificate {path}: found another public key than that of {request_path}, expected the same: "
            "remove the certificate to have one issued, or restore the key and CSR it belongs to"
        )
    return certificate


def parse_request(name: object, data: bytes) -> x509.CertificateSigningRequest:
    """Return a certificate signing request that AWS IoT accepts.

    Args:
        name: as an error names it.

    Raises:
        RefusedError: it is no signing request, AWS IoT does not accept its key or signature, or the signature is not by
            its key.
    """
    request = pem.read_request(name, data)
    key = pem.readable_key(name, request)
    if not _is_accepted(key):
        raise RefusedError(
            f"{name}: found a key that is {_kind(key)}, expected RSA of {SMALLEST_RSA} bits or more, P-256, P-384 or "
            "P-521, which AWS IoT accepts: create it again"
        )
    algorithm = request.signature_hash_algorithm
    if algorithm is None or algorithm.name not in HASHES:
        raise RefusedError(f"{name}: its signature does not use SHA-256: create it again")
    if not request.is_signature_valid:
        raise RefusedError(f"{name}: its signature is not by its own key: create it again")
    return request


def refuse_other_subject(name: object, request: x509.CertificateSigningRequest, client_id: str) -> None:
    """Refuse a signing request for another client.

    Args:
        name: as an error names it.

    Raises:
        RefusedError: its common name is not the client ID.
    """
    found = [str(each.value) for each in request.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    if found != [client_id]:
        raise RefusedError(
            f"{name}: found common name {one_line(', '.join(found))}, expected '{client_id}': correct the device"
        )


def _is_accepted(key: Any) -> bool:
    if isinstance(key, RSAPublicKey):
        return key.key_size >= SMALLEST_RSA
    return isinstance(key, EllipticCurvePublicKey) and key.curve.name in CURVES


def _kind(key: Any) -> str:
    """A key as an error shows it, such as "RSA, 1024 bits"."""
    kind = type(key).__name__.removesuffix("PublicKey").removesuffix("Key")
    return f"{kind}, {key.key_size} bits" if hasattr(key, "key_size") else kind


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise RefusedError(f"{path}: cannot be read ({error.strerror}): create it, or correct its mode") from error


def known_certificate(iot: AwsClient, certificate: x509.Certificate | None) -> dict[str, Any]:
    """The region's description of the certificate; empty where the region does not know it.

    Returns:
        `{"certificate_id", "certificate_arn", "status", "policies": [name], "things": [name]}`.

    Raises:
        AwsError: AWS refused, or did not answer.
    """
    if certificate is None:
        return {}
    found = iot.find("DescribeCertificate", certificateId=pem.certificate_id(certificate))
    if found is None:
        return {}
    description = found["certificateDescription"]
    arn = description["certificateArn"]
    policies = iot.pages("ListAttachedPolicies", "policies", ("nextMarker", "marker"), target=arn)
    return {
        "certificate_id": description["certificateId"],
        "certificate_arn": arn,
        "status": description["status"],
        "policies": sorted(policy["policyName"] for policy in policies),
        "things": sorted(iot.pages("ListPrincipalThings", "things", principal=arn)),
    }


def _after(before: dict[str, Any], parameters: dict[str, Any]) -> dict[str, Any]:
    wanted_things = [parameters["thing"]] if parameters["thing"] else []
    return {
        **before,
        "status": _status(parameters, before),
        "policies": sorted({*before.get("policies", []), *(parameters["policies"] or [])}),
        "things": sorted({*before.get("things", []), *wanted_things}),
    }


def _status(parameters: dict[str, Any], before: dict[str, Any]) -> str:
    return str(parameters["status"] or before.get("status", "ACTIVE"))


def _create(
    iot: AwsClient, certificate: x509.Certificate | None, parameters: dict[str, Any], path: Path
) -> dict[str, Any]:
    status = _status(parameters, {})
    if certificate:
        answer = iot.call("RegisterCertificateWithoutCA", certificatePem=pem.as_text(certificate), status=status)
    else:
        if not parameters["csr_path"]:
            raise RefusedError(f"certificate {path}: the file is missing: create it, or set csr_path to have it issued")
        if not path.parent.is_dir():
            raise RefusedError(f"certificate {path}: its folder {path.parent} is missing: create it first")
        csr = pem.as_text(read_request(Path(parameters["csr_path"])))
        active = status == "ACTIVE"
        answer = iot.call("CreateCertificateFromCsr", certificateSigningRequest=csr, setAsActive=active)
        write_whole(path, answer["certificatePem"].encode())
    identity = {"certificate_id": answer["certificateId"], "certificate_arn": answer["certificateArn"]}
    return {**identity, "status": status, "policies": [], "things": []}


def write_whole(
    path: Path, content: bytes, mode: int = 0o644, place: Callable[[Path, Path], object] = Path.replace
) -> None:
    """Write a file atomically: half a certificate would be registered in other regions.

    Args:
        place: moves the complete file to its path.

    Raises:
        OSError: it cannot be written.
    """
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        place(Path(name), path)
    finally:
        Path(name).unlink(missing_ok=True)


def _update(iot: AwsClient, before: dict[str, Any], after: dict[str, Any]) -> None:
    arn = before["certificate_arn"]
    for policy in sorted(set(after["policies"]) - set(before["policies"])):
        iot.call("AttachPolicy", policyName=policy, target=arn)
    for thing in sorted(set(after["things"]) - set(before["things"])):
        iot.call("AttachThingPrincipal", thingName=thing, principal=arn)
    if before["status"] != after["status"]:
        iot.call("UpdateCertificate", certificateId=before["certificate_id"], newStatus=after["status"])


def _ensure_absent(iot: AwsClient, certificate: x509.Certificate | None, check_mode: bool) -> Result:
    before = known_certificate(iot, certificate)
    if before and not check_mode:
        arn, identifier = before["certificate_arn"], before["certificate_id"]
        for policy in before["policies"]:
            iot.call("DetachPolicy", policyName=policy, target=arn)
        for thing in before["things"]:
            iot.call("DetachThingPrincipal", thingName=thing, principal=arn)
        # AWS refuses to delete an ACTIVE certificate.
        iot.call("UpdateCertificate", certificateId=identifier, newStatus="INACTIVE")
        _delete(iot, identifier)
    return changed(before, {}, **_identity(before), status=None)


def _delete(iot: AwsClient, identifier: str) -> None:
    """Delete the certificate, waiting until its detachments have propagated."""
    retried(
        lambda: iot.call("DeleteCertificate", certificateId=identifier),
        lambda error: DETACH_ATTEMPTS if error.code == "DeleteConflictException" else 1,
        lambda _: time.sleep(DETACH_INTERVAL),
    )


def _identity(state: dict[str, Any]) -> dict[str, Any]:
    return {key: state.get(key) for key in ("certificate_id", "certificate_arn")}
