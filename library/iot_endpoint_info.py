#!/usr/bin/python
from __future__ import annotations

DOCUMENTATION = r"""
module: iot_endpoint_info
short_description: Name the AWS IoT endpoint of a region
description:
  - Asks a region for its C(iot:Data-ATS) endpoint, which the CNAME of a custom domain points at. It never changes.
extends_documentation_fragment:
  - region_switch.info
  - region_switch.region
requirements: [boto3]
author: The maintainers of this repository
"""

EXAMPLES = r"""
- name: Read the endpoint
  iot_endpoint_info:
    region: us-east-1
  register: endpoint
"""

RETURN = r"""
endpoint_address:
  description: Host name of the endpoint.
  returned: always
  type: str
  sample: a1b2c3d4e5f6g7-ats.iot.us-east-1.amazonaws.com
"""

from typing import Any

from ansible.module_utils.region_switch.aws import AwsClient, describe_data_endpoint
from ansible.module_utils.region_switch.module import REGION_OPTION, run_module

ARGUMENT_SPEC: dict[str, Any] = {
    "region": REGION_OPTION,
}


def _act(parameters: dict[str, Any], _check_mode: bool) -> dict[str, Any]:
    endpoint = describe_data_endpoint(AwsClient("iot", parameters["region"]))
    return {"changed": False, "endpoint_address": endpoint}


def main() -> None:
    run_module(ARGUMENT_SPEC, _act)


if __name__ == "__main__":
    main()
