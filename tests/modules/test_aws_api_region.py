"""A region as the lab has it, HAProxy before Mosquitto, does with devices what AWS IoT Core documents."""

from __future__ import annotations

import itertools
import json
import os
import random
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import boto3
import jinja2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from moto.iot.models import IoTBackend, iot_backends
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from werkzeug.serving import make_server

from lab import configuration, mosquitto_plugin, topology
from lab.aws_api import identities
from lab.aws_api.config import Configuration, Region
from lab.aws_api.connections import Connection, milliseconds
from lab.aws_api.quotas import broker_rates
from lab.aws_api.server import Application
from lab.aws_api.stand_in import StandIn

from .client_world import eventually

ACCOUNT_ID, REGION = "123456789012", "us-east-1"
NAME = f"a2labrehearsal-ats.iot.{REGION}.amazonaws.com"
ARN = f"arn:aws:iot:{REGION}:{ACCOUNT_ID}"
TIMEOUT = 30
MQTT_3, MQTT_5 = MQTTProtocolVersion.MQTTv311, MQTTProtocolVersion.MQTTv5

pytestmark = pytest.mark.skipif(
    not (shutil.which("mosquitto", path="/usr/sbin:/usr/bin") and shutil.which("haproxy", path="/usr/sbin:/usr/bin")),
    reason="mosquitto and haproxy are not installed",
)


def statement(action: str | list[str], resource: str | list[str], effect: str = "Allow", **more: Any) -> dict[str, Any]:
    return {"Effect": effect, "Action": action, "Resource": resource, **more}


@dataclass
class Told:
    """What a device heard of its region, in order: the codes of answers, and the topics and texts of messages."""

    connack: list[int] = field(default_factory=list)
    session_present: list[bool] = field(default_factory=list)
    suback: list[int] = field(default_factory=list)
    puback: list[int] = field(default_factory=list)
    ended: list[int] = field(default_factory=list)
    messages: list[tuple[str, str]] = field(default_factory=list)


class Device(Client):
    """A client with a certificate of the region's; it connects once."""

    def __init__(self, address: str, pair: Path, client_id: str, version: MQTTProtocolVersion, clean: bool) -> None:
        settings = {"clean_session": clean} if version is MQTT_3 else {}
        super().__init__(CallbackAPIVersion.VERSION2, client_id, protocol=version, **settings)
        self.told = Told()
        self._at = address
        self._clean = clean
        context = ssl.create_default_context(cafile=str(pair.with_name("amazon-root-ca.crt")))
        context.load_cert_chain(pair.with_suffix(".crt"), pair.with_suffix(".key"))
        self.tls_set_context(context)
        self.on_connect = self._connected
        self.on_subscribe = lambda _client, _data, _mid, codes, _: self.told.suback.extend(code.value for code in codes)
        self.on_publish = lambda _client, _data, _mid, code, _: self.told.puback.append(code.value)
        self.on_disconnect = lambda _client, _data, _flags, code, _: self.told.ended.append(code.value)
        self.on_message = self._message

    def _create_socket_connection(self) -> socket.socket:
        return socket.create_connection((self._at, topology.MQTT_PORT), timeout=TIMEOUT)

    def _connected(self, _: Client, __: Any, flags: Any, code: Any, ___: Any) -> None:
        self.told.connack.append(code.value)
        self.told.session_present.append(flags.session_present)

    def _message(self, _: Client, __: Any, message: MQTTMessage) -> None:
        self.told.messages.append((message.topic, message.payload.decode()))

    def go(self, expiry: int = 0) -> Device:
        """Connect, and return when there is an answer or none to come."""
        more: dict[str, Any] = {}
        if self._protocol is MQTT_5:
            properties = Properties(PacketTypes.CONNECT)
            properties.SessionExpiryInterval = expiry
            more = {"clean_start": self._clean, "properties": properties}
        before = len(self.told.connack)
        self.connect(NAME, topology.MQTT_PORT, **more)
        self.until(lambda: len(self.told.connack) > before or bool(self.told.ended))
        return self

    def until(self, seen: Callable[[], bool]) -> None:
        deadline = time.monotonic() + TIMEOUT
        while not seen():
            assert time.monotonic() < deadline, self.told
            self.loop(0.02)

    def subscribed(self, *topics: str) -> list[int]:
        """Subscribe, and return the codes of the answer."""
        before = len(self.told.suback)
        self.subscribe([(topic, 1) for topic in topics])
        self.until(lambda: len(self.told.suback) > before)
        return self.told.suback[before:]

    def heard(self, count: int) -> list[tuple[str, str]]:
        self.until(lambda: len(self.told.messages) >= count)
        return self.told.messages


