"""Ticks of privacy. Each calls one function; lost, doubled or late ones do no harm."""

from celery import shared_task
from django.utils import timezone

from privacy import deleting, erasing, expiring


@shared_task
def erase() -> None:
    erasing.erase_due(timezone.now())


@shared_task
def expire() -> None:
    expiring.expire_due(timezone.now())


@shared_task
def remove() -> None:
    deleting.remove_due(timezone.now())
