#!/usr/bin/python
from __future__ import annotations

DOCUMENTATION = r"""
module: iot_fleet_info
short_description: Tell which MQTT clients are connected in which region
description:
  - Asks the fleet index of AWS IoT in every region. Things whose name is not the client ID are not seen.
options:
  regions:
    description: The AWS Regions to ask.
    type: list
    elements: str
    required: true
  endpoint_attribute:
    description: Thing attribute that says which endpoint a client uses.
    type: str
    default: mqtt_endpoint
extends_documentation_fragment:
  - region_switch.info
requirements: [boto3]
author: The maintainers of this repository
"""

EXAMPLES = r"""
- name: See who is connected where
  iot_fleet_info:
    regions: [us-east-1, ap-northeast-1]
  register: fleet
"""

RETURN = r"""
clients:
  description: The connected clients of each region, sorted by client ID.
  returned: always
  type: dict
  sample:
    us-east-1:
      - {client_id: client_01, endpoint: mqtt1.example.com, connected_since: 1795466700.12}
counts:
  description: How many clients are connected in each region.
  returned: always
  type: dict
  sample: {us-east-1: 1}
"""

from typing import Any

from ansible.module_utils.region_switch.aws import AwsClient
from ansible.module_utils.region_switch.fleet import discover, per_region
from ansible.module_utils.region_switch.module import run_module

ARGUMENT_SPEC: dict[str, Any] = {
    "regions": {"type": "list", "elements": "str", "required": True},
    "endpoint_attribute": {"type": "str", "default": "mqtt_endpoint"},
}


def _act(parameters: dict[str, Any], _check_mode: bool) -> dict[str, Any]:
    regions = parameters["regions"]
    found = discover({region: AwsClient("iot", region) for region in regions}, parameters["endpoint_attribute"])
    clients = per_region(found, regions)
    counts = {region: len(connected) for region, connected in clients.items()}
    return {"changed": False, "clients": clients, "counts": counts}


def main() -> None:
    run_module(ARGUMENT_SPEC, _act)


if __name__ == "__main__":
    main()
