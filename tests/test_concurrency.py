"""How many were here at once, as history: against what was there in each round."""

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.people import new_property

NOON = datetime(2026, 3, 11, 12, 0, tzinfo=UTC)
SIX = ("open_peak", "active_peak", "engaged_peak", "open_average", "active_average")


def beat(
    place: Any, moment: datetime, who: int, page: str, state: str, next_ms: int, **more: Any
) -> None:
    from tracking.collecting import collect

    visitor = str(uuid.UUID(int=place.pk * 1_000 + who, version=4))
    payload = {"name": "ping", "visitor": visitor, "tab": visitor, "state": state}
    payload |= {"next_ms": next_ms, "url": f"https://a.example{page}"}
    collect(place, [payload | more], now=ms(moment))


def ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1_000)


def sample(moment: datetime) -> None:
    from tracking.rounds import take_across_accounts

    take_across_accounts(ms(moment))


def keep(moment: datetime) -> int:
    from tracking.concurrency import keep_across_accounts

    return keep_across_accounts(moment)


def series(place: Any, text: str, interval: str, *of: str) -> list[Any]:
    from accounts.tenancy import tenant
    from properties.periods import parse_range, zone
    from reports import concurrency

    with tenant(place.account_id):
        asked = parse_range(text, zone(place.timezone), NOON)
        return concurrency.series(place, asked, interval, NOON + timedelta(hours=9), *of)


def six(point: Any) -> tuple[Any, ...]:
    return tuple(point.numbers[name] for name in SIX)


def old_property(**fields: Any) -> Any:
    place = new_property(**fields)
    place.created = NOON - timedelta(days=400)
    place.save(update_fields=["created"])
    return place


HOUR = "2026-03-11T12:00..2026-03-11T13:00"


def test_a_minute_is_what_its_rounds_saw_and_hours_and_days_are_made_of_minutes() -> None:
    place = old_property()
    beat(place, NOON, 1, "/a", "engaged", 9_000)  # until 12:00:20
    sample(NOON + timedelta(seconds=5))
    beat(place, NOON + timedelta(seconds=10), 2, "/b", "visible", 60_000)
    sample(NOON + timedelta(seconds=15))
    sample(NOON + timedelta(seconds=25))
    sample(NOON + timedelta(minutes=2))
    sample(NOON + timedelta(minutes=5))  # nobody
    for _ in range(2):  # set, never added
        keep(NOON + timedelta(minutes=7))
        minutes = series(place, HOUR, "minute")
        assert len(minutes) == 60
        assert six(minutes[0]) == (2, 2, 1, round(4 / 3, 3), round(4 / 3, 3))
        assert minutes[0].numbers["engaged_average"] == round(2 / 3, 3)
        assert six(minutes[1]) == (None,) * 5, "nobody looked"
        assert six(minutes[2]) == (1, 1, 0, 1, 1)
        assert six(minutes[5]) == (0, 0, 0, 0, 0), "somebody looked, and nobody was there"
        [hour] = series(place, HOUR, "hour")
        [day] = series(place, "2026-03-11", "day")
        assert six(hour) == six(day) == (2, 2, 1, 1, 1)
        assert hour.samples == 5
        again(NOON)
    assert [point.numbers["open_peak"] for point in series(place, HOUR, "hour", "page", "/b")] == [
        1
    ]


def again(minute: datetime) -> None:
    """The tick of that minute was lost after its work."""
    from tracking import keys, store

    start = int(minute.timestamp())
    store.events_client().zadd(keys.MINUTES_DUE, {str(start): start})


