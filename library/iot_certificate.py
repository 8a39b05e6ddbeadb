#!/usr/bin/python
from __future__ import annotations

DOCUMENTATION = r"""
module: iot_certificate
short_description: Manage a device certificate of AWS IoT
description:
  - Issues a device certificate from a CSR in one region, registers the same certificate without a CA in others,
    and sets its status, policies and thing.
  - The certificate ID is the SHA-256 of the certificate, hence the same in every region.
options:
  certificate_path:
    description:
      - File of the certificate (PEM or DER), which may also contain those of its CAs.
      - If it exists, the certificate is registered in the region unless it is known there. Otherwise one is issued
        from O(csr_path) and written to it.
    type: path
    required: true
  csr_path:
    description: File of the certificate signing request. An existing certificate for another key is refused.
    type: path
  status:
    description:
      - Status of the certificate; devices can connect only with V(ACTIVE) ones.
      - If not given, a known certificate keeps its status, and a new one is V(ACTIVE).
    type: str
    choices: [ACTIVE, INACTIVE, REVOKED]
  policies:
    description: Names of the policies to attach. Other attached policies stay.
    type: list
    elements: str
  thing:
    description: Name of the thing to attach. Other attached things stay.
    type: str
extends_documentation_fragment:
  - region_switch
  - region_switch.region
  - region_switch.state
requirements: [boto3, cryptography]
author: The maintainers of this repository
"""

EXAMPLES = r"""
- name: Issue a certificate
  iot_certificate:
    region: us-east-1
    csr_path: certs/clients/client_01.csr
    certificate_path: certs/clients/client_01.crt

- name: Register the same certificate in the other region
  iot_certificate:
    region: ap-northeast-1
    certificate_path: certs/clients/client_01.crt
    policies: [fleet-device]
    thing: client_01
"""

RETURN = r"""
certificate_id:
  description: ID of the certificate; null in check mode if it does not exist yet.
  returned: always
  type: str
certificate_arn:
  description: ARN of the certificate; null in check mode if it does not exist yet.
  returned: always
  type: str
status:
  description: Status of the certificate, null where it does not exist.
  returned: always
  type: str
"""

from typing import Any

from ansible.module_utils.region_switch.module import REGION_OPTION, STATE_OPTION, run_module

ARGUMENT_SPEC: dict[str, Any] = {
    "certificate_path": {"type": "path", "required": True},
    "csr_path": {"type": "path"},
    "status": {"type": "str", "choices": ["ACTIVE", "INACTIVE", "REVOKED"]},
    "policies": {"type": "list", "elements": "str"},
    "thing": {"type": "str"},
    "region": REGION_OPTION,
    "state": STATE_OPTION,
}


def _act(parameters: dict[str, Any], check_mode: bool) -> dict[str, Any]:
    from ansible.module_utils.region_switch.aws.clients import AwsClient
    from ansible.module_utils.region_switch.setup.certificate import ensure_certificate

    result: dict[str, Any] = ensure_certificate(AwsClient("iot", parameters["region"]), parameters, check_mode)
    return result


def main() -> None:
    run_module(ARGUMENT_SPEC, _act)


if __name__ == "__main__":
    main()
