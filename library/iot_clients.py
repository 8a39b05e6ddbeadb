#!/usr/bin/python
from __future__ import annotations

DOCUMENTATION = r"""
module: iot_clients
short_description: Register many MQTT clients with AWS IoT in one region
description:
  - Creates the thing of each client, registers its certificate and attaches the policy and the thing to it.
  - A client without a certificate that can be registered is named in RV(left_out); the others are registered.
  - What somebody turned off stays off. A certificate that is not ACTIVE, whose policy or thing was detached, or that
    was deleted where it was issued is not changed, no other is issued in its place, and RV(left_out) says so.
  - Files of signing requests and certificates are parsed and encoded again. A file with a private key, or with a CA's
    certificate alone, is refused.
  - Paced to AWS's default quotas, ten clients a second.
options:
  clients:
    description: The clients.
    type: list
    elements: dict
    default: []
    suboptions:
      client_id:
        description:
          - Client ID, also the name of the thing, and of the files C(<client ID>.csr) and C(<client ID>.crt).
          - Text; a number is refused, since YAML makes V(83) of an unquoted C(0123).
        type: raw
        required: true
      endpoint:
        description: The endpoint that the client connects to. Without it, the client gets no thing.
        type: str
      policy:
        description: Name of the policy to attach instead of O(policy).
        type: str
      required:
        description: Whether the module fails if this client cannot be registered.
        type: bool
        default: false
  directory:
    description: Folder of the signing requests and certificates.
    type: path
    required: true
  policy:
    description: Name of the policy to attach.
    type: str
  endpoint_attribute:
    description: Thing attribute that names the endpoint of a client.
    type: str
    default: mqtt_endpoint
  issue:
    description: Whether missing certificates are issued in this region.
    type: bool
    default: false
  issuing_region:
    description:
      - The region in which certificates are issued, if not this one.
      - A certificate is registered here only if it is known and ACTIVE there.
    type: str
  restore:
    description:
      - IDs of clients to admit again after somebody turned them off. They get back the status ACTIVE, the policy, the
        thing, or a new certificate in place of one that was turned off. V(*) means all.
    type: list
    elements: str
    default: []
  planned:
    description: In check mode, IDs of clients whose signing request an earlier task would have created.
    type: list
    elements: str
    default: []
  retire:
    description: IDs of clients whose superseded certificates become INACTIVE; nothing else is done.
    type: list
    elements: str
extends_documentation_fragment:
  - region_switch
  - region_switch.region
requirements: [boto3, cryptography]
author: The maintainers of this repository
"""

EXAMPLES = r"""
- name: Issue certificates and register the clients
  iot_clients:
    region: us-east-1
    directory: certs/clients
    policy: mqtt-fleet-device
    issue: true
    clients:
      - {client_id: device-0001, endpoint: mqtt1.example.com}

- name: Make a superseded certificate inactive
  iot_clients:
    region: us-east-1
    directory: certs/clients
    retire: [device-0001]
"""

RETURN = r"""
region:
  description: The AWS Region that the clients were registered in.
  returned: when clients are registered
  type: str
left_out:
  description: Per client ID, why the client could not be registered.
  returned: when clients are registered
  type: dict
awaiting:
  description: Client IDs in RV(left_out) that only wait for the issuing region.
  returned: when clients are registered
  type: list
  elements: str
retired:
  description: IDs of the certificates that are now INACTIVE.
  returned: when certificates are retired
  type: list
  elements: str
"""

from typing import Any

from ansible.module_utils.region_switch.module import REGION_OPTION, run_module

ARGUMENT_SPEC: dict[str, Any] = {
    "clients": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "client_id": {"type": "raw", "required": True},
            "endpoint": {"type": "str"},
            "policy": {"type": "str"},
            "required": {"type": "bool", "default": False},
        },
    },
    "directory": {"type": "path", "required": True},
    "policy": {"type": "str"},
    "endpoint_attribute": {"type": "str", "default": "mqtt_endpoint"},
    "issue": {"type": "bool", "default": False},
    "issuing_region": {"type": "str"},
    "restore": {"type": "list", "elements": "str", "default": []},
    "planned": {"type": "list", "elements": "str", "default": []},
    "retire": {"type": "list", "elements": "str"},
    "region": REGION_OPTION,
}


def _act(parameters: dict[str, Any], check_mode: bool) -> dict[str, Any]:
    from ansible.module_utils.region_switch.aws.clients import AwsClient
    from ansible.module_utils.region_switch.setup.registration import ensure_clients, retire_certificates

    iot = AwsClient("iot", parameters["region"])
    retire = parameters["retire"] is not None
    result: dict[str, Any] = (retire_certificates if retire else ensure_clients)(iot, parameters, check_mode)
    return result


def main() -> None:
    run_module(ARGUMENT_SPEC, _act)


if __name__ == "__main__":
    main()
