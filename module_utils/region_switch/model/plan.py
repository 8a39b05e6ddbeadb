"""What has to change: desired minus actual. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .cname import Record
from .errors import RefusedError


@dataclass(frozen=True)
class Move:
    """Where an endpoint's CNAME points and where it shall point; both are AWS Regions."""

    endpoint: str
    source: str
    target: str

    @property
    def needed(self) -> bool:
        return self.source != self.target


def build_moves(
    desired: Mapping[str, str], records: Mapping[str, Record | None], targets: Mapping[str, str]
) -> list[Move]:
    """Return one Move per endpoint, in the order of `desired`.

    Args:
        desired: `{endpoint: region}`.
        records: the CNAME of each endpoint as read.
        targets: `{region: host name of its iot:Data-ATS endpoint}`.

    Raises:
        RefusedError: an endpoint without record, or one that points at no region of the inventory.
    """
    regions = {host: region for region, host in targets.items()}
    moves = []
    for endpoint, target in desired.items():
        record = records[endpoint]
        if record is None:
            raise RefusedError(
                f"record {endpoint}: found none, expected a CNAME to one of {', '.join(targets.values())}: "
                "run setup.yml first"
            )
        if record.value not in regions:
            raise RefusedError(
                f"record {endpoint}: found {record.value}, expected the endpoint of a region of the inventory "
                f"({', '.join(targets.values())}): add its region to the inventory or correct the record"
            )
        moves.append(Move(endpoint, regions[record.value], target))
    return moves
