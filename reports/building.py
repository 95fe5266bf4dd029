"""The filter builder and the segments of a report's bar.

Enters: the page that is looked at and who looks. Leaves: plain values that the templates only lay
out: each filter with the links that turn it round or take it away, where one more can go, what can
be filtered by, the segments that may be used. A link is a view, so building needs no script and
goes back with the browser's button. Called by reports/views.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.urls import reverse

from accounts import modules
from properties import goals
from properties.access import Actor
from reports import chips, segments
from reports.chips import GROUPS, OPERATORS, SEGMENTS, Filter, Group, Item
from reports.filters import LONGEST_VALUE, SEGMENT
from reports.metrics import DIMENSIONS, GOAL, PROPS
from reports.parts import Page
from reports.picks import Link


@dataclass(frozen=True)
class Line:
    """A filter or group in the builder; `kinds` are the ways in which a group can hold."""

    item: Item
    depth: int
    label: str
    value: str
    without: str
    turned: str
    kinds: list[Link]


def shown(page: Page, actor: Actor | None) -> dict[str, Any]:
    """What bar.html reads."""
    inside = actor is not None and not actor.only_looks
    usable = segments.of_property(page.place, actor) if actor is not None and inside else []
    names = {segment.slug: segment.name for segment in usable}
    account = page.place.account
    may_keep = actor is not None and inside and actor.may(segments.VERB, segments.MODULE, account)
    address = page.address
    return {
        "lines": list(lines(page, names)),
        "places": chips.places(address.filters),
        "choices": list(choices(page, has_segments=bool(usable))),
        "operators": OPERATORS,
        "longest_value": LONGEST_VALUE,
        "chips": [
            {
                "label": each.label,
                "value": value_of(each, names),
                "without": address.without_filter(each),
            }
            for each in address.filters
        ],
        "without_all": address.but(filters=()) if len(address.filters) > 1 else "",
        "segments": [
            Link(segment.name, address.with_filter(SEGMENT, segment.slug)) for segment in usable
        ],
        "segments_url": reverse("segments", args=[account.slug])
        if inside and actor is not None and actor.may("view", segments.MODULE, account)
        else "",
        "keeping": [(each.slug, each.name) for each in usable] if may_keep else None,
        "kept_texts": chips.texts_of(address.filters),
        "back_query": address.but(filters=()),
        "count_url": page.url_of("count") if page.may_view("audience") else "",
        "names": names_for(page, names) if inside else {},
        "values_url": reverse("api_dimensions", args=[page.place.key])
        if inside
        else page.url_of("dimensions"),
        "range": address.range.text,
    }


def lines(page: Page, names: dict[str, str]) -> Iterator[Line]:
    """Every filter with the views in which it is changed."""
    address = page.address

    def view(path: chips.Path, change: Any) -> str:
        return address.but(filters=chips.changed(address.filters, path, change))

    for path, item in chips.walk(address.filters):
        kinds = []
        if isinstance(item, Group):
            within = item.items
            kinds = [
                Link(words, view(path, lambda _, k=kind, w=within: Group(k, w)), kind == item.kind)
                for kind, words in GROUPS.items()
            ]
        yield Line(
            item=item,
            depth=len(path),
            label=item.label if isinstance(item, Filter) else "",
            value=value_of(item, names) if isinstance(item, Filter) else "",
            without=view(path, lambda _: None),
            turned=view(path, lambda each: each.turned()),
            kinds=kinds,
        )


def value_of(item: Item, names: dict[str, str]) -> str:
    """A segment by its name, where the reader may know it."""
    if isinstance(item, Filter) and item.dimension == SEGMENT:
        return names.get(item.value, item.shown_value)
    return item.shown_value


def choices(page: Page, *, has_segments: bool) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """What can be filtered by, under the names of the modules that show it."""
    for module, name in modules.NAMES.items():
        if not page.may_view(module):
            continue
        found = [(each.name, each.label) for each in DIMENSIONS.values() if each.module == module]
        if module == "events":
            found.append((PROPS, "Property of the event"))
        if found:
            yield name, found
    if has_segments:
        yield "Kept", [(SEGMENT, SEGMENTS.label)]


def names_for(page: Page, names: dict[str, str]) -> dict[str, list[list[str]]]:
    """Of what is not looked up while somebody types: value and name."""
    known: list[list[str]] = []
    if page.may_view(DIMENSIONS[GOAL].module):
        known = [[goal.name, ""] for goal in goals.of(page.place)]
    return {SEGMENT: [[slug, name] for slug, name in names.items()], GOAL: known}
