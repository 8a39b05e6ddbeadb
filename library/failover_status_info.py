#!/usr/bin/python
from __future__ import annotations

DOCUMENTATION = r"""
module: failover_status_info
short_description: Report where endpoints and clients are
description:
  - Reads the endpoints' records, asks every region for its connected clients, and looks for a run in progress.
  - A region that does not answer is reported as such, after some 10 seconds.
options:
  endpoint_attribute:
    description: Thing attribute that names the endpoint of a client.
    type: str
    default: mqtt_endpoint
  reports_directory:
    description: Folder of the runs' reports.
    type: path
    required: true
extends_documentation_fragment:
  - region_switch.info
  - region_switch.inventory
requirements: [boto3]
author: The maintainers of this repository
"""

EXAMPLES = r"""
- name: Read the current state
  failover_status_info:
    modes: "{{ failover_modes }}"
    endpoints: "{{ iot_endpoints }}"
    regions: "{{ groups['regions'] }}"
    hosted_zone_id: "{{ hosted_zone_id }}"
    reports_directory: reports
  register: status
"""

RETURN = r"""
mode:
  description: The mode that the records match; null where they match none.
  returned: always
  type: str
  sample: "3"
endpoints:
  description: Where each endpoint's record points; C(region) is null where that is no region of the inventory.
  returned: always
  type: dict
  sample: {mqtt1.example.com: {region: us-east-1, host: a1b2c3d4e5f6g7-ats.iot.us-east-1.amazonaws.com}}
odd:
  description: Per endpoint, why the region of its record is not known, where it is no simple CNAME, or Route 53 does
    not answer.
  returned: always
  type: dict
regions:
  description: For each region whether it answers, an error if something is not known, and the number of connected
    clients per endpoint; the endpoint is empty for clients whose thing names none.
  returned: always
  type: dict
  sample: {us-east-1: {reachable: true, error: null, clients: {mqtt1.example.com: 120}}}
misplaced:
  description: Connected clients in another region than the one that their endpoint's record points at.
  returned: always
  type: int
running:
  description: The run in progress, or why that is not known; null where there is none.
  returned: always
  type: str
notes:
  description: What was ignored in O(reports_directory), and why.
  returned: always
  type: list
  elements: str
last:
  description: The newest run that has ended; null where there is none.
  returned: always
  type: dict
  sample:
    run_id: 20261123T204500Z-mode3-0f3a
    mode: "3"
    outcome: moved
    finished_at: "2026-11-23T20:45:09.120Z"
    report: /srv/fleet/reports/20261123T204500Z-mode3-0f3a
lines:
  description: The state for people to read.
  returned: always
  type: list
  elements: str
"""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from ansible.module_utils.region_switch.model import modes
from ansible.module_utils.region_switch.model.option import argument_spec
from ansible.module_utils.region_switch.model.options import InventoryOptions
from ansible.module_utils.region_switch.module import run_module

ARGUMENT_SPEC: dict[str, Any] = {
    **argument_spec(InventoryOptions),
    "endpoint_attribute": {"type": "str", "default": "mqtt_endpoint"},
    "reports_directory": {"type": "path", "required": True},
}


def _act(parameters: dict[str, Any], _check_mode: bool) -> dict[str, Any]:
    from ansible.module_utils.region_switch.aws.clients import Aws
    from ansible.module_utils.region_switch.dns import methods
    from ansible.module_utils.region_switch.move import status

    aws = Aws(parameters["regions"])
    found = status.read(
        aws,
        methods.method(aws, parameters["hosted_zone_id"]),
        modes.normalise(parameters["modes"], parameters["endpoints"], parameters["regions"]),
        parameters["endpoint_attribute"],
        Path(parameters["reports_directory"]),
    )
    return {"changed": False, **asdict(found), "lines": status.lines(found)}


def main() -> None:
    run_module(ARGUMENT_SPEC, _act)


if __name__ == "__main__":
    main()
