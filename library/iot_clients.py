#!/usr/bin/python
from __future__ import annotations

DOCUMENTATION = r"""
module: iot_clients
short_description: Make many MQTT clients known to AWS IoT in one region
description:
  - Makes the thing of each client, registers its certificate and attaches the policy and the thing to it.
  - A client whose certificate is still to be issued, and cannot be here, is named in RV(left_out) and holds up no
    other.
  - What somebody turned off stays off. A certificate that is not ACTIVE, whose policy or thing was detached, or that
    was deleted where it was issued is left as it is, no other is issued in its place, and RV(left_out) says so.
  - Files of signing requests and certificates are parsed, and what is sent is encoded anew. One with a private key in
    it, or with a CA's certificate alone, is refused.
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
        description: The endpoint that the client connects to. A client without one gets no thing.
        type: str
      policy:
        description: Name of the policy to attach, where it is not O(policy).
        type: str
      required:
        description: Whether the module fails where this client cannot be made known.
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
    description: Thing attribute that says which endpoint a client uses.
    type: str
    default: mqtt_endpoint
  issue:
    description: Whether certificates that do not exist yet are issued in this region.
    type: bool
    default: false
  issuing_region:
    description:
      - The region in which certificates are issued, where that is not this one.
      - It is asked for a certificate before that is registered here; one that it does not know, or that is not ACTIVE
        there, is not.
    type: str
  restore:
    description:
      - Client IDs of those that get back what somebody took from them (the status ACTIVE, the policy, the thing, or a
        new certificate in the place of one that was turned off); V(*) stands for all.
    type: list
    elements: str
    default: []
  foretold:
    description: Client IDs whose signing request a step before would have made anew. Read in check mode only.
    type: list
    elements: str
    default: []
  retire:
    description: Client IDs whose certificates that have a successor become INACTIVE, in the place of all else.
    type: list
    elements: str
extends_documentation_fragment:
  - region_switch
  - region_switch.region
requirements: [boto3, cryptography]
author: The maintainers of this repository
"""

EXAMPLES = r"""
- name: Issue certificates and make the clients known
  iot_clients:
    region: us-east-1
    directory: certs/clients
    policy: mqtt-fleet-device
    issue: true
    clients:
      - {client_id: device-0001, endpoint: mqtt1.example.com}

- name: Make a certificate that has a successor inactive
  iot_clients:
    region: us-east-1
    directory: certs/clients
    retire: [device-0001]
"""

RETURN = r"""
region:
  description: The AWS Region that the clients were made known in.
  returned: when clients are made known
  type: str
left_out:
  description: Per client ID, why it could not be made known.
  returned: when clients are made known
  type: dict
awaiting:
  description: Client IDs of those in RV(left_out) that only the issuing region holds up.
  returned: when clients are made known
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
    "foretold": {"type": "list", "elements": "str", "default": []},
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
