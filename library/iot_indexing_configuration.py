#!/usr/bin/python
from __future__ import annotations

DOCUMENTATION = r"""
module: iot_indexing_configuration
short_description: Manage the indexing of AWS IoT things
description:
  - Sets which data of things AWS IoT indexes. The fleet index knows connected clients only with
    O(thing_connectivity_indexing_mode=STATUS).
  - Options that are not given keep their values. A change makes AWS rebuild the index.
options:
  thing_indexing_mode:
    description: What is indexed of things. V(REGISTRY) does not replace V(REGISTRY_AND_SHADOW), which includes it.
    type: str
    choices: ["OFF", REGISTRY, REGISTRY_AND_SHADOW]
  thing_connectivity_indexing_mode:
    description: Whether connectivity is indexed.
    type: str
    choices: ["OFF", STATUS]
extends_documentation_fragment:
  - region_switch
  - region_switch.region
requirements: [boto3]
author: The maintainers of this repository
"""

EXAMPLES = r"""
- name: Index connected clients
  iot_indexing_configuration:
    region: us-east-1
    thing_indexing_mode: REGISTRY
    thing_connectivity_indexing_mode: STATUS
"""

RETURN = r"""
thing_indexing_mode:
  description: The mode in force.
  returned: always
  type: str
thing_connectivity_indexing_mode:
  description: The mode in force.
  returned: always
  type: str
"""

from typing import Any

from ansible.module_utils.region_switch.module import REGION_OPTION, run_module

ARGUMENT_SPEC: dict[str, Any] = {
    "thing_indexing_mode": {"type": "str", "choices": ["OFF", "REGISTRY", "REGISTRY_AND_SHADOW"]},
    "thing_connectivity_indexing_mode": {"type": "str", "choices": ["OFF", "STATUS"]},
    "region": REGION_OPTION,
}


def _act(parameters: dict[str, Any], check_mode: bool) -> dict[str, Any]:
    from ansible.module_utils.region_switch.aws.clients import AwsClient
    from ansible.module_utils.region_switch.setup.indexing import ensure_indexing

    result: dict[str, Any] = ensure_indexing(AwsClient("iot", parameters["region"]), parameters, check_mode)
    return result


def main() -> None:
    run_module(ARGUMENT_SPEC, _act)


if __name__ == "__main__":
    main()
