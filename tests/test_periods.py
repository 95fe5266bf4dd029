"""Periods partition time in every zone, and ranges mean what they say."""

from __future__ import annotations

import itertools
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from properties import periods
from properties.periods import (
    KINDS,
    Clock,
    RangeError,
    Span,
    check_points,
    day_start,
    days,
    floor,
    label,
    local_date,
    next_start,
    parse_range,
    span,
    spans,
    wall,
    zone,
)

UTC_ZONE = zone("UTC")
BERLIN = zone("Europe/Berlin")
KOLKATA = zone("Asia/Kolkata")
LORD_HOWE = zone("Australia/Lord_Howe")
APIA = zone("Pacific/Apia")
SAO_PAULO = zone("America/Sao_Paulo")
ST_JOHNS = zone("America/St_Johns")

ZONES = [
    "UTC", "Europe/Berlin", "Europe/London", "Europe/Lisbon", "America/New_York",
    "America/Los_Angeles", "America/St_Johns", "America/Sao_Paulo", "America/Havana",
    "America/Caracas", "America/Scoresbysund", "Asia/Kolkata", "Asia/Kathmandu", "Asia/Tehran",
    "Asia/Beirut", "Asia/Gaza", "Asia/Amman", "Asia/Pyongyang", "Asia/Tokyo",
    "Africa/Casablanca", "Africa/Cairo", "Australia/Lord_Howe", "Australia/Adelaide",
    "Pacific/Apia", "Pacific/Chatham", "Pacific/Kiritimati", "Pacific/Kwajalein",
    "Antarctica/Troll",
]  # fmt: skip
# A dull moment: a Wednesday afternoon.
NOW = datetime(2015, 5, 20, 13, 5, 30, tzinfo=UTC)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def labels(kind: periods.Kind, within: Span, tz: periods.ZoneInfo) -> list[str]:
    return [label(kind, each.start, tz) for each in spans(kind, within, tz)]


# -- zones


def test_zone_takes_names_of_the_list_only() -> None:
    assert zone("Europe/Berlin").key == "Europe/Berlin"
    assert zone("UTC").key == "UTC"


@pytest.mark.parametrize(
    "name",
    ["", "localtime", "Factory", "posixrules", "../etc/passwd", "/usr/share/zoneinfo/UTC",
     "Europe/Berlin\x00", "europe/berlin", "EUROPE/BERLIN", "CEST", "+02:00", "Europe", None, 7],
)  # fmt: skip
def test_zone_refuses_anything_else(name: object) -> None:
    with pytest.raises(ValueError, match="Unknown time zone"):
        zone(name)  # type: ignore[arg-type]


def test_zone_suggests_the_spelling() -> None:
    with pytest.raises(ValueError, match="did you mean 'Europe/Berlin'"):
        zone("europe/berlin")


# -- spans as values


def test_a_span_is_half_open_and_in_utc() -> None:
    berlin_noon = datetime(2015, 5, 17, 12, tzinfo=BERLIN)
    one = Span(berlin_noon, berlin_noon + timedelta(hours=1))
    assert one.start == utc("2015-05-17T10:00") and one.start.tzinfo is UTC
    assert one.start in one and one.end not in one
    assert one.length == timedelta(hours=1)


def test_spans_overlap_and_intersect() -> None:
    day = span("day", NOW, UTC_ZONE)
    hour = span("hour", NOW, UTC_ZONE)
    following = span("day", day.end, UTC_ZONE)
    assert day.overlaps(hour) and hour.overlaps(day)
    assert not day.overlaps(following)
    assert day.intersection(hour) == hour
    assert day.intersection(following) is None


def test_a_span_refuses_naive_and_reversed_ends() -> None:
    with pytest.raises(ValueError, match="aware"):
        Span(datetime(2015, 5, 17), NOW)
    with pytest.raises(ValueError, match="before it starts"):
        Span(NOW, NOW - timedelta(seconds=1))


def test_periods_refuse_naive_instants_and_unknown_kinds() -> None:
    with pytest.raises(ValueError, match="aware"):
        floor("day", datetime(2015, 5, 17), BERLIN)
    with pytest.raises(ValueError, match="use one of minute, hour, day"):
        floor("fortnight", NOW, BERLIN)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="use one of minute, hour, day"):
        label("fortnight", NOW, BERLIN)  # type: ignore[arg-type]


# -- one dull moment in every kind


@pytest.mark.parametrize(
    ("kind", "start", "end", "name"),
    [
        ("minute", "2015-05-20T13:05", "2015-05-20T13:06", "2015-05-20T13:05"),
        ("hour", "2015-05-20T13:00", "2015-05-20T14:00", "2015-05-20T13"),
        ("day", "2015-05-20T00:00", "2015-05-21T00:00", "2015-05-20"),
        ("week", "2015-05-18T00:00", "2015-05-25T00:00", "2015-W21"),
        ("month", "2015-05-01T00:00", "2015-06-01T00:00", "2015-05"),
        ("quarter", "2015-04-01T00:00", "2015-07-01T00:00", "2015-Q2"),
        ("year", "2015-01-01T00:00", "2016-01-01T00:00", "2015"),
    ],
)
def test_a_moment_in_utc(kind: periods.Kind, start: str, end: str, name: str) -> None:
    assert span(kind, NOW, UTC_ZONE) == Span(utc(start), utc(end))
    assert floor(kind, NOW, UTC_ZONE) == utc(start)
    assert next_start(kind, NOW, UTC_ZONE) == utc(end)
    assert next_start(kind, utc(start), UTC_ZONE) == utc(end)
    assert label(kind, utc(start), UTC_ZONE) == name


