"""Ticks: every task of the schedule exists, and one tick of each takes an event to the rollup."""

from tests.streams import NOON, make_event, make_place, send
from tests.test_rollups import total


def test_the_schedule_names_tasks_that_exist():
    from aktivat.celery import app

    app.loader.import_default_modules()
    wanted = {entry["task"] for entry in app.conf.beat_schedule.values()}
    assert wanted <= set(app.tasks)


def test_ticks_bring_an_event_into_the_rollup():
    from reports.tasks import roll_up
    from tracking.tasks import drain, sweep

    place = make_place()
    send(place, make_event(NOON))
    for tick in (drain, roll_up, sweep, drain, roll_up):
        tick()
    assert total(place, "events") == {NOON.replace(hour=0): 1}
