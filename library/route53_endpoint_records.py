#!/usr/bin/python
from __future__ import annotations

DOCUMENTATION = r"""
module: route53_endpoint_records
short_description: Create the CNAMEs of endpoints
description:
  - Creates missing CNAMEs and corrects the TTL of existing ones, in one batch that Route 53 carries out as a whole or
    not at all.
  - A new record points at the endpoint's region in O(mode), at its C(iot:Data-ATS) endpoint. A record that points at
    one of O(regions) keeps its target, so that setting up again never undoes a failover. A record that points elsewhere
    is refused.
options:
  hosted_zone_id:
    description: ID of the hosted zone.
    type: str
    required: true
  mode:
    description: The mode whose regions are used for endpoints without a record.
    type: raw
    required: true
  ttl:
    description: TTL in seconds.
    type: int
    default: 0
  resolvers:
    description:
      - Recursive resolvers that are asked for the zone's name servers, so that no records are made in a zone that is
        not in use. An empty list means those of the system; without the option, this is not checked.
    type: list
    elements: str
  waive:
    description: V([hosted_zone]) writes records even to a zone that resolvers do not use.
    type: list
    elements: str
    default: []
  timeout:
    description: Seconds to wait until all name servers of Route 53 have the change.
    type: float
    default: 300
extends_documentation_fragment:
  - region_switch
  - region_switch.mode_table
requirements: [boto3, dnspython]
author: The maintainers of this repository
"""

EXAMPLES = r"""
- name: Point both names at us-east-1 unless they point at a region already
  route53_endpoint_records:
    hosted_zone_id: Z0123456789ABCDEFGHIJ
    mode: "1"
    modes:
      "1": {mqtt1.example.com: us-east-1, mqtt2.example.com: us-east-1}
      "3": {mqtt1.example.com: ap-northeast-1, mqtt2.example.com: ap-northeast-1}
    endpoints: [mqtt1.example.com, mqtt2.example.com]
    regions: [us-east-1, ap-northeast-1]
"""

RETURN = r"""
records:
  description: The target of each name after the call.
  returned: always
  type: dict
"""

from typing import Any

from ansible.module_utils.region_switch.module import MODE_TABLE_SPEC, run_module

ARGUMENT_SPEC: dict[str, Any] = {
    "hosted_zone_id": {"type": "str", "required": True},
    "mode": {"type": "raw", "required": True},
    **MODE_TABLE_SPEC,
    "ttl": {"type": "int", "default": 0},
    "resolvers": {"type": "list", "elements": "str"},
    "waive": {"type": "list", "elements": "str", "default": []},
    "timeout": {"type": "float", "default": 300},
}


def _act(parameters: dict[str, Any], check_mode: bool) -> dict[str, Any]:
    from ansible.module_utils.region_switch.setup.records import ensure_records

    result: dict[str, Any] = ensure_records(parameters, check_mode)
    return result


def main() -> None:
    run_module(ARGUMENT_SPEC, _act)


if __name__ == "__main__":
    main()
