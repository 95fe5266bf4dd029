"""Who talks to Valkey about events: the client, the one Lua call, and what it answers.

In: judged events, pings and refusals of one property. Out: a verdict for each, once Valkey has
it on disk (appendfsync always). The asynchronous way, with calls shared by the requests that
arrive together, is gather.py; this module is what both ways have in common, and the plain one.
"""

import asyncio
import secrets
from collections import Counter
from collections.abc import Sequence
from functools import cache
from hashlib import sha1
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import redis
import redis.asyncio
from django.conf import settings
from django.db import connection
from django.db.models import Max
from redis.backoff import NoBackoff
from redis.retry import Retry

from accounts.tenancy import tenant
from tracking import keys
from tracking.directory import Record
from tracking.intake import DAY_MS
from tracking.items import Item, arguments, chunks
from tracking.models import Visitor
from tracking.visitor_map import since_when, visitor_entry

PATIENCE = 5.0  # seconds that a request waits for Postgres
ACCEPTED, DUPLICATE, CONFLICT, LIMIT, QUOTA, PING = "a", "d", "c", "l", "q", "p"


class Unavailable(Exception):
    """Valkey did not confirm: nothing may be acknowledged, the sender tries again (503)."""


class Busy(Unavailable):
    """More is waiting for Valkey than it can take: of this one nothing was sent to it."""

    def __init__(self) -> None:
        super().__init__("Too much is waiting for Valkey.")


class Cold(Exception):
    """Valkey has no memory of the property: `restore` it, then call again."""


class Stale(Exception):
    """The property has changed since it was read: load it again, judge again."""

    def __init__(self, version: int) -> None:
        self.version = version


class Script:
    """Lua beside this file, called by its hash and loaded where it is missing. Several files are
    one script: what the first ones define, the last one uses."""

    def __init__(self, *names: str) -> None:
        folder = Path(__file__).parent / "lua"
        self.text = b"".join((folder / f"{name}.lua").read_bytes() for name in names)
        self.sha = sha1(self.text, usedforsecurity=False).hexdigest()

    def call(self, client: Any, key: str, arguments: Sequence[Any]) -> Any:
        try:
            return client.evalsha(self.sha, 1, key, *arguments)
        except redis.exceptions.NoScriptError:
            return client.eval(self.text, 1, key, *arguments)


ACCEPT, REMEMBER = Script("online", "accept"), Script("remember")
SWEEP, LEAVE = Script("online", "sweep"), Script("online", "leave")
AT_ONCE = 500  # tabs that one call takes out: some two milliseconds


def _options() -> dict[str, Any]:
    # redis-py would retry ten times and wait five seconds: a stopped Valkey must cost one 503.
    return {
        "socket_timeout": settings.EVENTS_TIMEOUT,
        "socket_connect_timeout": settings.EVENTS_TIMEOUT,
        "decode_responses": False,
    }


def is_cluster() -> bool:
    """REDIS_URL names a cluster when it says so: redis+cluster://host:port or ?cluster=1."""
    parts = urlsplit(settings.EVENTS_URL)
    return parts.scheme == "redis+cluster" or "cluster=1" in parts.query


def _cluster_url() -> str:
    parts = urlsplit(settings.EVENTS_URL)
    return f"redis://{parts.netloc}"


@cache
def events_client() -> Any:
    """The plain client of this process (commands, worker, pages); one pool, thread-safe."""
    if is_cluster():
        return redis.RedisCluster.from_url(_cluster_url(), **_options())
    return redis.Redis.from_url(
        settings.EVENTS_URL, retry=Retry(NoBackoff(), 0), protocol=2, **_options()
    )


def events_client_async() -> Any:
    """A new asynchronous client for the running loop."""
    if is_cluster():
        return redis.asyncio.RedisCluster.from_url(_cluster_url(), **_options())
    return redis.asyncio.Redis.from_url(
        settings.EVENTS_URL,
        retry=redis.asyncio.retry.Retry(NoBackoff(), 0),
        protocol=2,
        **_options(),
    )


def read_answer(answer: Any) -> str:
    """Verdicts, one letter for each item. Raises Cold or Stale."""
    word = answer[0]
    if word == b"cold":
        raise Cold
    if word == b"stale":
        raise Stale(int(answer[1]))
    return answer[2].decode()


