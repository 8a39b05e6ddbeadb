"""The article's method in the lab, once: the clients that the bench compares with land, and its figures are of them."""

from __future__ import annotations

import pytest

from tests.bench.brokers import Watch
from tests.bench.compare import Bench, Condition
from tests.bench.fleets import Devices
from tests.bench.results import ARTICLE, OURS
from tests.lab.conftest import failover

pytestmark = pytest.mark.lab


@pytest.mark.usefixtures("fleet")
def test_both_devices_land_with_the_articles_clients_and_switcher() -> None:
    failover("1")
    devices = Devices()
    try:
        with Watch() as watch:
            move = Bench(watch, lambda _: None).measure_once(devices, ARTICLE, Condition("plain", 1, 1))
    finally:
        devices.start(OURS)

    assert move.not_landed == move.needless == move.bounced == 0
    assert move.calls == {"ChangeResourceRecordSets": 2, "DeleteConnection": 4}
    assert set(move.offline) == set(move.silent) == set(devices.endpoints())
    # What the SDK's client had not yet sent went with its process.
    assert move.lost > 0