@pytest.mark.parametrize(
    ("kind", "start", "end", "name"),
    [
        ("minute", "2015-05-20T13:05", "2015-05-20T13:06", "2015-05-20T15:05"),
        ("hour", "2015-05-20T13:00", "2015-05-20T14:00", "2015-05-20T15"),
        ("day", "2015-05-19T22:00", "2015-05-20T22:00", "2015-05-20"),
        ("week", "2015-05-17T22:00", "2015-05-24T22:00", "2015-W21"),
        ("month", "2015-04-30T22:00", "2015-05-31T22:00", "2015-05"),
        ("quarter", "2015-03-31T22:00", "2015-06-30T22:00", "2015-Q2"),
        ("year", "2014-12-31T23:00", "2015-12-31T23:00", "2015"),
    ],
)
def test_a_moment_in_berlin(kind: periods.Kind, start: str, end: str, name: str) -> None:
    assert span(kind, NOW, BERLIN) == Span(utc(start), utc(end))
    assert label(kind, utc(start), BERLIN) == name


def test_microseconds_belong_to_the_second_they_are_in() -> None:
    last = utc("2015-05-20T13:59:59.999999")
    assert floor("hour", last, UTC_ZONE) == utc("2015-05-20T13:00")
    assert floor("day", utc("1969-12-31T23:59:59.5"), UTC_ZONE) == utc("1969-12-31T00:00")


# -- the nights on which the clock jumps


def test_the_spring_night_has_23_hours() -> None:
    night = days(date(2015, 3, 29), date(2015, 3, 29), BERLIN)
    assert night.length == timedelta(hours=23)
    names = labels("hour", night, BERLIN)
    assert len(names) == 23
    assert names[:4] == ["2015-03-29T00", "2015-03-29T01", "2015-03-29T03", "2015-03-29T04"]


def test_the_autumn_night_has_25_hours_and_two_called_02() -> None:
    night = days(date(2015, 10, 25), date(2015, 10, 25), BERLIN)
    assert night.length == timedelta(hours=25)
    names = labels("hour", night, BERLIN)
    assert len(set(names)) == 25
    assert names[1:5] == [
        "2015-10-25T01",
        "2015-10-25T02+02:00",
        "2015-10-25T02+01:00",
        "2015-10-25T03",
    ]
    assert floor("hour", utc("2015-10-25T00:30"), BERLIN) == utc("2015-10-25T00:00")
    assert floor("hour", utc("2015-10-25T01:30"), BERLIN) == utc("2015-10-25T01:00")
    assert label("minute", utc("2015-10-25T00:30"), BERLIN) == "2015-10-25T02:30+02:00"
    assert label("minute", utc("2015-10-25T01:30"), BERLIN) == "2015-10-25T02:30+01:00"
    assert label("day", night.start, BERLIN) == "2015-10-25"


def test_new_york_puts_the_offset_in_front_of_a_minus() -> None:
    new_york = zone("America/New_York")
    assert label("hour", utc("2015-11-01T05:00"), new_york) == "2015-11-01T01-04:00"
    assert label("hour", utc("2015-11-01T06:00"), new_york) == "2015-11-01T01-05:00"


def test_a_half_hour_zone_begins_its_hours_at_half_past() -> None:
    assert floor("hour", utc("2015-05-20T13:05"), KOLKATA) == utc("2015-05-20T12:30")
    assert floor("day", utc("2015-05-20T18:29:59"), KOLKATA) == utc("2015-05-19T18:30")
    assert floor("day", utc("2015-05-20T18:30"), KOLKATA) == utc("2015-05-20T18:30")
    assert label("hour", utc("2015-05-20T12:30"), KOLKATA) == "2015-05-20T18"


def test_a_jump_of_30_minutes_cuts_one_hour_short() -> None:
    autumn = days(date(2015, 4, 5), date(2015, 4, 5), LORD_HOWE)
    assert autumn.length == timedelta(hours=24, minutes=30)
    hours = list(spans("hour", autumn, LORD_HOWE))
    assert [each.length for each in hours[1:3]] == [timedelta(hours=1), timedelta(minutes=30)]
    assert labels("hour", autumn, LORD_HOWE)[1:4] == [
        "2015-04-05T01+11:00",
        "2015-04-05T01+10:30",
        "2015-04-05T02",
    ]
    spring = days(date(2015, 10, 4), date(2015, 10, 4), LORD_HOWE)
    assert spring.length == timedelta(hours=23, minutes=30)
    hours = list(spans("hour", spring, LORD_HOWE))
    assert hours[2].length == timedelta(minutes=30)
    assert label("hour", hours[2].start, LORD_HOWE) == "2015-10-04T02"


