"""THE REGISTRY: which numbers exist, what they mean, and what they are made of.

Pages, API, CSV, documentation, rollups and mail iterate it; none of them names a metric itself.
A *measure* is an additive number, kept by rollups per hour and day if it is `rolled`; a *sample* is
a number that some events carry, of which *quantiles* are asked; a *metric* is what people ask for,
made of these or of bitmaps; a *dimension* is what all can be split by, and binds either to one
event or to a session (its first event).

Adding a metric is one entry in METRICS (and in MEASURES or SAMPLES, if it counts something new),
its paragraph in docs/metrics.md, and its definition in Python in tests/test_queries.py.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from properties.strangers_text import visible

Scope = Literal["event", "session"]
Unit = Literal["count", "rate", "duration_ms", "score"]

GOAL = "goal"  # dimension: a goal of the property; an event may reach several
VISITORS = "visitors"  # not a measure: people cannot be added up, so bitmaps keep them
TIME = "time:"  # dimension `time:day`: the kinds and cycles are those of properties/periods.py
WHO_COMES = "audience"  # the module of how many people and visits there were
PROPS = "props:"  # dimension `props:plan`: a property of the event, as text


@dataclass(frozen=True)
class Measure:
    """An additive number: `sql` is what one row adds to it, an event `e` or a session `s`.

    `rolled`: kept in rollups. `at`: a column of the session; where the question names an event,
    only sessions count of which such an event happened on the page that stands there.
    """

    name: str
    scope: Scope
    sql: str
    rolled: bool = False
    at: str = ""


@dataclass(frozen=True)
class Sample:
    """A number from 0 on that an event `e` may carry: `sql` gives it as an integer, -1 for none."""

    name: str
    sql: str


@dataclass(frozen=True)
class Quantile:
    """The smallest of a sample's numbers that is not exceeded by that part of them (nearest
    rank)."""

    name: str
    sample: str
    part: float


@dataclass(frozen=True)
class Conversion:
    """A base number of reports/conversions.py: the sessions or visitors (`counts`) that reached a
    goal, or all of whom these are a part."""

    name: str
    counts: str
    reached: bool = True


@dataclass(frozen=True)
class Dimension:
    """`column` of the events or the sessions table, or `sql` over a row of it (`e` or `s`).

    `rolled`: kept in rollups and bitmaps. `summed`: of an event, with what each value comes to in
    a packed block (reports/summing.py), and who has it (reports/postings.py).

    `blank`: an empty value is a row (country unknown). Where it is not, it means that there is
    none (a session without campaign), and ranked tables leave it out.

    `is_made`: it stands in no column; reports/conversions.py makes its rows.
    `touch`: the column is that of another session of the visitor (reports/touches.py).
    """

    name: str
    scope: Scope
    column: str
    label: str
    module: str
    rolled: bool = False
    summed: bool = False
    blank: bool = False
    sql: str = ""
    touch: str = ""
    is_made: bool = False


@dataclass(frozen=True)
class Metric:
    """A number that people ask for: base number `of`, or `of` divided by `over`.

    Base numbers are MEASURES, QUANTILES, CONVERSIONS and VISITORS; `scale` of them make one of the
    metric. `definition` is shown wherever the number is.
    """

    name: str
    label: str
    unit: Unit
    definition: str
    module: str
    of: str
    over: str = ""
    higher_is_better: bool = True
    scale: int = 1

    @property
    def needs(self) -> tuple[str, ...]:
        """The base numbers that it is computed from."""
        return (self.of, self.over) if self.over else (self.of,)

    def value(self, numbers: Mapping[str, int | None]) -> int | float | None:
        """The metric from base numbers (a missing one is 0); None for a mean or a quantile of
        nothing."""
        above = numbers.get(self.of, None if self.of in QUANTILES else 0)
        if above is None:
            return None
        if not self.over:
            return above if self.scale == 1 else above / self.scale
        below = numbers.get(self.over, 0)
        return above / below / self.scale if below else None


# A visitor's first event is the beginning of the first session.
_CAME_BEFORE = (
    "EXISTS (SELECT FROM visitors AS known WHERE known.property_id = s.property_id"
    " AND known.number = s.visitor AND known.first_seen < s.started_at)"
)


# What first and last touch tell of the session that brought the visitor.
TOUCHED = ("source", "medium", "campaign", "term", "content", "channel", "referrer")


def _touched(touch: str) -> list[Dimension]:
    return [
        Dimension(
            f"{touch}_{name}",
            "session",
            name,
            f"{touch.capitalize()} {name}",
            "sources",
            blank=name in ("source", "channel"),
            touch=touch,
        )
        for name in TOUCHED
    ]


def _element(event: str) -> str:
    """Whether an event is what happened to a marked element of the page."""
    return f"coalesce(e.name = 'element' AND e.props ->> 'event' = '{event}', false)::int"


# A tracker tells what was shown by an event of its own; others may have told it as what happened.
_SHOWN = f"(e.name = 'element_shown')::int + {_element('shown')}"

# One page view, nothing done, not read for 10 seconds.
_BOUNCED = "(s.pageviews = 1 AND s.interactions = 0 AND s.engaged_ms < 10000)::int"
DEPTHS = (25, 50, 75, 100)  # percent of a page

MEASURES = {
    measure.name: measure
    for measure in [
        Measure("events", "event", "1", rolled=True),
        Measure("pageviews", "event", "(e.name = 'pageview')::int", rolled=True),
        Measure("page_engaged_ms", "event", "coalesce(e.engaged_ms, 0)"),
        Measure("scroll", "event", "coalesce(e.scroll, 0)"),
        Measure("scroll_told", "event", "(e.scroll IS NOT NULL)::int"),
        *(
            Measure(f"scroll_{depth}", "event", f"coalesce(e.scroll >= {depth}, false)::int")
            for depth in DEPTHS
        ),
        Measure("vitals", "event", "(e.name = 'web_vitals')::int"),
        Measure("elements_shown", "event", _SHOWN),
        Measure("elements_hovered", "event", _element("mouseover")),
        Measure("elements_clicked", "event", _element("click")),
        Measure("sessions", "session", "1", rolled=True),
        Measure(
            "bounces",
            "session",
            _BOUNCED,
            rolled=True,
        ),
        Measure("session_pageviews", "session", "s.pageviews", rolled=True),
        Measure("engaged_ms", "session", "s.engaged_ms", rolled=True),
        Measure(
            "duration_ms",
            "session",
            "(extract(epoch FROM s.ended_at - s.started_at) * 1000)::bigint",
            rolled=True,
        ),
        Measure("new_visitors", "session", f"(NOT {_CAME_BEFORE})::int"),
        Measure("entries", "session", "(s.entry_page <> '')::int", at="entry_page"),
        Measure("entry_bounces", "session", _BOUNCED, at="entry_page"),
        Measure("exits", "session", "(s.exit_page <> '')::int", at="exit_page"),
    ]
}

LONGEST_SAMPLE = 86_400_000  # a day in ms; what is above was not measured but made up


def _vital(name: str, scale: int = 1) -> Sample:
    """A web vital: props of the tracker's event `web_vitals`."""
    number = f"(e.props ->> '{name}')::numeric"
    return Sample(
        name,
        f"CASE WHEN e.name = 'web_vitals' AND jsonb_typeof(e.props -> '{name}') = 'number'"
        f" THEN CASE WHEN {number} BETWEEN 0 AND {LONGEST_SAMPLE}"
        f" THEN round({number} * {scale})::bigint ELSE -1 END ELSE -1 END",
    )


