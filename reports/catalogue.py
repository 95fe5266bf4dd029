"""THE REPORTS: which report pages there are, which question each answers, and what stands on it.

One entry of REPORTS is a page: its routes (`p/<key>/<name>/` and below a share link), its doors,
its place in the navigation, its tiles and curve, its tables with search, order and CSV, and its
page in the documentation all follow from it. reports/urls.py, reports/views.py and
reports/apps.py iterate the list; none of them names a report. What an entry is made of stands in
reports/parts.py, what the columns mean in reports/metrics.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from reports import event_properties, pictures, worldmap
from reports.metrics import DEPTHS, METRICS, PROPS
from reports.parts import SHARE, WORTH, Block, Card, Report, Table, Words
from reports.refused import refused
from reports.speed import LIMITS, limits_in_words, vitals

# -- the overview ------------------------------------------------------------------------------


def _tabs(name: str, title: str, columns: tuple[str, ...], **dimensions: tuple[str, ...]) -> Card:
    """A card of the overview: a tab for each dimension, of the card's columns or its own."""
    tables = tuple(Table(each, each, own or columns) for each, own in dimensions.items())
    return Card(name, title, tables)


OVERVIEW = Report(
    "overview",
    "Overview",
    "",
    "audience",
    tiles=(
        "visitors",
        "sessions",
        "pageviews",
        "bounce_rate",
        "engaged_time",
        "visit_duration",
        "conversions",
    ),
    cards=(
        _tabs(
            "sources", "Sources", ("visitors", "bounce_rate"), source=(), channel=(), campaign=()
        ),
        _tabs(
            "pages",
            "Pages",
            ("pageviews", "visitors"),
            page=(),
            entry_page=("sessions", "bounce_rate"),
            exit_page=("sessions",),
        ),
        _tabs("places", "Countries", ("visitors", SHARE), country=()),
        _tabs("technology", "Devices", ("visitors", SHARE), device=(), browser=(), os=()),
        _tabs(
            "events",
            "Events",
            ("events", "visitors", SHARE),
            event=(),
            goal=("conversions", "conversion_rate"),
        ),
    ),
)


# -- the pages ---------------------------------------------------------------------------------

_VISITS = ("visitors", "sessions", "bounce_rate", "engaged_time", "views_per_session")


def _alone(table: Table, rows: int = 9) -> Card:
    """A card of one table."""
    return Card(table.name, table.heading, (table,), rows)


PAGES = Report(
    "pages",
    "Pages",
    "Which pages are seen, how far are they read, where do visits begin and end?",
    "content",
    tiles=("pageviews", "visitors", "time_on_page", "scroll_depth"),
    cards=(
        Card(
            "pages",
            "Pages",
            (
                Table(
                    "pages",
                    "page",
                    (
                        "pageviews",
                        "visitors",
                        "time_on_page",
                        "scroll_depth",
                        "entries",
                        "entry_bounce_rate",
                        "exits",
                        "exit_rate",
                    ),
                ),
                Table(
                    "scroll",
                    "page",
                    ("pageviews", "scroll_depth", *(f"scroll_{depth}" for depth in DEPTHS)),
                    title="How far down",
                ),
            ),
            rows=20,
        ),
        Card(
            "entries",
            "Entry pages",
            (Table("entry-pages", "entry_page", ("sessions", "visitors", "bounce_rate")),),
        ),
        Card("exits", "Exit pages", (Table("exit-pages", "exit_page", ("sessions", "visitors")),)),
        Card(  # one of them at a time: each counts every event of the range
            "titles",
            "Titles",
            (
                Table("titles", "title", ("pageviews", "visitors")),
                Table("hostnames", "hostname", ("pageviews", "visitors")),
            ),
        ),
    ),
)


def _sources(*named: tuple[str, str, str]) -> tuple[Table, ...]:
    """Tables of where visits come from: name, dimension, title."""
    return tuple(Table(name, of, _VISITS, title, extra=WORTH) for name, of, title in named)