@pytest.mark.parametrize(
    ("name", "day", "start"),
    [
        ("America/Sao_Paulo", date(2017, 10, 15), "2017-10-15T03:00"),
        ("Asia/Beirut", date(2015, 3, 29), "2015-03-28T22:00"),
    ],
)
def test_a_day_without_midnight_starts_at_one(name: str, day: date, start: str) -> None:
    tz = zone(name)
    whole = days(day, day, tz)
    assert whole.start == utc(start) == floor("day", utc(start), tz)
    assert whole.length == timedelta(hours=23)
    assert labels("hour", whole, tz)[0] == f"{day}T01"
    assert label("day", whole.start, tz) == day.isoformat()
    assert local_date(whole.start - timedelta(seconds=1), tz) == day - timedelta(days=1)


def test_a_skipped_date_is_no_period() -> None:
    around = Span(utc("2011-12-29T12:00"), utc("2012-01-01T09:00"))
    assert labels("day", around, APIA) == ["2011-12-29", "2011-12-31", "2012-01-01"]
    assert day_start(date(2011, 12, 30), APIA) == day_start(date(2011, 12, 31), APIA)
    assert labels("week", around, APIA) == ["2011-W52"]


def test_a_clock_put_back_across_midnight_does_not_reopen_the_day_before() -> None:
    # 00:01 of the 7th became 23:01 of the 6th.
    whole = days(date(2010, 11, 7), date(2010, 11, 7), ST_JOHNS)
    assert whole.length == timedelta(hours=25)
    again_the_6th = utc("2010-11-07T03:00")
    assert wall(again_the_6th, ST_JOHNS).date() == date(2010, 11, 6)
    assert local_date(again_the_6th, ST_JOHNS) == date(2010, 11, 7)
    assert floor("day", again_the_6th, ST_JOHNS) == whole.start


def test_a_midnight_that_comes_twice_counts_once() -> None:
    havana = zone("America/Havana")  # 01:00 became 00:00 on 2015-11-01
    whole = days(date(2015, 11, 1), date(2015, 11, 1), havana)
    assert whole == Span(utc("2015-11-01T04:00"), utc("2015-11-02T05:00"))
    assert len(set(labels("hour", whole, havana))) == 25


# -- the calendar


@pytest.mark.parametrize("tz", [UTC_ZONE, BERLIN, KOLKATA, SAO_PAULO])
def test_29_february_and_31_may(tz: periods.ZoneInfo) -> None:
    february = days(date(2016, 2, 1), date(2016, 2, 29), tz)
    assert span("month", day_start(date(2016, 2, 29), tz), tz) == february
    assert labels("day", february, tz)[-1] == "2016-02-29"
    last_of_may = day_start(date(2015, 5, 31), tz)
    assert label("month", floor("month", last_of_may, tz), tz) == "2015-05"
    assert next_start("month", last_of_may, tz) == day_start(date(2015, 6, 1), tz)
    assert next_start("day", day_start(date(2015, 2, 28), tz), tz) == day_start(
        date(2015, 3, 1), tz
    )


@pytest.mark.parametrize(
    ("year", "monday"), [(2015, date(2015, 12, 28)), (2020, date(2020, 12, 28))]
)
@pytest.mark.parametrize("tz", [UTC_ZONE, BERLIN])
def test_week_53(year: int, monday: date, tz: periods.ZoneInfo) -> None:
    new_year = day_start(date(year + 1, 1, 1), tz)
    week = span("week", new_year, tz)
    assert week == days(monday, monday + timedelta(days=6), tz)
    assert label("week", week.start, tz) == f"{year}-W53"
    assert label("week", week.end, tz) == f"{year + 1}-W01"


def test_the_year_ends_in_the_zone() -> None:
    late = utc("2015-12-31T23:30")
    assert label("year", floor("year", late, BERLIN), BERLIN) == "2016"
    assert label("year", floor("year", late, UTC_ZONE), UTC_ZONE) == "2015"
    assert label("quarter", floor("quarter", late, BERLIN), BERLIN) == "2016-Q1"
    assert label("quarter", floor("quarter", late, UTC_ZONE), UTC_ZONE) == "2015-Q4"


@pytest.mark.parametrize("name", [*ZONES, "Africa/Monrovia"])
def test_hours_and_minutes_that_are_counted_off_are_those_that_contain_each_moment(
    name: str,
) -> None:
    tz = zone(name)
    for day in [utc("2015-05-17T10:05"), utc("1972-01-05T23:00"), *_jumps(tz, 2010, 2011)]:
        for kind, reach in (("hour", timedelta(days=3)), ("minute", timedelta(hours=13))):
            around = Span(day - reach, day + reach)
            found, current = [], span(kind, around.start, tz)
            while current.start < around.end:
                found.append(current)
                current = span(kind, current.end, tz)
            assert list(spans(kind, around, tz)) == found


