#!/usr/bin/python
from __future__ import annotations

DOCUMENTATION = r"""
module: server_certificates
short_description: Make the CA and the server certificates of a fleet's endpoints
description:
  - Looks at what each region serves for each endpoint, and at the folder. It then makes the CA, a private key, a
    signing request and a certificate for each endpoint that has none, and renews a certificate, with its key, that is
    about to end.
  - Nothing is written over that it did not make, and no CA is made where a region serves a certificate already. All
    that speaks against it is said before anything is written.
options:
  directory:
    description: Folder of C(ca.crt), C(ca.key), C(<endpoint>.crt), C(<endpoint>.key), C(<endpoint>.csr).
    type: path
    required: true
  endpoints:
    description: The endpoints, DNS names.
    type: list
    elements: str
    required: true
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
        description: "Certificates of the operator's own in ACM there: V({endpoint: ARN})."
        type: dict
  ca_certificate:
    description: PEM of a CA of the operator's own, followed by those above it; C(ca.crt) is written from it.
    type: str
  ca_private_key:
    description: PEM of that CA's private key. It is not written to O(directory).
    type: str
  ca_private_key_passphrase:
    description: Passphrase of the CA's private key.
    type: str
  ca_common_name:
    description: Common name of a CA that is made.
    type: str
    required: true
  key_type:
    description: V(ECC) makes P-256 keys, V(RSA) makes keys of 2048 bits.
    type: str
    choices: [ECC, RSA]
    default: ECC
  ca_not_after:
    description: When a CA that is made ends, relative to now or as an ASN.1 time.
    type: str
    default: +3650d
  server_not_after:
    description: When a server certificate that is made ends, no later than the CA.
    type: str
    default: +825d
  renew_days:
    description: A server certificate that ends in fewer days is renewed.
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
  description: Endpoints whose certificates were made, or renewed.
  returned: always
  type: list
  elements: str
"""

from typing import Any

from ansible.module_utils.region_switch.module import SERVER_CERTIFICATES_OPTION, run_module

ARGUMENT_SPEC: dict[str, Any] = {
    "directory": {"type": "path", "required": True},
    "endpoints": {"type": "list", "elements": "str", "required": True},
    "regions": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {"name": {"type": "str", "required": True}, "server_certificate_arns": {"type": "dict"}},
    },
    "server_certificates": SERVER_CERTIFICATES_OPTION,
    "ca_certificate": {"type": "str"},
    "ca_private_key": {"type": "str", "no_log": True},
    "ca_private_key_passphrase": {"type": "str", "no_log": True},
    "ca_common_name": {"type": "str", "required": True},
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
