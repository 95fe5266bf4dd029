"""Whoever looks at the live numbers over a stream: one connection each, and what is sent over it.

In: whom a view behind THE DOOR let in (streams.py), and what the hub found (hub.py). Out: bytes of
server-sent events, as many as she reads; and what of her place she may see at this moment, asked
for hundreds of viewers by a few queries.
"""

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import randrange
from typing import Any, NamedTuple

import orjson
from django.contrib.sessions.models import Session
from django.db import connection

from accounts.models import Account, User
from properties.access import Actor, Right, rights_anew
from properties.models import Property, ShareLink
from reports.realtime import Asked

RETRY = 2_000  # ms, about, after which a browser connects again
MOST_FEED = 300  # events that wait for one viewer
ENDS_WITHIN = 1.0  # seconds that she has for the last of it

Entry = tuple[int, int]  # id of an event in a feed: ms, number within it


# -- what is sent ----------------------------------------------------------------------------------


def message(event: str, data: Any, last: str = "") -> bytes:
    """One server-sent event. JSON has no line breaks, so data is one line whatever it holds."""
    head = f"id: {last}\n".encode() if last else b""
    return head + b"event: " + event.encode() + b"\ndata: " + orjson.dumps(data) + b"\n\n"


BEGINNING = f"retry: {RETRY}\n\n".encode()


def beginning() -> bytes:
    """With a pause of each viewer's own: after a restart they do not come all at once."""
    return f"retry: {randrange(RETRY // 2, 2 * RETRY)}\n\n".encode()  # noqa: S311  no secret


BEAT = b": still here\n\n"
SLOW = message("slow", {"message": "Your connection is too slow; it is opened again."})
CLOSED = b": come again\n\n"


def gone(text: str) -> bytes:
    return message("gone", {"message": text})


NO_RIGHT = gone("You may no longer view who is here. An owner of the account can grant it.")
SIGNED_OUT = gone("You are signed out. Sign in again to go on.")
OTHER_PASSWORD = gone("This link has another password now. Open it again.")


def read_entry_id(text: str) -> Entry | None:
    """An id as we gave it; None for anything else, which browsers send as they got it."""
    ms, dash, number = text.partition("-")
    if dash and all(part.isdecimal() and part.isascii() for part in (ms, number)):
        return int(ms[:18]), int(number[:18])
    return None


def text_of(entry: Entry) -> str:
    return f"{entry[0]}-{entry[1]}"


class Group(NamedTuple):
    """Those who see the same: properties (by key in Postgres), filter and rights."""

    places: tuple[int, ...]
    asked: Asked
    is_account: bool


@dataclass(eq=False)
class Viewer:
    """One connection. `place` is what she was let in to; `group` what of it she may see now."""

    actor: Actor
    place: Property | Account
    asked: Asked
    session: str = ""  # of the browser: the stream ends with it
    login: tuple[int, str] = (0, "")  # whose session that is, and what her password makes of it
    password: str = ""  # of a share link, as it is kept: whoever came in by another one is out
    last: Entry | None = None  # of Last-Event-ID
    until: float = 0.0  # when she has to come in again
    group: Group | None = None
    has_begun: bool = False  # she has had a whole snapshot
    seen: dict[int, Entry] = field(default_factory=dict)  # property -> the last event she got
    snapshot: bytes = b""
    waiting: deque[bytes] = field(default_factory=deque)
    end: bytes | None = None  # what she is told at last
    news: asyncio.Event = field(default_factory=asyncio.Event)
    writing: asyncio.Timeout | None = None  # how long she may take for what is being sent

    @property
    def who(self) -> tuple[str, int]:
        return self.actor.holder._meta.model_name or "", self.actor.holder.pk

    def offer(self, snapshot: bytes, feed: Sequence[bytes]) -> None:
        """Only the newest snapshot waits, and a bounded number of events."""
        self.snapshot = snapshot or self.snapshot
        is_behind = bool(self.waiting)
        self.waiting.extend(feed)
        if is_behind and len(self.waiting) > MOST_FEED:
            self.close(SLOW)
        elif snapshot or feed:
            self.news.set()

    def close(self, end: bytes) -> None:
        if self.end is None:
            self.end = end
            self.news.set()
            # Nobody waits for who does not read.
            if self.writing is not None and not self.writing.expired():
                soon = asyncio.get_running_loop().time() + ENDS_WITHIN
                self.writing.reschedule(min(self.writing.when() or soon, soon))

    def take(self) -> bytes:
        """What waits, in one piece: the feed is older than the snapshot."""
        self.news.clear()
        piece = b"".join([*self.waiting, self.snapshot])
        self.waiting.clear()
        self.snapshot = b""
        return piece


