"""The folder of the endpoints' CA and server certificates: who made its files, which are missing or due, making them.

Setup never overwrites a file that it did not make. It recognises its own by their public keys: before it writes a
private key, it records the SHA-256 of the public key in the file MARKER beside it. A folder of an earlier release has
no such file; there, a key is setup's own where its signing request is beside it and the CA is as setup makes it.
"""

from __future__ import annotations

import datetime as dt
import json
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa

from ..model.errors import RefusedError, one_line
from .acm import GIVEN, Material, Refusal, Served
from .certificate import write_whole
from .server_certificate import (
    Certificate,
    PrivateKey,
    covers,
    end_of,
    is_made_by_setup,
    key_pem,
    kind,
    make_authority,
    make_key,
    make_request,
    make_server_certificate,
    public_key,
    read_certificates,
    read_key,
    requested,
    server_extensions,
)

MARKER = "made-by-setup.json"
# A certificate is renewed only where the new one ends at least this much later.
GAIN = dt.timedelta(days=1)


@dataclass(frozen=True)
class Given:
    """A server certificate that the operator provides."""

    certificate: Certificate
    chain: str
    private_key: bytes


@dataclass(frozen=True)
class Authority:
    """The CA of the server certificates.

    Attributes:
        chain: PEM, as given to devices and ACM.
        made: whether setup made its key.
    """

    certificate: Certificate
    chain: str
    key: PrivateKey | None
    made: bool


@dataclass(frozen=True)
class Local:
    """An endpoint's files in the folder."""

    key: PrivateKey | None = None
    certificate: Certificate | None = None


def read_given(entries: Sequence[Mapping[str, Any]], endpoints: Collection[str], now: dt.datetime) -> dict[str, Given]:
    """Return the server certificates that the operator provides, by endpoint.

    Args:
        entries: `[{"endpoint", "certificate", "chain", "private_key"}]`, PEM texts; the chain may follow the
            certificate, or be absent.

    Raises:
        RefusedError: one is for an unknown endpoint, other names or another key, or not valid now.
    """
    given: dict[str, Given] = {}
    for entry in entries:
        endpoint = entry["endpoint"]
        what = f"pki_server_certificates of {endpoint}"
        if endpoint not in endpoints:
            known = ", ".join(endpoints)
            raise RefusedError(f"{what}: not an endpoint of the inventory, expected one of {known}: correct it")
        if endpoint in given:
            raise RefusedError(f"{what}: given twice: remove one")
        first, *rest = read_certificates(what, entry["certificate"].encode())
        rest += read_certificates(f"{what}, chain", entry["chain"].encode()) if entry.get("chain") else []
        key = read_key(f"{what}, private_key", entry["private_key"].encode())
        _check_given(what, endpoint, first, key, now)
        _check_chain(what, first, rest)
        given[endpoint] = Given(first, _chain(rest), key_pem(key))
    return given


def _check_given(what: str, endpoint: str, certificate: Certificate, key: PrivateKey, now: dt.datetime) -> None:
    if public_key(key) != certificate.public_key:
        raise RefusedError(f"{what}: the private key does not belong to the certificate: correct it")
    if not covers(certificate, endpoint):
        names = ", ".join(certificate.names) or "no DNS name"
        raise RefusedError(f"{what}: found a certificate for {names}, expected one for {endpoint}: correct it")
    if certificate.not_before > now:
        raise RefusedError(
            f"{what}: the certificate is valid from {certificate.not_before:%Y-%m-%dT%H:%M:%SZ}, and ACM imports only "
            "valid ones: run again then"
        )
    if certificate.not_after <= now:
        raise RefusedError(f"{what}: the certificate expired on {certificate.not_after:%Y-%m-%d}: renew it")


