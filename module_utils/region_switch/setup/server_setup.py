"""The two steps of setup with server certificates: the folder on the controller, and ACM in one region."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..aws.clients import AwsClient
from ..model.errors import AwsError, RefusedError
from ..module import Result
from . import acm
from .acm import Decision, Refusal, Served
from .server_pki import (
    Authority,
    Folder,
    Given,
    OwnAuthority,
    Writer,
    material,
    no_authority,
    read_authority,
    read_given,
    read_local,
    terms,
    work,
)

_AUTHORITY_PARTS = ("certificate", "private_key", "private_key_passphrase")

State = tuple[dict[str, Served], list[Refusal]]
# Per region: the operator's own ARNs, and its state or why that is not known.
States = Mapping[str, tuple[Mapping[str, str], State | AwsError]]


@dataclass(frozen=True)
class Pki:
    """The certificates of the inventory and of the folder.

    Attributes:
        managed: the endpoints whose certificates setup makes, in one region at least.
        authority: their CA; None where there is none yet, or none is needed.
    """

    folder: Folder
    endpoints: Sequence[str]
    managed: Sequence[str]
    given: Mapping[str, Given]
    authority: Authority | None

    def decide(self, endpoint: str, served: Served | None, now: dt.datetime) -> Decision | Refusal:
        """Decide what setup does with an endpoint's certificate in a region, without asking the region."""
        if served is not None and self.authority is None and endpoint not in self.given:
            return no_authority(served, self.folder)
        offered = material(self.folder, endpoint, self.given.get(endpoint), self.authority)
        return acm.decide(served, offered, now)


def read_pki(
    parameters: Mapping[str, Any], regions: Sequence[Mapping[str, Any]], now: dt.datetime, signing: bool
) -> Pki:
    """Read the folder and the certificates of the inventory.

    Args:
        parameters: `directory`, `endpoints`, `server_certificates`, `ca_common_name`, `ca_certificate`,
            and, for signing, `ca_private_key`, `ca_private_key_passphrase`.
        regions: `[{"name", "server_certificate_arns": {endpoint: ARN}}]`.

    Raises:
        RefusedError: the folder has files that setup did not make and the inventory does not provide.
    """
    endpoints = parameters["endpoints"]
    folder = Folder(Path(parameters["directory"]), parameters["ca_common_name"])
    given = read_given(parameters["server_certificates"] or [], endpoints, now)
    arns = [each["server_certificate_arns"] or {} for each in regions]
    managed = [each for each in endpoints if each not in given and not all(each in owned for owned in arns)]
    authority = None
    if managed or parameters["ca_certificate"]:
        own = OwnAuthority(*(parameters.get(f"ca_{each}") or "" for each in _AUTHORITY_PARTS))
        authority = read_authority(folder, own, signing)
    for endpoint in managed:
        read_local(folder, endpoint, authority)
    return Pki(folder, endpoints, managed, given, authority)


def ensure_folder(parameters: Mapping[str, Any], check_mode: bool) -> Result:
    """Check what each region serves, then make what is missing or due in the folder.

    Args:
        parameters: of `read_pki`, with `regions`, `key_type`, `ca_not_after`, `server_not_after`, `renew_days`.

    Returns:
        `{"changed", "issued": [endpoint], "warnings": [line], "diff"}`.

    Raises:
        RefusedError: it would overwrite what setup did not make, here or in a region.
        AwsError: AWS refuses.
    """
    now = dt.datetime.now(dt.UTC)
    offered = terms(parameters, now)
    pki = read_pki(parameters, parameters["regions"], now, signing=True)
    states = _states(parameters["regions"], pki.endpoints)
    served = _served(pki, states, now)
    to_do = work(pki.folder, pki.authority, pki.managed, served, offered)
    silent = {region: found for region, (_, found) in states.items() if isinstance(found, AwsError)}
    if to_do.authority and silent:
        raise RefusedError(
            f"{pki.folder.path}: there is no CA, and {'; '.join(str(error) for error in silent.values())}: "
            "making one needs to know what each region serves: run again when it answers"
        )
    writer = Writer(pki.folder, pki.endpoints, offered, check_mode)
    _write(writer, pki, to_do.authority, to_do.issue)
    return {
        "changed": bool(writer.after),
        "issued": to_do.issue,
        "warnings": [*to_do.warnings, *(f"{region} was not checked: {error}" for region, error in silent.items())],
        "diff": {"before": writer.before, "after": writer.after},
    }


