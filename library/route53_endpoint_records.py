#!/usr/bin/python
from __future__ import annotations

DOCUMENTATION = r"""
module: route53_endpoint_records
short_description: Create the CNAMEs of endpoints
description:
  - Creates the CNAMEs that are missing and corrects the TTL of those that exist, in one batch that Route 53
    carries out whole or not at all.
  - A record that points at one of O(keep_values) keeps its target, so that setting up again never undoes a
    failover. A record that points elsewhere is refused.
options:
  hosted_zone_id:
    description: ID of the hosted zone.
    type: str
    required: true
  records:
    description: The records.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: The endpoint, such as V(mqtt1.example.com).
        type: str
        required: true
      value:
        description: The target of a record that is created.
        type: str
        required: true
  ttl:
    description: TTL in seconds.
    type: int
    default: 0
  keep_values:
    description: Targets that an existing record may keep, namely the endpoints of the other regions.
    type: list
    elements: str
    default: []
  timeout:
    description: Seconds to wait until all name servers of Route 53 have the change.
    type: float
    default: 300
  region:
    description:
      - Any AWS Region of the partition that the zone is in, since Route 53 is global. Without it, the environment
        variables E(AWS_REGION) and E(AWS_DEFAULT_REGION) are read, and V(us-east-1) is taken if there are none.
    type: str
    aliases: [aws_region]
extends_documentation_fragment:
  - region_switch
requirements: [boto3]
author: The maintainers of this repository
"""

EXAMPLES = r"""
- name: Point both names at us-east-1 unless they point at a region already
  route53_endpoint_records:
    hosted_zone_id: Z0123456789ABCDEFGHIJ
    records:
      - {name: mqtt1.example.com, value: a1b2c3d4e5f6g7-ats.iot.us-east-1.amazonaws.com}
      - {name: mqtt2.example.com, value: a1b2c3d4e5f6g7-ats.iot.us-east-1.amazonaws.com}
    keep_values:
      - a1b2c3d4e5f6g7-ats.iot.ap-northeast-1.amazonaws.com
"""

RETURN = r"""
records:
  description: The target of each name, as it is after the call.
  returned: always
  type: dict
"""

from typing import Any

from ansible.module_utils.region_switch.aws import AwsClient
from ansible.module_utils.region_switch.module import REGION_OPTION, run_module
from ansible.module_utils.region_switch.records import ensure_records

DEFAULT_REGION = "us-east-1"

ARGUMENT_SPEC: dict[str, Any] = {
    "hosted_zone_id": {"type": "str", "required": True},
    "records": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {"name": {"type": "str", "required": True}, "value": {"type": "str", "required": True}},
    },
    "ttl": {"type": "int", "default": 0},
    "keep_values": {"type": "list", "elements": "str", "default": []},
    "timeout": {"type": "float", "default": 300},
    "region": REGION_OPTION,
}


def _act(parameters: dict[str, Any], check_mode: bool) -> dict[str, Any]:
    route53 = AwsClient("route53", parameters["region"] or DEFAULT_REGION)
    result: dict[str, Any] = ensure_records(route53, parameters, check_mode)
    return result


def main() -> None:
    run_module(ARGUMENT_SPEC, _act)


if __name__ == "__main__":
    main()
