#!/usr/bin/python
from __future__ import annotations

DOCUMENTATION = r"""
module: acm_server_certificates
short_description: Import the server certificates of a fleet's endpoints into ACM of one region
description:
  - Imports each endpoint's certificate where the region has none, or over an older one that this module imported. A
    certificate that it did not import, or that is newer, is not changed.
  - It finds a certificate by the domain configuration of its endpoint, else by the tag C(Name). The tag
    C(mqtt-region-switch:origin) says who imported it.
options:
  server_certificate_arns:
    description: "Certificates in ACM that the operator provides, so that none is imported: V({endpoint: ARN})."
    type: dict
  planned:
    description: In check mode, endpoints that M(server_certificates) would have issued a certificate for.
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
  description: Per endpoint, the certificate's ARN (null for one that check mode would import), and whether this module
    imported it.
  returned: always
  type: list
  elements: dict
  sample: [{endpoint: mqtt1.example.com, arn: "arn:aws:acm:us-east-1:123456789012:certificate/...", own: true}]
"""

from typing import Any

from ansible.module_utils.region_switch.module import REGION_OPTION, SERVER_CERTIFICATES_SPEC, run_module

ARGUMENT_SPEC: dict[str, Any] = {
    **SERVER_CERTIFICATES_SPEC,
    "server_certificate_arns": {"type": "dict"},
    "planned": {"type": "list", "elements": "str", "default": []},
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
