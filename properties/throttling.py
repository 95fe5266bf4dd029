"""How often the API may be asked: by key, by user or share link, and by address of nobody.

Enters: a request of the API after it was found out whose it is. Leaves: 429 `rate_limited` with
Retry-After for who asks too often, and for everybody the headers that say how much is left. What
does not sign in is charged to its address, so that guessing keys is slow; a key that is right is
never held up by what else comes from its address.
"""

import math
import time
from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

from django.conf import settings
from rest_framework.throttling import BaseThrottle

from accounts.addresses import address_of, household
from properties.buckets import Charge, Limit, SharedBuckets


class Budget(NamedTuple):
    """What a caller hears of its limit."""

    limit: Limit
    charge: Charge

    def headers(self) -> Iterator[tuple[str, str]]:
        """The RateLimit headers of the IETF's draft: whole requests, whole seconds."""
        most = round(self.limit.depth / self.limit.each)
        yield "RateLimit-Policy", f"{most};w={math.ceil(self.limit.depth)}"
        yield "RateLimit-Limit", str(most)
        yield "RateLimit-Remaining", str(self.charge.left)
        yield "RateLimit-Reset", str(math.ceil(self.charge.full_in))


class Throttle(BaseThrottle):
    """REST framework's default: one bucket for each actor, and for each address of nobody."""

    _wait = 0.0

    def allow_request(self, request: Any, view: Any) -> bool:
        limit = Limit(settings.API_RATE, settings.API_BURST)
        if not limit.rate:
            return True
        charge = _buckets().enter(sender_of(request), limit, time.monotonic())
        view.budget = Budget(limit, charge)
        self._wait = charge.wait
        return charge.wait == 0

    def wait(self) -> int:
        return math.ceil(self._wait)


def sender_of(request: Any) -> str:
    """Whose bucket a request is taken from."""
    # Here, because REST framework imports this file while its own views are still being imported.
    from properties.access import actor_of

    actor = actor_of(request)
    if actor is None:
        return f"address:{household(address_of(request))}"
    return f"{type(actor.holder).__name__.lower()}:{actor.holder.pk}"


@cache
def _buckets() -> SharedBuckets:
    return SharedBuckets("aktivat:api-rate")
