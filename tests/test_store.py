"""The one Lua call: duplicates, numbers, bits, counters, ledger; on one server and a cluster."""

import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from tests.people import new_property

DAY = 86_400_000


def pageview(**fields: Any) -> dict[str, Any]:
    ids = {"event_id": str(uuid.uuid4()), "visitor": str(uuid.uuid4())}
    return {"name": "pageview", "url": "https://shop.example/p"} | ids | fields


def send(place: Any, *payloads: dict[str, Any], now: int | None = None, **origin: Any) -> Any:
    from tracking.collecting import Origin, collect

    return collect(place, list(payloads), Origin(visitor_salt=b"s", **origin), now)


def client() -> Any:
    from tracking.store import events_client

    return events_client()


def prefix(place: Any) -> str:
    from tracking import keys

    return keys.prefix(place.account_id, place.pk)


def all_keys(place: Any) -> list[bytes]:
    return sorted(client().scan_iter(match=f"{prefix(place)}:*"))


def ledger(place: Any) -> dict[str, int]:
    total: dict[str, int] = {}
    for key in all_keys(place):
        if f"{prefix(place)}:l:".encode() in key:
            for field, value in client().hgetall(key).items():
                total[field.decode()] = total.get(field.decode(), 0) + int(value)
    return total


def entries(place: Any) -> list[dict[bytes, bytes]]:
    from tracking import keys

    return [fields for _, fields in client().xrange(keys.stream(prefix(place)))]


@pytest.fixture(params=["plain", "cluster"])
def place(request: pytest.FixtureRequest, settings: Any) -> Iterator[Any]:
    """A property whose events go to the session's Valkey, or to a real cluster of three."""
    from tracking import store

    if request.param == "cluster":
        settings.EVENTS_URL = request.getfixturevalue("cluster_url")
        store.events_client.cache_clear()
    yield new_property()
    if request.param == "cluster":
        store.events_client.cache_clear()


def test_a_retry_is_a_duplicate_and_counts_once(place: Any) -> None:
    event = pageview()
    assert send(place, event).accepted == 1
    assert send(place, event, event).duplicate == 2
    assert ledger(place) == {"accepted": 1, "duplicate": 2}
    assert len(entries(place)) == 1


def test_another_payload_under_the_same_id_is_kept_as_a_conflict(place: Any) -> None:
    event = pageview()
    answer = send(place, event, {**event, "title": "another"})
    assert (answer.accepted, answer.duplicate) == (1, 1)
    assert [entry.get(b"k") for entry in entries(place)] == [None, b"conflict"]


def test_an_id_is_remembered_for_a_day_whatever_half_day_it_is(place: Any) -> None:
    from tracking.collecting import now_ms

    event, now = pageview(time=now_ms()), now_ms()
    assert send(place, event, now=now).accepted == 1
    assert send(place, event, now=now + DAY - 1).duplicate == 1


def test_the_same_id_in_two_properties_is_two_events(place: Any) -> None:
    event = pageview()
    assert send(place, event).accepted == send(new_property(), event).accepted == 1


def test_visitors_are_numbered_densely_and_known_again(place: Any) -> None:
    first, second = pageview(), pageview()
    send(place, first, second, pageview(visitor=first["visitor"]))
    assert [entry[b"n"] for entry in entries(place)] == [b"1", b"2", b"1"]


def test_a_visitor_is_forgotten_after_thirteen_months(place: Any) -> None:
    from tracking.collecting import now_ms

    who, now = str(uuid.uuid4()), now_ms()
    for day in (0, 390, 780, 780 + 398):
        send(place, pageview(visitor=who, time=now + day * DAY), now=now + day * DAY)
    assert [entry[b"n"] for entry in entries(place)] == [b"1", b"1", b"1", b"2"]


def test_the_ceiling_of_visitors_refuses_new_ones_only(place: Any) -> None:
    place.visitor_limit = 1
    place.save()
    known = pageview()
    answer = send(place, known, pageview(), pageview(visitor=known["visitor"]))
    assert answer.accepted == 2
    assert [refusal["reason"] for refusal in answer.rejected] == ["visitor_limit"]
    assert answer.rejected[0]["index"] == 1
    assert ledger(place) == {"accepted": 2, "r.visitor_limit": 1}


