#!/usr/bin/python
from __future__ import annotations

DOCUMENTATION = r"""
module: device_signing_request
short_description: Keep the signing request of a device
description:
  - Writes the request to the folder from which certificates are issued.
  - A certificate for another key is moved to the folder C(superseded) beside it, where M(iot_clients) finds it when the
    device works with its new one.
  - A private key of the device in that folder is removed, since the device has its own, which never leaves it.
options:
  directory:
    description: Folder of the signing requests and certificates, which has to exist.
    type: path
    required: true
  client_id:
    description: Client ID, which names the files.
    type: str
    required: true
  csr:
    description: The signing request, PEM.
    type: str
    required: true
extends_documentation_fragment:
  - region_switch
requirements: [boto3, cryptography]
author: The maintainers of this repository
"""

EXAMPLES = r"""
- name: Keep the signing request
  device_signing_request:
    directory: certs/clients
    client_id: device-0001
    csr: "{{ identity.csr }}"
  delegate_to: localhost
"""

RETURN = r"""
superseded:
  description: Whether a certificate for another key was moved away.
  returned: always
  type: bool
key_removed:
  description: Whether a private key was removed.
  returned: always
  type: bool
"""

from typing import Any

from ansible.module_utils.region_switch.module import run_module

ARGUMENT_SPEC: dict[str, Any] = {
    "directory": {"type": "path", "required": True},
    "client_id": {"type": "str", "required": True},
    "csr": {"type": "str", "required": True},
}


def _act(parameters: dict[str, Any], check_mode: bool) -> dict[str, Any]:
    from ansible.module_utils.region_switch.setup.signing_request import ensure_signing_request

    result: dict[str, Any] = ensure_signing_request(parameters, check_mode)
    return result


def main() -> None:
    run_module(ARGUMENT_SPEC, _act)


if __name__ == "__main__":
    main()
