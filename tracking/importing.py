"""An access log into a property: every pageview of the file once, however often it is imported.

In: a property and a file (plain, gzip or standard input). Out: a `Tally` in which every line of
the file has its place, and below AKTIVAT_HOME/imports the lines that could not be parsed.
Called by `manage.py import_log`; what a line says is logs.py's business.

A line's event id is made from its bytes and from how many identical lines stand before it in the
file. So the same file again, under another name or compressed, adds nothing, and identical lines
of one file count each. The price: of two identical lines (same second, address, page, agent) that
a rotation has put into two files, one counts.
"""

from __future__ import annotations

import fcntl
import gzip
import io
import json
import os
import stat
import sys
import time
import zlib
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256
from ipaddress import ip_address
from pathlib import Path
from typing import Any, BinaryIO, Final
from uuid import UUID, uuid5

import psycopg
from django.conf import settings
from django.db import DatabaseError
from redis.exceptions import RedisError

from properties.models import Property
from tracking import addresses, logs, sources
from tracking.collecting import Answer, Origin, collect, now_ms
from tracking.drain import drain_property
from tracking.store import Unavailable, visitor_salt

BATCH: Final = 1_000
STORE_EVERY: Final = 50  # batches
HEAD: Final = 65_536  # bytes by which a file is recognised when its import goes on
_MOST_READ: Final = logs.LINE_LIMIT + 2  # a line at the limit still bears its \r\n
UNENDING: Final = 64 * 2**20  # bytes without a line's end: this is no log
HOPELESS: Final = 10_000  # lines, not one of them parsed: neither is this
SHOWN: Final = 2_000  # bytes of a bad line that are kept
REMEMBERED: Final = 1_000_000  # lines whose repetitions are recognised, some 150 MB
PATIENCE: Final = 60.0  # seconds of waiting for a Valkey that is away
LONGEST_PAUSE: Final = 8.0

_LINES: Final = UUID("6f0f3f0c-2c3b-5d0a-8c4e-5b1f7d9a2e01")  # ours; never to be changed
_VISITORS: Final = UUID("6f0f3f0c-2c3b-5d0a-8c4e-5b1f7d9a2e02")


class Stopped(Exception):
    """The import cannot start or go on; the message says why and what to do."""


@dataclass
class Tally:
    """What became of the lines of a file."""

    lines: int = 0
    accepted: int = 0
    duplicate: int = 0
    skipped: Counter[str] = field(default_factory=lambda: Counter(dict.fromkeys(logs.Skip, 0)))
    bad: int = 0
    refused: Counter[str] = field(default_factory=Counter)

    def take(self, answer: Answer) -> None:
        self.accepted += answer.accepted
        self.duplicate += answer.duplicate
        self.refused.update(refusal["reason"] for refusal in answer.rejected)

    def adds_up(self) -> bool:
        """Whether each line has exactly one place."""
        kept = self.accepted + self.duplicate + self.refused.total()
        return self.lines == kept + self.skipped.total() + self.bad

    def as_json(self) -> dict[str, Any]:
        return {
            "lines": self.lines,
            "accepted": self.accepted,
            "duplicate": self.duplicate,
            "skipped": {str(why): count for why, count in self.skipped.items()},
            "bad": self.bad,
            "refused": dict(self.refused),
        }


# -- the file ----------------------------------------------------------------------------------


@dataclass
class LogFile:
    """An open log: `stream` is its text, unpacked; `raw` is what lies on disk."""

    stream: io.BufferedReader[Any]
    raw: BinaryIO
    size: int | None  # bytes on disk; None for standard input

    def share_read(self) -> float | None:
        """How much of it has been read, 0 to 1; None if nobody can know."""
        return min(1.0, self.raw.tell() / self.size) if self.size else None

    def fingerprint(self) -> str:
        """Tells one log from another by its beginning, whatever its name and compression."""
        with _damage_explained():
            return sha256(self.stream.peek(HEAD)[:HEAD]).hexdigest()[:16]


@contextmanager
def open_log(name: str) -> Iterator[LogFile]:
    """The log of that name, "-" for standard input. gzip is told by its content.

    Raises Stopped for what is no readable regular file: a FIFO would block here and a device
    never end, so those have to be piped.
    """
    with ExitStack() as files:
        if name == "-":
            raw: BinaryIO = sys.stdin.buffer
            size = None
        else:
            raw = files.enter_context(_regular_file(name))
            size = os.fstat(raw.fileno()).st_size
        stream: io.BufferedReader[Any] = io.BufferedReader(raw, HEAD)  # type: ignore[type-var]
        if stream.peek(2)[:2] == b"\x1f\x8b":
            stream = io.BufferedReader(gzip.GzipFile(fileobj=stream), HEAD)
        yield LogFile(stream, raw, size)


def _regular_file(name: str) -> BinaryIO:
    try:
        # Without O_NONBLOCK, opening a FIFO waits for its writer.
        handle = os.open(name, os.O_RDONLY | os.O_NONBLOCK)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise Stopped(f"{name!r} cannot be opened: {reason}.") from error
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise Stopped(f"{name!r} is no regular file. Pipe it in, and write - for FILE.")
    return os.fdopen(handle, "rb", buffering=0)


