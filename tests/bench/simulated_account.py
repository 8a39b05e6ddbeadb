"""An AWS account with any number of clients, computed instead of kept, that answers boto3 inside its own process.

Every request is made and signed, and every answer parsed, as with AWS; only the wire is left out, since a million
clients' requests over it would take hours of CPU on either side. What is known of a client is one
byte of a file, how often it was told to leave, so that the account outlives the process that asks it.
"""

from __future__ import annotations

import dataclasses
import io
import itertools
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ansible.module_utils.region_switch.aws import clients, data_plane, quotas
from ansible.module_utils.region_switch.model.errors import AwsError
from botocore.awsrequest import AWSPreparedRequest, AWSRequest, AWSResponse

OLD, NEW = "us-east-1", "ap-northeast-1"
HOSTS = {region: f"a2simulated-ats.iot.{region}.amazonaws.com" for region in (OLD, NEW)}
ENDPOINT = "mqtt.example.com"
ZONE_ID = "Z0SIMULATED000000000"
# Raised until this machine is the limit; the clients' real quotas would only make it wait.
RATES = {"L-6F708547": 2000.0, "GetConnection API TPS": 6000.0, "L-AEA1E176": 4000.0, "L-589D5E1D": 4000.0}
# SearchIndex has no quota in Service Quotas' answer: 15 per second is AWS's default.
SEARCH_RATE = 1000.0
SINCE = 1_700_000_000_000
CHUNK = 1 << 16
OPERATIONS = {"DELETE": "DeleteConnection", "GET": "GetConnection"}
PER_CLIENT = {"SearchIndex", "GetConnection", "DeleteConnection"}

_ZONE = """<?xml version="1.0"?>
<GetHostedZoneResponse xmlns="https://route53.amazonaws.com/doc/2013-04-01/"><HostedZone><Id>/hostedzone/Z1</Id>
<Name>example.com.</Name><CallerReference>x</CallerReference><Config><PrivateZone>false</PrivateZone></Config>
</HostedZone><DelegationSet><NameServers><NameServer>ns-1.awsdns-1.com</NameServer></NameServers></DelegationSet>
</GetHostedZoneResponse>"""
_RECORDS = f"""<?xml version="1.0"?>
<ListResourceRecordSetsResponse xmlns="https://route53.amazonaws.com/doc/2013-04-01/"><ResourceRecordSets>
<ResourceRecordSet><Name>{ENDPOINT}.</Name><Type>CNAME</Type><TTL>0</TTL>
<ResourceRecords><ResourceRecord><Value>{HOSTS[NEW]}</Value></ResourceRecord></ResourceRecords></ResourceRecordSet>
</ResourceRecordSets><IsTruncated>false</IsTruncated><MaxItems>10</MaxItems></ListResourceRecordSetsResponse>"""


_CALLER = """<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult>
<Arn>arn:aws:iam::123456789012:user/operator</Arn><UserId>AIDA</UserId><Account>123456789012</Account>
</GetCallerIdentityResult></GetCallerIdentityResponse>"""


class _Raw(io.BytesIO):
    """What botocore reads an answer from."""

    def stream(self, **_: object) -> Iterator[bytes]:
        yield self.read()


