"""AWS credentials as botocore finds them; each problem with them becomes one line, and is not mistaken for a region
that is down.

Botocore reads them when a client is made and renews them during any request, by programs, files, prompts and requests
of its own, which may raise any exception.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable
from functools import partial
from json import JSONDecodeError
from typing import Any, NoReturn

import botocore.session
from botocore import exceptions
from botocore.exceptions import BotoCoreError, ClientError

from ..model.errors import CredentialsError, one_line

# Botocore's errors about credentials and about the files that name them, wherever they are raised.
ERRORS = (
    exceptions.ConfigNotFound,
    exceptions.ConfigParseError,
    exceptions.CredentialRetrievalError,
    exceptions.InvalidConfigError,
    exceptions.LoginError,
    exceptions.NoAuthTokenError,
    exceptions.NoCredentialsError,
    exceptions.PartialCredentialsError,
    exceptions.ProfileNotFound,
    exceptions.RefreshWithMFAUnsupportedError,
    exceptions.SSOError,
    exceptions.TokenRetrievalError,
    exceptions.UnknownCredentialError,
)
_LOGIN = (exceptions.LoginError,)
_SSO = (exceptions.NoAuthTokenError, exceptions.SSOError, exceptions.TokenRetrievalError)
_CORRECT = "correct the profile (~/.aws/config), or name another one in AWS_PROFILE, then run again"


class _PromptError(Exception):
    """Botocore would ask somebody for a code."""


def guard(session: Any) -> None:
    """Make a botocore session raise CredentialsError wherever it cannot obtain credentials, and never prompt."""
    resolver = session.get_component("credential_provider")
    for provider in resolver.providers:
        # A module has no terminal.
        if hasattr(provider, "_prompter"):
            provider._prompter = _no_prompt
    session.register_component("credential_provider", _Resolver(resolver))


def explain(error: Exception) -> CredentialsError:
    """The CredentialsError for an error of botocore's, or of a program or file that it used."""
    if isinstance(error, CredentialsError):
        return error
    session = botocore.session.get_session()
    profile = _profile(session)
    found, advice = _reason(error, profile, _process(session))
    return CredentialsError(profile, found, advice)


def _no_prompt(_prompt: str) -> NoReturn:
    raise _PromptError


def _reason(error: Exception, profile: str, process: str | None) -> tuple[str, str]:
    """The problem, and its remedy."""
    option = f" --profile {shlex.quote(profile)}" if profile else ""
    if isinstance(error, _PromptError | EOFError | exceptions.RefreshWithMFAUnsupportedError):
        export = f'eval "$(aws configure export-credentials{option} --format env)"'
        return "a prompt for the code of an MFA device (mfa_serial)", f"get them first, {export}, then run again"
    if isinstance(error, exceptions.NoCredentialsError):
        return "none", "name a profile in AWS_PROFILE, or log in (aws sso login), then run again"
    if isinstance(error, _SSO):
        return str(error), f"log in (aws sso login{option}), then run again"
    if isinstance(error, _LOGIN):
        return str(error), f"log in (aws login{option}), then run again"
    if isinstance(error, exceptions.ProfileNotFound):
        return "no such profile in the AWS configuration", _CORRECT
    if isinstance(error, ClientError):
        said = error.response.get("Error", {})
        return f"{error.operation_name}: {said.get('Code')} ({said.get('Message')})", _CORRECT
    if isinstance(error, exceptions.HTTPClientError):
        return str(error), "check the network, then run again"
    if isinstance(error, BotoCoreError):
        return str(error), _CORRECT
    return _of_program(error, process), _CORRECT


def _of_program(error: Exception, process: str | None) -> str:
    """The problem with a program or file that the profile names, without the program's output, which may be secret."""
    if isinstance(error, OSError):
        name = f"{error.filename}: " if error.filename else ""
        return f"{name}{error.strerror or one_line(error)}"
    if process is None and not isinstance(error, JSONDecodeError):
        return f"{type(error).__name__}: {error}"
    program = _program("credential_process" if process is None else process)
    return f"{program} that printed no credentials" if program else "a credential_process that is no command"


def _program(command: str) -> str:
    """The program of a command; empty where it names none."""
    try:
        return next(iter(shlex.split(command)), "")
    except ValueError:
        return ""


def _profile(session: Any) -> str:
    try:
        return str(session.get_config_variable("profile") or "")
    except Exception:  # noqa: BLE001 - the problem with the configuration is about to be reported
        return ""


def _process(session: Any) -> str | None:
    """The profile's credential_process; None where it has none, or where that cannot be read."""
    try:
        process = session.get_scoped_config().get("credential_process")
    except Exception:  # noqa: BLE001 - as above
        return None
    return None if process is None else str(process)


class _Resolver:
    """A session's chain of providers, whose credentials raise only CredentialsError."""

    def __init__(self, resolver: Any) -> None:
        self._resolver = resolver

    def load_credentials(self) -> Any:
        found = _ours(self._resolver.load_credentials)
        if found is not None:
            # Each request reads and renews them here.
            found.get_frozen_credentials = partial(_ours, found.get_frozen_credentials)
        return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self._resolver, name)


def _ours(get: Callable[[], Any]) -> Any:
    try:
        return get()
    except Exception as error:
        raise explain(error) from error
