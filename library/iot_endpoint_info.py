#!/usr/bin/python
from __future__ import annotations

DOCUMENTATION = r"""
module: iot_endpoint_info
short_description: Return the host names of AWS Regions' MQTT endpoints
description:
  - Returns the host name of each Region's C(iot:Data-ATS) endpoint, which does not depend on CNAMEs.
options:
  regions:
    description: The AWS Regions to ask.
    type: list
    elements: str
    required: true
extends_documentation_fragment:
  - region_switch.info
requirements: [boto3]
author: The maintainers of this repository
"""

EXAMPLES = r"""
- name: Find the Regions' brokers
  iot_endpoint_info:
    regions: [us-east-1, ap-northeast-1]
  register: found
"""

RETURN = r"""
endpoints:
  description: The host name of each Region.
  returned: always
  type: dict
  sample: {us-east-1: a1b2c3d4e5f6g7-ats.iot.us-east-1.amazonaws.com}
"""

from typing import Any

from ansible.module_utils.region_switch.module import run_module

ARGUMENT_SPEC: dict[str, Any] = {"regions": {"type": "list", "elements": "str", "required": True}}


def _act(parameters: dict[str, Any], _check_mode: bool) -> dict[str, Any]:
    from ansible.module_utils.region_switch.aws.clients import Aws, describe_data_endpoint

    clients = Aws(parameters["regions"]).probing
    return {"changed": False, "endpoints": {region: describe_data_endpoint(clients[region]) for region in clients}}


def main() -> None:
    run_module(ARGUMENT_SPEC, _act)


if __name__ == "__main__":
    main()
