"""Rows that are kept as they came: in quarantine, and as conflicts.

Enters: a subject, inside the erasure's transaction. Leaves: none of its payloads, and a ledger in
which what was quarantined is erased. A payload that Postgres refused may be anything, so it is
looked for by its bytes first.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC
from typing import Any

from privacy.subjects import Subject
from properties.models import Property
from tracking.books import Books, Column, hour_of_receipt
from tracking.event import COLUMNS
from tracking.models import Erasure

_WHERE = {
    Erasure.Kind.VISITOR.value: COLUMNS.index("visitor_uuid"),
    Erasure.Kind.USER.value: COLUMNS.index("user"),
}
_ESCAPES = str.maketrans({"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r"})

CANDIDATES = {
    "quarantined": "SELECT id, received_at, payload FROM quarantined"
    " WHERE property_id = %s AND position(%s::bytea IN payload) > 0",
    "conflicts": "SELECT id, received_at, payload FROM conflicts"
    " WHERE property_id = %s AND position(%s::bytea IN payload) > 0",
}
DELETE = {
    "quarantined": "DELETE FROM quarantined WHERE id = ANY(%s)",
    "conflicts": "DELETE FROM conflicts WHERE id = ANY(%s)",
}


def find(cursor: Any, table: str, place: Property, subject: Subject) -> Iterator[tuple]:
    """(id, received_at, payload) of the subject's rows in quarantine or among the conflicts."""
    needle = subject.target.translate(_ESCAPES).encode()
    cursor.execute(CANDIDATES[table], [place.pk, needle])
    for number, received_at, payload in cursor.fetchall():
        row = bytes(payload)
        if table == "quarantined":
            row = row.split(b"\t", 2)[2]
        parts = row.split(b"\t")
        # A row of another shape cannot be read: whatever field it is in, it is meant.
        at = _WHERE[subject.kind]
        if needle in ([parts[at]] if len(parts) == len(COLUMNS) else parts):
            yield number, received_at, bytes(payload)


def erase(
    cursor: Any, books: Books, counts: Counter[str], place: Property, subject: Subject
) -> None:
    for table in CANDIDATES:
        found = list(find(cursor, table, place, subject))
        if not found:
            continue
        cursor.execute(DELETE[table], [[number for number, _, _ in found]])
        counts[table] += len(found)
        if table == "quarantined":
            move(books, place, [row[1:] for row in found], "erased")


def move(books: Books, place: Property, rows: Sequence[tuple], to: Column) -> None:
    """What was quarantined stands in another column from now on. The table's `stored` is what was
    ever taken over, so it grows with it. Payloads of conflicts stand in none."""
    for received_at, payload in rows:
        if payload.split(b"\t", 2)[1].isdigit():
            hour = hour_of_receipt(received_at.astimezone(UTC))
            books.add(place, "quarantined", hour, -1)
            books.add(place, "stored", hour)
            books.add(place, to, hour)


def delete_conflicts_of(cursor: Any, place: Property, event_ids: Sequence[Any]) -> int:
    """Payloads that were sent under the ids of erased events, whoever sent them."""
    cursor.execute(
        "DELETE FROM conflicts WHERE property_id = %s AND event_id = ANY(%s)",
        [place.pk, list(event_ids)],
    )
    return cursor.rowcount
