"""Stream entries written by hand: what the collector would send, without a collector.

In: fields of an event. Out: the event, or its entry in the property's stream. Used by the tests of
drain, sessions and rollups, which must not depend on what the collector lets through.
"""

import secrets
import zlib
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from accounts.models import Account
from properties.models import Property
from tracking import keys
from tracking.event import LAYOUT, Event, row
from tracking.store import events_client

NOON = datetime(2026, 3, 11, 12, 0, tzinfo=UTC)


def make_place(**fields: Any) -> Property:
    """A property of an account of its own."""
    account = Account.objects.create(slug=f"a-{secrets.token_hex(6)}", name="A")
    return Property.objects.create(account=account, name="shop", **fields)


def ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


def visitor_of(number: int) -> UUID:
    return UUID(int=number, version=4)


def make_event(time: datetime, visitor: int | UUID = 1, **fields: Any) -> Event:
    """A page view, unless `name` says otherwise. Visitor n has number n in Valkey."""
    event: dict[str, Any] = {
        "event_id": uuid4(),
        "time": ms(time),
        "received_at": ms(time),
        "visitor_uuid": visitor_of(visitor) if isinstance(visitor, int) else visitor,
        "name": "pageview",
        "bot": False,
        "sanitized": False,
        "hostname": "shop.example",
        "page": "/",
        "tab": None,
        "session": None,
        "engaged_ms": None,
        "scroll": None,
        "load_ms": None,
        "revenue": None,
        "props": None,
    }
    texts = (
        "query title referrer source medium campaign term content channel country device browser"
        " browser_version os language screen user currency"
    )
    event |= dict.fromkeys(texts.split(), "") | fields
    if isinstance(event["received_at"], datetime):
        event["received_at"] = ms(event["received_at"])
    event.setdefault("fingerprint", zlib.crc32(event["event_id"].bytes) - 2**31)
    return Event(**event)


def as_judged(event: Event) -> Event:
    """The same with ids as text, as the judge gives them to what speaks to Valkey."""
    return event._replace(event_id=str(event.event_id), visitor_uuid=str(event.visitor_uuid))


def stream_of(place: Property) -> str:
    return keys.stream(keys.prefix(place.account_id, place.pk))


def send(place: Property, event: Event, number: int | None = None) -> bytes:
    """Append the event; `number` overrides the visitor's number (bots have 0)."""
    if number is None:
        number = 0 if event.bot else event.visitor_uuid.int & 0xFFFFFF
    return events_client().xadd(
        stream_of(place), {"v": LAYOUT, "n": b"%d" % number, "d": row(event)}
    )


def send_conflict(place: Property, event: Event) -> bytes:
    return events_client().xadd(stream_of(place), {"v": LAYOUT, "k": b"conflict", "d": row(event)})


def waiting(place: Property) -> int:
    return events_client().xlen(stream_of(place))


def minutes(count: float) -> timedelta:
    return timedelta(minutes=count)
