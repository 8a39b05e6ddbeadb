#!/usr/bin/python
from __future__ import annotations

DOCUMENTATION = r"""
module: iot_serving_info
short_description: Report which custom domains of AWS IoT a region does not serve yet
description:
  - AWS takes up to 60 minutes to serve the certificate of a new domain configuration. Until then, a device that
    connects to the domain name gets another certificate.
  - Connects to the region's MQTT endpoint for each recently configured endpoint, as a device does. Nothing is changed.
options:
  endpoints:
    description: The endpoints, DNS names.
    type: list
    elements: str
    required: true
  within:
    description: Seconds; endpoints that were configured earlier are not checked.
    type: int
    default: 4500
  mqtt_port:
    description: MQTT port.
    type: int
    default: 8883
  resolvers:
    description: Addresses of resolvers for the region's MQTT endpoint. An empty list means those of the system.
    type: list
    elements: str
    default: []
  probe_certificate:
    description:
      - PEM file of a client's certificate, which an endpoint with TLS 1.2 needs for the handshake. A missing file is
        ignored.
    type: path
  probe_private_key:
    description: PEM file of the private key of O(probe_certificate).
    type: path
extends_documentation_fragment:
  - region_switch.info
  - region_switch.region
requirements: [boto3, cryptography, dnspython, paho-mqtt]
author: The maintainers of this repository
"""

EXAMPLES = r"""
- name: Wait until the region serves the endpoint
  iot_serving_info:
    region: us-east-1
    endpoints: [mqtt1.example.com]
  register: serving
  until: serving.pending | length == 0
  retries: 150
  delay: 30
"""

RETURN = r"""
pending:
  description: Endpoints that the region does not serve yet.
  returned: always
  type: list
  elements: str
msg:
  description: The same for people, in one line; empty if there is none.
  returned: always
  type: str
  sample: "mqtt1.example.com in us-east-1: configured 12 minutes ago, and another certificate is served
    (CN=*.iot.us-east-1.amazonaws.com): AWS may take 60 minutes"
"""

import time
from pathlib import Path
from typing import Any

from ansible.module_utils.region_switch.module import REGION_OPTION, run_module

ARGUMENT_SPEC: dict[str, Any] = {
    "endpoints": {"type": "list", "elements": "str", "required": True},
    "within": {"type": "int", "default": 4500},
    "mqtt_port": {"type": "int", "default": 8883},
    "resolvers": {"type": "list", "elements": "str", "default": []},
    "probe_certificate": {"type": "path"},
    "probe_private_key": {"type": "path", "no_log": False},
    "region": REGION_OPTION,
}


def _act(parameters: dict[str, Any], _check_mode: bool) -> dict[str, Any]:
    from ansible.module_utils.region_switch.aws.clients import AwsClient
    from ansible.module_utils.region_switch.checks import serving

    files = (parameters["probe_certificate"], parameters["probe_private_key"])
    pair = files if all(file and Path(file).is_file() for file in files) else (None, None)
    options = serving.ProbeOptions(parameters["mqtt_port"], parameters["resolvers"], *pair)
    # DescribeDomainConfiguration is called for each one, at most ten times a second.
    iot = AwsClient("iot", parameters["region"], attempts=8)
    found = serving.look(iot, parameters["endpoints"], parameters["within"], options, time.time())
    return {
        "changed": False,
        "pending": list(found.pending),
        "msg": "; ".join(found.lines),
        "warnings": list(found.warnings),
    }


def main() -> None:
    run_module(ARGUMENT_SPEC, _act, required_together=[("probe_certificate", "probe_private_key")])


if __name__ == "__main__":
    main()