def test_a_refused_event_leaves_its_id_free(place: Any) -> None:
    event = pageview(screen="broken")
    assert send(place, event).rejected[0]["field"] == "screen"
    assert send(place, {**event, "screen": "10x10"}).accepted == 1


def test_bots_stand_in_stream_and_ledger_and_nowhere_else(place: Any) -> None:
    send(place)
    before = set(all_keys(place))
    send(place, pageview(), agent="Googlebot/2.1 (+http://www.google.com/bot.html)")
    assert ledger(place) == {"accepted": 1, "bot": 1}
    assert entries(place)[0][b"n"] == b"0"
    families = {key.split(b"}:")[1][:1] for key in set(all_keys(place)) - before}
    assert families == {b"d", b"l", b"s"}  # its id, the ledger, the stream


def test_an_old_event_is_kept_without_bits_and_counters(place: Any) -> None:
    from tracking.collecting import now_ms

    send(place, pageview(time=now_ms() - DAY - 60_000))
    families = {key.split(b"}:")[1][:1] for key in all_keys(place)}
    assert families == {b"d", b"i", b"l", b"m", b"s"}


def test_counters_and_bits_say_what_came(place: Any) -> None:
    from tracking import keys
    from tracking.collecting import now_ms
    from tracking.directory import Record

    now = now_ms()
    visitor = str(uuid.uuid4())
    send(
        place,
        pageview(visitor=visitor, time=now),
        pageview(visitor=visitor, time=now, url="https://shop.example/q"),
        {"name": "signup", "visitor": visitor, "url": "https://shop.example/q", "time": now},
        now=now,
    )
    _, hour, day = Record.of(place).clock.stamps(now)
    events = client().hgetall(keys.dictionary(prefix(place), day, "event"))
    pages = client().hgetall(keys.dictionary(prefix(place), day, "page"))
    counts = client().hgetall(keys.counters(prefix(place), hour))
    assert counts[b"e"] == b"3"
    assert counts[b"v"] == b"2"
    assert counts[b"E" + events[b"signup"]] == b"1"
    assert counts[b"A" + pages[b"/q"]] == b"2"
    assert counts[b"V" + pages[b"/q"]] == b"1"
    page_q = keys.bits(prefix(place), keys.HOUR, hour, f"P{pages[b'/q'].decode()}")
    assert client().smembers(page_q) == {b"1"}


def test_values_of_a_day_are_bounded(place: Any) -> None:
    from tracking import keys
    from tracking.collecting import now_ms
    from tracking.directory import Record

    now = now_ms()
    _, hour, day = Record.of(place).clock.stamps(now)
    full = keys.dictionary(prefix(place), day, "page")
    client().hset(full, mapping={f"/{i}": i + 1 for i in range(keys.VALUES_PER_DAY)})
    send(place, pageview(url="https://shop.example/new", time=now), now=now)
    assert client().hlen(full) == keys.VALUES_PER_DAY
    assert client().hget(keys.counters(prefix(place), hour), "A0") == b"1"


def test_containers_grow_from_sets_to_bitmaps_and_stay_exact(place: Any) -> None:
    """Numbers on both sides of every threshold, compared with what went in."""
    from tracking import keys
    from tracking.bits import read_bits
    from tracking.collecting import now_ms
    from tracking.directory import Record

    now = now_ms()
    _, hour, _ = Record.of(place).clock.stamps(now)
    send(place)
    key = keys.bits(prefix(place), keys.HOUR, hour, "a")
    sent = 0
    for upto, kind in ((512, b"set"), (513, b"string"), (700, b"string")):
        batch = [pageview(time=now) for _ in range(upto - sent)]
        send(place, *batch, now=now)
        sent = upto
        assert client().type(key) == kind
        assert list(read_bits(client(), [key])[0]) == list(range(1, upto + 1))
    # A second container, far away: the key does not grow with the highest number.
    client().hset(keys.meta(prefix(place)), "n", 5_000_000)
    send(place, pageview(time=now), now=now)
    assert client().type(keys.container(key, 5_000_001 >> 16)) == b"set"
    assert 5_000_001 in read_bits(client(), [key])[0]
    assert client().memory_usage(key) < 1_000