def test_pages_and_sources_are_ranked_and_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    from accounts.tenancy import tenant
    from properties.periods import parse_range, zone
    from reports import concurrency
    from tracking import concurrency as writing
    from tracking import rounds

    monkeypatch.setattr(writing, "KEPT", 2)
    monkeypatch.setattr(rounds, "SMALL", 2)  # looks; a crowd is read in steps
    place, start = old_property(), NOON + timedelta(hours=2)
    for who, page in enumerate(["/a", "/b", "/b", "/c", "/c", "/c"]):
        beat(place, start, who, page, "visible", 60_000)
    beat(place, start, 5, "/c", "visible", 60_000, name="pageview", referrer="https://a.test/")
    sample(start + timedelta(seconds=1))
    sample(start + timedelta(seconds=2))
    keep(start + timedelta(minutes=2))
    asked = parse_range("2026-03-11T14:00..2026-03-11T15:00", zone("UTC"), NOON)
    with tenant(place.account_id):
        pages = concurrency.ranked(place, asked, "hour", NOON, "page", 10)
        sources = concurrency.ranked(place, asked, "minute", NOON, "source", 10)
    assert [(page, numbers["open_average"]) for page, numbers in pages] == [("/c", 3), ("/b", 2)]
    assert [(source, numbers["open_peak"]) for source, numbers in sources] == [("a.test", 1)]


def test_a_round_that_was_cut_off_counts_for_nobody_and_a_late_one_makes_the_minute_anew() -> None:
    from tracking import keys, store

    place, start = old_property(), NOON + timedelta(hours=4)
    where = "2026-03-11T16:00..2026-03-11T16:01"
    client = store.events_client()
    for who, second in ((1, 10), (2, 20), (3, 30)):
        beat(place, start + timedelta(seconds=second), who, "/", "visible", 60_000)
        sample(start + timedelta(seconds=second))
    cut_off = str(ms(start + timedelta(seconds=30)))
    rounds = keys.rounds(int(start.timestamp()))
    client.hdel(rounds, cut_off)  # killed before its end
    keep(start + timedelta(minutes=2))
    [minute] = series(place, where, "minute")
    assert (minute.samples, *six(minute)) == (2, 2, 2, 0, 1.5, 1.5)
    client.hset(rounds, cut_off, "")
    again(start)
    keep(start + timedelta(minutes=3))
    [minute] = series(place, where, "minute")
    assert (minute.samples, *six(minute)) == (3, 3, 3, 0, 2, 2)


def test_samples_outlive_a_tick_that_died_and_what_was_kept_outlives_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from django.db import Error

    from tracking import concurrency, keys, store

    place, start = old_property(), NOON + timedelta(hours=5)
    minute, where = int(start.timestamp()), "2026-03-11T17:00..2026-03-11T17:01"
    client = store.events_client()
    samples = keys.samples_of_minute(keys.prefix(place.account_id, place.pk), minute)
    beat(place, start, 1, "/", "visible", 60_000)
    sample(start)
    with monkeypatch.context() as broken:
        broken.setattr(concurrency, "SET", "SELECT nothing")
        with pytest.raises(Error):
            keep(start + timedelta(minutes=2))
    assert client.ttl(samples) > 3_600
    keep(start + timedelta(minutes=2))
    assert 0 < client.ttl(samples) <= concurrency.KEPT_AGAIN
    [kept] = series(place, where, "minute")
    assert (kept.samples, *six(kept)) == (1, 1, 1, 0, 1, 1)
    client.delete(samples, keys.rounds(minute))
    again(start)
    keep(start + timedelta(minutes=30))
    assert series(place, where, "minute") == [kept]


