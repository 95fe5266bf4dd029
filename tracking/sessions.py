"""Sessions, derived from raw events by event time: any order of arrival gives the same ones.

Enters: windows of visitors' new events, in the temporary table `reach`, inside the transaction
that stored them. Leaves: rows of `sessions`, and the spans of time in which any session changed.
Called by the drain for every batch, and by rebuilding for whole days.

A new event touches the sessions within one gap of it and no other. Those that it only makes longer
are added to; all others are deleted and derived again from their events and the new ones, so an
event may extend, begin or join sessions.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from properties.models import Property
from properties.periods import Clock, Span

HOUR_MS = 3_600_000

# One row for each window of new events and, once found, each session that they touch.
MAKE_REACH = """
CREATE TEMP TABLE IF NOT EXISTS reach (
    visitor integer NOT NULL,
    first timestamptz NOT NULL,
    last timestamptz NOT NULL,
    was_session boolean NOT NULL
) ON COMMIT DELETE ROWS
"""

# The common case, and the one that must not cost more the longer a session gets (a crawler's may
# last for weeks): everything new lies behind the only session that it touches. Such a session is
# added to, and its window is done.
APPEND = """
WITH behind AS (
    SELECT r.visitor, r.first, r.last, min(s.started_at) AS started_at
    FROM reach AS r JOIN sessions AS s ON s.property_id = %(property)s AND s.visitor = r.visitor
        AND s.started_at <= r.last + %(gap)s AND s.ended_at >= r.first - %(gap)s
    GROUP BY r.visitor, r.first, r.last
    HAVING count(*) = 1 AND max(s.ended_at) < r.first
), added AS (
    SELECT b.visitor, b.started_at,
        max(e.time) AS ended_at,
        count(*) FILTER (WHERE e.name = 'pageview') AS pageviews,
        count(*) AS events,
        count(*) FILTER (WHERE e.name NOT IN ('pageview', 'engagement')) AS interactions,
        coalesce(sum(e.engaged_ms), 0) AS engaged_ms,
        (array_agg(e.page ORDER BY e.time, e.event_id) FILTER (WHERE e.page <> ''))[1] AS entry,
        (array_agg(e.page ORDER BY e.time DESC, e.event_id DESC) FILTER (WHERE e.page <> ''))[1]
            AS exit
    FROM behind AS b CROSS JOIN LATERAL (
        SELECT * FROM events
        WHERE property_id = %(property)s AND time BETWEEN %(first)s AND %(last)s
            AND visitor = b.visitor AND time BETWEEN b.first AND b.last
        OFFSET 0
    ) AS e
    GROUP BY b.visitor, b.started_at
), done AS (
    DELETE FROM reach AS r USING behind AS b
    WHERE r.visitor = b.visitor AND r.first = b.first
), longer AS (
    UPDATE sessions AS s SET
        ended_at = a.ended_at,
        pageviews = s.pageviews + a.pageviews,
        events = s.events + a.events,
        interactions = s.interactions + a.interactions,
        engaged_ms = s.engaged_ms + a.engaged_ms,
        entry_page = CASE WHEN s.entry_page = '' THEN coalesce(a.entry, '')
            ELSE s.entry_page END,
        exit_page = coalesce(a.exit, s.exit_page)
    FROM added AS a
    WHERE s.property_id = %(property)s AND s.visitor = a.visitor AND s.started_at = a.started_at
    RETURNING s.visitor, s.started_at, s.ended_at
)
SELECT lower(span), upper(span)
FROM (
    SELECT unnest(range_agg(tstzrange(started_at, ended_at, '[]'))) AS span
    FROM longer WHERE visitor > 0
) AS spans
"""

TAKE_TOUCHED = """
WITH touched AS (
    DELETE FROM sessions AS s USING reach AS r
    WHERE s.property_id = %(property)s AND s.visitor = r.visitor
        AND s.started_at <= r.last + %(gap)s AND s.ended_at >= r.first - %(gap)s
    RETURNING s.visitor, s.started_at, s.ended_at
)
INSERT INTO reach SELECT visitor, started_at, ended_at, true FROM touched
"""

# Constants for the planner: without them it would look at every month of events there is.
BOUNDS = "SELECT min(first), max(last) FROM reach"

# `opens` is true on the one first event of a session, so that max() is what it says; `turn` numbers
# a visitor's sessions. No part is joined with another: the planner would guess their sizes wrong.
DERIVE = """
WITH windows AS (
    SELECT visitor, unnest(range_agg(tstzrange(first, last, '[]'))) AS span
    FROM reach GROUP BY visitor
), found AS (
    SELECT e.*, coalesce(e.time - lag(e.time) OVER visits > %(gap)s, true) AS opens
    FROM windows AS w CROSS JOIN LATERAL (
        SELECT * FROM events
        WHERE property_id = %(property)s AND time BETWEEN %(first)s AND %(last)s
            AND visitor = w.visitor AND time BETWEEN lower(w.span) AND upper(w.span)
        OFFSET 0
    ) AS e
    WINDOW visits AS (PARTITION BY e.visitor ORDER BY e.time, e.event_id)
), numbered AS (
    SELECT *, count(*) FILTER (WHERE opens) OVER visits AS turn
    FROM found
    WINDOW visits AS (PARTITION BY visitor ORDER BY time, event_id)
), made AS (
    INSERT INTO sessions (
        account_id, property_id, visitor, started_at, ended_at, bot, pageviews, events,
        interactions, engaged_ms, entry_page, exit_page, hostname, referrer, source, medium,
        campaign, term, content, channel, country, device, browser, os, language, screen
    )
    SELECT %(account)s, %(property)s, visitor,
        min(time),
        max(time),
        bool_or(bot) FILTER (WHERE opens),
        count(*) FILTER (WHERE name = 'pageview'),
        count(*),
        count(*) FILTER (WHERE name NOT IN ('pageview', 'engagement')),
        coalesce(sum(engaged_ms), 0),
        coalesce((array_agg(page ORDER BY time, event_id) FILTER (WHERE page <> ''))[1], ''),
        coalesce(
            (array_agg(page ORDER BY time DESC, event_id DESC) FILTER (WHERE page <> ''))[1], ''
        ),
        max(hostname) FILTER (WHERE opens),
        max(referrer) FILTER (WHERE opens),
        max(source) FILTER (WHERE opens),
        max(medium) FILTER (WHERE opens),
        max(campaign) FILTER (WHERE opens),
        max(term) FILTER (WHERE opens),
        max(content) FILTER (WHERE opens),
        max(channel) FILTER (WHERE opens),
        max(country) FILTER (WHERE opens),
        max(device) FILTER (WHERE opens),
        max(browser) FILTER (WHERE opens),
        max(os) FILTER (WHERE opens),
        max(language) FILTER (WHERE opens),
        max(screen) FILTER (WHERE opens)
    FROM numbered GROUP BY visitor, turn
    RETURNING visitor, started_at, ended_at
), changed AS (
    SELECT visitor, started_at, ended_at FROM made
    UNION ALL
    SELECT visitor, first, last FROM reach WHERE was_session
)
SELECT lower(span), upper(span)
FROM (
    SELECT unnest(range_agg(tstzrange(started_at, ended_at, '[]'))) AS span
    FROM changed WHERE visitor > 0
) AS spans
"""


def prepare(cursor: Any) -> None:
    """An empty `reach` to be filled with windows; it ends with the transaction."""
    cursor.execute(MAKE_REACH)
    cursor.execute("DELETE FROM reach")


def gap_of(place: Property) -> timedelta:
    """The longest silence inside a session; one more millisecond starts another."""
    return timedelta(minutes=place.session_gap_minutes)


def derive(cursor: Any, place: Property, *, append: bool) -> list[Span]:
    """Bring the sessions of `reach` up to date. `append`: all events in its windows are new.

    Returns the spans (both ends inclusive) in which sessions of people were or are different;
    bots have sessions, but nothing that is rolled up.
    """
    wanted = {"account": place.account_id, "property": place.pk, "gap": gap_of(place)}
    changed = _run_within_bounds(cursor, APPEND, wanted) if append else []
    cursor.execute(TAKE_TOUCHED, wanted)
    return changed + _run_within_bounds(cursor, DERIVE, wanted)


def _run_within_bounds(cursor: Any, statement: str, wanted: dict[str, Any]) -> list[Span]:
    cursor.execute(BOUNDS)
    first, last = cursor.fetchone()
    if first is None:
        return []
    cursor.execute(statement, wanted | {"first": first, "last": last})
    return [Span(start, end) for start, end in cursor.fetchall()]


def hours_of(spans: list[Span], clock: Clock) -> set[int]:
    """Starts (epoch seconds) of the local hours that the spans touch, ends included."""
    return {hour for span in spans for hour in _hours_within(span, clock)}


def _hours_within(span: Span, clock: Clock) -> Iterator[int]:
    at, end = epoch_ms(span.start), epoch_ms(span.end)
    while at < end:
        yield clock.stamps(at)[1]
        at += HOUR_MS // 2  # no clock jump leaves an hour shorter than half of one
    yield clock.stamps(end)[1]


def epoch_ms(moment: datetime) -> int:
    """Milliseconds since 1970, exactly."""
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return since // timedelta(milliseconds=1)
