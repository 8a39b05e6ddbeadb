"""Registers many clients in one region: the thing, the certificate and the attachments of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509

from ..aws.clients import AwsClient
from ..aws.token_bucket import TokenBucket
from ..model import turned_off
from ..model.device_names import refuse_other_names
from ..model.errors import AwsError, RefusedError
from ..module import Result
from . import pem
from .certificate import (
    ensure_present,
    known_certificate,
    read_certificate,
    read_own_certificate,
    read_request,
    write_whole,
)
from .signing_request import superseded
from .thing import ensure_thing

# The quota of DescribeCertificate, ListPrincipalThings, RegisterCertificateWithoutCA …, each called once per client:
# https://docs.aws.amazon.com/general/latest/gr/iot-core.html, per second, account and Region.
CLIENTS_PER_SECOND = 10.0
WORKERS = 8
ALL_CLIENTS = "*"

ClientEntry = Mapping[str, Any]


@dataclass(frozen=True)
class Setup:
    """The parameters of set-up that all clients of a region share.

    Attributes:
        issuing: the region in which certificates are issued; None where it is this one, or need not be asked.
    """

    iot: AwsClient
    issuing: AwsClient | None
    directory: Path
    parameters: dict[str, Any]
    check_mode: bool

    def restores(self, name: str) -> bool:
        return not {name, ALL_CLIENTS}.isdisjoint(self.parameters["restore"])


@dataclass(frozen=True)
class Files:
    """A client's files on the controller."""

    request: x509.CertificateSigningRequest | None
    certificate: x509.Certificate | None

    @property
    def key(self) -> bytes | None:
        found = self.request or self.certificate
        return pem.public_key(found) if found else None


class AwaitedError(RefusedError):
    """The client's certificate has to be registered in the issuing region first."""


def ensure_clients(iot: AwsClient, parameters: dict[str, Any], check_mode: bool) -> Result:
    """Register each client in a region, as far as its files on the controller allow.

    A client that cannot be registered, or that somebody turned off, does not keep the others from it.

    Args:
        parameters: `clients` (`[{"client_id", "endpoint", "policy", "required"}]`; without an endpoint, no thing is
            made; without a policy, `policy` is used), `directory`, `policy`, `endpoint_attribute`; `issue`: whether
            missing certificates are issued here; `issuing_region`: where they are issued otherwise; `restore`: IDs of
            clients that somebody turned off and that are admitted again, or `*`; `planned`: in check mode, clients
            whose signing request an earlier task would have created.

    Returns:
        `{"changed", "region", "left_out": {client ID: reason}, "awaiting": [client ID], "diff"}`; `awaiting` are those
        left out that only wait for the issuing region.

    Raises:
        RefusedError: a required client cannot be registered, or a client ID is invalid.
    """
    clients: Sequence[ClientEntry] = parameters["clients"]
    for client in clients:
        refuse_other_names(client["client_id"])
    setup = _setup(iot, parameters, check_mode)
    left_out: dict[str, str] = _sharing_keys(setup, [client["client_id"] for client in clients])
    results = _each(
        [client for client in clients if client["client_id"] not in left_out],
        lambda client: _ensure_client(setup, client),
    )
    left_out |= {client: str(found) for client, found in results.items() if isinstance(found, RefusedError | AwsError)}
    changed = {client: found for client, found in results.items() if isinstance(found, dict) and found["changed"]}
    for client in clients:
        if client["required"] and client["client_id"] in left_out:
            raise RefusedError(f"client {client['client_id']}: {left_out[client['client_id']]}")
    return {
        "changed": bool(changed),
        "region": iot.region,
        "left_out": left_out,
        "awaiting": sorted(client for client, found in results.items() if isinstance(found, AwaitedError)),
        "diff": {side: {client: found[side] for client, found in changed.items()} for side in ("before", "after")},
    }


def retire_certificates(iot: AwsClient, parameters: dict[str, Any], check_mode: bool) -> Result:
    """Make superseded certificates INACTIVE in a region; those that it does not know are skipped.

    Args:
        parameters: `retire`: client IDs; `directory`.

    Returns:
        `{"changed", "retired": [certificate ID], "diff"}`.

    Raises:
        AwsError: AWS refused, or did not answer.
        RefusedError: a file holds no certificate, or a client ID is invalid.
    """
    paths = [path for client in parameters["retire"] for path in superseded(Path(parameters["directory"]), client)]
    statuses = {}
    for path in paths:
        identifier = pem.certificate_id(read_certificate(path))
        found = iot.find("DescribeCertificate", certificateId=identifier)
        if found and found["certificateDescription"]["status"] == "ACTIVE":
            statuses[identifier] = "ACTIVE"
            if not check_mode:
                iot.call("UpdateCertificate", certificateId=identifier, newStatus="INACTIVE")
    return {
        "changed": bool(statuses),
        "retired": sorted(statuses),
        "diff": {"before": statuses, "after": dict.fromkeys(statuses, "INACTIVE")},
    }


