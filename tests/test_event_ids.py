"""What Valkey remembers of event ids and visitors: nothing too short, nothing that never was."""

import secrets
import uuid
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.people import new_property

HOUR, DAY = 3_600_000, 86_400_000
START = 1_800_000_000_000  # an hour's start


def client() -> Any:
    from tracking.store import events_client

    return events_client()


def prefix(place: Any) -> str:
    from tracking import keys

    return keys.prefix(place.account_id, place.pk)


def accept(place: Any, now: int, *ids: uuid.UUID, **fields: Any) -> str:
    """Verdicts of page views with these ids, a letter each."""
    from datetime import UTC, datetime

    from tests.streams import as_judged, make_event
    from tracking import store
    from tracking.directory import Record
    from tracking.items import item_of

    record = Record.of(place)
    at = datetime.fromtimestamp(now / 1000, UTC)
    events = [make_event(at, **({"event_id": one} | fields)) for one in ids]
    items = [item_of(as_judged(event), record, now) for event in events]
    return store.accept(record, Counter(), items, now)


def alike(count: int) -> list[uuid.UUID]:
    """Ids that fall into the same bucket, however many buckets there are."""
    found = []
    for _ in range(count):
        words = [secrets.randbits(32) for _ in range(3)]
        last = words[0] ^ words[1] ^ words[2]
        found.append(uuid.UUID(bytes=b"".join(word.to_bytes(4, "big") for word in [*words, last])))
    return found


def buckets(place: Any, bits: int) -> list[bytes]:
    return list(client().scan_iter(match=f"{prefix(place)}:d:{bits}:*", count=10_000))


