"""Histories of any size, made once and kept: what reports are measured against.

Enters: a number of events and the days they spread over. Leaves: a property with these events,
their sessions, rollups, bitmaps and columns, in a PostgreSQL of its own below a cache folder, the
same for the same seed. Called by tests/instruments/questions.py and whoever needs much history:

    with generated.servers() as kept:
        place = kept.place(generated.History(1_000_000))

Rows are copied into the tables that the drain writes; `visitors`, `event_ids` and the ledger stay
empty, for no report reads them. What follows is the product's own work.
"""

from __future__ import annotations

import argparse
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

VERSION = 2  # of what the generator makes: another number makes kept data stale
FIRST_DAY = datetime(2025, 1, 1, tzinfo=UTC)
ZONE = "Europe/Berlin"
PAGES = 5_000
EVENTS_A_SESSION = 4  # about
LONGEST = 20  # events of a session
PAUSE = timedelta(minutes=31)  # between two sessions of a visitor, at least

ORDER = "event-2"  # what money is made with
NAMES = ["pageview", "engagement", *(f"event-{n}" for n in range(18))]
SOURCES = ["Direct", "Google", "Bing", "Facebook", *(f"site-{n}.example" for n in range(36))]
CHANNELS = ["Direct", "Organic Search", "Organic Search", "Organic Social"] + ["Referral"] * 36
MEDIA = ["", "organic", "organic", "social"] + ["referral"] * 36
CAMPAIGNS = ["", *(f"campaign-{n}" for n in range(39))]
TERMS = ["", *(f"term {n}" for n in range(99))]
COUNTRIES = ["DE", "AT", "CH", "US", "FR", "GB", ""] + [f"{a}{b}" for a in "XYZ" for b in "ABCDEFG"]
DEVICES = ["desktop", "mobile", "tablet", ""]
BROWSERS = ["Chrome", "Safari", "Firefox", "Edge", *(f"Browser {n}" for n in range(8))]
SYSTEMS = ["Windows", "Android", "iOS", "macOS", "Linux", "ChromeOS", ""]
LANGUAGES = ["de", "en", "fr", "it", *(f"l{n}" for n in range(10, 26))]
SCREENS = ["1920x1080", "390x844", "1440x900", *(f"{n}x{n}" for n in range(600, 612))]
HOSTS = ["www.example.com", "shop.example.com"]
PROPS = [r"\N", '{"plan": "free"}', '{"plan": "pro", "seats": 3}', '{"plan": "team"}']


@dataclass(frozen=True)
class History:
    """So many events of a property, from the first of January 2025 on."""

    events: int
    days: int = 365
    seed: int = 20250101

    @property
    def visitors(self) -> int:
        return self.events // 10

    @property
    def slug(self) -> str:
        return f"h{self.events}d{self.days}s{self.seed}"

    @property
    def end(self) -> datetime:
        """Nothing happens after this."""
        return FIRST_DAY + timedelta(days=self.days)

    @property
    def now(self) -> datetime:
        """A moment at which every day of it is closed."""
        return self.end + timedelta(days=4)


# -- servers and what they keep --------------------------------------------------------------


def cache_folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "aktivat" / "generated"


@dataclass
class Kept:
    """The running servers; `environment` is what a process of the product needs to use them."""

    environment: dict[str, str]
    postgres_pid: int
    say: Any = print
    _places: dict[str, Any] = field(default_factory=dict)

    def place(self, history: History) -> Any:
        """The property with that history; made at the first time, which takes its time."""
        return made(history, self.say)


