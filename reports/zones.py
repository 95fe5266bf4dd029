"""A property that changes its zone: its hours and days begin elsewhere, and are counted anew.

Noticed by the worker, which compares the zone of every property with the one it last counted in;
a settings page never waits for that. Called by the roll-up's tick.
"""

from datetime import datetime

from properties.models import Property
from reports.rebuilding import mark_zone_change
from tracking.working import WORKER, transaction_of_worker

CHANGED = """
SELECT p.id FROM properties_property AS p
LEFT JOIN rolled_zones AS z ON z.property_id = p.id
WHERE z.timezone IS DISTINCT FROM p.timezone ORDER BY p.id
"""

COUNTED_IN = "SELECT timezone FROM rolled_zones WHERE property_id = %(property)s"

REMEMBER = """
INSERT INTO rolled_zones (property_id, account_id, timezone)
VALUES (%(property)s, %(account)s, %(zone)s)
ON CONFLICT (property_id) DO UPDATE SET timezone = excluded.timezone
"""


def follow_zones(now: datetime) -> int:
    """Mark what a changed zone makes out of date; returns how many properties have changed.

    Marked first and remembered after: killed in between, it is marked once more.
    """
    with transaction_of_worker() as cursor:
        cursor.execute(CHANGED)
        ids = [row[0] for row in cursor.fetchall()]
    changed = 0
    for place in Property.objects.across_accounts().using(WORKER).filter(pk__in=ids):
        named = {"property": place.pk, "account": place.account_id, "zone": place.timezone}
        with transaction_of_worker() as cursor:
            cursor.execute(COUNTED_IN, named)
            known = cursor.fetchone() is not None
        if known:
            mark_zone_change(place, now)
            changed += 1
        with transaction_of_worker() as cursor:
            cursor.execute(REMEMBER, named)
    return changed
