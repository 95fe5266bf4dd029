"""What arrived at a property last, and what became of it: the event inspector's questions.

In: a property behind THE DOOR and a filter. Out: `Seen`s, newest first: samples of the last
minutes as the collector took them (sampling.py), and stored events where those do not reach, so
that the list is never empty when there are events. Called by pages.py.
"""

import dataclasses
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import orjson
import redis.exceptions
import structlog
from django_redis import get_redis_connection
from django_redis.exceptions import ConnectionInterrupted

from properties.models import Property
from tracking import keys
from tracking.addresses import split
from tracking.event import COLUMNS, read_row
from tracking.models import Event, EventId, Visitor
from tracking.refusals import WHAT_TO_DO, Reason
from tracking.sampling import LASTS, LEFT_OUT, LIMITED, PINGS, REFUSED, SEEN, oldest, sampler

MOST = 100
WATCHED_FOR = 15_000  # ms after the page has asked
NEWEST = 2_000  # stored events among which a name is looked for
VERDICTS = ("accepted", "duplicate", "refused")
_NOT_SHOWN = {"fingerprint"}

log = structlog.get_logger()


@dataclasses.dataclass(frozen=True, slots=True)
class Seen:
    """One event. `received` is its payload as text, "" where nobody kept it; `stored` the row
    it became; `where` its host and path."""

    id: str
    at: datetime
    verdict: str
    name: str = ""
    where: str = ""
    visitor: str = ""
    country: str = ""
    bot: bool = False
    reason: str = ""
    field: str = ""
    message: str = ""
    received: str = ""
    cut: int = 0
    stored: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def columns(self) -> dict[str, str]:
        """What of the row says something, as text."""
        return _texts(self.stored)

    @property
    def what_to_do(self) -> str:
        return WHAT_TO_DO.get(Reason(self.reason), "") if self.reason in list(Reason) else ""


@dataclasses.dataclass(frozen=True, slots=True)
class Recent:
    """Heartbeats, samples without room and events turned away with 429 are of the last minute.
    is_live: the samples could be read."""

    rows: list[Seen]
    pings: int = 0
    left_out: int = 0
    limited: int = 0
    is_live: bool = True


def watch(place: Property, now: datetime) -> None:
    """Let the collectors take samples of this property for a while."""
    client = get_redis_connection("default")
    until = _ms(now) + WATCHED_FOR
    pipe = client.pipeline(transaction=False)
    pipe.zremrangebyscore(keys.WATCHED, "-inf", _ms(now))
    pipe.zadd(keys.WATCHED, {str(place.pk): until})
    pipe.pexpire(keys.WATCHED, WATCHED_FOR)
    pipe.execute()
    sampler.watched |= {place.pk}  # this process need not wait until it asks


def recent(place: Property, now: datetime, verdict: str = "", name: str = "") -> Recent:
    """The newest events with that verdict and name ("": any), at most MOST. Asking makes the
    property watched."""
    try:
        watch(place, now)
        sampled, tallies, is_live = _samples(place, now), _tallies(place, now), True
    except (redis.exceptions.RedisError, ConnectionInterrupted) as error:
        log.warning("no samples for the event inspector", error=str(error))
        sampled, tallies, is_live = [], Counter(), False
    rows = [seen for seen in sampled if _fits(seen, verdict, name)]
    if verdict in ("", "accepted"):
        known = {seen.id for seen in sampled}
        rows += [seen for seen in _stored(place, name) if seen.id not in known]
    rows.sort(key=lambda seen: seen.at, reverse=True)
    return Recent(rows[:MOST], tallies[PINGS], tallies[LEFT_OUT], tallies[LIMITED], is_live=is_live)


def one(place: Property, seen_id: str, now: datetime) -> Seen | None:
    """An event of `recent` by its id: from the samples, else as stored."""
    try:
        found = next((seen for seen in _samples(place, now) if seen.id == seen_id), None)
    except (redis.exceptions.RedisError, ConnectionInterrupted):
        found = None
    return found or _one_stored(place, seen_id)


def is_in_postgres(place: Property, seen: Seen) -> bool:
    """Whether an accepted event has come to where reports read (the worker takes a second)."""
    return seen.verdict == "accepted" and _of_id(place, seen.id) is not None


def _fits(seen: Seen, verdict: str, name: str) -> bool:
    return verdict in ("", seen.verdict) and name in ("", seen.name)


# -- samples ---------------------------------------------------------------------------------------