def accept(record: Record, refusals: Counter[str], items: Sequence[Item], now: int) -> str:
    """Keep these items and count these refusals. Raises Stale and Unavailable."""
    verdicts = ""
    parts = chunks(items) or [[]]
    for chunk in parts:
        # Refusals go last: a property that changes half-way is judged again, refusals and all.
        counted = refusals if chunk is parts[-1] else Counter()
        verdicts += _accept_chunk(record, counted, chunk, now)
    return verdicts


def _accept_chunk(record: Record, refusals: Counter[str], items: Sequence[Item], now: int) -> str:
    argv = arguments(now, record.version, record.visitor_limit, refusals, items)
    try:
        try:
            return read_answer(ACCEPT.call(events_client(), record.prefix, argv))
        except Cold:
            restore(record, now)
            return read_answer(ACCEPT.call(events_client(), record.prefix, argv))
    except redis.exceptions.RedisError as error:
        raise Unavailable(str(error)) from error


def count_nameless(code: str, count: int, now: int) -> None:
    """Count a request that names no known property in the instance-wide ledger."""
    try:
        ACCEPT.call(events_client(), keys.INSTANCE, arguments(now, "", 0, {code: count}, []))
    except redis.exceptions.RedisError as error:
        raise Unavailable(str(error)) from error


def restore(record: Record, now: int) -> None:
    """Give Valkey its memory of a property back from Postgres: visitor numbers and version.

    After a restart without data, a failover to an older replica, or for a new property. The next
    number is above every number that Postgres knows, before the first event is taken.
    """
    client = events_client()
    with tenant(record.account_id):
        numbered = Visitor.objects.filter(property_id=record.property_id, number__gt=0)
        highest = numbered.aggregate(highest=Max("number"))["highest"] or 0
        # Cookieless ones are known by a secret of the day, which Valkey has lost as well.
        known = (
            numbered.none() if record.cookieless else numbered.filter(last_seen__gt=since_when(now))
        )
        rows = known.values_list("visitor", "number", "last_seen")
        pipe = client.pipeline(transaction=False)
        for count, (visitor, number, last_seen) in enumerate(rows.iterator(5_000), 1):
            entry = visitor_entry(number, int(last_seen.timestamp()) // 86_400)
            bucket = keys.visitors(record.prefix, visitor.bytes[14:].hex())
            pipe.hset(bucket, visitor.bytes[:14], entry)
            if count % 5_000 == 0:
                pipe.execute()
        pipe.execute()
    since = now if highest else 0
    REMEMBER.call(client, record.prefix, [record.version, highest, since])


def sweep(prefix: str, now: int) -> int:
    """Take out of a live set whose time is up; how many tabs that were. Raises RedisError."""
    swept = 0
    while True:
        left = int(SWEEP.call(events_client(), prefix, [now, AT_ONCE]))
        swept += left
        if left < AT_ONCE:
            return swept


def leave(prefix: str, visitor: bytes) -> None:
    """Take a visitor out of a live set, whatever her tabs say. Raises RedisError."""
    LEAVE.call(events_client(), prefix, [visitor])


def publish_version(account_id: int, property_id: int, version: int) -> None:
    """Tell every collector, with its next call, that the property has changed."""
    prefix = keys.prefix(account_id, property_id)
    try:
        events_client().hset(keys.meta(prefix), "v", version)
    except redis.exceptions.RedisError as error:
        raise Unavailable(str(error)) from error


def visitor_salt(now: int) -> bytes:
    """The day's secret for visitors without an id; gone for good after two days."""
    day = now // DAY_MS
    known = _salts.get(day)
    if known is None:
        try:
            known = _fetch_salt(day)
        except redis.exceptions.RedisError as error:
            raise Unavailable(str(error)) from error
        _salts.clear()
        _salts[day] = known
    return known


def knows_salt(now: int) -> bool:
    return now // DAY_MS in _salts


_salts: dict[int, bytes] = {}


def _fetch_salt(day: int) -> bytes:
    client = events_client()
    key = keys.salt(day)
    client.set(key, secrets.token_bytes(16), nx=True, ex=2 * 86_400)
    return client.get(key)


async def in_thread(function: Any, *args: Any) -> Any:
    """Run blocking code (a cold property) beside the loop, giving its connection back.

    Raises Unavailable after PATIENCE: a Postgres that is silent must cost a 503, not a request
    that hangs. The thread is left to end by itself; what it learns serves the next request.
    """

    def run() -> Any:
        try:
            return function(*args)
        finally:
            connection.close()

    try:
        async with asyncio.timeout(PATIENCE):
            return await asyncio.to_thread(run)
    except TimeoutError as error:
        raise Unavailable(f"No answer within {PATIENCE} seconds.") from error