def test_no_zone_has_changed_its_offset_twice_in_two_days() -> None:
    """Or `spans` would miss it: it looks at the offset once a day."""
    from zoneinfo._zoneinfo import ZoneInfo as Readable

    for name in periods.zone_names():
        known = Readable.no_cache(name)
        changes = [
            when
            for when, (before, after) in zip(
                known._trans_utc[1:],
                itertools.pairwise(info.utcoff for info in known._ttinfos),
                strict=True,
            )
            if before != after
        ]
        assert all(two - one > 2 * 86_400 for one, two in itertools.pairwise(changes)), name


def test_spans_are_whole_and_cover_the_ends() -> None:
    within = Span(utc("2015-05-17T10:05"), utc("2015-05-19T00:00"))
    found = list(spans("day", within, UTC_ZONE))
    assert found == [
        days(date(2015, 5, 17), date(2015, 5, 17), UTC_ZONE),
        days(date(2015, 5, 18), date(2015, 5, 18), UTC_ZONE),
    ]
    assert list(spans("day", Span(NOW, NOW), UTC_ZONE)) == []


# -- properties

instants = st.datetimes(
    datetime(1990, 1, 1),
    datetime(2037, 12, 31),
    timezones=st.just(UTC),
)
zones = st.sampled_from(ZONES).map(zone)


@given(instants, zones, st.sampled_from(KINDS))
@settings(max_examples=300, deadline=None)
def test_every_instant_lies_in_exactly_one_period(
    instant: datetime, tz: periods.ZoneInfo, kind: periods.Kind
) -> None:
    here = span(kind, instant, tz)
    assert here.start <= instant < here.end
    assert floor(kind, here.start, tz) == here.start
    assert floor(kind, here.end - timedelta(seconds=1), tz) == here.start
    assert next_start(kind, here.start, tz) == here.end
    assert floor(kind, here.end, tz) == here.end
    assert span(kind, here.start - timedelta(seconds=1), tz).end == here.start


# Nights worth a closer look: every jump of a year lies within a day of a change of offset.
def _jumps(tz: periods.ZoneInfo, first: int, last: int) -> list[datetime]:
    day, found = datetime(first, 1, 1, tzinfo=UTC), []
    while day.year <= last:
        following = day + timedelta(days=1)
        if wall(day, tz).utcoffset() != wall(following, tz).utcoffset():
            found.append(day)
        day = following
    return found


@pytest.mark.parametrize("name", ZONES)
def test_hours_and_days_partition_every_jump(name: str) -> None:
    tz = zone(name)
    for day in _jumps(tz, 2009, 2017):
        around = Span(day - timedelta(days=1), day + timedelta(days=2))
        for kind in ("hour", "day"):
            found = list(spans(kind, around, tz))
            assert all(one.end == two.start for one, two in itertools.pairwise(found))
            assert found[0].start <= around.start and around.end <= found[-1].end
            names = [label(kind, each.start, tz) for each in found]
            assert len(set(names)) == len(names)
        hours = {each.start for each in spans("hour", around, tz)}
        inner = [each.start for each in spans("day", around, tz)][1:]
        assert hours.issuperset(inner), "a day starts with an hour"


@given(instants, zones)
@settings(max_examples=300, deadline=None)
def test_periods_nest(instant: datetime, tz: periods.ZoneInfo) -> None:
    starts = [floor(kind, instant, tz) for kind in ("minute", "hour", "day", "month", "year")]
    assert starts == sorted(starts, reverse=True)
    assert floor("quarter", instant, tz) <= floor("month", instant, tz)


# -- the hot path


def exact(instant: datetime, tz: periods.ZoneInfo) -> tuple[int, int, int]:
    minute, hour, day = (
        int(floor(kind, instant, tz).timestamp()) for kind in ("minute", "hour", "day")
    )
    return minute, hour, day


@given(instants, st.sampled_from(ZONES))
@settings(max_examples=300, deadline=None)
def test_the_clock_says_what_floor_says(instant: datetime, name: str) -> None:
    ms = int(instant.timestamp()) * 1000 + instant.microsecond // 1000
    clock = Clock(name)
    assert clock.stamps(ms) == exact(instant, zone(name))
    assert clock.stamps(ms) == exact(instant, zone(name)), "warm"


@pytest.mark.parametrize("name", ZONES)
def test_the_clock_holds_through_every_jump(name: str) -> None:
    tz, clock = zone(name), Clock(name)
    for day in _jumps(tz, 2010, 2012):
        for minutes in range(-60, 26 * 60, 7):
            instant = day + timedelta(minutes=minutes, seconds=minutes % 60)
            assert clock.stamps(int(instant.timestamp() * 1000)) == exact(instant, tz)


def test_the_clock_knows_an_offset_of_odd_seconds() -> None:
    clock, tz = Clock("Africa/Monrovia"), zone("Africa/Monrovia")  # -00:44:30 until 1972-01-07
    for second in range(63_593_000, 63_595_000, 13):
        instant = datetime.fromtimestamp(second, UTC)
        assert clock.stamps(second * 1000) == exact(instant, tz)


