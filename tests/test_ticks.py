"""Ticks: every task of the schedule exists, and one tick of each takes an event to the rollup."""

from datetime import UTC, datetime
from itertools import pairwise

from tests.streams import NOON, make_event, make_place, minutes, send
from tests.test_rollups import total

TICKS = 60  # other tests' properties are rolled up, too, and a tick has five seconds


def test_the_schedule_names_tasks_that_exist():
    from aktivat.celery import app

    app.loader.import_default_modules()
    wanted = {entry["task"] for entry in app.conf.beat_schedule.values()}
    assert wanted <= set(app.tasks)


def test_a_worker_has_no_pool_of_connections(settings):
    """Celery would close the sockets below it when the worker starts."""
    from copy import deepcopy

    from celery.signals import celeryd_init

    import aktivat.celery  # noqa: F401  the application with its signals

    settings.DATABASES = deepcopy(settings.DATABASES)
    settings.DATABASES["default"]["OPTIONS"]["pool"] = {"min_size": 1}
    celeryd_init.send(sender="worker")
    assert "pool" not in settings.DATABASES["default"]["OPTIONS"]
    assert settings.DATABASES["default"]["CONN_MAX_AGE"] == 600


def test_a_rollup_with_much_to_do_leaves_the_drain_its_turns():
    """One worker, first come first served, every rollup as long as it may be."""
    from aktivat.celery import app
    from reports.rollups import BUDGET

    ticks = app.conf.beat_schedule
    sent = [
        (name, turn * tick["schedule"], tick["options"]["expires"])
        for name, tick in ticks.items()
        for turn in range(1, int(600 / tick["schedule"]) + 1)
    ]
    now, drained = 0.0, []
    for name, since, expires in sorted(sent, key=lambda tick: tick[1]):
        now = max(now, since)
        if now - since > expires:
            continue
        if name == "drain":
            drained.append(now)
        now += BUDGET if name == "roll up" else 0.01
    pauses = [after - before for before, after in pairwise([*drained, 600.0])]
    assert max(pauses) <= BUDGET + 1


def test_ticks_bring_an_event_into_the_rollup():
    from reports.tasks import roll_up
    from tracking.tasks import drain, sweep

    place = make_place()
    send(place, make_event(NOON))
    for _ in range(TICKS):
        for tick in (drain, roll_up, sweep):
            tick()
        if total(place, "events"):
            break
    assert total(place, "events") == {NOON.replace(hour=0): 1}


def test_who_has_waited_longest_is_rolled_up_first():
    from reports.rollups import places_due
    from tests.test_rollups import drain as drain_place

    first, second = make_place(), make_place()
    for place, came in ((first, NOON + minutes(5)), (second, NOON)):
        send(place, make_event(came))
        drain_place(place)
    due = [place.pk for place in places_due(datetime.now(UTC)) if place.pk in (first.pk, second.pk)]
    assert due == [second.pk, first.pk]
