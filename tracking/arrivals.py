"""Stream entries as the drain handles them: what a batch looks at, and what it only passes on.

Enters: arrivals (the row as the collector built it, with the visitor's number). Leaves: the
temporary table `arrivals` with the few columns that decide something, and lines of COPY that put
the rows into `events` as they are. Called by batch.py.

Nothing reads a row but COPY: half of a row's price would be to form it twice.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import date
from typing import Any, NamedTuple

from psycopg import sql

from properties.models import Property
from tracking.event import COLUMNS
from tracking.sessions import gap_of


class Arrival(NamedTuple):
    """A stream entry: whose, its id, the visitor's number (0: a bot's) and the row, as sent."""

    place: Property
    entry: bytes
    number: bytes
    row: bytes


# `n` is the arrival's place in the batch; `number` the visitor's, as Valkey gave it out until
# visitors.py knows better.
MAKE_ARRIVALS = """
CREATE TEMP TABLE IF NOT EXISTS arrivals (
    n integer NOT NULL,
    account_id bigint NOT NULL,
    property_id bigint NOT NULL,
    gap interval NOT NULL,
    number integer NOT NULL,
    event_id uuid NOT NULL,
    time timestamptz NOT NULL CHECK (isfinite(time)),
    received_at timestamptz NOT NULL CHECK (isfinite(received_at)),
    fingerprint integer NOT NULL,
    visitor_uuid uuid NOT NULL,
    name text NOT NULL,
    bot boolean NOT NULL,
    page text NOT NULL,
    engaged_ms integer,
    CHECK (bot OR number > 0)
) ON COMMIT DELETE ROWS
"""

COPY_ARRIVALS = """
COPY arrivals (
    n, account_id, property_id, gap, number, event_id, time, received_at, fingerprint,
    visitor_uuid, name, bot, page, engaged_ms
) FROM STDIN
"""

# Of the row, COPY takes what stands behind these as it is.
HEAD = ("event_id", "time", "received_at", "fingerprint", "visitor_uuid")
assert COLUMNS[: len(HEAD)] == HEAD
REST = COLUMNS[len(HEAD) :]
assert REST[:5] == ("name", "bot", "sanitized", "hostname", "page")
BEHIND_ENGAGED = len(COLUMNS) - 1 - COLUMNS.index("engaged_ms")

# Into a month's partition: COPY refuses the table itself (migration 0003 says why).
COPY_EVENTS = sql.SQL(
    "COPY {} (account_id, property_id, visitor, event_id, time, received_at, {}) FROM STDIN"
)
EVENT_COLUMNS = sql.SQL(", ").join(map(sql.Identifier, REST))

MONTHS = "SELECT n, date_trunc('month', time, 'UTC')::date FROM arrivals"


def copy_arrivals(
    cursor: Any, arrivals: Sequence[Arrival], wanted: Collection[bytes] = ()
) -> list[int]:
    """Fill the temporary table; returns which of them are called by a wanted name."""
    cursor.execute(MAKE_ARRIVALS)
    cursor.execute("DELETE FROM arrivals")  # the other half of a batch with a bad row
    heads = {arrival.place.pk: _head_of(arrival.place) for arrival in arrivals}
    lines, found = [], []
    for n, (place, _, number, row) in enumerate(arrivals):
        event_id, time, received_at, fingerprint, visitor, rest = row.split(b"\t", len(HEAD))
        name, bot, _, _, page, _ = rest.split(b"\t", 5)
        if name in wanted:
            found.append(n)
        engaged_ms = row.rsplit(b"\t", BEHIND_ENGAGED + 1)[1]
        lines.append(
            b"%d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n"
            % (
                n,
                heads[place.pk],
                number,
                event_id,
                time,
                received_at,
                fingerprint,
                visitor,
                name,
                bot,
                page,
                engaged_ms,
            )
        )
    with cursor.copy(COPY_ARRIVALS) as copy:
        copy.write(b"".join(lines))
    return found


def _head_of(place: Property) -> bytes:
    return b"%d\t%d\t%d" % (place.account_id, place.pk, gap_of(place).total_seconds())


def copy_events(
    cursor: Any,
    arrivals: Sequence[Arrival],
    partitions: Mapping[date, str],
    stale: Collection[int],
    renumbered: Mapping[int, int],
) -> None:
    """Store the rows, all but the stale, each under its visitor's number or another by `n`."""
    months: dict[int, date] = {}
    if len(partitions) > 1:
        cursor.execute(MONTHS)
        months.update(cursor.fetchall())
    only = next(iter(partitions))
    lines: dict[date, list[bytes]] = {month: [] for month in partitions}
    for n, (place, _, number, row) in enumerate(arrivals):
        if n in stale:
            continue
        event_id, time, received_at, _, _, rest = row.split(b"\t", len(HEAD))
        lines[months.get(n, only)].append(
            b"%d\t%d\t%s\t%s\t%s\t%s\t%s\n"
            % (
                place.account_id,
                place.pk,
                b"%d" % renumbered[n] if n in renumbered else number,
                event_id,
                time,
                received_at,
                rest,
            )
        )
    for month, name in partitions.items():
        statement = COPY_EVENTS.format(sql.Identifier(name), EVENT_COLUMNS)
        with cursor.copy(statement) as copy:
            copy.write(b"".join(lines[month]))