def test_hours_and_days_are_the_propertys_own_in_the_night_in_which_clocks_are_put_back() -> None:
    """02:00 to 03:00 comes twice in Berlin; in Kathmandu hours begin at a quarter."""
    berlin, kathmandu = old_property(timezone="Europe/Berlin"), old_property()
    kathmandu.timezone = "Asia/Kathmandu"
    kathmandu.save(update_fields=["timezone"])
    start = datetime(2025, 10, 25, 23, 50, tzinfo=UTC)
    for number in range(3):  # 01:50, the first 02:50, the second 02:50
        moment = start + timedelta(hours=number)
        for who in range(number + 1):
            beat(berlin, moment, who, "/", "visible", 5_000)
            beat(kathmandu, moment, who, "/", "visible", 5_000)
        sample(moment)
        keep(moment + timedelta(minutes=2))
    hours = series(berlin, "2025-10-26", "hour")
    assert len(hours) == 25
    assert [point.numbers["open_peak"] for point in hours[:5]] == [None, 1, 2, 3, None]
    [day] = series(berlin, "2025-10-26", "day")
    assert (day.samples, *six(day)) == (3, 3, 3, 0, 2, 2)
    hours = series(kathmandu, "2025-10-26T05:00..2025-10-26T09:00", "hour")
    assert [point.numbers["open_peak"] for point in hours] == [1, 2, 3, None]  # 05:35, 06:35 ...
    assert series(berlin, "2025-10-26T00:00..2025-10-26T01:00", "hour")[0].samples == 0


def test_a_day_on_which_the_zone_was_changed_counts_each_moment_once() -> None:
    place, start = old_property(), NOON - timedelta(days=3)
    beat(place, start, 1, "/", "visible", 60_000)
    sample(start)
    keep(start + timedelta(minutes=2))
    place.timezone = "Asia/Kolkata"  # its hours begin at half past
    place.save(update_fields=["timezone"])
    later = start + timedelta(minutes=10)
    beat(place, later, 1, "/", "visible", 60_000)
    sample(later)
    keep(later + timedelta(minutes=2))
    for interval in ("hour", "day"):
        known = [point for point in series(place, "2026-03-08", interval) if point.samples]
        assert [(point.samples, *six(point)) for point in known] == [(2, 1, 1, 0, 1, 1)], interval


def test_a_property_that_is_gone_gets_no_row() -> None:
    """Deleting takes the rows once; one written afterwards would stay for ever."""
    from tests.test_deleting import rows

    place, start = old_property(), NOON + timedelta(hours=6)
    beat(place, start, 1, "/", "visible", 60_000)
    sample(start)
    place.delete()
    keep(start + timedelta(minutes=2))
    assert "concurrency" not in rows("property_id", place.pk)


def test_page_file_and_api_show_the_same_numbers(alice: Any, acme: Any) -> None:
    """Of a page with a hostile name, too."""
    from tests.people import new_key, signed_in_as
    from tracking import keys, store
    from tracking.models import SampledHour

    place = new_property(acme)
    now = datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(minutes=3)
    place.created = now - timedelta(days=1)
    place.save(update_fields=["created"])
    # Other tests have taken rounds in the same day, and may in the same hour: nobody was here then.
    minute = ms(now) // 60_000 * 60
    store.events_client().delete(*(keys.rounds(minute - 60 * n) for n in range(-5, 25 * 60)))
    SampledHour.objects.using("worker").filter(hour__gte=now - timedelta(hours=25)).delete()
    page, name = "/<script>alert(1)</script>", "%2F%3Cscript%3Ealert%281%29%3C%2Fscript%3E"
    beat(place, now, 1, page, "engaged", 60_000)
    beat(place, now, 2, "/b", "visible", 60_000)
    sample(now + timedelta(seconds=7))
    keep(now + timedelta(minutes=2))
    _, secret = new_key(acme, "realtime:view")
    client, bearer = signed_in_as(alice), {"HTTP_AUTHORIZATION": f"Bearer {secret}"}
    path = f"/api/v1/properties/{place.key}/concurrency"

    def asked(query: str) -> Any:
        return client.get(f"{path}?{query}", **bearer).json()

    numbers = {"open_peak": 2, "open_average": 2, "active_peak": 2, "active_average": 2}
    numbers |= {"engaged_peak": 1, "engaged_average": 1}
    known = [row for row in asked("range=24h")["rows"] if row["samples"]]
    assert [{name: row[name] for name in numbers} for row in known] == [numbers]
    assert len(asked("range=10m")["rows"]) == 10
    [row] = [row for row in asked("range=10m")["rows"] if row["open_peak"]]
    assert row["time"] == now.isoformat()
    pages = {row["page"]: row["open_peak"] for row in asked("range=24h&dimension=page")["rows"]}
    assert pages == {"/b": 1, page: 1}
    of_b = asked("range=24h&dimension=page&value=%2Fb")["rows"]
    assert max(row["open_peak"] or 0 for row in of_b) == 1
    assert asked("range=24h&dimension=source")["rows"] == []
    shown = client.get(f"/p/{place.key}/concurrency/?range=24h").content.decode()
    assert page not in shown
    assert '<span class="tile-number">2</span>' in shown
    assert "2.0 on average" in shown
    one = client.get(f"/p/{place.key}/concurrency/?range=24h&dimension=page&value={name}")
    assert one.status_code == 200
    assert page not in one.content.decode()
    lines = client.get(f"/p/{place.key}/concurrency.csv?range=10m").content.decode().split()
    assert f"{now.isoformat()},1,2,2.0,2,2.0,1,1.0" in lines


