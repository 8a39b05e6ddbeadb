"""`mqtt_device_client`, whose answer is a device's: nothing of it is taken unchecked."""

from __future__ import annotations

from ansible.plugins.loader import action_loader

ActionModule = action_loader.get("device_answer", class_only=True)