def test_the_clock_does_not_grow_without_end() -> None:
    clock = Clock("UTC")
    for slot in range(Clock.LIMIT * 2 + 10):
        clock.stamps(slot * Clock.SLOT * 1000)
    assert len(clock._slots) <= Clock.LIMIT


def test_the_clock_refuses_an_unknown_zone() -> None:
    with pytest.raises(ValueError, match="Unknown time zone"):
        Clock("Mars/Olympus")


# -- ranges


@pytest.mark.parametrize(
    ("asked", "start", "end", "text"),
    [
        ("today", "2015-05-20T00:00", "2015-05-21T00:00", "today"),
        ("1d", "2015-05-20T00:00", "2015-05-21T00:00", "today"),
        ("yesterday", "2015-05-19T00:00", "2015-05-20T00:00", "yesterday"),
        ("7d", "2015-05-14T00:00", "2015-05-21T00:00", "7d"),
        ("28d", "2015-04-23T00:00", "2015-05-21T00:00", "28d"),
        ("30m", "2015-05-20T12:36", "2015-05-20T13:06", "30m"),
        ("1m", "2015-05-20T13:05", "2015-05-20T13:06", "1m"),
        ("24h", "2015-05-19T14:00", "2015-05-20T14:00", "24h"),
        ("week", "2015-05-18T00:00", "2015-05-25T00:00", "week"),
        ("month", "2015-05-01T00:00", "2015-06-01T00:00", "month"),
        ("quarter", "2015-04-01T00:00", "2015-07-01T00:00", "quarter"),
        ("year", "2015-01-01T00:00", "2016-01-01T00:00", "year"),
        (" 7d ", "2015-05-14T00:00", "2015-05-21T00:00", "7d"),
        ("007d", "2015-05-14T00:00", "2015-05-21T00:00", "7d"),
        ("2015-05-17", "2015-05-17T00:00", "2015-05-18T00:00", "2015-05-17..2015-05-17"),
        ("2015-05-17..2015-05-20", "2015-05-17T00:00", "2015-05-21T00:00",
         "2015-05-17..2015-05-20"),
        ({"from": "2015-05-17", "to": "2015-05-20"}, "2015-05-17T00:00", "2015-05-21T00:00",
         "2015-05-17..2015-05-20"),
        ({"from": "2015-05-17T10:00", "to": "2015-05-17T12:30"},
         "2015-05-17T10:00", "2015-05-17T12:30", "2015-05-17T10:00:00Z..2015-05-17T12:30:00Z"),
        ({"from": "2015-05-17", "to": "2015-05-17T12:30"},
         "2015-05-17T00:00", "2015-05-17T12:30", "2015-05-17T00:00:00Z..2015-05-17T12:30:00Z"),
    ],
)  # fmt: skip
def test_ranges_in_utc(asked: object, start: str, end: str, text: str) -> None:
    found = parse_range(asked, UTC_ZONE, NOW)  # type: ignore[arg-type]
    assert found.span == Span(utc(start), utc(end))
    assert found.text == text
    again = parse_range(found.text, UTC_ZONE, NOW)
    assert (again.span, again.text) == (found.span, found.text)


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [
        ("today", "2015-05-19T22:00", "2015-05-20T22:00"),
        ("7d", "2015-05-13T22:00", "2015-05-20T22:00"),
        ("30m", "2015-05-20T12:36", "2015-05-20T13:06"),
        ({"from": "2015-05-17", "to": "2015-05-20"}, "2015-05-16T22:00", "2015-05-20T22:00"),
        ({"from": "2015-05-17T10:00", "to": "2015-05-17T12:00:30.5"},
         "2015-05-17T08:00", "2015-05-17T10:00:30.5"),
        ({"from": "2015-05-17T10:00Z", "to": "2015-05-17T12:00-04:00"},
         "2015-05-17T10:00", "2015-05-17T16:00"),
        # both nights on which the clock jumps
        ({"from": "2015-03-29", "to": "2015-03-29"}, "2015-03-28T23:00", "2015-03-29T22:00"),
        ({"from": "2015-10-25", "to": "2015-10-25"}, "2015-10-24T22:00", "2015-10-25T23:00"),
        ({"from": "2015-10-25T02:00+02:00", "to": "2015-10-25T02:00+01:00"},
         "2015-10-25T00:00", "2015-10-25T01:00"),
    ],
)  # fmt: skip
def test_ranges_in_berlin(asked: object, start: str, end: str) -> None:
    found = parse_range(asked, BERLIN, NOW)  # type: ignore[arg-type]
    assert found.span == Span(utc(start), utc(end))
    assert parse_range(found.text, BERLIN, NOW).span == found.span


def test_today_depends_on_the_zone() -> None:
    late = utc("2015-05-20T22:30")
    assert parse_range("today", UTC_ZONE, late).first == date(2015, 5, 20)
    assert parse_range("today", BERLIN, late).first == date(2015, 5, 21)


def test_days_and_instants_are_told_apart() -> None:
    assert parse_range("7d", BERLIN, NOW).kind_of_days
    assert parse_range("7d", BERLIN, NOW).day_count == 7
    assert parse_range("month", BERLIN, NOW).day_count == 31
    assert not parse_range("30m", BERLIN, NOW).kind_of_days
    assert parse_range("30m", BERLIN, NOW).day_count == 0