def test_the_ticks_look_and_keep() -> None:
    from tracking import keys, store, tasks

    place, now = new_property(), datetime.now(UTC)
    beat(place, now, 1, "/", "visible", 60_000)
    tasks.sample()
    minutes = {ms(now) // 60_000 * 60, ms(datetime.now(UTC)) // 60_000 * 60}
    found = [store.events_client().hgetall(keys.rounds(minute)) for minute in minutes]
    assert any(f"p{place.pk}".encode() in names for names in found)
    again(NOON)
    tasks.keep_samples()
    assert store.events_client().zscore(keys.MINUTES_DUE, str(int(NOON.timestamp()))) is None


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("range=never", "range"),
        ("interval=week", "interval"),
        ("range=28d&interval=minute", "interval"),
        ("dimension=country", "dimension"),
        ("value=/", "dimension"),
        ("dimension=page&value=%00", "value"),
        ("limit=0", "limit"),
    ],
)
def test_what_cannot_be_asked_says_what_to_write(shop: Any, query: str, field: str) -> None:
    from tests.people import new_key, with_key

    client = with_key(new_key(shop.account, "realtime:view")[1])
    answer = client.get(f"/api/v1/properties/{shop.key}/concurrency?{query}")
    assert (answer.status_code, answer.json()["error"]["field"]) == (400, field)


def test_the_same_minutes_of_the_week_before_lie_behind_those_of_today() -> None:
    from accounts.tenancy import tenant
    from properties.periods import Span
    from reports.concurrency import week_before

    place, then = old_property(timezone="Europe/Berlin"), datetime(2026, 3, 26, 9, 0, tzinfo=UTC)
    beat(place, then, 1, "/", "visible", 5_000)
    sample(then)
    keep(then + timedelta(minutes=2))
    now = datetime(2026, 4, 2, 8, 0, tzinfo=UTC)  # clocks were put forward: 10:00 both times
    within = Span(now - timedelta(minutes=5), now + timedelta(minutes=5))
    with tenant(place.account_id):
        assert week_before(place, within, now) == [(int(now.timestamp()), 1.0)]


@pytest.mark.parametrize("grain", ["m", "h", "d"])
def test_minutes_and_hours_end_and_days_stay(grain: str) -> None:
    from tracking.concurrency import forget
    from tracking.models import Concurrency

    place = new_property()
    row = {"account_id": place.account_id, "property_id": place.pk, "grain": grain}
    row |= {"numbers": [1] * 6, "pages": {}, "sources": {}}
    ages = {"m": (14, 16), "h": (399, 401), "d": (399, 4_000)}[grain]
    Concurrency.objects.using("worker").bulk_create(
        Concurrency(**row, starts_at=NOON - timedelta(days=age)) for age in ages
    )
    forget(NOON)
    left = Concurrency.objects.using("worker").filter(property_id=place.pk).count()
    assert left == {"m": 1, "h": 1, "d": 2}[grain]
