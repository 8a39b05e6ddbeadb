"""The folder of reports: its owner, and how files in it are created and opened.

Its files control later runs: a journal defines what a rollback restores, a roster which clients are disconnected. So
they are read only if they belong to the current user or to root, and no other user may write to them. Within such a
folder no other user can replace a file between its check and its use. Files are created for their owner only, whatever
the umask, because client IDs, host names and options are private.
"""

from __future__ import annotations

import grp
import os
import pwd
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from ..model.errors import RefusedError, SwitchError
from .storage import failed

FOLDER_MODE = 0o700
FILE_MODE = 0o600
# Of a file that is read whole. The longest is messages.json, of 20,000 clients at most: some 5 MB.
MOST_BYTES = 64 * 2**20
LATEST = "latest"
# A named pipe in the place of a file is not waited for, and no link is followed.
_SAFELY = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_OURS_ALONE = "expected one that only {} may write to"


class UntrustedError(SwitchError):
    """A file or folder that another user owns, or may write to."""


def user(uid: int | None = None) -> str:
    """The name of a user, by default the current one; the number if it has no name."""
    uid = os.geteuid() if uid is None else uid
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def check(reports: Path) -> None:
    """Return if the folder of reports may be used, or does not exist yet.

    Raises:
        RefusedError: it is not a folder, belongs to another user, or others may write to it or replace it.
    """
    where = f"reports_directory {reports}"
    try:
        _check_way(reports, where)
        found = reports.stat()
    except FileNotFoundError:
        return
    except OSError as error:
        raise RefusedError(f"{where}: {error.strerror}: name a folder") from error
    if not stat.S_ISDIR(found.st_mode):
        raise RefusedError(f"{where}: is a file: name a folder")
    if found.st_uid not in _trusted():
        raise RefusedError(
            f"{where}: found a folder of {user(found.st_uid)}, expected one of {user()}: run as "
            f"{user(found.st_uid)}, or name another folder"
        )
    if _others_write(found):
        raise RefusedError(
            f"{where}: found mode {stat.S_IMODE(found.st_mode):04o}, {_OURS_ALONE.format(user(found.st_uid))}: "
            f"chmod go-w {reports}, or name another folder"
        )


def _check_way(reports: Path, where: str) -> None:
    """If all users may rename the contents of a parent folder, all of them can replace this folder.

    A group that may do so is that of the checkout, and could change the playbooks as well.
    """
    for above in {*reports.absolute().parents, *Path(os.path.realpath(reports)).parents}:
        with suppress(FileNotFoundError):
            mode = above.stat().st_mode
            if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
                raise RefusedError(
                    f"{where}: {above} has mode {stat.S_IMODE(mode):04o}, so that every user could replace the "
                    f"folder: chmod o-w {above}, or name another folder"
                )


def claim(reports: Path) -> None:
    """Create the folder of reports if there is none.

    Raises:
        RefusedError: it cannot be created, or may not be used.
    """
    check(reports)
    try:
        if not reports.exists():
            reports.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            make(reports)
    except OSError as error:
        raise RefusedError(
            f"reports_directory {reports}: {error.strerror}: name a folder that {user()} may write to"
        ) from error
    check(reports)


def make(folder: Path) -> None:
    """Create a folder for its owner only.

    Raises:
        OSError: it cannot be created.
    """
    folder.mkdir(FOLDER_MODE)
    # The umask can remove permissions, also the owner's.
    folder.chmod(FOLDER_MODE)


