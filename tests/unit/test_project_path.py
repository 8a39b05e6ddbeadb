"""Where files are does not depend on which playbook runs, nor on where its inventory is."""

from __future__ import annotations

from pathlib import Path

import pytest
from project import project_path


@pytest.mark.parametrize("playbook_dir", ["/srv/fleet", "/srv/fleet/playbooks"])
def test_relative_path_begins_at_the_projects_folder(playbook_dir: str) -> None:
    assert project_path("certs/production", playbook_dir) == "/srv/fleet/certs/production"
    assert project_path("./reports/", playbook_dir) == "/srv/fleet/reports"
    assert project_path("../shared", playbook_dir) == "/srv/shared"


def test_absolute_path_stays() -> None:
    assert project_path("/var/lib/fleet/reports", "/srv/fleet/playbooks") == "/var/lib/fleet/reports"
    assert project_path("~/reports", "/srv/fleet") == str(Path.home() / "reports")


@pytest.mark.parametrize("nothing", ["", None])
def test_what_is_not_set_stays_so(nothing: object) -> None:
    assert project_path(nothing, "/srv/fleet") == ""
