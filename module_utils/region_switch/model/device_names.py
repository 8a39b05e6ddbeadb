"""Client IDs of devices, which name their things, and files on the controller."""

from __future__ import annotations

import re

from .errors import RefusedError, one_line

# https://docs.aws.amazon.com/iot/latest/apireference/API_CreateThing.html, thingName. The filters in
# plugins/filter/fleet.py have the same pattern.
CLIENT_ID = re.compile(r"[a-zA-Z0-9:_-]{1,128}")


def refuse_other_names(client_id: object) -> str:
    """Return a client ID that is safe in file names.

    Raises:
        RefusedError: it is not, such as `../ca`.
    """
    if isinstance(client_id, str) and CLIENT_ID.fullmatch(client_id):
        return client_id
    if not isinstance(client_id, str):
        raise RefusedError(f"client ID: {not_text(client_id)}")
    raise RefusedError(
        f"client ID: found {one_line(client_id)}, expected 1 to 128 letters, digits, ':', '_' or '-', as AWS IoT names "
        "things: set mqtt_client_id in the inventory"
    )


def not_text(value: object) -> str:
    """The error text for a name that YAML did not read as text."""
    return (
        f"found {one_line(value)}, which is not text, since YAML reads an unquoted 0123 as 83 and yes as true: put it "
        "in quotes"
    )