def _served(pki: Pki, states: States, now: dt.datetime) -> dict[str, list[Served | None]]:
    """Per endpoint, the certificate of each region that answers, except where the operator provides an ARN.

    Raises:
        RefusedError: it would import over a certificate that setup did not import.
    """
    refusals = [refusal for _, found in states.values() if isinstance(found, tuple) for refusal in found[1]]
    served: dict[str, list[Served | None]] = {endpoint: [] for endpoint in pki.endpoints}
    for arns, found in states.values():
        for endpoint in pki.endpoints:
            if endpoint in arns or not isinstance(found, tuple):
                continue
            served[endpoint].append(found[0].get(endpoint))
            decision = pki.decide(endpoint, found[0].get(endpoint), now)
            refusals += [decision] if isinstance(decision, Refusal) else []
    acm.refuse(refusals)
    return served


def _write(writer: Writer, pki: Pki, make_authority: bool, issue: Sequence[str]) -> None:
    authority = writer.authority() if make_authority else pki.authority
    if authority is None:
        return
    writer.keep_authority(authority)
    for endpoint in issue:
        writer.issue(endpoint, authority)


def _states(regions: Sequence[Mapping[str, Any]], endpoints: Sequence[str]) -> States:
    """Each region's ARNs and state, or the error of a region that does not answer.

    Raises:
        AwsError: a region that answers refuses.
    """

    def ask(region: Mapping[str, Any]) -> State | AwsError:
        try:
            client = AwsClient("acm", region["name"], attempts=acm.ATTEMPTS)
            return _state(client, endpoints, region["server_certificate_arns"] or {})
        except AwsError as error:
            if error.uncertain and not error.unreadable:
                return error
            raise

    with ThreadPoolExecutor(max(1, len(regions))) as pool:
        states = list(pool.map(ask, regions))
    pairs = zip(regions, states, strict=True)
    return {each["name"]: (each["server_certificate_arns"] or {}, state) for each, state in pairs}


def _state(client: AwsClient, endpoints: Sequence[str], arns: Mapping[str, str]) -> State:
    return acm.region_state(AwsClient("iot", client.region, attempts=acm.ATTEMPTS), client, endpoints, arns)


def ensure_region(parameters: Mapping[str, Any], check_mode: bool) -> Result:
    """Import the endpoints' certificates into ACM of one region.

    Args:
        parameters: of `read_pki`, with `region` and its `server_certificate_arns`, and `planned`: in check
            mode, endpoints whose certificates an earlier task would have issued.

    Returns:
        `{"changed", "certificates": [{"endpoint", "arn", "own"}], "warnings": [line], "diff"}`; `own`: setup imported
        it, or would; no ARN: it is to be imported (check mode).

    Raises:
        RefusedError: it would import over a certificate that setup did not import.
        AwsError: AWS refuses.
    """
    now = dt.datetime.now(dt.UTC)
    region, arns = parameters["region"], parameters["server_certificate_arns"] or {}
    pki = read_pki(parameters, [{"name": region, "server_certificate_arns": arns}], now, signing=False)
    client = AwsClient("acm", region, attempts=acm.ATTEMPTS)
    found, refusals = _state(client, pki.endpoints, arns)
    mine = [endpoint for endpoint in pki.endpoints if endpoint not in arns]
    decisions = {endpoint: pki.decide(endpoint, found.get(endpoint), now) for endpoint in mine}
    acm.refuse([*refusals, *(each for each in decisions.values() if isinstance(each, Refusal))])
    result: Result = {"changed": False, "certificates": [], "warnings": [], "diff": {"before": {}, "after": {}}}
    for endpoint in pki.endpoints:
        decision = decisions.get(endpoint)
        if isinstance(decision, Decision):
            planned = check_mode and endpoint in parameters["planned"]
            _ensure_imported(region, pki, found.get(endpoint), endpoint, decision, result, check_mode, planned)
        else:
            result["certificates"].append({"endpoint": endpoint, "arn": arns[endpoint], "own": False})
    return result


def _ensure_imported(
    region: str,
    pki: Pki,
    served: Served | None,
    endpoint: str,
    decision: Decision,
    result: Result,
    check_mode: bool,
    planned: bool,
) -> None:
    arn = served.arn if served else None
    offered = material(pki.folder, endpoint, pki.given.get(endpoint), pki.authority)
    if planned and served is not None and acm.is_setups(served, offered):
        decision, offered = Decision(acm.IMPORT), replace(offered, certificate=None)
    if decision.action == acm.IMPORT:
        if not check_mode:
            arn = acm.import_certificate(acm.importer(region), endpoint, offered, served)
        present = served.certificate if served else None
        result["changed"] = True
        result["diff"]["before"][endpoint] = present.described() if present else ""
        result["diff"]["after"][endpoint] = offered.certificate.described() if offered.certificate else "imported"
    own = served is None or acm.is_setups(served, offered)
    result["certificates"].append({"endpoint": endpoint, "arn": arn, "own": own})
    result["warnings"] += [decision.warning] if decision.warning else []
