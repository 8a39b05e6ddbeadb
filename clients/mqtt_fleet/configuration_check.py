"""`--check-config`: all that would keep the client from working, found before it is started."""

from __future__ import annotations

import importlib
import os
import re
from pathlib import Path

from mqtt_fleet import credentials
from mqtt_fleet.config import Config, ConfigError, require_file
from mqtt_fleet.host_name import host_doubt
from mqtt_fleet.libraries import LIBRARIES

# AWS IoT Core API, CreateThing.
THING_NAME = re.compile(r"[a-zA-Z0-9:_-]{1,128}")
READABLE_BY_ALL = 0o004


def problems(config: Config) -> list[str]:
    """What makes the configuration unusable, each in one line that names its key."""
    missing = _missing_library(config)
    found = [f"endpoint: found {config.endpoint!r}, {doubt}"] if (doubt := host_doubt(config.endpoint)) else []
    found += [missing] if missing else credentials.problems(config)
    found += _folder_problems(config)
    return [*found, *filter(None, (_exposed("pkcs11_pin_file", config.pkcs11_pin_file), _proxy_problem(config)))]


def doubts(config: Config, now: float) -> list[str]:
    """What may be wrong, or will be; `now` in epoch seconds."""
    found = [credentials.expiry_problem(config, now), credentials.ca_doubt(config, now), credentials.key_doubt(config)]
    found += [_exposed("private_key", config.private_key), _client_id_doubt(config)]
    return [each for each in found if each]


def _missing_library(config: Config) -> str | None:
    for name in (*LIBRARIES[config.library].imports, *(("dns.resolver",) if config.resolvers else ())):
        try:
            importlib.import_module(name)
        except ImportError as error:
            return f"library: {config.library} cannot be imported: {error}: install requirements-{config.library}.txt"
    return None


def _folder_problems(config: Config) -> list[str]:
    found = []
    if config.outbox.is_dir():
        found += [f"outbox: {config.outbox} is a folder: name a file in it"]
    for key, path in (("outbox", config.outbox), ("socket", config.socket)):
        if path is None:
            continue
        folder = path.parent
        if not folder.is_dir():
            found += [f"{key}: {folder} is not a folder: create it, or name another"]
        elif not os.access(folder, os.W_OK | os.X_OK):
            found += [f"{key}: {folder} cannot be written by this user: allow it, or name another"]
    return found


def _proxy_problem(config: Config) -> str | None:
    try:
        if config.proxy_credentials:
            require_file("proxy_credentials", config.proxy_credentials)
    except ConfigError as error:
        return f"{error}: install it, or name no credentials"
    return _exposed("proxy_credentials", config.proxy_credentials)


def _exposed(key: str, path: Path | None) -> str | None:
    """A line where every user can read a file that holds a secret."""
    try:
        if path is None or not path.stat().st_mode & READABLE_BY_ALL:
            return None
    except OSError:
        return None
    return f"{key}: {path} can be read by every user: 'chmod 400 {path}'"


def _client_id_doubt(config: Config) -> str | None:
    if THING_NAME.fullmatch(config.client_id):
        return None
    return (
        f"client_id: found {config.client_id!r}, which is no name of a thing: the policy that setup.yml writes lets "
        "only things connect, expected letters, digits or : _ -"
    )