SHIFT_SCALE = 10_000  # layout shift comes with four decimals
SAMPLES = {
    sample.name: sample
    for sample in [
        Sample("load_ms", "coalesce(e.load_ms, -1)"),
        _vital("ttfb"),
        _vital("fcp"),
        _vital("lcp"),
        _vital("inp"),
        _vital("cls", SHIFT_SCALE),
    ]
}
PERCENTS = (50, 75, 90)
QUANTILES = {
    quantile.name: quantile
    for sample in SAMPLES
    for percent in PERCENTS
    for quantile in [Quantile(f"{sample}_p{percent}", sample, percent / 100)]
}

CONVERSIONS = {
    conversion.name: conversion
    for conversion in [
        Conversion("converted_sessions", "sessions"),
        Conversion("converted_visitors", VISITORS),
        Conversion("asked_sessions", "sessions", reached=False),
        Conversion("asked_visitors", VISITORS, reached=False),
    ]
}

DIMENSIONS = {
    dimension.name: dimension
    for dimension in [
        Dimension("page", "event", "page", "Page", "content", rolled=True, summed=True),
        Dimension("event", "event", "name", "Event", "events", rolled=True, summed=True),
        Dimension("hostname", "event", "hostname", "Hostname", "content", summed=True),
        Dimension("title", "event", "title", "Title", "content", summed=True),
        Dimension("entry_page", "session", "entry_page", "Entry page", "content", rolled=True),
        Dimension("exit_page", "session", "exit_page", "Exit page", "content", rolled=True),
        Dimension("source", "session", "source", "Source", "sources", rolled=True, blank=True),
        Dimension("medium", "session", "medium", "Medium", "sources", rolled=True),
        Dimension("campaign", "session", "campaign", "Campaign", "sources", rolled=True),
        Dimension("term", "session", "term", "Term", "sources"),
        Dimension("content", "session", "content", "Content", "sources"),
        Dimension("channel", "session", "channel", "Channel", "sources", rolled=True, blank=True),
        Dimension("referrer", "session", "referrer", "Referrer", "sources", rolled=True),
        *_touched("first"),
        *_touched("last"),
        Dimension("country", "session", "country", "Country", "audience", rolled=True, blank=True),
        Dimension("device", "session", "device", "Device", "audience", rolled=True, blank=True),
        Dimension("browser", "session", "browser", "Browser", "audience", rolled=True, blank=True),
        Dimension("os", "session", "os", "System", "audience", rolled=True, blank=True),
        Dimension("language", "session", "language", "Language", "audience", blank=True),
        Dimension("screen", "session", "screen", "Screen", "audience", blank=True),
        Dimension(
            "visit",
            "session",
            "",
            "New or returning",
            "audience",
            sql=f"CASE WHEN {_CAME_BEFORE} THEN 'returning' ELSE 'new' END",
        ),
        Dimension(GOAL, "event", "", "Goal", "events", is_made=True),
    ]
}