def _check_chain(what: str, certificate: Certificate, chain: Sequence[Certificate]) -> None:
    """Refuse a chain that ACM would not import.

    Source: https://docs.aws.amazon.com/acm/latest/userguide/import-certificate-format.html and
    https://docs.aws.amazon.com/acm/latest/APIReference/API_ImportCertificate.html.

    Raises:
        RefusedError: a chain of another certificate, or out of order, or a CA with a key of another kind.
    """
    below = certificate
    for above in chain:
        if not below.issued_by(above):
            raise RefusedError(
                f"{what}, chain: found {above.subject} after {below.subject}, expected its issuer {below.issuer}: "
                "correct the chain, each certificate before the one that issued it"
            )
        below = above
    if chain and (problem := _other_kind(kind(certificate), kind(chain[0]))):
        raise RefusedError(f"{what}: {problem}: have one issued for a key of the CA's kind")


def _other_kind(key: str, authority: str) -> str | None:
    """Why ACM does not import a certificate of a CA, by the kinds of their keys (`kind`); None where it does."""
    own, other = key.partition("_")[0], authority.partition("_")[0]
    if own == other:
        return None
    return f"found a key of kind {own} and a CA of kind {other}, expected one kind, as ACM requires"


@dataclass(frozen=True)
class Folder:
    """The folder of the PKI, which need not exist yet.

    Attributes:
        common_name: of a CA that setup makes.
    """

    path: Path
    common_name: str

    def file(self, name: str) -> bytes | None:
        """A file's content; None where it does not exist.

        Raises:
            RefusedError: it cannot be read.
        """
        path = self.path / name
        if not os.path.lexists(path):
            return None
        try:
            return path.read_bytes()
        except OSError as error:
            raise RefusedError(f"{path}: cannot be read ({error.strerror}): correct its mode or owner") from error

    def certificate(self, name: str) -> Certificate | None:
        content = self.file(name)
        return None if content is None else read_certificates(self.path / name, content)[0]

    def key(self, name: str, passphrase: str = "") -> PrivateKey | None:
        content = self.file(name)
        return None if content is None else read_key(self.path / name, content, passphrase)

    @cached_property
    def marked(self) -> frozenset[str] | None:
        """The public keys listed in MARKER; None where the file does not exist."""
        content = self.file(MARKER)
        if content is None:
            return None
        try:
            keys = json.loads(content)["public_keys"]
            return frozenset(str(each) for each in keys)
        except (ValueError, KeyError, TypeError) as error:
            raise RefusedError(
                f"{self.path / MARKER}: not the list of public keys that setup.yml wrote: restore it from a backup"
            ) from error

    def made(self, endpoint: str | None = None) -> frozenset[str]:
        """The public keys that setup made; in a folder without MARKER, the CA's and one endpoint's."""
        return self._made_before(endpoint) if self.marked is None else self.marked

    def _made_before(self, endpoint: str | None) -> frozenset[str]:
        try:
            authority = self.certificate("ca.crt")
        except RefusedError:
            return frozenset()
        if authority is None or not is_made_by_setup(self.common_name, authority):
            return frozenset()
        request = requested(self.file("ca.csr") or b"", self.common_name)
        if request is None or request[0] != authority.public_key:
            return frozenset()
        own = requested(self.file(f"{endpoint}.csr") or b"", endpoint) if endpoint else None
        of_endpoint = {own[0]} if own and endpoint and _same(own[1], server_extensions(endpoint)) else set()
        return frozenset({authority.public_key} | of_endpoint)


def _same(one: Collection[tuple[x509.ExtensionType, bool]], other: Collection[tuple[x509.ExtensionType, bool]]) -> bool:
    return len(one) == len(other) and all(each in other for each in one)


@dataclass(frozen=True)
class OwnAuthority:
    """The CA that the inventory provides: PEM texts, empty where it provides none."""

    certificate: str
    private_key: str = ""
    passphrase: str = ""


def read_authority(folder: Folder, own: OwnAuthority, signing: bool) -> Authority | None:
    """Return the CA: the one that the inventory provides, else the folder's; None where there is none yet.

    Args:
        signing: whether its private key is needed.

    Raises:
        RefusedError: the CA is neither made by setup nor provided by the inventory, or the key is not the CA's.
    """
    if own.certificate:
        return _given_authority(folder, own)
    if own.private_key:
        raise RefusedError("pki_ca_private_key: pki_ca_certificate is missing: set both")
    content = folder.file("ca.crt")
    key = folder.key("ca.key", own.passphrase) if signing else None
    if content is None:
        if key is not None and public_key(key) not in folder.made():
            raise _foreign_file(folder.path / "ca.key", "a private key")
        return None
    certificate, *above = read_certificates(folder.path / "ca.crt", content)
    if certificate.public_key not in folder.made():
        raise _foreign_file(folder.path / "ca.crt", f"a certificate of {certificate.subject}")
    if key is not None and public_key(key) != certificate.public_key:
        raise RefusedError(f"{folder.path / 'ca.key'}: not the key of ca.crt beside it: restore it from a backup")
    return Authority(certificate, _chain([certificate, *above]), key, made=True)


