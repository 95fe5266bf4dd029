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

from django.conf import settings

from tracking.directory import Record
from tracking.refusals import Fault

MOST = 100_000  # senders remembered; who was not heard of for longest is forgotten first
SECONDS = 10  # of a property's own rate, which its bucket holds where the installation sets none


class Limit:
    """`rate` events a second for ever, `burst` at once. rate 0: no limit."""

    __slots__ = ("depth", "each", "rate")

    def __init__(self, rate: float, burst: float) -> None:
        self.rate = max(rate, 0)
        self.each = 1 / rate if self.rate else 0.0  # seconds in which an event's room comes back
        self.depth = burst * self.each  # seconds in which an empty bucket fills


class Buckets:
    """Of each sender the moment at which its bucket is full again; absent: it is full."""

    def __init__(self, most: int = MOST) -> None:
        self._half = most // 2
        self._full_at: dict[Hashable, float] = {}
        self._before: dict[Hashable, float] = {}  # who was not heard of since the other is in use

    def __len__(self) -> int:
        return len(self._full_at) + len(self._before)

    def wait(self, name: Hashable, events: int, limit: Limit, now: float) -> float:
        """Seconds until so many may come. What is larger than the bucket waits for a full one."""
        full_at = self._full_at.get(name) or self._before.get(name)
        if full_at is None or full_at <= now:
            return 0.0
        return max(0.0, full_at - now + min(events * limit.each, limit.depth) - limit.depth)

    def take(self, name: Hashable, events: int, limit: Limit, now: float) -> None:
        """Charge them, whether or not there is room: then the next wait longer."""
        full_at = self._full_at.get(name)
        if full_at is None:
            full_at = self._before.get(name, now)
            if len(self._full_at) >= self._half:
                self._before, self._full_at = self._full_at, {}
        self._full_at[name] = (full_at if full_at > now else now) + events * limit.each

    def enter(self, name: Hashable, events: int, limit: Limit, now: float) -> float:
        """wait, and take when there is room: both in one look, for every event comes here."""
        full_at = self._full_at.get(name)
        if full_at is None:
            seconds = self.wait(name, events, limit, now)
            if not seconds:
                self.take(name, events, limit, now)
            return seconds
        if full_at <= now:
            self._full_at[name] = now + events * limit.each
            return 0.0
        seconds = events * limit.each
        lacks = full_at - now
        over = lacks + (seconds if seconds < limit.depth else limit.depth) - limit.depth
        if over > 0:
            return over
        self._full_at[name] = full_at + seconds
        return 0.0


class Limits:
    """The limits of an installation and the buckets of its senders."""

    def __init__(self, address: Limit, key: Limit, most: int = MOST) -> None:
        self._address, self._key = address, key
        self._addresses, self._properties = Buckets(most), Buckets(most)

    def admit(self, address: str, record: Record, events: int, now: float) -> float:
        """Seconds to wait; 0: they come, and both are charged. `address` "": not limited.

        An empty batch is a request, too.
        """
        events = events or 1
        of_address, of_key = self._address, self._key
        home = ""
        if of_address.rate and address:
            home = household(address) if ":" in address else address
            seconds = self._addresses.enter(home, events, of_address, now)
            if seconds:
                return seconds
        if record.rate_limit:
            of_key = self._own_limit(record.rate_limit)
        if of_key.rate:
            seconds = self._properties.enter(record.property_id, events, of_key, now)
            if seconds and home:
                self._addresses.take(home, -events, of_address, now)
            return seconds
        return 0.0

    def give_back(self, address: str, record: Record, events: int, now: float) -> None:
        """What was admitted is not taken here after all: it comes again another way."""
        events = events or 1
        if self._address.rate and address:
            self._addresses.take(household(address), -events, self._address, now)
        of_key = self._own_limit(record.rate_limit) if record.rate_limit else self._key
        if of_key.rate:
            self._properties.take(record.property_id, -events, of_key, now)

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

    def _own_limit(self, rate: int) -> Limit:
        """A property's own rate; its bucket holds as many seconds as the installation's."""
        seconds = self._key.depth if self._key.rate else SECONDS
        return Limit(rate, rate * seconds)


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
