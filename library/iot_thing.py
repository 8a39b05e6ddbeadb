#!/usr/bin/python
from __future__ import annotations

DOCUMENTATION = r"""
module: iot_thing
short_description: Manage an AWS IoT thing
description:
  - Creates a thing, sets its attributes and thing type, or deletes it.
  - Attributes that are not given are not changed.
options:
  name:
    description: Name of the thing; fleet indexing knows a client only if its client ID is the name of a thing.
    type: str
    required: true
  attributes:
    description: Attributes to set, beside those that the thing has. An empty one is removed.
    type: dict
  thing_type:
    description: Name of the thing type.
    type: str
extends_documentation_fragment:
  - region_switch
  - region_switch.region
  - region_switch.state
requirements: [boto3]
author: The maintainers of this repository
"""

EXAMPLES = r"""
- name: Set the endpoint of the client
  iot_thing:
    region: us-east-1
    name: client_01
    attributes:
      mqtt_endpoint: mqtt1.example.com
"""

RETURN = r"""
name:
  description: Name of the thing.
  returned: always
  type: str
arn:
  description: ARN of the thing, null where it does not exist.
  returned: always
  type: str
attributes:
  description: All attributes of the thing.
  returned: always
  type: dict
"""

from typing import Any

from ansible.module_utils.region_switch.module import REGION_OPTION, STATE_OPTION, run_module

ARGUMENT_SPEC: dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "attributes": {"type": "dict"},
    "thing_type": {"type": "str"},
    "region": REGION_OPTION,
    "state": STATE_OPTION,
}


def _act(parameters: dict[str, Any], check_mode: bool) -> dict[str, Any]:
    from ansible.module_utils.region_switch.aws.clients import AwsClient
    from ansible.module_utils.region_switch.setup.thing import ensure_thing

    result: dict[str, Any] = ensure_thing(AwsClient("iot", parameters["region"]), parameters, check_mode)
    return result


def main() -> None:
    run_module(ARGUMENT_SPEC, _act)


if __name__ == "__main__":
    main()
