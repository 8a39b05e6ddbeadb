"""What is taken of a device's answer: what the module documents, and nothing else, whatever the device says."""

from __future__ import annotations

import importlib
import json
import signal
import subprocess
import sys
from typing import Any

import device_answer
import pytest
import yaml
from device_answer import (
    ANSWERS,
    UnreadableError,
    checked,
    memory_limited,
    one_line,
    parsed,
    printable,
    seconds,
    time_limited,
)

from .test_docs import documentation

IDENTITY: dict[str, Any] = {
    "changed": True,
    "csr": "-----BEGIN CERTIFICATE REQUEST-----\nMIH=\n-----END CERTIFICATE REQUEST-----\n",
    "python": "3.11",
    "machine": "x86_64",
    "releases": ["0123456789abcdef-python3.11"],
}
CLIENT: dict[str, Any] = {
    "changed": False,
    "connected": True,
    "status": "connected to 192.0.2.1:8883 since 2026-01-01T00:00:00Z; backlog 0; acknowledged 7",
    "release": "0123456789abcdef-python3.11",
    "diff": [{"before_header": "ca.crt", "after_header": "ca.crt", "before": "", "after": "PEM\n"}],
}
REMOVED: dict[str, Any] = {"changed": True, "undelivered": 3, "kept": "/var/lib/private/mqtt-client"}
LOOKUP = {"canonical": "one.example.net", "addresses": ["192.0.2.1"], "error": ""}
LOOKUPS: dict[str, Any] = {
    "changed": False,
    "lookups": {"mqtt1.example.com": LOOKUP, "one.example.net": LOOKUP},
    "stale": [],
}
ASKED = {"endpoints": ["mqtt1.example.com"], "targets": {"mqtt1.example.com": "one.example.net"}}
HONEST: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "identity": ("mqtt_device_identity", {}, IDENTITY),
    "identity in check mode": ("mqtt_device_identity", {}, {**IDENTITY, "csr": None}),
    "client": ("mqtt_device_client", {}, CLIENT),
    "client removed": ("mqtt_device_client", {"state": "absent"}, REMOVED),
    "lookups": ("endpoint_lookup_info", ASKED, LOOKUPS),
}
# What Ansible takes from a module's result beside its documented values.
CONTROL = {
    "ansible_facts": {"aws_environment": {"PATH": "/opt/x"}, "mqtt_client_ca": "/etc/shadow"},
    "_ansible_facts_cacheable": True,
    "add_host": {"host_name": "localhost", "host_vars": {"aws_environment": {}}},
    "add_group": "regions",
    "ansible_stats": {"data": {"clients": 1}},
    "_ansible_delegated_vars": {"ansible_host": "localhost"},
    "_ansible_no_log": True,
    "exception": "Traceback",
    "warnings": ["\x1b]0;title\x07"],
    "deprecations": [{"msg": "x"}],
    "invocation": {"module_args": {}},
    "results": [{"ansible_facts": {}}],
    "skipped": True,
    "unreachable": True,
    "failed_when_result": False,
    "include": "/opt/x/tasks.yml",
    "rc": 1,
    "stdout": "x",
}


def answer(module: str, arguments: dict[str, Any], said: Any) -> dict[str, Any]:
    return checked(said, ANSWERS[module](arguments))


@pytest.mark.parametrize("case", HONEST)
def test_honest_answer_stays_as_it_is(case: str) -> None:
    module, arguments, said = HONEST[case]

    found = answer(module, arguments, said)

    assert {key: value for key, value in found.items() if value is not None or key in said} == said
    assert answer(module, arguments, found) == found


@pytest.mark.parametrize("case", HONEST)
def test_nothing_else_is_taken(case: str) -> None:
    module, arguments, said = HONEST[case]

    found = answer(module, arguments, {**said, **CONTROL})

    assert found == answer(module, arguments, said)
    assert not set(found) & set(CONTROL)


def test_failure_says_why_and_nothing_else() -> None:
    found = answer("mqtt_device_client", {}, {"failed": True, "msg": "no\n\x1b[2Jroom", **CONTROL})

    assert found == {"failed": True, "changed": False, "msg": "no \\x1b[2Jroom"}