def test_all_begins_on_the_day_of_the_first_event() -> None:
    first = utc("2015-05-16T22:30")
    assert parse_range("all", BERLIN, NOW, first=first).first == date(2015, 5, 17)
    assert parse_range("all", UTC_ZONE, NOW, first=first).first == date(2015, 5, 16)
    assert parse_range("all", UTC_ZONE, NOW, first=first).text == "all"
    assert parse_range("all", UTC_ZONE, NOW).day_count == 1
    assert parse_range("all", UTC_ZONE, NOW, first=NOW + timedelta(days=3)).day_count == 1


def test_hours_walk_through_the_autumn_night() -> None:
    now = utc("2015-10-25T02:10")  # 03:10 in Berlin
    assert parse_range("4h", BERLIN, now).span == Span(
        utc("2015-10-24T23:00"), utc("2015-10-25T03:00")
    )
    lord_howe = parse_range("3h", LORD_HOWE, utc("2015-04-04T15:40"))  # 02:10 there
    assert lord_howe.span.length == timedelta(hours=2, minutes=30)


@pytest.mark.parametrize(
    ("asked", "text"),
    [
        ("today", "2015-05-19..2015-05-19"),
        ("7d", "2015-05-07..2015-05-13"),
        ("month", "2015-03-31..2015-04-30"),
        ({"from": "2016-02-29", "to": "2016-02-29"}, "2016-02-28..2016-02-28"),
    ],
)
def test_the_range_before_has_as_many_days(asked: object, text: str) -> None:
    found = parse_range(asked, BERLIN, NOW)  # type: ignore[arg-type]
    before = found.previous()
    assert before.text == text
    assert before.day_count == found.day_count
    assert before.span.end == found.span.start


def test_the_range_before_an_autumn_night_is_a_day_too() -> None:
    monday = parse_range("2015-10-26", BERLIN, NOW)
    assert monday.previous().span.length == timedelta(hours=25)
    assert monday.previous().span.end == monday.span.start


def test_the_range_before_minutes_is_as_long() -> None:
    before = parse_range("30m", BERLIN, NOW).previous()
    assert before.span == Span(utc("2015-05-20T12:06"), utc("2015-05-20T12:36"))
    assert parse_range(before.text, BERLIN, NOW).span == before.span


@pytest.mark.parametrize(
    ("asked", "weekdays", "previous", "year"),
    [
        ("2024-02-29", False, "2024-02-28..2024-02-28", "2023-02-28..2023-02-28"),
        ("2024-02-29", True, "2024-02-22..2024-02-22", "2023-03-02..2023-03-02"),
        ("2026-03-01..2026-03-31", False, "2026-01-29..2026-02-28", "2025-03-01..2025-03-31"),
        ("2026-03-01..2026-03-31", True, "2026-01-25..2026-02-24", "2025-03-02..2025-04-01"),
        ("2024-01-01..2024-12-31", False, "2022-12-31..2023-12-31", "2023-01-01..2023-12-31"),
        ("2026-03-02..2026-03-08", True, "2026-02-23..2026-03-01", "2025-03-03..2025-03-09"),
    ],
)
def test_ranges_to_compare_with(asked: str, weekdays: bool, previous: str, year: str) -> None:
    found = parse_range(asked, BERLIN, NOW)
    assert found.previous(by_weekday=weekdays).text == previous
    assert found.year_before(by_weekday=weekdays).text == year


def test_hours_are_compared_with_the_same_ones_on_the_wall() -> None:
    found = parse_range("2026-03-30T10:00..2026-03-30T12:00", BERLIN, NOW)  # a day behind the jump
    week, year = found.previous(by_weekday=True).span, found.year_before().span
    assert (week.start, week.end) == (utc("2026-03-23T09:00"), utc("2026-03-23T11:00"))
    assert (year.start, year.end) == (utc("2025-03-30T08:00"), utc("2025-03-30T10:00"))
    assert found.year_before(by_weekday=True).span.start == utc("2025-03-31T08:00")


@pytest.mark.parametrize(
    ("asked", "back", "on"),
    [
        ("2016-03-01", "2016-02-29..2016-02-29", "2016-03-02..2016-03-02"),
        ("2015-10-25", "2015-10-24..2015-10-24", "2015-10-26..2015-10-26"),  # 25 hours long
        ("2016-02-22..2016-02-28", "2016-02-15..2016-02-21", "2016-02-29..2016-03-06"),
        ("2016-02-01..2016-02-29", "2016-01-01..2016-01-31", "2016-03-01..2016-03-31"),
        ("2015-10-01..2015-12-31", "2015-07-01..2015-09-30", "2016-01-01..2016-03-31"),
        ("2015-01-01..2015-12-31", "2014-01-01..2014-12-31", "2016-01-01..2016-12-31"),
        ("2016-02-20..2016-02-29", "2016-02-10..2016-02-19", "2016-03-01..2016-03-10"),
        ("month", "2015-04-01..2015-04-30", "2015-06-01..2015-06-30"),
    ],
)
def test_ranges_to_turn_the_page_to(asked: str, back: str, on: str) -> None:
    found = parse_range(asked, BERLIN, NOW)
    assert [found.beside(-1).text, found.beside(1).text] == [back, on]


