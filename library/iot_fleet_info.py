#!/usr/bin/python
from __future__ import annotations

DOCUMENTATION = r"""
module: iot_fleet_info
short_description: Report which MQTT clients are connected in which region
description:
  - Finds the connected clients of each region by the fleet index of AWS IoT, by the things of the registry, or by a
    list of client IDs.
  - The fleet does not have to fit into memory.
options:
  regions:
    description: The AWS Regions to ask.
    type: list
    elements: str
    required: true
  limit:
    description: Maximum number of clients in RV(clients); all are counted.
    type: int
    default: 1000
extends_documentation_fragment:
  - region_switch.info
  - region_switch.fleet
requirements: [boto3]
author: The maintainers of this repository
"""

EXAMPLES = r"""
- name: List the connected clients
  iot_fleet_info:
    regions: [us-east-1, ap-northeast-1]
  register: fleet
"""

RETURN = r"""
clients:
  description: The connected clients of each region, sorted by client ID, at most O(limit) of them.
  returned: always
  type: dict
  sample:
    us-east-1:
      - {client_id: client_01, endpoint: mqtt1.example.com, connected_since: 1795466700.12}
counts:
  description: Number of connected clients in each region.
  returned: always
  type: dict
  sample: {us-east-1: 1}
endpoints:
  description: Number of connected clients per region and endpoint; the endpoint is empty for clients without one.
  returned: always
  type: dict
  sample: {us-east-1: {mqtt1.example.com: 1}}
truncated:
  description: Whether clients were left out of RV(clients).
  returned: always
  type: bool
  sample: false
"""

from collections import Counter
from operator import attrgetter
from typing import Any

from ansible.module_utils.region_switch.model.option import argument_spec, given
from ansible.module_utils.region_switch.model.options import FleetOptions, refuse_ignored
from ansible.module_utils.region_switch.module import run_module

ARGUMENT_SPEC: dict[str, Any] = {
    "regions": {"type": "list", "elements": "str", "required": True},
    **argument_spec(FleetOptions),
    "limit": {"type": "int", "default": 1000},
}


def _act(parameters: dict[str, Any], _check_mode: bool) -> dict[str, Any]:
    from ansible.module_utils.region_switch.aws import quotas
    from ansible.module_utils.region_switch.aws.clients import Aws
    from ansible.module_utils.region_switch.fleet import sources
    from ansible.module_utils.region_switch.fleet.source import Connection
    from ansible.module_utils.region_switch.fleet.stream import stream

    refuse_ignored(parameters)
    regions = parameters["regions"]
    aws = Aws(regions)
    source = sources.chosen(given(FleetOptions, parameters))
    counts: dict[str, Counter[str]] = {region: Counter() for region in regions}
    listed: dict[str, list[Connection]] = {region: [] for region in regions}
    left = parameters["limit"]
    for batch in stream(aws, regions, source, {region: quotas.read(aws, region) for region in regions}):
        for number, client in enumerate(batch):
            counts[client.region][client.endpoint] += 1
            if number < left:
                listed[client.region].append(client)
        left -= len(batch)
    return {
        "changed": False,
        "clients": {
            region: [_entry(client) for client in sorted(listed[region], key=attrgetter("client_id"))]
            for region in regions
        },
        "counts": {region: counts[region].total() for region in regions},
        "endpoints": {region: dict(sorted(counts[region].items())) for region in regions},
        "truncated": left < 0,
    }


def _entry(client: Any) -> dict[str, Any]:
    return {name: getattr(client, name) for name in ("client_id", "endpoint", "connected_since")}


def main() -> None:
    run_module(ARGUMENT_SPEC, _act)


if __name__ == "__main__":
    main()
