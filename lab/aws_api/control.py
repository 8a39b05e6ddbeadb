"""The lab's control of the stand-in, under `/_lab/`: JSON in, JSON out, not part of AWS's interface."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any
from urllib.parse import unquote

from werkzeug.exceptions import BadRequest, HTTPException, NotFound
from werkzeug.wrappers import Request, Response

from lab.aws_api import identities
from lab.aws_api.identities import Identity
from lab.aws_api.stand_in import StandIn

PREFIX = "/_lab/"


class Control:
    """Answers control requests."""

    def __init__(self, stand_in: StandIn) -> None:
        self._stand_in = stand_in

    def answer(self, request: Request, raw_path: str) -> Response:
        """Answer a request; what is wrong with it comes back as {"error": …}."""
        try:
            content, status = self._route(request, raw_path.split("?")[0].removeprefix(PREFIX)), 200
        except HTTPException as error:
            content, status = {"error": error.description}, error.code or 500
        return Response(json.dumps(content) + "\n", status, content_type="application/json")

    def _route(self, request: Request, path: str) -> object:
        head, _, rest = path.partition("/")
        method = request.method
        match method, head:
            case "GET", "health":
                return {"status": "ok"}
            case "POST", "reset":
                self._stand_in.reset()
                return {}
            case "GET", "requests":
                return self._stand_in.log.after(request.args.get("after", 0, int))
            case (("PUT" | "GET"), "contract"):
                return self._contract(request)
            case "GET", "connections":
                return self._connections()
            case (("PUT" | "DELETE"), "connections"):
                return self._set_connection(request, rest)
            case (("PUT" | "GET" | "DELETE"), "faults"):
                return self._faults(request)
            case (("PUT" | "GET"), "settings"):
                return self._settings(request)
        raise NotFound(f"{method} {PREFIX}{path}: not a request of the lab")

    def _contract(self, request: Request) -> dict[str, Any]:
        contract = self._stand_in.contract
        if request.method == "PUT":
            contract.on_purpose = frozenset(_object(request).get("on_purpose", []))
        return contract.told(request.args.get("after", 0, int))

    def _connections(self) -> dict[str, dict[str, Any]]:
        return {
            region: {connection.client_id: asdict(connection) for connection in fleet.connections()}
            for region, fleet in self._stand_in.fleets().items()
        }

    def _set_connection(self, request: Request, path: str) -> dict[str, Any]:
        region, _, encoded = path.partition("/")
        client_id = unquote(encoded)
        fleet = self._stand_in.fleet(region)
        if fleet.broker is not None:
            raise BadRequest(f"region {region}: has a broker, which alone says who is connected")
        if not client_id:
            raise BadRequest(f"{PREFIX}connections/{path}: no client ID")
        if request.method == "DELETE":
            fleet.table.forget(client_id)
            return {}
        content = _object(request)
        if not content.pop("connected", True):
            fleet.table.disconnect(client_id, content.pop("disconnect_reason", "CONNECTION_LOST"))
            return {}
        at = content.pop("connected_since", None)
        try:
            fleet.table.connect(client_id, at=at, **content)
        except TypeError as error:
            raise BadRequest(f"connection: {error}") from error
        return {}

    def _faults(self, request: Request) -> list[dict[str, Any]]:
        if request.method != "GET":
            items = [] if request.method == "DELETE" else _json(request)
            if not isinstance(items, list):
                raise BadRequest("faults: expected a list")
            try:
                self._stand_in.faults.replace(items)
            except (TypeError, ValueError) as error:
                raise BadRequest(f"faults: {error}") from error
        return self._stand_in.faults.listed()

    def _settings(self, request: Request) -> dict[str, Any]:
        settings = self._stand_in.settings
        if request.method == "PUT":
            content = _object(request)
            for name, server in content.pop("name_servers", {}).items():
                try:
                    self._stand_in.zones.set_lag(name, float(server["lag_seconds"]))
                except KeyError as error:
                    raise BadRequest(f"name_servers: {error} is not known") from error
            if "identities" in content:
                content["identities"] = _identities(content["identities"])
            for name, value in content.items():
                if not hasattr(settings, name):
                    raise BadRequest(f"settings: {name!r} is not one")
                setattr(settings, name, value)
            self._stand_in.publish_all()
        return asdict(settings)


def _identities(content: Any) -> dict[str, Identity]:
    try:
        return identities.parse(content)
    except (AttributeError, TypeError, ValueError) as error:
        raise BadRequest(f"identities: {error}") from error


def _json(request: Request) -> Any:
    try:
        return json.loads(request.get_data() or b"{}")
    except json.JSONDecodeError as error:
        raise BadRequest(f"not JSON: {error}") from error


def _object(request: Request) -> dict[str, Any]:
    content = _json(request)
    if not isinstance(content, dict):
        raise BadRequest("expected a JSON object")
    return content
