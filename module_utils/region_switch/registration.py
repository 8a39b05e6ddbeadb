"""Many clients in one region: the thing, the certificate and the attachments of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from .aws import AwsClient
from .certificate import certificate_id, ensure_certificate, read_certificate
from .device_names import refuse_other_names
from .errors import AwsError, RefusedError
from .module import Result
from .pace import TokenBucket
from .signing_request import superseded
from .thing import ensure_thing

# Of DescribeCertificate, ListPrincipalThings, RegisterCertificateWithoutCA …, each asked once for a client:
# https://docs.aws.amazon.com/general/latest/gr/iot-core.html, per second, account and Region.
CLIENTS_PER_SECOND = 10.0
WORKERS = 8

Client = Mapping[str, Any]


def ensure_clients(iot: AwsClient, parameters: dict[str, Any], check_mode: bool) -> Result:
    """Make each client known in a region, as far as its files on the controller allow.

    A client that cannot be made known does not hold up the others.

    Args:
        parameters: `clients` (`[{"client_id", "endpoint", "policy", "required"}]`; None for the endpoint makes no
            thing, None for the policy takes that of all), `directory`, `policy`, `endpoint_attribute`; `issue`:
            whether a certificate that does not exist yet is issued here; `foretold`: clients whose signing request a
            step before would have made anew, in check mode.

    Returns:
        `{"changed", "left_out": {client ID: reason}, "diff"}`.

    Raises:
        RefusedError: a client that is required cannot be made known, or a client ID is none.
    """
    clients: Sequence[Client] = parameters["clients"]
    for client in clients:
        refuse_other_names(client["client_id"])
    results = _each(clients, lambda client: _ensure_client(iot, client, parameters, check_mode))
    left_out = {client: str(found) for client, found in results.items() if isinstance(found, RefusedError | AwsError)}
    done = {client: found for client, found in results.items() if isinstance(found, dict)}
    changed = {client: found for client, found in done.items() if found["changed"]}
    left_out |= {client: found["reason"] for client, found in done.items() if found["reason"]}
    for client in clients:
        if client["required"] and client["client_id"] in left_out:
            raise RefusedError(f"client {client['client_id']}: {left_out[client['client_id']]}")
    return {
        "changed": bool(changed),
        "left_out": left_out,
        "diff": {side: {client: found[side] for client, found in changed.items()} for side in ("before", "after")},
    }


def retire_certificates(iot: AwsClient, parameters: dict[str, Any], check_mode: bool) -> Result:
    """Make the certificates that have a successor INACTIVE in a region; one that it does not know stays unknown.

    Args:
        parameters: `retire`: client IDs; `directory`.

    Returns:
        `{"changed", "retired": [certificate ID], "diff"}`.

    Raises:
        AwsError: AWS refused, or did not answer.
        RefusedError: a file holds no certificate, or a client ID is none.
    """
    paths = [path for client in parameters["retire"] for path in superseded(Path(parameters["directory"]), client)]
    statuses = {}
    for path in paths:
        identifier = certificate_id(read_certificate(path))
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


def _each(clients: Sequence[Client], act: Callable[[Client], Result]) -> dict[str, Result | RefusedError | AwsError]:
    pace = TokenBucket(CLIENTS_PER_SECOND)

    def attempt(client: Client) -> Result | RefusedError | AwsError:
        pace.acquire()
        try:
            return act(client)
        except (RefusedError, AwsError) as error:
            return error

    with ThreadPoolExecutor(WORKERS) as pool:
        return {client["client_id"]: found for client, found in zip(clients, pool.map(attempt, clients), strict=True)}


def _ensure_client(iot: AwsClient, client: Client, parameters: dict[str, Any], check_mode: bool) -> Result:
    name, directory = client["client_id"], Path(parameters["directory"])
    known = _ensure_thing(iot, client, parameters["endpoint_attribute"], check_mode)
    request, certificate = directory / f"{name}.csr", directory / f"{name}.crt"
    if check_mode and (name in parameters["foretold"] or (request.exists() and not certificate.exists())):
        return {"changed": True, "reason": None, **known["diff"]}
    reason = _no_certificate(request, certificate, bool(parameters["issue"]))
    if reason:
        return {"changed": known["changed"], "reason": reason, **known["diff"]}
    wanted = {
        "certificate_path": str(certificate),
        "csr_path": str(request) if request.exists() else None,
        "status": "ACTIVE",
        "policies": [client["policy"] or parameters["policy"]],
        "thing": name if client["endpoint"] else None,
        "state": "present",
    }
    admitted = ensure_certificate(iot, wanted, check_mode)
    return {
        "changed": known["changed"] or admitted["changed"],
        "reason": None,
        **{side: {"thing": known["diff"][side], "certificate": admitted["diff"][side]} for side in ("before", "after")},
    }


def _ensure_thing(iot: AwsClient, client: Client, attribute: str, check_mode: bool) -> Result:
    if not client["endpoint"]:
        return {"changed": False, "diff": {"before": {}, "after": {}}}
    thing = {
        "name": client["client_id"],
        "attributes": {attribute: client["endpoint"]},
        "thing_type": None,
        "state": "present",
    }
    return ensure_thing(iot, thing, check_mode)


def _no_certificate(request: Path, certificate: Path, issue: bool) -> str | None:
    if certificate.exists() or (issue and request.exists()):
        return None
    if request.exists():
        return f"found no {certificate}, expected the certificate that the issuing region made: see its line"
    return f"found no {request}, expected the client's signing request: run again when its host is on, or put it there"
