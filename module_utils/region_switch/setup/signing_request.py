"""The signing requests of devices on the controller, from which certificates are issued."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..model.device_names import refuse_other_names
from ..model.errors import RefusedError
from ..module import Result
from . import pem
from .certificate import parse_request, read_certificate, refuse_other_subject, write_whole

SUPERSEDED = "superseded"


def ensure_signing_request(parameters: dict[str, Any], check_mode: bool) -> Result:
    """Keep the signing request that a device created, and move a certificate for another key away.

    That certificate goes to the folder `superseded`: it stays valid at AWS until the device works with the new one. A
    private key that was created on the controller is removed: the device has its own.

    Args:
        parameters: `directory`, `client_id`, `csr` (PEM).

    Raises:
        RefusedError: the client ID is invalid, the text is no signing request of this client with a key that AWS IoT
            accepts, or the certificate file holds no certificate.
    """
    directory, client_id = Path(parameters["directory"]), refuse_other_names(parameters["client_id"])
    if not directory.is_dir():
        raise RefusedError(f"{directory}: the folder is missing: run setup.yml first")
    request, certificate, key = (directory / f"{client_id}.{suffix}" for suffix in ("csr", "crt", "key"))
    name = f"signing request of {client_id}"
    wanted = parse_request(name, parameters["csr"].encode())
    refuse_other_subject(name, wanted, client_id)
    text, own = pem.as_text(wanted), pem.public_key(wanted)
    before = request.read_text(encoding="ascii", errors="replace") if request.exists() else ""
    replaced = certificate.exists() and pem.public_key(read_certificate(certificate, own)) != own
    removed = [key] if key.exists() else []
    if not check_mode:
        if before != text:
            write_whole(request, text.encode())
        if replaced:
            supersede(certificate)
        for path in removed:
            path.unlink()
    return {
        "changed": before != text or replaced or bool(removed),
        "superseded": replaced,
        "key_removed": bool(removed),
        "diff": {"before": before, "after": text},
    }


def supersede(certificate: Path) -> None:
    """Move a certificate to the folder of superseded ones."""
    folder = certificate.parent / SUPERSEDED
    folder.mkdir(mode=0o700, exist_ok=True)
    identifier = pem.certificate_id(read_certificate(certificate))
    certificate.replace(folder / f"{certificate.stem}.{identifier}.crt")


def superseded(directory: Path, client_id: str) -> list[Path]:
    """The superseded certificates of a client, which may still be valid.

    Raises:
        RefusedError: the client ID is invalid.
    """
    prefix = f"{refuse_other_names(client_id)}."
    found = (directory / SUPERSEDED).glob("*.crt") if (directory / SUPERSEDED).is_dir() else []
    return sorted(path for path in found if path.name.startswith(prefix) and len(path.name) == len(prefix) + 68)
