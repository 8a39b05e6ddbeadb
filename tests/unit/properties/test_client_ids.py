"""Files of client IDs, and what the index answers: each a correct list of clients, or refused in one line."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.module_utils.region_switch.fleet import client_ids
from ansible.module_utils.region_switch.fleet.source import Connection
from ansible.module_utils.region_switch.fleet.sources import chosen
from ansible.module_utils.region_switch.fleet.stream import stream
from ansible.module_utils.region_switch.model.errors import RefusedError
from ansible.module_utils.region_switch.model.options import FleetOptions
from hypothesis import example, given
from hypothesis import strategies as st

from .anything import ANYTHING, SCALARS, assert_one_line, refused_at_most

ODD = ["client/01", "client 01", "#client", "a+b", "機器-01", "é" * 128, "a\u2028b", "x\x85y", "-", "a:b", "a|b"]
QUOTED = [*ODD, " ", " a ", "a,b", "a;b", '"a"', "# a", "- a", "a:", "---", "[a]", "{a}", "client_id", "sep=;"]
NAMES = st.one_of(st.sampled_from(QUOTED), st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=140))
CSV_START = b"client_id,endpoint\n"


def read(content: bytes) -> list[tuple[str, str]]:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "clients"
        path.write_bytes(content)
        return list(client_ids.read(str(path)))


@given(st.binary(max_size=300), st.sampled_from([b"", CSV_START, b"\xef\xbb\xbf" + CSV_START, b"client_01\r\n"]))
@example(b'"a\nb",c\n', CSV_START)
@example(b"\xff\xfea\0\n\0", b"")
@example(b"a\0\n\0", b"")
@example(b"a" * 5000, b"")
def test_any_bytes_are_client_ids_or_are_refused_with_their_line(content: bytes, start: bytes) -> None:
    try:
        found = read(start + content)
    except RefusedError as error:
        assert_one_line(str(error))
        assert " line " in str(error)
        return
    assert all(1 <= len(name) <= 128 and name[0] != "$" and "\n" not in name for name, _ in found)


LISTED = NAMES.filter(lambda name: client_ids.fault(name) is None and not set(name) & {"\n", "\r"})
ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"]
ENDS = ["\n", "\r\n", "\r", "\n\n", "  \n", "\t\r\n\r\n"]


def quoted(name: str) -> str:
    return '"{}"'.format(name.replace('"', '""'))


@given(st.sampled_from(ENCODINGS), st.sampled_from(ENDS))
def test_lines_are_client_ids_as_they_stand(encoding: str, end: str) -> None:
    content = "".join(f"{name}{end}" for name in ["first", *ODD])

    assert read(content.encode(encoding)) == [(name, "") for name in ["first", *ODD]]


@given(st.lists(LISTED), st.sampled_from(ENCODINGS), st.sampled_from(ENDS))
@example(QUOTED, "utf-16", "\r\n")
def test_quoted_lines_are_client_ids_whatever_is_in_them(names: list[str], encoding: str, end: str) -> None:
    content = "".join(f"{quoted(name)}{end}" for name in ["first", *names])

    assert read(content.encode(encoding)) == [(name, "") for name in ["first", *names]]


HEADERS = {
    ",": [
        "client_id,endpoint",
        '"client_id","endpoint"',
        "ClientId , Endpoint",
        '#TYPE Selected.Thing\n"clientId","endpoint"',
    ],
    ";": ["client_id;endpoint", '"Client ID";"Endpoint"', "sep=;\nmqtt_client_id;mqtt_endpoint"],
    "\t": ["client_id\tendpoint", '"thingName"\t"endpoint"', "thing_name\tMQTT endpoint"],
}


@given(st.lists(LISTED), st.sampled_from(ENCODINGS), st.sampled_from(ENDS), st.sampled_from(sorted(HEADERS)), st.data())
@example(QUOTED, "utf-8-sig", "\r\n", ",", None)
def test_columns_are_client_ids_and_endpoints(
    names: list[str], encoding: str, end: str, separator: str, data: Any
) -> None:
    header = data.draw(st.sampled_from(HEADERS[separator])) if data else HEADERS[separator][1]
    rows = "".join(f"{quoted(name)}{separator} MQTT1.example.com. {end}" for name in names)

    assert read(f"{header}\n{rows}{separator}{end}".encode(encoding)) == [(name, "mqtt1.example.com") for name in names]


def test_other_columns_are_passed_over_and_one_column_is_enough() -> None:
    assert read(b'"thingTypeName","thingName","version"\n"","a","1"\n') == [("a", "")]
    assert read(b'client_id\n"a,b"\nc\n') == [("a,b", ""), ("c", "")]


@given(st.lists(LISTED), st.sampled_from(ENCODINGS), st.sampled_from([None, 2]))
@example(QUOTED, "utf-16-le", None)
def test_json_in_every_shape_that_tools_write(names: list[str], encoding: str, indent: int | None) -> None:
    things: list[Any] = [
        {"thingName": name, "version": 1, "attributes": {"mqtt_endpoint": "MQTT1.x."}} for name in names
    ]
    connected = [{"thingName": "t", "connectivity": {"clientId": name, "timestamp": 1}} for name in names]
    plain, named = [(name, "") for name in names], [(name, "mqtt1.x") for name in names]

    def of(value: object) -> list[tuple[str, str]]:
        return read(json.dumps(value, indent=indent, ensure_ascii=indent is None).encode(encoding))

    assert of(names) == of({"clientIds": names}) == of({"things": connected, "nextToken": None}) == plain
    assert of(things) == of({"things": things}) == named
    assert of([{"client_id": name, "endpoint": "mqtt1.x"} for name in names]) == named
    assert read("".join(f"{json.dumps(each)}\r\n" for each in things).encode(encoding)) == named


@pytest.mark.parametrize(
    ("content", "place", "found"),
    [
        (b"a,b\n", "line 1", "more than a client ID"),
        (b"a\nb;mqtt1.example.com\n", "line 2", "more than a client ID"),
        (b"a\tb\tc\n", "line 1", "more than a client ID"),
        (b"a\n\n# b\n", "line 3", "more than a client ID"),
        (b"things:\n- a\n", "line 1", "more than a client ID"),
        (b"---\n- a\n", "line 1", "more than a client ID"),
        (b"+----+\n|  a |\n", "line 1", "more than a client ID"),
        (b'a\n"b\n', "line 2", "a quote that does not end"),
        (b'"a","b"\n', "line 1", "2 columns"),
        (b"client_id,endpoints\n", "line 1", "a column 'endpoints'"),
        (b"PK\x03\x04\x14", "line 1", "a workbook"),
        (b"\xff\xfea\0\n\0\0\xd8\n\0", "line 2", "not UTF-16"),
        (b'["a",\n1001]', "line 2", "1001"),
        (b'["a",\n"b"', "line 2", "JSON that cannot be read"),
        (b'["a",\n]', "line 2", "JSON that cannot be read"),
        (b'{"things": [\n{"thingName": "a"},\n{"thing": "b"}]}', "line 3", "'thing': 'b'"),
        (b'{"things": [],\n"NextToken": "x"}', "line 1", "a NextToken"),
        (b'{"things": ["a"\n, ""]}', "line 2", "found nothing"),
        (b"a\n" + b"x" * 129 + b"\n", "line 2", "found 129 characters"),
        (b"$a\n", "line 1", r"found '\$a'"),
        (b"a\0b\n", "line 1", r"found 'a\\x00b'"),
        (b"a\nb\n\xe9\n", "line 3", "not UTF-8"),
        (b"x" * 5000, "line 1", "more than 4096 bytes"),
        (CSV_START + b"a,b\nc\n", "line 3", "found 1 columns"),
        (CSV_START + b"a,b,c\n", "line 2", "found 3 columns"),
        (CSV_START + b'a,b\n"c,d\n', "line 3", "CSV that cannot be read"),
        (CSV_START + b",mqtt1.example.com\n", "line 2", "found nothing"),
    ],
)
def test_line_that_is_wrong_is_named(content: bytes, place: str, found: str) -> None:
    with pytest.raises(RefusedError, match=rf"clients {place}: .*{found}.*, expected"):
        read(content)


def test_mark_at_the_start_of_a_file_is_no_part_of_a_client_id() -> None:
    assert read(b"\xef\xbb\xbfclient_01\n") == [("client_01", "")]


@pytest.mark.parametrize("path", ["/nowhere/clients.txt", "/", "a\0b", "\ud800"])
def test_file_that_cannot_be_read_is_refused(path: str) -> None:
    with pytest.raises(RefusedError) as refused:
        list(client_ids.read(path))
    assert_one_line(str(refused.value))


@given(st.lists(st.one_of(NAMES, st.just("\ud800"), st.just(""))))
def test_listed_client_ids_are_taken_or_refused(names: list[str]) -> None:
    with refused_at_most():
        assert list(client_ids.check(names)) == [(name, "") for name in names]
        assert "" not in names
        assert "\ud800" not in names


class Index:
    """An index with one page of things, where SearchIndex and ListThings answer the same."""

    region = "us-east-1"

    def __init__(self, things: object, connection: object) -> None:
        self._things, self._connection = things, connection

    def call(self, operation: str, **_: Any) -> Any:
        return self._connection if operation == "GetConnection" else {"things": self._things}

    find = call


THING = st.fixed_dictionaries(
    {},
    optional={
        "thingName": st.one_of(NAMES, SCALARS),
        "attributes": st.one_of(ANYTHING, st.fixed_dictionaries({"mqtt_endpoint": SCALARS})),
        "connectivity": st.one_of(
            ANYTHING,
            st.fixed_dictionaries({}, optional={"clientId": st.one_of(NAMES, SCALARS), "timestamp": SCALARS}),
        ),
    },
)
CONNECTION = st.fixed_dictionaries({}, optional={"connected": SCALARS, "connectedSince": SCALARS, "thingName": SCALARS})


@given(st.sampled_from(["index", "things"]), st.lists(st.one_of(THING, ANYTHING), max_size=3), CONNECTION)
@example("index", [{"thingName": "a", "connectivity": {"timestamp": 10**400}}], {})
@example("index", [{"thingName": "a", "connectivity": None, "attributes": None}], {})
@example("index", [None], {})
def test_odd_answers_are_correct_clients_or_an_error_of_one_line(
    kind: Any, things: list[Any], connection: dict[str, Any]
) -> None:
    index = Index(things, connection)
    aws: Any = SimpleNamespace(iot={index.region: index}, data={index.region: index})

    with refused_at_most():
        for batch in stream(aws, [index.region], chosen(FleetOptions(kind))):
            for client in batch:
                assert isinstance(client, Connection)
                assert client_ids.fault(client.client_id) is None
                assert client.connected_since >= 0
                assert isinstance(client.endpoint, str)
