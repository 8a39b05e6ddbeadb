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
    description: The mode to move to. Its name is never converted, so that V(3.7) is not V(3). Refused with
      O(rollback).
    type: raw
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
  dns_policy:
    description:
      - What happens when a resolver does not converge within O(dns_timeout). V(wait) ends the run, the records stay
        switched and nobody is disconnected. V(proceed) goes on and tells who was stale. V(abort) restores the
        records. The zone's own name servers always have to converge.
    type: str
    choices: [wait, proceed, abort]
    default: wait
  sweep:
    description: Whom to disconnect. V(none) stops after DNS.
    type: str
    choices: [misplaced, none]
    default: misplaced
  discovery:
    description:
      - How the connected clients are found. V(index) asks the fleet index, which knows clients whose client ID is the
        name of a thing. V(things) asks for every thing that has O(endpoint_attribute), V(clients) for those of
        O(client_ids) and O(client_ids_file), whether it is connected.
    type: str
    choices: [index, things, clients]
    default: index
  client_ids:
    description: Client IDs for O(discovery=clients), as text; refused with another, as is a number.
    type: list
    elements: raw
    default: []
  client_ids_file:
    description:
      - File of client IDs for O(discovery=clients), one per line, CSV with the header V(client_id,endpoint), or JSON,
        as spreadsheets, PowerShell and the AWS CLI write them. A line that could mean something else is refused.
      - Refused with another O(discovery).
    type: path
  endpoint_attribute:
    description: Thing attribute that says which endpoint a client uses.
    type: str
    default: mqtt_endpoint
  unmapped_clients:
    description: What happens to connected clients whose thing names none of the endpoints. V(ignore) leaves them alone
      and tells how many they are, V(refuse) stops the move, the name of an endpoint treats them as clients of it.
    type: str
    default: ignore
  source_gone:
    description:
      - Regions to leave that refuse to be asked (access denied, opted out), or may not be asked. They are taken for
        dead without being asked. Their clients are disconnected by nobody and looked for where they belong; records are
        never restored to them.
      - A region that something moves to is refused.
    type: list
    elements: str
    default: []
  delete_connection_rate:
    description: DeleteConnection requests per second and region. V(0) takes the quota that Service Quotas tells.
    type: float
    default: 0
  subscriptions_per_client:
    description: Topic filters that a client subscribes to when it connects. With the quota of subscriptions of the
      target region it limits the pace; V(0) leaves that quota out.
    type: float
    default: 1
  waves:
    description: Cumulative shares of the fleet in percent, such as V([1, 10, 100]). Each wave has to land before the
      next one begins.
    type: list
    elements: raw
    default: [1, 100]
  max_stragglers:
    description:
      - Percent of a wave that may be missing when its time is over. With more, the move stops.
      - Clients that had gone before they were told to leave, and are nowhere since, do not count. Those that came after
        the plan was made are judged together with the whole fleet, and never a reason for O(restore).
    type: float
    default: 5
  max_in_flight:
    description: Clients that may be disconnected and not landed at the same time. V(0) takes 30 seconds of the pace.
    type: int
    default: 0
  prevent_will_message:
    description: Keep the Last Will of disconnected clients unpublished.
    type: bool
    default: true
  clean_session:
    description: End the persistent session, and its queued messages, in the region that is left.
    type: bool
    default: false
  landing_timeout:
    description: Seconds that the clients of a wave may take to be connected in their region, after the last of them was
      disconnected.
    type: float
    default: 300
  restore:
    description: Restore the records, and send the clients back, when a wave does not land or the target region is lost.
      Never done when the region that is left is dead.
    type: bool
    default: true
  preflight:
    description: Check beforehand every reason for which the target region could refuse a device.
    type: bool
    default: true
  waive:
    description: Names of checks whose findings do not stop the move.
    type: list
    elements: str
    default: []
  ca_file:
    description: CA certificates that the endpoints' certificates have to chain to. None means those of the system.
    type: path
  certificate_days:
    description: A server certificate that ends within so many days stops the move.
    type: float
    default: 7
  probe_certificate:
    description: Client certificate with which the check connects to the target region and publishes. None means that
      only the TLS handshake is tried.
    type: path
  probe_private_key:
    description: Key of O(probe_certificate).
    type: path
  mqtt_ports:
    description: Ports of the MQTT endpoint that devices use; each is tried, V(443) with ALPN.
    type: list
    elements: int
    default: [8883]
  require_approval:
    description: Refuse to change anything unless O(approve) names the plan.
    type: bool
    default: false
  approve:
    description: Token of the plan that is approved, as check mode prints it.
    type: str
  approval_drift:
    description:
      - Percent of the approved clients of each target that may be others when the plan is carried out; 3 clients may
        be, however few that percent is. V(0) wants the very same clients.
      - Records, regions and options have to be the approved ones in any case.
    type: float
    default: 5
  max_clients:
    description: Clients that may be disconnected at most. V(0) is no limit.
    type: int
    default: 0
  max_endpoints:
    description: Endpoints that may move at most. V(0) is no limit.
    type: int
    default: 0
  min_share:
    description: Percent of the connected clients that have to be disconnected at least.
    type: float
    default: 0
  max_share:
    description: Percent of the connected clients that may be disconnected at most.
    type: float
    default: 100
  rollback:
    description: Return to the records as they were before the last run that switched them. O(mode) is not read. Refused
      where the records are neither as that run left them nor as they were before it.
    type: bool
    default: false
  pause_after_dns:
    description: Stop after DNS when records were switched and clients have to move, so that the caller can look at DNS
      from the devices. RV(paused) says so; O(run_id) goes on.
    type: bool
    default: false
  run_id:
    description: Go on with a run that paused.
    type: str
  reports_directory:
    description: Folder that gets a folder per run, with C(journal.jsonl), C(summary.json), C(clients.csv) and
      C(report.html), for the user who runs this alone. One of another user, or that others may write to, is refused.
    type: path
    required: true
  ledger:
    description:
      - SQLite ledger of messages that the monitor of the fleet writes. One that nobody keeps is told, and so is an
        empty path.
    type: path
  operator:
    description: Who begins the run, for its report, beside the user and the caller that AWS knows.
    type: str
