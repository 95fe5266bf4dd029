"""What stands on the live page, of one property or of all properties of an account.

Enters: a snapshot (tracking/live.py) and the filters of the address. Leaves: plain values that the
templates only lay out, and the same as JSON for frontend/static/js/live.js, which keeps the page
going. Called by reports/live_views.py. The definitions stand here once: the page and docs/live.md
show them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from django.http import QueryDict

from properties.currencies import DECIMALS
from properties.inputs import is_storable
from properties.models import Property
from properties.periods import Span, floor, zone
from properties.strangers_text import visible
from reports import concurrency
from reports.address import AddressError
from reports.filters import LONGEST_VALUE
from reports.formatting import Number, exact, name_of, percent, short
from tracking import places, rounds

MOST_FILTERS = 5
LOOKS_BACK, AHEAD = timedelta(minutes=11), timedelta(hours=1)  # of the line of a week before
MOST_SUMMED = 20  # properties whose histories a page of an account adds up
ROWS_OF_A_WALL = 6


@dataclass(frozen=True)
class Word:
    """A number of the page: its key in the snapshot, its name and what it means."""

    name: str
    label: str
    definition: str


NUMBERS = (
    Word(
        "open",
        "Open",
        "Visitors with a page open, in front of them or not; several tabs are one visitor.",
    ),
    Word("active", "Active", "Those whose page is visible: its tab is in front."),
    Word(
        "engaged",
        "Engaged",
        "Those who scrolled, moved, typed or tapped in the last 5 seconds.",
    ),
)
VISITS = (
    Word("new", "New", "Open visitors who were first seen within the hour."),
    Word(
        "returning",
        "Returning",
        "Open visitors who were here before, and less often than the loyal.",
    ),
    Word(
        "loyal", "Loyal", "Open visitors who were here on at least 8 of the 16 days before today."
    ),
)
LAST_30M = (
    Word("carts", "Running carts", "Visitors who put something into a cart and have not bought."),
    Word("conversions", "Conversions", "Visitors who reached a goal."),
    Word("revenue", "Revenue", "Orders net of refunds."),
    Word("events", "Events", "Accepted events, without those of bots."),
)
OF_PAGES = (
    Word(
        "engaged_ms",
        "Engaged",
        "Mean engaged time on the page, of those who left or hid it in the last 30 minutes.",
    ),
    Word("scroll", "Scroll", "How far down the page they came, on average."),
    Word("new", "New", "Share of its open visitors who were first seen within the hour."),
)
TRENDS = {
    "gaining": Word("gaining", "▲", "Gaining: more are here than ten minutes ago"),
    "losing": Word("losing", "▼", "Losing: fewer are here than ten minutes ago"),
}


@dataclass(frozen=True)
class Card:
    """A ranked table: `rows` names it in the snapshot, `dimension` its values there and in the
    address."""

    rows: str
    dimension: str
    title: str
    empty: str
    shown: int


PAGES = Card("pages", "page", "Pages", "No page is open.", 12)
PLACES = Card("properties", "property", "Properties", "Nobody is on any property.", 12)
CARDS = (
    Card("sources", "source", "Sources", "Nobody has a known source.", 8),
    Card("campaigns", "campaign", "Campaigns", "Nobody came by a campaign.", 8),
    Card("countries", "country", "Countries", "No country is known.", 8),
    Card("devices", "device", "Devices", "No device is known.", 8),
)
LABELS = {
    "page": "Page",
    "source": "Source",
    "campaign": "Campaign",
    "country": "Country",
    "device": "Device",
    "visit": "Visit",
}


# -- the address -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Filter:
    """`source:is:Google`, as in the addresses of reports; here a value is always the whole one."""

    dimension: str
    value: str

    @classmethod
    def parse(cls, text: str) -> Filter:
        dimension, _, rest = text.partition(":")
        operator, colon, value = rest.partition(":")
        if dimension not in LABELS:
            raise AddressError(
                f"The live page knows no {dimension[:40]!r}: filter by one of {', '.join(LABELS)}.",
                "filter",
            )
        if operator != "is" or not colon:
            raise AddressError(f"A live filter is written {dimension}:is:value.", "filter")
        if len(value) > LONGEST_VALUE or not is_storable(value):
            raise AddressError(
                f"No value is longer than {LONGEST_VALUE:,} letters or holds a NUL: shorten it.",
                "filter",
            )
        return cls(dimension, value)

    @property
    def text(self) -> str:
        return f"{self.dimension}:is:{self.value}"

    @property
    def label(self) -> str:
        return f"{LABELS[self.dimension]} is"

    @property
    def shown_value(self) -> str:
        return shown(self.dimension, self.value)


@dataclass(frozen=True)
class Address:
    """One view of the live page; equal views have equal addresses."""

    filters: tuple[Filter, ...] = ()
    wall: bool = False

    @property
    def query(self) -> str:
        return self._query(self.filters, self.wall)

    @property
    def filter_query(self) -> str:
        """What the stream and the numbers are asked with."""
        return self._query(self.filters, False)

    @property
    def on_wall(self) -> str:
        return self._query(self.filters, True)

    @property
    def off_wall(self) -> str:
        return self.filter_query

    def with_filter(self, dimension: str, value: str) -> str:
        more = tuple(dict.fromkeys((*self.filters, Filter(dimension, value))))
        return self._query(more, self.wall)

    def without(self, unwanted: Filter) -> str:
        rest = tuple(each for each in self.filters if each != unwanted)
        return self._query(rest, self.wall)

    @property
    def asked(self) -> list[Any] | None:
        """The filters as the API takes them."""
        found: list[Any] = [["is", each.dimension, [each.value]] for each in self.filters]
        if len(found) < 2:
            return found[0] if found else None
        return ["and", *found]

    @staticmethod
    def _query(filters: tuple[Filter, ...], wall: bool) -> str:
        pairs = [("filter", each.text) for each in filters]
        return "?" + urlencode([*pairs, *([("wall", "1")] if wall else [])], safe="/:")


def read(params: QueryDict) -> Address:
    """The view that GET parameters ask for; AddressError says what is wrong."""
    texts = params.getlist("filter")
    if len(texts) > MOST_FILTERS:
        raise AddressError(f"Over {MOST_FILTERS} filters at once: remove some.", "filter")
    filters = tuple(dict.fromkeys(Filter.parse(text) for text in texts))
    return Address(filters, params.get("wall") == "1")


# -- a week before -----------------------------------------------------------------------------


def week_before(
    places: Sequence[Property], address: Address, now: datetime
) -> list[tuple[int, float]]:
    """[epoch second, open visitors] of the same minutes by the clock a week before, from LOOKS_BACK
    to AHEAD. A minute in which nobody looked is left out; so is everything where the history does
    not know what the address filters by."""
    if len(places) > MOST_SUMMED or len(address.filters) > 1:
        return []
    of = tuple(part for each in address.filters for part in (each.dimension, each.value))
    if of and of[0] not in rounds.DIMENSIONS:
        return []
    sums: dict[int, list[float]] = defaultdict(list)
    for place in places:
        tz = zone(place.timezone)
        within = Span(floor("minute", now - LOOKS_BACK, tz), floor("minute", now + AHEAD, tz))
        for second, value in concurrency.week_before(place, within, now, *of):
            sums[second].append(value)
    every = sums.items()
    return [(second, sum(values)) for second, values in every if len(values) == len(places)]


# -- the numbers -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Tile:
    word: Word
    text: str
    title: str


@dataclass(frozen=True)
class Row:
    key: str
    name: str
    href: str
    leaves: bool  # the link leads to another page
    width: str  # of the bar behind the text, in percent of the widest
    number: str
    title: str
    engaged: str = ""
    scroll: str = ""
    new: str = ""
    trend: Word | None = None


@dataclass(frozen=True)
class FilledCard:
    card: Card
    rows: list[Row]


def shown(dimension: str, value: str) -> str:
    """A value in words, as everywhere in the reports."""
    return visible(value) if dimension in ("visit", "property") else name_of(dimension, value)


def country_names() -> Mapping[str, str]:
    """For the script, which gets codes."""
    return places.country_names()


def numbers(snapshot: Mapping[str, Any] | None) -> list[Tile]:
    """Open, active, engaged; "-" while they are unknown."""
    return [_tile(word, snapshot.get(word.name) if snapshot else None) for word in NUMBERS]


def visits(snapshot: Mapping[str, Any] | None) -> list[Tile]:
    found = (snapshot or {}).get("visits") or {}
    return [_tile(word, found.get(word.name)) for word in VISITS]


def last_30m(snapshot: Mapping[str, Any] | None, sees_orders: bool, currency: str) -> list[Tile]:
    """Of the last half hour. `sees_orders`: the reader may view e-commerce."""
    found = (snapshot or {}).get("last_30m") or {}
    tiles = []
    for word in LAST_30M:
        if word.name in ("carts", "revenue") and not sees_orders:
            continue
        value = found.get(word.name)
        if word.name == "revenue" and value is not None:
            text = money(value, currency)
            tiles.append(Tile(word, text, f"{word.label}: {text}"))
        else:
            tiles.append(_tile(word, value))
    return tiles


def money(minor: int, currency: str) -> str:
    """Minor units as 1,234.50 EUR, with the decimals that the currency has."""
    digits = decimals(currency)
    return f"{minor / 10**digits:,.{digits}f} {currency}"


def decimals(currency: str) -> int:
    return DECIMALS.get(currency, 2)


def _tile(word: Word, value: Number) -> Tile:
    return Tile(word, short(value), f"{word.label}: {exact(value)}")


def fill(
    card: Card,
    snapshot: Mapping[str, Any] | None,
    address: Address,
    ways: Mapping[str, str] | None = None,
) -> FilledCard:
    """The first rows of a card, fewer on a wall; following one filters everything by it, or leads
    to the page that stands in `ways`."""
    if address.wall:
        card = replace(card, shown=ROWS_OF_A_WALL)
    rows: list[dict[str, Any]] = list((snapshot or {}).get(card.rows) or [])[: card.shown]
    widest = max((row["open"] for row in rows), default=0)
    return FilledCard(card, [_row(card, row, widest, address, ways or {}) for row in rows])


def _row(
    card: Card, row: Mapping[str, Any], widest: int, address: Address, ways: Mapping[str, str]
) -> Row:
    value = str(row[card.dimension])
    name = visible(row["name"]) if "name" in row else shown(card.dimension, value)
    return Row(
        key=value,
        name=name,
        href=ways.get(value) or address.with_filter(card.dimension, value),
        leaves=value in ways,
        width=f"{row['open'] / widest * 100:.1f}%" if widest else "0%",
        number=short(row["open"]),
        title=f"{exact(row['open'])} open, {exact(row['active'])} active, "
        f"{exact(row['engaged'])} engaged",
        engaged=short(row.get("engaged_ms"), "duration_ms"),
        scroll=_whole_percent(row.get("scroll")),
        new=percent(row["new"]) if row.get("new") is not None else short(None),
        trend=TRENDS.get(row.get("trend") or ""),
    )


def _whole_percent(value: Number) -> str:
    return short(None) if value is None else f"{value:.0f} %"
