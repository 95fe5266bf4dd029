"""Ticks of privacy. Each calls one function; lost, doubled or late ones do no harm."""

from celery import shared_task
from django.utils import timezone

from privacy import erasing


@shared_task
def erase() -> None:
    erasing.erase_due(timezone.now())
