"""The message that the broker publishes when a connection ends without a DISCONNECT, MQTT 5, 3.1.2.5."""

from __future__ import annotations

from typing import Any

from mqtt_fleet.config import Config


def paho_options(config: Config) -> dict[str, Any]:
    """What paho's `will_set` is given."""
    topic, payload = config.whole_will_topic, config.will_payload.encode()
    return {"topic": topic, "payload": payload, "qos": config.will_qos, "retain": config.will_retain}


def awsiotsdk_options(config: Config) -> dict[str, Any]:
    """What the SDK's builder is given; nothing where there is no will."""
    if not config.will_topic:
        return {}
    # A device has only one of the two libraries.
    from awscrt import mqtt5

    packet = mqtt5.PublishPacket(
        topic=config.whole_will_topic,
        payload=config.will_payload.encode(),
        qos=mqtt5.QoS(config.will_qos),
        retain=config.will_retain,
    )
    return {"will": packet, "will_delay_interval_sec": config.will_delay}