# -- what they may see -----------------------------------------------------------------------------


def allowed(
    viewers: Sequence[Viewer],
) -> tuple[dict[Viewer, Group | bytes], dict[int, Property]]:
    """What each may see now, or what she is told when it is nothing; and the properties."""
    try:
        rights = rights_anew(viewer.actor for viewer in viewers)
        accounts = {viewer.place.pk for viewer in viewers if isinstance(viewer.place, Account)}
        single = {viewer.place.pk for viewer in viewers if isinstance(viewer.place, Property)}
        every = Property.objects.across_accounts()
        found = every.filter(pk__in=single) | every.filter(account__in=accounts)
        places = {place.pk: place for place in found.order_by("pk")}
        sessions = {viewer.session for viewer in viewers if viewer.session}
        alive = set(
            Session.objects.filter(
                session_key__in=sessions, expire_date__gt=datetime.now(UTC)
            ).values_list("session_key", flat=True)
            if sessions
            else ()
        )
        passwords = _passwords(viewers)
        hashes = _hashes({viewer.login[0] for viewer in viewers if viewer.session})
    finally:
        connection.close()
    answer: dict[Viewer, Group | bytes] = {}
    for viewer in viewers:
        number, password = viewer.login
        if viewer.session and (viewer.session not in alive or hashes.get(number) != password):
            answer[viewer] = SIGNED_OUT
        elif _is_link(viewer) and passwords.get(viewer.actor.holder.pk, "") != viewer.password:
            answer[viewer] = OTHER_PASSWORD
        else:
            answer[viewer] = _group_of(viewer, rights[viewer.actor], places) or NO_RIGHT
    return answer, places


def _is_link(viewer: Viewer) -> bool:
    return isinstance(viewer.actor.holder, ShareLink)


def _passwords(viewers: Sequence[Viewer]) -> dict[int, str]:
    """What is kept of the passwords of share links."""
    links = {viewer.actor.holder.pk for viewer in viewers if _is_link(viewer)}
    if not links:
        return {}
    found = ShareLink.objects.across_accounts().filter(pk__in=links)
    return dict(found.values_list("pk", "password"))


def _hashes(users: set[int]) -> dict[int, str]:
    """What stands in the sessions of these users: another password ends those before it, whose
    rows stay until somebody comes with them."""
    if not users:
        return {}
    found = User.objects.filter(pk__in=users, is_active=True)
    return {user.pk: user.get_session_auth_hash() for user in found}


def _group_of(
    viewer: Viewer, rights: frozenset[Right], places: Mapping[int, Property]
) -> Group | None:
    is_account = isinstance(viewer.place, Account)
    seen = [
        place
        for place in places.values()
        if (place.account_id if is_account else place.pk) == viewer.place.pk
        and _may(rights, "realtime", place)
    ]
    if not seen and not (is_account and _may_in(rights, viewer.place.pk)):
        return None
    sees_money = all(_may(rights, "ecommerce", place) for place in seen)
    asked = Asked(viewer.asked.filter, sees_money, viewer.actor.sees_past)
    return Group(tuple(place.pk for place in seen), asked, is_account)


def _may(rights: frozenset[Right], module: str, place: Property) -> bool:
    return any(right.allows("view", module) and right.covers(place) for right in rights)


def _may_in(rights: frozenset[Right], account_id: int) -> bool:
    """Also in an account that has no property yet."""
    return any(
        right.allows("view", "realtime") and right.property_id is None
        for right in rights
        if right.account_id == account_id
    )