def _chain(certificates: Sequence[Certificate]) -> str:
    """The certificates as PEM, without any text around them."""
    return "".join(each.pem for each in certificates)


def _given_authority(folder: Folder, own: OwnAuthority) -> Authority:
    certificate, *above = read_certificates("pki_ca_certificate", own.certificate.encode())
    name = "pki_ca_private_key"
    key = read_key(name, own.private_key.encode(), own.passphrase) if own.private_key else None
    if key is not None and public_key(key) != certificate.public_key:
        raise RefusedError("pki_ca_private_key: not the key of pki_ca_certificate: correct it")
    present = folder.certificate("ca.crt")
    if present is not None and present.public_key != certificate.public_key:
        raise RefusedError(
            f"{folder.path / 'ca.crt'}: found another CA ({present.subject}), expected pki_ca_certificate "
            f"({certificate.subject}): correct pki_ca_certificate, or name another folder in certs_directory"
        )
    made = folder.marked is not None and certificate.public_key in folder.marked
    return Authority(certificate, _chain([certificate, *above]), key, made)


def _foreign_file(path: Path, what: str) -> RefusedError:
    options = "pki_ca_certificate and pki_ca_private_key" if path.stem == "ca" else "pki_server_certificates"
    return RefusedError(
        f"{path}: found {what} that setup.yml did not make: name your own in {options}, or another folder in "
        f"certs_directory, or restore {MARKER} if it is lost"
    )


def read_local(folder: Folder, endpoint: str, authority: Authority | None) -> Local:
    """Return an endpoint's files in the folder.

    Raises:
        RefusedError: setup did not make them, they do not belong together, or they are another CA's.
    """
    key, certificate = folder.key(f"{endpoint}.key"), folder.certificate(f"{endpoint}.crt")
    crt, own = folder.path / f"{endpoint}.crt", folder.made(endpoint)
    if certificate is not None and certificate.public_key not in own:
        raise _foreign_file(crt, f"a certificate of {certificate.issuer}")
    if key is not None and public_key(key) not in own:
        raise _foreign_file(folder.path / f"{endpoint}.key", "a private key")
    if certificate is None:
        return Local(key)
    if key is not None and public_key(key) != certificate.public_key:
        raise RefusedError(f"{crt}: does not belong to the key beside it: restore both from a backup")
    if authority is None or not certificate.issued_by(authority.certificate):
        found = "no CA beside it" if authority is None else f"another CA beside it ({authority.certificate.subject})"
        raise RefusedError(
            f"{crt}: found {found}, expected the one that issued it ({certificate.issuer}): restore ca.crt and ca.key "
            "from a backup"
        )
    return Local(key, certificate)


def material(folder: Folder, endpoint: str, given: Given | None, authority: Authority | None) -> Material:
    """Return the certificate to import for an endpoint.

    Raises:
        RefusedError: as `read_local`.
    """
    if given is not None:
        return Material(given.certificate, given.chain, given.private_key, GIVEN, None)
    local = read_local(folder, endpoint, authority)
    if authority is None:
        return Material(None, "", None, "", None)
    made = {authority.certificate.public_key} if authority.made else set()
    if local.key is not None:
        made.add(public_key(local.key))
    key = key_pem(local.key) if local.key is not None else None
    certificate = local.certificate if key is not None else None
    origin = f"ca:{authority.certificate.public_key}"
    return Material(certificate, authority.chain, key, origin, authority.certificate, made)