def _each(
    clients: Sequence[ClientEntry], act: Callable[[ClientEntry], Result]
) -> dict[str, Result | RefusedError | AwsError]:
    pace = TokenBucket(CLIENTS_PER_SECOND)

    def attempt(client: ClientEntry) -> Result | RefusedError | AwsError:
        pace.acquire()
        try:
            return act(client)
        except (RefusedError, AwsError) as error:
            return error

    with ThreadPoolExecutor(WORKERS) as pool:
        return {client["client_id"]: found for client, found in zip(clients, pool.map(attempt, clients), strict=True)}


def _setup(iot: AwsClient, parameters: dict[str, Any], check_mode: bool) -> Setup:
    region = parameters["issuing_region"]
    elsewhere = region and region != iot.region and not parameters["issue"]
    issuing = AwsClient("iot", region) if elsewhere else None
    return Setup(iot, issuing, Path(parameters["directory"]), parameters, check_mode)


def _sharing_keys(setup: Setup, names: Sequence[str]) -> dict[str, str]:
    """`{client ID: reason}` of the clients that share a key: AWS IoT could not tell them apart."""
    holders: dict[bytes, list[str]] = {}
    for name in names:
        try:
            key = _files(setup.directory, name).key
        except RefusedError:
            # Reported when the client is registered.
            continue
        if key is not None:
            holders.setdefault(key, []).append(name)
    return {
        name: f"its files have the same key as those of {', '.join(sorted({*sharing} - {name}))}: give each client its "
        f"own key and certificate, in {setup.directory}"
        for sharing in holders.values()
        if len(set(sharing)) > 1
        for name in sharing
    }


def _files(directory: Path, name: str) -> Files:
    request_path, certificate_path = directory / f"{name}.csr", directory / f"{name}.crt"
    request = read_request(request_path) if request_path.exists() else None
    if not certificate_path.exists():
        return Files(request, None)
    return Files(request, read_own_certificate(certificate_path, request_path, request))


def _ensure_client(setup: Setup, client: ClientEntry) -> Result:
    """Register one client; return the changes, in check mode those that would be made.

    Raises:
        AwsError: AWS refused, or did not answer.
        RefusedError: the client is left out, with the reason.
    """
    name = client["client_id"]
    if setup.check_mode and name in setup.parameters["planned"]:
        return {"changed": True, **_thing(setup, client, check_mode=True)["diff"]}
    files = _files(setup.directory, name)
    if files.key is None:
        path = setup.directory / f"{name}.csr"
        raise RefusedError(f"its signing request {path} is missing: run again when its host is on, or put it there")
    thing = _thing(setup, client, check_mode=True)
    certificate, known = files.certificate, known_certificate(setup.iot, files.certificate)
    attached = _attached(setup.iot, name) if thing["diff"]["before"] and not known else []
    if certificate is None:
        certificate = _for_key(attached, files.key)
        known = known_certificate(setup.iot, certificate)
    if not setup.restores(name):
        if known:
            _refuse_turned_off(setup, client, known, thing)
        else:
            _refuse_turned_off_client(setup, certificate, attached, _is_complete(setup, thing))
    return _register(setup, client, certificate, known, thing)


def _refuse_turned_off(setup: Setup, client: ClientEntry, known: Mapping[str, Any], thing: Result) -> None:
    """Refuse a certificate that the region knows and that somebody turned off.

    Raises:
        RefusedError: what was turned off, and how to admit the client again.
    """
    name, region = client["client_id"], setup.iot.region
    complete = _is_complete(setup, thing) and not superseded(setup.directory, name)
    wanted = turned_off.Wanted(_policy(setup, client), name if client["endpoint"] else None, complete)
    _refuse(turned_off.status_reason(known["certificate_id"], known["status"], region))
    _refuse(turned_off.attachment_reason(known, wanted, region))


