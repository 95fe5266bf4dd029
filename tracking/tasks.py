"""Ticks of the write side. Each calls one function; lost, doubled or late ones do no harm.

Events never travel in a message: a tick only says that it is time to look into the streams.
"""

from celery import shared_task
from django.utils import timezone

from accounts import support
from tracking import concurrency, forgetting, quota, rounds, sweeping
from tracking import drain as draining


@shared_task
def drain() -> None:
    draining.drain_due()


@shared_task
def sample() -> None:
    rounds.take_across_accounts(round(timezone.now().timestamp() * 1000))


@shared_task
def keep_samples() -> None:
    concurrency.keep_across_accounts(timezone.now())


@shared_task
def sweep() -> None:
    sweeping.sweep(timezone.now())


@shared_task
def forget() -> None:
    forgetting.forget_step(timezone.now())


@shared_task
def keep_plans() -> None:
    quota.keep(timezone.now())


@shared_task
def end_support() -> None:
    support.end_overdue(timezone.now())


@shared_task
def send_usage_mails() -> None:
    """Apart from keep_plans: a mail server that does not answer keeps nobody's plan waiting."""
    quota.send_notices(timezone.now())
