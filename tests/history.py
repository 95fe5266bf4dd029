"""A small history written straight into the tables, for tests of what reads them.

In: events as short dictionaries in any order. Out: rows of `events` and `sessions` (derived by
the gap of 30 minutes) through the worker's connection, as the drain would leave them.
"""

import json
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

GAP = timedelta(minutes=30)
AUTOMATIC = (
    "pageview", "engagement", "web_vitals", "events_lost", "exposure", "element_shown", "not_found",
)  # fmt: skip
SESSION_TEXTS = (
    "hostname", "referrer", "source", "medium", "campaign", "term", "content", "channel",
    "country", "device", "browser", "os", "language", "screen",
)  # fmt: skip
TOUCHED = ("source", "medium", "campaign", "channel")
EVENT_TEXTS = (
    *SESSION_TEXTS, "page", "query", "title", "browser_version", "user", "currency",
)  # fmt: skip


def at(text: str) -> datetime:
    """`2026-03-10T12:00` as an instant in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@dataclass
class Happening:
    """One event; texts that it does not name are empty."""

    time: datetime
    visitor: int
    name: str = "pageview"
    page: str = "/"
    source: str = "Direct"
    channel: str = "Direct"
    bot: bool = False
    engaged_ms: int | None = None
    scroll: int | None = None
    load_ms: int | None = None
    props: dict[str, Any] | None = None
    revenue: str | None = None  # in the property's currency, EUR, unless a text names another
    texts: dict[str, str] = field(default_factory=dict)

    def text(self, name: str) -> str:
        if name in ("page", "source", "channel"):
            return str(getattr(self, name))
        return self.texts.get(name, "")

    @property
    def currency(self) -> str:
        return self.text("currency") or ("EUR" if self.revenue else "")


@dataclass
class Visit:
    """A session, as the drain derives it."""

    events: list[Happening]
    before: list["Visit"] = field(default_factory=list)  # of the same visitor, in order

    @property
    def is_first(self) -> bool:
        return not self.before

    @property
    def last_touch(self) -> "Visit":
        """The last visit that was not direct, up to this one and 30 days back."""
        month = self.started_at - timedelta(days=30)
        for visit in reversed([*self.before, self]):
            if visit.started_at >= month and visit.text("channel") not in ("Direct", ""):
                return visit
        return self

    @property
    def first(self) -> Happening:
        return self.events[0]

    @property
    def visitor(self) -> int:
        return self.first.visitor

    @property
    def bot(self) -> bool:
        return self.first.bot

    @property
    def started_at(self) -> datetime:
        return self.first.time

    @property
    def ended_at(self) -> datetime:
        return self.events[-1].time

    @property
    def pages(self) -> list[str]:
        return [event.page for event in self.events if event.name == "pageview"]

    @property
    def interactions(self) -> int:
        return sum(event.name not in AUTOMATIC for event in self.events)

    @property
    def engaged_ms(self) -> int:
        return sum(event.engaged_ms or 0 for event in self.events)

    @property
    def bounced(self) -> bool:
        return len(self.pages) == 1 and not self.interactions and self.engaged_ms < 10_000

    def text(self, name: str) -> str:
        if name == "entry_page":
            return self.pages[0] if self.pages else ""
        if name == "exit_page":
            return self.pages[-1] if self.pages else ""
        touch, _, rest = name.partition("_")
        if touch == "first":
            return [*self.before, self][0].text(rest)
        if touch == "last":
            return self.last_touch.text(rest)
        return self.first.text(name)


def visits(history: Iterable[Happening]) -> Iterator[Visit]:
    """The sessions of a history."""
    current: list[Happening] = []
    seen: dict[int, list[Visit]] = {}

    def visit() -> Visit:
        earlier = seen.setdefault(current[0].visitor, [])
        found = Visit(current, list(earlier))
        earlier.append(found)
        return found

    for event in sorted(history, key=lambda event: (event.visitor, event.time)):
        fits = current and current[-1].visitor == event.visitor
        if current and not (fits and event.time - current[-1].time <= GAP):
            yield visit()
            current = []
        current.append(event)
    if current:
        yield visit()


def write(place: Any, history: list[Happening], before: list[Happening] | None = None) -> None:
    """Store the events and their sessions; `before` are events that are stored already."""
    from django.db import connections

    from tracking.models import Session, Visitor

    rows = [_event_row(place, event) for event in history]
    columns = ", ".join(f'"{name}"' for name in rows[0]) if rows else ""
    with connections["worker"].cursor() as cursor:
        for month in {event.time.date().replace(day=1) for event in history}:
            cursor.execute("SELECT ensure_events_partition(%s)", [month])
        for row in rows:
            marks = ", ".join(["%s"] * len(row))
            cursor.execute(f"INSERT INTO events ({columns}) VALUES ({marks})", list(row.values()))
    every = [*(before or []), *history]
    if before:  # their sessions may be others now
        Session.objects.using("worker").filter(property_id=place.pk).delete()
        Visitor.objects.using("worker").filter(property_id=place.pk).delete()
    Session.objects.using("worker").bulk_create(
        Session(**_session_row(place, visit)) for visit in visits(every)
    )
    times: dict[int, list[datetime]] = {}
    for event in every:
        times.setdefault(event.visitor, []).append(event.time)
    Visitor.objects.using("worker").bulk_create(
        Visitor(
            account_id=place.account_id, property_id=place.pk, visitor=uuid.uuid4(),
            number=visitor, first_seen=min(seen), last_seen=max(seen),
        )
        for visitor, seen in times.items()
    )  # fmt: skip
    if history:  # as the drain does
        first = min(event.time for event in history)
        if place.first_event_at is None or first < place.first_event_at:
            place.first_event_at = first
            place.save(update_fields=["first_event_at"])


def _event_row(place: Any, event: Happening) -> dict[str, Any]:
    return (
        {
            "account_id": place.account_id,
            "property_id": place.pk,
            "time": event.time,
            "received_at": event.time,
            "event_id": uuid.uuid4(),
            "visitor": event.visitor,
            "name": event.name,
            "bot": event.bot,
            "sanitized": False,
            "engaged_ms": event.engaged_ms,
            "scroll": event.scroll,
            "load_ms": event.load_ms,
            "revenue": event.revenue,
            "props": json.dumps(event.props) if event.props is not None else None,
        }
        | {name: event.text(name) for name in EVENT_TEXTS}
        | {"currency": event.currency}
    )


def _session_row(place: Any, visit: Visit) -> dict[str, Any]:
    return {
        "account_id": place.account_id,
        "property_id": place.pk,
        "visitor": visit.visitor,
        "started_at": visit.started_at,
        "ended_at": visit.ended_at,
        "bot": visit.bot,
        "pageviews": len(visit.pages),
        "events": len(visit.events),
        "interactions": visit.interactions,
        "engaged_ms": visit.engaged_ms,
        "entry_page": visit.text("entry_page"),
        "exit_page": visit.text("exit_page"),
    } | {name: visit.text(name) for name in SESSION_TEXTS}


def roll_up(
    place: Any,
    history: list[Happening],
    before: list[Happening] | None = None,
    now: datetime | None = None,
) -> None:
    """Rollups and bitmaps of these events, by the product's own rollup."""
    from reports.rollups import roll_up_property
    from tracking.models import DirtyHour
    from tracking.working import clock_of, mark_dirty, transaction_of_worker

    now = now or datetime.now(UTC)
    with transaction_of_worker() as cursor:
        hours = marked(history, before or [], clock_of(place.timezone))
        mark_dirty(cursor, place, hours, DirtyHour.Why.RAW, now)
    roll_up_property(place, now)


def marked(history: list[Happening], before: list[Happening], clock: Any) -> set[int]:
    """The hours that the drain marks: those of the new events, and of sessions that are others
    now, or have other touches."""
    from properties.periods import Span
    from tracking.sessions import hours_of

    old, new = ({_all_of(visit) for visit in visits(some)} for some in (before, before + history))
    spans = [Span(event.time, event.time) for event in history]
    spans += [Span(start, end) for start, end, *_ in old ^ new]
    return hours_of(spans, clock)


def _all_of(visit: Visit) -> tuple[Any, ...]:
    touches = [visit.text(f"{touch}_{name}") for touch in ("first", "last") for name in TOUCHED]
    events = tuple(map(id, visit.events))
    return visit.started_at, visit.ended_at, visit.visitor, visit.is_first, *touches, events
