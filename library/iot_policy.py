#!/usr/bin/python
from __future__ import annotations

DOCUMENTATION = r"""
module: iot_policy
short_description: Manage an AWS IoT policy
description:
  - Keeps the default version of an AWS IoT policy equal to a document.
  - A different document becomes a new default version; at five versions (AWS's limit), the oldest one that is not the
    default is deleted first.
options:
  name:
    description: Name of the policy.
    type: str
    required: true
  document:
    description:
      - The policy document, as a dictionary or as JSON text. Its ARNs contain the region.
      - Required with O(state=present).
    type: raw
extends_documentation_fragment:
  - region_switch
  - region_switch.region
  - region_switch.state
requirements: [boto3]
author: The maintainers of this repository
"""

EXAMPLES = r"""
- name: Let devices connect with the name of their thing as client ID
  iot_policy:
    region: us-east-1
    name: fleet-device
    document:
      Version: "2012-10-17"
      Statement:
        - Effect: Allow
          Action: iot:Connect
          Resource: arn:aws:iot:us-east-1:123456789012:client/${iot:Connection.Thing.ThingName}
"""

RETURN = r"""
name:
  description: Name of the policy.
  returned: always
  type: str
arn:
  description: ARN of the policy, null where it does not exist.
  returned: always
  type: str
"""

from typing import Any

from ansible.module_utils.region_switch.module import REGION_OPTION, STATE_OPTION, run_module

ARGUMENT_SPEC: dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "document": {"type": "raw"},
    "region": REGION_OPTION,
    "state": STATE_OPTION,
}


def _act(parameters: dict[str, Any], check_mode: bool) -> dict[str, Any]:
    from ansible.module_utils.region_switch.aws.clients import AwsClient
    from ansible.module_utils.region_switch.setup.policy import ensure_policy

    result: dict[str, Any] = ensure_policy(AwsClient("iot", parameters["region"]), parameters, check_mode)
    return result


def main() -> None:
    run_module(ARGUMENT_SPEC, _act, required_if=[("state", "present", ["document"])])


if __name__ == "__main__":
    main()