def _tallies(place: Property, now: datetime) -> Counter[str]:
    """What was counted in the last minute."""
    second = _ms(now) // 1_000
    client, prefix = get_redis_connection("default"), keys.prefix(place.account_id, place.pk)
    pipe = client.pipeline(transaction=False)
    for minute in (second // 60, second // 60 - 1):
        pipe.hgetall(keys.tally(prefix, minute))
    counted: Counter[str] = Counter()
    for found in pipe.execute():
        for name, count in found.items():
            if int(name[1:]) > second - 60:
                counted[name[:1].decode()] += int(count)
    return counted


def _samples(place: Property, now: datetime) -> list[Seen]:
    prefix = keys.prefix(place.account_id, place.pk)
    pipe = get_redis_connection("default").pipeline(transaction=False)
    for kind in (SEEN, REFUSED):
        since = f"({oldest(_ms(now))}"
        pipe.zrange(keys.samples(prefix, kind), "+inf", since, desc=True, byscore=True)
    return [_seen(orjson.loads(sample)) for part in pipe.execute() for sample in part]


def _seen(sample: dict[str, Any]) -> Seen:
    said = {name: sample.get(name, "") for name in ("reason", "field", "message", "received")}
    known = {
        "id": sample["id"],
        "at": datetime.fromtimestamp(sample["at"] / 1_000, UTC),
        "verdict": sample["verdict"],
        "cut": sample.get("cut", 0),
        **said,
    }
    if "row" in sample:
        stored = read_row(sample["row"].encode())
        return Seen(**known, **_shown(stored), stored=stored)
    page = split(sample.get("url", ""))
    return Seen(
        **known,
        name=sample.get("name", ""),
        where=page.hostname + page.path if page else sample.get("url", ""),
        visitor=sample.get("visitor", ""),
        country=sample.get("country", ""),
        bot=sample.get("bot", False),
    )


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    """What stands in the list, of a row."""
    return {
        "name": row["name"],
        "where": f"{row['hostname']}{row['page']}",
        "visitor": row["visitor_uuid"],
        "country": row["country"],
        "bot": row["bot"] in (True, "t"),
    }


def _texts(row: dict[str, Any]) -> dict[str, str]:
    """The columns that say something, as text."""
    words = {"t": "yes", True: "yes", "f": "no", False: "no"}
    return {
        name: words[value] if name in ("bot", "sanitized") else str(value)
        for name, value in row.items()
        if value not in (None, "") and name not in _NOT_SHOWN
    }


# -- stored events ---------------------------------------------------------------------------------


def _stored(place: Property, name: str) -> Iterator[Seen]:
    found = Event.objects.filter(property_id=place.pk).order_by("-time")
    if name:
        # A rare name would be looked for through a year of events.
        last = found.values_list("time", flat=True)[NEWEST - 1 : NEWEST].first()
        found = found.filter(name=name)
        found = found.filter(time__gte=last) if last else found
    return _of_events(place, found[:MOST])


def _one_stored(place: Property, seen_id: str) -> Seen | None:
    known = _of_id(place, seen_id)
    if known is None:
        return None
    found = Event.objects.filter(property_id=place.pk, time=known.time, event_id=known.event_id)
    return next(_of_events(place, found), None)


def _of_id(place: Property, seen_id: str) -> EventId | None:
    try:
        event_id = UUID(seen_id)
    except ValueError:
        return None
    return EventId.objects.filter(property_id=place.pk, event_id=event_id).first()


def _of_events(place: Property, events: Iterable[Event]) -> Iterator[Seen]:
    events = list(events)
    numbers = {event.visitor for event in events}
    visitors = Visitor.objects.filter(property_id=place.pk, number__in=numbers)
    uuids = dict(visitors.values_list("number", "visitor"))
    for event in events:
        columns = [name for name in COLUMNS if name not in ("fingerprint", "visitor_uuid")]
        row = {name: getattr(event, name) for name in columns}
        row["visitor_uuid"] = str(uuids.get(event.visitor, ""))
        for moment in ("time", "received_at"):
            row[moment] = row[moment].isoformat(timespec="milliseconds")
        if row["props"] is not None:
            row["props"] = orjson.dumps(row["props"]).decode()
        yield Seen(
            id=str(event.event_id),
            at=event.received_at,
            verdict="accepted",
            **_shown(row),
            stored=row,
        )


def _ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1_000)


__all__ = ["LASTS", "MOST", "VERDICTS", "Recent", "Seen", "is_in_postgres", "one", "recent"]