def _refuse_turned_off_client(
    setup: Setup, certificate: x509.Certificate | None, attached: Sequence[Mapping[str, Any]], complete: bool
) -> None:
    """Refuse a client whose certificate the region does not know, and that somebody turned off.

    Args:
        attached: descriptions of the certificates that the client's thing already has.

    Raises:
        RefusedError: what was turned off, and how to admit the client again.
        AwsError: the issuing region refused, or did not answer.
    """
    region = setup.iot.region
    _refuse(turned_off.shut_out_reason([(each["certificateId"], each["status"]) for each in attached], region))
    if certificate is None:
        return
    identifier = pem.certificate_id(certificate)
    if setup.issuing:
        _refuse_turned_off_elsewhere(setup.issuing, identifier)
    elif setup.parameters["issue"] and complete and not attached:
        raise RefusedError(turned_off.deleted_reason(identifier, region))


def _refuse_turned_off_elsewhere(issuing: AwsClient, identifier: str) -> None:
    found = issuing.find("DescribeCertificate", certificateId=identifier)
    if found is None:
        raise AwaitedError(
            f"certificate {identifier} is unknown in {issuing.region}, which has to register it first: set up "
            f"{issuing.region}, then run again"
        )
    _refuse(turned_off.status_reason(identifier, found["certificateDescription"]["status"], issuing.region))


def _refuse(reason: str | None) -> None:
    if reason:
        raise RefusedError(reason)


def _is_complete(setup: Setup, thing: Result) -> bool:
    return bool(thing["diff"]["before"].get("attributes", {}).get(setup.parameters["endpoint_attribute"]))


def _policy(setup: Setup, client: ClientEntry) -> str:
    return str(client["policy"] or setup.parameters["policy"])


def _attached(iot: AwsClient, name: str) -> list[dict[str, Any]]:
    """The descriptions of the certificates that are attached to a thing."""
    principals = iot.pages("ListThingPrincipals", "principals", thingName=name)
    identifiers = [principal.rpartition("/")[2] for principal in principals if ":cert/" in principal]
    found = [iot.find("DescribeCertificate", certificateId=identifier) for identifier in identifiers]
    return [each["certificateDescription"] for each in found if each]


def _for_key(attached: Sequence[Mapping[str, Any]], key: bytes) -> x509.Certificate | None:
    """The certificate that AWS already has for this key: another controller may have had it issued."""
    active_last = sorted(attached, key=lambda each: each["status"] == turned_off.ACTIVE)
    found = [x509.load_pem_x509_certificate(each["certificatePem"].encode()) for each in active_last]
    return next((each for each in reversed(found) if pem.public_key(each) == key), None)


def _register(
    setup: Setup, client: ClientEntry, certificate: x509.Certificate | None, known: dict[str, Any], thing: Result
) -> Result:
    path = setup.directory / f"{client['client_id']}.crt"
    if certificate is None and not setup.parameters["issue"]:
        if not setup.check_mode:
            raise AwaitedError(f"certificate {path} is missing: see the message of the region that issues it")
        return {"changed": True, **thing["diff"]}
    if certificate and not path.exists() and not setup.check_mode:
        write_whole(path, pem.as_text(certificate).encode())
    if not setup.check_mode and not thing["diff"]["before"]:
        _thing(setup, client, check_mode=False, attributes=False)
    registered = ensure_present(setup.iot, certificate, known, _wanted(setup, client, path), setup.check_mode)
    if thing["changed"] and not setup.check_mode:
        # Last, since the attribute marks a complete set-up.
        _thing(setup, client, check_mode=False)
    return {
        "changed": thing["changed"] or registered["changed"],
        **{
            side: {"thing": thing["diff"][side], "certificate": registered["diff"][side]}
            for side in ("before", "after")
        },
    }


def _wanted(setup: Setup, client: ClientEntry, path: Path) -> dict[str, Any]:
    name = client["client_id"]
    return {
        "certificate_path": str(path),
        "csr_path": str(path.with_suffix(".csr")),
        "status": turned_off.ACTIVE if setup.restores(name) else None,
        "policies": [_policy(setup, client)],
        "thing": name if client["endpoint"] else None,
    }


def _thing(setup: Setup, client: ClientEntry, *, check_mode: bool, attributes: bool = True) -> Result:
    """The client's thing, with the attribute that names its endpoint; nothing for a client without one."""
    if not client["endpoint"]:
        return {"changed": False, "diff": {"before": {}, "after": {}}}
    thing = {
        "name": client["client_id"],
        "attributes": {setup.parameters["endpoint_attribute"]: client["endpoint"]} if attributes else None,
        "thing_type": None,
        "state": "present",
    }
    return ensure_thing(setup.iot, thing, check_mode)
