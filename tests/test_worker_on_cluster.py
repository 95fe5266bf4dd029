"""The worker's side on a real cluster: properties lie on several masters, ticks serve them all."""

from collections.abc import Iterator

import pytest

from aktivat.servers import start_cluster
from tests.test_from_valkey import collect, everything, now, open_place, payloads
from tests.test_rollups import mark_every_hour, roll_up, rolled


@pytest.fixture
def cluster(settings, tmp_path) -> Iterator[None]:
    from tracking.store import events_client

    masters = start_cluster(tmp_path)
    settings.EVENTS_URL = masters[0] + "?cluster=1"
    events_client.cache_clear()
    try:
        yield
    finally:
        events_client().close()
        events_client.cache_clear()
        masters.stop()


def test_drain_rollup_reconcile_and_sweep(cluster):
    from reports.rollups import tick
    from tracking.drain import drain_all
    from tracking.lag import measure
    from tracking.ledger import reconcile
    from tracking.sweeping import sweep

    places = [open_place() for _ in range(4)]
    for seed, place in enumerate(places):
        collect(place, payloads(40, 9, seed=seed))
    assert measure()["stream_entries"] == 160
    assert drain_all().stored == 160
    assert measure()["stream_entries"] == 0
    for place in places:
        roll_up(place, now())
        assert {origin for _, origin in rolled(place).values()} == {"valkey"}
        from_valkey = everything(place)
        mark_every_hour(place)
        roll_up(place, now())
        assert everything(place) == from_valkey
        balance = reconcile(place, now())
        assert (balance.accepted, balance.rolled_up) == (40, 40)
        assert balance.adds_up
    tick(now())
    assert sweep(now()) >= 0
