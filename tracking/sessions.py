"""Sessions, derived from raw events by event time: any order of arrival gives the same ones.

Enters: a batch's new events (`arrivals`, each with its visitor's number), or windows of visitors'
events in `reach`; all in temporary tables, inside the transaction that stored them. Leaves: rows of
`sessions`, and the spans of time in which any session changed. Called by the drain for every
batch, and by rebuilding for whole days.

A new event touches the sessions within one gap of it and no other. Those that it begins or only
makes longer are written from the batch itself; all others are deleted and derived again from
their events and the new ones, so an event may extend, begin or join sessions.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from properties.models import Property
from properties.periods import Clock, Span
from tracking.working import clock_of, instant

HOUR_MS = 3_600_000

# -- from a batch: sessions that begin or grow -----------------------------------------------

# What trackers send by themselves: none of it says that the visitor did anything.
AUTOMATIC = (
    "pageview", "engagement", "web_vitals", "events_lost", "exposure", "element_shown", "not_found",
)  # fmt: skip

# What is no touch, and how long one is remembered (reports/touches.py): marketing's usual month.
DIRECT = ("Direct", "")
LOOK_BACK = timedelta(days=30)

# One row for each visit: new events of a visitor with no gap between them. `n`, `entry` and `exit`
# are the rows of `arrivals` with its first event, its first page and its last. `started_at` is
# that of the session it touches, `spot` where that is stored (nobody else writes sessions while
# the drain's lock is held); `grows` is set when the visit lies behind all of that one.
MAKE_VISITS = """
CREATE TEMP TABLE IF NOT EXISTS visits (
    account_id bigint NOT NULL,
    property_id bigint NOT NULL,
    visitor integer NOT NULL,
    first timestamptz NOT NULL,
    last timestamptz NOT NULL,
    pageviews integer NOT NULL,
    events integer NOT NULL,
    interactions integer NOT NULL,
    engaged_ms bigint NOT NULL,
    n integer NOT NULL,
    entry integer,
    exit integer,
    started_at timestamptz,
    grows boolean,
    spot tid
) ON COMMIT DELETE ROWS
"""

# `place` is an event's place among all, with its row's number in the lower half: so the least of
# them tells the first event of a visit without sorting what belongs to it.
# Sessions of a visitor do not overlap: the last that began before the visit's end is the only one
# that may end within a gap of its beginning, or else none does. Written so that only the primary
# key can serve it, whatever the planner knows of a young table.
FIND_VISITS = """
INSERT INTO visits
SELECT v.account_id, v.property_id, v.visitor, v.first, v.last, v.pageviews, v.events,
    v.interactions, v.engaged_ms, v.n, v.entry, v.exit, s.started_at, s.ended_at < v.first, s.spot
FROM (
    SELECT min(account_id) AS account_id, property_id, visitor, min(gap) AS gap,
        min(time) AS first,
        max(time) AS last,
        count(*) FILTER (WHERE name = 'pageview') AS pageviews,
        count(*) AS events,
        count(*) FILTER (WHERE name <> ALL (%(automatic)s)) AS interactions,
        coalesce(sum(engaged_ms), 0) AS engaged_ms,
        min(place) & 4294967295 AS n,
        min(place) FILTER (WHERE has_page) & 4294967295 AS entry,
        max(place) FILTER (WHERE has_page) & 4294967295 AS exit
    FROM (
        SELECT *,
            count(*) FILTER (WHERE opens) OVER visits AS turn,
            (row_number() OVER visits << 32) + n AS place
        FROM (
            SELECT account_id, property_id, gap, number AS visitor, time, event_id, n, name,
                engaged_ms, page <> '' AS has_page,
                coalesce(time - lag(time) OVER visits > gap, true) AS opens
            FROM arrivals
            WINDOW visits AS (PARTITION BY number, property_id ORDER BY time, event_id)
        ) AS gaps
        WINDOW visits AS (PARTITION BY visitor, property_id ORDER BY time, event_id)
    ) AS turns
    GROUP BY visitor, property_id, turn
) AS v
LEFT JOIN LATERAL (
    SELECT visitor, started_at, ended_at, ctid AS spot FROM sessions
    WHERE property_id = v.property_id
        AND (visitor, started_at) <= (v.visitor, v.last + v.gap)
    ORDER BY visitor DESC, started_at DESC LIMIT 1
) AS s ON s.visitor = v.visitor AND s.ended_at >= v.first - v.gap
"""

# Where it came from stands in the event just stored: only one in some has to be looked up.
KEEP_VISITS = """
INSERT INTO sessions (
    account_id, property_id, visitor, started_at, ended_at, bot, pageviews, events,
    interactions, engaged_ms, entry_page, exit_page, hostname, referrer, source, medium,
    campaign, term, content, channel, country, device, browser, os, language, screen
)
SELECT v.account_id, v.property_id, v.visitor, v.first, v.last, e.bot, v.pageviews, v.events,
    v.interactions, v.engaged_ms, coalesce(entry.page, ''), coalesce(exit.page, ''), e.hostname,
    e.referrer, e.source, e.medium, e.campaign, e.term, e.content, e.channel, e.country, e.device,
    e.browser, e.os, e.language, e.screen
