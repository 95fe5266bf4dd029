"""Who was erased does not come back: digests of erased ids, and who asks for them.

Enters: an id of a visitor or a person. Leaves: its digest, the digests of a property for the
collector's record (directory.py), and an erasure that waits again where the drain met an erased
id after all: in an entry that Valkey had from before, because it was restored from a copy.

A digest and not the id, so that nothing is left to be found; keyed with the property's first key,
so that one id has another digest elsewhere. An id that can be guessed (a customer's number) can be
tried against it: docs/privacy.md calls it pseudonymous.
"""

from collections.abc import Iterable
from hashlib import blake2b
from typing import Any

from accounts.tenancy import tenant
from properties.models import Property
from tracking.arrivals import Arrival
from tracking.event import read_row
from tracking.models import Erasure

MOST = 1_000  # properties whose digests a process remembers


def digest_of(first_key: str, kind: str, target: str) -> bytes:
    """16 bytes for a visitor (UUID as text) or a user (id as kept) of the property."""
    named = f"{kind}\n{target}".encode()
    return blake2b(named, digest_size=16, key=first_key.encode()).digest()


def digests(place: Property) -> frozenset[bytes]:
    """Everybody who is not counted again in the property."""
    with tenant(place.account_id):
        found = Erasure.objects.filter(property_id=place.pk).values_list("digest", flat=True)
        return frozenset(map(bytes.fromhex, found))


_of_version: dict[int, tuple[int, frozenset[bytes]]] = {}  # by the property's id


def remembered(place: Property) -> frozenset[bytes]:
    """`digests`, asked for once in a process for each version: an erasure makes a new one."""
    version, found = _of_version.get(place.pk, (0, frozenset()))
    if version != place.version:
        if len(_of_version) >= MOST:
            _of_version.clear()
        found = digests(place)
        _of_version[place.pk] = place.version, found
    return found


DONE = """
SELECT property_id, digest FROM erasures WHERE property_id = ANY(%s) AND state = 'd'
"""

REOPEN = """
UPDATE erasures SET state = 'w', target = %s
WHERE property_id = %s AND kind = %s AND digest = %s AND state = 'd'
"""


def reopen(cursor: Any, arrivals: Iterable[Arrival]) -> None:
    """Let the erasures of these arrivals' visitors and users wait again, if there are any."""
    places = {arrival.place.pk for arrival in arrivals}
    cursor.execute(DONE, [sorted(places)])
    done: dict[int, set[str]] = {}
    for property_id, digest in cursor.fetchall():
        done.setdefault(property_id, set()).add(digest)
    if not done:
        return
    for arrival in arrivals:
        known = done.get(arrival.place.pk, set())
        for kind, target in _ids_of(arrival.row) if known else ():
            digest = digest_of(arrival.place.first_key, kind, target).hex()
            if digest in known:
                cursor.execute(REOPEN, [target, arrival.place.pk, kind, digest])


def _ids_of(line: bytes) -> list[tuple[str, str]]:
    """(kind, id) of who is named in a row, which may be one that Postgres refuses."""
    try:
        row = read_row(line)
    except ValueError:
        return []
    named = (("visitor", row["visitor_uuid"]), ("user", row["user"]))
    return [(kind, target) for kind, target in named if target]
