"""How much one address and one property may send: token buckets (properties/buckets.py) in the
memory of a web process.

In: who sends, how many events, and a monotonic clock. Out: how many seconds to wait, 0 for none;
what comes in is charged. Asked by views.py and usual.py before anything is judged. Each web
process counts for itself, so that no request waits for another process.

An address stands for a household: for IPv6 its /64, which one sender can fill by itself.
"""

import math
from collections.abc import Hashable
from functools import cache

from django.conf import settings

from accounts.addresses import household
from properties.buckets import MOST, Buckets, Limit
from tracking.directory import Record
from tracking.refusals import Fault

SECONDS = 10  # of a property's own rate, which its bucket holds where the installation sets none


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
