"""The visitors of a batch: whom Postgres knows, and under which numbers.

Enters: new events in the temporary table `arrivals`. Leaves: rows of `visitors`, and the right
number in each of the arrivals. Called by batch.py.
"""

from datetime import datetime
from hashlib import md5
from typing import Any, NamedTuple
from uuid import UUID


def bot_identity(visitor: UUID) -> UUID:
    """Under which id `visitors` keeps the bot side of a visitor.

    A browser that prefetches pages is both: a person with a number for bitmaps, and a bot with a
    negative one. Which of them is seen first must not matter.
    """
    return UUID(md5(f"bot {visitor}".encode(), usedforsecurity=False).hexdigest())


class Renumbered(NamedTuple):
    """An arrival whose visitor has another number than Valkey said."""

    n: int
    property_id: int
    visitor: int
    second: int  # epoch seconds of the event's time


# `who` is the id in `visitors` (bot_identity() in SQL). `low` to `high` are the numbers that Valkey
# gave out, `visitor` is the one that counts. `was_first` is set when she was here before what
# Postgres knew as her first event, `was_last` is when it knew her last. `spot` is where Postgres
# keeps the visitor (nobody else writes a property's visitors while the drain's lock is held).
MAKE_PEOPLE = """
CREATE TEMP TABLE IF NOT EXISTS people (
    account_id bigint NOT NULL,
    property_id bigint NOT NULL,
    visitor_uuid uuid NOT NULL,
    bot boolean NOT NULL,
    who uuid NOT NULL,
    low integer NOT NULL,
    high integer NOT NULL,
    n integer NOT NULL,
    first timestamptz NOT NULL,
    last timestamptz NOT NULL,
    visitor integer,
    spot tid,
    is_outdated boolean,
    was_first timestamptz,
    was_last timestamptz
) ON COMMIT DELETE ROWS
"""

# Whom Postgres does not know yet has the number that Valkey gave out, unless another has it.
FIND_PEOPLE = """
INSERT INTO people
SELECT s.*, coalesce(v.number, CASE WHEN NOT bot THEN low END), v.spot,
    s.first < v.first_seen OR s.last > v.last_seen,
    CASE WHEN s.first < v.first_seen AND NOT bot THEN v.first_seen END,
    CASE WHEN NOT bot THEN v.last_seen END
FROM (
    SELECT account_id, property_id, visitor_uuid, bot,
        CASE WHEN bot THEN md5('bot ' || visitor_uuid::text)::uuid ELSE visitor_uuid END AS who,
        min(number) AS low, max(number) AS high, min(n) AS n, min(time) AS first, max(time) AS last
    FROM arrivals GROUP BY visitor_uuid, property_id, account_id, bot
) AS s LEFT JOIN LATERAL (
    SELECT number, first_seen, last_seen, ctid AS spot FROM visitors
    WHERE property_id = s.property_id AND visitor = s.who OFFSET 0
) AS v ON true
"""

# People and bots whom Postgres does not know, and whether a number differs from Valkey's.
SURVEY = """
SELECT count(*) FILTER (WHERE spot IS NULL AND NOT bot),
    count(*) FILTER (WHERE spot IS NULL AND bot),
    bool_or(low <> visitor OR high <> visitor OR visitor IS NULL)
FROM people
"""

# Sessions that were the first of their visitor and are no longer.
NO_LONGER_FIRST = """
SELECT p.property_id, s.started_at, s.ended_at
FROM people AS p CROSS JOIN LATERAL (
    SELECT started_at, ended_at FROM sessions
    WHERE property_id = p.property_id AND visitor = p.visitor AND started_at = p.was_first
    OFFSET 0
) AS s
WHERE p.was_first IS NOT NULL
"""

KNOWN_VISITORS = """
UPDATE visitors AS v
SET first_seen = least(v.first_seen, p.first), last_seen = greatest(v.last_seen, p.last)
FROM people AS p WHERE p.is_outdated AND v.ctid = p.spot
"""

NEW_VISITORS = """
INSERT INTO visitors (account_id, property_id, visitor, number, first_seen, last_seen)
SELECT account_id, property_id, who, low, first, last
FROM people WHERE spot IS NULL AND NOT bot ORDER BY property_id, low, n
ON CONFLICT DO NOTHING
"""

# Bots count down. A person whose number is taken (Valkey lost its map) gets one above all others.
OTHER_VISITORS = """
WITH given AS (
    SELECT p.property_id,
        (SELECT least(0, min(number)) FROM visitors WHERE property_id = p.property_id) AS low,
        (SELECT greatest(0, max(number)) FROM visitors WHERE property_id = p.property_id) AS high
    FROM people AS p WHERE p.spot IS NULL GROUP BY p.property_id
)
INSERT INTO visitors (account_id, property_id, visitor, number, first_seen, last_seen)
SELECT account_id, property_id, who,
    CASE WHEN bot THEN given.low - row_number() OVER apart
        ELSE given.high + row_number() OVER apart
    END,
    first, last
FROM people AS p JOIN given USING (property_id)
WHERE p.spot IS NULL AND NOT EXISTS (
    SELECT FROM visitors AS v WHERE v.property_id = p.property_id AND v.visitor = p.who
)
WINDOW apart AS (PARTITION BY property_id, bot ORDER BY n)
"""

FIND_OTHER_VISITORS = """
UPDATE people AS p SET visitor = v.number FROM visitors AS v
WHERE p.spot IS NULL AND v.property_id = p.property_id AND v.visitor = p.who
"""

RENUMBER = """
UPDATE arrivals AS a SET number = p.visitor FROM people AS p
WHERE a.visitor_uuid = p.visitor_uuid AND a.property_id = p.property_id AND a.bot = p.bot
    AND a.number <> p.visitor
RETURNING a.n, a.property_id, p.visitor, floor(extract(epoch FROM a.time))::bigint
"""


def no_longer_first(cursor: Any) -> list[tuple[int, datetime, datetime]]:
    """Of the batch that was just kept: property, start and end (inclusive) of sessions that others
    now precede. Call it before sessions follow."""
    cursor.execute(NO_LONGER_FIRST)
    return cursor.fetchall()


def keep(cursor: Any) -> list[Renumbered]:
    """Write who is new and who came again; returns what Valkey has under another number.

    Bots have no number in Valkey: all their arrivals are among those.
    """
    cursor.execute(MAKE_PEOPLE)
    cursor.execute("DELETE FROM people")
    cursor.execute(FIND_PEOPLE)
    cursor.execute(SURVEY)
    new_people, new_bots, is_different = cursor.fetchone()
    cursor.execute(KNOWN_VISITORS)
    if new_people:
        cursor.execute(NEW_VISITORS)
        new_people -= cursor.rowcount
    if new_people or new_bots:
        cursor.execute(OTHER_VISITORS)
        cursor.execute(FIND_OTHER_VISITORS)
        is_different = True
    if not is_different:
        return []
    cursor.execute(RENUMBER)
    return [Renumbered(*found) for found in cursor.fetchall()]
