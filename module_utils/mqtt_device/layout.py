"""The files of the client on a device."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

SERVICE = "mqtt-client.service"


@dataclass(frozen=True)
class Layout:
    """The client's paths.

    Attributes:
        settings: configuration, certificates and private key, readable only for root.
        units: the administrator's systemd units.
        releases: a folder per release.
        state: the outbox; in `private_state` where the unit has a dynamic user.
    """

    settings: Path = Path("/etc/mqtt-client")
    units: Path = Path("/etc/systemd/system")
    software: Path = Path("/opt/mqtt-client")
    state: Path = Path("/var/lib/mqtt-client")
    private_state: Path = Path("/var/lib/private/mqtt-client")

    @property
    def unit(self) -> Path:
        return self.units / SERVICE

    @property
    def releases(self) -> Path:
        return self.software / "releases"

    @property
    def previous(self) -> Path:
        """The previously installed files, for a rollback."""
        return self.settings / "previous"

    def installed_releases(self) -> list[str]:
        """Names of the completely installed releases."""
        return sorted(path.parent.name for path in self.releases.glob("*/installed"))
