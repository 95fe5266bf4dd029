"""How many may look at live numbers: room for viewers, and for the filters that they look by.

In: a viewer who wants to come in, from the thread of a view; who left, from the loop. Out: whether
there is room, and her place in it: one step, so that hundreds who come at once find as many places
as there are. Called by streams.py. What a process counts in a second grows with the filters that
differ, not with those who look by the same one.
"""

import time
from collections import Counter
from collections.abc import Hashable
from threading import Lock
from typing import Any, Final

from properties.models import Property
from reports.viewers import Viewer

MOST_OF_AN_ACTOR: Final = {"user": 20, "apikey": 50, "sharelink": 500}
MOST = 1_000  # viewers of a process
MOST_FILTERS_OF_AN_ACCOUNT = 40  # a fifth of a second of CPU each second, of 20,000 pages
MOST_FILTERS = 100  # of a process
COMES_WITHIN = 30.0  # seconds; whoever was let in and has not come by then never does

FULL, STREAMS, FILTERS = "too_many_viewers", "too_many_streams", "too_many_filters"


class Room:
    """One for each process."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._inside: set[Viewer] = set()
        self._coming: dict[Viewer, float] = {}
        self._actors: Counter[tuple[str, int]] = Counter()
        self._filters: dict[int, Counter[Hashable]] = {}

    def enter(self, viewer: Viewer) -> str:
        """Why she finds no room; "": she is in, until `leave`."""
        with self._lock:
            now = time.monotonic()
            for late in [each for each, since in self._coming.items() if now > since]:
                self._remove(late)
            refusal = self._refusal(viewer)
            if not refusal:
                self._add(viewer)
                self._coming[viewer] = now + COMES_WITHIN
            return refusal

    def stay(self, viewer: Viewer) -> None:
        """She has come, and stays for as long as she likes."""
        with self._lock:
            if viewer not in self._inside:
                self._add(viewer)
            self._coming.pop(viewer, None)

    def leave(self, viewer: Viewer) -> None:
        with self._lock:
            self._remove(viewer)

    def has(self, viewer: Viewer) -> bool:
        return viewer in self._inside

    def _refusal(self, viewer: Viewer) -> str:
        if len(self._inside) >= MOST:
            return FULL
        if self._actors[viewer.who] >= MOST_OF_AN_ACTOR[viewer.who[0]]:
            return STREAMS
        mine = self._filters.get(_account_of(viewer), Counter())
        if viewer.asked.filter is None or _filter_of(viewer) in mine:
            return ""
        if len(mine) >= MOST_FILTERS_OF_AN_ACCOUNT:
            return FILTERS
        return FULL if sum(map(len, self._filters.values())) >= MOST_FILTERS else ""

    def _add(self, viewer: Viewer) -> None:
        self._inside.add(viewer)
        self._actors[viewer.who] += 1
        if viewer.asked.filter is not None:
            mine = self._filters.setdefault(_account_of(viewer), Counter())
            mine[_filter_of(viewer)] += 1

    def _remove(self, viewer: Viewer) -> None:
        self._coming.pop(viewer, None)
        if viewer not in self._inside:
            return
        self._inside.remove(viewer)
        _take_one(self._actors, viewer.who)
        if viewer.asked.filter is not None:
            account = _account_of(viewer)
            _take_one(self._filters[account], _filter_of(viewer))
            if not self._filters[account]:
                del self._filters[account]


def _take_one(counts: Counter[Any], name: Hashable) -> None:
    counts[name] -= 1
    if not counts[name]:
        del counts[name]


def _account_of(viewer: Viewer) -> int:
    place = viewer.place
    return place.account_id if isinstance(place, Property) else place.pk


def _filter_of(viewer: Viewer) -> Hashable:
    """Two properties are counted apart, so the same filter of both is two."""
    place = viewer.place
    return isinstance(place, Property), place.pk, viewer.asked.filter


ROOM: Final = Room()
