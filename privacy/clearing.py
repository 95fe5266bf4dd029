"""What Valkey knows of an erased visitor goes: the map, bits, event ids, the live set, samples.

Enters: a property, a subject, and the traces that erasing.py found in Postgres. Leaves: nothing
of it in either Valkey; the virtual id is not given out again, for it only counts up. Safe to
repeat. Keys are named one by one: nothing here looks through the key space.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import orjson
from django_redis import get_redis_connection

from privacy.subjects import Subject
from properties.models import Property
from reports.loyalty import KEPT, WIDTH
from tracking import fields, keys
from tracking.event import read_row
from tracking.models import Erasure
from tracking.refusals import Refusal
from tracking.sampling import REFUSED, SEEN
from tracking.store import Script, events_client, leave

CLEAR = Script("clear")
AT_ONCE = 500  # keys of one call: collecting waits for it
BITS_LAST = timedelta(days=3)
MINUTES_LAST = timedelta(hours=4)  # three, and one for clocks that differ
IDS_LAST = timedelta(hours=72)
DAYS_OF_COOKIELESS = 4


@dataclass
class Traces:
    """What is to be looked for: JSON in the erasure's row until it is done."""

    numbers: list[int] = field(default_factory=list)
    hours: list[int] = field(default_factory=list)  # local, starts in epoch seconds
    event_ids: list[str] = field(default_factory=list)
    since: str = ""  # first event of the visitors, ISO 8601


def clear(place: Property, subject: Subject, traces: Traces, now: datetime) -> None:
    """Take it out of both Valkeys. Raises redis.RedisError; then it is to be done again."""
    prefix = keys.prefix(place.account_id, place.pk)
    if subject.kind == Erasure.Kind.VISITOR:
        uuid = UUID(subject.target).bytes
        _clear_map(prefix, uuid, now)
        leave(prefix, uuid)
    events_client().unlink(keys.feed(prefix))  # the last minutes, of everybody
    _clear_event_ids(prefix, traces.event_ids)
    _clear_loyal(prefix, traces.numbers)
    for hour in traces.hours:
        names = list(_bits_of(prefix, hour, now))
        for number in traces.numbers:
            for start in range(0, len(names), AT_ONCE):
                CLEAR.call(events_client(), prefix, [number, *names[start : start + AT_ONCE]])
    _clear_samples(place, prefix, subject)


def _clear_map(prefix: str, uuid: bytes, now: datetime) -> None:
    today = int(now.timestamp()) // 86_400
    pipe = events_client().pipeline(transaction=False)
    pipe.hdel(keys.visitors(prefix, uuid[14:].hex()), uuid[:14])
    for day in range(today - DAYS_OF_COOKIELESS, today + 2):
        for bits, bucket in keys.places_of(uuid):
            pipe.hdel(keys.visitors_of_day(prefix, day, bits, bucket), uuid[:15])
    pipe.execute()


def _clear_event_ids(prefix: str, event_ids: list[str]) -> None:
    for start in range(0, len(event_ids), AT_ONCE):
        pipe = events_client().pipeline(transaction=False)
        for event_id in event_ids[start : start + AT_ONCE]:
            known = UUID(event_id).bytes
            for bits, bucket in keys.places_of(known):
                pipe.hdel(keys.event_ids(prefix, bits, bucket), known[:15])
        pipe.execute()


def _clear_loyal(prefix: str, numbers: Iterable[int]) -> None:
    """Who comes often is asked anew in some hours, of bitmaps that know nothing of her any more."""
    client = events_client()
    for number in numbers:
        name = keys.loyal(prefix, number // WIDTH)
        if client.getbit(name, number % WIDTH):
            pipe = client.pipeline(transaction=False)
            pipe.setbit(name, number % WIDTH, 0)
            pipe.expire(name, KEPT, nx=True)  # it may have ended between
            pipe.execute()


def _bits_of(prefix: str, hour: int, now: datetime) -> Iterator[str]:
    """Every key of bits that the hour may have: its counters say which."""
    whos = ["a"]
    for code in events_client().hkeys(keys.counters(prefix, hour)):
        if code[:1] == b"E":
            whos.append(code.decode())
        elif code[:1] == b"A":
            whos.append(f"P{code[1:].decode()}")
    yield from (keys.bits(prefix, keys.HOUR, hour, who) for who in whos)
    if hour < (now - MINUTES_LAST).timestamp() - 3600:
        return
    for minute in range(hour, hour + 3600 + 1, 60):
        for who in whos:
            if who[0] != "P":
                yield keys.bits(prefix, keys.MINUTE, minute, who)


# -- samples of the event inspector ----------------------------------------------------------------


def _clear_samples(place: Property, prefix: str, subject: Subject) -> None:
    client = get_redis_connection("default")
    for kind in (SEEN, REFUSED):
        name = keys.samples(prefix, kind)
        gone = [sample for sample in client.zrange(name, 0, -1) if _names(place, subject, sample)]
        if gone:
            client.zrem(name, *gone)


def _names(place: Property, subject: Subject, sample: bytes) -> bool:
    """Whether the sample is of the subject: as received, or as the row that it became."""
    said: dict[str, Any] = orjson.loads(sample)
    row = read_row(said["row"].encode()) if "row" in said else {}
    text = f"{said.get('received', '')}"
    if subject.kind == Erasure.Kind.USER:
        sent = (orjson.dumps(subject.target).decode(), subject.target)
        return row.get("user") == subject.target or any(f'"user": {word}' in text for word in sent)
    ids: Iterable[Any] = (row.get("visitor_uuid"), said.get("visitor"))
    return subject.target in text or any(_uuid(place, sent) == subject.target for sent in ids)


def _uuid(place: Property, sent: Any) -> str | None:
    """The id that a sender's spelling stands for."""
    try:
        return fields.identifier({"visitor": sent}, "visitor", place.first_key)
    except Refusal:
        return None
