"""The files a device authenticates with: read once for each attempt, and described in words where they are wrong."""

from __future__ import annotations

import functools
import hashlib
import re
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mqtt_fleet import libraries, pem, pkcs11, x509
from mqtt_fleet.clock import iso
from mqtt_fleet.config import Config
from mqtt_fleet.handshake import signs
from mqtt_fleet.pem import Block, PemError

# OpenSSL's words for a key that is not the certificate's: another one, or one of another kind.
MISMATCHES = ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "NO_CERTIFICATE_ASSIGNED")
# X509_VERIFY_PARAM_set_flags(3), X509_V_FLAG_PARTIAL_CHAIN; named in Python's ssl from 3.10.
PARTIAL_CHAIN = 0x80000
# SSL_CTX_set_security_level(3).
TOO_WEAK = ("EE_KEY_TOO_SMALL", "CA_KEY_TOO_SMALL", "CA_MD_TOO_WEAK")
CERTIFICATE, TRUSTED = "CERTIFICATE", "TRUSTED CERTIFICATE"
CERTIFICATE_LABELS = (CERTIFICATE, TRUSTED, "X509 CERTIFICATE")
# What a provider of OpenSSL keeps elsewhere: tpm2-openssl, pkcs11-provider.
PROVIDER_LABELS = ("TSS2 PRIVATE KEY", pkcs11.URI_LABEL)
PROVIDER_BLOCKS = tuple(f"-----BEGIN {label}-----".encode() for label in PROVIDER_LABELS)
# AWS IoT Core, "X.509 client certificates": keys that it takes.
LEAST_RSA_BITS = 2048
AWS_CURVES = ("P-256", "P-384", "P-521")
AWS_KEYS = f"RSA from {LEAST_RSA_BITS} bits, or ECC {', '.join(AWS_CURVES)}"
# What is found instead of a certificate or key, and what to do.
OTHERS = {
    "PUBLIC KEY": "a public key",
    "RSA PUBLIC KEY": "a public key",
    "CERTIFICATE REQUEST": "a request for a certificate, and not the one that was issued for it",
    "NEW CERTIFICATE REQUEST": "a request for a certificate, and not the one that was issued for it",
    "PKCS7": "PKCS#7: 'openssl pkcs7 -print_certs -in {path}' writes the certificates in it",
    "OPENSSH PRIVATE KEY": "a key in OpenSSH's own format: 'ssh-keygen -p -m PEM -f {path}' rewrites it",
    "PGP PRIVATE KEY BLOCK": "a PGP key",
}


# Configuration and digest of the files that passed.
_PASSED: dict[Config, bytes] = {}


class CredentialError(Exception):
    """A connection cannot even be tried with these files; one line that names key and file."""


@dataclass(frozen=True)
class Credentials:
    """What a TLS library is given, all PEM.

    Attributes:
        ca: certificates that the server's is verified against.
        certificate: the client's, and its chain.
        private_key: its key; where a token has it, a block that refers OpenSSL to it.
    """

    ca: bytes
    certificate: bytes
    private_key: bytes


def check(config: Config) -> None:
    """Refuse files that are missing, unreadable, of no use for the library, or do not belong together.

    Files that have passed are not looked at again while their bytes are the same.

    Raises:
        CredentialError: see there.
    """
    content = _digest(config)
    if content is not None and _PASSED.get(config) == content:
        return
    if found := problems(config):
        raise CredentialError(found[0])
    if content is not None:
        _PASSED[config] = content


def _digest(config: Config) -> bytes | None:
    """Stands for the bytes of all files; None where one cannot be read."""
    total = hashlib.sha256()
    for path in (config.ca, config.certificate, config.private_key, config.pkcs11_pin_file):
        try:
            content = pem.read(path) if path else b""
        except PemError:
            return None
        total.update(hashlib.sha256(content).digest())
    return total.digest()


def problems(config: Config) -> list[str]:
    """All that makes a connection impossible, each in one line."""
    found = []
    for part in (_check_ca, _check_certificate, _private_key):
        try:
            part(config)
        except CredentialError as error:
            found.append(str(error))
    if found:
        return found
    problem = libraries.load(libraries.LIBRARIES[config.library].credentials_problem)(config)
    return [problem] if problem else []


