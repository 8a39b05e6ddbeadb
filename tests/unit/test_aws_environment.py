"""What of `aws_environment` may stand in a command line, and how the rest gets to the modules."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from ansible.errors import AnsibleFilterError
from aws_environment import handed_over

REPOSITORY = Path(__file__).parent.parent.parent
TASKS = [*REPOSITORY.glob("playbooks/*.yml"), *REPOSITORY.glob("roles/*/tasks/*.yml")]


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is handed over here is not left to other tests."""
    monkeypatch.setattr(os, "environ", dict(os.environ))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AWS_ACCESS_KEY_ID", "AKIAI44QH8DHBEXAMPLE"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
        ("AWS_SESSION_TOKEN", "token"),
        ("AWS_SECURITY_TOKEN", "token"),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "token"),
        ("https_proxy", "http://operator:password@192.0.2.1:3128"),
    ],
)
def test_secret_is_inherited_and_not_shown(name: str, value: str) -> None:
    assert handed_over({name: value, "AWS_PROFILE": "fleet"}, "local") == {"AWS_PROFILE": "fleet"}
    assert os.environ[name] == value


def test_what_is_no_secret_stays_where_it_is() -> None:
    plain = {
        "AWS_PROFILE": "fleet",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:4566",
        "AWS_WEB_IDENTITY_TOKEN_FILE": "/run/token",
        "HTTPS_PROXY": "http://192.0.2.1:3128",
        "AWS_MAX_ATTEMPTS": "3",
    }

    assert handed_over({**plain, "AWS_MAX_ATTEMPTS": 3}) == plain
    assert handed_over(plain, "ssh") == plain


@pytest.mark.parametrize("connection", ["ssh", "ansible.builtin.ssh", "paramiko", "community.docker.docker"])
def test_secret_for_a_host_that_inherits_nothing_is_refused_without_being_shown(connection: str) -> None:
    with pytest.raises(AnsibleFilterError, match="found AWS_SECRET_ACCESS_KEY for a host with ansible_conn") as refused:
        handed_over({"AWS_SECRET_ACCESS_KEY": "je7MtGbClwBF"}, connection)

    assert "je7MtGbClwBF" not in str(refused.value)


def test_every_task_and_play_hands_it_over() -> None:
    used = [
        (path.name, line.strip())
        for path in TASKS
        for line in path.read_text().splitlines()
        if re.search(r"environment:.*aws_environment", line)
    ]

    assert len(used) > 5
    # The names alone are for devices: they get none of it.
    kept = [line for _, line in used if "handed_over" not in line and "| list | product([''])" not in line]
    assert kept == []