class World:
    """The region, and who is known in it."""

    def __init__(self, state: Path) -> None:
        self.address = f"127.{random.randint(1, 254)}.{random.randint(0, 255)}.{random.randint(1, 254)}"
        self.state = state
        self.directory = state / "regions" / REGION
        self.processes: list[subprocess.Popen[bytes]] = []
        self.devices: list[Device] = []

    def start(self) -> None:
        node = topology.Node(REGION, IPv4Address(self.address), NAME)
        self.directory.mkdir(parents=True)
        configuration.prepare_region(self.directory)
        mosquitto_plugin.build(configuration.plugin_path(self.state))
        for file in (configuration.haproxy_file(node, self.state), configuration.mosquitto_file(node, self.state)):
            file.path.write_text(file.content)
        region = Region(REGION, NAME, self.directory)
        # HAProxy does not start without a certificate, and reads the files that the stand-in writes.
        known = identities.parse({"lab": {"secret": "lab"}})
        self.stand_in = StandIn(
            Configuration("127.0.0.1", 0, ACCOUNT_ID, self.state, {REGION: region}, {}, identities=known)
        )
        self.server = make_server("127.0.0.1", 0, Application(self.stand_in), threaded=True)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        for command in (["mosquitto", "-c", "mosquitto.conf"], ["haproxy", "-db", "-f", "haproxy.cfg"]):
            with (self.directory / f"{command[0]}.out").open("wb") as log:
                self.processes.append(
                    subprocess.Popen(command, cwd=self.directory, stdout=log, stderr=subprocess.STDOUT)
                )
        eventually(self._answers, f"the region on {self.address} answering")

    def client(self, service: str) -> Any:
        """AWS, asked as a program asks it."""
        keys = {"aws_access_key_id": "lab", "aws_secret_access_key": "lab"}
        return boto3.client(service, region_name=REGION, endpoint_url=self.url, **keys)

    @property
    def iot(self) -> IoTBackend:
        return iot_backends[ACCOUNT_ID][REGION]

    def _answers(self) -> bool:
        try:
            socket.create_connection((self.address, topology.MQTT_PORT), timeout=TIMEOUT).close()
        except ConnectionRefusedError:
            return False
        return (self.directory / "mosquitto.sock").exists()

    def stop(self) -> None:
        self.server.shutdown()
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            process.wait(TIMEOUT)

    def certificate(self, name: str, *statements: dict[str, Any], things: tuple[str, ...] = ()) -> str:
        """Make a certificate with a policy of these statements, attached to things; return its ARN."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
        pem = serialization.Encoding.PEM
        certificate = self.stand_in.authority.device(request.public_bytes(pem).decode())
        (self.state / f"{name}.crt").write_text(certificate)
        private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        (self.state / f"{name}.key").write_bytes(private)
        arn = str(self.iot.register_certificate_without_ca(certificate, "ACTIVE").arn)
        self.iot.create_policy(name, json.dumps({"Version": "2012-10-17", "Statement": list(statements)}))
        self.iot.attach_policy(name, arn)
        for thing in things:
            self.iot.create_thing(thing, None, {"attributes": {"site": "tokyo"}})
            self.iot.attach_thing_principal(thing, arn)
        self.stand_in.publish(REGION)
        return arn

    def device(
        self, certificate: str, client_id: str, version: MQTTProtocolVersion = MQTT_3, *, clean: bool = True
    ) -> Device:
        device = Device(self.address, self.state / certificate, client_id, version, clean)
        self.devices.append(device)
        return device

    def told(self, name: str) -> str:
        """What a program of the region wrote to a file."""
        return (self.directory / name).read_text()

    def connected(self, client_id: str) -> bool:
        found = self.stand_in.fleet(REGION).look_up(client_id)
        return found is not None and found.connected

    def look_up(self, client_id: str) -> Connection:
        found = self.stand_in.fleet(REGION).look_up(client_id)
        assert found is not None
        return found


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    world = World(tmp_path_factory.mktemp("region"))
    try:
        world.start()
        yield world
    finally:
        world.stop()


@pytest.fixture
def world(running: World) -> Iterator[World]:
    """The region with nobody known in it, and no quota used up."""
    running.stand_in.reset()
    yield running
    for device in running.devices:
        device.disconnect()
    running.devices.clear()


VERSIONS = pytest.mark.parametrize("version", [MQTT_3, MQTT_5], ids=["3.1.1", "5"])
CONNECT = statement("iot:Connect", f"{ARN}:client/*")
OWN_THING = statement(
    "iot:Connect",
    f"{ARN}:client/${{iot:Connection.Thing.ThingName}}",
    Condition={"Bool": {"iot:Connection.Thing.IsAttached": "true"}},
)
LISTEN = [
    statement("iot:Subscribe", f"{ARN}:topicfilter/*"),
    statement("iot:Receive", f"{ARN}:topic/*"),
]
QUOTA_EXCEEDED, UNAVAILABLE = 0x97, 0x88
NOT_AUTHORIZED = 0x87


@pytest.fixture
def listener(world: World) -> Device:
    """A client that may receive everything, and is subscribed to nothing yet."""
    world.certificate("listener", CONNECT, *LISTEN)
    return world.device("listener", f"listener-{next(NUMBERS)}").go()


NUMBERS = itertools.count()


def new_id(name: str = "pump") -> str:
    """A client ID that no quota has seen."""
    return f"{name}_{next(NUMBERS)}"


# Policies --------------------------------------------------------------------------------------------------------


@VERSIONS
def test_client_connects_as_its_thing_and_as_nobody_else(
    world: World, listener: Device, version: MQTTProtocolVersion
) -> None:
    own, other, foreign = new_id(), new_id(), new_id('a "quoted" one')
    listener.subscribed("$aws/events/presence/connect_failed/#")
    world.certificate("pump", OWN_THING, things=(own,))
    world.certificate("valve", OWN_THING, things=(other,))

    codes = [world.device("pump", name, version).go().told.connack for name in (own, other, foreign)]

    assert codes == [[0], [NOT_AUTHORIZED], [NOT_AUTHORIZED]]
    failures = [json.loads(text) for _, text in listener.heard(2)]
    assert [failure["clientId"] for failure in failures] == [other, foreign]
    assert {failure["connectFailureReason"] for failure in failures} == {"AUTHORIZATION_FAILED"}
    assert listener.told.messages[0][0] == f"$aws/events/presence/connect_failed/{other}"
    connected = world.look_up(own)
    assert connected.connected


def test_policy_of_another_region_lets_nobody_in(world: World) -> None:
    world.certificate("pump", statement("iot:Connect", f"arn:aws:iot:ap-northeast-1:{ACCOUNT_ID}:client/*"))
    assert world.device("pump", new_id()).go().told.connack == [NOT_AUTHORIZED]


def test_certificate_without_a_policy_is_refused_by_the_broker(world: World) -> None:
    arn = world.certificate("pump", CONNECT)
    world.iot.detach_policy("pump", arn)
    world.stand_in.publish(REGION)
    assert world.device("pump", new_id()).go().told.connack == [NOT_AUTHORIZED]


@VERSIONS
def test_publish_that_no_policy_allows_ends_the_connection(
    world: World, listener: Device, version: MQTTProtocolVersion
) -> None:
    client_id = new_id()
    listener.subscribed("#")
    allowed = statement("iot:Publish", f"{ARN}:topic/fleet/${{iot:ClientId}}/*")
    world.certificate("pump", CONNECT, allowed)
    device = world.device("pump", client_id, version).go()

    device.publish(f"fleet/{client_id}/messages", "1", qos=1)
    device.until(lambda: len(device.told.puback) == 1)
    device.publish("fleet/somebody/messages", "2", qos=1)
    device.until(lambda: bool(device.told.ended))

    assert device.told.puback == [0]
    assert listener.heard(1) == [(f"fleet/{client_id}/messages", "1")]
    eventually(lambda: not world.look_up(client_id).connected, "the end of the connection")
    assert world.look_up(client_id).disconnect_reason == "AUTH_ERROR"


def test_retained_publish_needs_a_permission_of_its_own(world: World) -> None:
    world.certificate("pump", CONNECT, statement("iot:Publish", "*"))
    world.certificate("valve", CONNECT, statement(["iot:Publish", "iot:RetainPublish"], "*"))
    pump, valve = (world.device(name, new_id(name)).go() for name in ("pump", "valve"))
    for device in (pump, valve):
        device.publish("state", "on", qos=1, retain=True)
        device.until(lambda told=device.told: bool(told.puback or told.ended))  # type: ignore[misc]
    assert (pump.told.puback, valve.told.puback) == ([], [0])


@VERSIONS
def test_subscription_that_no_policy_allows_is_refused_alone(world: World, version: MQTTProtocolVersion) -> None:
    client_id = new_id()
    filters = statement("iot:Subscribe", [f"{ARN}:topicfilter/fleet/+/x", f"{ARN}:topicfilter/own/${{iot:ClientId}}/#"])
    world.certificate("pump", CONNECT, filters)
    device = world.device("pump", client_id, version).go()

    codes = device.subscribed("fleet/+/x", "fleet/pump/x", f"own/{client_id}/#", "own/other/#", "#")

    refused = NOT_AUTHORIZED if version is MQTT_5 else 0x80
    # MQTT's wildcards mean themselves in a policy.
    assert codes == [1, refused, 1, refused, refused]
    assert device.is_connected()


def test_message_is_delivered_where_receive_is_allowed(world: World) -> None:
    receive = statement("iot:Receive", f"{ARN}:topic/heard/*")
    world.certificate("pump", CONNECT, LISTEN[0], receive, statement("iot:Publish", "*"))
    device = world.device("pump", new_id()).go()
    assert device.subscribed("#") == [1]
    for topic in ("silent/1", "heard/1"):
        device.publish(topic, "hello", qos=1)
    assert device.heard(1) == [("heard/1", "hello")]


def test_deny_is_stronger_than_allow(world: World) -> None:
    denied = statement("iot:Connect", f"{ARN}:client/stolen_*", "Deny")
    world.certificate("pump", statement("*", "*"), denied)
    names = (new_id(), new_id("stolen"))
    assert [world.device("pump", name).go().told.connack for name in names] == [[0], [NOT_AUTHORIZED]]


@pytest.mark.parametrize(
    ("allowed", "retained", "code"),
    [
        ([], False, NOT_AUTHORIZED),
        (["iot:Publish"], False, 0),
        (["iot:Publish"], True, NOT_AUTHORIZED),
        (["iot:Publish", "iot:RetainPublish"], True, 0),
    ],
)
@VERSIONS
def test_will_needs_permission_for_its_topic(
    world: World, version: MQTTProtocolVersion, allowed: list[str], retained: bool, code: int
) -> None:
    statements = [statement(allowed, f"{ARN}:topic/will/*")] if allowed else []
    world.certificate("pump", CONNECT, *statements)
    device = world.device("pump", new_id(), version)
    device.will_set("will/pump", "gone", qos=1, retain=retained)
    assert device.go().told.connack == [code]


def test_connect_attributes_forbid_a_will_and_a_persistent_session(world: World) -> None:
    plain = {"ForAllValues:StringEquals": {"iot:ConnectAttributes": ["LastWill"]}}
    client = statement("iot:Connect", f"{ARN}:client/*", Condition=plain)
    world.certificate("pump", client, statement("iot:Publish", "*"))
    willing, lasting = world.device("pump", new_id()), world.device("pump", new_id(), clean=False)
    willing.will_set("will/pump", "gone")
    assert (willing.go().told.connack, lasting.go().told.connack) == ([0], [NOT_AUTHORIZED])


def test_thing_s_attributes_are_variables(world: World) -> None:
    client_id = new_id()
    site = statement("iot:Subscribe", f"{ARN}:topicfilter/${{iot:Connection.Thing.Attributes[site]}}/#")
    world.certificate("pump", CONNECT, site, things=(client_id,))
    assert world.device("pump", client_id).go().subscribed("tokyo/#", "osaka/#") == [1, 0x80]
    # Another client of the certificate is no thing of it.
    assert world.device("pump", new_id()).go().subscribed("tokyo/#", "/#") == [0x80, 0x80]
    world.client("iot").update_thing(thingName=client_id, attributePayload={"attributes": {"site": "osaka"}})
    assert world.devices[0].subscribed("tokyo/#", "osaka/#") == [0x80, 1]


def test_change_of_a_policy_reaches_who_is_connected(world: World) -> None:
    arn = world.certificate("pump", CONNECT, statement("iot:Publish", "*"))
    device = world.device("pump", new_id()).go()
    device.publish("a", "", qos=1)
    device.until(lambda: device.told.puback == [0])
    world.client("iot").detach_policy(policyName="pump", target=arn)
    device.publish("b", "", qos=1)
    device.until(lambda: bool(device.told.ended))
    assert device.told.puback == [0]


def test_user_name_of_a_client_is_not_heeded(world: World) -> None:
    world.certificate("pump", CONNECT)
    device = world.device("pump", new_id())
    device.username_pw_set(mosquitto_plugin.USER, "secret")
    assert device.go().subscribed("#") == [0x80]


def test_nobody_gets_in_beside_the_endpoint(world: World) -> None:
    world.certificate("pump", CONNECT)
    client = Client(CallbackAPIVersion.VERSION2, new_id(), transport="unix")
    codes: list[int] = []
    client.on_connect = lambda _client, _data, _flags, code, _: codes.append(code.value)
    client.connect(str(world.directory / "mosquitto.sock"))
    eventually(lambda: bool(codes) or client.loop(0.02) is None, "an answer")
    assert codes == [NOT_AUTHORIZED]


# Quotas ----------------------------------------------------------------------------------------------------------


def allow(world: World, **rates: float) -> None:
    """Set quotas of the broker. A bucket of one that a slow rate fills again only after the test is a quota of one."""
    content = json.dumps({"quotas": rates}).encode()
    asked = urllib.request.Request(f"{world.url}/_lab/settings", content, method="PUT")  # noqa: S310 - loopback
    urllib.request.build_opener(urllib.request.ProxyHandler({})).open(asked, timeout=TIMEOUT).close()


@VERSIONS
def test_client_that_connects_too_often_is_refused(world: World, version: MQTTProtocolVersion) -> None:
    world.certificate("pump", CONNECT, *LISTEN)
    allow(world, ConnectPerClientId=0.001)
    client_id, other = new_id(), new_id()
    devices = [world.device("pump", name, version).go() for name in (client_id, client_id, other)]
    refused = QUOTA_EXCEEDED if version is MQTT_5 else UNAVAILABLE
    assert [device.told.connack for device in devices] == [[0], [refused], [0]]
    # The first goes on: it was not taken over.
    assert devices[0].subscribed("x") == [1]


def test_client_that_waits_connects_again(world: World) -> None:
    world.certificate("pump", CONNECT)
    allow(world, ConnectPerClientId=2.0)
    client_id = new_id()
    assert world.device("pump", client_id).go().told.connack == [0]
    eventually(lambda: world.device("pump", client_id).go().told.connack == [0], "a CONNECT being accepted")


def test_account_has_so_many_connects_a_second(world: World) -> None:
    world.certificate("pump", CONNECT)
    allow(world, Connect=0.001)
    codes = [world.device("pump", new_id(), MQTT_5).go().told.connack for _ in range(3)]
    assert codes.count([QUOTA_EXCEEDED]) >= 2
    allow(world, Connect=1000.0)
    assert world.device("pump", new_id(), MQTT_5).go().told.connack == [0]


def test_account_has_so_many_subscriptions_a_second(world: World) -> None:
    world.certificate("pump", CONNECT, *LISTEN)
    allow(world, Subscribe=0.001)
    device = world.device("pump", new_id()).go()
    # Each topic filter counts.
    assert device.subscribed("a", "b", "c")[1:] == [0x80, 0x80]


def test_quotas_of_a_select_region_are_lower() -> None:
    assert broker_rates("us-east-1", {}) == {"Connect": 3000, "Subscribe": 3000, "ConnectPerClientId": 1}
    assert broker_rates("eu-north-1", {}) == {"Connect": 100, "Subscribe": 200, "ConnectPerClientId": 1}


# DeleteConnection ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prevented", [True, False])
@VERSIONS
def test_will_is_published_unless_the_call_prevents_it(
    world: World, listener: Device, version: MQTTProtocolVersion, prevented: bool
) -> None:
    client_id = new_id()
    listener.subscribed("will/#", "after")
    world.certificate("pump", CONNECT, statement("iot:Publish", "*"))
    device = world.device("pump", client_id, version)
    device.will_set(f"will/{client_id}", "gone", qos=1)
    device.go()
    world.look_up(client_id)
    world.stand_in.fleet(REGION).delete(client_id, clean_session=False, prevent_will_message=prevented)
    # The broker keeps the order: a will would have come before it.
    other = world.device("pump", new_id()).go()
    other.publish("after", "", qos=1)
    other.until(lambda: other.told.puback == [0])
    expected = [] if prevented else [(f"will/{client_id}", "gone")]
    assert listener.heard(len(expected) + 1) == [*expected, ("after", "")]


@pytest.mark.parametrize("cleaned", [True, False])
@pytest.mark.parametrize("offline", [True, False])
@VERSIONS
def test_session_goes_with_what_is_queued_where_the_call_cleans_it(
    world: World, version: MQTTProtocolVersion, offline: bool, cleaned: bool
) -> None:
    """A session of MQTT 5 lasts by its expiry, also one that began clean."""
    allow(world, ConnectPerClientId=1e6)
    world.certificate("pump", CONNECT, *LISTEN, statement("iot:Publish", "*"))
    client_id = new_id()
    first = world.device("pump", client_id, version, clean=version is MQTT_5).go(expiry=300)
    assert first.subscribed("commands") == [1]
    assert not world.look_up(client_id).clean_session
    sender = world.device("pump", new_id()).go()

    def send(text: str) -> None:
        before = len(sender.told.puback)
        sender.publish("commands", text, qos=1)
        sender.until(lambda: len(sender.told.puback) > before)

    fleet = world.stand_in.fleet(REGION)
    if offline:
        first.disconnect()
        first.until(lambda: bool(first.told.ended))
        eventually(lambda: not world.look_up(client_id).connected, "the client being offline")
        send("queued")
        assert world.look_up(client_id).has_session(milliseconds())
        fleet.delete(client_id, clean_session=cleaned)
    else:
        fleet.delete(client_id, clean_session=cleaned)
        first.until(lambda: bool(first.told.ended))
        send("queued")

    again = world.device("pump", client_id, version, clean=False).go(expiry=300)
    assert again.told.session_present == [not cleaned]
    assert again.subscribed("commands") == [1]
    send("after")
    assert again.heard(1 if cleaned else 2) == [("commands", text) for text in ["queued", "after"][cleaned:]]


def test_session_of_mqtt_5_that_ends_with_its_connection_is_none(world: World) -> None:
    world.certificate("pump", CONNECT)
    kept, short, gone = new_id(), new_id(), new_id()
    for client_id, expiry in ((kept, 10_000), (short, 300), (gone, 0)):
        device = world.device("pump", client_id, MQTT_5, clean=False).go(expiry=expiry)
        device.disconnect()
        device.until(lambda told=device.told: bool(told.ended))  # type: ignore[misc]
        eventually(lambda name=client_id: not world.look_up(name).connected, "the end")  # type: ignore[misc]
    now = milliseconds()
    assert (world.look_up(kept).has_session(now), world.look_up(gone).has_session(now)) == (True, False)
    # AWS General Reference: 3,600 s at most.
    assert world.client("iot-data").get_connection(clientId=kept)["sessionExpiry"] == 3600
    assert world.client("iot-data").get_connection(clientId=short)["sessionExpiry"] == 300


# What is no CONNECT ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "packet",
    [
        b"\x30\x03\x00\x01ax",
        b"\x10\x02\x00\x04",
        bytes.fromhex("1011 00044d51545404c2001e 000570726f6265"),
        b"\x10\xff\xff\x7f" + bytes(20_000),
    ],
    ids=["PUBLISH", "too short", "no user name where one is said", "too long"],
)
def test_what_is_no_connect_is_not_brought_to_the_broker(world: World, packet: bytes) -> None:
    world.certificate("pump", CONNECT)
    context = ssl.create_default_context(cafile=str(world.state / "amazon-root-ca.crt"))
    context.load_cert_chain(world.state / "pump.crt", world.state / "pump.key")
    before = world.told("mosquitto.log").count("New client")
    with (
        socket.create_connection((world.address, topology.MQTT_PORT), timeout=TIMEOUT) as plain,
        context.wrap_socket(plain, server_hostname=NAME) as secured,
    ):
        secured.sendall(packet)
        assert answer(secured) == b""
    assert world.told("mosquitto.log").count("New client") == before


def test_connect_that_comes_in_pieces_is_one(world: World) -> None:
    world.certificate("pump", CONNECT)
    context = ssl.create_default_context(cafile=str(world.state / "amazon-root-ca.crt"))
    context.load_cert_chain(world.state / "pump.crt", world.state / "pump.key")
    with (
        socket.create_connection((world.address, topology.MQTT_PORT), timeout=TIMEOUT) as plain,
        context.wrap_socket(plain, server_hostname=NAME) as secured,
    ):
        secured.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in bytes.fromhex("1011 00044d51545404 02001e 000570726f6265 c000"):
            secured.sendall(bytes([byte]))
        found = b""
        while len(found) < 6:
            found += secured.recv(6 - len(found))
    # The PINGREQ behind it has its answer as well.
    assert found == bytes.fromhex("20020000 d000")


def answer(secured: ssl.SSLSocket) -> bytes:
    try:
        return secured.recv(4)
    except (ConnectionError, ssl.SSLEOFError):
        return b""


# The product's own -----------------------------------------------------------------------------------------------


def own_policy(name: str, **values: str) -> list[dict[str, Any]]:
    """The statements of a policy that setup.yml makes."""
    template = topology.REPOSITORY / "roles" / "iot_region" / "templates" / f"{name}_policy.json.j2"
    text = jinja2.Template(template.read_text()).render(__iot_region_arn_prefix=ARN, **values)
    statements: list[dict[str, Any]] = json.loads(text)["Statement"]
    return statements


def test_policies_of_set_up_let_devices_and_monitor_do_their_work_and_no_more(world: World) -> None:
    client_id, other = new_id(), new_id()
    world.certificate("pump", *own_policy("device"), things=(client_id,))
    world.certificate("watcher", *own_policy("monitor", iot_region_monitor_client_id="fleet-monitor"))
    monitor = world.device("watcher", f"fleet-monitor-{next(NUMBERS)}").go()
    assert monitor.subscribed("fleet/+/messages", "fleet/+/messages/+", "fleet/#") == [1, 1, 0x80]
    device = world.device("pump", client_id).go()
    assert device.subscribed(f"fleet/{client_id}/commands", f"fleet/{other}/commands") == [1, 0x80]
    device.publish(f"fleet/{client_id}/messages", "1", qos=1)
    assert monitor.heard(1) == [(f"fleet/{client_id}/messages", "1")]
    assert world.device("pump", other).go().told.connack == [NOT_AUTHORIZED]
    device.publish(f"fleet/{other}/messages", "2", qos=1)
    device.until(lambda: bool(device.told.ended))


@pytest.mark.skipif(os.geteuid() != 0, reason="a hosts file of its own needs root")
@pytest.mark.parametrize("library", ["awsiotsdk", "paho"])
def test_client_of_the_product_keeps_to_policies_and_quotas(world: World, library: str) -> None:
    client_id = new_id()
    world.certificate(client_id, *own_policy("device"), things=(client_id,))
    with product_client(world, client_id, library):
        connects = f" as {client_id} ("
        eventually(lambda: world.told("mosquitto.log").count(connects) == 1, "the client connecting")
        eventually(lambda: world.connected(client_id), "the table having the client")
        world.stand_in.fleet(REGION).delete(client_id, clean_session=False)
        eventually(lambda: world.told("mosquitto.log").count(connects) == 2, "the client connecting again")
        eventually(lambda: world.connected(client_id), "the table having the client again")
    # Its subscription and its messages are allowed as well.
    assert f"of {client_id} " not in world.told("mosquitto.log")
    mine = [line for line in world.told("haproxy.out").splitlines() if f'subject="{client_id}"' in line]
    assert mine
    assert not [line for line in mine if "throttled" in line]


@contextmanager
def product_client(world: World, client_id: str, library: str) -> Iterator[None]:
    """Run a client of the product with a hosts file that has the region's address."""
    hosts, file, log = (world.state / f"{client_id}.{name}" for name in ("hosts", "json", "log"))
    hosts.write_text(f"{world.address} {NAME}\n")
    names = {"certificate": f"{client_id}.crt", "private_key": f"{client_id}.key", "ca": "amazon-root-ca.crt"}
    paths = {key: str(world.state / name) for key, name in {**names, "outbox": f"{client_id}.outbox"}.items()}
    identity = {"client_id": client_id, "endpoint": NAME, "library": library, "port": topology.MQTT_PORT}
    file.write_text(json.dumps({**paths, **identity, "heartbeat_interval": 0.1}))
    script = 'mount --bind "$1" /etc/hosts && shift && exec "$@"'
    command = [sys.executable, "-m", "mqtt_fleet.client", "--config", str(file)]
    with log.open("wb") as stream:
        process = subprocess.Popen(
            ["unshare", "--mount", "sh", "-c", script, "sh", str(hosts), *command],
            env={**os.environ, "PYTHONPATH": str(topology.REPOSITORY / "clients")},
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
        )
    try:
        yield
    finally:
        process.terminate()
        process.wait(TIMEOUT)
