"""The source `index`: connected things in the fleet index, where the client ID is the thing's name.

Source: https://docs.aws.amazon.com/iot/latest/developerguide/managing-index.html
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from ..aws.clients import Aws, AwsClient
from ..aws.paced import Paced
from ..aws.quotas import Quotas
from ..aws.refusals import denied
from ..model.connection_state import seconds
from ..model.errors import AwsError, SwitchError
from ..model.findings import Finding, unanswered
from .source import Check, Connection, FleetSource
from .stream import asking
from .things import client_id_of, mapping, registered

# https://docs.aws.amazon.com/iot/latest/apireference/API_SearchIndex.html: results per page.
PAGE_SIZE = 100
# Attempts to read an index whose next page is refused because it changed while it was read.
READINGS = 5
INDEX = "AWS_Things"
CONNECTED = "connectivity.connected:true"
_ERRORS = {
    *("IndexNotReadyException", "InvalidRequestException"),
    *("InvalidQueryException", "ResourceNotFoundException"),
}
_WAIT = "wait until the index is built, then run again"


class IndexSource(FleetSource):
    """Connected things in the fleet index, which is updated within seconds."""

    # https://docs.aws.amazon.com/iot/latest/developerguide/device-connectivity-status.html
    lags = True

    def connected(self, aws: Aws, region: str, limit: Quotas, stop: threading.Event) -> Iterator[Connection]:
        return self._search(asking(aws.iot[region], limit.search, stop))

    def known(self, aws: Aws, region: str) -> Iterator[tuple[str, str]]:
        return registered(self, aws, region)

    def count(self, iot: AwsClient) -> int:
        return int(iot.call("GetStatistics", queryString=CONNECTED)["statistics"]["count"])

    def checks(self, iot: AwsClient, unused_id: str, target: bool) -> Mapping[str, Check]:
        return {"permission": partial(_may_search, iot, unused_id), "fleet_index": partial(_is_built, iot, target)}

    def _search(self, paced: Paced) -> Iterator[Connection]:
        """Read the whole index. If it refuses a next page (InvalidRequestException), it changed while it was read:
        it is read again from the start, and clients that were already found come twice.

        https://docs.aws.amazon.com/iot/latest/apireference/API_SearchIndex.html
        """
        for reading in range(1, READINGS + 1):
            pages = 0
            try:
                for page in paced.pages("SearchIndex", "things", queryString=CONNECTED, maxResults=PAGE_SIZE):
                    pages += 1
                    for thing in map(mapping, page):
                        yield self._connection(thing, paced.region)
            except AwsError as error:
                if error.code == "InvalidRequestException" and pages:
                    if reading < READINGS:
                        continue
                    raise SwitchError(
                        f"fleet index in {paced.region}: found the next page refused {READINGS} times ({error.text}): "
                        "run again when no things are changed"
                    ) from error
                if error.code not in _ERRORS:
                    raise
                raise SwitchError(
                    f"fleet index in {paced.region}: found {error.code} ({error.text}), "
                    "expected an ACTIVE index with connectivity: run setup.yml and wait until the index is built"
                ) from error
            return

    def _connection(self, thing: Mapping[str, Any], region: str) -> Connection:
        connectivity = mapping(thing.get("connectivity"))
        client_id = client_id_of(connectivity.get("clientId") or thing.get("thingName"), region)
        return Connection(client_id, self.endpoint(thing), region, seconds(connectivity.get("timestamp")) or 0.0)


def _may_search(iot: AwsClient, unused_id: str) -> list[Finding]:
    return denied(iot.region, lambda: iot.call("SearchIndex", queryString=f"thingName:{unused_id}", maxResults=1))


def _is_built(iot: AwsClient, target: bool) -> list[Finding]:
    """Check that the index is built, and that its configuration includes the connectivity of things."""
    try:
        things = iot.call("GetIndexingConfiguration").get("thingIndexingConfiguration") or {}
        described = iot.find("DescribeIndex", indexName=INDEX)
    except AwsError as error:
        # A region that half works may be the very reason for the move; its clients have been read before.
        return [replace(unanswered("fleet_index", iot.region, error), blocking=target or not error.temporary)]
    return _findings(iot.region, things, described)


def _findings(region: str, things: Mapping[str, object], described: Mapping[str, object] | None) -> list[Finding]:
    """Judge GetIndexingConfiguration's configuration of things, and DescribeIndex's answer, None for no index."""
    modes = {name: str(things.get(name) or "OFF") for name in ("thingIndexingMode", "thingConnectivityIndexingMode")}
    if described is None or "OFF" in modes.values():
        found = ", ".join(f"{name} {mode}" for name, mode in modes.items())
        expected = "an index of things and their connectivity (STATUS)"
        advice = f"run setup.yml --limit {region}, {_WAIT}"
    elif (status := described.get("indexStatus")) != "ACTIVE":
        found, expected, advice = f"the index {status}", "ACTIVE", _WAIT
    else:
        return []
    return [Finding("fleet_index", True, region, "", found, expected, advice)]