FROM visits AS v JOIN arrivals AS a USING (n)
    LEFT JOIN arrivals AS entry ON entry.n = v.entry
    LEFT JOIN arrivals AS exit ON exit.n = v.exit
    CROSS JOIN LATERAL (
        SELECT * FROM events
        WHERE property_id = v.property_id AND visitor = v.visitor
            AND date_bin('1 hour', time, 'epoch') = date_bin('1 hour', v.first, 'epoch')
            AND time = v.first AND event_id = a.event_id
        OFFSET 0
    ) AS e
WHERE v.started_at IS NULL
"""

# Never costs more the longer a session gets: a crawler's may last for weeks.
GROW = """
UPDATE sessions AS s SET
    ended_at = v.last,
    pageviews = s.pageviews + v.pageviews,
    events = s.events + v.events,
    interactions = s.interactions + v.interactions,
    engaged_ms = s.engaged_ms + v.engaged_ms,
    entry_page = CASE WHEN s.entry_page = '' THEN coalesce(entry.page, '') ELSE s.entry_page END,
    exit_page = coalesce(exit.page, s.exit_page)
FROM visits AS v
    LEFT JOIN arrivals AS entry ON entry.n = v.entry
    LEFT JOIN arrivals AS exit ON exit.n = v.exit
WHERE v.grows AND s.ctid = v.spot
"""

# By quarters of hours, in which nearly all zones begin their hours: few rows, whatever the batch.
CHANGED = """
SELECT property_id, grows IS FALSE, extract(epoch FROM first)::bigint,
    extract(epoch FROM last)::bigint + 899
FROM (
    SELECT DISTINCT property_id, grows,
        date_bin('15 minutes', coalesce(started_at, first), 'epoch') AS first,
        date_bin('15 minutes', last, 'epoch') AS last
    FROM visits WHERE visitor > 0 OR grows IS FALSE
) AS spans
"""

# Sessions of which an earlier one is new or another now: their first or last touch may be. Nearly
# always there is none, as `people` tells, and no session is looked for. Those beyond the look-back
# only know their visitor's first session.
LATER = """
SELECT DISTINCT v.property_id, l.started_at, l.ended_at
FROM visits AS v JOIN people AS p
    ON p.property_id = v.property_id AND p.visitor = v.visitor AND p.was_last > v.first
