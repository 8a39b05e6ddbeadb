#!/usr/bin/python
from __future__ import annotations

DOCUMENTATION = r"""
module: iot_domain_configuration
short_description: Manage a custom domain of AWS IoT
description:
  - Creates, updates, enables, disables or deletes a domain configuration.
  - AWS cannot change the server certificate or the domain name of an existing one; the module refuses such a change
    rather than delete a configuration in use.
  - A configuration that exists for O(domain_name) under another name than O(name) is used unchanged. Differences are
    reported as warnings.
options:
  name:
    description: Name of the domain configuration.
    type: str
    required: true
  domain_name:
    description: The domain name, such as V(mqtt1.example.com). Needed to create one.
    type: str
  server_certificate_arn:
    description: ARN of the server certificate in ACM of the same region. Needed to create one.
    type: str
  validation_certificate_arn:
    description:
      - ARN of a public ACM certificate that proves the ownership of the domain name.
      - AWS requires it where the server certificate is from a private CA. Used at creation only.
    type: str
  status:
    description:
      - Whether the region serves devices under the domain name.
      - If not given, an existing configuration keeps its status, and a new one is V(ENABLED).
    type: str
    choices: [ENABLED, DISABLED]
  update:
    description: Whether an existing configuration is changed; otherwise differences are reported as warnings.
    type: bool
    default: true
  tls_security_policy:
    description: TLS security policy. Its default differs between regions.
    type: str
  authentication_type:
    description: How devices authenticate.
    type: str
    choices: [CUSTOM_AUTH_X509, CUSTOM_AUTH, AWS_X509, AWS_SIGV4, DEFAULT]
  application_protocol:
    description: The protocol of devices.
    type: str
    choices: [SECURE_MQTT, MQTT_WSS, HTTPS, DEFAULT]
extends_documentation_fragment:
  - region_switch
  - region_switch.region
  - region_switch.state
requirements: [boto3]
author: The maintainers of this repository
"""

EXAMPLES = r"""
- name: Serve mqtt1.example.com
  iot_domain_configuration:
    region: us-east-1
    name: mqtt1-example-com
    domain_name: mqtt1.example.com
    server_certificate_arn: "{{ acm.certificate.arn }}"
    tls_security_policy: IoTSecurityPolicy_TLS13_1_2_2022_10
"""

RETURN = r"""
name:
  description: Name of the domain configuration, which may differ from O(name).
  returned: always
  type: str
arn:
  description: ARN of the domain configuration, null where it does not exist.
  returned: always
  type: str
status:
  description: V(ENABLED) or V(DISABLED), null where it does not exist.
  returned: always
  type: str
"""

from typing import Any

from ansible.module_utils.region_switch.module import REGION_OPTION, STATE_OPTION, run_module

# AWS creates one domain configuration per second and region
# (https://docs.aws.amazon.com/general/latest/gr/iot-core.html), fewer than a loop over endpoints requests.
ATTEMPTS = 8

ARGUMENT_SPEC: dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "domain_name": {"type": "str"},
    "server_certificate_arn": {"type": "str"},
    "validation_certificate_arn": {"type": "str"},
    "status": {"type": "str", "choices": ["ENABLED", "DISABLED"]},
    "update": {"type": "bool", "default": True},
    "tls_security_policy": {"type": "str"},
    "authentication_type": {
        "type": "str",
        "choices": ["CUSTOM_AUTH_X509", "CUSTOM_AUTH", "AWS_X509", "AWS_SIGV4", "DEFAULT"],
    },
    "application_protocol": {"type": "str", "choices": ["SECURE_MQTT", "MQTT_WSS", "HTTPS", "DEFAULT"]},
    "region": REGION_OPTION,
    "state": STATE_OPTION,
}


def _act(parameters: dict[str, Any], check_mode: bool) -> dict[str, Any]:
    from ansible.module_utils.region_switch.aws.clients import AwsClient
    from ansible.module_utils.region_switch.setup.domain_configuration import ensure_domain_configuration

    iot = AwsClient("iot", parameters["region"], attempts=ATTEMPTS)
    result: dict[str, Any] = ensure_domain_configuration(iot, parameters, check_mode)
    return result


def main() -> None:
    run_module(ARGUMENT_SPEC, _act)


if __name__ == "__main__":
    main()
