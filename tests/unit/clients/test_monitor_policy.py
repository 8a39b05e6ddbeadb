"""The monitor's policy lets it connect and subscribe as it does, and to nothing else."""

from __future__ import annotations

import json
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
from jinja2 import Environment, StrictUndefined

from mqtt_monitor.config import TOPICS, MonitorConfig

TEMPLATE = Path(__file__).parents[3] / "roles" / "iot_region" / "templates" / "monitor_policy.json.j2"
ARN = "arn:aws:iot:us-east-1:123456789012"


def resources(action: str) -> list[str]:
    environment = Environment(undefined=StrictUndefined, autoescape=False)  # noqa: S701 - JSON, not HTML
    text = environment.from_string(TEMPLATE.read_text()).render(
        __iot_region_arn_prefix=ARN, iot_region_monitor_client_id="fleet-monitor"
    )
    (found,) = [entry["Resource"] for entry in json.loads(text)["Statement"] if entry["Action"] == action]
    return [found] if isinstance(found, str) else list(found)


def config(connections: int) -> MonitorConfig:
    nowhere = Path()
    single = MonitorConfig(nowhere, "fleet-monitor", nowhere, nowhere, nowhere, (), ())
    return replace(single, connections=connections)


def test_filters_of_one_connection_and_of_several_are_allowed_and_no_others() -> None:
    used = {f"{ARN}:topicfilter/{topic}" for connections in (1, 2) for topic in config(connections).filters}

    assert set(resources("iot:Subscribe")) == used


@pytest.mark.parametrize("number", [1, 2, 50])
def test_client_id_of_every_connection_is_allowed(number: int) -> None:
    client = f"{ARN}:client/{config(50).client_id_of(number)}"

    assert any(fnmatchcase(client, pattern) for pattern in resources("iot:Connect"))
    assert not any(fnmatchcase(f"{ARN}:client/client_01", pattern) for pattern in resources("iot:Connect"))


@pytest.mark.parametrize("topic", TOPICS)
def test_messages_may_be_received(topic: str) -> None:
    received = f"{ARN}:topic/{topic.replace('+', 'client_01', 1).replace('+', 'temperature')}"

    assert any(fnmatchcase(received, pattern) for pattern in resources("iot:Receive"))
    assert not any(fnmatchcase(f"{ARN}:topic/fleet/client_01/commands", each) for each in resources("iot:Receive"))


@pytest.mark.parametrize("topic", TOPICS)
def test_messages_of_a_shared_subscription_may_be_received(topic: str) -> None:
    """AWS's own samples allow Receive on `topic/$share/<share name>/<topic>` beside `topic/<topic>`.

    Source: aws-iot-device-sdk-python-v2, samples, "MQTT5 shared subscription": the sample policy.
    """
    (shared,) = [each for each in config(2).filters if each.endswith(f"/{topic}")]
    received = f"{ARN}:topic/{shared.replace('+', 'client_01', 1).replace('+', 'temperature')}"

    assert any(fnmatchcase(received, pattern) for pattern in resources("iot:Receive"))
