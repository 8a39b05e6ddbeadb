"""The AWS API of one account: the answers of the services that a move asks, and what goes wrong with them.

What is raised is what botocore raises, and answers have AWS's shape, so that the engine's own code reads them.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

from ansible.module_utils.region_switch.aws import answers
from ansible.module_utils.region_switch.aws.clients import Aws, AwsClient
from botocore.exceptions import BotoCoreError, ClientError, EndpointConnectionError
from botocore.session import get_session

from .devices import Device
from .scheduler import Process, Scheduler
from .zone import TTL, Zone

ENDPOINTS = ["mqtt1.example.com", "mqtt2.example.com"]
REGIONS = ["us-east-1", "ap-northeast-1", "eu-west-1"]
HOSTS = {region: f"a1b2c3-ats.iot.{region}.amazonaws.com" for region in REGIONS}
EPOCH = 1.79e9
ATTRIBUTE = "mqtt_endpoint"
# Things per page of the index, so that a few devices are a fleet.
PAGE = 2
_SERVICES = {
    "GetConnection": "iot-data", "ListResourceRecordSets": "route53", "GetChange": "route53",
    "ListServiceQuotas": "service-quotas", "GetHostedZone": "route53",
}  # fmt: skip
WRITES = {"DeleteConnection", "ChangeResourceRecordSets"}

Answer = dict[str, Any]


@dataclass
class Fault:
    """What goes wrong with requests.

    Attributes:
        kind: `throttled`, `failing` (500), `refused` (400), `silent` (no answer, not carried out), `unheard` (no
            answer, carried out), `unreadable` (a proxy's page with status 200).
        operation: empty for all.
        region: empty for all.
        share: how many of 4 clients it meets.
        left: how many requests it meets yet.
        until: the world's seconds.
    """

    kind: str
    operation: str = ""
    region: str = ""
    share: int = 4
    left: int = 1_000_000
    until: float = float("inf")

    def meets(self, operation: str, region: str, parameters: Answer, now: float) -> bool:
        if now > self.until or not self.left:
            return False
        if (self.operation and self.operation != operation) or (self.region and self.region != region):
            return False
        client = parameters.get("clientId")
        if client is not None and sum(client.encode()) % 4 >= self.share:
            return False
        self.left -= 1
        return True


@dataclass
class _Connection:
    device: Device
    since: float


class Account:
    """Connections by region, the index of them, and a hosted zone.

    Attributes:
        shut: regions whose MQTT endpoint lets nobody in.
        index_lag: seconds after which the index knows of a connection, and of its end.
        point: called before and after each request with its process and a name.
        on_delete, on_write: called when a request of these kinds is sent (`on_delete`), fulfilled (`on_deleted`), or
            has changed records.
    """

    def __init__(self, scheduler: Scheduler, seed: int) -> None:
        self.scheduler = scheduler
        self.random = random.Random(seed)
        self.zone = Zone(scheduler, {name: record(name, HOSTS[REGIONS[0]]) for name in ENDPOINTS})
        self.devices: dict[str, Device] = {}
        self.connections: dict[str, dict[str, _Connection]] = {region: {} for region in REGIONS}
        self.left: dict[tuple[str, str], float] = {}
        self.shut: set[str] = set()
        self.index_lag = 0.0
        self.faults: list[Fault] = []
        self.requests: dict[str, int] = {}
        self.point: Callable[[Process, str], None] = lambda _process, _name: None
        self.on_delete: Callable[[Process, str, str], None] = lambda *_: None
        self.on_deleted: Callable[[Process, str, str], None] = lambda *_: None
        self.on_write: Callable[[Process, dict[str, str]], None] = lambda *_: None
        self.on_search: Callable[[Process, str, list[Answer], bool], None] = lambda *_: None

    def region_of(self, host: str) -> str:
        return next(region for region, each in HOSTS.items() if each == host)

    def where(self) -> dict[str, str]:
        """`{endpoint: region}` of the records as they are."""
        return {name: self.region_of(host) for name, host in self.zone.table().items()}

    def add(self, client_id: str, endpoint: str, region: str = "", **how: Any) -> Device:
        device = self.devices[client_id] = Device(self, client_id, endpoint, **how)
        if region:
            device.connect(region)
        return device

    def connected(self, device: Device, region: str) -> None:
        self.left.pop((region, device.client_id), None)
        self.connections[region][device.client_id] = _Connection(device, self.scheduler.time)

    def disconnected(self, device: Device, region: str) -> None:
        if self.connections[region].pop(device.client_id, None) is not None:
            self.left[region, device.client_id] = self.scheduler.time

    def linger(self, device: Device, region: str, seconds: float) -> None:
        connection = self.connections[region][device.client_id]

        def gone() -> None:
            if self.connections[region].get(device.client_id) is connection:
                self.disconnected(device, region)

        self.scheduler.after(seconds, gone)

    def request(self, region: str, operation: str, **parameters: Any) -> Answer:
        """One request: on its way, carried out, answered.

        Raises:
            ClientError: an error of AWS.
            EndpointConnectionError: no answer.
        """
        process = self.scheduler.current.process
        self.point(process, operation)
        if operation == "DeleteConnection":
            self.on_delete(process, region, parameters["clientId"])
        self.requests[operation] = self.requests.get(operation, 0) + 1
        self.scheduler.sleep(self.random.uniform(0.01, 0.1))
        fault = next((each for each in self.faults if each.meets(operation, region, parameters, self.scheduler.time)),
                     None)  # fmt: skip
        answer = self._carry_out(process, region, operation, parameters, fault)
        self.scheduler.sleep(self.random.uniform(0.01, 0.1))
        self.point(process, f"{operation} done")
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _carry_out(
        self, process: Process, region: str, operation: str, parameters: Answer, fault: Fault | None
    ) -> Answer | Exception:
        if fault is not None and fault.kind not in ("unheard", "unreadable"):
            return _failure(fault.kind, operation)
        if fault is not None and fault.kind == "unreadable" and operation not in WRITES:
            return _page_of_a_proxy(operation)
        try:
            answer: Answer = getattr(self, f"_{_snake(operation)}")(process, region, **parameters)
        except ClientError as error:
            return error
        if fault is not None:
            return _failure("silent", operation) if fault.kind == "unheard" else {}
        return answer

    def _describe_endpoint(self, _process: Process, region: str, **_: Any) -> Answer:
        return {"endpointAddress": HOSTS[region]}

    def indexed(self, region: str) -> dict[str, float]:
        """Whom the index takes for connected: `{client ID: since}`."""
        now, lag = self.scheduler.time, self.index_lag
        here = {name: each.since for name, each in self.connections[region].items() if each.since <= now - lag}
        gone = {name: at for (where, name), at in self.left.items() if where == region and at > now - lag}
        return {**here, **{name: at - 60 for name, at in gone.items() if name not in here}}

    def _search_index(self, process: Process, region: str, nextToken: str = "", **_: Any) -> Answer:  # noqa: N803
        there = sorted(self.indexed(region).items())
        page = [entry for entry in there if entry[0] > nextToken][:PAGE]
        things = [
            {
                "thingName": client_id,
                "thingId": client_id,
                "attributes": {ATTRIBUTE: self.devices[client_id].endpoint},
                "connectivity": {"connected": True, "timestamp": _milliseconds(since), "clientId": client_id},
            }
            for client_id, since in page
        ]
        self.on_search(process, region, things, not nextToken)
        more = bool(page) and page[-1][0] < there[-1][0]
        return {"things": things, **({"nextToken": page[-1][0]} if more else {})}

    def _list_things(self, _process: Process, _region: str, **_: Any) -> Answer:
        found = sorted(self.devices.items())
        return {"things": [{"thingName": name, "attributes": {ATTRIBUTE: each.endpoint}} for name, each in found]}

    def _get_connection(self, _process: Process, region: str, clientId: str) -> Answer:  # noqa: N803
        found = self.connections[region].get(clientId)
        if found is None:
            if (region, clientId) in self.left:
                return {"connected": False, "thingName": clientId}
            raise _client_error("GetConnection", "ResourceNotFoundException", 404)
        return {
            "connected": True, "thingName": clientId, "cleanSession": False, "sessionExpiry": 3600,
            "keepAliveDuration": 30, "connectedSince": _milliseconds(found.since),
        }  # fmt: skip

    def _delete_connection(self, process: Process, region: str, clientId: str, **_: Any) -> Answer:  # noqa: N803
        found = self.connections[region].get(clientId)
        self.on_deleted(process, region, clientId)
        if found is None:
            raise _client_error("DeleteConnection", "ResourceNotFoundException", 404)
        self.disconnected(found.device, region)
        if found.device.region == region:
            found.device.lost()
        return {}

    def _list_service_quotas(self, _process: Process, _region: str, **_: Any) -> Answer:
        return {"Quotas": []}

    def _list_resource_record_sets(
        self, _process: Process, _region: str, StartRecordName: str, **_: Any  # noqa: N803
    ) -> Answer:  # fmt: skip
        sets = self.zone.sets
        return {"ResourceRecordSets": [sets[name] for name in sorted(sets) if name >= StartRecordName.rstrip(".")]}

    def _get_hosted_zone(self, _process: Process, _region: str, **_: Any) -> Answer:
        return {"DelegationSet": {"NameServers": []}}

    def _change_resource_record_sets(
        self, process: Process, _region: str, ChangeBatch: Answer, **_: Any  # noqa: N803
    ) -> Answer:  # fmt: skip
        sets = dict(self.zone.sets)
        for change in ChangeBatch["Changes"]:
            entry = change["ResourceRecordSet"]
            name = entry["Name"].rstrip(".")
            if change["Action"] == "DELETE":
                if sets.get(name) != entry:
                    raise _client_error("ChangeResourceRecordSets", "InvalidChangeBatch", 400)
                del sets[name]
            elif name in sets:
                raise _client_error("ChangeResourceRecordSets", "InvalidChangeBatch", 400)
            else:
                sets[name] = dict(entry)
        before = self.where()
        self.zone.write(sets)
        self.on_write(process, before)
        return {"ChangeInfo": {"Id": "/change/C1", "Status": "PENDING"}}

    def _get_change(self, _process: Process, _region: str, **_: Any) -> Answer:
        status = "INSYNC" if self.scheduler.time >= self.zone.insync_at() else "PENDING"
        return {"ChangeInfo": {"Id": "/change/C1", "Status": status}}


def record(name: str, host: str) -> Answer:
    return {"Name": f"{name}.", "Type": "CNAME", "TTL": TTL, "ResourceRecords": [{"Value": host}]}


def _milliseconds(time: float) -> int:
    return int((EPOCH + time) * 1000)


def _client_error(operation: str, code: str, status: int) -> ClientError:
    answer = {
        "Error": {"Code": code, "Message": f"{code} of the world."},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    return ClientError(answer, operation)


def _failure(kind: str, operation: str) -> Exception:
    match kind:
        case "throttled":
            return _client_error(operation, "ThrottlingException", 429)
        case "failing":
            return _client_error(operation, "InternalFailureException", 500)
        case "refused":
            return _client_error(operation, "InvalidRequestException", 400)
    return EndpointConnectionError(endpoint_url=f"https://{operation}.invalid")


def _page_of_a_proxy(operation: str) -> Answer | Exception:
    """What the engine's client makes of HTML with status 200."""
    model = _model(_SERVICES.get(operation, "iot"))
    shape = model.operation_model(operation).output_shape
    answer = {"status_code": 200, "headers": {}, "body": b"<html>Sign in</html>", "context": {}}
    try:
        parsed: Answer = answers.Parsers().create_parser(model.resolved_protocol).parse(answer, shape)
    except BotoCoreError as error:
        return error
    return parsed


@cache
def _model(service: str) -> Any:
    return get_session().get_service_model(service)


def _snake(operation: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in operation).lstrip("_")


class WorldClient(AwsClient):
    """A client of the engine whose requests go to the account."""

    def __init__(self, account: Account, region: str) -> None:
        self.region = region
        self._account = account

    def _method(self, operation: str) -> Callable[..., Answer]:
        return partial(self._account.request, self.region, operation)


class WorldAws(Aws):
    """The clients of a run."""

    def __init__(self, account: Account, regions: Sequence[str]) -> None:
        super().__init__(regions)
        self._everywhere: dict[str, AwsClient] = {region: WorldClient(account, region) for region in regions}
        self._global = WorldClient(account, "")

    iot = property(lambda self: self._everywhere)
    probing = property(lambda self: self._everywhere)
    data = property(lambda self: self._everywhere)
    service_quotas = property(lambda self: self._everywhere)
    route53 = property(lambda self: self._global)
    route53_writer = property(lambda self: self._global)


__all__ = ["ENDPOINTS", "HOSTS", "REGIONS", "Account", "Fault", "WorldAws"]