@contextmanager
def servers(home: Path | None = None, say: Any = print) -> Iterator[Kept]:
    """Servers of our own over the kept data; Django is set up to use them.

    Call it before anything imports aktivat.settings. Data of another version is thrown away.
    """
    from aktivat.servers import start_postgres, start_valkey

    home = (home or cache_folder()).resolve()
    _forget_stale(home, say)
    home.mkdir(parents=True, exist_ok=True)
    started: list[Any] = []
    try:
        # No fsync: what a crash of the machine breaks can be generated again.
        postgres = start_postgres(home / "postgres", fast=True)
        started.append(postgres)
        for role in ("events", "broker"):
            shutil.rmtree(home / role, ignore_errors=True)  # nothing in them is kept
            started.append(start_valkey(home / role, role=role))
        _, events, broker = started
        environment = {
            "DJANGO_SETTINGS_MODULE": "aktivat.settings",
            "AKTIVAT_ENV": "test",
            "AKTIVAT_HOME": str(home),
            "AKTIVAT_DEMO": "0",
            "SECRET_KEY": "made-for-instruments-and-of-no-use-elsewhere-0123456789",
            "DATABASE_URL": postgres.urls["web"],
            "DATABASE_OWNER_URL": postgres.urls["owner"],
            "DATABASE_WORKER_URL": postgres.urls["worker"],
            "REDIS_URL": events.url,
            "BROKER_URL": broker.url,
        }
        os.environ.update(environment)
        _set_up()
        (home / "version").write_text(f"{VERSION}\n")
        yield Kept(environment, postgres.pid, say)
    finally:
        _close_connections()
        for server in reversed(started):
            server.stop()


def _forget_stale(home: Path, say: Any) -> None:
    """What another generator made, or a crash left without a version, goes."""
    if not home.exists() or not any(home.iterdir()):
        return
    version = home / "version"
    if not version.exists() or version.read_text().strip() != str(VERSION):
        if not (home / "postgres").exists():
            raise SystemExit(f"{home} holds something else than kept histories: name another.")
        say(f"Throwing away the histories of another version in {home}.")
        shutil.rmtree(home)


def _set_up() -> None:
    """Django over these servers, the tables up to date."""
    import django
    from django.core.management import call_command
    from django.db import connections
    from django.db.migrations.loader import MigrationLoader

    django.setup()
    loader = MigrationLoader(connections["owner"])
    unknown = set(loader.applied_migrations) - set(loader.disk_migrations)
    if unknown:
        raise SystemExit(
            f"The kept histories were made by other migrations ({sorted(unknown)[0]}): "
            "delete the folder, or check out the version that made it."
        )
    call_command("migrate", database="owner", verbosity=0, interactive=False)


def _close_connections() -> None:
    from django.conf import settings

    if not settings.configured:
        return
    from django.db import connections

    for connection in connections.all():
        connection.close()
        if hasattr(connection, "close_pool"):
            connection.close_pool()  # and forgets it: the next size has servers of its own


# -- one history -----------------------------------------------------------------------------


def made(history: History, say: Any = print) -> Any:
    """The property of that history, in whatever database Django is set up for."""
    from properties.models import Property

    places = Property.objects.across_accounts().using("worker")
    place = places.filter(account__slug=history.slug).first()
    if place is not None and place.first_event_at is None:  # the copying was cut off
        _empty(place)
    if place is None:
        place = _new_place(history)
    if place.first_event_at is None:
        took = time.monotonic()
        say(f"Generating {history.events:,} events over {history.days} days ...")
        _fill(place, history)
        say(f"  copied in {time.monotonic() - took:.0f} s")
    _finish(place, history, say)
    return place


def _new_place(history: History) -> Any:
    from django.db import transaction

    from accounts.models import User
    from properties.joining import open_account
    from properties.models import Property

    with transaction.atomic(using="owner"):
        owner, _ = User.objects.get_or_create(email="histories@example.com")
    account = open_account(history.slug, f"{history.events:,} events", owner)
    return Property.objects.create(
        account=account, name=history.slug, hostnames=["*"], timezone=ZONE, retention_days=1825
    )


def _empty(place: Any) -> None:
    from django.db import connections

    with connections["worker"].cursor() as cursor:
        for table in ("events", "sessions", "dirty_hours"):
            cursor.execute(f"DELETE FROM {table} WHERE property_id = %s", [place.pk])


