"""What a judged event or ping is on its way into Valkey: an item, and the arguments of a call.

In: an Event or a Ping with its property's record. Out: `Item`s, and ARGV of lua/accept.lua, which
has the same layout from the other side. What several items share (the hour, the event's name, the
page) is sent once. Called by collecting.py, store.py and gather.py.
"""

from collections.abc import Iterable, Mapping, Sequence
from struct import Struct
from typing import Any

from tracking import looks
from tracking.directory import Record
from tracking.event import Event, row
from tracking.intake import DAY_MS, Ping, expiry

HORIZON_MS = DAY_MS  # older events get no bits and counters: their periods are recomputed from raw
CALL_ITEMS = 256
CALL_BYTES = 256_000
NEXT_BEAT = 15_000  # ms until a page that was opened should be heard of again

HEAD = Struct(">cBHHi16s16s")  # kind, cookieless, moment, page, fingerprint, event id, visitor
LIVE = Struct(">q16s16s")  # when it expires, visitor, tab
NONE = 65_535  # index of what an item has not

Moment = tuple[int, int, int, str]  # minute, hour and day in the property's zone, event name
PageHour = tuple[int, int, str, str]  # hour, day, page, "1" for a pageview
# kind, is cookieless, moment, page, fingerprint, event id, visitor, live part, row
Item = tuple[
    bytes, bool, Moment | None, PageHour | None, int, bytes, bytes, bytes, bytes
]  # fmt: skip

_NOBODY = bytes(16)


def item_of(judged: Event | Ping, record: Record, now: int) -> Item:
    """The item that an event or a ping is."""
    if isinstance(judged, Ping):
        live = b"" if judged.bot else _live(judged, judged.expires_at, judged.state)
        return b"p", False, None, None, 0, _NOBODY, _NOBODY, live, b""
    kind, live = b"o", b""
    moment: Moment | None = None
    page: PageHour | None = None
    if judged.bot:
        kind = b"b"
    elif judged.time > now - HORIZON_MS:
        kind = b"e"
        minute, hour, day = record.clock.stamps(judged.time)
        moment = minute, hour, day, judged.name
        if judged.page:
            page = hour, day, judged.page, "1" if judged.name == "pageview" else ""
        if judged.live:
            came_from = (judged.source, judged.campaign)
            live = _live(judged, expiry(now, NEXT_BEAT), "visible", *came_from)
    return (
        kind,
        judged.cookieless,
        moment,
        page,
        judged.fingerprint,
        bytes_of(judged.event_id),
        bytes_of(judged.visitor_uuid),
        live,
        row(judged),
    )


def _live(
    judged: Event | Ping, expires: int, state: str, source: str = "", campaign: str = ""
) -> bytes:
    look = looks.pack(state, judged.page, source, campaign, judged.country, judged.device)
    tab = bytes_of(judged.tab) if judged.tab else _NOBODY
    return LIVE.pack(expires, bytes_of(judged.visitor_uuid), tab) + look


def bytes_of(uuid: str) -> bytes:
    """The 16 bytes of a UUID in canonical text."""
    return bytes.fromhex(uuid.replace("-", ""))


def arguments(
    now: int, version: int | str, limit: int, refusals: Mapping[str, int], items: Iterable[Item]
) -> list[Any]:
    """ARGV of lua/accept.lua."""
    moments: dict[Moment, int] = {}
    pages: dict[PageHour, int] = {}
    packed: list[bytes] = []
    for kind, cookieless, moment, page, fingerprint, event_id, visitor, live, line in items:
        at = NONE if moment is None else moments.setdefault(moment, len(moments))
        on = NONE if page is None else pages.setdefault(page, len(pages))
        packed.append(HEAD.pack(kind, cookieless, at, on, fingerprint, event_id, visitor) + live)
        packed.append(line)
    out: list[Any] = [now, version, limit]
    for rows in (list(refusals.items()), moments, pages):
        out.append(len(rows))
        for values in rows:
            out += values
    out.append(len(packed) // 2)
    return out + packed


def size_of(item: Item) -> int:
    """About how many bytes the item is on the wire."""
    return len(item[7]) + len(item[8]) + 100


def chunks(items: Sequence[Item]) -> list[Sequence[Item]]:
    """Items in calls of bounded size: a long call would keep everybody else waiting."""
    if len(items) == 1:
        return [items]
    out: list[Sequence[Item]] = []
    part: list[Item] = []
    room = 0
    for item in items:
        size = size_of(item)
        if not part or len(part) >= CALL_ITEMS or room < size:
            part = []
            out.append(part)
            room = CALL_BYTES
        part.append(item)
        room -= size
    return out
