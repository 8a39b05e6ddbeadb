"""What an operator does besides moving: look, stop, go back, and meet a colleague; with real ansible-playbook runs."""
# ruff: noqa: F811 - the fixture `options` is that of the move's own tests

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import pytest

from tests.terminal import Terminal

from .conftest import REPOSITORY, AwsApi
from .modules import last_request, run_ok
from .test_iot_region_switch import ATS, CLIENTS, ENDPOINTS, NEW, OLD, options, point, records  # noqa: F401

ANSIBLE = str(Path(sys.executable).parent / "ansible-playbook")
PLAYBOOK = """
- hosts: localhost
  gather_facts: false
  tasks:
    - name: Move the fleet
      iot_region_switch: "{{ options }}"
"""
STATUS_OPTIONS = ("modes", "endpoints", "regions", "hosted_zone_id", "reports_directory")
TIMEOUT = 60.0


def status(options: dict[str, Any]) -> dict[str, Any]:
    return run_ok("failover_status_info", {name: options[name] for name in STATUS_OPTIONS})


def wait_for(what: str, probe: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + TIMEOUT
    while not (found := probe()):
        assert time.monotonic() < deadline, f"{what} did not happen"
        time.sleep(0.05)
    return found


def command(options: dict[str, Any], folder: Path) -> list[str]:
    """An ansible-playbook that moves the fleet with these options."""
    # As modules get them from YAML, and not as Jinja's text.
    (folder / "move.yml").write_text(PLAYBOOK.replace('"{{ options }}"', json.dumps(options)))
    python = f"ansible_python_interpreter={sys.executable}"
    return [ANSIBLE, "-i", "localhost,", "-c", "local", "-e", python, str(folder / "move.yml")]


def begin(options: dict[str, Any], folder: Path) -> subprocess.Popen[str]:
    """Begin a move whose output is a pipe."""
    return subprocess.Popen(
        command(options, folder), cwd=REPOSITORY, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def journal(options: dict[str, Any]) -> str:
    return "".join(path.read_text() for path in Path(options["reports_directory"]).glob("*/journal.jsonl"))


def report(options: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((Path(options["reports_directory"]) / "latest" / "summary.json").read_text())
    return found


def test_ctrl_c_in_the_middle_of_a_sweep_ends_with_a_report(
    aws_api: AwsApi, options: dict[str, Any], tmp_path: Path
) -> None:
    aws_api.faults({"operation": "GetConnection", "kind": "latency", "seconds": 1.0})
    aws_api.reconnect({})
    terminal = Terminal(command({**options, "mode": 3, "waves": [100], "landing_timeout": 300}, tmp_path), REPOSITORY)
    wait_for("the sweep", lambda: '"delete_connection"' in journal(options))
    wait_for("the bar", lambda: terminal.shows("of 2"))

    terminal.press(b"\x03")
    code = terminal.end()

    assert code not in (0, 2)
    found = report(options)
    assert (found["outcome"], found["clients"]["stragglers"]) == ("partial", 2)
    last = terminal.shown[terminal.shown.index("User interrupted") :]
    # Ansible sends one after the other, and the second may come first; the run may say so before Ansible does.
    assert re.search("interrupted: run: found SIG(INT|TERM), expected", terminal.shown)
    assert "outcome: partial" in last
    assert f"report: {Path(options['reports_directory']).resolve() / found['run_id']}" in last
    assert not re.search("Traceback|Exception", terminal.shown)

    aws_api.faults()
    aws_api.reconnect(dict.fromkeys(CLIENTS, NEW))
    for client_id in CLIENTS:
        aws_api.connect(NEW, client_id, thing_name=client_id)
    assert run_ok("iot_region_switch", {**options, "mode": 3})["outcome"] in ("moved", "unchanged")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_move_whose_ansible_playbook_is_killed_ends_with_a_report(
    aws_api: AwsApi, options: dict[str, Any], tmp_path: Path, number: signal.Signals
) -> None:
    aws_api.reconnect({})
    move = begin({**options, "mode": 3, "waves": [100], "landing_timeout": 300}, tmp_path)
    wait_for("the sweep", lambda: '"delete_connection"' in journal(options))

    move.send_signal(number)
    move.communicate()

    wait_for("the report", lambda: (Path(options["reports_directory"]) / "latest" / "summary.json").exists())
    assert report(options)["outcome"] == "partial"
    assert '"step": "interrupted"' in journal(options)
    assert status(options)["running"] is None


def test_move_whose_ansible_playbook_was_gone_before_it_began_does_nothing(
    aws_api: AwsApi, options: dict[str, Any], tmp_path: Path
) -> None:
    began, go = tmp_path / "began", tmp_path / "go"
    # A Python that waits until the test lets it go.
    slow = tmp_path / "python3"
    slow.write_text(f'#!/bin/sh\ntouch {began}\nuntil [ -e {go} ]; do sleep 0.05; done\nexec {sys.executable} "$@"\n')
    slow.chmod(0o755)
    words = command({**options, "mode": 3}, tmp_path)
    words[words.index(f"ansible_python_interpreter={sys.executable}")] = f"ansible_python_interpreter={slow}"
    after = last_request(aws_api)
    move = subprocess.Popen(words, cwd=REPOSITORY, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    wait_for("the module's Python", began.exists)

    move.kill()
    move.wait()
    go.touch()

    wait_for("the report", lambda: (Path(options["reports_directory"]) / "latest" / "summary.json").exists())
    assert report(options)["outcome"] == "failed"
    assert "its ansible-playbook gone" in journal(options)
    assert aws_api.operations(after) == []


def test_second_operator_is_told_who_when_and_what_and_changes_nothing(
    aws_api: AwsApi, options: dict[str, Any], tmp_path: Path
) -> None:
    aws_api.settings(insync_delay_seconds=600)
    (tmp_path / "other").mkdir()
    # Until it is told to end, however long a second one takes to begin.
    first = begin({**options, "mode": 3, "dns_timeout": 600}, tmp_path)
    wait_for("the switch", lambda: '"switched"' in journal(options))
    running = status(options)["running"]
    after = last_request(aws_api)

    second = begin({**options, "mode": 2}, tmp_path / "other")
    output, _ = second.communicate(timeout=TIMEOUT)

    assert second.returncode == 2
    assert re.search(r"found a run to mode 3 by \S+ \(pid \d+\) since 20\S+Z, expected no other run", output)
    assert f"{running}, expected no other run" in output
    assert re.search(r"^    [a-z]", output, re.MULTILINE) is None
    assert aws_api.writes(after) == []
    aws_api.settings(insync_delay_seconds=0.0)
    first.terminate()
    first.communicate()
    wait_for("the first to end", lambda: status(options)["running"] is None)
    assert records() == dict.fromkeys(ENDPOINTS, ATS[NEW])


def test_rollback_returns_to_what_was_and_a_second_one_changes_nothing(
    aws_api: AwsApi, options: dict[str, Any]
) -> None:
    back = {**options, "mode": "", "rollback": True}
    run_ok("iot_region_switch", {**options, "mode": 3})
    aws_api.reconnect(dict.fromkeys(CLIENTS, OLD))

    done = run_ok("iot_region_switch", back)

    assert (done["outcome"], done["summary"]["mode"]) == ("moved", "1")
    assert records() == dict.fromkeys(ENDPOINTS, ATS[OLD])
    assert aws_api.connected(OLD) == set(CLIENTS)
    after = last_request(aws_api)
    assert run_ok("iot_region_switch", back)["outcome"] == "unchanged"
    assert aws_api.writes(after) == []


def test_status_shows_records_mode_clients_and_the_last_run(aws_api: AwsApi, options: dict[str, Any]) -> None:
    boto3.client("iot", region_name=NEW).create_thing(thingName="other")
    aws_api.connect(NEW, "other", thing_name="other")
    before = status(options)
    assert (before["mode"], before["misplaced"], before["last"], before["running"]) == ("1", 0, None, None)

    done = run_ok("iot_region_switch", {**options, "mode": "3"})
    found = status(options)

    assert found["mode"] == "3"
    assert found["endpoints"] == {name: {"region": NEW, "host": ATS[NEW]} for name in ENDPOINTS}
    assert found["regions"][NEW] == {
        "reachable": True,
        "error": None,
        "clients": {"": 1, **dict.fromkeys(ENDPOINTS, 1)},
    }
    assert found["last"]["run_id"] == done["run_id"]
    assert found["lines"][:5] == [
        "mode: 3",
        "endpoint           record points at  us-east-1  ap-northeast-1",
        "mqtt1.example.com  ap-northeast-1    0          1",
        "mqtt2.example.com  ap-northeast-1    0          1",
        "no endpoint                          0          1",
    ]
    assert found["lines"][-1].startswith(f"last run: {done['run_id']}, mode 3: moved, 20")


def play(
    name: str, options: dict[str, Any], folder: Path, *arguments: str, environment: dict[str, str] | None = None,
    **others: Any,
) -> subprocess.CompletedProcess[str]:  # fmt: skip
    """Run one of the playbooks with an inventory made of a move's options.

    Args:
        environment: of ansible-playbook; None is this process's.
        others: further variables.
    """
    variables = {
        "ansible_connection": "local",
        "ansible_python_interpreter": sys.executable,
        "aws_environment": {},
        "dns_record_ttl": 0,
        "dns_resolvers": options["resolvers"],
        "failover_modes": options["modes"],
        "hosted_zone_id": options["hosted_zone_id"],
        "iot_endpoints": options["endpoints"],
        "reports_directory": options["reports_directory"],
        **others,
    }
    regions = {"hosts": {region: {} for region in options["regions"]}}
    inventory = folder / "inventory.yml"
    hosts = {"localhost": {}}
    inventory.write_text(json.dumps({"all": {"hosts": hosts, "vars": variables, "children": {"regions": regions}}}))
    words = [ANSIBLE, "-i", str(inventory), f"playbooks/{name}.yml", *arguments]
    return subprocess.run(words, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)


def test_playbooks_show_where_everything_is_and_refuse_to_go_back_to_nothing(
    aws_api: AwsApi, options: dict[str, Any], tmp_path: Path
) -> None:
    shown = play("status", options, tmp_path)
    refused = play("rollback", options, tmp_path)

    assert shown.returncode == 0, shown.stdout
    assert "mqtt1.example.com  us-east-1         1          0" in shown.stdout
    assert "last run: none has ended here" in shown.stdout
    assert refused.returncode == 2
    assert "rollback: no run in" in refused.stdout
    assert records() == dict.fromkeys(ENDPOINTS, ATS[OLD])


def test_status_counts_who_is_elsewhere_and_knows_no_mode_for_other_records(
    aws_api: AwsApi, options: dict[str, Any]
) -> None:
    point({ENDPOINTS[0]: ATS[NEW]})
    found = status(options)
    assert (found["mode"], found["misplaced"]) == (None, 1)

    point({ENDPOINTS[0]: "elsewhere.example.org"})
    found = status(options)
    assert found["endpoints"][ENDPOINTS[0]] == {"region": None, "host": "elsewhere.example.org"}
    assert found["misplaced"] == 1


def test_one_odd_record_hides_no_other(aws_api: AwsApi, options: dict[str, Any]) -> None:
    odd = {"Name": ENDPOINTS[0], "Type": "A", "TTL": 60, "ResourceRecords": [{"Value": "192.0.2.1"}]}
    point({ENDPOINTS[0]: ATS[OLD]}, "DELETE")
    boto3.client("route53", region_name=OLD).change_resource_record_sets(
        HostedZoneId=options["hosted_zone_id"],
        ChangeBatch={"Changes": [{"Action": "CREATE", "ResourceRecordSet": odd}]},
    )

    found = status(options)

    assert found["endpoints"] == {
        ENDPOINTS[0]: {"region": None, "host": None},
        ENDPOINTS[1]: {"region": OLD, "host": ATS[OLD]},
    }
    assert (found["mode"], found["misplaced"]) == (None, 0)
    assert list(found["odd"]) == [ENDPOINTS[0]]
    assert "mqtt1.example.com  not clear, see below  1          0" in found["lines"]
    assert "mqtt2.example.com  us-east-1             1          0" in found["lines"]
    assert found["odd"][ENDPOINTS[0]] in found["lines"]
    assert "misplaced: 0 clients, not counting mqtt1.example.com" in found["lines"]


def test_status_shows_who_is_connected_where_also_without_route_53(aws_api: AwsApi, options: dict[str, Any]) -> None:
    aws_api.faults({"operation": "ListResourceRecordSets", "kind": "error", "status": 503})

    found = status(options)

    assert found["regions"][OLD]["clients"] == dict.fromkeys(ENDPOINTS, 1)
    assert "mqtt1.example.com  not clear, see below  1          0" in found["lines"]
    assert sum("ListResourceRecordSets" in line for line in found["lines"]) == 1


def test_status_shows_a_dead_region_and_what_is_known_without_it(aws_api: AwsApi, options: dict[str, Any]) -> None:
    aws_api.faults({"operation": "*", "region": OLD, "kind": "error", "status": 503})

    found = status(options)

    assert found["regions"][OLD]["reachable"] is False
    assert found["regions"][OLD]["clients"] is None
    assert found["endpoints"][ENDPOINTS[0]] == {"region": OLD, "host": ATS[OLD]}
    assert found["mode"] == "1"
    assert "mqtt1.example.com  us-east-1         no answer  0" in found["lines"]
    assert any(line.startswith("us-east-1: not reachable: DescribeEndpoint") for line in found["lines"])
    assert "misplaced: 0 clients, not counting us-east-1" in found["lines"]


def test_status_shows_a_region_without_fleet_index(aws_api: AwsApi, options: dict[str, Any]) -> None:
    fault = {
        "operation": "SearchIndex",
        "region": OLD,
        "kind": "error",
        "status": 400,
        "code": "IndexNotReadyException",
    }
    aws_api.faults(fault)

    found = status(options)

    assert found["regions"][OLD]["reachable"]
    assert "mqtt1.example.com  us-east-1         unknown    0" in found["lines"]


SECRETS = {
    "AWS_ACCESS_KEY_ID": "AKIAI44QH8DHBEXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "je7MtGbClwBF/2Zp9Utk/h3yCo8nvbEXAMPLEKEY",
    "AWS_SESSION_TOKEN": "AQoEXAMPLEH4aoAH0gNCAPy",
    "HTTPS_PROXY": "http://operator:the-password@192.0.2.1:3128",
}


def test_secrets_of_the_inventory_reach_aws_and_no_screen(
    aws_api: AwsApi, options: dict[str, Any], tmp_path: Path
) -> None:
    environment = {name: value for name, value in os.environ.items() if name not in SECRETS}
    own = {**SECRETS, "AWS_DEFAULT_REGION": OLD}
    # The stand-in knows nobody else.
    known = {"secret": SECRETS["AWS_SECRET_ACCESS_KEY"], "token": SECRETS["AWS_SESSION_TOKEN"]}
    aws_api.settings(identities={SECRETS["AWS_ACCESS_KEY_ID"]: known})

    shown = play("status", options, tmp_path, "-vvvvv", environment=environment, aws_environment=own)

    assert shown.returncode == 0, shown.stdout
    assert "mqtt1.example.com  us-east-1         1          0" in shown.stdout
    # The commands are shown, with what is no secret.
    assert f"AWS_DEFAULT_REGION={OLD}" in shown.stdout
    assert [name for name, value in SECRETS.items() if value in shown.stdout + shown.stderr] == []


def set_by_a_runner(folder: Path, stdout_callback: str) -> dict[str, str]:
    """The environment in which AWX and ansible-runner begin ansible-playbook: callbacks are theirs."""
    (folder / "callbacks").mkdir()
    return {
        **os.environ,
        "ANSIBLE_CALLBACK_PLUGINS": str(folder / "callbacks"),
        "ANSIBLE_STDOUT_CALLBACK": stdout_callback,
        "ANSIBLE_SHOW_CUSTOM_STATS": "yes",
    }


def test_output_for_programs_has_no_progress_in_it_and_a_runners_callbacks_do_not_hide_it(
    aws_api: AwsApi, options: dict[str, Any], tmp_path: Path
) -> None:
    environment = set_by_a_runner(tmp_path, "ansible.posix.json")
    # The project's own folder of callbacks, where Ansible looks beside a playbook.
    (tmp_path / "callback_plugins").symlink_to(REPOSITORY / "playbooks" / "callback_plugins")

    done = subprocess.run(
        command({**options, "mode": "3"}, tmp_path), cwd=REPOSITORY, env=environment, capture_output=True, text=True,
        check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    [play] = json.loads(done.stdout)["plays"]
    assert play["tasks"][0]["hosts"]["localhost"]["outcome"] == "moved"
    assert "\n    plan: mqtt1.example.com us-east-1 -> ap-northeast-1" in f"\n{done.stderr}"
    assert done.stderr.count("    landing: ") == 2


def test_refusal_is_handed_on_and_an_inventory_elsewhere_finds_the_projects_folders(
    aws_api: AwsApi, options: dict[str, Any], tmp_path: Path
) -> None:
    environment = set_by_a_runner(tmp_path, "ansible.posix.json")
    reports = f"reports/{tmp_path.name}-{os.getpid()}"

    done = play(
        "failover", options, tmp_path, "-e", "mode=3", environment=environment, failover_max_endpoints=1,
        failover_preflight=False, reports_directory=reports,
    )  # fmt: skip

    folder = REPOSITORY / reports
    try:
        assert done.returncode == 2
        stats = json.loads(done.stdout)["global_custom_stats"]
        assert stats["failover_outcome"] == "refused"
        assert stats["failover_summary"]["outcome"] == "refused"
        assert Path(stats["failover_report"]).parent == folder
        assert len(stats["failover_error"].splitlines()) == 1
    finally:
        shutil.rmtree(folder)