SOURCES = Report(
    "sources",
    "Sources",
    "Where do visitors come from, and which sources bring visits that last?",
    "sources",
    tiles=("visitors", "sessions", "bounce_rate", "engaged_time", "views_per_session", *WORTH),
    cards=(
        Card(
            "channels",
            "Channels",
            _sources(
                ("channels", "channel", "Channels"),
                ("first-channels", "first_channel", "First-touch channels"),
                ("last-channels", "last_channel", "Last-touch channels"),
            ),
        ),
        Card(
            "sources",
            "Sources",
            _sources(
                ("sources", "source", "Sources"),
                ("referrers", "referrer", "Referrers"),
                ("first-sources", "first_source", "First-touch sources"),
                ("last-sources", "last_source", "Last-touch sources"),
                ("first-referrers", "first_referrer", "First-touch referrers"),
                ("last-referrers", "last_referrer", "Last-touch referrers"),
            ),
        ),
        Card(
            "campaigns",
            "Campaigns",
            (
                *_sources(("campaigns", "campaign", "Campaigns")),
                Table(
                    "campaign-sources",
                    "campaign",
                    _VISITS,
                    "With sources",
                    by="source",
                    extra=WORTH,
                ),
                *_sources(
                    ("media", "medium", "Media"),
                    ("terms", "term", "Terms"),
                    ("contents", "content", "Contents"),
                    ("first-campaigns", "first_campaign", "First-touch campaigns"),
                    ("last-campaigns", "last_campaign", "Last-touch campaigns"),
                    ("first-media", "first_medium", "First-touch media"),
                    ("last-media", "last_medium", "Last-touch media"),
                    ("first-terms", "first_term", "First-touch terms"),
                    ("last-terms", "last_term", "Last-touch terms"),
                    ("first-contents", "first_content", "First-touch contents"),
                    ("last-contents", "last_content", "Last-touch contents"),
                ),
            ),
        ),
    ),
)

_WHO = ("visitors", SHARE, "sessions", "bounce_rate", "engaged_time")

AUDIENCE = Report(
    "audience",
    "Audience",
    "Who comes: from which countries, with which devices, for the first time or again?",
    "audience",
    tiles=("visitors", "new_visitors", "sessions", "bounce_rate", "engaged_time", *WORTH),
    blocks=(
        Block(
            "map",
            "audience",
            "reports/worldmap.html",
            worldmap.of_page,
            "Countries in five shades of how many visitors they have, measured by the most visited "
            "one; each is a link that filters. Who is nowhere on the map stands below it in words.",
            pictures.of_map,
        ),
    ),
    cards=(
        Card("countries", "Countries", (Table("countries", "country", _WHO, extra=WORTH),)),
        Card(
            "technology",
            "Technology",
            (
                Table("devices", "device", _WHO, extra=WORTH),
                Table("browsers", "browser", _WHO, extra=WORTH),
                Table("systems", "os", _WHO, extra=WORTH),
                Table("screens", "screen", _WHO, extra=WORTH),
            ),
        ),
        Card("languages", "Languages", (Table("languages", "language", ("visitors", SHARE)),)),
        Card(
            "visits",
            "New and returning",
            (
                Table(
                    "visits",
                    "visit",
                    ("visitors", "sessions", "bounce_rate"),
                    "New and returning",
                    "Visitor",
                ),
            ),
        ),
    ),
)

EVENTS = Report(
    "events",
    "Events",
    "What do visitors do?",
    "events",
    tiles=("events", "visitors", "events_per_visitor"),
    blocks=(
        Block(
            "properties",
            "events",
            "reports/properties.html",
            event_properties.make,
            event_properties.ABOUT,
            pictures.of_histogram,
        ),
    ),
    cards=(
        Card(
            "events",
            "Events",
            (
                Table(
                    "events",
                    "event",
                    ("events", "visitors", SHARE, "events_per_visitor"),
                    words={
                        "events_per_visitor": (
                            "Per visitor",
                            METRICS["events_per_visitor"].definition,
                        )
                    },
                ),
            ),
        ),
    ),
    own=(event_properties.OWN,),
)

_MARKED = ["is", "event", ["element", "element_shown"]]
_DONE = ("elements_shown", "elements_hovered", "elements_clicked", "element_click_rate")
# Everything on the page is about elements.
_OF_ELEMENTS = {
    name: (label, METRICS[name].definition)
    for name, label in zip(_DONE, ("Shown", "Hovered", "Clicked", "Click rate"), strict=True)
}