def runs(reports: Path) -> list[Path]:
    """The folders of runs, in no order; links such as `latest` are left out."""
    try:
        return [Path(each.path) for each in os.scandir(reports) if each.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise RefusedError(
            f"reports_directory {reports}: {error.strerror}: name a folder that {user()} may read"
        ) from error


def ours(reports: Path) -> list[Path]:
    """The folders of runs of this user or root, in no order."""
    return [each for each in runs(reports) if each.lstat().st_uid in _trusted()]


def foreign(reports: Path) -> list[str]:
    """Lines that name the folders of other users among the runs: they are never read."""
    return [
        f"{each}: ignored, because it belongs to {user(each.lstat().st_uid)} and not to {user()}: find out who put it "
        "there"
        for each in sorted(set(runs(reports)) - set(ours(reports)))
    ]


def run_folder(reports: Path, run_id: str) -> Path:
    """The folder of a run that an operator names; it need not exist.

    Raises:
        RefusedError: the name cannot be that of a run.
        UntrustedError: another user owns it, or may write to it.
    """
    found = reports / run_id
    if not _is_name(run_id):
        raise RefusedError(
            f"run_id: found {run_id[:80]!r}, expected the name of a folder in {reports}: run the mode again without it"
        )
    if found.is_dir():
        check_run(found)
    return found


def check_run(folder: Path) -> None:
    """Return if a run's folder belongs to this user or root, and no other user may write to it.

    Raises:
        UntrustedError: it is not.
    """
    try:
        found = folder.lstat()
    except OSError as error:
        raise UntrustedError(f"{folder}: {error.strerror}: check the folder of reports") from error
    _check_owner(folder, found, "a folder" if stat.S_ISDIR(found.st_mode) else "no folder")


def _check_owner(path: Path, found: os.stat_result, kind: str) -> None:
    owner = user(found.st_uid)
    if kind.startswith("no ") or found.st_uid not in _trusted():
        what = kind if kind.startswith("no ") else f"{kind} of {owner}"
        raise UntrustedError(f"{path}: found {what}, expected one that a run of {user()} created: move it away")
    if _others_write(found):
        raise UntrustedError(
            f"{path}: found mode {stat.S_IMODE(found.st_mode):04o}, {_OURS_ALONE.format(owner)}: chmod go-w {path}"
        )


def open_file(path: Path, flags: int) -> int:
    """Open a file in the folder of reports, and create it if `flags` have O_CREAT; return its descriptor.

    A file that is opened for writing gets a mode for its owner only.

    Raises:
        OSError: it cannot be opened.
        UntrustedError: it is not a regular file, belongs to another user, or others may write to it.
    """
    try:
        descriptor = os.open(path, flags | _SAFELY, FILE_MODE)
    except OSError:
        if path.is_symlink():
            _check_owner(path, path.lstat(), "no regular file but a link")
        raise
    try:
        found = os.fstat(descriptor)
        regular = stat.S_ISREG(found.st_mode) and found.st_nlink == 1
        _check_owner(path, found, "a file" if regular else "no regular file of one name")
        if flags & os.O_ACCMODE != os.O_RDONLY and found.st_uid == os.geteuid():
            os.fchmod(descriptor, FILE_MODE)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def read_text(path: Path) -> str:
    """Return the text of a small file in the folder of reports.

    Raises:
        OSError: it cannot be read, or is longer than any such file (EFBIG).
        ValueError: it is not UTF-8.
        UntrustedError: it is not a regular file, belongs to another user, or others may write to it.
    """
    with os.fdopen(open_file(path, os.O_RDONLY), "rb") as stream:
        found = stream.read(MOST_BYTES + 1)
    if len(found) > MOST_BYTES:
        raise OSError(27, f"more than {MOST_BYTES} bytes", str(path))
    return found.decode("utf-8")


@contextmanager
def replacing(path: Path, newline: str | None = None, errors: str = "strict") -> Iterator[IO[str]]:
    """A file for its owner only that replaces `path` when the block has ended without an error: whole, or not at all.

    Raises:
        StorageError: it cannot be written; a partial file is removed.
    """
    temporary = path.with_name(f".{path.name}")
    try:
        temporary.unlink(missing_ok=True)
        descriptor = open_file(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        with os.fdopen(descriptor, "w", encoding="utf-8", newline=newline, errors=errors) as stream:
            yield stream
            stream.flush()
            # Some file systems report only now that they are full.
            os.fsync(descriptor)
        temporary.replace(path)
    except OSError as error:
        _remove(temporary)
        raise failed(path, error) from error
    except BaseException:
        _remove(temporary)
        raise


def _remove(path: Path) -> None:
    with suppress(OSError):
        path.unlink(missing_ok=True)


def point_latest(run: Path) -> None:
    """Point the link `latest` beside a run's folder to it.

    Raises:
        StorageError: it cannot be created.
    """
    link = run.parent / f".{LATEST}.{os.getpid()}"
    try:
        link.unlink(missing_ok=True)
        link.symlink_to(run.name)
        link.replace(run.parent / LATEST)
    except OSError as error:
        _remove(link)
        raise failed(run.parent / LATEST, error) from error


def latest(reports: Path) -> Path | None:
    """The run's folder that the link `latest` names; None if there is no such link.

    Raises:
        UntrustedError: the link leads out of the folder of reports, or another user owns it or the run's folder.
    """
    link = reports / LATEST
    try:
        name, found = str(link.readlink()), link.lstat()
    except OSError:
        return None
    if found.st_uid not in _trusted() or not _is_name(name):
        raise UntrustedError(
            f"{link}: found a link of {user(found.st_uid)} to {name[:80]!r}, expected one of {user()} to a run beside "
            "it: move it away"
        )
    check_run(reports / name)
    return reports / name


def _is_name(text: str) -> bool:
    """Whether a text is the name of an entry of a folder, not a path."""
    return bool(text) and Path(text).name == text and not text.startswith(".")


def ours_alone(path: Path) -> bool:
    """Whether a file or folder belongs to this user or root, and no other user may write to it."""
    try:
        found = path.lstat()
    except OSError:
        return False
    return found.st_uid in _trusted() and not _others_write(found)


def _trusted() -> tuple[int, int]:
    return os.geteuid(), 0


def _others_write(found: os.stat_result) -> bool:
    """Whether users other than its owner and root may write to a file or folder."""
    if found.st_mode & stat.S_IWOTH:
        return True
    return bool(found.st_mode & stat.S_IWGRP) and not _alone_in(found.st_gid)


def _alone_in(gid: int) -> bool:
    """Whether this user is alone in a group: many systems give each user one, and a umask that lets it write."""
    if gid == 0:
        return True
    try:
        group = grp.getgrgid(gid)
    except KeyError:
        return False
    name = user()
    return group.gr_name == name and set(group.gr_mem) <= {name}
