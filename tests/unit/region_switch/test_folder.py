"""The folder of reports: only its owner writes to it, and nothing in it is read that somebody else could have made."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ansible.module_utils.region_switch.model.errors import RefusedError, StorageError, SwitchError
from ansible.module_utils.region_switch.record import folder
from ansible.module_utils.region_switch.record.folder import UntrustedError

from .ours import NOBODY, given_away, mode

ME = folder.user()


@pytest.fixture(params=[0o000, 0o002, 0o777], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


@pytest.fixture
def reports(tmp_path: Path) -> Path:
    folder.claim(tmp_path / "reports")
    return tmp_path / "reports"


def test_what_is_made_is_for_its_owner_alone_whatever_the_umask(umask: None, tmp_path: Path) -> None:
    made = tmp_path / "reports"
    folder.claim(made)
    with folder.replacing(made / "summary.json") as stream:
        stream.write("{}")
    os.close(folder.open_file(made / ".lock", os.O_RDWR | os.O_CREAT))

    assert (mode(made), mode(made / "summary.json"), mode(made / ".lock")) == (0o700, 0o600, 0o600)


def test_folder_above_is_made_where_there_is_none(tmp_path: Path) -> None:
    folder.claim(tmp_path / "fleet" / "reports")

    assert mode(tmp_path / "fleet" / "reports") == 0o700


def test_folder_of_an_earlier_release_goes_on_and_its_files_are_closed_when_they_are_written_to(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "file").write_text("")
    (tmp_path / "file").chmod(0o644)

    folder.claim(tmp_path)
    os.close(folder.open_file(tmp_path / "file", os.O_RDONLY))
    assert (mode(tmp_path), mode(tmp_path / "file")) == (0o755, 0o644)
    os.close(folder.open_file(tmp_path / "file", os.O_RDWR))
    assert mode(tmp_path / "file") == 0o600


@pytest.mark.parametrize("bits", [0o777, 0o1777, 0o702])
def test_folder_that_others_may_write_to_is_refused_with_what_to_do(reports: Path, bits: int) -> None:
    reports.chmod(bits)

    with pytest.raises(RefusedError) as refused:
        folder.claim(reports)

    assert str(refused.value) == (
        f"reports_directory {reports}: found mode {bits:04o}, expected one that only {ME} may write to: "
        f"chmod go-w {reports}, or name another folder"
    )
    assert mode(reports) == bits


def test_folder_that_a_group_may_write_to_is_refused_unless_nobody_else_is_in_it(
    reports: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reports.chmod(0o770)
    alone = folder._alone_in
    monkeypatch.setattr(folder, "_alone_in", lambda _: False)
    with pytest.raises(RefusedError, match="found mode 0770"):
        folder.check(reports)

    monkeypatch.setattr(folder, "_alone_in", lambda _: True)
    folder.check(reports)
    assert alone(0)


class Group:
    def __init__(self, name: str, *members: str) -> None:
        self.gr_name = name
        self.gr_mem = list(members)


@pytest.mark.parametrize(
    ("group", "alone"),
    [
        (Group(ME), True),
        (Group(ME, ME), True),
        (Group(ME, "somebody"), False),
        # Everybody's, though nobody is listed.
        (Group("users"), False),
    ],
)
def test_group_of_one_user_is_known_by_its_name_and_members(
    group: Group, alone: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder.grp, "getgrgid", lambda _: group)
    assert folder._alone_in(1000) is alone


def test_group_without_a_name_may_have_anybody_in_it() -> None:
    assert not folder._alone_in(2**31 - 5)


def test_folder_of_another_user_is_refused(reports: Path) -> None:
    given_away(reports)

    with pytest.raises(RefusedError, match=f"found a folder of {folder.user(NOBODY)}, expected one of {ME}: run as"):
        folder.claim(reports)


def test_folder_below_one_in_which_everybody_may_rename_is_refused(reports: Path) -> None:
    reports.parent.chmod(0o777)
    with pytest.raises(RefusedError, match=f"{reports.parent} has mode 0777, so that every user could replace"):
        folder.check(reports)

    # As /tmp is: there only the owner may.
    reports.parent.chmod(0o1777)
    folder.check(reports)


def test_link_is_followed_and_the_way_to_what_it_leads_to_is_looked_at(reports: Path, tmp_path: Path) -> None:
    link = tmp_path / "above" / "link"
    link.parent.mkdir()
    link.symlink_to(reports)
    folder.claim(link)

    link.parent.chmod(0o777)
    with pytest.raises(RefusedError, match="every user could replace"):
        folder.check(link)
    link.parent.chmod(0o755)
    reports.parent.chmod(0o777)
    with pytest.raises(RefusedError, match="every user could replace"):
        folder.check(link)


def test_file_in_the_place_of_the_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "reports").write_text("")
    with pytest.raises(RefusedError, match="is a file: name a folder"):
        folder.check(tmp_path / "reports")
    with pytest.raises(RefusedError, match="Not a directory: name a folder"):
        folder.claim(tmp_path / "reports" / "below")
    (tmp_path / "link").symlink_to(tmp_path / "gone")
    with pytest.raises(RefusedError, match="File exists: name a folder"):
        folder.claim(tmp_path / "link")


def test_folder_that_is_not_there_yet_may_be_used(tmp_path: Path) -> None:
    folder.check(tmp_path / "reports")
    assert list(tmp_path.iterdir()) == []


Spoil = Callable[[Path], object]


def with_a_second_name(path: Path) -> None:
    path.write_text("")
    path.with_name("second").hardlink_to(path)


SPOILT: dict[str, tuple[Spoil, str]] = {
    "link": (lambda path: path.symlink_to("other"), "no regular file but a link"),
    "folder": (lambda path: path.mkdir(), "no regular file"),
    "named pipe": (os.mkfifo, "no regular file"),
    "second name": (with_a_second_name, "no regular file of one name"),
    "for all": (lambda path: (path.write_text(""), path.chmod(0o666)), "mode 0666"),
    "of another user": (lambda path: given_away((path.write_text(""), path)[1]), f"a file of {folder.user(NOBODY)}"),
}


@pytest.mark.parametrize("spoilt", SPOILT)
@pytest.mark.parametrize("flags", [os.O_RDONLY, os.O_RDWR | os.O_CREAT])
def test_what_is_no_file_of_this_users_is_not_opened(reports: Path, spoilt: str, flags: int) -> None:
    (reports / "other").write_text("somebody's")
    spoil, said = SPOILT[spoilt]
    spoil(reports / "file")

    with pytest.raises((UntrustedError, IsADirectoryError)) as refused:
        folder.open_file(reports / "file", flags)

    assert said in str(refused.value) or isinstance(refused.value, IsADirectoryError)
    assert (reports / "other").read_text() == "somebody's"


def test_root_is_trusted_by_every_user(reports: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = os.stat_result((0o100600, 0, 0, 1, 0, 0, 0, 0, 0, 0))
    monkeypatch.setattr(folder.os, "geteuid", lambda: 1000)

    folder._check_owner(reports, found, "a file")
    with pytest.raises(UntrustedError):
        folder._check_owner(reports, os.stat_result((0o100600, 0, 0, 1, 1001, 0, 0, 0, 0, 0)), "a file")


def test_long_file_is_not_read_whole(reports: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder, "MOST_BYTES", 5)
    (reports / "file").write_text("12345")
    assert folder.read_text(reports / "file") == "12345"
    (reports / "file").write_text("123456")
    with pytest.raises(OSError, match="more than 5 bytes"):
        folder.read_text(reports / "file")


def test_file_is_replaced_whole_or_not_at_all(reports: Path) -> None:
    (reports / "file").write_text("before")
    (reports / ".file").symlink_to("other")
    (reports / "other").write_text("somebody's")

    with pytest.raises(KeyError), folder.replacing(reports / "file") as stream:
        stream.write("half")
        raise KeyError
    assert (reports / "file").read_text() == "before"
    with folder.replacing(reports / "file") as stream:
        stream.write("after")

    assert (reports / "file").read_text() == "after"
    assert (reports / "other").read_text() == "somebody's"
    assert sorted(each.name for each in reports.iterdir()) == ["file", "other"]


def test_file_that_cannot_take_its_place_is_told_and_leaves_nothing(reports: Path) -> None:
    (reports / "file").mkdir()

    told = f"{reports / 'file'}: cannot be written \\(Is a directory\\): correct that"
    with pytest.raises(StorageError, match=told), folder.replacing(reports / "file") as stream:
        stream.write("x")

    assert [each.name for each in reports.iterdir()] == ["file"]


def test_latest_leads_to_a_run_beside_it(reports: Path) -> None:
    assert folder.latest(reports) is None
    folder.make(reports / "run")
    folder.point_latest(reports / "run")
    folder.point_latest(reports / "run")

    assert folder.latest(reports) == reports / "run"
    assert sorted(each.name for each in reports.iterdir()) == ["latest", "run"]


@pytest.mark.parametrize("target", ["..", "../other", "/etc", "run/below", "."])
def test_latest_that_leads_elsewhere_is_not_followed(reports: Path, target: str) -> None:
    (reports / "latest").symlink_to(target)

    with pytest.raises(UntrustedError, match=r"found a link of .*, expected one of .* to a run beside it"):
        folder.latest(reports)


def test_latest_of_another_user_or_to_a_folder_of_one_is_not_followed(reports: Path) -> None:
    folder.make(reports / "run")
    (reports / "latest").symlink_to("run")
    given_away(reports / "run")
    with pytest.raises(UntrustedError, match=f"found a folder of {folder.user(NOBODY)}"):
        folder.latest(reports)
    os.chown(reports / "run", os.geteuid(), -1)
    given_away(reports / "latest")
    with pytest.raises(UntrustedError, match=f"found a link of {folder.user(NOBODY)}"):
        folder.latest(reports)


def test_something_else_in_the_place_of_latest_is_told(reports: Path) -> None:
    folder.make(reports / "run")
    (reports / "latest").mkdir()

    with pytest.raises(StorageError, match=r"latest: cannot be written \(Is a directory\)"):
        folder.point_latest(reports / "run")

    assert sorted(each.name for each in reports.iterdir()) == ["latest", "run"]
    assert folder.latest(reports) is None


@pytest.mark.parametrize("run_id", ["../other", "/etc", ".", "..", "", "other/", ".hidden"])
def test_run_that_is_named_by_an_operator_is_one_of_the_folder(reports: Path, run_id: str) -> None:
    (reports.parent / "other").mkdir()
    (reports / ".hidden").mkdir()

    with pytest.raises(RefusedError, match=r"run_id: found .*, expected the name of a folder in"):
        folder.run_folder(reports, run_id)


def test_run_that_is_named_has_to_be_this_users(reports: Path) -> None:
    folder.make(reports / "run")
    assert folder.run_folder(reports, "run") == reports / "run"
    (reports / "link").symlink_to("run")
    with pytest.raises(UntrustedError, match="found no folder"):
        folder.run_folder(reports, "link")
    (reports / "run").chmod(0o777)
    with pytest.raises(UntrustedError, match="found mode 0777, expected one that only"):
        folder.run_folder(reports, "run")


def test_what_somebody_else_put_among_the_runs_is_named(reports: Path) -> None:
    folder.make(reports / "a")
    given_away(reports / "a")
    folder.make(reports / "b")
    (reports / "latest").symlink_to("a")

    assert folder.ours(reports) == [reports / "b"]
    assert folder.foreign(reports) == [
        f"{reports / 'a'}: ignored, because it belongs to {folder.user(NOBODY)} and not to {ME}: find out who put it "
        "there"
    ]
    assert folder.foreign(reports / "gone") == []


def test_folder_that_cannot_be_read_is_told_in_one_line(reports: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(folder.os, "scandir", denied)
    with pytest.raises(RefusedError, match=f"Permission denied: name a folder that {ME} may read"):
        folder.runs(reports)


def test_folder_that_cannot_be_made_is_told_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(folder.Path, "mkdir", denied)
    with pytest.raises(SwitchError, match=f"Permission denied: name a folder that {ME} may write to"):
        folder.claim(tmp_path / "reports")


def test_repository_of_another_user_is_not_ours_alone(tmp_path: Path) -> None:
    assert folder.ours_alone(tmp_path)
    assert not folder.ours_alone(tmp_path / "gone")
    tmp_path.chmod(0o777)
    assert not folder.ours_alone(tmp_path)
    tmp_path.chmod(0o755)
    given_away(tmp_path)
    assert not folder.ours_alone(tmp_path)