@dataclass(frozen=True)
class Terms:
    """The settings for new certificates.

    Attributes:
        renew_days: a server certificate that ends sooner is renewed.
        end, authority_end: when a new server certificate, and a new CA, ends.
    """

    key_type: str
    renew_days: float
    end: dt.datetime
    authority_end: dt.datetime
    now: dt.datetime


@dataclass
class Work:
    """What setup has to make.

    Attributes:
        authority: whether it makes the CA.
        issue: the endpoints that get a certificate.
        warnings: lines for the operator.
    """

    authority: bool = False
    issue: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def terms(parameters: Mapping[str, Any], now: dt.datetime) -> Terms:
    """Return the settings among the module's parameters.

    Raises:
        RefusedError: an end is no time, or in the past.
    """
    days = parameters["renew_days"]
    if not days >= 0:
        raise RefusedError(f"pki_server_renew_days: found {one_line(days)}, expected 0 or more: correct it")
    end = end_of("pki_server_not_after", parameters["server_not_after"], now)
    authority_end = end_of("pki_ca_not_after", parameters["ca_not_after"], now)
    return Terms(parameters["key_type"], days, end, authority_end, now)


def work(
    folder: Folder,
    authority: Authority | None,
    endpoints: Sequence[str],
    served: Mapping[str, Sequence[Served | None]],
    offered: Terms,
) -> Work:
    """Decide what has to be made, after `decide` refused nothing.

    Args:
        endpoints: those whose certificates setup makes.
        served: per endpoint, the certificate of each region that answers.

    Raises:
        RefusedError: a certificate is missing and cannot be issued.
    """
    done = Work(authority=authority is None and bool(endpoints))
    end = min(offered.end, authority.certificate.not_after if authority else offered.authority_end)
    for endpoint in endpoints:
        local = read_local(folder, endpoint, authority)
        due, warning = _due(local, served[endpoint], end, offered)
        if due and authority is not None and (problem := _cannot_sign(authority, offered.now)):
            if local.certificate is None:
                raise RefusedError(f"{folder.path / f'{endpoint}.crt'}: {problem}")
            due, warning = False, f"the certificate of {endpoint} is due for renewal: {problem}"
        if due and authority is not None:
            _refuse_other_kind(folder, endpoint, local, authority, offered)
        done.issue += [endpoint] if due else []
        done.warnings += [warning] if warning else []
    return done


def _refuse_other_kind(folder: Folder, endpoint: str, local: Local, authority: Authority, offered: Terms) -> None:
    wanted = kind(authority.certificate)
    key = {"ECC": "EC", "RSA": "RSA"}[offered.key_type]
    advice = f"set pki_key_type to {'RSA' if wanted.startswith('RSA') else 'ECC'}"
    if local.key is not None:
        key = "RSA" if isinstance(local.key, rsa.RSAPrivateKey) else "EC"
        advice += f", and remove {endpoint}.key"
    if problem := _other_kind(key, wanted):
        raise RefusedError(f"{folder.path / f'{endpoint}.key'}: {problem}: {advice}")


def _cannot_sign(authority: Authority, now: dt.datetime) -> str | None:
    if authority.certificate.not_after <= now:
        return f"the CA expired on {authority.certificate.not_after:%Y-%m-%d}: renew it"
    if authority.key is None:
        return "the CA's private key, ca.key or pki_ca_private_key, is missing: provide it for this run"
    return None


def _due(local: Local, served: Sequence[Served | None], end: dt.datetime, offered: Terms) -> tuple[bool, str | None]:
    """Whether a certificate is made for an endpoint, and a warning where it is due and not made."""
    if local.certificate is None:
        # Without a key here, as on a controller that keeps no files, the regions' certificates suffice while they last.
        present = [each.certificate for each in served if each is not None and each.certificate is not None]
        lasting = [each for each in present if each.days_left(offered.now) >= offered.renew_days]
        return local.key is not None or not served or len(lasting) < len(served), None
    certificate = local.certificate
    if certificate.days_left(offered.now) >= offered.renew_days:
        return False, None
    if end - certificate.not_after >= GAIN:
        return True, None
    return False, (
        f"{certificate.subject}: its certificate ends on {certificate.not_after:%Y-%m-%d}, and a new one would end no "
        "later: see pki_server_not_after, pki_server_renew_days, and when the CA ends"
    )


