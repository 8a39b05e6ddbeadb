"""Runs a module on a device: within a time limit, and with nothing in its result except what the module documents.

A compromised device may answer anything. Ansible uses much of a module's result, above all facts that become variables,
so each module that runs on devices has an action of this class, which builds a new result: known keys, known types,
bounded sizes. A device that does not answer within the limit, or not in that form, counts as unreachable, with the
reason in `reason`.
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

# Seconds, for a task without a limit.
TIME_LIMIT = 300.0
# Characters: the longest answer, mostly for --diff, and the longest one-line text in it.
LONGEST_ANSWER, LONGEST_LINE = 1_000_000, 1000
# Bytes of memory that a task may allocate for an answer, which may be endless.
MEMORY = 128 * 1024 * 1024
TEMPORARY = re.compile(r"/[A-Za-z0-9._/-]{1,500}")

Check = Callable[[Any], Any]
Answer = dict[str, Any]


class UnreadableError(Exception):
    """The device's answer is not a valid one of the module; the text says why."""


class NoAnswerError(BaseException):
    """The time is over; no Exception, so that code which retries on exceptions does not retry on it."""


def printable(text: str, kept: str = "") -> str:
    """A text with control characters escaped, except those in `kept`."""
    return "".join(each if each.isprintable() or each in kept else ascii(each)[1:-1] for each in text)


def one_line(text: str) -> str:
    """A text as one printable line, cut if long."""
    line = printable(" ".join(text[: 4 * LONGEST_LINE].split()))
    return line if len(line) <= LONGEST_LINE else f"{line[:LONGEST_LINE]}…"


def flag(value: Any) -> bool:
    """A boolean."""
    if not isinstance(value, bool):
        raise UnreadableError
    return value


def number(value: Any) -> int:
    """A count."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**63:
        raise UnreadableError
    return value


def line(value: Any) -> str:
    """A text for people, reduced to one line."""
    if not isinstance(value, str):
        raise UnreadableError
    return one_line(value)


def lines(value: Any) -> str:
    """A text for people."""
    if not isinstance(value, str):
        raise UnreadableError
    return printable(value, kept="\n\t")


def matching(pattern: str) -> Check:
    """A text that a pattern matches completely."""
    compiled = re.compile(pattern)

    def check(value: Any) -> str:
        if not isinstance(value, str) or not compiled.fullmatch(value):
            raise UnreadableError
        # Without the tags that Ansible adds to texts.
        return str(value)

    return check


def optional(check: Check) -> Check:
    """A value that passes the check, or null."""
    return lambda value: None if value is None else check(value)


def listed(check: Check, most: int = 1000) -> Check:
    """A list of values that pass the check."""

    def each(value: Any) -> list[Any]:
        if not isinstance(value, list) or len(value) > most:
            raise UnreadableError
        return [check(item) for item in value]

    return each


def mapped(checks: Mapping[str, Check]) -> Check:
    """An object with these keys; any others are removed."""

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


NAME = matching(r"[A-Za-z0-9_.-]{1,255}")
PYTHON = matching(r"3\.[0-9]{1,2}")
# As from `uname -m`.
MACHINE = matching(r"[A-Za-z0-9][A-Za-z0-9_]{0,31}")
# A request with an RSA key of 4096 bits has 1.6 KB.
REQUEST = matching(r"[A-Za-z0-9+/=\n -]{1,8192}")
OUTBOX = matching(r"/var/lib/(private/)?mqtt-client")
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
    asked = matching("|".join(map(re.escape, endpoints)))
    return {"lookups": mapped(dict.fromkeys(names, found)), "stale": listed(asked)}


def _texts(value: Any) -> list[str]:
    """A list in either form that Ansible accepts for an option."""
    return value.split(",") if isinstance(value, str) else [str(each) for each in value or []]


# The keys of each module's answer, with their checks, by the task's arguments.
ANSWERS: dict[str, Callable[[Mapping[str, Any]], dict[str, Check]]] = {
    "endpoint_lookup_info": _lookups,
    "mqtt_device_client": _client,
    "mqtt_device_identity": _identity,
}


def checked(answer: Any, checks: Mapping[str, Check]) -> Answer:
    """Return the documented part of an answer; of one that reports a failure, the message.

    Raises:
        UnreadableError: something is missing or invalid.
    """
    if not isinstance(answer, dict):
        raise UnreadableError(f"the answer is {one_line(repr(answer)[:200])}")
    if answer.get("failed"):
        return {"failed": True, "changed": False, "msg": _at("msg", line, answer.get("msg"))}
    found: Answer = mapped({"changed": flag, **checks})(answer)
    return found


def parsed(printed: str, complaint: str) -> Any:
    """Return the JSON object in a module's output; a login may have printed lines around it.

    Args:
        complaint: standard error.

    Raises:
        UnreadableError: there is none, or the output is too long.
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
def time_limited(seconds: float) -> Iterator[None]:
    """Raise NoAnswerError when the block takes longer; a shorter limit of Ansible's own also ends it."""

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
def memory_limited(more: int) -> Iterator[None]:
    """Limit the memory that this process may allocate in addition, where the system reports its size (Linux)."""
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
    """End the processes that this task started, such as an ssh that still waits for the device.

    A connection that is kept for later tasks has a session of its own.
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
        AnsibleActionFail: it is invalid.
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
            with time_limited(limit), memory_limited(MEMORY):
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
            # Otherwise Ansible would now remove it, however long the device delays that.
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
            # Not after the time limit.
            if not isinstance(sys.exception(), NoAnswerError):
                self._remove_tmp_path(self._connection._shell.tmpdir)

    def _send(self, path: str) -> str:
        """Send a file to the device's temporary folder; return its path there."""
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
        """All output of the device passes here, and is cleaned before Ansible shows or parses it."""
        said: Answer = super()._low_level_execute_command(cmd, sudoable=sudoable, **options)
        for name in ("stdout", "stderr"):
            text = str(said.get(name, ""))[: LONGEST_ANSWER + 1].replace("\r\n", "\n")
            said[name] = printable(text, kept="\n\t")
        # Only the module itself is run with `sudoable`.
        if sudoable:
            said["stdout"] = json.dumps(checked(parsed(said["stdout"], said["stderr"]), self._checks))
        for name in ("stdout", "stderr"):
            said[f"{name}_lines"] = said[name].splitlines()
        return said


def _unanswered(host: str, reason: str) -> Answer:
    message = f"{host}: {reason}: check the device and run again"
    return {"unreachable": True, "changed": False, "reason": reason, "msg": message}
