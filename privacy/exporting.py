"""All that is kept of a visitor or a person, as JSON or as a table of the events.

Enters: a subject. Leaves: pieces of a file, made while they are sent: a thousand events at a time,
each read in a transaction of its own inside the tenant. What waits in the stream is read first, so
that an event which is drained meanwhile stands in the file once and is never missed.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import orjson
from django.db import connection
from psycopg import sql

from accounts.tenancy import tenant
from privacy import payloads
from privacy.subjects import EVENTS_OF_VISITOR, Known, Subject, visitors_of, window_of
from properties.models import Property
from properties.streaming import Streamed, csv_lines
from tracking.drain import READ, stream_of
from tracking.event import COLUMNS, read_row
from tracking.models import Erasure
from tracking.store import events_client

JSONB = 3802  # Postgres' number of the type; Django hands it out as text
AT_ONCE = 1_000  # rows
KINDS = {"json": "application/json", "csv": "text/csv; charset=utf-8"}
# Of a row in the stream; what only tells a retry apart is nobody's.
FIELDS = tuple(name for name in COLUMNS if name not in ("fingerprint", "visitor_uuid"))
HEAD = ("virtual_id", "visitor", *FIELDS)

Row = dict[str, Any]


def response(place: Property, subject: Subject, kind: str, now: datetime) -> Streamed:
    """The file, under a name that names nobody."""
    pieces = as_csv(place, subject) if kind == "csv" else as_json(place, subject, now)
    name = f"{subject.name(place).replace(' ', '-')}.{kind}"
    return Streamed(
        pieces,
        content_type=KINDS[kind],
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


def as_json(place: Property, subject: Subject, now: datetime) -> Iterator[bytes]:
    """One JSON object, a list for each kind of row."""
    waiting = _in_flight(place, subject)
    with tenant(place.account_id), connection.cursor() as cursor:
        visitors = visitors_of(cursor, place, subject)
        person = _person(place, subject)
        kept = {table: _payloads(cursor, table, place, subject) for table in payloads.CANDIDATES}
    head = {
        "property": place.key,
        subject.kind: subject.target,
        "exported_at": now.isoformat(),
        "visitors": [_shown(known) for known in visitors],
        "person": person,
        **kept,
    }
    yield orjson.dumps(head, default=str)[:-1]
    yield from _list("sessions", _sessions(place, visitors))
    yield from _list("events", _events(place, subject, visitors, waiting))
    yield from _list("in_flight", waiting.values())
    yield b"}\n"


def _list(name: str, rows: Any) -> Iterator[bytes]:
    yield f',\n"{name}": ['.encode()
    for number, row in enumerate(rows):
        yield (b",\n" if number else b"\n") + orjson.dumps(row, default=str)
    yield b"]"


def as_csv(place: Property, subject: Subject) -> Iterator[bytes]:
    """A line for each event, also for those that still wait in the stream."""
    waiting = _in_flight(place, subject)
    with tenant(place.account_id), connection.cursor() as cursor:
        visitors = visitors_of(cursor, place, subject)
    yield csv_lines([HEAD]).encode()
    for row in _events(place, subject, visitors, waiting):
        yield csv_lines([[_cell(row[name]) for name in HEAD]]).encode()
    for row in waiting.values():
        yield csv_lines([[_cell(row[name]) for name in HEAD]]).encode()


def _cell(value: Any) -> Any:
    if isinstance(value, dict | list):
        return orjson.dumps(value).decode()
    return value.isoformat() if isinstance(value, datetime) else value


# -- Postgres --------------------------------------------------------------------------------------

EVENTS = sql.SQL("""
SELECT {columns} FROM ({every}) AS every
WHERE (time, event_id) > (%(at)s, %(id)s::uuid) AND (%(user)s::text IS NULL OR "user" = %(user)s)
ORDER BY time, event_id LIMIT %(most)s
""").format(
    columns=sql.SQL(", ").join(map(sql.Identifier, FIELDS)),
    every=EVENTS_OF_VISITOR,
)

SESSIONS = "SELECT * FROM sessions WHERE property_id = %s AND visitor = %s ORDER BY started_at"


def _shown(known: Known) -> Row:
    return {
        "virtual_id": known.number,
        "visitor": str(known.uuid),
        "first_seen": known.first.isoformat(),
        "last_seen": known.last.isoformat(),
        "shared_with_other_users": not known.is_whole,
    }


def _events(
    place: Property, subject: Subject, visitors: list[Known], waiting: dict[str, Row]
) -> Iterator[Row]:
    """Every raw event; takes out of `waiting` what was drained in the meantime."""
    for known in visitors:
        user = subject.target if subject.kind == Erasure.Kind.USER and not known.is_whole else None
        after: dict[str, Any] = {"at": known.first, "id": "00000000-0000-0000-0000-000000000000"}
        rows: list[Row] = [{}]
        while rows:
            window = window_of(place, known) | {"first": after["at"]}
            rows = _read(place, EVENTS, window | after | {"user": user, "most": AT_ONCE})
            for row in rows:
                waiting.pop(str(row["event_id"]), None)
                yield {"virtual_id": known.number, "visitor": str(known.uuid), **row}
            if rows:
                after = {"at": rows[-1]["time"], "id": rows[-1]["event_id"]}


def _sessions(place: Property, visitors: list[Known]) -> Iterator[Row]:
    """Those of visitors who are hers alone."""
    for known in visitors:
        if known.is_whole:
            for row in _read(place, SESSIONS, [place.pk, known.number]):
                yield {
                    ("virtual_id" if name == "visitor" else name): value
                    for name, value in row.items()
                    if name not in ("account_id", "property_id")
                }


def _read(place: Property, statement: Any, values: Any) -> list[Row]:
    with tenant(place.account_id), connection.cursor() as cursor:
        cursor.execute(statement, values)
        columns = [(column.name, column.type_code == JSONB) for column in cursor.description or ()]
        return [
            {
                name: orjson.loads(value) if is_json and value is not None else value
                for (name, is_json), value in zip(columns, row, strict=True)
            }
            for row in cursor.fetchall()
        ]


PERSON = """
SELECT signed_up, traits, told, first_seen, last_seen FROM persons
WHERE property_id = %s AND "user" = %s
"""


def _person(place: Property, subject: Subject) -> Row | None:
    """What the property's owner, or her own events, told of a person; None of a visitor."""
    if subject.kind != Erasure.Kind.USER:
        return None
    return next(iter(_read(place, PERSON, [place.pk, subject.target])), None)


def _payloads(cursor: Any, table: str, place: Property, subject: Subject) -> list[Row]:
    """As they came; the bytes that are no text are shown as such."""
    return [
        {"received_at": received_at.isoformat(), "payload": payload.decode(errors="replace")}
        for _, received_at, payload in payloads.find(cursor, table, place, subject)
    ]


# -- the stream ------------------------------------------------------------------------------------


def _in_flight(place: Property, subject: Subject) -> dict[str, Row]:
    """Events of the subject that are accepted and not in Postgres yet, by their ids."""
    client, start = events_client(), "-"
    column = "visitor_uuid" if subject.kind == Erasure.Kind.VISITOR else "user"
    found: dict[str, Row] = {}
    while entries := client.xrange(stream_of(place), min=start, count=READ):
        for _, said in entries:
            if b"k" in said:
                continue  # the payload of a conflict: the drain keeps it apart
            try:
                row: Row = dict(read_row(said.get(b"d", b"")))
            except ValueError:
                continue
            if row[column] == subject.target:
                known = {"virtual_id": int(said.get(b"n", 0)), "visitor": row["visitor_uuid"]}
                found[str(row["event_id"])] = known | {name: row[name] for name in FIELDS}
        start = "(" + entries[-1][0].decode()
    return found
