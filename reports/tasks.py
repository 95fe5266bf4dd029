"""Ticks of the read side. Each calls one function; lost, doubled or late ones do no harm."""

from celery import shared_task
from django.utils import timezone

from reports import rollups


@shared_task
def roll_up() -> None:
    rollups.tick(timezone.now())