class Account:
    """Clients that were all left in OLD by records that point at NEW, where each comes once it is told to leave.

    Args:
        told: the file of counts, one byte a client.
        kill_after: SIGKILL this process when so many requests to leave were fulfilled; 0: never.
        before_kill: called just before.
    """

    def __init__(self, told: Path, kill_after: int, before_kill: Callable[[], None]) -> None:
        self._told = os.open(told, os.O_RDWR)
        self._size = told.stat().st_size
        self._kill_after = kill_after
        self._before_kill = before_kill
        self._fulfilled = itertools.count(1)
        self.calls: dict[str, itertools.count[int]] = {}

    def install(self) -> None:
        """Answer every request of this process from now on, at paces that do not make it wait."""
        clients._session().events.register("before-send", self._answer)
        data_plane.Wire.send = lambda _, request: self._answer_wire(request)
        defaults = quotas.defaults
        quotas.defaults = lambda region: dataclasses.replace(defaults(region), search=SEARCH_RATE)

    def install_directly(self) -> None:
        """Answer what is asked per client and per page without botocore, or what stands in for it."""
        self.install()
        through_botocore = clients.AwsClient.call

        def call(client: clients.AwsClient, operation: str, **parameters: Any) -> dict[str, Any]:
            if operation not in PER_CLIENT:
                return through_botocore(client, operation, **parameters)
            next(self.calls.setdefault(operation, itertools.count()))
            path, body = str(parameters.get("clientId")), json.dumps(parameters).encode()
            status, answer = getattr(self, f"_{operation}")(client.region, path, body)
            if status != HTTPStatus.OK:
                raise AwsError(operation, client.region, "ResourceNotFoundException", status, answer["message"])
            return dict(answer)

        clients.AwsClient.call = call

    def _answer(self, request: AWSRequest, event_name: str, **_: object) -> AWSResponse:
        operation = event_name.rpartition(".")[2]
        next(self.calls.setdefault(operation, itertools.count()))
        url = urlsplit(request.url)
        region = NEW if NEW in str(url.hostname) else OLD
        status, body = getattr(self, f"_{operation}")(region, url.path, request.body)
        content = body if isinstance(body, str) else json.dumps(body)
        kind = "text/xml" if content.startswith("<") else "application/json"
        return AWSResponse(request.url, status, {"content-type": kind}, _Raw(content.encode()))

    def _answer_wire(self, request: AWSPreparedRequest) -> data_plane.Answer:
        """Answer what the engine signs itself, and would send over a connection of botocore's."""
        answer = self._answer(request, f"before-send.{OPERATIONS[request.method]}")
        return answer.status_code, answer.headers, answer.content

    def _ListResourceRecordSets(self, *_: object) -> tuple[int, str]:  # noqa: N802 - AWS's name
        return 200, _RECORDS

    def _GetCallerIdentity(self, *_: object) -> tuple[int, str]:  # noqa: N802 - AWS's name
        return 200, _CALLER

    def _GetHostedZone(self, *_: object) -> tuple[int, str]:  # noqa: N802
        return 200, _ZONE

    def _DescribeEndpoint(self, region: str, *_: object) -> tuple[int, Any]:  # noqa: N802
        return 200, {"endpointAddress": HOSTS[region]}

    def _ListServiceQuotas(self, *_: object) -> tuple[int, Any]:  # noqa: N802
        return 200, {"Quotas": [{"QuotaCode": key, "QuotaName": key, "Value": value} for key, value in RATES.items()]}

    def _SearchIndex(self, region: str, _: str, body: bytes) -> tuple[int, Any]:  # noqa: N802
        asked = json.loads(body)
        found, after = self._connected(region, int(asked.get("nextToken", 0)), asked["maxResults"])
        answer: dict[str, Any] = {"things": [_thing(number) for number in found]}
        if after < self._size:
            answer["nextToken"] = str(after)
        return 200, answer

    def _connected(self, region: str, number: int, limit: int) -> tuple[list[int], int]:
        """The next clients that are connected in a region, and where to look on."""
        found: list[int] = []
        while number < self._size:
            for told in os.pread(self._told, CHUNK, number):
                if bool(told) == (region == NEW):
                    found.append(number)
                number += 1
                if len(found) == limit:
                    return found, number
        return found, number

    def _GetConnection(self, region: str, path: str, _: object) -> tuple[int, Any]:  # noqa: N802
        told = self._times_told(_number(path))
        connected = bool(told) == (region == NEW)
        return 200, {"connected": connected, "connectedSince": time.time_ns() // 10**6 if told else SINCE}

    def _DeleteConnection(self, _: str, path: str, __: object) -> tuple[int, Any]:  # noqa: N802
        number = _number(path)
        told = self._times_told(number)
        os.pwrite(self._told, bytes([told + 1]), number)
        if next(self._fulfilled) == self._kill_after:
            self._before_kill()
            os.kill(os.getpid(), signal.SIGKILL)
        return (404, {"message": "No such connection"}) if told else (200, {})

    def _times_told(self, number: int) -> int:
        return os.pread(self._told, 1, number)[0]


def _thing(number: int) -> dict[str, Any]:
    name = f"device-{number:07}"
    return {
        "thingName": name,
        "attributes": {"mqtt_endpoint": ENDPOINT},
        "connectivity": {"connected": True, "timestamp": SINCE, "clientId": name},
    }


def _number(path: str) -> int:
    return int(path.rpartition("-")[2])
