"""Workers killed with -9 at the worst moments: nothing is lost and nothing counts twice."""

import os
import random
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.streams import NOON, make_event, make_place, minutes, send, waiting
from tests.test_drain import events_of, numbers_of, of, sum_of
from tests.test_rollups import NOW, dirty, drain, everything, roll_up, rolled, total
from tests.test_sessions import sessions_of

ROOT = Path(__file__).parent.parent

DRAIN = "from tracking.drain import drain_property; drain_property(place)"
ROLL_UP = (
    "from reports.rollups import roll_up_property; from tests.test_rollups import NOW;"
    "roll_up_property(place, NOW)"
)


def run(place, work, fault):
    """Do the work in a process of its own that dies at `fault`."""
    script = (
        "import django; django.setup();"
        "from properties.models import Property;"
        f"place = Property.objects.get(pk={place.pk}); {work}"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {"AKTIVAT_FAULT": f"{fault}:kill"},
        cwd=ROOT,
        timeout=60,
    )
    assert done.returncode == -signal.SIGKILL


def some():
    """Three visitors, a bot, and a duplicate that differs."""
    dice = random.Random(9)
    events = [make_event(NOON + minutes(dice.randrange(600)), n % 3 + 1) for n in range(30)]
    return [*events, make_event(NOON, 9, bot=True)]


@pytest.mark.parametrize("fault", ["before_commit", "after_commit"])
def test_a_killed_drain_loses_and_doubles_nothing(fault):
    from tests.streams import send_conflict
    from tests.test_drain import poison, swap
    from tracking.models import Conflict, Quarantined

    events = some()
    spared = make_place()
    for place in (spared, killed := make_place()):
        for event in events:
            send(place, event)
        poison(place, swap("props", b"{"))
        send_conflict(place, events[0])
    run(killed, DRAIN, fault)
    assert waiting(killed) == len(events) + 2
    assert events_of(killed).count() == (0 if fault == "before_commit" else len(events))
    for place in (spared, killed):
        drain(place)
        assert waiting(place) == 0
        assert sum_of(place, "stored") == events_of(place).count() == len(events)
        assert sum_of(place, "quarantined") == of(Quarantined, place).count() == 1
        assert sum_of(place, "late_duplicate") == 0
        assert of(Conflict, place).count() == 1
    assert sessions_of(killed) == sessions_of(spared)
    assert numbers_of(killed) == numbers_of(spared)


def test_a_late_duplicate_is_counted_once_though_the_drain_was_killed():
    place = make_place()
    event = make_event(NOON)
    drain(place, event)
    retry = make_event(NOON, event_id=event.event_id, received_at=NOON + minutes(5000))
    send(place, retry)
    run(place, DRAIN, "after_commit")
    assert sum_of(place, "late_duplicate") == 1
    drain(place)
    assert sum_of(place, "late_duplicate") == 1
    assert events_of(place).count() == 1


@pytest.mark.parametrize("fault", ["started", "before_commit", "after_commit"])
def test_a_killed_rollup_is_done_again(fault):
    events = some()
    spared, killed = make_place(), make_place()
    for place in (spared, killed):
        drain(place, *events)
    roll_up(spared)
    run(killed, ROLL_UP, fault)
    if fault != "after_commit":
        assert {state for state, _ in rolled(killed).values()} == {"s"}
        assert everything(killed) == ([], [])
        assert dirty(killed).exists()
    roll_up(killed)
    assert everything(killed) == everything(spared)
    assert {state for state, _ in rolled(killed).values()} == {"d"}


def test_faults_are_for_tests_only(monkeypatch, settings):
    from tracking import faults

    monkeypatch.setenv("AKTIVAT_FAULT", "before_commit:kill")
    settings.ENV = "production"
    faults.point("before_commit")  # still alive
    settings.ENV = "test"
    faults.point("another")


def test_drains_and_rollups_at_once_do_each_event_once():
    from django.db import connections

    from reports.rollups import roll_up_property
    from tracking.drain import drain_property

    place = make_place()
    events = [make_event(NOON + minutes(n % 300), n % 7 + 1) for n in range(150)]
    errors = []

    def work():
        try:
            for _ in range(5):
                drain_property(place)
                roll_up_property(place, NOW)
        except Exception as error:
            errors.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for event in events:
        send(place, event)
    for thread in threads:
        thread.join()
    drain(place)
    roll_up(place)
    assert errors == []
    assert sum_of(place, "stored") == events_of(place).count() == 150
    assert sum(total(place, "events").values()) == 150
    assert sum(row["events"] for row in sessions_of(place)) == 150
