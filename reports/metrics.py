"""THE REGISTRY: which numbers exist, what they mean, and what they are made of.

Pages, API, CSV, documentation, rollups and mail iterate it; none of them names a metric itself.
A *measure* is an additive number that rollups keep per hour and day; a *metric* is what people
ask for, made of measures or of bitmaps; a *dimension* is what both can be split by, and binds
either to one event or to a session (its first event).
"""

from dataclasses import dataclass
from typing import Literal

Scope = Literal["event", "session"]


@dataclass(frozen=True)
class Measure:
    """An additive number: `sql` aggregates rows of its scope's table (events or sessions)."""

    name: str
    scope: Scope
    sql: str


@dataclass(frozen=True)
class Dimension:
    """`column` of the events or the sessions table; `rolled`: kept in rollups and bitmaps."""

    name: str
    scope: Scope
    column: str
    label: str
    module: str
    rolled: bool = False


MEASURES = {
    measure.name: measure
    for measure in [
        Measure("events", "event", "count(*)"),
        Measure("pageviews", "event", "count(*) FILTER (WHERE name = 'pageview')"),
        Measure("sessions", "session", "count(*)"),
        Measure(
            "bounces",
            "session",
            "count(*) FILTER (WHERE pageviews = 1 AND interactions = 0 AND engaged_ms < 10000)",
        ),
        Measure("engaged_ms", "session", "sum(engaged_ms)"),
        Measure(
            "duration_ms",
            "session",
            "sum((extract(epoch FROM ended_at - started_at) * 1000)::bigint)",
        ),
    ]
}

DIMENSIONS = {
    dimension.name: dimension
    for dimension in [
        Dimension("page", "event", "page", "Page", "content", rolled=True),
        Dimension("event", "event", "name", "Event", "events", rolled=True),
        Dimension("hostname", "event", "hostname", "Hostname", "content"),
        Dimension("title", "event", "title", "Title", "content"),
        Dimension("entry_page", "session", "entry_page", "Entry page", "content", rolled=True),
        Dimension("exit_page", "session", "exit_page", "Exit page", "content", rolled=True),
        Dimension("source", "session", "source", "Source", "sources", rolled=True),
        Dimension("medium", "session", "medium", "Medium", "sources", rolled=True),
        Dimension("campaign", "session", "campaign", "Campaign", "sources", rolled=True),
        Dimension("term", "session", "term", "Term", "sources"),
        Dimension("content", "session", "content", "Content", "sources"),
        Dimension("channel", "session", "channel", "Channel", "sources", rolled=True),
        Dimension("referrer", "session", "referrer", "Referrer", "sources", rolled=True),
        Dimension("country", "session", "country", "Country", "audience", rolled=True),
        Dimension("device", "session", "device", "Device", "audience", rolled=True),
        Dimension("browser", "session", "browser", "Browser", "audience", rolled=True),
        Dimension("os", "session", "os", "System", "audience", rolled=True),
        Dimension("language", "session", "language", "Language", "audience"),
        Dimension("screen", "session", "screen", "Screen", "audience"),
    ]
}
