#!/usr/bin/python
from __future__ import annotations

DOCUMENTATION = r"""
module: failover_inventory_info
short_description: Check the inventory of a fleet
description:
  - Checks that every mode of the table sends every endpoint to a region that there is, and the settings of DNS.
    Nothing is read or written outside, except that O(caller_hint) lets AWS be asked who is calling.
options:
  modes:
    description: "The mode table: V({mode: {endpoint: AWS Region}}). Names of modes may be numbers."
    type: raw
    required: true
  endpoints:
    description: The endpoints of the inventory, a list of DNS names.
    type: raw
    required: true
  regions:
    description: The AWS Regions of the inventory, a list.
    type: raw
    required: true
  resolvers:
    description: The recursive resolvers that a move asks, a list of addresses, each with a port or without.
    type: raw
  record_ttl:
    description: TTL of the records in seconds.
    type: raw
  caller_hint:
    description:
      - Where it is given, AWS is asked who is calling once the inventory is right, in one region after the other, 8
        seconds each at most, until one answers. Unlike M(amazon.aws.aws_caller_info), it depends on no one region.
      - What the error advises when no region answers.
    type: str
extends_documentation_fragment:
  - region_switch.info
requirements: [boto3, dnspython]
author: The maintainers of this repository
"""

EXAMPLES = r"""
- name: Check the mode table
  failover_inventory_info:
    modes: "{{ failover_modes }}"
    endpoints: "{{ iot_endpoints }}"
    regions: "{{ groups['regions'] }}"

- name: Check the settings of DNS besides
  failover_inventory_info:
    modes: "{{ failover_modes }}"
    endpoints: "{{ iot_endpoints }}"
    regions: "{{ groups['regions'] }}"
    resolvers: [192.0.2.53, "[2001:db8::53]:5353"]
    record_ttl: 60
    caller_hint: Check the network and the credentials.
"""

RETURN = r"""
modes:
  description: The table, all names as strings.
  returned: always
  type: dict
caller:
  description: Who calls AWS, and the region that answered.
  returned: when O(caller_hint) is given
  type: dict
  sample: {account: "123456789012", arn: "arn:aws:iam::123456789012:user/operator", region: us-east-1}
"""

from dataclasses import asdict
from typing import Any

from ansible.module_utils.region_switch.caller import identify
from ansible.module_utils.region_switch.inventory import check
from ansible.module_utils.region_switch.module import run_module

ARGUMENT_SPEC: dict[str, Any] = {
    "modes": {"type": "raw", "required": True},
    "endpoints": {"type": "raw", "required": True},
    "regions": {"type": "raw", "required": True},
    "resolvers": {"type": "raw"},
    "record_ttl": {"type": "raw"},
    "caller_hint": {"type": "str"},
}


def _act(parameters: dict[str, Any], _check_mode: bool) -> dict[str, Any]:
    modes = check(**{name: value for name, value in parameters.items() if name != "caller_hint"})
    result: dict[str, Any] = {"changed": False, "modes": modes}
    if parameters["caller_hint"] is not None:
        result["caller"] = asdict(identify(parameters["regions"], parameters["caller_hint"]))
    return result


def main() -> None:
    run_module(ARGUMENT_SPEC, _act)


if __name__ == "__main__":
    main()
