#!/usr/bin/python
from __future__ import annotations

DOCUMENTATION = r"""
module: mqtt_device_identity
short_description: Create a device's private key and signing request on the device
description:
  - Creates the private key of the MQTT client on the device, readable only for root, and a signing request with it.
  - The key never leaves the device; the signing request is returned.
  - Returns also the facts by which the client's software is chosen.
options:
  client_id:
    description: MQTT client ID, the common name of the signing request.
    type: str
    required: true
  key_type:
    description: V(ECC) creates P-256 keys, V(RSA) keys of 2048 bits.
    type: str
    choices: [ECC, RSA]
    default: ECC
  renew:
    description: Whether to create a new key, which the next deployment puts in place of the current one.
    type: bool
    default: false
extends_documentation_fragment:
  - region_switch
  - region_switch.time_limit
requirements: [openssl, systemd 247 or newer]
author: The maintainers of this repository
"""

EXAMPLES = r"""
- name: Create the key
  mqtt_device_identity:
    client_id: device-0001
"""

RETURN = r"""
csr:
  description: The signing request, PEM; null in check mode if it does not exist yet.
  returned: always
  type: str
python:
  description: The device's Python version, such as 3.11.
  returned: always
  type: str
machine:
  description: The device's machine type, as from C(uname -m).
  returned: always
  type: str
releases:
  description: Names of the installed releases of the client.
  returned: always
  type: list
  elements: str
"""

from typing import Any

from ansible.module_utils.mqtt_device.identity import ensure_identity
from ansible.module_utils.mqtt_device.layout import Layout
from ansible.module_utils.region_switch.module import run_module

ARGUMENT_SPEC: dict[str, Any] = {
    "client_id": {"type": "str", "required": True},
    "key_type": {"type": "str", "choices": ["ECC", "RSA"], "default": "ECC"},
    "renew": {"type": "bool", "default": False},
    "time_limit": {"type": "float", "default": 300},
}


def _act(parameters: dict[str, Any], check_mode: bool) -> dict[str, Any]:
    result: dict[str, Any] = ensure_identity(Layout(), parameters, check_mode)
    return result


def main() -> None:
    run_module(ARGUMENT_SPEC, _act)


if __name__ == "__main__":
    main()
