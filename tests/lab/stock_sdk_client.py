"""An awsiotsdk client as the SDK's samples have it: default resolver, default bootstrap. Runs on a device.

Prints one JSON line per connection: {"event": "connected"}. Runs until it is stopped.
"""

import json
import sys
import threading

from awsiot import mqtt5_client_builder

ENDPOINT, CLIENT_ID, CERTIFICATE, PRIVATE_KEY, CA = sys.argv[1:]


def say(event):
    print(json.dumps({"event": event}), flush=True)  # noqa: T201


client = mqtt5_client_builder.mtls_from_path(
    endpoint=ENDPOINT,
    client_id=CLIENT_ID,
    cert_filepath=CERTIFICATE,
    pri_key_filepath=PRIVATE_KEY,
    ca_filepath=CA,
    on_lifecycle_connection_success=lambda _: say("connected"),
    on_lifecycle_disconnection=lambda _: say("disconnected"),
)
client.start()
threading.Event().wait()