extends_documentation_fragment:
  - region_switch
requirements: [boto3, cryptography, dnspython, markupsafe, matplotlib, paho-mqtt]
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
  description: V(moved), V(unchanged), V(refused), V(rolled_back), V(partial) where clients did not land, or V(failed).
  returned: except in check mode
  type: str
plan:
  description: The region each endpoint was in and the one it belongs to.
  returned: always
  type: dict
  sample: {mqtt1.example.com: {from: us-east-1, to: ap-northeast-1}}
paused:
  description: Whether the run waits to be gone on with.
  returned: except in check mode
  type: bool
token:
  description: Names the plan, for O(approve).
  returned: in check mode
  type: str
findings:
  description: What speaks against the move, each with C(check), C(blocking), C(region), C(endpoint), C(found),
    C(expected) and C(advice).
  returned: always
  type: list
  elements: dict
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

from ansible.module_utils.region_switch.model.options import Options
from ansible.module_utils.region_switch.module import run_module
from ansible.module_utils.region_switch.move.switch import run

ARGUMENT_SPEC: dict[str, Any] = {
    "mode": {"type": "raw"},
    "modes": {"type": "raw", "required": True},
    "endpoints": {"type": "list", "elements": "str", "required": True},
    "regions": {"type": "list", "elements": "str", "required": True},
    "hosted_zone_id": {"type": "str", "required": True},
    "ttl": {"type": "int", "default": 0},
    "resolvers": {"type": "list", "elements": "str", "default": []},
    "name_servers": {"type": "list", "elements": "str", "default": []},
    "dns_consecutive": {"type": "int", "default": 3},
    "dns_timeout": {"type": "float", "default": 300},
    "dns_policy": {"type": "str", "choices": ["wait", "proceed", "abort"], "default": "wait"},
    "sweep": {"type": "str", "choices": ["misplaced", "none"], "default": "misplaced"},
    "discovery": {"type": "str", "choices": ["index", "things", "clients"], "default": "index"},
    "client_ids": {"type": "list", "elements": "raw", "default": []},
    "client_ids_file": {"type": "path"},
    "endpoint_attribute": {"type": "str", "default": "mqtt_endpoint"},
    "unmapped_clients": {"type": "str", "default": "ignore"},
    "source_gone": {"type": "list", "elements": "str", "default": []},
    "delete_connection_rate": {"type": "float", "default": 0},
    "subscriptions_per_client": {"type": "float", "default": 1},
    "waves": {"type": "list", "elements": "raw", "default": [1, 100]},
    "max_stragglers": {"type": "float", "default": 5},
    "max_in_flight": {"type": "int", "default": 0},
    "prevent_will_message": {"type": "bool", "default": True},
    "clean_session": {"type": "bool", "default": False},
    "landing_timeout": {"type": "float", "default": 300},
    "restore": {"type": "bool", "default": True},
    "preflight": {"type": "bool", "default": True},
    "waive": {"type": "list", "elements": "str", "default": []},
    "ca_file": {"type": "path"},
    "certificate_days": {"type": "float", "default": 7},
    "probe_certificate": {"type": "path"},
    "probe_private_key": {"type": "path", "no_log": False},
    "mqtt_ports": {"type": "list", "elements": "int", "default": [8883]},
    "require_approval": {"type": "bool", "default": False},
    "approve": {"type": "str"},
    "approval_drift": {"type": "float", "default": 5},
    "max_clients": {"type": "int", "default": 0},
    "max_endpoints": {"type": "int", "default": 0},
    "min_share": {"type": "float", "default": 0},
    "max_share": {"type": "float", "default": 100},
    "rollback": {"type": "bool", "default": False},
    "pause_after_dns": {"type": "bool", "default": False},
    "run_id": {"type": "str"},
    "reports_directory": {"type": "path", "required": True},
    "ledger": {"type": "path"},
    "operator": {"type": "str"},
}


def _act(parameters: dict[str, Any], check_mode: bool) -> dict[str, Any]:
    result: dict[str, Any] = run(Options(**parameters), check_mode)
    return result


def main() -> None:
    run_module(ARGUMENT_SPEC, _act)


if __name__ == "__main__":
    main()
