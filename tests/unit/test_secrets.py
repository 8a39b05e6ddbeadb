"""What shows no secret says so without a condition, and what handles a private key says so."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

REPOSITORY = Path(__file__).parent.parent.parent
FILES = sorted(
    path
    for pattern in ("*.yml", "playbooks/**/*.yml", "roles/*/tasks/**/*.yml", "roles/*/handlers/**/*.yml")
    for path in REPOSITORY.glob(pattern)
)
# Names of a module's options that take a secret itself, and not the file it is in.
_SECRET = re.compile(r"(pass(word|phrase)|secret|token|(private|ssh)_?key)(_content)?", re.IGNORECASE)
# Modules that make or read private keys, whatever their options are called.
_KEYS = re.compile(r"(openssl_privatekey|openssh_keypair|openssl_pkcs12|openssl_privatekey_(pipe|convert|info))")


def steps(found: Any) -> Iterator[dict[str, Any]]:
    """Plays, blocks and tasks of a file, each once."""
    for step in found or []:
        if isinstance(step, dict):
            yield step
            for part in ("tasks", "pre_tasks", "post_tasks", "handlers", "block", "rescue", "always"):
                yield from steps(step.get(part))


def conditional(found: Any) -> list[str]:
    """The names of steps whose `no_log` depends on something."""
    return [str(step.get("name")) for step in steps(found) if not isinstance(step.get("no_log", True), bool)]


def shown(found: Any) -> list[str]:
    """The names of tasks that handle a secret and may show it."""
    return [str(step.get("name")) for step in steps(found) if _handles(step) and step.get("no_log") is not True]


def _handles(step: dict[str, Any]) -> bool:
    return any(
        _KEYS.search(module) or any(_SECRET.fullmatch(option) for option in options)
        for module, options in step.items()
        if isinstance(options, dict) and module not in ("vars", "environment")
    )


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_nothing_secret_is_shown_at_any_verbosity(path: Path) -> None:
    found = yaml.safe_load(path.read_text())

    assert conditional(found) == []
    assert shown(found) == []


@pytest.mark.parametrize(
    "no_log", ["{{ ansible_verbosity < 3 }}", "{{ not debug | default(false) }}", "{{ hide }}", "yes please", 1, None]
)
def test_condition_is_found_wherever_it_stands(no_log: object) -> None:
    task = {"name": "x", "ansible.builtin.debug": {"msg": ""}, "no_log": no_log}

    for found in (
        [task],
        [{"block": [task]}],
        [{"tasks": [{"block": [], "rescue": [task]}]}],
        [{**task, "hosts": "a"}],
    ):
        assert conditional(found) == ["x"]


@pytest.mark.parametrize(
    "task",
    [
        {"community.crypto.openssl_privatekey": {"path": "a"}},
        {"community.aws.acm_certificate": {"private_key": "…"}},
        {"any.module": {"passphrase": "…"}, "no_log": False},
        {"any.module": {"secret": "…"}, "no_log": "{{ true }}"},
    ],
)
def test_task_that_handles_a_secret_is_found(task: dict[str, Any]) -> None:
    assert shown([{"block": [{"name": "x", **task}]}]) == ["x"]
    assert shown([{"name": "x", **task, "no_log": True}]) == []