def _finish(place: Any, history: History, say: Any) -> None:
    """What the worker's ticks would do, until nothing is left."""
    from reports.packing import list_days, pack_all
    from reports.rollups import days_due, roll_up_property
    from tracking.working import transaction_of_worker

    if days_due(place, history.now):
        took = time.monotonic()
        say("Rolling up ...")
        done = roll_up_property(place, history.now)
        say(f"  {done.hours:,} hours of {done.days} days in {time.monotonic() - took:.0f} s")
    took = time.monotonic()
    with transaction_of_worker() as cursor:
        list_days(cursor, place, history.now)
    if packed := pack_all(history.now, place):
        say(f"  {packed} days packed in {time.monotonic() - took:.0f} s")


def _fill(place: Any, history: History) -> None:
    from django.db import connections

    from tracking.models import DirtyHour
    from tracking.working import clock_of, mark_dirty, transaction_of_worker

    drawn = draw(history)
    for month in _months(history):
        with transaction_of_worker() as cursor:
            cursor.execute("SELECT ensure_events_partition(%s)", [month.date()])
    with transaction_of_worker() as cursor:
        _copy_sessions(cursor, place, drawn)
    order = np.argsort(drawn.time, kind="stable")
    for start in range(0, len(order), 200_000):
        with transaction_of_worker() as cursor:
            _copy_events(cursor, place, drawn, order[start : start + 200_000])
    clock = clock_of(place.timezone)
    quarters = np.unique(drawn.time // 900_000) * 900_000
    hours = {clock.stamps(int(quarter))[1] for quarter in quarters}
    with transaction_of_worker() as cursor:
        mark_dirty(cursor, place, hours, DirtyHour.Why.RAW, history.now)
    with connections["owner"].cursor() as cursor:
        for table in ("events", "sessions"):
            cursor.execute(f"VACUUM ANALYZE {table}")
    # Last: what has it is complete.
    place.first_event_at = datetime.fromtimestamp(int(drawn.time.min()) / 1000, UTC)
    place.save(update_fields=["first_event_at"])


def _months(history: History) -> Iterator[datetime]:
    month = FIRST_DAY.replace(day=1)
    while month <= history.end:
        yield month
        month = (month + timedelta(days=32)).replace(day=1)


# -- drawing ---------------------------------------------------------------------------------


@dataclass
class Drawn:
    """Arrays. Of sessions: `visitor` (bots below 0), `start` and `length` (events), and the index
    of each attribute's value. Of events, session by session: `session`, `time` (ms since 1970),
    `name`, `page` (-1: none), `engaged` (-1: none), `props`, `cents` (NO_MONEY: none; below 0:
    given back) and whether those are `euros` or dollars."""

    visitor: np.ndarray
    length: np.ndarray
    attributes: dict[str, np.ndarray]
    session: np.ndarray
    time: np.ndarray
    name: np.ndarray
    page: np.ndarray
    engaged: np.ndarray
    props: np.ndarray
    cents: np.ndarray
    euros: np.ndarray

    @property
    def first(self) -> np.ndarray:
        """The first event of each session."""
        return np.cumsum(self.length) - self.length


def draw(history: History) -> Drawn:
    """The history as arrays: exactly so many events, and no two sessions of a visitor that the
    gap would join."""
    dice = np.random.default_rng(history.seed)
    visitor, start, steps, length = _sessions(dice, history)
    kept = _apart(visitor, start, steps)
    visitor, start, steps, length = visitor[kept], start[kept], steps[kept], length[kept]
    many = int(np.searchsorted(np.cumsum(length), history.events)) + 1
    visitor, start, steps, length = (a[:many] for a in (visitor, start, steps, length))
    length[-1] -= length.sum() - history.events
    order = np.argsort(start, kind="stable")  # as they are stored: in the order of time
    visitor, start, steps, length = (a[order] for a in (visitor, start, steps, length))
    used = np.arange(LONGEST) < length[:, None]
    moments = (start[:, None] + np.cumsum(steps, axis=1))[used]
    session = np.repeat(np.arange(many), length)
    names, pages, engaged, props = _events(dice, len(session), np.cumsum(length) - length)
    attributes = _attributes(dice, many)
    cents, euros = _money(dice, names)
    return Drawn(
        visitor=_numbered(visitor, start, history.visitors),
        length=length,
        attributes=attributes,
        session=session,
        time=moments,
        name=names,
        page=pages,
        engaged=engaged,
        props=props,
        cents=cents,
        euros=euros,
    )


def _sessions(dice: np.random.Generator, history: History) -> tuple[np.ndarray, ...]:
    """Every visitor once, and then some more often than others; a few more than are needed."""
    people = history.visitors + history.visitors // 50  # the last ones are bots
    many = max(people, int(history.events / EVENTS_A_SESSION * 1.1)) + 50
    again = (people * dice.random(many - people) ** 2).astype(np.int64)
    visitor = np.concatenate([np.arange(people), again])
    length = np.minimum(dice.geometric(1 / EVENTS_A_SESSION, many), LONGEST)
    week = 1 + 0.3 * np.sin(np.arange(history.days) * 2 * np.pi / 7)
    day = _pick(dice, week, many)
    hour = _pick(dice, 1.2 + np.sin((np.arange(24) - 9) * 2 * np.pi / 24), many)
    start = int(FIRST_DAY.timestamp() * 1000) + (day * 24 + hour) * 3_600_000
    start = start + dice.integers(0, 3_600_000, many)
    # The last hours stay empty, so that nothing goes on behind the end.
    start = np.minimum(start, round(history.end.timestamp() * 1000) - 3 * 3_600_000)
    steps = dice.integers(500, 290_000, (many, LONGEST)).astype(np.int64)
    steps[:, 0] = 0
    return visitor, start, steps, length


def _pick(dice: np.random.Generator, weights: np.ndarray, many: int) -> np.ndarray:
    bounds = np.cumsum(weights / weights.sum())
    return np.minimum(np.searchsorted(bounds, dice.random(many)), len(weights) - 1)


def _zipf(dice: np.random.Generator, values: int, many: int, power: float = 1.0) -> np.ndarray:
    return _pick(dice, 1 / np.arange(1, values + 1) ** power, many)


def _apart(visitor: np.ndarray, start: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """Which sessions begin long enough after the visitor's last."""
    order = np.lexsort((start, visitor))
    end = start + steps.sum(axis=1) + round(PAUSE.total_seconds() * 1000)
    same = visitor[order][1:] == visitor[order][:-1]
    early = same & (start[order][1:] <= end[order][:-1])
    kept = np.ones(len(visitor), dtype=bool)
    kept[order[1:][early]] = False
    return kept


def _numbered(visitor: np.ndarray, start: np.ndarray, people: int) -> np.ndarray:
    """Numbers as the collector gives them out: people 1, 2, ... as they come, bots -1, -2, ..."""
    order = np.argsort(start, kind="stable")
    _, first = np.unique(visitor[order], return_index=True)
    known = np.unique(visitor)
    coming = known[np.argsort(first, kind="stable")]
    numbers = np.zeros(visitor.max() + 1, dtype=np.int64)
    is_person = coming < people
    numbers[coming[is_person]] = np.arange(1, is_person.sum() + 1)
    numbers[coming[~is_person]] = -np.arange(1, (~is_person).sum() + 1)
    return numbers[visitor]


def _attributes(dice: np.random.Generator, many: int) -> dict[str, np.ndarray]:
    source = _zipf(dice, len(SOURCES), many)
    campaign = np.where(dice.random(many) < 0.7, 0, 1 + _zipf(dice, len(CAMPAIGNS) - 1, many))
    return {
        "source": source,
        "campaign": campaign,
        "term": np.where(campaign == 0, 0, _zipf(dice, len(TERMS), many)),
        "country": _zipf(dice, len(COUNTRIES), many),
        "device": _zipf(dice, len(DEVICES), many),
        "browser": _zipf(dice, len(BROWSERS), many),
        "os": _zipf(dice, len(SYSTEMS), many),
        "language": _zipf(dice, len(LANGUAGES), many),
        "screen": _zipf(dice, len(SCREENS), many),
        "hostname": (dice.random(many) < 0.2).astype(np.int64),
    }


def _events(dice: np.random.Generator, many: int, first: np.ndarray) -> tuple[np.ndarray, ...]:
    name = np.where(dice.random(many) < 0.6, 0, 1 + _zipf(dice, len(NAMES) - 1, many))
    name[first[dice.random(len(first)) < 0.95]] = 0
    page = _zipf(dice, PAGES, many, 0.9)
    page[(name > 1) & (dice.random(many) < 0.1)] = -1
    engaged = np.where(name == 1, dice.integers(500, 60_000, many), -1)
    props = np.where(name > 1, dice.integers(0, len(PROPS), many), 0)
    return name, page, engaged, props


NO_MONEY = np.iinfo(np.int64).min


def _money(dice: np.random.Generator, name: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What each order brings: some forty on average, hardly one like another."""
    many = len(name)
    cents = np.round(100 * dice.lognormal(3.4, 0.8, many)).astype(np.int64)
    cents[dice.random(many) < 0.05] *= -1
    cents[name != NAMES.index(ORDER)] = NO_MONEY
    return cents, dice.random(many) < 0.9


# -- copying ---------------------------------------------------------------------------------

_OF_SESSION = (
    "hostname", "referrer", "source", "medium", "campaign", "term", "content", "channel",
    "country", "device", "browser", "os", "language", "screen",
)  # fmt: skip
_EVENT_COLUMNS = (
    "time", "received_at", "event_id", "name", "page", "title", "engaged_ms", "props",
    "revenue", "currency", "account_id", "property_id", "sanitized", "query", "browser_version",
    "user", "visitor", "bot", *_OF_SESSION,
)  # fmt: skip
_SESSION_COLUMNS = (
    "account_id", "property_id", "started_at", "ended_at", "pageviews", "events", "interactions",
    "engaged_ms", "entry_page", "exit_page", "visitor", "bot", *_OF_SESSION,
)  # fmt: skip


def _copy(cursor: Any, table: str, columns: tuple[str, ...], lines: Iterator[str]) -> None:
    """By way of a table of our own, as the drain does: row-level security forbids COPY."""
    names = ", ".join(f'"{name}"' for name in columns)
    cursor.execute(f"CREATE TEMP TABLE IF NOT EXISTS staged_{table} (LIKE {table})")
    with cursor.copy(f"COPY staged_{table} ({names}) FROM STDIN") as copy:
        part: list[str] = []
        for line in lines:
            part.append(line)
            if len(part) == 5_000:
                copy.write("".join(part))
                part = []
        copy.write("".join(part))
    cursor.execute(f"INSERT INTO {table} SELECT * FROM staged_{table}")
    cursor.execute(f"TRUNCATE staged_{table}")


def _tail(drawn: Drawn, session: int) -> str:
    """What every row of a session ends with: visitor, bot, and the session's attributes."""
    found = {name: int(codes[session]) for name, codes in drawn.attributes.items()}
    source = found["source"]
    number = int(drawn.visitor[session])
    texts = (
        HOSTS[found["hostname"]],
        SOURCES[source] if source > 3 else "",
        SOURCES[source],
        MEDIA[source],
        CAMPAIGNS[found["campaign"]],
        TERMS[found["term"]],
        "",
        CHANNELS[source],
        COUNTRIES[found["country"]],
        DEVICES[found["device"]],
        BROWSERS[found["browser"]],
        SYSTEMS[found["os"]],
        LANGUAGES[found["language"]],
        SCREENS[found["screen"]],
    )
    return "\t".join((str(number), "t" if number < 0 else "f", *texts)) + "\n"


def _page(code: int) -> str:
    return "" if code < 0 else "/" if code == 0 else f"/articles/{code}"


def _worth(cents: int, is_euros: bool) -> str:
    """Amount and currency."""
    if cents == NO_MONEY:
        return f"{NULL}\t"
    return f"{cents / 100:.2f}\t{'EUR' if is_euros else 'USD'}"


def _shown(moments: np.ndarray) -> list[str]:
    return [f"{text}+00" for text in np.datetime_as_string(moments.astype("datetime64[ms]"))]


def _copy_events(cursor: Any, place: Any, drawn: Drawn, some: np.ndarray) -> None:
    sessions = drawn.session[some].tolist()
    tails = {session: _tail(drawn, session) for session in set(sessions)}
    middle = f"{place.account_id}\t{place.pk}\tf\t\t\t\t"
    dice = np.random.default_rng(int(some[0]))  # ids: nothing reads them
    ids = dice.bytes(16 * len(some)).hex()
    columns = zip(
        range(0, len(ids), 32),
        _shown(drawn.time[some]),
        drawn.name[some].tolist(),
        drawn.page[some].tolist(),
        drawn.engaged[some].tolist(),
        drawn.props[some].tolist(),
        drawn.cents[some].tolist(),
        drawn.euros[some].tolist(),
        sessions,
        strict=True,
    )
    lines = (
        f"{time}\t{time}\t{ids[at : at + 32]}\t{NAMES[name]}\t{_page(page)}\t"
        f"{f'Article {page}' if page >= 0 else ''}\t{engaged if engaged >= 0 else NULL}\t"
        f"{PROPS[props]}\t{_worth(cents, euros)}\t{middle}{tails[session]}"
        for at, time, name, page, engaged, props, cents, euros, session in columns
    )
    _copy(cursor, "events", _EVENT_COLUMNS, lines)


NULL = r"\N"


def _copy_sessions(cursor: Any, place: Any, drawn: Drawn) -> None:
    many = len(drawn.length)
    first, last = drawn.first, drawn.first + drawn.length - 1
    views = np.bincount(drawn.session, drawn.name == 0, many).astype(int)
    interactions = np.bincount(drawn.session, drawn.name > 1, many).astype(int)
    engaged = np.bincount(drawn.session, np.maximum(drawn.engaged, 0), many).astype(int)
    entry, leaving = _ends(drawn)
    head = f"{place.account_id}\t{place.pk}"
    for start in range(0, many, 100_000):
        part = slice(start, start + 100_000)
        columns = zip(
            range(start, min(many, start + 100_000)),
            _shown(drawn.time[first[part]]),
            _shown(drawn.time[last[part]]),
            views[part].tolist(),
            drawn.length[part].tolist(),
            interactions[part].tolist(),
            engaged[part].tolist(),
            entry[part].tolist(),
            leaving[part].tolist(),
            strict=True,
        )
        lines = (
            f"{head}\t{began}\t{ended}\t{viewed}\t{length}\t{acted}\t{lasted}\t{_page(came)}\t"
            f"{_page(left)}\t{_tail(drawn, session)}"
            for session, began, ended, viewed, length, acted, lasted, came, left in columns
        )
        _copy(cursor, "sessions", _SESSION_COLUMNS, lines)


def _ends(drawn: Drawn) -> tuple[np.ndarray, np.ndarray]:
    """The first and the last page of each session; -1 where it has none."""
    many = len(drawn.length)
    paged = np.flatnonzero(drawn.page >= 0)
    entry, leaving = np.full(many, -1), np.full(many, -1)
    leaving[drawn.session[paged]] = drawn.page[paged]  # the last assignment stays
    backwards = paged[::-1]
    entry[drawn.session[backwards]] = drawn.page[backwards]
    return entry, leaving


def main() -> None:
    """Make histories, so that they are there when something is measured."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("events", type=int, nargs="+", help="such as 100000 1000000 10000000")
    parser.add_argument("--days", type=int, default=365, help="that the events spread over")
    parser.add_argument("--home", type=Path, help=f"where they are kept; default {cache_folder()}")
    asked = parser.parse_args()
    with servers(asked.home) as kept:
        for events in asked.events:
            place = kept.place(History(events, asked.days))
            print(f"{events:,} events: {place.key}")


if __name__ == "__main__":
    main()
