"""Payloads in, answer out: judge each, keep them in one call, say what became of every one.

The way that all of them take, whether they came over HTTP (views.py, which awaits the shared
call of gather.py) or from Python (`collect`: imports, the demo's history, tests).
"""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from properties.models import Property
from tracking import directory, fields, store, tombstones
from tracking.directory import Record
from tracking.intake import Origin, Ping, judge
from tracking.items import Item, item_of
from tracking.refusals import Reason, Refusal

ATTEMPTS = 3  # a property that changes under every one of them is not ours to wait for

__all__ = ["Answer", "Hearing", "Origin", "collect", "hear", "now_ms", "status_of"]


def now_ms() -> int:
    return time.time_ns() // 1_000_000


@dataclass(slots=True)
class Answer:
    """What became of the payloads; rejected: [{"index", "reason", "field"?, "message"}]."""

    accepted: int = 0
    duplicate: int = 0
    rejected: list[dict[str, Any]] = field(default_factory=list)
    event_ids: list[str | None] = field(default_factory=list)
    made_ids: bool = False

    def as_json(self) -> dict[str, Any]:
        body: dict[str, Any] = {
            "accepted": self.accepted,
            "duplicate": self.duplicate,
            "rejected": self.rejected,
        }
        if self.made_ids:
            body["event_ids"] = self.event_ids
        return body


def status_of(answer: Answer, is_batch: bool) -> int:
    """A single event that is refused is told so by the status, too."""
    return 422 if answer.rejected and not is_batch else 202


@dataclass(slots=True)
class Hearing:
    """Payloads of one property after judging: what goes to Valkey, and what is refused."""

    record: Record
    items: list[Item] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)  # index of each item's payload
    refusals: Counter[str] = field(default_factory=Counter)
    answer: Answer = field(default_factory=Answer)

    def conclude(self, verdicts: Sequence[str]) -> Answer:
        """The answer, once Valkey has given its verdict on every item."""
        answer = self.answer
        for position, verdict in zip(self.positions, verdicts, strict=True):
            if verdict == store.ACCEPTED:
                answer.accepted += 1
            elif verdict in (store.DUPLICATE, store.CONFLICT):
                answer.duplicate += 1
            elif verdict == store.LIMIT:
                answer.rejected.append(_over_visitor_limit(self.record).as_json(position))
            elif verdict == store.QUOTA:
                answer.rejected.append(_OVER_QUOTA.as_json(position))
        answer.rejected.sort(key=lambda refusal: refusal["index"])
        return answer


def _over_visitor_limit(record: Record) -> Refusal:
    return Refusal(
        Reason.VISITOR_LIMIT,
        f"The property has reached its limit of {record.visitor_limit:,} visitors; raise it.",
    )


_OVER_QUOTA = Refusal(
    Reason.QUOTA,
    "The account's plan is used up for this month (UTC); its owner can ask for a larger one.",
)


def hear(
    payloads: Sequence[Any], record: Record, origin: Origin, now: int, sent_at: Any = None
) -> Hearing:
    """Judge every payload; a refused one keeps its place and harms no other."""
    hearing = Hearing(record)
    sent = _sent_at(sent_at)
    for index, payload in enumerate(payloads):
        try:
            judged = judge(payload, record, origin, now, sent)
        except Refusal as refusal:
            hearing.refusals[f"{refusal.reason}"] += 1
            hearing.answer.rejected.append(refusal.as_json(index))
            hearing.answer.event_ids.append(None)
            continue
        hearing.items.append(item_of(judged, record, now))
        hearing.positions.append(index)
        event_id = None if isinstance(judged, Ping) else judged.event_id
        hearing.answer.event_ids.append(event_id)
        if event_id is not None and not payload.get("event_id"):
            hearing.answer.made_ids = True
    return hearing


def _sent_at(value: Any) -> int | None:
    """When the sender sent; a value that cannot be read corrects nothing."""
    if value is None:
        return None
    try:
        return fields.moment(value, "sent_at")
    except Refusal:
        return None


def collect(
    place: Property, payloads: Sequence[Any], origin: Origin | None = None, now: int | None = None
) -> Answer:
    """Take these payloads as the collector would. Raises store.Unavailable: nothing is sure."""
    now = now_ms() if now is None else now
    origin = origin or Origin(visitor_salt=store.visitor_salt(now))
    record: Record | None = Record.of(place, erased=tombstones.remembered(place))
    for _ in range(ATTEMPTS):
        if record is None:
            break
        hearing = hear(payloads, record, origin, now)
        try:
            return hearing.conclude(store.accept(record, hearing.refusals, hearing.items, now))
        except store.Stale as stale:
            record = renew(record, stale.version)
    raise store.Unavailable(f"Property {place.key} was changing all the time, or is gone.")


def renew(record: Record, version: int) -> Record | None:
    """The record of the same name as Postgres has it now, None when that has ended.

    Tells Valkey the version when that is where the old one is.
    """
    fresh = directory.load(*record.called)
    if fresh is not None and fresh.version != version:
        store.publish_version(fresh.account_id, fresh.property_id, fresh.version)
    return fresh
