"""What the drill reads out of a playbook's output."""

from __future__ import annotations

import pytest

from lab.drill import current_task, last_error, progress_lines, recap

RECAP = """
PLAY RECAP *******************************
ap-northeast-1             : ok=9    changed=1    unreachable=0    failed=0    skipped=1    rescued=0    ignored=0
localhost                  : ok=14   changed=0    unreachable=0    failed=0    skipped=1    rescued=0    ignored=0
"""


def test_recap_is_one_line() -> None:
    assert recap(RECAP) == "ap-northeast-1: ok=9 changed=1; localhost: ok=14 changed=0"


@pytest.mark.parametrize(
    ("output", "error"),
    [
        (f'TASK [x]\nfatal: [localhost]: FAILED! => {{"msg": "mode 9: unknown"}}\n{RECAP}', "mode 9: unknown"),
        ("[ERROR]: the playbook: nope.yml could not be found\n", "the playbook: nope.yml could not be found"),
        ("something else\n", "something else"),
        ("", "no output"),
    ],
)  # fmt: skip
def test_last_error_is_the_failed_tasks_message(output: str, error: str) -> None:
    assert last_error(output) == error


def test_current_task_is_the_last_one_begun() -> None:
    output = "PLAY [x]\nTASK [pki : Create the folders] ****\nok\nTASK [pki : Create the private keys] ***\n"

    assert current_task(output) == "pki : Create the private keys"
    assert current_task("PLAY [x]\n") == "starting"


def test_progress_is_told_from_the_rest_of_the_output() -> None:
    output = 'TASK [x] ***\n    sweep: 2 clients\nchanged: [localhost]\n    "msg": [\n        "mode 3"\n'

    assert progress_lines(output) == ["    sweep: 2 clients"]
