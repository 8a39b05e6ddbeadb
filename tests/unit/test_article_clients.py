"""The article's clients as the bench has them wait, look up and forget as the article's do."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.bench import compare, tables
from tests.bench.article import dr, light
from tests.bench.article.publisher import Numbers

REPOSITORY = Path(__file__).parent.parent.parent


def waits(client: light.LightClient, monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What a client does, in order, when its connection is gone: seconds that it sleeps, and lookups."""
    done: list[object] = []

    async def sleep(seconds: float) -> None:
        done.append(seconds)

    async def look_up() -> str:
        done.append("lookup")
        raise OSError("no answer")

    monkeypatch.setattr(light.asyncio, "sleep", sleep)
    monkeypatch.setattr(client, "_look_up", look_up)
    asyncio.run(client._wait_and_look_up())
    return done


@pytest.mark.parametrize(("number", "kept"), [(1, {}), (2, {7: b"message"})], ids=["awsiotsdk", "paho"])
def test_a_light_client_waits_as_the_articles_and_keeps_what_its_library_keeps(
    number: int, kept: dict[int, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    shared: Any = None
    client = light.LightClient(number, shared)
    client._waiting[7] = b"message"

    assert waits(client, monkeypatch) == [5.0, "lookup", 1.0, "lookup", 1.0, "lookup", 1.0]
    assert client._waiting == kept


def test_only_the_automatic_reconnect_waits_once_more_and_longer_each_time() -> None:
    shared: Any = None
    restarted, reconnected = light.LightClient(1, shared), light.LightClient(2, shared)

    assert [restarted._reconnect_delay(failures) for failures in (0, 1, 2)] == [0.0, 1.0, 1.0]
    assert [reconnected._reconnect_delay(failures) for failures in (0, 1, 2, 9)] == [1.0, 2.0, 4.0, 120.0]


def test_numbers_go_on_in_a_new_process(tmp_path: Path) -> None:
    before, after = (json.loads(Numbers(tmp_path / "numbers").payload("client_01")) for _ in range(2))

    assert (before["sequence"], after["sequence"]) == (1, 2)
    assert before["stream"] == after["stream"]


def test_both_methods_know_the_same_modes() -> None:
    inventory = yaml.safe_load((REPOSITORY / "inventory/lab/group_vars/all/fleet.yml").read_text(encoding="utf-8"))
    patterns = {str(mode): tuple(pattern.values()) for mode, pattern in enumerate(dr.DR_PATTERN, 1)}

    assert patterns == compare.MODES
    assert {mode: tuple(wanted.values()) for mode, wanted in inventory["failover_modes"].items()} == compare.MODES
    assert list(dr.REGIONS) == inventory_regions()


def inventory_regions() -> list[str]:
    hosts = yaml.safe_load((REPOSITORY / "inventory/lab/hosts.yml").read_text(encoding="utf-8"))
    return list(hosts["all"]["children"]["regions"]["hosts"])


def test_each_fleet_is_moved_under_each_condition_that_the_tables_show() -> None:
    plans = compare.plans(rounds=3)

    assert tuple(plan.size for plan in plans) == tables.SIZES
    for plan in plans:
        names = [condition.name for condition in plan.conditions]
        assert {"plain", "latency", "clamp"} <= set(names) <= set(tables.CONDITIONS)
        # It leads clients of the article's method astray: nothing may come after it but a new start.
        assert names[-1] == "clamp"
        assert all(condition.rounds % 3 == 0 for condition in plan.conditions)
    assert [condition.latency for condition in plans[0].conditions] == [0.0, 0.08, 0.0]
