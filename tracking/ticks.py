"""What the worker's ticks did last: when, for how long, with what error.

In: from aktivat/celery.py, when a tick begins, fails and ends. Out: `Tick`s for the administration.
Kept in the cache's Valkey, beside the broker without which there are no ticks; if it is lost, the
next turn of each tick tells anew. Telling harms no tick.
"""

from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import redis
from django_redis import get_redis_connection

from tracking import keys

LONGEST_ERROR = 300
# A turn that has not come for so many times its pause, and so long, is missing.
MISSED, AT_LEAST = 5, timedelta(minutes=1)


@dataclass(frozen=True)
class Tick:
    """One of the schedule. `lasted_ms` is of the last turn that ended; None: none has yet."""

    name: str
    every: float
    began: datetime
    ended: datetime | None
    lasted_ms: int | None
    turns: int
    failures: int
    failed: datetime | None
    error: str
    is_late: bool

    @property
    def is_failing(self) -> bool:
        """The last turn that ended had failed."""
        return self.failed is not None and (self.ended is None or self.failed >= self.ended)

    @property
    def is_well(self) -> bool:
        return not (self.is_late or self.is_failing)


def began(name: str, every: float, now: float) -> None:
    _tell(name, {"began": now, "every": every}, "turns")


def failed(name: str, error: str, now: float) -> None:
    text = error.encode("utf-8", "replace").decode()[:LONGEST_ERROR]
    _tell(name, {"failed": now, "error": text}, "failures")


def ended(name: str, now: float) -> None:
    """Also after a failure, which was told before: `ended` is then its moment, too."""
    with suppress(redis.exceptions.RedisError):
        client = get_redis_connection("default")
        begun, failure = client.hmget(keys.TICKS, [f"{name}|began", f"{name}|failed"])
        if begun is None:
            return
        lasted = round((now - float(begun)) * 1000)
        moment = float(failure) if failure and float(failure) >= float(begun) else now
        _tell(name, {"ended": moment, "lasted": lasted})


def _tell(name: str, facts: Mapping[str, Any], count: str = "") -> None:
    with suppress(redis.exceptions.RedisError):
        pipe = get_redis_connection("default").pipeline(transaction=False)
        pipe.hset(keys.TICKS, mapping={f"{name}|{fact}": v for fact, v in facts.items()})
        if count:
            pipe.hincrby(keys.TICKS, f"{name}|{count}", 1)
        pipe.execute()


def known(now: datetime) -> list[Tick]:
    """Those that have had a turn, by name. Raises redis.RedisError."""
    facts: dict[str, dict[str, str]] = defaultdict(dict)
    for field, value in get_redis_connection("default").hgetall(keys.TICKS).items():
        name, _, fact = field.decode().partition("|")
        facts[name][fact] = value.decode("utf-8", "replace")
    return [_tick(name, told, now) for name, told in sorted(facts.items()) if "began" in told]


def _tick(name: str, told: Mapping[str, str], now: datetime) -> Tick:
    began, every = _moment(told["began"]), float(told.get("every", 0))
    pause = max(AT_LEAST, timedelta(seconds=every * MISSED))
    return Tick(
        name=name.rpartition(".")[2].replace("_", " "),
        every=every,
        began=began,
        ended=_moment(told["ended"]) if "ended" in told else None,
        lasted_ms=int(told["lasted"]) if "lasted" in told else None,
        turns=int(told.get("turns", 0)),
        failures=int(told.get("failures", 0)),
        failed=_moment(told["failed"]) if "failed" in told else None,
        error=told.get("error", ""),
        is_late=now - began > pause,
    )


def _moment(seconds: str) -> datetime:
    return datetime.fromtimestamp(float(seconds), UTC)
