"""What the client counts, as lines for `systemctl status` and for node_exporter's textfile collector."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from mqtt_fleet.clock import iso
from mqtt_fleet.text import printable

PREFIX = "mqtt_fleet_client"


@dataclass
class Metrics:
    """Totals are since the process began; times in epoch seconds.

    Attributes:
        connection: "connected to ADDRESS:PORT since TIME" or "not connected: REASON".
        refused, dropped: number of messages by reason.
        resent: messages published again, each of which may arrive twice.
        publishes_refused: publishes answered with a reason code of 0x80 or above, or not sent by the library.
    """

    connection: str = "not connected: starting"
    connected: bool = False
    accepted: int = 0
    acknowledged: int = 0
    last_acknowledged: float | None = None
    refused: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    resent: int = 0
    publishes_refused: int = 0
    connects: int = 0
    failures: int = 0
    endpoint_moves: int = 0
    outboxes_set_aside: int = 0
    backlog: int = 0
    backlog_bytes: int = 0
    oldest_age: float = 0.0

    def status(self) -> str:
        """One line for the service manager."""
        last = iso(self.last_acknowledged) if self.last_acknowledged else "never"
        parts = [self.connection, f"backlog {self.backlog}", f"acknowledged {self.acknowledged}"]
        return printable(" ".join("; ".join([*parts, f"last acknowledged {last}"]).split()))

    def render(self, client_id: str) -> str:
        """The text format of Prometheus."""
        label = f'client_id="{_escaped(client_id)}"'
        gauges: dict[str, tuple[str, float]] = {
            "connected": ("1 while there is a connection", int(self.connected)),
            "backlog_messages": ("messages not yet acknowledged", self.backlog),
            "backlog_bytes": ("bytes of messages not yet acknowledged", self.backlog_bytes),
            "backlog_oldest_age_seconds": ("time that the oldest message has waited", self.oldest_age),
            "last_acknowledged_timestamp_seconds": ("when the broker last acknowledged", self.last_acknowledged or 0),
        }
        counters: dict[str, tuple[str, float]] = {
            "accepted_total": ("messages stored", self.accepted),
            "acknowledged_total": ("messages acknowledged by the broker", self.acknowledged),
            "resent_total": ("messages published again, which may arrive twice", self.resent),
            "publishes_refused_total": (
                "publishes that the broker, or the library, did not take",
                self.publishes_refused,
            ),
            "connects_total": ("connections", self.connects),
            "connect_failures_total": ("attempts to connect that failed", self.failures),
            "endpoint_moves_total": ("times the endpoint's name was found to resolve elsewhere", self.endpoint_moves),
            "outboxes_set_aside_total": ("outbox files found damaged", self.outboxes_set_aside),
        }
        lines = []
        for kind, metrics in (("gauge", gauges), ("counter", counters)):
            for name, (text, value) in metrics.items():
                lines += _head(name, text, kind)
                lines.append(f"{PREFIX}_{name}{{{label}}} {value:.15g}")
        for name, text, by_reason in (
            ("refused_total", "messages that were not stored", self.refused),
            ("dropped_total", "stored messages that were dropped", self.dropped),
        ):
            lines += _head(name, text, "counter")
            lines += [f'{PREFIX}_{name}{{{label},reason="{key}"}} {by_reason[key]}' for key in sorted(by_reason)]
        return "\n".join(lines) + "\n"


def _head(name: str, text: str, kind: str) -> list[str]:
    return [f"# HELP {PREFIX}_{name} {text}", f"# TYPE {PREFIX}_{name} {kind}"]


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def write(path: Path, text: str) -> str | None:
    """Replace a file in one step, readable for the collector; return why it failed, or None."""
    # The collector reads *.prom only.
    temporary = path.with_name(f".{path.name}.new")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        return f"metrics_file: {path} cannot be written: {error.strerror}"
    return None