def test_minutes_are_followed_by_as_many() -> None:
    found = parse_range("2016-02-29T10:00..2016-02-29T10:30", BERLIN, NOW)
    after = found.beside(1)
    assert (after.span.start, after.span.length) == (found.span.end, timedelta(minutes=30))
    assert after.beside(-1).span == found.span


def test_a_skipped_date_is_no_day_to_turn_to() -> None:
    assert parse_range("2011-12-31", APIA, NOW).beside(-1).text == "2011-12-29..2011-12-29"


@pytest.mark.parametrize("cycle", periods.CYCLES)
def test_the_parts_of_a_cycle_have_names(cycle: periods.Cycle) -> None:
    kind = periods.CYCLES[cycle]
    week = parse_range("2015-10-19..2015-10-25", BERLIN, NOW)  # clocks are put back on its Sunday
    found = [periods.turn(cycle, span.start, BERLIN) for span in spans(kind, week.span, BERLIN)]
    names = periods.turns(cycle)
    assert sorted(names) == sorted(set(found)) == list(range(1, len(names) + 1))
    assert found.count(3) == (8 if cycle == "hour_of_day" else 1)  # two hours from 2 on
    assert names[1] == ("00" if cycle == "hour_of_day" else "1")


def test_the_day_before_a_skipped_one_is_compared() -> None:
    new_years_eve = parse_range("2011-12-31", APIA, NOW)
    assert new_years_eve.previous().span.start == day_start(date(2011, 12, 29), APIA)
    assert parse_range("2012-12-30", APIA, NOW).year_before().text == "2011-12-29..2011-12-29"


def test_weekdays_are_compared_across_a_skipped_one() -> None:
    friday = parse_range("2012-01-06", APIA, NOW)
    assert friday.previous(by_weekday=True).text == "2011-12-23..2011-12-23"
    friday = parse_range("2012-12-28", APIA, NOW)
    assert friday.year_before(by_weekday=True).text == "2011-12-23..2011-12-23"


@pytest.mark.parametrize(
    ("tz", "asked", "other", "now", "until"),
    [
        # Days of 25 and of 23 hours, at 14:20 on the wall: the other day until 15:00.
        (BERLIN, "2015-10-25", "2015-10-24", "2015-10-25T13:20", "2015-10-24T13:00"),
        (BERLIN, "2015-03-29", "2015-03-28", "2015-03-29T12:20", "2015-03-28T14:00"),
        (BERLIN, "2015-10-26", "2015-10-25", "2015-10-26T13:20", "2015-10-25T14:00"),
        # 02:30 comes twice; both times the hour ends at 03:00.
        (BERLIN, "2015-10-25", "2015-10-24", "2015-10-25T00:30", "2015-10-24T01:00"),
        (BERLIN, "2015-10-25", "2015-10-24", "2015-10-25T01:30", "2015-10-24T01:00"),
        # A day that begins at 01:00, seen from itself, from the next and from its eve at 23:30.
        (SAO_PAULO, "2015-10-18", "2015-10-17", "2015-10-18T03:30", "2015-10-17T05:00"),
        (SAO_PAULO, "2015-10-19", "2015-10-18", "2015-10-19T02:30", "2015-10-18T03:00"),
        (SAO_PAULO, "2015-10-17..2015-10-19", "2015-10-14..2015-10-16", "2015-10-18T02:30",
         "2015-10-15T03:00"),
        # Not of days: as many seconds.
        (BERLIN, "2015-10-25T00:00..2015-10-26T00:00", "2015-10-24T00:00..2015-10-25T00:00",
         "2015-10-25T13:20", "2015-10-24T14:00"),
        # The other one may be shorter.
        (BERLIN, "2015-03-01..2015-03-31", "2015-02-01..2015-02-28", "2015-03-30T10:20",
         "2015-02-28T23:00"),
    ],
)  # fmt: skip
def test_an_open_range_is_as_far_as_the_same_hours_of_another(
    tz: periods.ZoneInfo, asked: str, other: str, now: str, until: str
) -> None:
    found = parse_range(other, tz, NOW)
    part = parse_range(asked, tz, NOW).as_far(found, utc(now))
    assert part.span == Span(found.span.start, utc(until))


@pytest.mark.parametrize(
    ("asked", "interval"),
    [
        ("30m", "minute"), ("120m", "minute"), ("2h", "minute"), ("121m", "hour"),
        ("today", "hour"), ("3d", "hour"), ("4d", "day"), ("28d", "day"), ("month", "day"),
        ("120d", "day"), ("121d", "week"), ("year", "week"), ("731d", "week"), ("732d", "month"),
    ],
)  # fmt: skip
def test_the_default_interval_follows_the_length(asked: str, interval: str) -> None:
    assert parse_range(asked, UTC_ZONE, NOW).default_interval() == interval