def no_authority(served: Served, folder: Folder) -> Refusal:
    issuer = served.certificate.issuer if served.certificate else "an unknown CA"
    return Refusal(
        served.where,
        f"a certificate of {issuer}, while {folder.path} has no CA",
        "the CA that issued it, before another is made",
        "provide the certs folder it was set up with, or name its CA in pki_ca_certificate and pki_ca_private_key; if "
        "the certificate is your own, set iot_region_server_certificate_arns in host_vars/<region>.yml to its ARN "
        "(given in brackets)",
    )


class Writer:
    """Writes the folder; in check mode it only records what it would write."""

    def __init__(self, folder: Folder, endpoints: Sequence[str], offered: Terms, check_mode: bool) -> None:
        self._folder = folder
        self._terms = offered
        self._check = check_mode
        known = {path.stem for path in folder.path.glob("*.csr")}
        self._made = {key for endpoint in {*endpoints, *known} for key in folder.made(endpoint)}
        # By path, a description of the old and of the new content.
        self.before: dict[str, str] = {}
        self.after: dict[str, str] = {}

    def authority(self) -> Authority:
        """Make the CA; a key that an interrupted run left without a certificate is used."""
        key = self._key("ca.key")
        certificate = make_authority(key, self._folder.common_name, self._terms.authority_end, self._terms.now)
        self._create("ca.crt", certificate.pem.encode(), certificate.validity)
        return Authority(certificate, certificate.pem, key, made=True)

    def keep_authority(self, authority: Authority) -> None:
        """Write ca.crt, which devices and checks read, where the inventory provides the CA."""
        if self._folder.file("ca.crt") is None:
            self._create("ca.crt", authority.chain.encode(), authority.certificate.validity)

    def issue(self, endpoint: str, authority: Authority) -> None:
        """Make an endpoint's certificate with its present key, if any: ACM and devices that pin the key know it."""
        if authority.key is None:
            raise RefusedError(f"{endpoint}: the CA's private key is missing: provide it")
        key = self._key(f"{endpoint}.key")
        if self._folder.file(f"{endpoint}.csr") is None:
            self._create(f"{endpoint}.csr", make_request(key, endpoint), "signing request")
        end = min(self._terms.end, authority.certificate.not_after)
        made = make_server_certificate(key, endpoint, authority.certificate, authority.key, end, self._terms.now)
        old = self._folder.certificate(f"{endpoint}.crt")
        if old is None:
            self._create(f"{endpoint}.crt", made.pem.encode(), made.validity)
        else:
            self._note(f"{endpoint}.crt", old.validity, made.validity)
            self._write(f"{endpoint}.crt", made.pem.encode())

    def _key(self, name: str) -> PrivateKey:
        present = self._folder.key(name)
        if present is not None:
            return present
        key = make_key(self._terms.key_type)
        self._made.add(public_key(key))
        if not self._check:
            marker = json.dumps({"public_keys": sorted(self._made)}, indent=2) + "\n"
            self._write(MARKER, marker.encode())
        self._create(name, key_pem(key), "private key", 0o600)
        return key

    def _note(self, name: str, before: str, after: str) -> None:
        path = str(self._folder.path / name)
        self.before[path], self.after[path] = before, after

    def _create(self, name: str, content: bytes, what: str, mode: int = 0o644) -> None:
        self._note(name, "", what)
        self._write(name, content, mode, _place_new)

    def _write(
        self, name: str, content: bytes, mode: int = 0o644, place: Callable[[Path, Path], object] = Path.replace
    ) -> None:
        if self._check:
            return
        path = self._folder.path / name
        try:
            self._folder.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_whole(path, content, mode, place)
        except OSError as error:
            raise RefusedError(
                f"{path}: cannot be written ({error.strerror}): make room or correct the folder, then run again"
            ) from error


def _place_new(temporary: Path, path: Path) -> None:
    """Move a file to its path, unless another is there."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise
    except OSError:
        # The file system has no hard links.
        if os.path.lexists(path):
            raise
        temporary.replace(path)
