"""The article's client with paho-mqtt (MQTT 3.1.1); runs on a device.

When it is disconnected it waits 5 s and looks the name up three times; then paho's automatic reconnect takes over.
"""

import socket
import sys
import time

from paho.mqtt import client as mqtt
from publisher import Numbers, publish_regularly

ENDPOINT, CLIENT_ID, FOLDER, STATE, INTERVAL = sys.argv[1:]


def on_disconnect(client, userdata, rc):
    sys.stdout.write(f"Disconnected with result code {rc}\n")
    time.sleep(5)
    for number in range(3):
        sys.stdout.write(f"[{number + 1}/3] DNS resolved: {resolve_dns(ENDPOINT)}\n")
        sys.stdout.flush()
        time.sleep(1)


def resolve_dns(name):
    try:
        return socket.gethostbyname(name)
    except OSError as error:
        return error


client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION1, client_id=CLIENT_ID)
client.on_disconnect = on_disconnect
client.tls_set(f"{FOLDER}/ca.crt", f"{FOLDER}/client.crt", f"{FOLDER}/client.key")
client.connect(ENDPOINT, 8883, keepalive=30)
client.loop_start()
publish_regularly(
    Numbers(STATE),
    CLIENT_ID,
    float(INTERVAL),
    lambda topic, payload: client.publish(topic, payload, qos=1),
)