_SPEEDS = {  # what is measured, in words; module "content": it is about pages
    "load_ms": "Load time",
    "ttfb": "Time to first byte",
    "fcp": "First contentful paint",
    "lcp": "Largest contentful paint",
    "inp": "Interaction to next paint",
    "cls": "Layout shift",
}


def _speed(quantile: Quantile) -> Metric:
    label, percent = _SPEEDS[quantile.sample], round(quantile.part * 100)
    told = "pageviews" if quantile.sample == "load_ms" else "page loads (events web_vitals)"
    return Metric(
        quantile.name,
        f"{label}, p{percent}",
        "score" if quantile.sample == "cls" else "duration_ms",
        f"{label}: {percent} % of the {told} that say it were as good or better. Exact: the "
        "nearest rank of all that were measured.",
        "content",
        quantile.name,
        higher_is_better=False,
        scale=SHIFT_SCALE if quantile.sample == "cls" else 1,
    )


def _reached(depth: int) -> Metric:
    part = "the end" if depth == 100 else f"{depth} %"
    return Metric(
        f"scroll_{depth}",
        f"Reached {part}",
        "rate",
        f"Of the times that a page was left or hidden and the tracker told how far down it was "
        f"seen, those in which {part} of its length was.",
        "content",
        f"scroll_{depth}",
        over="scroll_told",
    )


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
            "events_per_visitor",
            "Events per visitor",
            "count",
            "Accepted events, divided by the visitors who sent them.",
            "events",
            "events",
            over=VISITORS,
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
        Metric(
            "new_visitors",
            "New visitors",
            "count",
            "Visitors whose first session in this property starts in the range. Without cookies "
            "a person is new every day.",
            "audience",
            "new_visitors",
        ),
        Metric(
            "entries",
            "Entries",
            "count",
            "Sessions that start in the range and begin on the page: it is the first that they "
            "show.",
            "content",
            "entries",
        ),
        Metric(
            "exits",
            "Exits",
            "count",
            "Sessions that start in the range and end on the page: it is the last that they show.",
            "content",
            "exits",
        ),
        Metric(
            "entry_bounce_rate",
            "Bounce rate of entries",
            "rate",
            "Of the sessions that begin on the page, those with one pageview, no interactive event "
            "and under 10 seconds engaged.",
            "content",
            "entry_bounces",
            over="entries",
            higher_is_better=False,
        ),
        Metric(
            "exit_rate",
            "Exit rate",
            "rate",
            "Exits from the page, divided by its pageviews.",
            "content",
            "exits",
            over="pageviews",
            higher_is_better=False,
        ),
        Metric(
            "scroll_depth",
            "Scroll depth",
            "rate",
            "How far down the page was seen, of its whole length: mean of what the tracker told "
            "each time a page was left or hidden, the deepest so far.",
            "content",
            "scroll",
            over="scroll_told",
            scale=100,
        ),
        *(_reached(depth) for depth in DEPTHS),
        Metric(
            "vitals",
            "Measured loads",
            "count",
            "Loads of which the browser told how fast they were (events web_vitals).",
            "content",
            "vitals",
        ),
        Metric(
            "time_on_page",
            "Time on page",
            "duration_ms",
            "Time during which the page was visible, focused and interacted with in the last "
            "5 seconds, divided by its pageviews.",
            "content",
            "page_engaged_ms",
            over="pageviews",
        ),
        Metric(
            "elements_shown",
            "Elements shown",
            "count",
            "Marked elements (type, label, position) that came into view: at least half of one for "
            "a second, counted once a page view.",
            "events",
            "elements_shown",
        ),
        Metric(
            "elements_hovered",
            "Elements hovered",
            "count",
            "Events of marked elements over which the pointer came.",
            "events",
            "elements_hovered",
        ),
        Metric(
            "elements_clicked",
            "Elements clicked",
            "count",
            "Events of marked elements that were clicked.",
            "events",
            "elements_clicked",
        ),
        Metric(
            "element_click_rate",
            "Element click rate",
            "rate",
            "Clicks of marked elements, divided by how often they were shown. Nothing where the "
            "page does not tell what it shows.",
            "events",
            "elements_clicked",
            over="elements_shown",
        ),
        Metric(
            "conversions",
            "Conversions",
            "count",
            "Sessions that start in the range and in which a goal of the property was reached in "
            "it; each once, however often. By page or event: reached there, by that event.",
            "events",
            "converted_sessions",
        ),
        Metric(
            "conversion_rate",
            "Conversion rate",
            "rate",
            "Conversions, divided by all sessions of the same row; by goal, by all sessions.",
            "events",
            "converted_sessions",
            over="asked_sessions",
        ),
        Metric(
            "converted_visitors",
            "Converted visitors",
            "count",
            "Visitors with an event in the range that reached a goal of the property, each once.",
            "events",
            "converted_visitors",
        ),
        Metric(
            "visitor_conversion_rate",
            "Rate of visitors",
            "rate",
            "Converted visitors, divided by all visitors of the same row; by goal, by everybody.",
            "events",
            "converted_visitors",
            over="asked_visitors",
        ),
        *map(_speed, QUANTILES.values()),
    ]
}