def test_everything_but_stream_and_memory_has_an_end(place: Any) -> None:
    tab = str(uuid.uuid4())
    send(place, pageview(tab=tab), {"name": "ping", "visitor": tab, "tab": tab, "state": "engaged"})
    for _ in range(6):
        send(place, *[pageview() for _ in range(120)])
    endless = {key for key in all_keys(place) if client().ttl(key) == -1}
    assert endless == {f"{prefix(place)}:m".encode(), f"{prefix(place)}:s".encode()}


def test_a_changed_property_is_judged_anew_with_the_next_call(place: Any) -> None:
    from tracking.collecting import collect, Origin  # noqa: I001
    from properties.models import Property

    known = Property.objects.across_accounts().get(pk=place.pk)
    send(place, pageview())
    place.hostnames = ["elsewhere.example"]
    place.save()
    answer = collect(known, [pageview()], Origin(visitor_salt=b"s"))
    assert answer.rejected[0]["reason"] == "hostname"


def test_numbers_go_on_after_valkey_lost_its_memory(place: Any) -> None:
    from datetime import UTC, datetime

    from tracking.models import Visitor

    who = uuid.uuid4()
    now = datetime.now(UTC)
    Visitor.objects.using("worker").create(
        account_id=place.account_id, property_id=place.pk, visitor=who, number=41,
        first_seen=now, last_seen=now,
    )  # fmt: skip
    send(place, pageview(visitor=str(who)), pageview())
    assert [entry[b"n"] for entry in entries(place)] == [b"41", b"42"]


def test_a_call_that_does_not_add_up_writes_nothing(place: Any) -> None:
    import redis

    from tracking.items import HEAD, NONE, arguments
    from tracking.store import ACCEPT

    send(place)
    before = all_keys(place)
    moment, page = (0, 0, 0, "n"), (0, 0, "/p", "")
    good = (b"e", False, moment, page, 1, b"i" * 16, b"v" * 16, b"", b"row")
    call = arguments(1, place.version, 10, {"missing": 1}, [good])

    def with_head(kind: bytes = b"e", at: int = 0, on: int = 0, more: bytes = b"") -> list[Any]:
        return [*call[:-2], HEAD.pack(kind, 0, at, on, 1, b"i" * 16, b"v" * 16) + more, b"row"]

    broken = [
        call[:-1],  # a field too few
        [*call, b"x"],  # too many
        [*call[:3], "many", *call[4:]],
        ["soon", *call[1:]],
        [*call[:5], "some", *call[6:]],  # refusals
        [*call[:-2], call[-2][:-1], b"row"],  # a head too short
        with_head(b"x"),
        with_head(at=1),
        with_head(at=NONE),
        with_head(on=1),
        with_head(more=b"live"),
    ]
    for argv in broken:
        with pytest.raises(redis.exceptions.ResponseError, match="accept"):
            ACCEPT.call(client(), prefix(place), argv)
    assert all_keys(place) == before
    assert ACCEPT.call(client(), prefix(place), call)[2] == b"a", "or the others say nothing"


def test_pings_feed_the_live_set_only(place: Any) -> None:
    from tracking.collecting import now_ms
    from tracking.live import snapshot

    now = now_ms()
    visitor, tabs = str(uuid.uuid4()), [str(uuid.uuid4()) for _ in range(2)]
    ping = {"name": "ping", "visitor": visitor, "next_ms": 5_000}
    send(place, {**ping, "tab": tabs[0], "state": "hidden"}, now=now)
    send(place, {**ping, "tab": tabs[1], "state": "engaged"}, now=now)
    shown = snapshot(place, now)
    assert (shown["open"], shown["active"], shown["engaged"]) == (1, 1, 1)
    send(place, {**ping, "tab": tabs[1], "state": "gone"}, now=now)
    shown = snapshot(place, now)
    assert (shown["open"], shown["active"], shown["engaged"]) == (1, 0, 0)
    assert snapshot(place, now + 12_000)["open"] == 0
    assert ledger(place) == {"ping": 3}
    assert entries(place) == []


