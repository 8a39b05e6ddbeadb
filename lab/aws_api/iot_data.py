"""The connection API of the IoT data plane, which moto lacks."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import unquote

from moto.iotdata.responses import IoTDataPlaneResponse

from lab.aws_api.answers import Answers
from lab.aws_api.connections import Connection, milliseconds
from lab.aws_api.errors import AwsError

# Of the paths /connections/{clientId}, by method: a move makes hundreds of these calls a second.
OPERATIONS = {"GET": "GetConnection", "DELETE": "DeleteConnection"}

_CLIENT_ID = re.compile(r"[^$].{0,127}", re.DOTALL)


def validate_client_id(client_id: str) -> None:
    """Refuse what AWS's model does not allow: 1 to 128 characters, the first of them not `$`."""
    if not _CLIENT_ID.fullmatch(client_id):
        raise AwsError(
            "InvalidRequestException",
            f"clientId {client_id!r}: expected 1 to 128 characters that do not begin with $",
        )


def describe(connection: Connection, thing_name: str | None, *, socket_information: bool) -> dict[str, Any]:
    """Return GetConnection's answer; what is not known is left out."""
    answer: dict[str, Any] = {
        "clientId": connection.client_id,
        "thingName": thing_name,
        "connected": connection.connected,
        "cleanSession": connection.clean_session,
        "keepAliveDuration": connection.keep_alive,
        "connectedSince": connection.connected_since,
        "sessionExpiry": 0 if connection.clean_session else connection.session_expiry,
        "disconnectedSince": connection.disconnected_since,
        "disconnectReason": None if connection.connected else connection.disconnect_reason,
    }
    if socket_information:
        answer |= {"sourceIp": connection.source_ip, "sourcePort": connection.source_port}
    return {key: value for key, value in answer.items() if value is not None}


class IotDataResponse(Answers, IoTDataPlaneResponse):  # type: ignore[misc]
    """moto's data plane with DeleteConnection and GetConnection."""

    def delete_connection(self) -> str:
        """Disconnect a client; 404 when it is not connected and has no session either."""
        client_id = self._client_id()
        fleet = self._stand_in.fleet(self.region)
        connection = fleet.look_up(client_id)
        if connection is None or not connection.has_session(milliseconds()):
            raise self._unknown(client_id)
        fleet.delete(
            client_id,
            clean_session=self._flag("cleanSession"),
            prevent_will_message=self._flag("preventWillMessage"),
        )
        return ""

    def get_connection(self) -> str:
        """Describe a client's current or, for 30 minutes, last connection."""
        client_id = self._client_id()
        connection = self._stand_in.fleet(self.region).look_up(client_id)
        if connection is None:
            raise self._unknown(client_id)
        thing_name = connection.thing_name or self._stand_in.thing_name(self.region, client_id)
        return json.dumps(describe(connection, thing_name, socket_information=self._flag("includeSocketInformation")))

    def _client_id(self) -> str:
        client_id = client_id_of(self.raw_path)
        validate_client_id(client_id)
        return client_id

    def _flag(self, name: str) -> bool:
        return bool(self.querystring.get(name, ["false"])[0].lower() == "true")

    @staticmethod
    def _unknown(client_id: str) -> AwsError:
        return AwsError("ResourceNotFoundException", f"Client {client_id!r} is not connected and has no session")


def client_id_of(raw_path: str) -> str:
    """Return the client ID of `/connections/{clientId}`, percent-decoded."""
    return unquote(raw_path.split("?")[0].removeprefix("/connections/"))