CROSS JOIN LATERAL (
    SELECT CASE WHEN EXISTS (
        SELECT FROM sessions
        WHERE property_id = v.property_id
            AND (visitor, started_at) > (v.visitor, '-infinity')
            AND (visitor, started_at) < (v.visitor, v.first)
    ) THEN v.last + %(reach)s ELSE 'infinity' END AS last
    OFFSET 0
) AS reach
CROSS JOIN LATERAL (
    SELECT started_at, ended_at FROM sessions
    WHERE property_id = v.property_id
        AND (visitor, started_at) > (v.visitor, v.last)
        AND (visitor, started_at) <= (v.visitor, reach.last)
    ORDER BY visitor, started_at
) AS l
WHERE v.grows IS NOT TRUE
"""

REACH = """
INSERT INTO reach SELECT visitor, first, last, false FROM visits
WHERE property_id = %s AND grows IS FALSE
"""


def keep(cursor: Any, places: Mapping[int, Property]) -> Iterator[tuple[Property, set[int]]]:
    """Bring sessions up to date with the batch; yields the local hours in which they changed."""
    cursor.execute(MAKE_VISITS)
    cursor.execute("DELETE FROM visits")
    cursor.execute(FIND_VISITS, {"automatic": list(AUTOMATIC)})
    cursor.execute(KEEP_VISITS)
    cursor.execute(GROW)
    cursor.execute(CHANGED)
    entangled = set()
    for number, is_entangled, first, last in cursor.fetchall():
        if is_entangled:
            entangled.add(number)
        else:
            place = places[number]
            yield place, hours_of([Span(instant(first), instant(last))], clock_of(place.timezone))
    # A day more than the look-back: a visit may move the beginning of the session that it joins.
    cursor.execute(LATER, {"reach": LOOK_BACK + timedelta(days=1)})
    for number, start, end in cursor.fetchall():
        place = places[number]
        yield place, hours_of([Span(start, end)], clock_of(place.timezone))
    for number in sorted(entangled):
        place = places[number]
        prepare(cursor)
        cursor.execute(REACH, [number])
        if cursor.rowcount > FEW:
            cursor.execute("ANALYZE reach")
        yield place, hours_of(derive(cursor, place), clock_of(place.timezone))


# -- from raw events: windows of a property --------------------------------------------------

# One row for each window of events and, once found, each session that they touch.
MAKE_REACH = """
CREATE TEMP TABLE IF NOT EXISTS reach (
    visitor integer NOT NULL,
    first timestamptz NOT NULL,
    last timestamptz NOT NULL,
    was_session boolean NOT NULL
) ON COMMIT DELETE ROWS
"""

# Below, any plan is quick. Above, a planner without statistics compares all rows with all rows.
FEW = 50

TAKE_TOUCHED = """
WITH touched AS (
    DELETE FROM sessions AS s USING reach AS r
    WHERE s.property_id = %(property)s AND s.visitor = r.visitor
        AND s.started_at <= r.last + %(gap)s AND s.ended_at >= r.first - %(gap)s
    RETURNING s.visitor, s.started_at, s.ended_at
)
INSERT INTO reach SELECT visitor, started_at, ended_at, true FROM touched
"""

# Constants for the planner: without them it would look at every month of events there is. Whole
# months: with the windows' own bounds it may hold an index by time alone for good enough.
BOUNDS = """
SELECT date_trunc('month', min(first), 'UTC'),
    date_trunc('month', max(last), 'UTC') + interval '1 month' - interval '1 microsecond'
FROM reach
"""

# `opens` is true on the one first event of a session, so that max() is what it says; `turn` numbers
# a visitor's sessions. No part is joined with another: the planner would guess their sizes wrong.
DERIVE = """
WITH windows AS (
    SELECT visitor, unnest(range_agg(tstzrange(first, last, '[]'))) AS span
    FROM reach GROUP BY visitor
), found AS (
    SELECT e.*, coalesce(e.time - lag(e.time) OVER visits > %(gap)s, true) AS opens
    FROM windows AS w CROSS JOIN LATERAL generate_series(
        date_bin('1 hour', lower(w.span), 'epoch'), upper(w.span), '1 hour'
    ) AS hour CROSS JOIN LATERAL (
        SELECT * FROM events
        WHERE property_id = %(property)s AND time BETWEEN %(first)s AND %(last)s
            AND date_bin('1 hour', time, 'epoch') = hour AND visitor = w.visitor
            AND time BETWEEN lower(w.span) AND upper(w.span)
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
        count(*) FILTER (WHERE name <> ALL (%(automatic)s)),
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


def derive(cursor: Any, place: Property) -> list[Span]:
    """Bring the sessions that `reach` touches up to date.

    Returns the spans (both ends inclusive) in which sessions of people were or are different;
    bots have sessions, but nothing that is rolled up.
    """
    wanted = {
        "account": place.account_id,
        "property": place.pk,
        "gap": gap_of(place),
        "automatic": list(AUTOMATIC),
    }
    cursor.execute(TAKE_TOUCHED, wanted)
    cursor.execute(BOUNDS)
    first, last = cursor.fetchone()
    if first is None:
        return []
    cursor.execute(DERIVE, wanted | {"first": first, "last": last})
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
