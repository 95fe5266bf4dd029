"""Visitors who were not seen for 13 months leave Valkey, which remembers them in its map.

Enters: the time. Leaves: maps without them; who comes back is a new visitor, as accept.lua would
decide anyway. Which buckets a tick looks through follows from the time alone, so that a tick that
is lost costs nothing: their turn comes again after a day and a half. Maps of cookieless visitors
end by themselves. Called by tracking/tasks.py every minute.
"""

from datetime import datetime

from properties.models import Property
from tracking import keys
from tracking.store import Script, events_client
from tracking.visitor_map import BUCKETS, KNOWN_DAYS
from tracking.working import WORKER

STEP = 32  # buckets of a property in a tick: a third of a millisecond with a million visitors

FORGET = Script("forget")


def forget_step(now: datetime) -> int:
    """Look through this minute's buckets of every property; how many visitors left."""
    minute = int(now.timestamp()) // 60
    places = Property.objects.across_accounts().using(WORKER).order_by("pk")
    arguments = [minute // 1440, KNOWN_DAYS, minute * STEP % BUCKETS, STEP]
    return sum(
        FORGET.call(events_client(), keys.prefix(place.account_id, place.pk), arguments)
        for place in places
    )
