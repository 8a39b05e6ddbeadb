"""A device's private key, which never leaves the device, and the signing request made with it."""

from __future__ import annotations

import platform
import re
import shutil
from pathlib import Path
from typing import Any

from .commands import DeviceError, read, run, write
from .layout import Layout

# LoadCredential= came with systemd 247 (https://www.freedesktop.org/software/systemd/man/systemd.exec.html).
OLDEST_SYSTEMD = 247

# P-256 and RSA of 2048 bits are kinds that AWS IoT accepts
# (https://docs.aws.amazon.com/iot/latest/developerguide/x509-client-certs.html).
GENERATE = {
    "ECC": ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-pkeyopt", "ec_param_enc:named_curve"],
    "RSA": ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"],
}

# Names of the key in use, and of one whose certificate is not installed yet.
CURRENT, NEXT = "client", "next"


def ensure_identity(layout: Layout, parameters: dict[str, Any], check_mode: bool) -> dict[str, Any]:
    """Make the private key and its signing request present, and return facts of the device.

    Args:
        parameters: `client_id`; `key_type`, a key of `GENERATE`; `renew`: whether to make a new key beside the current.

    Returns:
        `{"changed", "csr", "python", "machine", "releases"}`; `csr` is None in check mode where it does not exist.

    Raises:
        DeviceError: systemd or openssl are missing or too old, or a key cannot be read.
    """
    refuse_old_systemd()
    if not shutil.which("openssl"):
        raise DeviceError("openssl: the program is missing, which makes the device's key: install it")
    name = _name(layout, bool(parameters["renew"]))
    key, request = layout.settings / f"{name}.key", layout.settings / f"{name}.csr"
    csr = _usable_request(key, request, parameters["client_id"])
    changed = csr is None
    if csr is None and not check_mode:
        csr = _make(key, request, parameters)
    return {
        "changed": changed,
        "csr": csr,
        "python": ".".join(platform.python_version_tuple()[:2]),
        "machine": platform.machine(),
        "releases": layout.installed_releases(),
    }


def refuse_old_systemd() -> None:
    """Refuse a device whose systemd has no credentials.

    Raises:
        DeviceError: systemd is missing or too old.
    """
    said = run(["systemctl", "--version"], "the client runs as a systemd service")
    found = re.match(r"systemd (\d+)", said)
    if not found or int(found[1]) < OLDEST_SYSTEMD:
        raise DeviceError(
            f"systemd: found {found[1] if found else 'an unknown version'}, expected {OLDEST_SYSTEMD} or newer, "
            "which hands keys to services as credentials: upgrade the device's system"
        )


def public_key(key: Path) -> str:
    """The public key of a private key, as PEM.

    Raises:
        DeviceError: the file holds no private key.
    """
    return run(["openssl", "pkey", "-in", str(key), "-pubout"], f"{key} is no private key: remove it to have one made")


def certificate_key(certificate: str) -> str:
    """The public key of a certificate, as PEM.

    Raises:
        DeviceError: the text is no certificate.
    """
    command = ["openssl", "x509", "-noout", "-pubkey"]
    return run(
        command, "the device's certificate on the controller is invalid: remove it to have one issued", certificate
    )


def _name(layout: Layout, renew: bool) -> str:
    current, following = (layout.settings / f"{name}.key" for name in (CURRENT, NEXT))
    if following.exists():
        return NEXT
    return NEXT if renew and current.exists() else CURRENT


def _usable_request(key: Path, request: Path, client_id: str) -> str | None:
    """The signing request; None where it does not exist, or is of another key or client."""
    csr = read(request)
    if csr is None or not key.exists():
        return None
    advice = f"{request} is no signing request: remove it to have one made"
    command = ["openssl", "req", "-in", str(request), "-noout", "-pubkey", "-subject", "-nameopt", "RFC2253"]
    said = run(command, advice)
    subject = next((line for line in said.splitlines() if line.startswith("subject")), "")
    same_client = re.sub(r"^subject=\s*", "", subject).replace("\\", "") == f"CN={client_id}"
    return csr if same_client and public_key(key) in said else None


def _make(key: Path, request: Path, parameters: dict[str, Any]) -> str:
    key.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    if not key.exists():
        generated = run(["openssl", "genpkey", *GENERATE[parameters["key_type"]]], "see 'openssl version'")
        write(key, generated, 0o400)
    # The system's configuration may be missing, and differs between distributions.
    settings = "[req]\ndistinguished_name = name\n[name]\n"
    command = ["openssl", "req", "-new", "-sha256", "-config", "/dev/stdin", "-key", str(key)]
    csr = run([*command, "-subj", f"/CN={parameters['client_id']}"], "see 'openssl version'", settings)
    write(request, csr, 0o444)
    return csr
