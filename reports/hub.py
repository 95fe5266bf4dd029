"""The hub of the live streams: one for each process, counting once a second for all viewers.

In: viewers (viewers.py). Out: to each a `snapshot` when something changed, the `feed` of accepted
events as they come, `gone` when her right ends. Those who look at the same properties by the same
filter share one answer, already encoded, so that a viewer costs the bytes that she is sent. She
holds no thread and no connection to Postgres: two threads ask for all, one what is here, the other
who may still see it.

While somebody looks, collectors keep the last events of the property (lua/accept.lua); a viewer who
comes again says by Last-Event-ID which of them she has.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple

import orjson
import redis.exceptions
import structlog
from django.db import connection

from properties.models import Property
from reports import realtime
from reports.viewers import CLOSED, Entry, Group, Viewer, allowed, message, read_entry_id, text_of
from tracking import keys, live, recent, sources, store
from tracking.crowds import Crowd
from tracking.event import read_row
from tracking.looks import VISITS, Look

EVERY = 1.0  # seconds from count to count
STOPS_WITHIN = 0.1  # seconds from the moment at which the process is told to stop
RIGHTS_EVERY = 0.6  # seconds; out within a second, and the question takes some of it
UNSURE_FOR = 5.0  # seconds without an answer about rights, after which nobody stays
AT_LEAST = 5.0  # seconds after which a snapshot is sent though nothing changed
LONGEST = 1_800.0  # seconds; then she comes in by THE DOOR again
BACKLOG = 20  # of the newest events for whoever comes without Last-Event-ID
RESUMED = 1_000  # for whoever comes with it: all that is kept
WATCHED_FOR = 30_000  # ms for which collectors write the feed after we have looked
SLICE = 50  # viewers who are served in one go; then others have their turn

log = structlog.get_logger()


# -- events as they come ---------------------------------------------------------------------------


class Happened(NamedTuple):
    """An event of a feed."""

    place: int
    entry: Entry
    look: Look
    property: str  # its key for the world
    data: dict[str, Any]


def happened(place: Property, raw_id: bytes, fields: Mapping[bytes, bytes]) -> Happened:
    """An entry of a feed as it is shown: nothing that tells of one visitor."""
    row = read_row(fields[b"d"])
    visit = VISITS.get(fields[b"v"].decode(), "")
    texts = {name: row[name] or "" for name in ("page", "source", "campaign", "country", "device")}
    if texts["source"] == sources.DIRECT:  # of most events only the first page's source is told
        texts["source"] = ""
    entry = read_entry_id(raw_id.decode())
    assert entry is not None
    data = {
        "at": row["received_at"],
        "event_id": row["event_id"],
        "name": row["name"],
        "title": row["title"],
        **texts,
        "visit": visit,
    }
    return Happened(place.pk, entry, Look(0, **texts, visit=visit), place.key, data)


# -- the hub ---------------------------------------------------------------------------------------


@dataclass
class Shown:
    """What a group saw last."""

    key: bytes = b""  # the numbers, without the moment
    sent_at: float = 0.0
    samples: list[list[int]] = field(default_factory=list)  # since the last that was sent


@dataclass
class Turn:
    """What one count found for all."""

    snapshots: dict[Group, tuple[bytes, bytes]] = field(default_factory=dict)  # news, whole
    feeds: dict[Group, list[Happened]] = field(default_factory=dict)
    late: dict[Viewer, list[Happened]] = field(default_factory=dict)  # for those who resume


class Hub:
    """One for each event loop."""

    def __init__(self) -> None:
        self.viewers: set[Viewer] = set()
        self._places: dict[int, Property] = {}
        self._shown: dict[Group, Shown] = {}
        self._cursors: dict[int, Entry] = {}
        self._threads = ThreadPoolExecutor(2, "viewers")  # counting must not wait for rights
        self._tasks: list[asyncio.Task[None]] = []
        self._news = asyncio.Event()  # somebody has been admitted
        self._came = asyncio.Event()
        self.is_stopping: Callable[[], bool] = lambda: False
        self._sure_at = time.monotonic()

    def start(self) -> None:
        if not self._tasks or any(task.done() for task in self._tasks):
            for task in self._tasks:
                task.cancel()
            self._sure_at = time.monotonic()
            loop = asyncio.get_running_loop()
            parts = (self._count(), self._check(), self._listen())
            self._tasks = [loop.create_task(part) for part in parts]

    async def stop(self) -> None:
        """Let everybody go."""
        self.close_all()
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        self._threads.shutdown(wait=False, cancel_futures=True)

    def close_all(self) -> None:
        for viewer in self.viewers:
            viewer.close(CLOSED)

    def join(self, viewer: Viewer) -> None:
        viewer.until = time.monotonic() + LONGEST
        self.viewers.add(viewer)
        self.start()
        self._came.set()

    def leave(self, viewer: Viewer) -> None:
        self.viewers.discard(viewer)

    async def _listen(self) -> None:
        """Whether the process is to stop: that waits neither for Postgres nor for Valkey, which may
        stop as well."""
        while True:
            if self.is_stopping():
                self.close_all()
            await asyncio.sleep(STOPS_WITHIN)

    # -- rights --

    async def _check(self) -> None:
        """Twice a second and for whoever comes: may they still?"""
        loop = asyncio.get_running_loop()
        while True:
            viewers = list(self.viewers)
            if viewers:
                try:
                    asking = loop.run_in_executor(self._threads, allowed, viewers)
                    # `wait_for` would forget that it is cancelled when both come at once.
                    async with asyncio.timeout(UNSURE_FOR):
                        answers, places = await asking
                except Exception as error:  # whatever it is: who cannot be asked about goes
                    log.warning("rights of viewers unknown", error=str(error))
                    if time.monotonic() - self._sure_at > UNSURE_FOR:
                        self.close_all()
                else:
                    self._sure_at = time.monotonic()
                    self._places = places
                    self._admit(viewers, answers)
            else:
                self._sure_at = time.monotonic()
            with suppress(TimeoutError):
                # Whoever comes is asked about soon, and whoever comes with her by the same query.
                async with asyncio.timeout(RIGHTS_EVERY):
                    await self._came.wait()
                await asyncio.sleep(0.05)
            self._came.clear()

    def _admit(self, viewers: Iterable[Viewer], answers: Mapping[Viewer, Group | bytes]) -> None:
        now = time.monotonic()
        for viewer in viewers:
            found = answers[viewer]
            if isinstance(found, bytes):
                viewer.close(found)
            elif now > viewer.until:
                viewer.close(CLOSED)
            elif viewer.group is None:
                viewer.group = found
                self._news.set()
            else:
                viewer.group = found

    # -- counting --

    async def _count(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            self._news.clear()
            began = time.monotonic()
            try:
                await self._turn(loop)
            except Exception as error:  # whatever it is, the next second comes
                log.error("live stream failed", error=str(error), exc_info=True)
            left = EVERY - (time.monotonic() - began)
            with suppress(TimeoutError):
                # Whoever comes is served soon, and whoever comes with her in the same turn.
                async with asyncio.timeout(max(left, 0.1)):
                    await self._news.wait()
                await asyncio.sleep(0.05)

    async def _turn(self, loop: asyncio.AbstractEventLoop) -> None:
        viewers = [viewer for viewer in self.viewers if viewer.group and viewer.end is None]
        if not viewers:
            self._shown.clear()
            self._cursors.clear()
            return
        places = dict(self._places)
        turn = await loop.run_in_executor(self._threads, self._look, viewers, places)
        for count, viewer in enumerate(viewers, 1):
            self._give(viewer, turn)
            if count % SLICE == 0:
                await asyncio.sleep(0)

    def _give(self, viewer: Viewer, turn: Turn) -> None:
        group = viewer.group
        if group is None or group not in turn.snapshots:
            return
        news, whole = turn.snapshots[group]
        is_new = viewer in turn.late
        viewer.has_begun = True
        found = turn.late[viewer] if is_new else turn.feeds[group]
        feed = []
        for event in found:
            if event.entry > viewer.seen.get(event.place, (0, 0)):
                viewer.seen[event.place] = event.entry
                named = {"property": event.property} if group.is_account else {}
                feed.append(message("feed", event.data | named, text_of(event.entry)))
        viewer.offer(whole if is_new else news, feed)

    # In a thread, from here on.

    def _look(self, viewers: Sequence[Viewer], places: Mapping[int, Property]) -> Turn:
        """Count once for all of them."""
        now, turn = datetime.now(UTC), Turn()
        groups = {viewer.group for viewer in viewers if viewer.group}
        wanted = {pk for group in groups for pk in group.places if pk in places}
        try:
            moment = round(now.timestamp() * 1000)
            counted = {pk: live.here(places[pk], moment) for pk in wanted}
            begun = {viewer.group for viewer in viewers if not viewer.has_begun}
            feeds = self._read_feeds([places[pk] for pk in wanted])
            for group in groups:
                if set(group.places) <= wanted:
                    these = [places[pk] for pk in group.places]
                    news, answer = self._snapshot(group, these, counted, now)
                    whole = self._whole(group, these, answer, now) if group in begun else b""
                    turn.snapshots[group] = news, whole
                    turn.feeds[group] = _of_group(group, feeds)
            for viewer in viewers:
                if viewer.group in turn.snapshots and not viewer.has_begun:
                    turn.late[viewer] = self._catch_up(viewer, places)
        except (store.Unavailable, redis.exceptions.RedisError) as error:
            log.warning("live stream without numbers", error=str(error))
            turn = Turn()
        finally:
            connection.close()  # back to the pool; nobody holds one who only looks
        for group in self._shown.keys() - groups:
            del self._shown[group]
        for pk in self._cursors.keys() - wanted:
            del self._cursors[pk]
        return turn

    def _snapshot(
        self,
        group: Group,
        these: Sequence[Property],
        counted: Mapping[int, Crowd],
        now: datetime,
    ) -> tuple[bytes, dict[str, Any]]:
        """What is new to those who look already (b"": nothing), and what it was made of."""
        answer = realtime.assemble(these, counted, group.asked, now, is_account=group.is_account)
        if group.asked.filter is not None:
            # Only what streams count: how many filters they have is bounded.
            [[second, *numbers]] = answer["recent"]
            recent.note(realtime.whose_of(these, group.asked.filter), second, numbers)
        shown = self._shown.setdefault(group, Shown())
        shown.samples += answer.pop("recent")
        key = orjson.dumps({name: value for name, value in answer.items() if name != "at"})
        news, moment = b"", time.monotonic()
        if key != shown.key or moment - shown.sent_at >= AT_LEAST:
            since = answer | {"recent": shown.samples}
            news = message("snapshot", since, self._last_id(group))
            shown.key, shown.sent_at, shown.samples = key, moment, []
        return news, answer

    def _whole(
        self, group: Group, these: Sequence[Property], answer: dict[str, Any], now: datetime
    ) -> bytes:
        """The same for whoever comes, with the minutes before."""
        before = realtime.seconds(these, group.asked, int(now.timestamp()))
        return message("snapshot", answer | {"recent": before}, self._last_id(group))

    def _last_id(self, group: Group) -> str:
        last = max((self._cursors.get(pk, (0, 0)) for pk in group.places), default=(0, 0))
        return text_of(last) if last > (0, 0) else ""

    def _read_feeds(self, places: Sequence[Property]) -> dict[int, list[Happened]]:
        """What came since the last turn; and let the collectors go on writing it."""
        if not places:
            return {}
        client = store.events_client()
        pipe = client.pipeline(transaction=False)
        for place in places:
            prefix, cursor = keys.prefix(place.account_id, place.pk), self._cursors.get(place.pk)
            pipe.set(keys.watch(prefix), 1, px=WATCHED_FOR)
            if cursor is None:
                pipe.xrevrange(keys.feed(prefix), count=1)
            else:
                pipe.xrange(keys.feed(prefix), min=f"({text_of(cursor)}", count=RESUMED)
        answers = pipe.execute()[1::2]
        found: dict[int, list[Happened]] = {}
        for place, entries in zip(places, answers, strict=True):
            events = [happened(place, raw_id, fields) for raw_id, fields in entries]
            if place.pk not in self._cursors:
                # The first turn: whoever is here catches up by herself.
                self._cursors[place.pk] = events[-1].entry if events else (0, 0)
                events = []
            elif events:
                self._cursors[place.pk] = events[-1].entry
            found[place.pk] = events
        return found

    def _catch_up(self, viewer: Viewer, places: Mapping[int, Property]) -> list[Happened]:
        """The newest events for whoever comes; all since her last for whoever comes again."""
        group = viewer.group
        assert group is not None
        feeds: dict[int, list[Happened]] = {}
        for pk in group.places:
            place = places[pk]
            name = keys.feed(keys.prefix(place.account_id, place.pk))
            if viewer.last is None:
                entries = store.events_client().xrevrange(name, count=BACKLOG)[::-1]
            else:
                since = _since(viewer.last, group.is_account)
                entries = store.events_client().xrange(name, min=since, count=RESUMED)
            feeds[pk] = [happened(place, *entry) for entry in entries]
        found = _of_group(group, feeds)
        return found[-BACKLOG:] if viewer.last is None else found


def _since(last: Entry, is_account: bool) -> str:
    """Of several properties one may be read a little later than another: a second of them comes
    twice, and `event_id` says so."""
    return f"{max(last[0] - 1_000, 0)}-0" if is_account else f"({text_of(last)}"


def _of_group(group: Group, feeds: Mapping[int, Sequence[Happened]]) -> list[Happened]:
    found = [event for pk in group.places for event in feeds.get(pk, ())]
    return sorted((event for event in found if group.asked.fits(event.look)), key=lambda e: e.entry)


_hub: tuple[asyncio.AbstractEventLoop | None, Hub] | None = None


def hub() -> Hub:
    """The process's hub; a loop that is not the last one's gets a new one."""
    global _hub
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:  # a view in its thread only asks whether there is room
        return _hub[1] if _hub else Hub()
    if _hub is None or _hub[0] is not loop:
        _hub = (loop, Hub())
    return _hub[1]
