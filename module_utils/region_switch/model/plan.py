"""The changes of records that a mode needs. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .cname import Record
from .errors import RefusedError


@dataclass(frozen=True)
class Move:
    """The AWS Region that an endpoint's CNAME points at, and the one that it shall point at."""

    endpoint: str
    source: str
    target: str

    @property
    def needed(self) -> bool:
        return self.source != self.target


def build_moves(
    desired: Mapping[str, str], records: Mapping[str, Record | None], data_endpoints: Mapping[str, str]
) -> list[Move]:
    """Return one Move per endpoint, in the order of `desired`.

    Args:
        desired: `{endpoint: region}`.
        records: the CNAME of each endpoint as read.
        data_endpoints: `{region: host name of its iot:Data-ATS endpoint}`.

    Raises:
        RefusedError: an endpoint has no record, or one that points at no region of the inventory.
    """
    regions = {host: region for region, host in data_endpoints.items()}
    moves = []
    for endpoint, target in desired.items():
        record = records[endpoint]
        if record is None:
            raise RefusedError(
                f"record {endpoint}: no CNAME to one of {', '.join(data_endpoints.values())}: run setup.yml first"
            )
        if record.value not in regions:
            raise RefusedError(
                f"record {endpoint}: found {record.value}, expected the endpoint of a region of the inventory "
                f"({', '.join(data_endpoints.values())}): add its region to the inventory or correct the record"
            )
        moves.append(Move(endpoint, regions[record.value], target))
    return moves
