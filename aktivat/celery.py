"""Celery: ticks only. A task calls one function and may be lost, doubled or late without harm;
events never travel in a message (the Redis transport can lose one)."""

import os

from celery import Celery
from django.conf import settings

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
    "sweep": {"task": "tracking.tasks.sweep", "schedule": 60.0, "options": {"expires": 60}},
}
