#!/usr/bin/python
from __future__ import annotations

DOCUMENTATION = r"""
module: message_arrival_info
short_description: Wait until a message of a client arrives in the monitor's ledger
description:
  - Waits for a message that arrives after the module started, in any region.
options:
  ledger:
    description: The ledger that the fleet's monitor writes.
    type: path
    required: true
  client_id:
    description: MQTT client ID.
    type: str
    required: true
  timeout:
    description: Seconds to wait.
    type: float
    default: 30
extends_documentation_fragment:
  - region_switch.info
author: The maintainers of this repository
"""

EXAMPLES = r"""
- name: Wait for a message
  message_arrival_info:
    ledger: /var/lib/mqtt-fleet/ledger.sqlite
    client_id: device-0001
"""

RETURN = r"""
region:
  description: The region that the message arrived in; null where no monitor keeps the ledger.
  returned: success
  type: str
"""

from typing import Any

from ansible.module_utils.region_switch.checks.arrival import wait_for_arrival
from ansible.module_utils.region_switch.module import run_module

ARGUMENT_SPEC: dict[str, Any] = {
    "ledger": {"type": "path", "required": True},
    "client_id": {"type": "str", "required": True},
    "timeout": {"type": "float", "default": 30},
}


def main() -> None:
    run_module(ARGUMENT_SPEC, wait_for_arrival)


if __name__ == "__main__":
    main()
