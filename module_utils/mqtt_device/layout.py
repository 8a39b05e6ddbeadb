"""Where the client is on a device."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

SERVICE = "mqtt-client.service"


@dataclass(frozen=True)
class Layout:
    """The client's places.

    Attributes:
        settings: configuration, certificates and private key, for root only.
        units: where the administrator's units are.
        releases: a folder per release.
        state: the outbox; a unit with a user of its own has it below `private`.
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
        """What was installed before, to go back to."""
        return self.settings / "previous"

    def installed_releases(self) -> list[str]:
        """Names of the releases that are complete."""
        return sorted(path.parent.name for path in self.releases.glob("*/installed"))
