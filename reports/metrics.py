"""THE REGISTRY: which numbers exist, what they mean, and what they are made of.

Pages, API, CSV, documentation, rollups and mail iterate it; none of them names a metric itself.
A *measure* is an additive number that rollups keep per hour and day; a *metric* is what people
ask for, made of measures or of bitmaps; a *dimension* is what both can be split by, and binds
either to one event or to a session (its first event).

Adding a metric is one entry in METRICS (and in MEASURES, if it counts something new), its
paragraph in docs/metrics.md and a test.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Scope = Literal["event", "session"]
Unit = Literal["count", "rate", "duration_ms"]

VISITORS = "visitors"  # not a measure: people cannot be added up, so bitmaps keep them
TIME = "time:"  # dimension `time:day`: the kinds are those of properties/periods.py
PROPS = "props:"  # dimension `props:plan`: a property of the event, as text


@dataclass(frozen=True)
class Measure:
    """An additive number: `sql` aggregates rows of its scope's table (events or sessions)."""

    name: str
    scope: Scope
    sql: str


@dataclass(frozen=True)
class Dimension:
    """`column` of the events or the sessions table; `rolled`: kept in rollups and bitmaps.

    `blank`: an empty value is a row (country unknown). Where it is not, it means that there is
    none (a session without campaign), and ranked tables leave it out.
    """

    name: str
    scope: Scope
    column: str
    label: str
    module: str
    rolled: bool = False
    blank: bool = False


@dataclass(frozen=True)
class Metric:
    """A number that people ask for: base number `of`, or `of` divided by `over`.

    Base numbers are MEASURES and VISITORS. `definition` is shown wherever the number is.
    """

    name: str
    label: str
    unit: Unit
    definition: str
    module: str
    of: str
    over: str = ""
    higher_is_better: bool = True

    @property
    def needs(self) -> tuple[str, ...]:
        """The base numbers that it is computed from."""
        return (self.of, self.over) if self.over else (self.of,)

    def value(self, numbers: Mapping[str, int]) -> int | float | None:
        """The metric from base numbers (a missing one is 0); None for a mean over nothing."""
        if not self.over:
            return numbers.get(self.of, 0)
        below = numbers.get(self.over, 0)
        return numbers.get(self.of, 0) / below if below else None


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
        Measure("session_pageviews", "session", "sum(pageviews)"),
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
        Dimension("source", "session", "source", "Source", "sources", rolled=True, blank=True),
        Dimension("medium", "session", "medium", "Medium", "sources", rolled=True),
        Dimension("campaign", "session", "campaign", "Campaign", "sources", rolled=True),
        Dimension("term", "session", "term", "Term", "sources"),
        Dimension("content", "session", "content", "Content", "sources"),
        Dimension("channel", "session", "channel", "Channel", "sources", rolled=True, blank=True),
        Dimension("referrer", "session", "referrer", "Referrer", "sources", rolled=True),
        Dimension("country", "session", "country", "Country", "audience", rolled=True, blank=True),
        Dimension("device", "session", "device", "Device", "audience", rolled=True, blank=True),
        Dimension("browser", "session", "browser", "Browser", "audience", rolled=True, blank=True),
        Dimension("os", "session", "os", "System", "audience", rolled=True, blank=True),
        Dimension("language", "session", "language", "Language", "audience", blank=True),
        Dimension("screen", "session", "screen", "Screen", "audience", blank=True),
    ]
}

METRICS = {
    metric.name: metric
    for metric in [
        Metric(
            "visitors",
            "Visitors",
            "count",
            "Browsers or devices with at least one event in the range, each counted once: exact "
            "over any range. Without cookies a person is a new visitor every day.",
            "audience",
            VISITORS,
        ),
        Metric(
            "sessions",
            "Sessions",
            "count",
            "Groups of one visitor's events; a gap longer than the property's (30 minutes unless "
            "changed) starts a new one. Counted where they start, not cut at midnight.",
            "audience",
            "sessions",
        ),
        Metric(
            "pageviews",
            "Pageviews",
            "count",
            "Accepted events named pageview. Bots and refused events are left out and shown apart.",
            "audience",
            "pageviews",
        ),
        Metric(
            "events",
            "Events",
            "count",
            "Accepted events of every name, pageviews included. Bots and refused events are left "
            "out and shown apart.",
            "events",
            "events",
        ),
        Metric(
            "bounce_rate",
            "Bounce rate",
            "rate",
            "Sessions with one pageview, no interactive event and under 10 seconds engaged, "
            "divided by all sessions.",
            "audience",
            "bounces",
            over="sessions",
            higher_is_better=False,
        ),
        Metric(
            "engaged_time",
            "Engaged time",
            "duration_ms",
            "Time during which a page was visible, focused and interacted with in the last "
            "5 seconds: mean per session.",
            "audience",
            "engaged_ms",
            over="sessions",
        ),
        Metric(
            "engaged_total",
            "Engaged time, total",
            "duration_ms",
            "Time during which a page was visible, focused and interacted with in the last "
            "5 seconds: sum over the sessions.",
            "audience",
            "engaged_ms",
        ),
        Metric(
            "visit_duration",
            "Visit duration",
            "duration_ms",
            "Time from the first to the last event of a session: mean per session.",
            "audience",
            "duration_ms",
            over="sessions",
        ),
        Metric(
            "views_per_session",
            "Views per session",
            "count",
            "Pageviews of the sessions that start in the range, divided by these sessions.",
            "audience",
            "session_pageviews",
            over="sessions",
        ),
    ]
}


def rolled_measures(dimension: str) -> list[Measure]:
    """The measures that rollups keep by this dimension: those of its scope; by "" (the total)
    all of them."""
    if not dimension:
        return list(MEASURES.values())
    scope = DIMENSIONS[dimension].scope
    return [measure for measure in MEASURES.values() if measure.scope == scope]


def find_dimension(name: str) -> Dimension | None:
    """The dimension of that name, `props:...` included; None for time and for what is unknown."""
    if name.startswith(PROPS) and name != PROPS:
        key = name.removeprefix(PROPS)
        return Dimension(name, "event", "props", key, "events")
    return DIMENSIONS.get(name)
