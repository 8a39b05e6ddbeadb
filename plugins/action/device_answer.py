"""Runs a module on a device: within a time limit, and with nothing of its answer but what the module documents.

A device that is not what it should be answers what it likes. Ansible takes much from a module's result, facts that
become variables above all, so each module that runs on devices has an action of this class, which makes the result
anew: known keys, known types, bounded. A device that does not answer within the limit, or not in that form, counts as
unreachable, with `reason` saying why.
"""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure, AnsibleError
from ansible.plugins.action import ActionBase

# Seconds, where a task sets none.
TIME_LIMIT = 300.0
# Characters: the longest answer, of which most is what --diff shows, and the longest text of it that is one line.
LONGEST_ANSWER, LONGEST_LINE = 1_000_000, 1000
# Bytes that a task may take more than before it asked: a device may answer without end.
MEMORY = 128 * 1024 * 1024
TEMPORARY = re.compile(r"/[A-Za-z0-9._/-]{1,500}")

Check = Callable[[Any], Any]
Answer = dict[str, Any]


class UnreadableError(Exception):
    """The device's answer is not one of the module's; the text says what is wrong with it."""


class NoAnswerError(BaseException):
    """The time is over. What retries on exceptions must not do so on this one."""


def printable(text: str, kept: str = "") -> str:
    """A text in which characters that a terminal would obey are escaped, but for those kept."""
    return "".join(each if each.isprintable() or each in kept else ascii(each)[1:-1] for each in text)


def one_line(text: str) -> str:
    """A text as one printable line, cut where it is long."""
    line = printable(" ".join(text[: 4 * LONGEST_LINE].split()))
    return line if len(line) <= LONGEST_LINE else f"{line[:LONGEST_LINE]}…"


def flag(value: Any) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise UnreadableError
    return value