@contextmanager
def _damage_explained() -> Iterator[None]:
    try:
        yield
    except (EOFError, OSError, zlib.error) as error:
        raise Stopped(
            f"The file cannot be read to its end ({error}). What stands before the damage is"
            " imported; mend the file and run this again."
        ) from error


def read_lines(stream: io.BufferedReader[Any]) -> Iterator[bytes]:
    """The lines, each cut a little above logs.LINE_LIMIT, which makes a longer one a bad line."""
    while line := _read_line(stream):
        yield line
        dropped = 0
        while len(line) == _MOST_READ and not line.endswith(b"\n"):
            line = _read_line(stream)
            dropped += len(line)
            if dropped > UNENDING:
                raise Stopped(f"A line goes on for over {UNENDING:,} bytes: this is no log.")


def _read_line(stream: io.BufferedReader[Any]) -> bytes:
    with _damage_explained():
        return stream.readline(_MOST_READ)


# -- a line ------------------------------------------------------------------------------------


class Occurrences:
    """How many identical lines came before this one.

    Identical lines bear the same second, so what is remembered is kept by hour, and the hour that
    was not used for longest is forgotten when all of it becomes too much. In a file whose hours
    are so thoroughly mixed, repetitions count once.
    """

    def __init__(self, most: int = REMEMBERED) -> None:
        self._hours: OrderedDict[int, Counter[bytes]] = OrderedDict()
        self._most = most
        self._size = 0

    def before(self, digest: bytes, second: int) -> int:
        """The number for the line with that hash; counts it."""
        hour = second // 3600
        seen = self._hours.setdefault(hour, Counter())
        self._hours.move_to_end(hour)
        number = seen[digest]
        seen[digest] += 1
        self._size += number == 0
        while self._size > self._most and len(self._hours) > 1:
            self._size -= len(self._hours.popitem(last=False)[1])
        return number


def event_id(digest: bytes, number: int) -> UUID:
    """The id of the line with that SHA-256, of which `number` came before in its file."""
    return uuid5(_LINES, f"{digest.hex()}:{number}")


@lru_cache(maxsize=50_000)
def visitor_id(address: str, agent: str) -> UUID:
    """Who that is, as far as a log can tell."""
    return uuid5(_VISITORS, f"{address}\n{agent}")


def host_of(place: Property) -> str:
    """The host to which the pages of a log belong: the first that the property names."""
    for pattern in place.hostnames:
        if pattern != "*":
            return "www" + pattern[1:] if pattern.startswith("*.") else pattern
    return "localhost"


def payload_of(line: logs.Line, host: str, id_: UUID) -> dict[str, Any]:
    """The pageview as the collector takes it from a privileged sender."""
    payload = {
        "name": "pageview",
        "event_id": str(id_),
        "visitor": str(visitor_id(line.address, line.agent)),
        "time": line.time * 1000,
        "url": f"https://{host}{_own_target(line.target)}",
        "_address": line.address if _is_address(line.address) else "",
        "_agent": line.agent,
    }
    if line.referrer and not _is_spam(line.referrer):
        payload["referrer"] = line.referrer
    return payload


def _own_target(target: str) -> str:
    """What browsers never send (`GET http://elsewhere/`, `GET ?a=b`) is a page of its own, and
    not somebody's home page."""
    if target.startswith("/"):
        return target
    path, mark, query = target.partition("?")
    return f"/{path or '%3F'}{mark}{query}"


@lru_cache(maxsize=50_000)
def _is_address(text: str) -> bool:
    """A server that looks names up writes them instead of addresses."""
    try:
        return bool(ip_address(text))
    except ValueError:
        return False


@lru_cache(maxsize=10_000)
def _is_spam(referrer: str) -> bool:
    """A spammer's request did happen: the page view stays, what it advertises goes."""
    came_from = addresses.split(referrer)
    return came_from is not None and sources.is_spam(came_from.hostname)


# -- notes between two runs --------------------------------------------------------------------