ELEMENTS = Report(
    "elements",
    "Elements",
    "Which item of a list works? Marked elements by what they are, what they say and where they "
    "stand: how often each was seen, and what came of it.",
    "events",
    tiles=(*_DONE, "visitors"),
    cards=(
        Card(
            "items",
            "Items",
            (
                Table(
                    "labels-and-positions",
                    f"{PROPS}label",
                    _DONE,
                    title="Labels and positions",
                    label="Label",
                    filters=_MARKED,
                    words=_OF_ELEMENTS,
                    by=f"{PROPS}position",
                    by_label="Position",
                ),
                Table(
                    "labels",
                    f"{PROPS}label",
                    _DONE,
                    label="Label",
                    filters=_MARKED,
                    words=_OF_ELEMENTS,
                ),
                Table(
                    "positions",
                    f"{PROPS}position",
                    _DONE,
                    label="Position",
                    filters=_MARKED,
                    words=_OF_ELEMENTS,
                ),
            ),
            rows=15,
        ),
        Card(
            "types",
            "Types",
            (
                Table(
                    "types",
                    f"{PROPS}type",
                    _DONE,
                    label="Type",
                    filters=_MARKED,
                    words=_OF_ELEMENTS,
                ),
                Table("element-pages", "page", _DONE, filters=_MARKED, words=_OF_ELEMENTS),
            ),
        ),
    ),
    filters=_MARKED,
    words=_OF_ELEMENTS,
    switches=("elements", "shown"),
    in_more=True,
)


_SHORT = {name: name.upper() for name in LIMITS} | {"load_ms": "Load"}


def _by_speed(name: str, title: str, dimension: str, rows: int) -> Card:
    """A dimension with what three of four loads reach, the median, and nine of ten."""
    kinds = [(75, name, "Three of four loads"), (50, f"{name}-median", "Median")]
    kinds.append((90, f"{name}-slow", "Nine of ten"))
    tables = []
    for percent, table, heading in kinds:
        words = {
            f"{sample}_p{percent}": (label, METRICS[f"{sample}_p{percent}"].definition)
            for sample, label in _SHORT.items()
        }
        tables.append(Table(table, dimension, ("vitals", *words), heading, words=words))
    return Card(name, title, tuple(tables), rows)


SPEED = Report(
    "speed",
    "Speed",
    "How fast do pages load, answer and settle, and where are they slow?",
    "content",
    tiles=("load_ms_p75", *(f"{vital}_p75" for vital in LIMITS)),
    words={
        f"{sample}_p75": (f"{label}, p75", METRICS[f"{sample}_p75"].definition)
        for sample, label in _SHORT.items()
    },
    cards=(
        _by_speed("pages", "Pages", "page", 15),
        _by_speed("countries", "Countries", "country", 9),
        _by_speed("devices", "Devices", "device", 9),
        _by_speed("browsers", "Browsers", "browser", 9),
    ),
    blocks=(
        Block(
            "web vitals",
            "content",
            "reports/vitals.html",
            vitals,
            "Of each what three of four loads reach, and in words whether that is good, needs work "
            f"or is poor, by the limits that the makers of browsers publish: {limits_in_words()}.",
            pictures.of_vitals,
        ),
    ),
    switches=("vitals",),
    in_more=True,
)


@dataclass(frozen=True)
class _Of:
    """Tables of one kind of events, which have a name and a meaning of their own there."""

    filters: list[Any]
    label: str
    definition: str

    @property
    def words(self) -> Words:
        share = ("Share", "Visitors of the row, of all in the range of whom this is told.")
        return {"events": (self.label, self.definition), SHARE: share}

    def table(self, name: str, dimension: str, title: str = "", label: str = "") -> Table:
        columns = ("events", "visitors", SHARE)
        return Table(name, dimension, columns, title, label, self.filters, self.words)


