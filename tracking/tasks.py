"""Ticks of the write side. Each calls one function; lost, doubled or late ones do no harm.

Events never travel in a message: a tick only says that it is time to look into the streams.
"""

from celery import shared_task
from django.utils import timezone

from tracking import drain as draining
from tracking import forgetting, sweeping


@shared_task
def drain() -> None:
    draining.drain_due()


@shared_task
def sweep() -> None:
    sweeping.sweep(timezone.now())


@shared_task
def forget() -> None:
    forgetting.forget_step(timezone.now())
