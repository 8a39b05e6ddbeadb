#!/usr/bin/python
from __future__ import annotations

DOCUMENTATION = r"""
module: acm_server_certificates
short_description: Bring the server certificates of a fleet's endpoints into ACM of one region
description:
  - Imports each endpoint's certificate where the region has none, and in the place of one that it imported before,
    where that is older. A certificate that it did not import, or that is newer, is left as it is.
  - A certificate is found by the domain configuration of its endpoint, else by its tag C(Name). The tag
    C(mqtt-region-switch:origin) says who imported it.
options:
  directory:
    description: Folder that M(server_certificates) wrote to.
    type: path
    required: true
  endpoints:
    description: The endpoints, DNS names.
    type: list
    elements: str
    required: true
  server_certificate_arns:
    description: "Certificates of the operator's own in ACM, which nothing is imported for: V({endpoint: ARN})."
    type: dict
  ca_certificate:
    description: PEM of a CA of the operator's own, which issued what is in O(directory).
    type: str
  ca_common_name:
    description: Common name of the CA that M(server_certificates) makes.
    type: str
    required: true
  foretold:
    description: Endpoints that M(server_certificates) would issue a certificate for; only check mode heeds it.
    type: list
    elements: str
    default: []
extends_documentation_fragment:
  - region_switch
  - region_switch.server_certificates
  - region_switch.region
requirements: [boto3, cryptography]
author: The maintainers of this repository
"""

EXAMPLES = r"""
- name: Import the server certificates
  acm_server_certificates:
    region: us-east-1
    directory: certs/production
    endpoints: [mqtt1.example.com]
    ca_common_name: MQTT fleet CA
"""

RETURN = r"""
certificates:
  description: Per endpoint, the certificate's ARN (null for one that check mode would import), and whether it is one of
    this module's.
  returned: always
  type: list
  elements: dict
  sample: [{endpoint: mqtt1.example.com, arn: "arn:aws:acm:us-east-1:123456789012:certificate/...", own: true}]
"""

from typing import Any

from ansible.module_utils.region_switch.module import REGION_OPTION, SERVER_CERTIFICATES_OPTION, run_module

ARGUMENT_SPEC: dict[str, Any] = {
    "directory": {"type": "path", "required": True},
    "endpoints": {"type": "list", "elements": "str", "required": True},
    "server_certificates": SERVER_CERTIFICATES_OPTION,
    "server_certificate_arns": {"type": "dict"},
    "ca_certificate": {"type": "str"},
    "ca_common_name": {"type": "str", "required": True},
    "foretold": {"type": "list", "elements": "str", "default": []},
    "region": REGION_OPTION,
}


def _act(parameters: dict[str, Any], check_mode: bool) -> dict[str, Any]:
    from ansible.module_utils.region_switch.setup.server_setup import ensure_region

    result: dict[str, Any] = ensure_region(parameters, check_mode)
    return result


def main() -> None:
    run_module(ARGUMENT_SPEC, _act)


if __name__ == "__main__":
    main()
