"""How much one address and one property may send: token buckets in the memory of a web process.

In: who sends, how many events, and a monotonic clock. Out: how many seconds to wait, 0 for none;
what comes in is charged. Asked by views.py and usual.py before anything is judged. Each web
process counts for itself, so that no request waits for another process.

An address stands for a household: for IPv6 its /64, which one sender can fill by itself.
"""

import math
from collections.abc import Hashable
from functools import cache, lru_cache
from ipaddress import IPv6Network
from typing import NamedTuple

from django.conf import settings

from tracking.directory import Record
from tracking.refusals import Fault

MOST = 50_000  # senders remembered; the one heard of longest ago is forgotten first, bucket full
SECONDS = 10  # of a property's own rate, which its bucket holds where the installation sets none


class Limit(NamedTuple):
    """`rate` events a second for ever, `burst` at once. rate 0: no limit."""

    rate: float
    burst: float


class Buckets:
    """Of each sender the moment at which its bucket is full again; absent: it is full."""

    def __init__(self, most: int = MOST) -> None:
        self._full_at: dict[Hashable, float] = {}
        self._most = most

    def wait(self, name: Hashable, events: int, limit: Limit, now: float) -> float:
        """Seconds until so many may come. What is larger than the bucket waits for a full one."""
        full_at = self._full_at.get(name)
        if full_at is None or full_at <= now:
            return 0.0
        lacks = (full_at - now) * limit.rate
        room = limit.burst - lacks
        return max(0.0, (min(events, limit.burst) - room) / limit.rate)

    def take(self, name: Hashable, events: int, limit: Limit, now: float) -> None:
        """Charge them, whether or not there is room: then the next wait longer."""
        full_at = self._full_at.pop(name, now)  # and in again behind all others
        if len(self._full_at) >= self._most:
            del self._full_at[next(iter(self._full_at))]
        self._full_at[name] = (full_at if full_at > now else now) + events / limit.rate


class Limits:
    """The limits of an installation and the buckets of its senders."""

    def __init__(self, address: Limit, key: Limit, most: int = MOST) -> None:
        self._address, self._key = address, key
        self._addresses, self._properties = Buckets(most), Buckets(most)

    def wait(self, address: str, record: Record, events: int, now: float) -> float:
        """Seconds until they may come. `address` "": one that is not limited."""
        seconds = 0.0
        if address and self._address.rate:
            seconds = self._addresses.wait(household(address), events, self._address, now)
        limit = self._limit_of(record)
        if limit.rate:
            waits = self._properties.wait(record.property_id, events, limit, now)
            return waits if waits > seconds else seconds
        return seconds

    def charge(self, address: str, record: Record, events: int, now: float) -> None:
        """They come. An empty batch is a request, too."""
        events = events or 1
        if address and self._address.rate:
            self._addresses.take(household(address), events, self._address, now)
        limit = self._limit_of(record)
        if limit.rate:
            self._properties.take(record.property_id, events, limit, now)

    # Before a request is read: who sends much that cannot be read must wait as well. Requests with
    # an API key have a bucket apart, which only those that are refused fill: an address that must
    # wait may still have one that is right.

    def wait_to_read(self, address: str, with_key: bool, now: float) -> float:
        """Seconds until anything at all is read of that address."""
        if not (address and self._address.rate):
            return 0.0
        return self._addresses.wait(_reading(address, with_key), 1, self._address, now)

    def charge_unread(self, address: str, with_key: bool, now: float) -> None:
        """A request that could not be read costs as much as an event."""
        if address and self._address.rate:
            self._addresses.take(_reading(address, with_key), 1, self._address, now)

    def _limit_of(self, record: Record) -> Limit:
        if not record.rate_limit:
            return self._key
        seconds = self._key.burst / self._key.rate if self._key.rate else SECONDS
        return Limit(record.rate_limit, record.rate_limit * seconds)


@cache
def limits() -> Limits:
    """The one of this process."""
    return Limits(
        Limit(settings.ADDRESS_RATE, settings.ADDRESS_BURST),
        Limit(settings.KEY_RATE, settings.KEY_BURST),
    )


@lru_cache(maxsize=4_096)
def household(address: str) -> str:
    """The address as visitor_address writes it; of an IPv6 address the network of its /64."""
    if ":" not in address:
        return address
    return str(IPv6Network((address.partition("%")[0], 64), strict=False))


def _reading(address: str, with_key: bool) -> Hashable:
    home = household(address)
    return (home, "key") if with_key else home


def too_many(seconds: float) -> Fault:
    """The answer to who has to wait."""
    fault = Fault(
        429,
        "rate_limited",
        "Too many events; send them again, and later ones more slowly, after the seconds that "
        "Retry-After says.",
    )
    fault.retry_after = math.ceil(seconds)
    return fault
