"""Token buckets: how much a sender may send, for ever and at once.

In: who sends, how much, a limit, a monotonic clock. Out: how many seconds to wait, 0 for none.
`Buckets` lie in the memory of a web process, for the collector (tracking/limits.py), which waits
for nobody; `SharedBuckets` in the Valkey of the cache, for the API (throttling.py).
"""

from collections.abc import Hashable
from typing import Final, NamedTuple

from django_redis import get_redis_connection
from django_redis.exceptions import ConnectionInterrupted
from redis.exceptions import RedisError

MOST = 100_000  # senders remembered; who was not heard of for longest is forgotten first


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

    def lacks(self, name: Hashable, now: float) -> float:
        """Seconds until the bucket is full."""
        full_at = self._full_at.get(name) or self._before.get(name) or now
        return max(0.0, full_at - now)

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


# -- shared by all web processes -------------------------------------------------------------------


class Charge(NamedTuple):
    """What became of one request: seconds to wait (0: it comes), how many more would come at once,
    and seconds until the bucket is full again."""

    wait: float
    left: int
    full_in: float


# One key holds the moment (microseconds) at which the bucket is full again; gone: it is full.
_SHARED: Final = """
local time = redis.call("TIME")
local now = time[1] * 1000000 + time[2]
local each, depth = tonumber(ARGV[1]), tonumber(ARGV[2])
local lacks = math.max(tonumber(redis.call("GET", KEYS[1]) or now) - now, 0)
local over = lacks + each - depth
if over > 0 then return {math.ceil(over), 0, math.ceil(lacks)} end
lacks = lacks + each
redis.call("SET", KEYS[1], string.format("%.0f", now + lacks), "PX", math.ceil(lacks / 1000))
return {0, math.floor((depth - lacks) / each), math.ceil(lacks)}
"""
BREAK: Final = 5.0  # seconds without the cache after it failed: each try could cost its timeout


class SharedBuckets:
    """In the Valkey of the cache, by one call; in memory of the process while that is away: then
    each process counts for itself, and nobody is let through unlimited."""

    def __init__(self, prefix: str, most: int = MOST) -> None:
        self._prefix = prefix
        self._own = Buckets(most)
        self._away_until = 0.0

    def enter(self, name: str, limit: Limit, now: float) -> Charge:
        """Charge one request to that sender. `now` is monotonic, in seconds."""
        if now >= self._away_until:
            try:
                return self._ask(name, limit)
            except (RedisError, ConnectionInterrupted):
                self._away_until = now + BREAK
        wait = self._own.enter(name, 1, limit, now)
        lacks = self._own.lacks(name, now)
        left = max(0, int((limit.depth - lacks) / limit.each + 1e-9))
        return Charge(wait, 0 if wait else left, lacks)

    def _ask(self, name: str, limit: Limit) -> Charge:
        valkey = get_redis_connection("default")
        each, depth = limit.each * 1_000_000, limit.depth * 1_000_000
        keys = [f"{self._prefix}:{name}"]
        wait, left, full_in = valkey.register_script(_SHARED)(keys, [each, depth])
        return Charge(wait / 1_000_000, left, full_in / 1_000_000)
