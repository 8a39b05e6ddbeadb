"""The live view's picture of a fleet: clients at left, arrivals per region at right, the move below."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions, RenderResult
from rich.layout import Layout
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from mqtt_fleet.text import printable
from mqtt_monitor.watch_state import STAGES, Change, Client, Fleet, Message, Move, Region

BARS = "▁▂▃▄▅▆▇█"
COLOURS = ("cyan", "magenta", "yellow", "green", "blue")
CONDITION_STYLE = {"both": "bold white on red", "dark": "bold red", "moving": "bold green"}
CONDITION_TEXT = {"both": "in both regions", "dark": "dark", "moving": "moving"}
MOVE_HEIGHT = 6
# Columns beside the table of clients that one line about a client needs.
WIDE = 64
LAST_CHANGES = 3


@dataclass
class View:
    """All that a frame shows.

    Attributes:
        fleet: each client's latest message and region.
        move: the newest move, None where there is none.
        described: `{client ID: library and endpoint}`, as far as known.
        problem: why the ledger cannot be read, empty where it can.
        changes: the newest last.
        now: epoch seconds.
    """

    fleet: Fleet
    move: Move | None = None
    described: Mapping[str, str] = field(default_factory=dict)
    problem: str = ""
    changes: Sequence[Change] = ()
    now: float = field(default_factory=time.time)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width, height = options.max_width, options.height or console.height
        layout = Layout()
        layout.split_column(Layout(name="top"), Layout(self._move_panel(), size=MOVE_HEIGHT))
        left = max(44, int(width * 0.52))
        top = layout["top"]
        top.split_row(Layout(name="clients", size=left), Layout(name="regions"))
        inner = max(1, height - MOVE_HEIGHT - 2)
        top["clients"].update(self._clients_panel(left - 4, inner))
        shown = self._shown_regions(height - MOVE_HEIGHT)
        top["regions"].split_column(*(Layout(self._region_panel(name, width - left - 4)) for name in shown))
        yield layout

    def colour(self, region: str) -> str:
        """The colour of a region; the same in every part of the frame."""
        return COLOURS[list(self.fleet.regions).index(region) % len(COLOURS)] if region in self.fleet.regions else ""

    def _shown_regions(self, height: int) -> list[str]:
        """The regions that there is room for: a panel of five lines each, the busiest ones where there are more."""
        names = list(self.fleet.regions)
        room = max(1, height // 5)
        if len(names) > room:
            names = sorted(names, key=lambda name: -self.fleet.regions[name].rate(self.now))[:room]
        return names

    def _clients_panel(self, width: int, height: int) -> Panel:
        fleet, total = self.fleet, len(self.fleet.clients)
        if self.problem:
            return Panel(Text(printable(self.problem), style="yellow"), title="clients", border_style="yellow")
        if not total:
            return Panel(Text("no message has arrived yet", style="dim"), title="clients")
        conditions = fleet.conditions(self.now)
        lines = self._count_lines(conditions) if total > 1 else []
        room = height - len(lines)
        chosen = interesting(fleet, conditions, room)
        lines += self._client_lines(chosen, width, spacious=2 * len(chosen) <= room)
        left = total - len(chosen)
        return Panel(
            _Lines(lines),
            title=f"{total:,} client{'s' if total > 1 else ''}",
            subtitle=f"{left:,} more" if left else None,
        )

    def _count_lines(self, conditions: Mapping[str, Sequence[str]]) -> list[Text]:
        """How many clients are where, and how many need attention; the second line stays when there are none."""
        where = [
            Text(f"{count:,} {printable(region)}", style=self.colour(region))
            for region, count in self.fleet.by_region().items()
        ]
        worth = [
            Text(f"{len(found):,} {CONDITION_TEXT[name]}", style=CONDITION_STYLE[name])
            for name, found in conditions.items()
            if found
        ]
        return [
            _line(Text(" · ").join(where)),
            _line(Text(" · ").join(worth) if worth else Text("all settled", style="dim")),
        ]

    def _client_lines(self, chosen: Sequence[str], width: int, spacious: bool) -> list[Text]:
        """A line per client; what it is stands in a column where there is room, else in a line of its own."""
        clients = [(client_id, self.fleet.clients[client_id]) for client_id in chosen]
        columns = max((cell_len(printable(client.region)) for _, client in clients), default=0)
        digits = max((len(str(client.sequence)) for _, client in clients), default=0)
        room = max(8, width - columns - digits - 8)
        names = max((cell_len(printable(client_id)) for client_id in chosen), default=0)
        about_room = max(0, room - names - 2) if width >= WIDE else 0
        lines = []
        for client_id, client in clients:
            condition = client.condition(self.now)
            about = printable(self.described.get(client_id, ""))
            line = Text(
                set_cell_size(printable(client_id), room - about_room), style=CONDITION_STYLE.get(condition, "")
            )
            line.append(set_cell_size(about, about_room), style="not bold dim default on default")
            line.append(
                f" {set_cell_size(printable(client.region), columns)}", style=f"not bold {self.colour(client.region)}"
            )
            line.append(f" #{client.sequence:<{digits}} ", style="not bold default")
            line.append(
                f"{age(self.now - client.at):>4}", style="red" if condition == "dark" else "not bold dim default"
            )
            lines.append(_line(line))
            if spacious and not about_room:
                lines.append(_line(Text(f"  {about}", style="dim").append(_gap(client), style="not dim green")))
        return lines

    def _region_panel(self, name: str, width: int) -> Panel:
        region = self.fleet.regions[name]
        colour = self.colour(name)
        title = Text(printable(name), style=f"bold {colour}")
        rate = Text(f"{region.rate(self.now):,.1f} messages/s ")
        history = region.history(self.now, max(1, min(60, width - len(rate))))
        rate.append(sparkline(history), style=colour)
        lines: list[Text] = [_line(rate)]
        if region.live is False:
            lines.append(Text("the monitor is not subscribed here", style="yellow", no_wrap=True, overflow="ellipsis"))
        lines += [self._message_line(message) for message in region.newest]
        return Panel(_Lines(lines), title=title, border_style=colour if _fresh(region, self.now) else "dim")

    def _message_line(self, message: Message) -> Text:
        client = self.fleet.clients.get(message.client_id)
        style = CONDITION_STYLE.get(client.condition(self.now), "") if client else ""
        return _line(
            Text.assemble(
                (f"{clock(message.at)} ", "dim"), (printable(message.client_id), style), f" #{message.sequence}"
            )
        )

    def _move_panel(self) -> Panel:
        move = self.move
        if move is None:
            return Panel(_Lines([Text("no move yet", style="dim"), *self._change_lines()]), title="move")
        title = Text(f"move to mode {printable(move.mode)}", style="bold")
        if move.outcome:
            style = "green" if move.outcome in ("moved", "unchanged") else "red"
            lines = [
                Text(
                    f"{printable(move.outcome)}, {max(0.0, move.last_at - move.started_at):.1f} s",
                    style=f"bold {style}",
                )
            ]
            lines += [_line(Text(printable(move.error), style="red"))] if move.error else [self._progress_text(move)]
        else:
            lines = [stages(move.stage), self._progress_text(move)]
        border = "green" if not move.outcome else "dim"
        body = Table.grid(expand=True)
        for line in lines[:1]:
            body.add_row(_line(line))
        if move.total and not move.outcome and move.stage in ("sweep", "landing"):
            bar = Table.grid(padding=(0, 1), expand=True)
            bar.add_column(ratio=1)
            bar.add_column(no_wrap=True)
            bar.add_row(ProgressBar(total=move.total, completed=min(move.done, move.total)), lines[1])
            body.add_row(bar)
        else:
            body.add_row(lines[1])
        for line in self._change_lines()[: MOVE_HEIGHT - 4]:
            body.add_row(line)
        return Panel(body, title=title, subtitle=self._routes(move), border_style=border)

    def _routes(self, move: Move) -> Text:
        names: dict[str, list[str]] = {}
        for name, source, target in move.routes:
            names.setdefault(f"{source} → {target}", []).append(name)
        return _line(Text(printable("; ".join(f"{route}: {', '.join(moved)}" for route, moved in names.items()))))

    def _progress_text(self, move: Move) -> Text:
        if move.note and not move.outcome:
            return _line(Text(printable(move.note), style="dim"))
        parts = [f"{move.done:,} of {move.total:,}"]
        if move.rate and move.stage == "sweep" and not move.outcome:
            parts.append(f"{move.rate:,.0f}/s")
        if move.eta is not None and not move.outcome:
            parts.append(f"{move.eta:.0f} s left")
        parts += [f"{move.landed:,} landed", f"{move.stragglers:,} stragglers"]
        return _line(Text(", ".join(parts) if move.total else "no client has to move"))

    def _change_lines(self) -> list[Text]:
        return [_line(change_text(change)) for change in list(self.changes)[: -LAST_CHANGES - 1 : -1]]


def _gap(client: Client) -> str:
    """How long the client was silent when it last changed its region."""
    return f" gap {client.gap:.2f} s" if client.before else ""


class _Lines:
    """Lines, as many as there is room for, each cut at its end."""

    def __init__(self, lines: Sequence[Text]) -> None:
        self._lines = lines

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield from self._lines[: options.height]


def _line(text: Text) -> Text:
    text.no_wrap, text.overflow = True, "ellipsis"
    return text


def _fresh(region: Region, now: float) -> bool:
    return bool(region.newest) and now - region.newest[0].at < 3.0


def interesting(fleet: Fleet, conditions: Mapping[str, Sequence[str]], room: int) -> list[str]:
    """The clients that get a line: all, or those in both regions, the dark, the moving, then others."""
    first = [client_id for name in ("both", "dark", "moving") for client_id in conditions[name]]
    if len(fleet.clients) <= room:
        # All of them, and always in the same place.
        return sorted(fleet.clients)
    known = set(first)
    first = first[: max(0, room)]
    return (
        first + [name for name in sorted(fleet.clients)[: room + len(known)] if name not in known][: room - len(first)]
    )


def stages(current: str) -> Text:
    """The stages of a move, the current one marked."""
    if current not in STAGES:
        return Text(printable(current) or "beginning", style="bold yellow")
    place = STAGES.index(current)
    parts = []
    for number, name in enumerate(STAGES):
        mark, style = ("✓", "green") if number < place else ("▶", "bold") if number == place else (" ", "dim")
        parts.append(Text(f"{mark} {name}", style=style))
    return Text("  ").join(parts)


def sparkline(values: Sequence[int]) -> str:
    """Bars as high as the values are beside the highest; a blank for none."""
    highest = max(values, default=0)
    return "".join(BARS[max(0, -(-value * len(BARS) // highest) - 1)] if value else " " for value in values)


def change_text(change: Change) -> Text:
    """One client's change of region, in one line."""
    text = Text(f"{clock(change.at)} {printable(change.client_id)}: {printable(change.source)} → ")
    return text.append(f"{printable(change.target)}, gap {change.gap:.2f} s")


def clock(at: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(at)) + f".{int(at % 1 * 10)}"


def age(seconds: float) -> str:
    """How long ago: 0.3s, 12s, 5m, 3h."""
    seconds = max(0.0, seconds)
    if seconds < 10:
        return f"{seconds:.1f}s"
    if seconds < 100:
        return f"{seconds:.0f}s"
    return f"{seconds / 60:.0f}m" if seconds < 6000 else f"{seconds / 3600:.0f}h"
