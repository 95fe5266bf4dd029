"""Celery: ticks only. A task calls one function and may be lost, doubled or late without harm;
events never travel in a message (the Redis transport can lose one)."""

import os
import time
from typing import Any

from celery import Celery
from celery.signals import celeryd_init, task_failure, task_postrun, task_prerun
from django.conf import settings
from django.db import close_old_connections

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "aktivat.settings")
# The `celery` command takes BROKER_URL for itself, in a spelling that its transport may not know.
os.environ["CELERY_BROKER_URL"] = settings.CELERY_BROKER_URL

app = Celery("aktivat")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
app.conf.beat_schedule = {
    # expires: while no worker runs, ticks must not pile up in the broker. A rollup's tick no later
    # than a drain's: else, with much to do, the next would stand before drains that have expired.
    "drain": {"task": "tracking.tasks.drain", "schedule": 1.0, "options": {"expires": 5}},
    "roll up": {"task": "reports.tasks.roll_up", "schedule": 10.0, "options": {"expires": 5}},
    # Rounds that come late are no rounds: the next one stands behind them.
    "sample": {"task": "tracking.tasks.sample", "schedule": 5.0, "options": {"expires": 4}},
    "keep samples": {
        "task": "tracking.tasks.keep_samples",
        "schedule": 20.0,
        "options": {"expires": 20},
    },
    "loyal": {"task": "reports.tasks.mark_loyal", "schedule": 60.0, "options": {"expires": 60}},
    "sweep": {"task": "tracking.tasks.sweep", "schedule": 60.0, "options": {"expires": 60}},
    "erase": {"task": "privacy.tasks.erase", "schedule": 5.0, "options": {"expires": 5}},
    "expire": {"task": "privacy.tasks.expire", "schedule": 600.0, "options": {"expires": 600}},
    "remove": {"task": "privacy.tasks.remove", "schedule": 5.0, "options": {"expires": 5}},
    "forget": {"task": "tracking.tasks.forget", "schedule": 60.0, "options": {"expires": 60}},
    "plans": {"task": "tracking.tasks.keep_plans", "schedule": 10.0, "options": {"expires": 10}},
    "support": {
        "task": "tracking.tasks.end_support",
        "schedule": 60.0,
        "options": {"expires": 60},
    },
    "usage mails": {
        "task": "tracking.tasks.send_usage_mails",
        "schedule": 60.0,
        "options": {"expires": 60},
    },
}


@celeryd_init.connect
def open_no_pool(**_: object) -> None:
    """Before the first question to Postgres: Celery closes the sockets of connections that it finds
    when a worker starts, also those that a pool would hand out later. A tick that gets one waits
    for an answer on what another connection has opened since, for ever."""
    web = settings.DATABASES["default"]
    web["OPTIONS"].pop("pool", None)
    web["CONN_MAX_AGE"] = settings.DATABASES["worker"]["CONN_MAX_AGE"]


@task_prerun.connect
def drop_broken_connections(**_: object) -> None:
    """A tick may not inherit a connection that Postgres has ended: with CELERY_DB_REUSE_MAX,
    Celery keeps it, and every tick after a restart of Postgres would fail on it."""
    close_old_connections()


# What the administration shows of the ticks (tracking/ticks.py). Django is there when one runs.


@task_prerun.connect
def tick_began(task: Any = None, **_: object) -> None:
    from tracking import ticks

    every = {entry["task"]: entry["schedule"] for entry in app.conf.beat_schedule.values()}
    if task is not None and task.name in every:
        ticks.began(task.name, every[task.name], time.time())


@task_failure.connect
def tick_failed(sender: Any = None, exception: object = None, **_: object) -> None:
    from tracking import ticks

    if sender is not None:
        ticks.failed(sender.name, f"{type(exception).__name__}: {exception}", time.time())


@task_postrun.connect
def tick_ended(task: Any = None, **_: object) -> None:
    from tracking import ticks

    if task is not None:
        ticks.ended(task.name, time.time())
