"""Who is meant: the visitor or the person that an export or an erasure is about.

Enters: what somebody asked with (a visitor's id as sent, its virtual id, a user's id). Leaves: a
Subject, and the visitors behind it. Used with the web's connection, inside the tenant that THE
DOOR opened, and with the worker's.

A person is everybody known by her user id. A visitor who was known by other user ids too, on a
shared device, is not hers alone: of such a one only the events that name her are meant.
"""

from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from psycopg import sql

from properties.models import Property
from tracking import fields
from tracking.models import Erasure
from tracking.refusals import Refusal
from tracking.tombstones import digest_of
from tracking.visitors import bot_identity


class NoSuchSubject(ValueError):
    """Nobody is named, or nobody by that virtual id."""

    def __init__(self, message: str, field: str = "") -> None:
        super().__init__(message)
        self.field = field


class Subject(NamedTuple):
    kind: str  # of Erasure.Kind
    target: str  # UUID as text, or the user's id as it is kept

    def digest(self, place: Property) -> str:
        return digest_of(place.first_key, self.kind, self.target).hex()

    def name(self, place: Property) -> str:
        """For lists and the audit log: tells subjects apart, and names none."""
        return f"{Erasure.Kind(self.kind).label} {self.digest(place)[:12]}"


class Known(NamedTuple):
    """A visitor that Postgres knows. `is_whole`: all of it is meant."""

    number: int
    uuid: UUID
    first: datetime
    last: datetime
    is_whole: bool = True


def subject_of(
    cursor: Any, place: Property, *, visitor: str = "", number: int | None = None, user: str = ""
) -> Subject:
    """Exactly one of the three. Raises NoSuchSubject."""
    asked = [visitor != "", number is not None, user != ""]
    if sum(asked) != 1:
        raise NoSuchSubject("Name one of them: a visitor, a virtual visitor id or a user.")
    try:
        if visitor:
            found = fields.identifier({"visitor": visitor}, "visitor", place.first_key)
            return Subject(Erasure.Kind.VISITOR.value, found or "")
        if user:
            kept, _ = fields.user({"user": user})
            if not kept:
                raise NoSuchSubject(f"{user[:40]!r} stands for nobody.", "user")
            return Subject(Erasure.Kind.USER.value, kept)
    except Refusal as refusal:
        raise NoSuchSubject(refusal.message, refusal.field) from refusal
    cursor.execute(
        "SELECT visitor FROM visitors WHERE property_id = %s AND number = %s",
        [place.pk, min(max(number or 0, 0), 2**31 - 1)],
    )
    row = cursor.fetchone()
    if row is None:
        raise NoSuchSubject("No visitor has this virtual id.", "number")
    return Subject(Erasure.Kind.VISITOR.value, str(row[0]))


# -- the visitors behind a subject -----------------------------------------------------------------

BY_UUID = """
SELECT number, visitor, first_seen, last_seen FROM visitors
WHERE property_id = %s AND visitor = ANY(%s)
"""

BY_NUMBER = """
SELECT number, visitor, first_seen, last_seen FROM visitors
WHERE property_id = %s AND number = ANY(%s) ORDER BY number
"""

OF_USER = """SELECT DISTINCT visitor FROM events WHERE property_id = %s AND "user" = %s"""

# An hour at a time, so that the index by hour serves it, in the one partition where the hour lies.
EVENTS_OF_VISITOR = sql.SQL("""
SELECT e.* FROM generate_series(
    date_bin('1 hour', %(first)s::timestamptz, 'epoch'), %(last)s::timestamptz, '1 hour'
) AS hour CROSS JOIN LATERAL (
    SELECT * FROM events
    WHERE property_id = %(property)s AND visitor = %(number)s
        AND date_bin('1 hour', time, 'epoch') = hour
        AND time >= hour AND time < hour + interval '1 hour'
    OFFSET 0
) AS e
""")

KNOWN_BY_ANOTHER = sql.SQL("""
SELECT EXISTS (SELECT FROM ({}) AS found WHERE "user" <> '' AND "user" <> %(user)s)
""").format(EVENTS_OF_VISITOR)


def visitors_of(cursor: Any, place: Property, subject: Subject) -> list[Known]:
    """Everybody who is meant, as Postgres knows them; nobody after an erasure."""
    if subject.kind == Erasure.Kind.VISITOR:
        uuid = UUID(subject.target)
        cursor.execute(BY_UUID, [place.pk, [uuid, bot_identity(uuid)]])
        return [Known(*row) for row in cursor.fetchall()]
    cursor.execute(OF_USER, [place.pk, subject.target])
    numbers = [number for (number,) in cursor.fetchall()]
    cursor.execute(BY_NUMBER, [place.pk, numbers])
    found = [Known(*row) for row in cursor.fetchall()]
    return [
        known._replace(is_whole=not _is_shared(cursor, place, known, subject.target))
        for known in found
    ]


def _is_shared(cursor: Any, place: Property, known: Known, user: str) -> bool:
    """Known by another user id too; bots are never a person's alone."""
    if known.number < 0:
        return True
    cursor.execute(KNOWN_BY_ANOTHER, window_of(place, known) | {"user": user})
    return cursor.fetchone()[0]


def window_of(place: Property, known: Known) -> dict[str, Any]:
    """What EVENTS_OF_VISITOR is asked with."""
    return {
        "property": place.pk,
        "number": known.number,
        "first": known.first,
        "last": known.last,
    }
