#!/usr/bin/python
from __future__ import annotations

DOCUMENTATION = r"""
module: iot_region_switch
short_description: Move an MQTT fleet between AWS IoT Core regions
description:
  - Moves the CNAMEs of endpoints to the regions that a mode says, waits until every DNS server answers so,
    disconnects the clients that are still connected elsewhere, and proves for each that it landed.
  - The move is convergence. What is already right stays untouched, a second identical run writes nothing, and
    running it again is how one resumes.
  - Records are switched by compare-and-swap, all in one batch. A record that somebody else changed meanwhile is
    never overwritten.
options:
  mode:
    description: The mode to move to. Its name is never converted, so that V(3.7) is not V(3).
    type: raw
    required: true
  modes:
    description: "The mode table: V({mode: {endpoint: AWS Region}})."
    type: raw
    required: true
  endpoints:
    description: The endpoints of the inventory.
    type: list
    elements: str
    required: true
  regions:
    description: The AWS Regions of the inventory.
    type: list
    elements: str
    required: true
  hosted_zone_id:
    description: ID of the hosted zone that the endpoints are in.
    type: str
    required: true
  ttl:
    description: TTL in seconds of the records that are written.
    type: int
    default: 0
  resolvers:
    description: Recursive resolvers whose answers the move waits for, as V(address) or V(address:port). None
      means those of the controller.
    type: list
    elements: str
    default: []
  name_servers:
    description: The name servers of the zone, by name or address. None means the delegation set that Route 53
      names.
    type: list
    elements: str
    default: []
  dns_consecutive:
    description: Right answers in a row that every server has to give.
    type: int
    default: 3
  dns_timeout:
    description: Seconds that Route 53 and then the servers may take to answer the new target. The TTL of the old
      records is waited for as well, but no longer than this; clients that a cache sends back are moved again.
    type: float
    default: 300
  sweep:
    description: Whom to disconnect. V(none) stops after DNS.
    type: str
    choices: [misplaced, none]
    default: misplaced
  endpoint_attribute:
    description: Thing attribute that says which endpoint a client uses. Clients whose thing lacks it are left
      alone.
    type: str
    default: mqtt_endpoint
  delete_connection_rate:
    description: DeleteConnection requests per second and region. The default quota of AWS is 100.
    type: float
    default: 100
  prevent_will_message:
    description: Keep the Last Will of disconnected clients unpublished.
    type: bool
    default: true
  clean_session:
    description: End the persistent session, and its queued messages, in the region that is left.
    type: bool
    default: false
  landing_timeout:
    description: Seconds that disconnected clients may take to be connected in their region, besides the time that
      the quota of GetConnection needs to look at each.
    type: float
    default: 300
  reports_directory:
    description: Folder that gets a folder per run, with C(journal.jsonl) and C(summary.json).
    type: path
    required: true
  ledger:
    description: SQLite ledger of messages that the monitor of the fleet writes.
    type: path
extends_documentation_fragment:
  - region_switch
requirements: [boto3]
author: The maintainers of this repository
"""

EXAMPLES = r"""
- name: Move the fleet to the regions of mode 3
  iot_region_switch:
    mode: "3"
    modes: "{{ failover_modes }}"
    endpoints: "{{ iot_endpoints }}"
    regions: "{{ groups['regions'] }}"
    hosted_zone_id: "{{ hosted_zone_id }}"
    resolvers: "{{ dns_resolvers }}"
    reports_directory: reports
"""

RETURN = r"""
run_id:
  description: Name of the run.
  returned: except in check mode
  type: str
  sample: 20261123T204500Z-mode3-0f3a
report:
  description: Folder of the run, in O(reports_directory).
  returned: except in check mode
  type: str
outcome:
  description: V(moved), V(unchanged), V(refused), V(partial) where clients did not land, or V(failed).
  returned: except in check mode
  type: str
plan:
  description: The region each endpoint was in and the one it belongs to.
  returned: always
  type: dict
  sample: {mqtt1.example.com: {from: us-east-1, to: ap-northeast-1}}
summary:
  description: The content of C(summary.json).
  returned: except in check mode
  type: dict
lines:
  description: The result for people to read.
  returned: always
  type: list
  elements: str
"""

from typing import Any

from ansible.module_utils.region_switch.module import run_module
from ansible.module_utils.region_switch.switch import Options, run

ARGUMENT_SPEC: dict[str, Any] = {
    "mode": {"type": "raw", "required": True},
    "modes": {"type": "raw", "required": True},
    "endpoints": {"type": "list", "elements": "str", "required": True},
    "regions": {"type": "list", "elements": "str", "required": True},
    "hosted_zone_id": {"type": "str", "required": True},
    "ttl": {"type": "int", "default": 0},
    "resolvers": {"type": "list", "elements": "str", "default": []},
    "name_servers": {"type": "list", "elements": "str", "default": []},
    "dns_consecutive": {"type": "int", "default": 3},
    "dns_timeout": {"type": "float", "default": 300},
    "sweep": {"type": "str", "choices": ["misplaced", "none"], "default": "misplaced"},
    "endpoint_attribute": {"type": "str", "default": "mqtt_endpoint"},
    "delete_connection_rate": {"type": "float", "default": 100},
    "prevent_will_message": {"type": "bool", "default": True},
    "clean_session": {"type": "bool", "default": False},
    "landing_timeout": {"type": "float", "default": 300},
    "reports_directory": {"type": "path", "required": True},
    "ledger": {"type": "path"},
}


def _act(parameters: dict[str, Any], check_mode: bool) -> dict[str, Any]:
    result: dict[str, Any] = run(Options(**parameters), check_mode)
    return result


def main() -> None:
    run_module(ARGUMENT_SPEC, _act)


if __name__ == "__main__":
    main()
