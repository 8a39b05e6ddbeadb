#!/usr/bin/python
from __future__ import annotations

DOCUMENTATION = r"""
module: iot_region_switch
short_description: Move an MQTT fleet between AWS IoT Core regions
description:
  - Switches the CNAMEs of endpoints to their regions in a mode, waits until every DNS server answers the new targets,
    disconnects the clients that are still connected elsewhere, and proves for each that it landed.
  - A move converges to the mode. What is already correct is not touched, a second identical run writes nothing, and the
    same run again resumes an interrupted one.
  - Records are switched by compare-and-swap, in one batch. A record that somebody else changed in the meantime is never
    overwritten.
extends_documentation_fragment:
  - region_switch
  - region_switch.inventory
  - region_switch.scope
  - region_switch.dns
  - region_switch.dns_wait
  - region_switch.fleet
  - region_switch.pace
  - region_switch.checks
  - region_switch.approval
  - region_switch.run
requirements: [boto3, cryptography, dnspython, jinja2, matplotlib, paho-mqtt]
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
  description: The region that each endpoint was in, and the one that it belongs to.
  returned: always
  type: dict
  sample: {mqtt1.example.com: {from: us-east-1, to: ap-northeast-1}}
paused:
  description: Whether the run waits to be resumed.
  returned: except in check mode
  type: bool
token:
  description: Identifies the plan, for O(approve).
  returned: in check mode
  type: str
findings:
  description: The findings of the checks, each with C(check), C(blocking), C(region), C(endpoint), C(found),
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

from ansible.module_utils.region_switch.model.option import argument_spec
from ansible.module_utils.region_switch.model.options import ROOMS, Options
from ansible.module_utils.region_switch.module import run_module

ARGUMENT_SPEC = argument_spec(*ROOMS)


def _act(parameters: dict[str, Any], check_mode: bool) -> dict[str, Any]:
    from ansible.module_utils.region_switch.move.run import run

    result: dict[str, Any] = run(Options.of(parameters), check_mode)
    return result


def main() -> None:
    run_module(ARGUMENT_SPEC, _act)


if __name__ == "__main__":
    main()
