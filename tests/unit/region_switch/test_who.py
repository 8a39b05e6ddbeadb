"""Who makes a run, and how that is found out and shown."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from ansible.module_utils.region_switch.aws import caller
from ansible.module_utils.region_switch.checks import approved_plan
from ansible.module_utils.region_switch.model import approval
from ansible.module_utils.region_switch.model.errors import AwsError, CredentialsError
from ansible.module_utils.region_switch.record import who

from .fakes import FakeAws, aws_error

ARN = "arn:aws:sts::123456789012:assumed-role/fleet-operator/alice"
TOKEN = approval.token({}, approval.digest([]), 0)


def made_by(user: str, host: str, operator: str | None, called_by: str | None) -> dict[str, Any]:
    return {"user": user, "host": host, "operator": operator, "caller": called_by}


def test_region_that_is_gone_does_not_hold_up_the_others() -> None:
    asked = threading.Event()

    def hang(_: str, **__: Any) -> None:
        # Until another region has answered.
        assert asked.wait(60)

    def answer(_: str, **__: Any) -> dict[str, str]:
        return {"Account": "123456789012", "Arn": ARN}

    clients = {"us-east-1": FakeAws(hang), "ap-northeast-1": FakeAws(answer)}

    assert caller.arn(list(clients), clients.__getitem__) == ARN
    asked.set()


def test_caller_that_nobody_says_is_no_reason_to_stop() -> None:
    def refuse(_: str) -> AwsError:
        return aws_error("AccessDenied", 403)

    def none(_: str) -> FakeAws:
        raise CredentialsError("", "none", "log in")

    assert caller.arn(["us-east-1", "ap-northeast-1"], lambda _: FakeAws(refuse)) is None
    assert caller.arn(["us-east-1"], none) is None


def test_who_is_told_in_one_line() -> None:
    assert who.line(made_by("root", "awx-1", "alice", ARN)) == f"alice, root on awx-1, {ARN}"
    assert who.line(made_by("root", "awx-1", None, None)) == "root on awx-1, not known to AWS"


def test_maker_of_a_plan_is_known_where_the_plan_was_made_and_nowhere_else(tmp_path: Path) -> None:
    maker = made_by("root", "controller", None, ARN)
    here, elsewhere = tmp_path / "here", tmp_path / "elsewhere"

    approved_plan.sign(here, TOKEN, maker)

    found = approved_plan.maker(here, TOKEN)
    assert found is not None
    assert found.pop("at")
    assert found == maker
    assert approved_plan.maker(elsewhere, TOKEN) is None
    (here / "planned" / f"{TOKEN}.json").write_text("[")
    assert approved_plan.maker(here, TOKEN) is None
    # What is no token names no file.
    assert approved_plan.maker(here, "../../etc/passwd") is None
