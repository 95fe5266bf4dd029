"""Ticks of the read side. Each calls one function; lost, doubled or late ones do no harm."""

from celery import shared_task
from django.utils import timezone

from reports import loyalty, packing, rollups, zones


@shared_task
def roll_up() -> None:
    now = timezone.now()
    zones.follow_zones(now)
    rollups.tick(now)
    packing.pack_due(now)


@shared_task
def mark_loyal() -> None:
    loyalty.mark_due_across_accounts(timezone.now())
