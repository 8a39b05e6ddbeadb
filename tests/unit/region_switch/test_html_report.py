"""The page of a run: what it says of every end a run can have, and that what comes from outside stays text."""

from __future__ import annotations

import base64
import builtins
import hashlib
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.region_switch import report
from ansible.module_utils.region_switch.fleet.roster import Roster, TrackedClient
from ansible.module_utils.region_switch.record import ledger
from ansible.module_utils.region_switch.report import figures, messages, outcomes, run
from ansible.module_utils.region_switch.report import pictures as drawing
from ansible.module_utils.region_switch.report.charts import apart
from ansible.module_utils.region_switch.report.outcomes import qualified
from ansible.module_utils.region_switch.report.page import COLUMNS

from mqtt_monitor.ledger import Arrival, Ledger
from tests import run_folder
from tests.report_page import HOSTILE, Page, flat
from tests.run_folder import BEGAN, ENDPOINT, ERROR, FINDING, NEW, OLD, entry, planned, start, swept, switched

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture
def pictures() -> None:
    """Asked for by a test whose page has pictures: to draw them takes a second."""


@pytest.fixture(autouse=True)
def quick(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "pictures" not in request.fixturenames:
        monkeypatch.setattr(drawing, "draw", lambda *_: (drawing.Charts(), []))


def page_of(folder: Path) -> Page:
    assert report.write(folder) == []
    return Page((folder / "report.html").read_text(encoding="utf-8"))


def assert_figures(page: Page, summary: dict[str, Any]) -> None:
    expected = flat(summary)
    assert {key: page.figures.get(key) for key in expected} == expected


def test_page_has_the_figures_of_the_summary_and_the_story_of_the_journal(tmp_path: Path, pictures: None) -> None:
    summary = run_folder.moved(tmp_path, ["device-1", "device-2"])

    page = page_of(tmp_path)

    assert_figures(page, summary)
    assert "Nothing is left to do." in page.text
    for told in ("Records switched", "INSYNC", "every server answers", "Wave 1 of 1 begins", "ns1.example.net"):
        assert told in page.text
    assert [(row["client"], row["gap"], row["lost"], row["duplicated"]) for row in page.rows()] == [
        ("device-1", 0.2, 0, 1),
        ("device-2", 0.22, 0, 1),
    ]
    assert "Nothing blocked the move" in page.text
    assert "Python" in page.text
    assert "abc-2" in page.text
    assert [tag for tag, _ in page.tags].count("svg") == 4


@pytest.mark.parametrize("outcome", ["moved", "unchanged", "refused", "partial", "rolled_back", "failed"])
def test_every_outcome_is_explained(tmp_path: Path, outcome: str) -> None:
    steps = swept() if outcome not in ("unchanged", "refused") else planned()
    error = None if outcome in ("moved", "unchanged") else ERROR
    run_folder.write_journal(tmp_path, [*steps, entry(3, "end", outcome=outcome, error=error)])
    counts = run_folder.write_roster(tmp_path, ["a", "b"], stragglers=["b"])
    summary = run_folder.write_summary(tmp_path, outcome, clients=counts)

    page = page_of(tmp_path)

    assert_figures(page, summary)
    means, advice = outcomes.OUTCOMES[outcome]
    assert f"{means} {advice}" in page.text
    assert (ERROR in page.text) == (error is not None)


def test_stragglers_stand_out(tmp_path: Path) -> None:
    run_folder.write_journal(tmp_path, [*swept(late=1), entry(3, "end", outcome="partial", error=ERROR)])
    counts = run_folder.write_roster(tmp_path, ["a", "b"], stragglers=["b"])
    run_folder.write_summary(tmp_path, "partial", clients=counts)

    page = page_of(tmp_path)

    assert ("span", {"class": "state bad"}) in page.tags
    straggler = next(row for row in page.rows() if row["client"] == "b")
    assert straggler["note"] == "AWS said no"
    assert straggler["landed after"] is None


def test_refused_run_says_what_was_found_and_what_to_do(tmp_path: Path) -> None:
    told = {**FINDING, "check": "record_ttl", "blocking": False, "advice": "setup.yml, then wait"}
    waived = {**FINDING, "check": "quota", "advice": "have it raised"}
    steps = [
        *planned()[:2],
        entry(0.3, "skipped", region="eu-west-1", reason="timed out"),
        entry(0.4, "preflight", findings=[told, waived, FINDING], waived=["quota"]),
        entry(0.5, "end", outcome="refused", error="preflight: found 1 reason against this move"),
    ]
    run_folder.write_journal(tmp_path, steps)
    run_folder.write_summary(tmp_path, "refused")

    page = page_of(tmp_path)

    table = page.text.split("Findings")[1]
    kinds = re.findall(r"refused|waived|note|skipped", table.split("Plan")[0])
    assert kinds[:4] == ["refused", "waived", "note", "skipped"]
    for said in ("run setup.yml", "have it raised", "setup.yml, then wait", "timed out", "2 not registered"):
        assert said in table
    assert "ended before it looked for clients" in page.text


@pytest.mark.parametrize(
    ("outcome", "total", "swept", "given_up", "said"),
    [
        ("moved", 2, True, [], "general"),
        ("partial", 0, True, ["192.0.2.53"], "general"),
        ("moved", 2, True, ["192.0.2.53"], "192.0.2.53 never agreed. Every misplaced client"),
        ("unchanged", 0, True, [], "every DNS server that was asked agrees. No client was found"),
        ("moved", 2, False, [], "No client was to be disconnected"),
    ],
)
def test_a_good_outcome_says_no_more_than_is_true(
    outcome: str, total: int, swept: bool, given_up: list[str], said: str
) -> None:
    assert said in " ".join(qualified(("general", ""), outcome, total, swept, given_up))


def test_failed_half_way_shows_the_servers_that_were_stale(tmp_path: Path, pictures: None) -> None:
    summary = run_folder.failed(tmp_path)

    page = page_of(tmp_path)

    assert_figures(page, summary)
    assert "old.example.net" in page.text.split("Findings")[1]
    assert [(span.name, span.end) for span in run.read(tmp_path).servers] == [
        ("ns1.example.net", 1.2),
        ("192.0.2.53", None),
    ]


def test_rolled_back_run_shows_that_records_went_back(tmp_path: Path) -> None:
    steps = [
        *swept(late=2),
        entry(4, "restore", records={}),
        entry(4.5, "restored", change_id="/change/C2"),
        entry(6, "end", outcome="rolled_back", error=ERROR),
    ]
    run_folder.write_journal(tmp_path, steps)
    run_folder.write_summary(tmp_path, "rolled_back", clients=run_folder.write_roster(tmp_path, ["a"], ["a"]))

    page = page_of(tmp_path)

    assert page.text.index("Rolling back") < page.text.index("Records restored")
    assert page.figures["outcome"] == "rolled_back"


def test_way_back_is_told_apart_from_the_waves_and_clients_are_counted_where_their_records_point(
    tmp_path: Path,
) -> None:
    steps = [
        *swept(late=1),
        entry(4, "restore", records={}),
        entry(4.5, "restored", change_id="/change/C2"),
        entry(5, "sweep", wave=1, waves=1, clients=1),
        entry(6, "landing", wave=1, landed=1, late=0),
        entry(6.5, "returned", told=2, back=1),
        entry(7, "end", outcome="rolled_back", error=ERROR, records={ENDPOINT: OLD}),
    ]
    run_folder.write_journal(tmp_path, steps)
    run_folder.write_roster(tmp_path, ["back", "stays", "never"])
    with Roster(tmp_path / "clients.sqlite") as roster:
        roster.returned(TrackedClient("back", NEW, ENDPOINT, OLD, 0.0))
        roster.update(TrackedClient("never", OLD, ENDPOINT, NEW, 0.0), "waiting", kicks=0, kicked_at=0.0)
    run_folder.write_summary(tmp_path, "rolled_back", clients=dict.fromkeys(
        ("total", "misplaced", "landed", "stragglers", "bounced", "in_both_regions"), 0
    ))  # fmt: skip

    page = page_of(tmp_path)

    found = run.read(tmp_path)
    assert [(span.name, span.start, span.end) for span in found.waves] == [("wave 1", 1.6, 2.02), ("rollback", 5, 6)]
    assert "Rollback; clients to disconnect: 1" in page.text
    assert "Seen back: 1 of 2 clients" in page.text
    states = {row.client_id: row.state for row in found.clients.rows}
    assert states == {"back": "returned", "stays": "straggler", "never": "placed"}
    assert "the error at the top says why it ended" in page.text
    assert "Nothing blocked the move" not in page.text
    assert "for clients that came back, the longest pause" in pictures_label(found)


def pictures_label(found: run.Run) -> str:
    """What the gaps of a run are called where the ledger knows them."""
    found.messages = messages.Messages(0.0, 1.0, 1.0, [], {}, [1.0], 1, {})
    return figures.gap_values(found)[0]


def test_refused_run_has_nobody_to_answer_for(tmp_path: Path) -> None:
    run_folder.write_journal(tmp_path, [*planned(), entry(0.5, "end", outcome="refused", error=ERROR)])
    run_folder.write_roster(tmp_path, ["a"])
    run_folder.write_summary(tmp_path, "refused", clients={
        "total": 2, "misplaced": 2, "landed": 1, "stragglers": 1, "bounced": 0, "in_both_regions": 0
    })  # fmt: skip

    page = page_of(tmp_path)

    assert ("div", {"class": "bad"}) not in page.tags
    assert "would have to move" in page.text


def test_killed_run_lasted_until_the_last_that_it_did(tmp_path: Path) -> None:
    steps = [*swept()[:-1], entry(7.25, "delete_connection", client_id="b", region=OLD, found=True)]
    run_folder.write_journal(tmp_path, steps)
    run_folder.write_roster(tmp_path, ["a", "b"])

    page = page_of(tmp_path)

    found = run.read(tmp_path)
    assert found.seconds == 7.25
    assert (found.phases[-1].name, found.phases[-1].end) == ("sweep", 7.25)
    assert "No check found anything before the run ended." in page.text


def test_run_whose_clock_was_set_back_did_not_end_before_it_began(tmp_path: Path) -> None:
    run_folder.write_journal(tmp_path, [*swept(), entry(-3600, "end", outcome="moved", error=None)])
    run_folder.write_summary(tmp_path, "moved", clients=run_folder.write_roster(tmp_path, ["a"]))

    page_of(tmp_path)

    assert run.read(tmp_path).seconds > 2


def test_run_that_was_stopped_on_the_way_back_does_not_say_that_records_are_moved(tmp_path: Path) -> None:
    steps = [
        *swept(late=2), entry(4, "restore", records={}), entry(4.5, "restored", change_id=None),
        entry(5, "end", outcome="partial", error=ERROR),
    ]  # fmt: skip
    run_folder.write_journal(tmp_path, steps)
    run_folder.write_summary(tmp_path, "partial", clients=run_folder.write_roster(tmp_path, ["a"], ["a"]))

    page = page_of(tmp_path)

    assert outcomes.PARTLY_ROLLED_BACK[0] in page.text
    assert "Records are as the mode says" not in page.text


def test_killed_run_is_shown_as_far_as_it_came(tmp_path: Path, pictures: None) -> None:
    run_folder.write_journal(tmp_path, swept(), tail='{"at": "2026-11-25T01:20:')
    counts = run_folder.write_roster(tmp_path, ["a", "b"], stragglers=["b"])

    page = page_of(tmp_path)

    assert page.figures["outcome"] == "killed"
    assert {key: page.figures[f"clients.{key}"] for key in counts} == {key: str(counts[key]) for key in counts}
    assert page.figures["sweep.calls"] == "2"
    assert "the run was killed while it wrote it" in page.text
    assert [span.name for span in run.read(tmp_path).phases] == ["plan", "preflight", "switch", "dns", "sweep"]


def test_killed_before_anything_happened(tmp_path: Path) -> None:
    run_folder.write_journal(tmp_path, [start()])

    page = page_of(tmp_path)

    assert page.figures["outcome"] == "killed"
    assert "ended before it had a plan" in page.text
    assert "Clients were not looked for" in page.text


def test_empty_journal_is_a_page_too(tmp_path: Path) -> None:
    run_folder.write_journal(tmp_path, [])

    assert page_of(tmp_path).figures["outcome"] == "killed"


def test_journal_of_a_newer_release_is_read_as_far_as_it_is_known(tmp_path: Path) -> None:
    steps = [start(version=2), *swept()[1:], entry(2.5, "beamed", clients=[1]), entry(3, "end", outcome="moved")]
    run_folder.write_journal(tmp_path, steps, tail="no JSON\n[1]\n")
    (tmp_path / "summary.json").write_text('{"outcome": "moved", "clients": {}}')

    page = page_of(tmp_path)

    assert "another version (2)" in page.text
    assert "2 lines of the journal are damaged" in page.text
    assert page.figures["outcome"] == "moved"


def test_a_run_that_paused_has_its_phases_where_they_were(tmp_path: Path) -> None:
    steps = [*switched(), entry(1.6, "paused"), {**start(goes_on=True), "at": run_folder.at(5)}]
    run_folder.write_journal(tmp_path, [*steps, entry(7, "end", outcome="moved", error=None)])
    phases = [{"name": name, "seconds": 0.5} for name in ("plan", "switch", "dns", "plan", "sweep")]
    run_folder.write_summary(tmp_path, "moved", phases=phases)

    found = run.read(tmp_path)

    assert [span.start for span in found.phases] == [0.0, 0.5, 1.0, 5.0, 5.5]
    assert "Resumed: devices have been asked" in [event.text for event in found.events]


@pytest.mark.parametrize(
    ("options", "steps", "why"),
    [
        ({}, swept(), "had no ledger"),
        (run_folder.OPTIONS, swept(), "no monitor wrote to the ledger"),
        (run_folder.OPTIONS, planned(), "nothing was moved"),
    ],
)
def test_without_messages_the_page_says_why(
    tmp_path: Path, options: dict[str, Any], steps: list[dict[str, Any]], why: str
) -> None:
    run_folder.write_journal(tmp_path, [start(options=options), *steps[1:], entry(3, "end", outcome="moved")])
    run_folder.write_summary(tmp_path, "moved", clients=run_folder.write_roster(tmp_path, ["a"]))

    page = page_of(tmp_path)

    assert why in page.text
    assert page.rows()[0].keys().isdisjoint({"gap", "lost", "duplicated"})


def test_no_clients_at_all(tmp_path: Path) -> None:
    summary = run_folder.moved(tmp_path, [])

    page = page_of(tmp_path)

    assert_figures(page, summary)
    assert "No connected client of these endpoints was found." in page.text


def test_hostile_client_ids_stay_text(tmp_path: Path, pictures: None) -> None:
    run_folder.moved(tmp_path, HOSTILE)

    page = page_of(tmp_path)

    assert sorted(row["client"] for row in page.rows()) == sorted(HOSTILE)
    assert [tag for tag, _ in page.tags].count("script") == 2
    assert [attributes for _, attributes in page.tags if any(name.startswith("on") for name in attributes)] == []
    assert "img" not in [tag for tag, _ in page.tags]
    # A browser ends a script at less than Python's parser does.
    assert "<" not in page.scripts[0]
    for client_id in HOSTILE:
        assert client_id in page.text


def test_hostile_text_of_journals_stays_text(tmp_path: Path) -> None:
    evil = "</style></script><script>alert(1)</script>"
    steps = [start(run_id=evil, mode=evil, environment={evil: evil}, options={evil: [evil]})]
    steps += [entry(1, "interrupted", reason=evil), entry(2, "end", outcome=evil, error=evil)]
    run_folder.write_journal(tmp_path, steps)

    page = page_of(tmp_path)

    assert [tag for tag, _ in page.tags].count("script") == 2
    assert page.text.count(evil) >= 6


def test_page_asks_nobody_for_anything(tmp_path: Path, pictures: None) -> None:
    run_folder.moved(tmp_path, ["a", "b"])

    page = page_of(tmp_path)

    loads = [each[name] for _, each in page.tags for name in ("src", "href", "xlink:href") if each.get(name)]
    near = {"data:,", "summary.json", "journal.jsonl", "clients.csv"}
    assert {each for each in loads if each and not each.startswith("#")} == near
    policy = next(each["content"] for tag, each in page.tags if each.get("http-equiv") == "Content-Security-Policy")
    digest = base64.b64encode(hashlib.sha256(page.scripts[-1].encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in (policy or "")


def test_those_that_went_wrong_are_on_the_page_of_a_fleet_that_is_too_large(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "MOST_ROWS", 3)
    client_ids = [f"device-{number}" for number in range(9)]
    run_folder.write_journal(tmp_path, [*swept(9, 1), entry(9, "end", outcome="partial", error=ERROR)])
    run_folder.write_summary(tmp_path, "partial", clients=run_folder.write_roster(tmp_path, client_ids, ["device-7"]))

    page = page_of(tmp_path)

    assert [row["client"] for row in page.rows()] == ["device-0", "device-1", "device-7"]
    assert "3 of 9 clients are shown" in page.text


def test_a_client_that_was_found_again_where_it_belongs_is_one_row(tmp_path: Path) -> None:
    run_folder.moved(tmp_path, ["a"])
    with run_folder.Roster(tmp_path / "clients.sqlite") as roster:
        roster.add([run_folder.Connection("a", ENDPOINT, NEW, BEGAN)], {ENDPOINT: NEW})

    assert [row["client"] for row in page_of(tmp_path).rows()] == ["a"]


def test_reading_a_folder_leaves_nothing_in_it(tmp_path: Path) -> None:
    run_folder.moved(tmp_path, ["a"])
    before = {path.name for path in tmp_path.iterdir()}

    page_of(tmp_path)

    assert {path.name for path in tmp_path.iterdir()} - before == {"report.html"}


def test_damaged_roster_and_messages_are_said(tmp_path: Path) -> None:
    run_folder.moved(tmp_path, ["a"])
    (tmp_path / "clients.sqlite").write_text("no database")
    (tmp_path / "messages.json").write_text("{")

    page = page_of(tmp_path)

    assert "clients.sqlite) cannot be read" in page.text
    assert "messages.json cannot be read" in page.text


def test_without_matplotlib_the_page_has_everything_but_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pictures: None
) -> None:
    summary = run_folder.moved(tmp_path, ["a", "b"])
    real = builtins.__import__

    def without(name: str, *arguments: Any) -> Any:
        if name.startswith("matplotlib"):
            raise ModuleNotFoundError(name=name)
        return real(name, *arguments)

    monkeypatch.setattr(builtins, "__import__", without)
    for name in [name for name in sys.modules if name.endswith("region_switch.report.charts")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr(report, "charts", raising=False)

    lines = report.write(tmp_path)

    assert len(lines) == 1
    assert "matplotlib is missing" in lines[0]
    page = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert_figures(page, summary)
    assert "svg" not in [tag for tag, _ in page.tags]


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {"PYTHONPATH": str(REPOSITORY / "module_utils"), "PATH": ""}
    return subprocess.run([sys.executable, *arguments], env=environment, capture_output=True, text=True, check=False)


def test_a_run_that_changed_nothing_does_not_wait_for_matplotlib(tmp_path: Path) -> None:
    run_folder.write_journal(tmp_path, [*planned(), entry(1, "end", outcome="unchanged", error=None)])
    run_folder.write_summary(tmp_path, "unchanged", clients=run_folder.write_roster(tmp_path, []))
    script = "import sys; from pathlib import Path; from region_switch import report; "
    script += "report.write(Path(sys.argv[1])); print('matplotlib' in sys.modules)"

    assert python("-c", script, str(tmp_path)).stdout == "False\n"


def test_command_writes_the_page_of_a_run_again(tmp_path: Path) -> None:
    run_folder.moved(tmp_path / "run", ["a"])
    command = ("-m", "region_switch.report")

    done = python(*command, str(tmp_path / "run"))
    assert (done.returncode, done.stdout) == (0, f"{tmp_path / 'run' / 'report.html'}\n")

    shutil.rmtree(tmp_path / "run")
    run_folder.write_journal(tmp_path / "odd", [start(), entry(1, "plan", plan={"a": 1})])
    run_folder.write_journal(tmp_path / "short", [*planned(), entry(1, "end", outcome="moved")])
    run_folder.write_summary(tmp_path / "short", "moved", clients={"total": 1})
    folders = [str(tmp_path / name) for name in ("run", "odd", "short")]
    done = python(*command, *folders)
    assert done.returncode == 1
    assert [line.split(": ")[0] for line in done.stderr.splitlines()] == folders


def test_what_the_ledger_says_is_kept_with_the_run(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    writer = Ledger(path)
    writer.add(Arrival("a", "s", number, OLD if number < 20 else NEW, 0.0, BEGAN + number / 10) for number in range(40))
    writer.close()

    messages.keep(path, tmp_path, BEGAN, BEGAN + 4.0, {"a": 0.1}, 1)

    found = messages.Messages.read(tmp_path, [])
    assert found
    assert sum(counts.get(OLD, 0) for _, counts in found.timeline) == 20
    assert found.timeline[0][0] == BEGAN - messages.MARGIN
    assert found.gaps == {"a": 0.1}
    assert found.clients["a"]["received"] == ledger.by_client(path, BEGAN, BEGAN + 4.0)["a"].received == 40


def test_what_is_kept_of_a_large_fleet_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "ledger.sqlite"
    writer = Ledger(path)
    writer.add(Arrival(f"c{each}", "s", 1, OLD, 0.0, BEGAN + each) for each in range(9))
    writer.add([Arrival("c4", "s", 1, OLD, 0.0, BEGAN + 4)])
    writer.close()
    monkeypatch.setattr(messages, "MOST_ROWS", 2)
    monkeypatch.setattr(messages, "SAMPLE", 3)
    gaps = {f"c{each}": each / 10 for each in range(9)}

    messages.keep(path, tmp_path, BEGAN, BEGAN + 9, gaps, 9)
    found = messages.Messages.read(tmp_path, [])
    assert found
    assert (set(found.gaps), found.sample, found.measured) == ({"c7", "c8"}, [0.0, 0.4, 0.8], 9)
    assert len(found.clients) == 2
    assert found.clients["c4"]["duplicated"] == 1

    messages.keep(path, tmp_path, BEGAN, BEGAN + 9, gaps, messages.MOST_CLIENTS + 1)
    found = messages.Messages.read(tmp_path, [])
    assert found
    assert found.clients == {}


def test_numbers_of_events_keep_apart_and_inside() -> None:
    assert apart([0.0, 0.1, 5.0], 1.0, 5.0) == [0.0, 1.0, 5.0]
    assert apart([4.8, 4.9, 5.0], 1.0, 5.0) == [3.0, 4.0, 5.0]
    assert apart([], 1.0, 5.0) == []


def test_columns_of_the_table_are_those_of_the_runbook() -> None:
    text = (REPOSITORY / "docs" / "runbook.md").read_text()
    told = text.split("The table of clients has")[1].split("\n\n")[0]

    assert tuple(re.findall(r"`([^`]+)`", told)) == COLUMNS