def rolled_measures(dimension: str) -> list[Measure]:
    """The measures that rollups keep by this dimension: those of its scope; by "" (the total)
    all that are rolled."""
    rolled = [measure for measure in MEASURES.values() if measure.rolled]
    if not dimension:
        return rolled
    scope = DIMENSIONS[dimension].scope
    return [measure for measure in rolled if measure.scope == scope]


def modules_of(metrics: Iterable[str], dimensions: Iterable[str]) -> list[str]:
    """The modules that must be viewed for these metrics, split by these dimensions; each once.

    How many came is of the audience as a whole; of a part it belongs to the part: whoever may view
    the sources sees how many each of them brought, and without that would see nothing.
    """
    split = [found.module for name in dimensions if (found := find_dimension(name))]
    named = [METRICS[name].module for name in metrics]
    return list(dict.fromkeys([*split, *(m for m in named if m != WHO_COMES or not split)]))


def find_dimension(name: str) -> Dimension | None:
    """The dimension of that name, `props:...` included; None for time and for what is unknown."""
    if name.startswith(PROPS) and name != PROPS:
        key = name.removeprefix(PROPS)
        return Dimension(name, "event", "props", visible(key), "events")
    return DIMENSIONS.get(name)


def is_made(name: str) -> bool:
    """Whether the dimension stands in no column, so that no filter by it is asked of a row."""
    found = find_dimension(name)
    return found is not None and found.is_made