def everything(place: Any) -> dict[str, Any]:
    """What Valkey holds of a property: key without its prefix -> value."""
    read: dict[bytes, Any] = {
        b"hash": lambda key: client().hgetall(key),
        b"set": lambda key: client().smembers(key),
        b"zset": lambda key: dict(client().zrange(key, 0, -1, withscores=True)),
        b"string": lambda key: client().get(key),
        b"stream": lambda key: [fields for _, fields in client().xrange(key)],
    }
    return {key.decode().split("}", 1)[1]: read[client().type(key)](key) for key in all_keys(place)}


@pytest.mark.parametrize("seed", range(6))
def test_items_that_share_a_call_do_what_they_do_one_by_one(seed: int) -> None:
    """Events, retries, conflicts, bots, old ones and pings of few visitors, in random order."""
    from random import Random

    from tests.test_intake import NOW

    rnd = Random(seed)
    now, who = NOW + 8, [str(uuid.UUID(int=rnd.getrandbits(128), version=4)) for _ in range(12)]
    payloads: list[dict[str, Any]] = []
    for _ in range(120):
        visitor = rnd.choice(who)
        kind = rnd.choice(("page", "page", "page", "event", "old", "again", "conflict", "ping"))
        tab = {"tab": f"{visitor[:-1]}{rnd.choice('12')}"}
        event = pageview(
            event_id=str(uuid.UUID(int=rnd.getrandbits(128), version=4)), visitor=visitor,
            url=f"https://shop.example/{rnd.randrange(4)}",
            time=now - rnd.choice((0, 0, 70_000, 3_600_000)), **tab,
        )  # fmt: skip
        if kind == "event":
            event |= {"name": rnd.choice(("signup", "like"))}
        elif kind == "old":
            event |= {"time": now - DAY - 1}
        elif kind in ("again", "conflict") and payloads:
            event = dict(rnd.choice(payloads)) | ({"title": "x"} if kind == "conflict" else {})
        elif kind == "ping":
            state = rnd.choice(("engaged", "visible", "hidden", "gone"))
            event = {"name": "ping", "visitor": visitor, "state": state, "next_ms": 5_000} | tab
        payloads.append(event)
    together, apart = new_property(visitor_limit=10), new_property(visitor_limit=10)
    for place in (together, apart):
        send(place, now=now)
    answers = send(together, *payloads, now=now), [send(apart, p, now=now) for p in payloads]
    assert answers[0].accepted == sum(answer.accepted for answer in answers[1])
    assert answers[0].duplicate == sum(answer.duplicate for answer in answers[1]) > 0
    assert answers[0].rejected, "the limit was met, too"
    assert everything(together) == everything(apart)


def test_all_keys_of_a_property_share_its_slot(place: Any) -> None:
    from redis.crc import key_slot

    send(place, *[pageview(tab=str(uuid.uuid4())) for _ in range(600)])
    assert {key_slot(key) for key in all_keys(place)} == {key_slot(prefix(place).encode())}


def test_the_script_and_python_mean_the_same_numbers() -> None:
    """Lua cannot import keys.py and items.py: what both spell is compared here."""
    import re

    from tracking import items, keys, store

    text = store.ACCEPT.text.decode()
    names = re.search(r"local SMALL_SET, VALUES_PER_DAY = (\d+), (\d+)", text)
    packed = re.search(r"HEAD_SIZE, LIVE_SIZE, NONE = '[^']+', (\d+), (\d+), (\d+)", text)
    assert names is not None and packed is not None
    assert [int(n) for n in names.groups()] == [keys.SMALL_SET, keys.VALUES_PER_DAY]
    assert [int(n) for n in packed.groups()] == [items.HEAD.size, items.LIVE.size, items.NONE]