class Notes:
    """What an import keeps in AKTIVAT_HOME/imports: a bookmark until it is done, its bad lines.

    The bookmark is saved after each batch that the collector took. Whoever goes on reads the
    file again from its beginning, because the numbers of identical lines stand nowhere else, but
    sends only what follows the bookmark.
    """

    def __init__(self, place: Property, fingerprint: str) -> None:
        self.folder = Path(settings.HOME) / "imports"
        # Bad lines hold visitors' addresses: nobody else may read them.
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.stem = f"{place.key}-{fingerprint}"
        self.bookmark = self.folder / f"{self.stem}.bookmark.json"
        self.bad_lines = self.folder / f"{self.stem}.bad.jsonl"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Two imports of one file at once would write one file of bad lines."""
        path = self.folder / f"{self.stem}.lock"
        with path.open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise Stopped("Another process is importing this file; wait for it.") from error
            yield
            path.unlink(missing_ok=True)

    def read(self, tally: Tally) -> int:
        """The last line of the last acknowledged batch, 0 without a bookmark; fills the tally."""
        try:
            found = json.loads(self.bookmark.read_text())
            line = int(found["line"])
            refused = {str(reason): int(count) for reason, count in found["refused"].items()}
            tally.accepted, tally.duplicate = int(found["accepted"]), int(found["duplicate"])
            tally.refused.update(refused)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return 0  # none, or half a one: everything is sent again and found to be a duplicate
        return line

    def save(self, line: int, tally: Tally) -> None:
        kept = tally.as_json()
        text = json.dumps(
            {"line": line} | {k: kept[k] for k in ("accepted", "duplicate", "refused")}
        )
        fresh = self.bookmark.with_suffix(".new")
        fresh.write_text(text)
        fresh.replace(self.bookmark)

    def forget(self) -> None:
        self.bookmark.unlink(missing_ok=True)


def bad_line(number: int, line: bytes, reason: str) -> str:
    """A JSON line in ASCII: whatever a log holds, no terminal that shows this obeys it."""
    shown = line[:SHOWN].rstrip(b"\r\n").decode("utf-8", "backslashreplace")
    return json.dumps({"line": number, "reason": reason, "text": shown}) + "\n"


# -- the import --------------------------------------------------------------------------------


def deliver(
    place: Property, batch: list[dict[str, Any]], sleep: Callable[[float], None] = time.sleep
) -> Answer:
    """What the collector says; while it is unsure, the same again, which the ids allow.

    Waits a minute in all, then raises Stopped.
    """
    waited, pause = 0.0, 0.25
    while True:
        try:
            origin = Origin(privileged=True, visitor_salt=visitor_salt(now_ms()))
            return collect(place, batch, origin)
        except Unavailable as error:
            if waited >= PATIENCE:
                raise Stopped(
                    f"The events Valkey is away or full ({error}). Nothing is lost: run the"
                    " same command again, and it goes on where it stopped."
                ) from error
            sleep(pause)
            waited += pause
            pause = min(2 * pause, LONGEST_PAUSE)


def make_room(place: Property) -> None:
    """Store what waits, so that a long import never fills the Valkey into which all collect.

    With Postgres away the stream grows, as it does for everybody; `deliver` tells of the rest.
    """
    with suppress(DatabaseError, psycopg.Error, RedisError):
        drain_property(place)


@dataclass
class Import:
    """One run. `watch(tally, log)` is called now and then, `sleep` while Valkey is away."""

    place: Property
    log: LogFile
    watch: Callable[[Tally, LogFile], None] = lambda tally, log: None
    sleep: Callable[[float], None] = time.sleep
    from_start: bool = False
    tally: Tally = field(default_factory=Tally)
    resumed_after: int = 0
    _sent: int = 0

    def run(self) -> Tally:
        """Import all that is not imported yet. Raises Stopped; then running again goes on."""
        if not self.place.hostnames:
            raise Stopped("The property allows no hostname; add one in its settings.")
        self.notes = Notes(self.place, self.log.fingerprint())
        with self.notes.locked():
            self._run()
        return self.tally

    def _run(self) -> None:
        self.resumed_after = 0 if self.from_start else self.notes.read(self.tally)
        batch: list[dict[str, Any]] = []
        for payload in self._payloads():
            if self.tally.lines > self.resumed_after:
                batch.append(payload)
            if len(batch) == BATCH:
                self._send(batch)
                batch = []
        if batch:
            self._send(batch)
        self.watch(self.tally, self.log)
        self.notes.forget()
        if not self.tally.adds_up():
            raise Stopped("The file has changed since its import was interrupted: run this again.")

    def _payloads(self) -> Iterator[dict[str, Any]]:
        """Every pageview; the other lines are counted, and kept if nobody can read them."""
        tally, host, occurrences = self.tally, host_of(self.place), Occurrences()
        with ExitStack() as files:
            bad_lines = None
            self.notes.bad_lines.unlink(missing_ok=True)
            for tally.lines, line in enumerate(read_lines(self.log.stream), 1):
                if tally.lines % BATCH == 0:
                    self.watch(tally, self.log)
                try:
                    parsed = logs.parse(line)
                except logs.BadLine as error:
                    tally.bad += 1
                    bad_lines = bad_lines or files.enter_context(self.notes.bad_lines.open("w"))
                    bad_lines.write(bad_line(tally.lines, line, str(error)))
                    if tally.bad == tally.lines == HOPELESS:
                        raise Stopped(
                            f"None of the first {HOPELESS:,} lines is in the combined format."
                        ) from error
                    continue
                if (why := logs.skipped(parsed)) is not None:
                    tally.skipped[why] += 1
                    continue
                digest = sha256(line.rstrip(b"\r\n")).digest()
                number = occurrences.before(digest[:16], parsed.time)
                yield payload_of(parsed, host, event_id(digest, number))

    def _send(self, batch: list[dict[str, Any]]) -> None:
        self.tally.take(deliver(self.place, batch, self.sleep))
        self.notes.save(self.tally.lines, self.tally)
        self._sent += 1
        if self._sent % STORE_EVERY == 0:
            make_room(self.place)
