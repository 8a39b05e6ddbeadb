"""Every machine that cannot carry the lab is refused in one line that says what to do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from lab import checks, mosquitto_plugin, topology
from lab.errors import LabError

FIT = checks.Facts(system="Linux", user_id=0, python=(3, 11), distribution=frozenset({"debian"}))


def test_a_fit_machine_passes() -> None:
    checks.check_machine(FIT)


@pytest.mark.parametrize(
    ("facts", "found", "advice"),
    [
        (replace(FIT, system="Darwin"), "Darwin", "Debian or Ubuntu machine"),
        (replace(FIT, user_id=1000), "1000", "sudo"),
        (replace(FIT, python=(3, 10)), "3.10", "make PYTHON="),
        (replace(FIT, distribution=frozenset({"fedora"})), "fedora", "Debian or Ubuntu"),
        (replace(FIT, distribution=frozenset()), "unknown", "Debian or Ubuntu"),
    ],
)
def test_unfit_machines_are_refused(facts: checks.Facts, found: str, advice: str) -> None:
    with pytest.raises(LabError) as refused:
        checks.check_machine(facts)
    line = str(refused.value)
    assert found in line
    assert advice in line
    assert "\n" not in line


def test_a_derivative_of_debian_passes() -> None:
    checks.check_machine(replace(FIT, distribution=frozenset({"linuxmint", "ubuntu", "debian"})))


def test_the_distribution_is_read_with_its_relatives(tmp_path: Path) -> None:
    release = tmp_path / "os-release"
    release.write_text('NAME="Mint"\nID=linuxmint\nID_LIKE="ubuntu debian"\n', encoding="utf-8")
    assert checks._distribution(release) == {"linuxmint", "ubuntu", "debian"}
    assert checks._distribution(tmp_path / "absent") == frozenset()


def test_the_lab_of_another_checkout_is_not_touched() -> None:
    here = Path("/srv/here")
    checks.check_owner(None, here)
    checks.check_owner("/srv/here", here)
    with pytest.raises(LabError, match=r"belongs to the lab of /srv/there: run 'make lab-down' there"):
        checks.check_owner("/srv/there", here)


def test_socket_paths_up_to_the_limit_pass() -> None:
    longest = "/" + "x" * (checks.SOCKET_PATH_LIMIT - checks.SOCKET_SUFFIX - 1)
    checks.check_socket_paths([Path(longest)])
    with pytest.raises(LabError, match="LAB_STATE_DIR"):
        checks.check_socket_paths([Path(longest + "x")])


def test_socket_paths_count_in_bytes() -> None:
    within = "/" + "é" * 50
    with pytest.raises(LabError, match="socket path takes 113 bytes"):
        checks.check_socket_paths([Path(within)])


def test_every_region_has_a_socket_that_is_checked(tmp_path: Path) -> None:
    paths = checks.socket_paths(tmp_path)
    for region in topology.REGIONS:
        assert any(region.name in path.parts for path in paths)


def test_missing_programs_and_headers_are_named_by_their_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for program in (*checks.PACKAGES, *checks.TEST_PACKAGES):
        if program not in ("chromedriver", "knotd", "systemd-nspawn"):
            (tmp_path / program).write_text("", encoding="ascii")
            (tmp_path / program).chmod(0o755)
    monkeypatch.setattr(checks, "program_path", lambda: str(tmp_path))
    monkeypatch.setattr(
        mosquitto_plugin, "HEADERS", {tmp_path / "ip": "iproute2-dev", tmp_path / "missing.h": "missing-dev"}
    )
    assert checks.missing_packages(FIT) == ["knot", "missing-dev", "systemd-container"]
    assert checks.missing_packages(FIT, tests=True) == ["chromium-driver", "knot", "missing-dev", "systemd-container"]


@pytest.mark.parametrize(
    ("owner", "processes", "dead"),
    [("/srv/there", set(), True), ("/srv/there", {17}, False), ("/srv/here", set(), False), (None, set(), False)],
)
def test_only_a_foreign_lab_without_processes_is_dead(owner: str | None, processes: set[int], dead: bool) -> None:
    assert checks.is_dead(owner, Path("/srv/here"), processes) is dead
