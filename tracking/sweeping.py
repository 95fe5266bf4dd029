"""Housekeeping that nobody waits for: who left is taken from the live set, months are prepared.

Enters: the time. Leaves: bounded live sets, and partitions for the events to come. Called by
tracking/tasks.py every minute; what a run does not finish is the next one's.
"""

from datetime import datetime, timedelta

from properties.models import Property
from tracking import concurrency, keys, store
from tracking.drain import AT_ONCE, chunks
from tracking.working import WORKER, transaction_of_worker

AHEAD = timedelta(days=3)


def sweep(now: datetime) -> int:
    """Returns how many members of live sets were taken out."""
    prepare_months(now)
    concurrency.forget(now)
    places = list(Property.objects.across_accounts().using(WORKER).order_by("pk"))
    moment = round(now.timestamp() * 1000)
    swept = 0
    for chunk in chunks(places, AT_ONCE):
        prefixes = [keys.prefix(place.account_id, place.pk) for place in chunk]
        swept += sum(store.sweep(prefix, moment) for prefix in _with_leavers(prefixes, moment))
    return swept


def prepare_months(now: datetime) -> None:
    """Make the partitions of events before their first event: making one locks the table, which
    an event in the middle of the night should not have to wait for."""
    with transaction_of_worker() as cursor:
        for moment in (now, now + AHEAD):
            cursor.execute("SELECT ensure_events_partition(%s::date)", [moment.date()])


def _with_leavers(prefixes: list[str], moment: int) -> list[str]:
    """Those in whose live set somebody's time is up: of many properties, few."""
    pipe = store.events_client().pipeline(transaction=False)
    for prefix in prefixes:
        pipe.zcount(keys.online(prefix), "-inf", moment)
    return [prefix for prefix, left in zip(prefixes, pipe.execute(), strict=True) if left]