def read(config: Config) -> Credentials:
    """Read the files.

    Raises:
        CredentialError: one is missing, unreadable, or not what its key says.
    """
    return Credentials(_ca(config), pem.encode(_certificate(config)), _private_key(config))


def _ca(config: Config) -> bytes:
    found = _wanted("ca", config.ca, CERTIFICATE_LABELS)
    plain = [_plain(block) for block in found]
    if config.library == "awsiotsdk" and any(block.label == TRUSTED for block in plain):
        raise CredentialError(
            f"ca: {config.ca} limits what its certificates are trusted for, which the AWS IoT SDK does not know: "
            f"'openssl x509 -in {config.ca}' writes one without limits"
        )
    return pem.encode(plain)


def _check_ca(config: Config) -> None:
    _ca(config)
    _parse("ca", config.ca, _wanted("ca", config.ca, CERTIFICATE_LABELS))


def _check_certificate(config: Config) -> None:
    _parse("certificate", config.certificate, _certificate(config))


def _parse(key: str, path: Path, certificates: Sequence[Block]) -> None:
    """Let OpenSSL read certificates: it is stricter about them than `x509`."""
    try:
        # This context verifies nobody. From a file: with `cadata` it would also report what a token's library has left
        # in OpenSSL's queue of errors.
        with pem.in_memory(pem.encode(certificates)) as content:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(content)
    except OSError as error:
        raise CredentialError(
            f"{key}: {path} holds a damaged certificate: {_reason(error)}: install it again"
        ) from error


def _certificate(config: Config) -> list[Block]:
    found = _wanted("certificate", config.certificate, CERTIFICATE_LABELS)
    return [Block(CERTIFICATE, _without_settings(block.content)[0]) for block in found]


def _private_key(config: Config) -> bytes:
    if config.private_key is None:
        try:
            return pkcs11.uri_block(config)
        except pkcs11.TokenError as error:
            raise CredentialError(str(error)) from error
    path = config.private_key
    found = _wanted("private_key", path, ())
    block = found[0]
    if block.encrypted or block.label == "ENCRYPTED PRIVATE KEY":
        raise CredentialError(
            f"private_key: {path} is encrypted with a password that nobody is there to give, expected a key without: "
            f"'openssl pkey -in {path} -out …' writes one"
        )
    if config.library == "awsiotsdk" and block.label in PROVIDER_LABELS:
        raise CredentialError(
            f"private_key: {path} holds {block.label}, which only OpenSSL and library paho can use: set pkcs11_module"
        )
    return pem.encode([block])


def _wanted(key: str, path: Path, labels: Sequence[str]) -> list[Block]:
    """The blocks of a file that have one of these labels, or that are private keys."""
    try:
        content = pem.read(path)
        found = _certificates(content) if labels else pem.blocks(content)
    except PemError as error:
        raise CredentialError(f"{key}: {path} {error}: install it again") from error
    if labels:
        fitting = [block for block in found if block.label in labels]
    else:
        fitting = [block for block in found if _is_key(block)]
    if not fitting:
        wanted = "a certificate" if labels else "a private key"
        raise CredentialError(f"{key}: {path} {_instead(path, content, found, wanted)}")
    return fitting


@functools.lru_cache(maxsize=2)
def _certificates(content: bytes) -> list[Block]:
    """The blocks of a file, its certificates looked into: once, since a bundle of CAs has hundreds.

    Raises:
        PemError: it is damaged.
    """
    found = pem.blocks(content)
    for number, block in enumerate((each for each in found if each.label in CERTIFICATE_LABELS), start=1):
        try:
            x509.public_key(block.content)
        except (ValueError, IndexError) as error:
            raise PemError(f"holds a damaged certificate, number {number} in it") from error
    return found


def _is_key(block: Block) -> bool:
    return block.label in PROVIDER_LABELS or bool(re.fullmatch("((RSA|EC|DSA|ENCRYPTED) )?PRIVATE KEY", block.label))


