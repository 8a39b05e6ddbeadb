"""The article's client with the AWS IoT Device SDK (MQTT 3.1.1); runs on a device.

When the connection is interrupted it waits 5 s, looks the name up three times, and replaces its own process.
"""

import os
import socket
import sys
import time

from awscrt import mqtt
from awsiot import mqtt_connection_builder
from publisher import Numbers, publish_regularly

ENDPOINT, CLIENT_ID, FOLDER, STATE, INTERVAL = sys.argv[1:]


def on_connection_interrupted(connection, error, **_):
    sys.stdout.write(f"Connection interrupted. error: {error}\n")
    time.sleep(5)
    for number in range(3):
        sys.stdout.write(f"[{number + 1}/3] DNS resolved: {resolve_dns(ENDPOINT)}\n")
        sys.stdout.flush()
        time.sleep(1)
    # The SDK's resolver remembers the old address: only a new process forgets it.
    os.execl(sys.executable, sys.executable, *sys.argv)  # noqa: S606


def resolve_dns(name):
    try:
        return socket.gethostbyname(name)
    except OSError as error:
        return error


connection = mqtt_connection_builder.mtls_from_path(
    endpoint=ENDPOINT,
    client_id=CLIENT_ID,
    cert_filepath=f"{FOLDER}/client.crt",
    pri_key_filepath=f"{FOLDER}/client.key",
    ca_filepath=f"{FOLDER}/ca.crt",
    clean_session=False,
    keep_alive_secs=30,
    on_connection_interrupted=on_connection_interrupted,
)
connection.connect().result()
publish_regularly(
    Numbers(STATE),
    CLIENT_ID,
    float(INTERVAL),
    lambda topic, payload: connection.publish(topic=topic, payload=payload, qos=mqtt.QoS.AT_LEAST_ONCE),
)