def test_three_days_around_the_autumn_night_are_still_shown_by_hour() -> None:
    found = parse_range("2015-10-24..2015-10-26", BERLIN, NOW)
    assert found.span.length == timedelta(hours=73)
    assert found.default_interval() == "hour"


@pytest.mark.parametrize(
    ("asked", "field", "message"),
    [
        ("fortnight", "range", "28d"),
        ("", "range", "28d"),
        ("0d", "range", "from 1 to"),
        ("-7d", "range", "28d"),
        ("99999m", "range", "from 1 to 44640"),
        ("9999h", "range", "from 1 to 8784"),
        ("20000d", "range", "1970 to 2100"),
        ("٧d", "range", "28d"),
        ("9" * 400 + "d", "range", "28d"),
        (7, "range", "word or an object"),
        (None, "range", "word or an object"),
        (["2015-05-17"], "range", "word or an object"),
        ({}, "from", "missing"),
        ({"from": "2015-05-17"}, "to", "missing"),
        ({"from": None, "to": "2015-05-17"}, "from", "missing"),
        ({"from": "2015-05-17", "to": "2015-05-17", "tz": "UTC"}, "range", "no 'tz'"),
        ({"from": "2015-05-20", "to": "2015-05-17"}, "from", "exchange"),
        ({"from": "2015-05-17T10:00", "to": "2015-05-17T10:00"}, "from", "exchange"),
        ({"from": "2015-02-31", "to": "2015-03-01"}, "from", "is no date"),
        ({"from": "2015-05-17", "to": "2015-05-17T25:00"}, "to", "is no date"),
        ({"from": "2015-05-17", "to": "17.05.2015"}, "to", "2015-05-17T13:00Z"),
        ({"from": "2015-05-17", "to": "2015-W20-1"}, "to", "is no date"),
        ({"from": 20150517, "to": "2015-05-17"}, "from", "is no date"),
        ({"from": "0001-01-01", "to": "2015-05-17"}, "from", "1970 to 2100"),
        ({"from": "1969-12-31", "to": "2015-05-17"}, "from", "1970 to 2100"),
        ({"from": "2015-05-17", "to": "2101-01-01"}, "to", "1970 to 2100"),
        ({"from": "2015-05-17", "to": "9999-12-31T23:59+00:00"}, "to", "1970 to 2100"),
        ({"from": "infinity", "to": "2015-05-17"}, "from", "is no date"),
        ("2015-05-17..", "to", "missing"),
        ("a..b", "from", "is no date"),
    ],
)
def test_a_range_that_cannot_be_understood_says_what_to_write(
    asked: object, field: str, message: str
) -> None:
    with pytest.raises(RangeError, match=message) as caught:
        parse_range(asked, UTC_ZONE, NOW)  # type: ignore[arg-type]
    assert caught.value.field == field
    assert len(str(caught.value)) < 400


def test_a_skipped_day_is_no_range() -> None:
    with pytest.raises(RangeError, match="skipped in Pacific/Apia"):
        parse_range("2011-12-30", APIA, NOW)


@given(st.text(max_size=40) | st.from_regex(r"[0-9T:Z.+-]{0,30}\.\.[0-9T:Z.+-]{0,30}"))
@settings(max_examples=300, deadline=None)
def test_any_text_is_a_range_or_a_range_error(text: str) -> None:
    try:
        found = parse_range(text, BERLIN, NOW)
    except RangeError:
        return
    assert found.span.start < found.span.end


# -- points


def test_points_are_counted() -> None:
    assert check_points(parse_range("today", UTC_ZONE, NOW), "hour") == 24
    assert check_points(parse_range("2015-10-25", BERLIN, NOW), "hour") == 25
    assert check_points(parse_range("7d", UTC_ZONE, NOW), "day") == 7
    assert check_points(parse_range("30m", UTC_ZONE, NOW), "minute") == 30
    assert check_points(parse_range("1995-01-01..2015-12-31", BERLIN, NOW), "week") == 1097


def test_too_many_points_name_an_interval_that_fits() -> None:
    twenty_years = parse_range("1995-01-01..2015-12-31", BERLIN, NOW)
    with pytest.raises(RangeError, match="choose 'week'") as caught:
        check_points(twenty_years, "minute")
    assert caught.value.field == "interval"
    with pytest.raises(RangeError, match="choose 'hour'"):
        check_points(parse_range("7d", UTC_ZONE, NOW), "minute")
    assert check_points(twenty_years, "day", limit=8000) == 7670


def test_the_limit_itself_is_allowed() -> None:
    week = parse_range("7d", UTC_ZONE, NOW)
    assert check_points(week, "day", limit=7) == 7
    with pytest.raises(RangeError, match="Too many points"):
        check_points(week, "day", limit=6)


def test_an_unknown_interval_is_refused() -> None:
    with pytest.raises(RangeError, match="use one of minute") as caught:
        check_points(parse_range("7d", UTC_ZONE, NOW), "fortnight")  # type: ignore[arg-type]
    assert caught.value.field == "interval"
