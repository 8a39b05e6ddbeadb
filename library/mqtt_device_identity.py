#!/usr/bin/python
from __future__ import annotations

DOCUMENTATION = r"""
module: mqtt_device_identity
short_description: Make a device's private key and its signing request, on the device
description:
  - Makes the private key of the MQTT client on the device, readable for root only, and a signing request with it.
  - The key never leaves the device; the signing request is returned.
  - Says as well what the client's software is chosen by.
options:
  client_id:
    description: MQTT client ID, the common name in the request.
    type: str
    required: true
  key_type:
    description: V(ECC) makes P-256 keys, V(RSA) keys of 2048 bits.
    type: str
    choices: [ECC, RSA]
    default: ECC
  renew:
    description: Whether a new key is made beside the current one, to take its place with the next deployment.
    type: bool
    default: false
  time_limit:
    description: Seconds that the controller waits for the device's answer.
    type: float
    default: 300
extends_documentation_fragment:
  - region_switch
requirements: [openssl, systemd 247 or newer]
author: The maintainers of this repository
"""

EXAMPLES = r"""
- name: Make the key
  mqtt_device_identity:
    client_id: device-0001
"""

RETURN = r"""
csr:
  description: The signing request, PEM; null in check mode where it is still to be made.
  returned: always
  type: str
python:
  description: The device's Python, such as 3.11.
  returned: always
  type: str
machine:
  description: The device's machine, as C(uname -m) names it.
  returned: always
  type: str
releases:
  description: Names of the client's releases that are installed.
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