def _instead(path: Path, content: bytes, found: Sequence[Block], wanted: str) -> str:
    """Return what a file holds instead of what is needed."""
    for block in found:
        if block.label in OTHERS:
            return f"holds {OTHERS[block.label].format(path=path)}, expected {wanted} in PEM"
    if any(_is_key(block) for block in found):
        return f"holds a private key, expected {wanted}: are certificate and private_key exchanged?"
    if any(block.label in CERTIFICATE_LABELS for block in found):
        return f"holds a certificate, expected {wanted}: are certificate and private_key exchanged?"
    if found:
        return f"holds {found[0].label}, expected {wanted} in PEM"
    if not content.strip():
        return f"holds no PEM, it is empty, expected {wanted}: install it again"
    if form := _binary(content):
        return f"is {form.format(path=path)}, expected {wanted} in PEM"
    return f"holds no PEM, expected {wanted} between lines -----BEGIN and -----END: install it again"


def _binary(content: bytes) -> str | None:
    """The name of a DER structure and the command that makes PEM of it."""
    try:
        tag, value, _ = x509.element(content)
        first, number, _ = x509.element(value)
    except (ValueError, IndexError):
        return None
    if tag != x509.SEQUENCE:
        return None
    if first == x509.INTEGER and number == b"\3":
        return "PKCS#12: 'openssl pkcs12 -nodes -in {path}' writes what is in it"
    try:
        x509.public_key(content)
    except (ValueError, IndexError):
        is_key = first == x509.INTEGER
        return "a key in DER: 'openssl pkey -inform DER -in {path}' writes it as PEM" if is_key else "DER"
    return "a certificate in DER: 'openssl x509 -inform DER -in {path}' writes it as PEM"


def _plain(block: Block) -> Block:
    """A certificate as one that has no settings of OpenSSL's own, unless these restrict what it is trusted for."""
    certificate, restricted = _without_settings(block.content)
    return block if restricted else Block(CERTIFICATE, certificate)


def _without_settings(content: bytes) -> tuple[bytes, bool]:
    """A certificate alone, and whether there were limits of trust behind it, openssl-x509(1), "Trust Settings"."""
    _, _, settings = x509.element(content)
    certificate = content[: len(content) - len(settings)]
    try:
        _, settings, _ = x509.element(settings)
        tags = []
        while settings:
            tag, _, settings = x509.element(settings)
            tags.append(tag)
    except (ValueError, IndexError):
        return certificate, False
    return certificate, x509.SEQUENCE in tags or x509.CONSTRUCTED in tags


def pair_problem(config: Config) -> str | None:
    """Why OpenSSL cannot use certificate and key together."""
    if config.pkcs11_module:
        return _token_problem(config)
    found = read(config)
    error = _pair_error(found.certificate, found.private_key)
    if error is None:
        return None
    name = f"private_key: {config.private_key}"
    if _is_mismatch(error):
        chain = _certificate(config)
        for number in range(1, len(chain)):
            if _pair_error(pem.encode([chain[number]]), found.private_key) is None:
                return (
                    f"certificate: {config.certificate} has the certificate of {config.private_key} as number "
                    f"{number + 1}, expected it first and its issuers behind it: put them in that order"
                )
        return f"{name} does not match the certificate {config.certificate}: install the key it was issued for"
    if found.private_key.startswith(PROVIDER_BLOCKS):
        return f"{name} cannot be used: {pkcs11.provider_problem()}"
    if getattr(error, "reason", "") in TOO_WEAK:
        key = key_of(config)
        return (
            f"certificate: {config.certificate} is for {key}, with {_reason(error)}, which the security level of this "
            f"system's OpenSSL refuses: have one issued with SHA-256 for {AWS_KEYS}"
        )
    return f"{name} cannot be used: {_reason(error)}: install it again"


def _token_problem(config: Config) -> str | None:
    """Why OpenSSL cannot use the token's key, for library paho."""
    unusable = (
        f"pkcs11_module: {config.pkcs11_module} cannot be used: {pkcs11.provider_problem()}; with the same PIN it is "
        f"asked every {pkcs11.DOUBTFUL_PIN_PAUSE:g} s, since a token locks itself after a few wrong ones"
    )
    pin = pkcs11.pin(config)
    if not pkcs11.REFUSED.due(pin):
        return unusable
    found = read(config)
    problem = _pair_error(found.certificate, found.private_key)
    if problem is None:
        return None
    if _is_mismatch(problem):
        return (
            f"pkcs11_key_label: the key {config.pkcs11_key_label!r} of the token does not match the certificate "
            f"{config.certificate}: name the key it was issued for"
        )
    pkcs11.REFUSED.add(pin, pkcs11.DOUBTFUL_PIN_PAUSE)
    return unusable


