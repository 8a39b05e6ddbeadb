"""The AWS IoT SDK's TLS: from PEM in memory, or with a key in a PKCS#11 token."""

from __future__ import annotations

import functools
from typing import Any, Callable

from awscrt import mqtt5
from awscrt.io import ClientTlsContext, Pkcs11Lib, TlsContextOptions
from awsiot import mqtt5_client_builder

from mqtt_fleet import credentials, pkcs11, x509
from mqtt_fleet.config import Config

# Of PKCS#11, 5.1: what says that it is the PIN.
PIN_ERRORS = ("CKR_PIN_INCORRECT", "CKR_PIN_INVALID", "CKR_PIN_LEN_RANGE", "CKR_PIN_LOCKED", "CKR_PIN_EXPIRED")
TOKEN_ERRORS = {
    "CKR_PIN_LOCKED": "pkcs11_pin_file: the token has locked itself after wrong PINs: unlock it with its SO PIN",
    "CKR_PIN": "pkcs11_pin_file: the token refuses the PIN of {config.pkcs11_pin_file}: write the right one into it",
    "TOKEN_NOT_FOUND": "pkcs11_token_label: {config.pkcs11_module} has no token, or more than one, that fits the label "
    "{config.pkcs11_token_label!r} and the slot {config.pkcs11_slot}: name the one that holds the key",
    "KEY_NOT_FOUND": "pkcs11_key_label: the token has no private key, or more than one, that fits the label "
    "{config.pkcs11_key_label!r}: name the one that the certificate is for",
    "SHARED_LIBRARY": "pkcs11_module: {config.pkcs11_module} is no PKCS#11 library for this machine: {error}",
    "": "pkcs11_module: {config.pkcs11_module} cannot be used, with {config.certificate} and {config.ca}: {error}",
}


def client_builder(config: Config) -> Callable[..., mqtt5.Client]:
    """The SDK's builder with its credentials given; it takes all other options.

    Raises:
        OSError: the files cannot be used; its text is the line that says so.
    """
    try:
        found = credentials.read(config)
        if config.pkcs11_module:
            options = {**_token(config), "cert_bytes": found.certificate}
            return functools.partial(mqtt5_client_builder.mtls_with_pkcs11, ca_bytes=found.ca, **options)
    except (credentials.CredentialError, pkcs11.TokenError) as error:
        raise OSError(str(error)) from error
    files = {"cert_bytes": found.certificate, "pri_key_bytes": found.private_key}
    return functools.partial(mqtt5_client_builder.mtls_from_bytes, ca_bytes=found.ca, **files)


def problem(config: Config) -> str | None:
    """Ask the SDK, and where it refuses say why, which it does not."""
    found = _context_problem(config)
    if found is None or config.pkcs11_module:
        return found
    if (key := credentials.key_of(config)) and not _takes(key):
        return (
            f"certificate: {config.certificate} is for {key}, which the AWS IoT SDK cannot use: "
            f"have one issued for {credentials.AWS_KEYS}"
        )
    return credentials.pair_problem(config) or found


def _takes(key: x509.PublicKey) -> bool:
    return key.algorithm in ("RSA", "RSA-PSS") or key.curve in credentials.AWS_CURVES


def _context_problem(config: Config) -> str | None:
    """Why the SDK cannot make its TLS context; None where it can. A token is logged in to for that."""
    try:
        found = credentials.read(config)
        if config.pkcs11_module:
            token = _token(config)
            options = TlsContextOptions.create_client_with_mtls_pkcs11(**token, cert_file_contents=found.certificate)
        else:
            options = TlsContextOptions.create_client_with_mtls(found.certificate, found.private_key)
        options.override_default_trust_store(found.ca)
        ClientTlsContext(options)
    except (credentials.CredentialError, pkcs11.TokenError) as error:
        return str(error)
    # What the SDK raises has no common class.
    except Exception as error:  # noqa: BLE001
        return _said(config, str(error))
    return None


def _said(config: Config, error: str) -> str:
    if config.pkcs11_module:
        if any(word in error for word in PIN_ERRORS):
            pkcs11.REFUSED.add(pkcs11.pin(config))
        text = next(text for word, text in TOKEN_ERRORS.items() if word in error)
        return text.format(config=config, error=error)
    return (
        f"private_key: {config.private_key} cannot be used by the AWS IoT SDK, "
        f"with {config.certificate} and {config.ca}: {error}"
    )


def _token(config: Config) -> dict[str, Any]:
    pkcs11.require_module(config)
    pin = pkcs11.pin(config)
    if not pkcs11.REFUSED.due(pin):
        raise pkcs11.TokenError(
            f"pkcs11_pin_file: the token has refused the PIN of {config.pkcs11_pin_file}: write the right one into it; "
            "this one is not tried again, since a token locks itself after a few wrong ones"
        )
    return {
        "pkcs11_lib": _library(config.pkcs11_module),
        "user_pin": pin,
        "slot_id": config.pkcs11_slot,
        "token_label": config.pkcs11_token_label or None,
        "private_key_label": config.pkcs11_key_label or None,
    }


@functools.cache
def _library(file: str) -> Pkcs11Lib:
    """One for the life of the process, as the SDK wants it."""
    return Pkcs11Lib(file=file)