def number(value: Any) -> int:
    """A count."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**63:
        raise UnreadableError
    return value


def line(value: Any) -> str:
    """A text for people, made one line."""
    if not isinstance(value, str):
        raise UnreadableError
    return one_line(value)


def lines(value: Any) -> str:
    """A text for people."""
    if not isinstance(value, str):
        raise UnreadableError
    return printable(value, kept="\n\t")


def like(pattern: str) -> Check:
    """A text that a pattern matches as a whole."""
    compiled = re.compile(pattern)

    def check(value: Any) -> str:
        if not isinstance(value, str) or not compiled.fullmatch(value):
            raise UnreadableError
        # Whatever Ansible had added to it.
        return str(value)

    return check


def optional(check: Check) -> Check:
    """The same, or null."""
    return lambda value: None if value is None else check(value)


def listed(check: Check, most: int = 1000) -> Check:
    """A list of the same."""

    def each(value: Any) -> list[Any]:
        if not isinstance(value, list) or len(value) > most:
            raise UnreadableError
        return [check(item) for item in value]

    return each


def mapped(checks: Mapping[str, Check]) -> Check:
    """An object with these keys, and whatever else it has left out."""

    def each(value: Any) -> Answer:
        if not isinstance(value, dict):
            raise UnreadableError
        return {key: _at(key, check, value.get(key)) for key, check in checks.items()}

    return each


def _at(key: str, check: Check, value: Any) -> Any:
    try:
        return check(value)
    except UnreadableError as error:
        if error.args:
            raise
        raise UnreadableError(f"{key} is {one_line(repr(value)[:200])}") from None


NAME = like(r"[A-Za-z0-9_.-]{1,255}")
PYTHON = like(r"3\.[0-9]{1,2}")
# As `uname -m` says it.
MACHINE = like(r"[A-Za-z0-9][A-Za-z0-9_]{0,31}")
# A request with an RSA key of 4096 bits has 1.6 KB.
REQUEST = like(r"[A-Za-z0-9+/=\n -]{1,8192}")
OUTBOX = like(r"/var/lib/(private/)?mqtt-client")
CHANGE = mapped({"before_header": line, "after_header": line, "before": lines, "after": lines})


def _identity(_: Mapping[str, Any]) -> dict[str, Check]:
    return {"csr": optional(REQUEST), "python": PYTHON, "machine": MACHINE, "releases": listed(NAME)}


def _client(arguments: Mapping[str, Any]) -> dict[str, Check]:
    if arguments.get("state") == "absent":
        return {"undelivered": optional(number), "kept": optional(OUTBOX)}
    return {"connected": flag, "status": line, "release": optional(NAME), "diff": optional(listed(CHANGE))}


def _lookups(arguments: Mapping[str, Any]) -> dict[str, Check]:
    endpoints = _texts(arguments.get("endpoints"))
    names = [*endpoints, *(str(each) for each in (arguments.get("targets") or {}).values())]
    found = mapped({"canonical": line, "addresses": listed(line), "error": line})
    asked = like("|".join(map(re.escape, endpoints)))
    return {"lookups": mapped(dict.fromkeys(names, found)), "stale": listed(asked)}


def _texts(value: Any) -> list[str]:
    """A list as a module takes it."""
    return value.split(",") if isinstance(value, str) else [str(each) for each in value or []]


# What each module answers, given what it is asked.
ANSWERS: dict[str, Callable[[Mapping[str, Any]], dict[str, Check]]] = {
    "endpoint_lookup_info": _lookups,
    "mqtt_device_client": _client,
    "mqtt_device_identity": _identity,
}


def checked(answer: Any, checks: Mapping[str, Check]) -> Answer:
    """Return of an answer what it should have, and nothing else; of one that says that it failed, why.

    Raises:
        UnreadableError: something is missing, or is not what it should be.
    """
    if not isinstance(answer, dict):
        raise UnreadableError(f"the answer is {one_line(repr(answer)[:200])}")
    if answer.get("failed"):
        return {"failed": True, "changed": False, "msg": _at("msg", line, answer.get("msg"))}
    found: Answer = mapped({"changed": flag, **checks})(answer)
    return found


def parsed(printed: str, complaint: str) -> Any:
    """Return the JSON object in what a module printed; a login may have printed lines around it.

    Args:
        complaint: what came as standard error.

    Raises:
        UnreadableError: there is none, or it is too long.
    """
    if len(printed) > LONGEST_ANSWER:
        raise UnreadableError(f"the answer has {len(printed)} characters")
    start = re.search(r"^\s*\{", printed, re.MULTILINE)
    if not start:
        said = (complaint[-LONGEST_LINE:].strip() or printed.strip()).splitlines() or ["nothing"]
        raise UnreadableError(f"the answer is {one_line(said[-1])}")
    try:
        answer, _ = json.JSONDecoder().raw_decode(printed, start.end() - 1)
    except (ValueError, RecursionError) as error:
        raise UnreadableError(f"the answer is no JSON ({one_line(str(error))})") from None
    return answer


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Raise NoAnswerError when this takes longer; a shorter limit of Ansible's own ends it as well."""

    def over(*_: object) -> NoReturn:
        raise NoAnswerError

    other, began = signal.getitimer(signal.ITIMER_REAL)[0], time.monotonic()
    before = signal.signal(signal.SIGALRM, over)
    try:
        signal.setitimer(signal.ITIMER_REAL, min(seconds, other or seconds))
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        if other:
            signal.setitimer(signal.ITIMER_REAL, max(0.001, other - (time.monotonic() - began)))