_CLICKED = "Clicks on such links, also with the middle button or the keyboard."
_FOLLOWED = _Of(["is", "event", ["outbound", "download"]], "Clicks", _CLICKED)
_OUTBOUND = _Of(["is", "event", ["outbound"]], "Clicks", _CLICKED)
_DOWNLOADED = _Of(["is", "event", ["download"]], "Clicks", _CLICKED)

LINKS = Report(
    "links",
    "Outbound & downloads",
    "Which links to other sites and to files are followed, and from which pages?",
    "events",
    tiles=("events", "visitors"),
    filters=_FOLLOWED.filters,
    words=_FOLLOWED.words,
    cards=(
        Card(
            "outbound",
            "Outbound links",
            (
                _OUTBOUND.table("outbound", "props:url", "Outbound links", "Link"),
                _OUTBOUND.table("outbound-pages", "page", "Clicked on"),
            ),
        ),
        Card(
            "downloads",
            "Downloads",
            (
                _DOWNLOADED.table("downloads", "props:url", "Downloads", "File"),
                _DOWNLOADED.table("download-pages", "page", "Clicked on"),
            ),
        ),
    ),
    switches=("outbound", "downloads"),
    in_more=True,
)

_MISSED = _Of(
    ["is", "event", ["not_found"]], "Hits", "How often a page was asked for that does not exist."
)

NOT_FOUND = Report(
    "not-found",
    "Not found",
    "Which pages were asked for that do not exist, and who sent visitors there?",
    "events",
    tiles=("events", "visitors"),
    filters=_MISSED.filters,
    words=_MISSED.words,
    cards=(
        _alone(_MISSED.table("pages", "page")),
        Card(
            "referrers",
            "Referrers",
            (_MISSED.table("referrers", "referrer"), _MISSED.table("sources", "source")),
        ),
    ),
    switches=("not_found",),
    in_more=True,
)

_SEARCHED = _Of(
    ["and", ["is", "event", ["pageview", "site_search"]], ["is_not", "props:search", [""]]],
    "Searches",
    "Page views whose address says what was searched, and events site_search with a term.",
)

SEARCH = Report(
    "search",
    "Site search",
    "What do visitors look for on the site itself, and on which pages?",
    "events",
    tiles=("events", "visitors"),
    filters=_SEARCHED.filters,
    words=_SEARCHED.words,
    cards=(
        _alone(_SEARCHED.table("terms", "props:search", "Terms", "Term")),
        _alone(_SEARCHED.table("pages", "page", "Searched on")),
    ),
    switches=("site_search",),
    in_more=True,
)

_OF_BOTS = {
    "events": (
        "Events of bots",
        "Events of crawlers and of pages fetched ahead: kept, and in no other number.",
    ),
    "pageviews": ("Pageviews", "Of them the page views."),
}

BOTS = Report(
    "bots",
    "Bots & refusals",
    "What was kept apart as a crawler's, what was not accepted at all, and why?",
    "events",
    tiles=("events", "pageviews"),
    words=_OF_BOTS,
    bots="only",
    cards=(
        _alone(
            Table(
                "crawlers",
                "browser",
                ("events", "pageviews"),
                "Bots",
                "Name",
                words=_OF_BOTS,
                bots="only",
            )
        ),
        _alone(
            Table(
                "fetched", "page", ("pageviews",), "Pages they fetch", words=_OF_BOTS, bots="only"
            )
        ),
    ),
    blocks=(
        Block(
            "refused events",
            "events",
            "reports/refused.html",
            refused,
            "Reasons with their number and what to do about each; then the periods of the range "
            "with what was accepted, how much of it was of bots, duplicates and refusals. By hour "
            "of receipt, from the ledger: never mixed with what the other numbers count, and not "
            "filtered, for of what is refused nothing but reason and hour is kept.",
        ),
    ),
    in_more=True,
)

# In the order of the navigation: tabs first, then the menu behind them.
REPORTS = {
    report.name: report
    for report in (
        PAGES,
        SOURCES,
        AUDIENCE,
        EVENTS,
        ELEMENTS,
        SPEED,
        LINKS,
        SEARCH,
        NOT_FOUND,
        BOTS,
    )
}


def find(name: str) -> Report:
    return OVERVIEW if name == OVERVIEW.name else REPORTS[name]
