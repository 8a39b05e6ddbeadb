"""`mqtt_device_identity` on devices, whose answers are validated."""

from __future__ import annotations

from ansible.plugins.loader import action_loader

ActionModule = action_loader.get("device_answer", class_only=True)
