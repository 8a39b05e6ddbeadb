"""Who is connected where, by AWS IoT fleet indexing."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from .aws import AwsClient
from .errors import AwsError, SwitchError
from .pace import TokenBucket
from .route53 import plain

# https://docs.aws.amazon.com/general/latest/gr/iot_device_management.html: SearchIndex requests per second.
SEARCH_RATE = 15.0
# https://docs.aws.amazon.com/iot/latest/apireference/API_SearchIndex.html: results per page.
PAGE_SIZE = 100
_INDEX_ERRORS = {
    *("IndexNotReadyException", "InvalidRequestException"),
    *("InvalidQueryException", "ResourceNotFoundException"),
}


@dataclass(frozen=True, slots=True)
class Client:
    """One connection: an MQTT client in one region.

    Attributes:
        endpoint: the endpoint it uses, lower case, empty where its thing does not say.
        connected_since: epoch seconds by AWS's clock, 0 where unknown.
    """

    client_id: str
    endpoint: str
    region: str
    connected_since: float


def connected_clients(iot: AwsClient, attribute: str) -> Iterator[Client]:
    """Yield the connected clients of a region, page by page.

    AWS indexes the connectivity of registered things only, where the client ID is the thing's name
    (https://docs.aws.amazon.com/iot/latest/developerguide/managing-index.html).

    Args:
        attribute: thing attribute that names the endpoint.

    Raises:
        SwitchError: the region does not index connectivity.
    """
    bucket = TokenBucket(SEARCH_RATE)
    parameters: dict[str, Any] = {"queryString": "connectivity.connected:true", "maxResults": PAGE_SIZE}
    while True:
        bucket.acquire()
        try:
            answer = iot.call("SearchIndex", **parameters)
        except AwsError as error:
            if error.code not in _INDEX_ERRORS:
                raise
            raise SwitchError(
                f"fleet index in {iot.region}: found {error.code} ({error.text}), "
                "expected an ACTIVE index with connectivity: run setup.yml and wait until the index is built"
            ) from error
        for thing in answer.get("things", []):
            yield _client(thing, attribute, iot.region)
        if not answer.get("nextToken"):
            return
        parameters["nextToken"] = answer["nextToken"]


def _client(thing: Mapping[str, Any], attribute: str, region: str) -> Client:
    connectivity = thing.get("connectivity", {})
    client_id = connectivity.get("clientId") or thing["thingName"]
    since = connectivity.get("timestamp", 0) / 1000
    return Client(client_id, plain(thing.get("attributes", {}).get(attribute, "")), region, since)


def discover(clients: Mapping[str, AwsClient], attribute: str) -> list[Client]:
    """Return every connected client of all regions; `clients` are the `iot` clients by region."""
    with ThreadPoolExecutor(max_workers=len(clients)) as pool:
        found = pool.map(lambda iot: list(connected_clients(iot, attribute)), clients.values())
        return [client for region in found for client in region]


def per_region(found: Collection[Client], regions: Collection[str]) -> dict[str, list[dict[str, Any]]]:
    """Return `{region: [{"client_id", "endpoint", "connected_since"}]}`, sorted by client ID."""
    return {
        region: [
            {"client_id": client.client_id, "endpoint": client.endpoint, "connected_since": client.connected_since}
            for client in sorted(found, key=lambda client: client.client_id)
            if client.region == region
        ]
        for region in regions
    }
