#!/usr/bin/python
from __future__ import annotations

DOCUMENTATION = r"""
module: failover_modes_info
short_description: Check the mode table and look up a mode
description:
  - Checks that every mode of the table sends every endpoint to a region that there is, and looks up a mode.
    Nothing is read or written outside.
  - The name of a mode is never converted, so that V(3.7) is not V(3).
options:
  modes:
    description: "The mode table: V({mode: {endpoint: AWS Region}}). Names of modes may be numbers."
    type: raw
    required: true
  mode:
    description: The mode to look up.
    type: raw
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
extends_documentation_fragment:
  - region_switch.info
author: The maintainers of this repository
"""

EXAMPLES = r"""
- name: Look up mode 3
  failover_modes_info:
    modes: "{{ failover_modes }}"
    mode: "3"
    endpoints: "{{ iot_endpoints }}"
    regions: "{{ groups['regions'] }}"
"""

RETURN = r"""
modes:
  description: The table, all names as strings.
  returned: always
  type: dict
mode:
  description: Name of the mode that was looked up.
  returned: when O(mode) is given
  type: str
desired:
  description: The region of each endpoint in that mode.
  returned: when O(mode) is given
  type: dict
  sample: {mqtt1.example.com: us-east-1}
"""

from typing import Any

from ansible.module_utils.region_switch.modes import desired, normalise
from ansible.module_utils.region_switch.module import run_module

ARGUMENT_SPEC: dict[str, Any] = {
    "modes": {"type": "raw", "required": True},
    "mode": {"type": "raw"},
    "endpoints": {"type": "list", "elements": "str", "required": True},
    "regions": {"type": "list", "elements": "str", "required": True},
}


def _act(parameters: dict[str, Any], _check_mode: bool) -> dict[str, Any]:
    modes = normalise(parameters["modes"], parameters["endpoints"], parameters["regions"])
    result: dict[str, Any] = {"changed": False, "modes": modes}
    if parameters["mode"] is not None:
        result["mode"], result["desired"] = desired(modes, parameters["mode"])
    return result


def main() -> None:
    run_module(ARGUMENT_SPEC, _act)


if __name__ == "__main__":
    main()