def _is_mismatch(error: OSError) -> bool:
    return getattr(error, "reason", "") in MISMATCHES


def _pair_error(certificate: bytes, private_key: bytes) -> OSError | None:
    try:
        load_pair(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), certificate, private_key)
        if private_key.startswith(PROVIDER_BLOCKS):
            return signs(lambda context: load_pair(context, certificate, private_key))
    # Mostly ssl.SSLError; where a provider leaves an errno behind, Python raises that.
    except OSError as error:
        return error
    return None


def load_pair(context: ssl.SSLContext, certificate: bytes, private_key: bytes) -> None:
    """Give a context a certificate and its key, in PEM.

    Raises:
        ssl.SSLError: OpenSSL cannot use them.
    """
    with pem.in_memory(certificate) as certificate_path, pem.in_memory(private_key) as key_path:
        # A password would be asked for at the terminal.
        context.load_cert_chain(certificate_path, key_path, password=lambda: b"")


def only_sdk_has_key(config: Config) -> bool:
    """Whether the key is in a token that the SDK, and not necessarily Python's OpenSSL, can use."""
    return bool(config.pkcs11_module) and config.library == "awsiotsdk"


def load(context: ssl.SSLContext, config: Config) -> None:
    """Give a context all that the configuration names, but for a key that only the SDK can use.

    Raises:
        OSError: they cannot be used; as its text the line of `CredentialError`, or OpenSSL's (ssl.SSLError).
    """
    try:
        found = read(config)
    except CredentialError as error:
        raise OSError(str(error)) from error
    with pem.in_memory(found.ca) as path:
        context.load_verify_locations(path)
    # What the file holds is trusted, also an intermediate CA without its root, as the SDK does.
    context.verify_flags |= PARTIAL_CHAIN
    if not only_sdk_has_key(config):
        load_pair(context, found.certificate, found.private_key)


def _reason(error: OSError) -> str:
    text = " ".join((getattr(error, "reason", None) or str(error)).split())
    # The place in Python's own source.
    return re.sub(r" \(_ssl\.c:\d+\)", "", text)


def key_of(config: Config) -> x509.PublicKey | None:
    """The key that the client's certificate is for; None where it cannot be read."""
    try:
        return x509.public_key(_certificate(config)[0].content)
    except (CredentialError, ValueError, IndexError):
        return None


def key_doubt(config: Config) -> str | None:
    """Say that AWS IoT Core does not take the certificate's key; None where it does.

    A warning, not an error: other brokers accept it.
    """
    key = key_of(config)
    if key is None or key.curve in AWS_CURVES or (key.algorithm == "RSA" and key.bits >= LEAST_RSA_BITS):
        return None
    return f"certificate: {config.certificate} is for {key}, AWS IoT Core takes {AWS_KEYS}: have another issued"


def expiry_problem(config: Config, now: float) -> str | None:
    """Say that the certificate is not valid at `now`, in epoch seconds; None where it is.

    A warning, not an error: the device's clock may be wrong.
    """
    try:
        begins, ends = x509.validity(_certificate(config)[0].content)
    except (CredentialError, ValueError, IndexError):
        return None
    if now > ends:
        return f"certificate: {config.certificate} expired {iso(ends)}, it is {iso(now)}: install a new one"
    if now < begins:
        return f"certificate: {config.certificate} is valid from {iso(begins)}, it is {iso(now)}: set the clock"
    return None


def ca_doubt(config: Config, now: float) -> str | None:
    """Say that no CA of the file is valid at `now`, in epoch seconds."""
    try:
        periods = [x509.validity(block.content) for block in _wanted("ca", config.ca, CERTIFICATE_LABELS)]
    except (CredentialError, ValueError, IndexError):
        return None
    if any(begins <= now <= ends for begins, ends in periods):
        return None
    return f"ca: {config.ca} holds none that is valid at {iso(now)}: install the CA's present one, or set the clock"