@pytest.mark.parametrize(
    ("case", "wrong"),
    [
        ("identity", {"machine": "/../../../esc/x"}),
        ("identity", {"machine": "--cache=/etc"}),
        ("identity", {"python": "../../3"}),
        ("identity", {"python": "3.11\n"}),
        ("identity", {"python": 3.11}),
        ("identity", {"releases": ["../x"] * 2000}),
        ("identity", {"releases": "x"}),
        ("identity", {"releases": ["a/b"]}),
        ("identity", {"csr": "A" * 20_000_000}),
        ("identity", {"csr": "\x1b[2J"}),
        ("identity", {"csr": {"__ansible_vault": "x"}}),
        ("identity", {"changed": "yes"}),
        ("client", {"connected": 1}),
        ("client", {"status": None}),
        ("client", {"release": "../../etc"}),
        ("client", {"diff": [{"before": "x"}]}),
        ("client removed", {"kept": "/etc"}),
        ("client removed", {"undelivered": -1}),
        ("client removed", {"undelivered": True}),
        ("client removed", {"undelivered": 10**400}),
        ("lookups", {"lookups": {}}),
        ("lookups", {"lookups": {"mqtt1.example.com": LOOKUP}}),
        ("lookups", {"stale": ["mqtt2.example.com"]}),
        ("lookups", {"stale": None}),
        ("lookups", {"failed": True}),
        ("lookups", {"failed": True, "msg": {"x": 1}}),
    ],
)
def test_wrong_value_is_no_answer(case: str, wrong: dict[str, Any]) -> None:
    module, arguments, said = HONEST[case]

    with pytest.raises(UnreadableError) as error:
        answer(module, arguments, {**said, **wrong})

    text = str(error.value)
    assert text.startswith((*wrong, "msg is", "mqtt1.example.com is", "one.example.net is", "before_header is"))
    assert text.isprintable()
    assert len(text) < 500


@pytest.mark.parametrize("said", [[], None, "x", 7, True])
def test_answer_that_is_no_object_is_none(said: Any) -> None:
    with pytest.raises(UnreadableError, match="the answer is "):
        answer("mqtt_device_identity", {}, said)


def test_lines_of_a_login_around_the_answer_are_passed_over() -> None:
    assert parsed('Welcome {user}!\n{"changed": false}\nBye {}\n', "") == {"changed": False}


@pytest.mark.parametrize(
    ("printed", "complaint", "said"),
    [
        ("", "/bin/sh: 1: /usr/bin/python9: not found\n", "the answer is /bin/sh: 1: /usr/bin/python9: not found"),
        ("\x1b[31mno\n", "", "the answer is \\x1b[31mno"),
        ("", "", "the answer is nothing"),
        ('{"changed": fal', "", "the answer is no JSON (Expecting value"),
        ('{"a":' * 100_000, "", "the answer is no JSON (maximum recursion"),
        (json.dumps({"csr": "A" * 20_000_000}), "", "the answer has 20000011 characters"),
        ("{" + "9" * 5000, "", "the answer is no JSON"),
    ],
)
def test_what_is_no_answer_is_said_in_one_line(printed: str, complaint: str, said: str) -> None:
    with pytest.raises(UnreadableError) as error:
        parsed(printed, complaint)

    assert str(error.value).startswith(said)
    assert str(error.value).isprintable()


def test_what_a_terminal_would_obey_is_escaped() -> None:
    assert printable("a\x1b[2J\u202eé\n", kept="\n") == "a\\x1b[2J\\u202eé\n"
    assert len(one_line("x" * 10**6)) < 1100


def test_time_limit_ends_what_waits() -> None:
    before = signal.getsignal(signal.SIGALRM)

    with pytest.raises(device_answer.NoAnswerError), time_limited(0.05), subprocess.Popen(["sleep", "60"]) as process:
        try:
            process.wait()
        finally:
            process.kill()

    assert signal.getsignal(signal.SIGALRM) is before


def test_limit_that_is_there_already_stays() -> None:
    def over(*_: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, 300)
    try:
        with time_limited(600):
            assert 0 < signal.getitimer(signal.ITIMER_REAL)[0] <= 300
        assert 0 < signal.getitimer(signal.ITIMER_REAL)[0] <= 300
        assert signal.getsignal(signal.SIGALRM) is over
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux says how much a process has")
def test_memory_is_limited_while_it_is_asked_for() -> None:
    with pytest.raises(MemoryError), memory_limited(16 * 1024 * 1024):
        bytes(64 * 1024 * 1024)
    assert len(bytes(64 * 1024 * 1024)) == 64 * 1024 * 1024


@pytest.mark.parametrize("value", [0, -1, "soon", None, float("nan"), float("inf")])
def test_time_limit_that_is_none_is_refused(value: Any) -> None:
    with pytest.raises(Exception, match=r"time_limit: found .*, expected seconds: correct it"):
        seconds(value)


@pytest.mark.parametrize("module", ANSWERS)
def test_documented_values_are_those_that_are_taken(module: str) -> None:
    returned = set(yaml.safe_load(importlib.import_module(module).RETURN))
    states = [{}, {"state": "absent"}] if module == "mqtt_device_client" else [ASKED]
    taken = {key for arguments in states for key in ANSWERS[module](arguments)} - {"diff"}

    assert documentation(module)["options"]["time_limit"]["default"] == device_answer.TIME_LIMIT
    # Made on the controller, of several devices' answers.
    assert taken == returned - {"answers"}
