"""Housekeeping that nobody waits for: who left is taken from the live set, months are prepared.

Enters: the time. Leaves: bounded live sets, and partitions for the events to come. Called by
tracking/tasks.py every minute; what a run does not finish is the next one's.
"""

from datetime import datetime, timedelta

from properties.models import Property
from tracking import keys
from tracking.drain import AT_ONCE, chunks
from tracking.store import events_client
from tracking.working import WORKER, transaction_of_worker

STEP = 1_000  # members of one live set in one command, so that the collector never waits long
MOST_STEPS = 100
AHEAD = timedelta(days=3)


def sweep(now: datetime) -> int:
    """Returns how many members of live sets were taken out."""
    prepare_months(now)
    places = list(Property.objects.across_accounts().using(WORKER).order_by("pk"))
    moment = round(now.timestamp() * 1000)
    swept = 0
    for chunk in chunks(places, AT_ONCE):
        prefixes = [keys.prefix(place.account_id, place.pk) for place in chunk]
        for _ in range(MOST_STEPS):
            removed = _step(prefixes, moment)
            swept += removed
            if not removed:
                break
    return swept


def prepare_months(now: datetime) -> None:
    """Make the partitions of events before their first event: making one locks the table, which
    an event in the middle of the night should not have to wait for."""
    with transaction_of_worker() as cursor:
        for moment in (now, now + AHEAD):
            cursor.execute("SELECT ensure_events_partition(%s::date)", [moment.date()])


def _step(prefixes: list[str], moment: int) -> int:
    client = events_client()
    pipe = client.pipeline(transaction=False)
    for prefix in prefixes:
        pipe.zrangebyscore(keys.online(prefix), "-inf", moment, start=0, num=STEP)
    expired = {
        prefix: members for prefix, members in zip(prefixes, pipe.execute(), strict=True) if members
    }
    if not expired:
        return 0
    pipe = client.pipeline(transaction=False)
    for prefix, members in expired.items():
        # A ping may have renewed one since: it comes back whole with the next.
        pipe.zrem(keys.online(prefix), *members)
        pipe.hdel(keys.online_tabs(prefix), *members)
    pipe.execute()
    return sum(map(len, expired.values()))
