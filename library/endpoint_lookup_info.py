#!/usr/bin/python
from __future__ import annotations

DOCUMENTATION = r"""
module: endpoint_lookup_info
short_description: Look up endpoints as this device does
description:
  - Resolves names through the device's own resolver (C(getaddrinfo), hence with C(/etc/hosts) and all caches), and
    compares each endpoint with its target.
  - Two names lead to the same place when they have the same canonical name, the one at the end of the CNAMEs.
  - The device needs only Python.
options:
  endpoints:
    description: The names to look up.
    type: list
    elements: str
    required: true
  targets:
    description:
      - "Host names that the endpoints should lead to: V({endpoint: host name}). They are looked up on the device, too."
    type: dict
    default: {}
  background:
    description:
      - In a loop over devices, starts to ask this one without waiting, so that all are asked at the same time. All
        together take at most O(time_limit), except those that are asked again until O(until).
    type: bool
    default: false
  collect:
    description:
      - In the last item of such a loop, asks no device, but waits for those of the other items and returns RV(answers).
    type: bool
    default: false
  until:
    description:
      - How long a device in the background is asked again while an endpoint leads elsewhere, as a time of the
        controller's monotonic clock in seconds.
    type: float
    default: 0
extends_documentation_fragment:
  - region_switch.info
  - region_switch.time_limit
author: The maintainers of this repository
"""

EXAMPLES = r"""
- name: Look up an endpoint on the device
  endpoint_lookup_info:
    endpoints: [mqtt1.example.com]
    targets:
      mqtt1.example.com: a1b2c3d4e5f6g7-ats.iot.ap-northeast-1.amazonaws.com
  register: looked_up
  until: looked_up.stale == []
  delay: 1
  retries: 60

- name: Look up an endpoint on several devices at the same time
  endpoint_lookup_info:
    endpoints: [mqtt1.example.com]
    background: "{{ item != 'localhost' }}"
    collect: "{{ item == 'localhost' }}"
    time_limit: 20
  delegate_to: "{{ item }}"
  loop: [edge-0001, edge-0002, localhost]
  register: looked_up
"""

RETURN = r"""
answers:
  description:
    - What each device of the loop answered, with C(host) and C(endpoint); C(reason) where it could not be asked.
  returned: with O(collect)
  type: list
  elements: dict
lookups:
  description: The results by name, of the endpoints and of their targets.
  returned: always
  type: dict
  contains:
    canonical:
      description: The canonical name; empty when the name was not found.
      type: str
    addresses:
      description: The addresses, sorted.
      type: list
      elements: str
    error:
      description: Why the name was not found; empty when it was.
      type: str
  sample:
    mqtt1.example.com:
      canonical: a1b2c3d4e5f6g7-ats.iot.us-east-1.amazonaws.com
      addresses: [192.0.2.1]
      error: ""
stale:
  description: The endpoints that do not lead to their target.
  returned: always
  type: list
  elements: str
"""

import socket
from typing import Any

from ansible.module_utils.basic import AnsibleModule

ARGUMENT_SPEC: dict[str, Any] = {
    "endpoints": {"type": "list", "elements": "str", "required": True},
    "targets": {"type": "dict", "default": {}},
    "time_limit": {"type": "float", "default": 300},
    "background": {"type": "bool", "default": False},
    "collect": {"type": "bool", "default": False},
    "until": {"type": "float", "default": 0},
}


def look_up(name: str) -> dict[str, Any]:
    """Look up a name; return an entry of `lookups` as documented in RETURN."""
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM, flags=socket.AI_CANONNAME)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        return {"canonical": "", "addresses": [], "error": reason}
    # Only the first entry has the canonical name.
    canonical = found[0][3].rstrip(".").lower()
    return {"canonical": canonical, "addresses": sorted({str(each[4][0]) for each in found}), "error": ""}


def stale_endpoints(lookups: dict[str, dict[str, Any]], targets: dict[str, str]) -> list[str]:
    """The endpoints whose canonical name is neither their target nor the target's own, or that were not found."""
    return [
        endpoint
        for endpoint, target in targets.items()
        if not lookups[endpoint]["canonical"]
        or lookups[endpoint]["canonical"] not in (target.rstrip(".").lower(), lookups[target]["canonical"])
    ]


def main() -> None:
    module = AnsibleModule(ARGUMENT_SPEC, supports_check_mode=True)
    endpoints: list[str] = module.params["endpoints"]
    targets = {endpoint: str(target) for endpoint, target in module.params["targets"].items()}
    unknown = sorted(set(targets) - set(endpoints))
    if unknown:
        module.fail_json(msg=f"targets: {', '.join(unknown)} not among the endpoints: add them to endpoints")
    names = dict.fromkeys([*endpoints, *targets.values()])
    lookups = {name: look_up(name) for name in names}
    module.exit_json(changed=False, lookups=lookups, stale=stale_endpoints(lookups, targets))


if __name__ == "__main__":
    main()
