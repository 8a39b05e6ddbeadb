#!/usr/bin/python
from __future__ import annotations

DOCUMENTATION = r"""
module: server_certificates
short_description: Make the CA and the server certificates of a fleet's endpoints
description:
  - Checks what each region serves for each endpoint, and the folder. It then makes the CA and, for each endpoint that
    has none, a private key, a signing request and a certificate. A certificate that is about to expire is renewed with
    its key.
  - Files that it did not make are never overwritten, and no CA is made where a region already serves a certificate. All
    problems are reported before anything is written.
options:
  regions:
    description: The AWS Regions that serve them.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: AWS Region.
        type: str
        required: true
      server_certificate_arns:
        description: "Certificates in ACM there that the operator provides: V({endpoint: ARN})."
        type: dict
  ca_private_key:
    description: PEM of the private key of O(ca_certificate). It is not written to O(directory).
    type: str
  ca_private_key_passphrase:
    description: Passphrase of the CA's private key.
    type: str
  key_type:
    description: V(ECC) makes P-256 keys, V(RSA) makes keys of 2048 bits.
    type: str
    choices: [ECC, RSA]
    default: ECC
  ca_not_after:
    description: When a new CA expires, relative to now or as an ASN.1 time.
    type: str
    default: +3650d
  server_not_after:
    description: When a new server certificate expires, at the latest with the CA.
    type: str
    default: +825d
  renew_days:
    description: A server certificate that expires in fewer days is renewed.
    type: float
    default: 60
extends_documentation_fragment:
  - region_switch
  - region_switch.server_certificates
requirements: [boto3, cryptography]
author: The maintainers of this repository
"""

EXAMPLES = r"""
- name: Make the CA and the server certificates
  server_certificates:
    directory: certs/production
    endpoints: [mqtt1.example.com]
    regions: [{name: us-east-1}, {name: ap-northeast-1}]
    ca_common_name: MQTT fleet CA
"""

RETURN = r"""
issued:
  description: Endpoints whose certificates were made or renewed.
  returned: always
  type: list
  elements: str
"""

from typing import Any

from ansible.module_utils.region_switch.module import SERVER_CERTIFICATES_SPEC, run_module

ARGUMENT_SPEC: dict[str, Any] = {
    **SERVER_CERTIFICATES_SPEC,
    "regions": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {"name": {"type": "str", "required": True}, "server_certificate_arns": {"type": "dict"}},
    },
    "ca_private_key": {"type": "str", "no_log": True},
    "ca_private_key_passphrase": {"type": "str", "no_log": True},
    "key_type": {"type": "str", "choices": ["ECC", "RSA"], "default": "ECC"},
    "ca_not_after": {"type": "str", "default": "+3650d"},
    "server_not_after": {"type": "str", "default": "+825d"},
    "renew_days": {"type": "float", "default": 60},
}


def _act(parameters: dict[str, Any], check_mode: bool) -> dict[str, Any]:
    from ansible.module_utils.region_switch.setup.server_setup import ensure_folder

    result: dict[str, Any] = ensure_folder(parameters, check_mode)
    return result


def main() -> None:
    run_module(ARGUMENT_SPEC, _act)


if __name__ == "__main__":
    main()
