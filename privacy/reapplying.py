"""Tombstones survive a restore: who was erased is erased again from whatever a copy brings back.

Enters: tombstones, from a file that is kept beside the copies or from the database. Leaves: no
visitor and no person that fits one. Called by `manage.py reapply_erasures`.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

import orjson
from django.utils import timezone

from privacy import erasing
from privacy.subjects import Subject
from properties.models import Property
from tracking.models import Erasure
from tracking.tombstones import digest_of
from tracking.working import WORKER, transaction_of_worker

AT_ONCE = 5_000

BRING_BACK = """
INSERT INTO erasures (account_id, property_id, kind, digest, target, traces, state, counts,
    requested_by, created)
VALUES (%s, %s, %s, %s, '', '{}', 'd', '{}', 'reapply_erasures', %s)
ON CONFLICT (property_id, kind, digest) DO NOTHING
"""


def saved() -> Iterator[str]:
    """Every tombstone as a line of JSON, under the property's first key: ids are not in it."""
    names = dict(_places().values_list("pk", "first_key"))
    for row in Erasure.objects.using(WORKER).order_by("pk").iterator():
        if row.property_id in names:
            line = {"property": names[row.property_id], "kind": row.kind, "digest": row.digest}
            yield orjson.dumps(line).decode()


def bring_back(tombstones: Iterable[dict[str, str]]) -> int:
    """Put up those that the restored database lacks; how many. Raises KeyError, ValueError."""
    places = {place.first_key: place for place in _places()}
    brought = 0
    with transaction_of_worker() as cursor:
        for stone in tombstones:
            place = places.get(stone["property"])
            if place is None:
                continue
            kind, digest = Erasure.Kind(stone["kind"]), bytes.fromhex(stone["digest"]).hex()
            values = [place.account_id, place.pk, kind.value, digest, timezone.now()]
            cursor.execute(BRING_BACK, values)
            brought += cursor.rowcount
    return brought


def reapply(now: datetime) -> int:
    """Erase whoever fits a tombstone, in every property that has one; how many."""
    stones: dict[int, set[bytes]] = defaultdict(set)
    rows = Erasure.objects.using(WORKER).values_list("property_id", "digest")
    for property_id, digest in rows.iterator():
        stones[property_id].add(bytes.fromhex(digest))
    found = 0
    for place in _places().filter(pk__in=stones).select_related("account"):
        for subject in list(_who_fits(place, stones[place.pk])):
            erasing.carry_out(erasing.ask(place, subject, "reapply_erasures", now), now)
            found += 1
    return found


SUBJECTS = {
    Erasure.Kind.VISITOR: "SELECT visitor::text FROM visitors WHERE property_id = %s",
    Erasure.Kind.USER: """SELECT DISTINCT "user" FROM events
        WHERE property_id = %s AND "user" <> ''""",
}


def _who_fits(place: Property, digests: set[bytes]) -> Iterator[Subject]:
    for kind, statement in SUBJECTS.items():
        with transaction_of_worker() as cursor:
            cursor.execute(statement, [place.pk])
            while rows := cursor.fetchmany(AT_ONCE):
                for (target,) in rows:
                    if digest_of(place.first_key, kind.value, target) in digests:
                        yield Subject(kind.value, target)


def _places() -> Any:
    return Property.objects.across_accounts().using(WORKER)
