"""What supervisord is told, and when it restarts a program."""

from __future__ import annotations

import configparser
import os
import shlex
from pathlib import Path

import pytest

from lab import programs, topology


def supervisord(state: Path) -> configparser.RawConfigParser:
    parser = configparser.RawConfigParser()
    parser.read_string(programs.supervisord_file(state).content)
    return parser


def test_every_part_of_the_lab_is_a_program(tmp_path: Path) -> None:
    names = {section.removeprefix("program:") for section in supervisord(tmp_path).sections() if ":" in section}
    regions = {f"{kind}-{node.name}" for node in topology.REGIONS for kind in ("haproxy", "mosquitto")}
    assert regions | {"aws", "ns1", "ns2", "resolver", "edge1", "edge2", "monitor"} <= names


def test_only_the_monitor_and_the_load_wait_to_be_started(tmp_path: Path) -> None:
    waiting = [program.name for program in programs.all_programs(tmp_path) if not program.autostart]
    assert waiting == ["monitor", "load"]


def test_a_changed_file_changes_only_the_programs_that_read_it(tmp_path: Path) -> None:
    def environments() -> dict[str, str]:
        return {program.name: program.environment_line for program in programs.all_programs(tmp_path)}

    before = environments()
    knot = tmp_path / "dns" / "ns1" / "knot.conf"
    knot.parent.mkdir(parents=True)
    knot.write_text("server:\n", encoding="ascii")
    after = environments()
    assert [name for name in after if after[name] != before[name]] == ["ns1"]


def test_a_digest_covers_names_and_contents(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    first.write_bytes(b"x")
    second.write_bytes(b"x")
    assert programs.digest([first]) != programs.digest([second])
    before = programs.digest([first])
    first.write_bytes(b"y")
    assert programs.digest([first]) != before
    assert programs.digest([first, second]) == programs.digest([second, first])


def test_percent_signs_and_spaces_survive_supervisord() -> None:
    program = programs.Program("p", ["/srv/50% off/run", "a b"])
    assert shlex.split(program.command_line.replace("%%", "%")) == ["/srv/50% off/run", "a b"]


@pytest.mark.parametrize("node", topology.REGIONS)
def test_a_regions_programs_run_in_its_network(node: topology.Node, tmp_path: Path) -> None:
    inside = [p for p in programs.all_programs(tmp_path) if p.node == node]
    assert len(inside) == 2
    for program in inside:
        assert os.fspath(f"--net=/run/netns/{node.namespace}") in program.command
