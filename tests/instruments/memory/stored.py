"""What a day of events becomes in Postgres: bytes of each table, through the real drain and rollup.

In: a number of events of the last 24 hours. Out: bytes by table, indexes included. The day is
smaller than the other parts' because nothing has to be extrapolated but rows: what grows with the
events is printed per event; what grows with hours and values (rollups, bitmaps), per day.
"""

from collections import Counter
from collections.abc import Callable
from uuid import UUID

from django.db import connections
from django.utils import timezone

from reports.rollups import roll_up_all
from tests.instruments.memory.traffic import A_SESSION, DAY, HOUR, Crowd, event_of
from tracking import store
from tracking.drain import drain_all
from tracking.items import item_of

SIZES = """
    SELECT coalesce(parent.relname, one.relname), sum(pg_total_relation_size(one.oid))
    FROM pg_class one
    LEFT JOIN pg_inherits ON inhrelid = one.oid
    LEFT JOIN pg_class parent ON parent.oid = inhparent
    WHERE one.relkind = 'r' AND one.relnamespace = 'public'::regnamespace
    GROUP BY 1
"""
LEAST = 100_000  # bytes; smaller tables hold no events


def sizes() -> dict[str, int]:
    with connections["owner"].cursor() as cursor:
        cursor.execute(SIZES)
        return {name: int(size) for name, size in cursor.fetchall()}


def store_a_day(
    crowd: Crowd, events: int, say: Callable[[str], None]
) -> tuple[int, dict[str, int]]:
    """Send about so many events of the 24 hours until now, drain, roll up. How many they were (a
    session that midnight cuts has fewer than five), and what the tables grew by."""
    before, sent = sizes(), 0
    end = int(timezone.now().timestamp() * 1000) // HOUR * HOUR
    active = crowd.newcomers(events // A_SESSION)
    for now, visitors, items in crowd.minutes(end - DAY, active):
        real = [
            item_of(
                event_of(
                    now - 30_000,
                    event_id=UUID(bytes=item[5]),
                    visitor_uuid=UUID(bytes=crowd.uuids[who]),
                    name=item[2][3] if item[2] else "",
                    page=item[3][2] if item[3] else "",
                    source=f"source-{who % 40}",
                    campaign=f"campaign-{who % 40}",
                ),
                crowd.record,
                now,
            )
            for who, item in zip(visitors, items, strict=True)
        ]
        store.accept(crowd.record, Counter(), real, now)
        sent += len(real)
    say("Draining ...")
    drained = drain_all()
    if drained.stored != sent:
        raise SystemExit(f"{drained.stored} of {sent} events arrived in Postgres.")
    say("Rolling up ...")
    roll_up_all(timezone.now())
    grown = {name: size - before.get(name, 0) for name, size in sizes().items()}
    return sent, {name: size for name, size in grown.items() if size >= LEAST}