@contextmanager
def frugal(more: int) -> Iterator[None]:
    """Let this process take so many bytes more at most, where the system says how many it has (Linux)."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[5])
    except (OSError, IndexError, ValueError):
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    wanted = pages * resource.getpagesize() + more
    resource.setrlimit(resource.RLIMIT_DATA, (min([wanted, *(each for each in (soft, hard) if each >= 0)]), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def end_children() -> None:
    """End what this task started, such as an ssh that would wait for the device as long as that likes.

    A connection that is kept for later tasks is in a session of its own.
    """
    if os.getpgrp() != os.getpid():
        return
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with suppress(OSError):
            os.killpg(os.getpgrp(), signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)


def seconds(value: Any) -> float:
    """A time limit.

    Raises:
        AnsibleActionFail: it is none.
    """
    try:
        limit = float(value)
    except (TypeError, ValueError):
        limit = 0.0
    if not 0 < limit < 10**6:
        raise AnsibleActionFail(f"time_limit: found {one_line(repr(value))}, expected seconds: correct it")
    return limit


class ActionModule(ActionBase):  # type: ignore[misc]
    """Asks one device with the module of the task's name."""

    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> Answer:
        super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        limit = seconds(arguments.pop("time_limit", TIME_LIMIT))
        self._checks = ANSWERS[self._task.action.rpartition(".")[2]](arguments)
        host = str(self._task.delegate_to or (task_vars or {}).get("inventory_hostname"))
        try:
            with limited(limit), frugal(MEMORY):
                return checked(self._ask(arguments, task_vars), self._checks)
        except NoAnswerError:
            end_children()
            return _unanswered(host, f"no answer within {limit:g} s")
        except MemoryError:
            end_children()
            return _unanswered(host, "an answer without end")
        except UnreadableError as error:
            return _unanswered(host, f"an answer that cannot be read: {error}")
        except AnsibleConnectionFailure as error:
            raise AnsibleConnectionFailure(one_line(str(error))) from None
        except AnsibleError as error:
            raise AnsibleActionFail(one_line(str(error))) from None
        finally:
            # Else Ansible would remove it now, however long the device makes that take.
            self._connection._shell.tmpdir = None

    def _ask(self, arguments: dict[str, Any], task_vars: dict[str, Any] | None) -> Any:
        try:
            bundle = arguments.pop("bundle", None)
            if bundle and self._task.check_mode:
                del arguments["archive_digest"]
            elif bundle:
                arguments["archive"] = self._send(str(bundle))
            return self._execute_module(module_args=arguments, task_vars=task_vars)
        finally:
            # Not where the time is over.
            if not isinstance(sys.exception(), NoAnswerError):
                self._remove_tmp_path(self._connection._shell.tmpdir)

    def _send(self, path: str) -> str:
        """Send a file to the device's temporary folder; return where it is."""
        folder = self._connection._shell.tmpdir or self._make_tmp_path()
        sent: str = self._transfer_file(path, self._connection._shell.join_path(folder, "bundle"))
        self._fixup_perms2([folder, sent])
        return sent

    def _make_tmp_path(self, *arguments: Any, **options: Any) -> str:
        path: str = super()._make_tmp_path(*arguments, **options)
        if not TEMPORARY.fullmatch(path):
            self._connection._shell.tmpdir = None
            raise UnreadableError(f"the temporary folder is {one_line(repr(path))}")
        return path

    def _low_level_execute_command(self, cmd: str, sudoable: bool = True, **options: Any) -> Answer:
        """What the device says comes through here: cleaned before Ansible shows it in a warning, or takes it apart."""
        said: Answer = super()._low_level_execute_command(cmd, sudoable=sudoable, **options)
        for name in ("stdout", "stderr"):
            text = str(said.get(name, ""))[: LONGEST_ANSWER + 1].replace("\r\n", "\n")
            said[name] = printable(text, kept="\n\t")
        # Of all commands only the module itself may be run as another user.
        if sudoable:
            said["stdout"] = json.dumps(checked(parsed(said["stdout"], said["stderr"]), self._checks))
        for name in ("stdout", "stderr"):
            said[f"{name}_lines"] = said[name].splitlines()
        return said


def _unanswered(host: str, reason: str) -> Answer:
    message = f"{host}: found {reason}, expected its answer: see to the device and run again"
    return {"unreachable": True, "changed": False, "reason": reason, "msg": message}