def say_that_many_came(place: Any, now: int, count: int) -> None:
    from tracking import keys

    client().hincrby(keys.ledger(prefix(place), now // HOUR * 3600), "accepted", count)


def set_bits(place: Any, bits: int, now: int) -> None:
    from tracking import keys

    client().hset(keys.meta(prefix(place)), "d", f"{bits} {now // HOUR}")


steps = st.lists(
    st.tuples(st.integers(0, 30), st.lists(st.integers(0, 400), max_size=120)),
    min_size=1,
    max_size=12,
)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(steps=steps, growth=st.lists(st.integers(0, 11), max_size=3, unique=True))
def test_ids_are_known_for_a_day_and_never_before_they_came(
    steps: Sequence[tuple[int, list[int]]], growth: list[int]
) -> None:
    """All in the same bucket, so that it is cleaned and split as it would be with a million."""
    place = new_property()
    ids, bits, now = alike(401), 10, START
    seen: dict[int, int] = {}
    for number, (hours, sent) in enumerate(steps):
        now += hours * HOUR
        if number in growth and seen:
            bits += 2
            set_bits(place, bits, now)
        verdicts = accept(place, now, *[ids[one] for one in sent])
        for one, verdict in zip(sent, verdicts, strict=True):
            if one not in seen:
                assert verdict == "a"
            elif now - seen[one] <= DAY:
                assert verdict == "d"
            if verdict == "a":
                seen[one] = now


def test_a_full_bucket_forgets_what_is_older_than_a_day() -> None:
    place, ids = new_property(), alike(400)
    accept(place, START, *ids[:60])
    accept(place, START + 26 * HOUR, *ids[60:120])
    (bucket,) = buckets(place, 10)
    assert client().hlen(bucket) == 60 + 1  # and its header
    assert accept(place, START + 26 * HOUR, *ids[60:120]) == "d" * 60


def test_a_bucket_outlives_every_id_in_it_by_a_day() -> None:
    place, ids = new_property(), alike(40)
    for step in range(40):
        accept(place, START + step * HOUR, ids[step])
        (bucket,) = buckets(place, 10)
        # As the server's clock would have done in this hour.
        client().expire(bucket, client().ttl(bucket) - 3600)
        assert client().ttl(bucket) >= 24 * 3600 - 1


def test_more_ids_get_more_buckets_and_none_is_forgotten_by_it() -> None:
    place, ids = new_property(), [uuid.uuid4() for _ in range(3_000)]
    accept(place, START, *ids)
    same = alike(130)
    say_that_many_came(place, START, 1_000_000)
    accept(place, START, *same)
    accept(place, START, same[0])
    assert client().hget(f"{prefix(place)}:m", "d") == b"12 %d" % (START // HOUR)
    later = START + 20 * HOUR
    assert accept(place, later, *ids, *same) == "d" * 3_130
    set_bits(place, 18, later)
    assert accept(place, START + DAY, *ids, *same) == "d" * 3_130
    assert buckets(place, 10) == buckets(place, 12) == []
    assert all(client().ttl(bucket) > 0 for bucket in buckets(place, 18))


def test_a_sender_of_ids_that_are_all_alike_gets_no_more_buckets() -> None:
    place = new_property()
    same = alike(9_000)  # more than Lua can unpack at once
    assert accept(place, START, *same) == "a" * 9_000
    assert client().hget(f"{prefix(place)}:m", "d") == b"10 0"
    late = alike(3_000)
    assert accept(place, START + 30 * HOUR, *late) == "a" * 3_000
    (bucket,) = buckets(place, 10)
    assert client().hlen(bucket) == 3_001
    assert accept(place, START + 30 * HOUR, *late) == "d" * 3_000


def test_ids_that_differ_in_one_byte_only_are_told_apart() -> None:
    place, one = new_property(), uuid.uuid4()
    others = [
        uuid.UUID(int=one.int ^ change << shift)
        for shift in range(0, 128, 8)
        for change in (1, 0x80, 0xFF)
    ]
    assert accept(place, START, one, *others) == "a" * 49
    assert accept(place, START, one, *others) == "d" * 49


def test_another_payload_is_told_from_a_retry() -> None:
    place, one = new_property(), uuid.uuid4()
    for fingerprint, verdict in ((-(2**31), "a"), (-(2**31), "d"), (2**31 - 1, "c"), (12, "c")):
        assert accept(place, START, one, fingerprint=fingerprint) == verdict


# -- visitors --------------------------------------------------------------------------------


def numbers(place: Any) -> list[int]:
    from tracking import keys

    entries = client().xrange(keys.stream(prefix(place)))
    return [int(fields[b"n"]) for _, fields in entries]


@pytest.mark.parametrize("cookieless", [False, True])
def test_visitors_of_any_number_are_known_again(cookieless: bool) -> None:
    from tracking import keys

    place, bits = new_property(), 10
    accept(place, START)  # Valkey learns of the property
    expected = []
    for highest in (0, 255, 65_535, (1 << 24) - 2, (1 << 24) - 1, (1 << 24) + 5, 45_000_000):
        client().hset(keys.meta(prefix(place)), "n", highest)
        who = uuid.uuid4()
        for _ in range(2):
            accept(place, START, uuid.uuid4(), visitor_uuid=who, cookieless=cookieless)
            # More buckets in between make nobody a stranger.
            set_bits(place, bits := bits + (2 if bits < 22 else 0), START)
        expected += [highest + 1] * 2
    assert numbers(place) == expected


def test_visitors_written_by_an_earlier_version_are_known_again() -> None:
    """It wrote "number day" in digits, and cookieless ones into buckets of another kind."""
    from tracking import keys

    place, day = new_property(), START // DAY
    accept(place, START)
    known, cookieless = uuid.uuid4(), uuid.uuid4()
    meta = keys.meta(prefix(place))
    client().hdel(meta, "d")  # which that version did not have
    client().hset(meta, "n", 60)
    old = {known: f"{prefix(place)}:i:", cookieless: f"{prefix(place)}:i:{day}:"}
    for number, (who, key) in enumerate(old.items(), 41):
        client().hset(key + who.bytes[14:].hex(), who.bytes[:14], f"{number} {day - 1}")
    for _ in range(2):
        accept(place, START, uuid.uuid4(), visitor_uuid=known)
        accept(place, START, uuid.uuid4(), visitor_uuid=cookieless, cookieless=True)
    assert numbers(place) == [41, 42, 41, 42]
    entry = client().hget(old[known] + known.bytes[14:].hex(), known.bytes[:14])
    assert len(entry) == 5


def test_the_script_and_python_write_the_same_entry() -> None:
    from tracking import keys
    from tracking.visitor_map import Known, read_entry, visitor_entry

    place, who = new_property(), uuid.uuid4()
    accept(place, START)
    for highest in (0, (1 << 24) - 2, (1 << 24) - 1):
        client().hset(keys.meta(prefix(place)), "n", highest)
        accept(place, START, uuid.uuid4(), visitor_uuid=who)
        key = keys.visitors(prefix(place), who.bytes[14:].hex())
        entry = client().hget(key, who.bytes[:14])
        assert entry == visitor_entry(highest + 1, START // DAY)
        assert read_entry(entry) == Known(highest + 1, START // DAY)
        client().delete(key)
    assert read_entry(b"7 20000") == Known(7, 20_000)


def test_visitors_leave_after_thirteen_months_and_not_before() -> None:
    from datetime import UTC, datetime, timedelta

    from tracking import keys
    from tracking.forgetting import STEP, forget_step
    from tracking.visitor_map import BUCKETS, KNOWN_DAYS, read_entry, visitor_entry

    place = new_property()
    today = START // DAY
    ages = (0, KNOWN_DAYS, KNOWN_DAYS + 1, 2 * KNOWN_DAYS)
    found = {}
    for text in (False, True):
        for bucket in ("0000", "7fff", "ffff"):
            for age in ages:
                number = len(found) + 16_777_210
                entry = visitor_entry(number, today - age)
                if text:  # as an earlier version wrote it
                    entry = f"{number} {today - age}".encode()
                key, field = keys.visitors(prefix(place), bucket), secrets.token_bytes(14)
                client().hset(key, field, entry)
                found[key, field] = number, age
    # A tick a minute, and all buckets had their turn once.
    start = datetime.fromtimestamp(START / 1000, UTC)
    first = start - timedelta(minutes=START // 60_000 % (BUCKETS // STEP))
    turns = {(START // 60_000 + turn) * STEP % BUCKETS for turn in range(BUCKETS // STEP)}
    assert len(turns) == BUCKETS // STEP
    for bucket in (0, 0x7FFF, 0xFFFF):
        forget_step(first + timedelta(minutes=bucket // STEP + BUCKETS // STEP))
    for (key, field), (number, age) in found.items():
        entry = client().hget(key, field)
        if age > KNOWN_DAYS + 1:
            assert entry is None
        elif age <= KNOWN_DAYS - 1:
            assert len(entry) in (5, 6)
            assert read_entry(entry) == (number, today - age)


def test_a_restart_without_data_brings_back_who_is_still_known() -> None:
    from datetime import UTC, datetime, timedelta

    from tracking.models import Visitor

    place, who = new_property(), [uuid.uuid4() for _ in range(2)]
    now = datetime.fromtimestamp(START / 1000, UTC)
    for number, days in ((7, 10), (9, 500)):
        Visitor.objects.using("worker").create(
            account_id=place.account_id, property_id=place.pk, visitor=who[number > 8],
            number=number, first_seen=now - timedelta(days=days),
            last_seen=now - timedelta(days=days),
        )  # fmt: skip
    for one in who:
        accept(place, START, uuid.uuid4(), visitor_uuid=one)
    assert numbers(place) == [7, 10]


def test_all_scripts_mean_the_same_months() -> None:
    import re

    from tracking import store
    from tracking.visitor_map import KNOWN_DAYS

    found = re.search(rb"local KNOWN_DAYS, \w+, \w+ = (\d+),", store.ACCEPT.text)
    assert found is not None and int(found[1]) == KNOWN_DAYS
