"""The stand-in's configuration file."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.aws_api import identities
from lab.aws_api.identities import Identity


class ConfigurationError(ValueError):
    """The configuration file cannot be used; the message is one line."""


@dataclass(frozen=True)
class Region:
    """An AWS region; without a directory it has no broker and no TLS endpoint."""

    name: str
    ats_endpoint: str
    directory: Path | None = None


@dataclass(frozen=True)
class NameServer:
    """A name server of every hosted zone; without an address it is only a name."""

    name: str
    address: str | None = None
    port: int = 53
    lag_seconds: float = 0.0


@dataclass(frozen=True)
class Configuration:
    """What the stand-in plays: one account, its regions and its hosted zones ({id: name}).

    Attributes:
        public_certificates: names that each region's ACM has a public certificate for from the beginning.
        every_quota: of `stand_in.Settings`.
        proxy_port: where the proxy to AWS's own host names is (`endpoints`); None: there is none.
        contract_directory: for what requests and answers had that AWS's models do not allow; None: the state's.
        identities: who may call, by access key; None: everybody, whatever the signature.
    """

    address: str
    port: int
    account_id: str
    state_directory: Path
    regions: dict[str, Region]
    hosted_zones: dict[str, str]
    name_servers: tuple[NameServer, ...] = ()
    insync_delay_seconds: float = 0.0
    public_certificates: tuple[str, ...] = ()
    every_quota: bool = True
    proxy_port: int | None = None
    contract_directory: Path | None = None
    identities: dict[str, Identity] | None = None


def load(path: Path) -> Configuration:
    """Read a configuration file.

    Raises:
        ConfigurationError: the file is missing, not JSON, or lacks something.
    """
    try:
        content: dict[str, Any] = json.loads(path.read_text())
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read ({error.strerror})") from error
    except json.JSONDecodeError as error:
        raise ConfigurationError(f"{path}: not JSON ({error})") from error
    try:
        return _configuration(content)
    except KeyError as error:
        raise ConfigurationError(f"{path}: {error.args[0]!r} is missing") from error
    except (TypeError, ValueError, AttributeError) as error:
        raise ConfigurationError(f"{path}: not as expected ({error})") from error


def _configuration(content: dict[str, Any]) -> Configuration:
    return Configuration(
        address=content["listen"]["address"],
        port=int(content["listen"]["port"]),
        account_id=content["account_id"],
        state_directory=Path(content["state_dir"]),
        regions={name: _region(name, region) for name, region in content["regions"].items()},
        hosted_zones=content["hosted_zones"],
        name_servers=tuple(NameServer(**server) for server in content.get("name_servers", [])),
        insync_delay_seconds=float(content.get("insync_delay_seconds", 0)),
        public_certificates=tuple(content.get("public_certificates", [])),
        every_quota=bool(content.get("every_quota", True)),
        proxy_port=content["listen"].get("proxy_port"),
        contract_directory=Path(content.get("contract_dir", content["state_dir"])),
        identities=identities.parse(content["identities"]) if "identities" in content else None,
    )


def _region(name: str, content: dict[str, Any]) -> Region:
    directory = content.get("directory")
    return Region(name, content["ats_endpoint"], Path(directory) if directory else None)
