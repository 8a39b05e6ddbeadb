#!/usr/bin/python
from __future__ import annotations

DOCUMENTATION = r"""
module: mqtt_device_client
short_description: Install, prove, roll back or remove the MQTT client of a device
description:
  - Installs a release, its configuration, certificates and unit as a whole, restarts the client if something differs,
    and waits until it is connected and one of its messages is acknowledged.
  - If that fails, the previous installation is restored and runs again when the module ends.
  - All of it happens on the device, which therefore rolls back even if it loses its connection to the controller.
options:
  state:
    description:
      - V(present) installs.
      - V(previous) returns to the installation before the last change.
      - V(absent) removes everything except messages that were not delivered.
    type: str
    choices: [present, previous, absent]
    default: present
  client_id:
    description: MQTT client ID, which names the client in errors.
    type: str
    required: true
  ca:
    description: The CA that the endpoint's certificate is verified against, PEM.
    type: str
  certificate:
    description: The client's certificate, PEM; empty in check mode if it is not issued yet.
    type: str
  configuration:
    description: The client's configuration.
    type: dict
  unit:
    description: The systemd unit, which runs O(release).
    type: str
  release:
    description: Name of the release.
    type: str
  archive:
    description: The release's archive on the device, removed once installed. Not needed if the release is installed.
    type: path
  archive_digest:
    description: SHA-256 of O(archive) as it was built, in hex. An archive with another digest is not unpacked.
    type: str
  bundle:
    description: The archive on the controller, which is sent to the device and becomes O(archive).
    type: path
  timeout:
    description: Seconds for the client to connect and have a message acknowledged.
    type: float
    default: 30
  needs_message:
    description: Whether a message has to be acknowledged; V(false) if the client sends none by itself.
    type: bool
    default: true
  group:
    description: Group that may use the client's socket, created if it does not exist.
    type: str
    default: ''
  metrics_file:
    description: Where the client writes its metrics.
    type: path
    default: /run/mqtt-client/mqtt_client.prom
  metrics_link:
    description: Link to O(metrics_file) in the folder of node_exporter's textfile collector.
    type: path
  purge:
    description: With O(state=absent), whether undelivered messages are removed as well.
    type: bool
    default: false
extends_documentation_fragment:
  - region_switch
  - region_switch.time_limit
requirements: [openssl, systemd 247 or newer]
author: The maintainers of this repository
"""

EXAMPLES = r"""
- name: Install the client
  mqtt_device_client:
    client_id: device-0001
    ca: "{{ lookup('ansible.builtin.file', 'certs/ca.crt') }}"
    certificate: "{{ lookup('ansible.builtin.file', 'certs/clients/device-0001.crt') }}"
    configuration: {client_id: device-0001, endpoint: mqtt1.example.com, library: paho}
    unit: "{{ lookup('ansible.builtin.template', 'mqtt-client.service.j2') }}"
    release: 0123456789abcdef-python3.11
    bundle: .cache/bundles/paho.tar.gz
    archive_digest: 2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae

- name: Remove the client
  mqtt_device_client:
    client_id: device-0001
    state: absent
"""

RETURN = r"""
connected:
  description: Whether the client is connected.
  returned: when state is not absent
  type: bool
status:
  description: The client's status text, as C(systemctl status) shows it.
  returned: when state is not absent
  type: str
release:
  description: Name of the installed release; null if there is none.
  returned: when state is not absent
  type: str
undelivered:
  description: Number of undelivered messages; null if the outbox cannot be read.
  returned: when state is absent
  type: int
kept:
  description: Folder of the outbox if it was kept, else null.
  returned: when state is absent
  type: str
"""

import json
from pathlib import Path
from typing import Any

from ansible.module_utils.mqtt_device.installation import Wanted, deploy, roll_back
from ansible.module_utils.mqtt_device.layout import Layout
from ansible.module_utils.mqtt_device.removal import remove
from ansible.module_utils.mqtt_device.service import SystemdService
from ansible.module_utils.region_switch.module import run_module

ARGUMENT_SPEC: dict[str, Any] = {
    "state": {"type": "str", "choices": ["present", "previous", "absent"], "default": "present"},
    "client_id": {"type": "str", "required": True},
    "ca": {"type": "str"},
    "certificate": {"type": "str"},
    "configuration": {"type": "dict"},
    "unit": {"type": "str"},
    "release": {"type": "str"},
    "archive": {"type": "path"},
    "archive_digest": {"type": "str"},
    "bundle": {"type": "path"},
    "timeout": {"type": "float", "default": 30},
    "needs_message": {"type": "bool", "default": True},
    "group": {"type": "str", "default": ""},
    "metrics_file": {"type": "path", "default": "/run/mqtt-client/mqtt_client.prom"},
    "metrics_link": {"type": "path"},
    "purge": {"type": "bool", "default": False},
    "time_limit": {"type": "float", "default": 300},
}


def _act(parameters: dict[str, Any], check_mode: bool) -> dict[str, Any]:
    layout, service = Layout(), SystemdService()
    link = Path(parameters["metrics_link"]) if parameters["metrics_link"] else None
    if parameters["state"] == "absent":
        removed: dict[str, Any] = remove(layout, service, parameters["purge"], link, check_mode)
        return removed
    if parameters["state"] == "previous":
        before: dict[str, Any] = roll_back(layout, service, parameters["timeout"], check_mode)
        return before
    wanted = Wanted(
        client_id=parameters["client_id"],
        ca=_text(parameters["ca"]),
        certificate=_text(parameters["certificate"]),
        configuration=_text(json.dumps(parameters["configuration"], indent=2, sort_keys=True)),
        unit=_text(parameters["unit"]),
        release=parameters["release"],
        archive=Path(parameters["archive"]) if parameters["archive"] else None,
        archive_digest=parameters["archive_digest"],
        timeout=parameters["timeout"],
        needs_message=parameters["needs_message"],
        group=parameters["group"],
        metrics_link=link,
        metrics_file=Path(parameters["metrics_file"]),
    )
    result: dict[str, Any] = deploy(layout, service, wanted, check_mode)
    return result


def _text(content: str) -> str:
    """A file's text with exactly one line end; lookups strip it."""
    return f"{content.strip()}\n" if content and content.strip() else ""


def main() -> None:
    needed = ["ca", "certificate", "configuration", "unit", "release"]
    together = [("archive", "archive_digest")]
    run_module(ARGUMENT_SPEC, _act, required_if=[("state", "present", needed)], required_together=together)


if __name__ == "__main__":
    main()
