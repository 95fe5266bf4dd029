"""The demo: its visits are plausible and deterministic, and go through the collector once."""

import io
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from functools import cache
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import pytest

from properties import periods
from tracking.demo import shop
from tracking.demo.simulator import CAMPAIGN_DAY, Plan, Step, Visit, heartbeats

TODAY = date(2026, 3, 30)  # the day before had 23 hours in Stockholm
NOW = 1_774_864_800_000  # noon there
DAY = 86_400_000
PLAN = Plan("test", TODAY)
TZ = periods.zone(shop.ZONE)


@cache
def month() -> tuple[Step, ...]:
    return tuple(PLAN.history(NOW - 30 * DAY, NOW))


def local(ms: int) -> datetime:
    return periods.wall(datetime.fromtimestamp(ms / 1000, UTC), TZ)


def named(name: str) -> list[Step]:
    return [step for step in month() if step.payload["name"] == name]


# -- plausible and deterministic ---------------------------------------------------------------


def test_the_same_seed_gives_the_same_events_whenever_they_are_made() -> None:
    again = Plan("test", TODAY)
    assert list(again.history(NOW - 2 * DAY, NOW)) == [
        step for step in month() if step.at >= NOW - 2 * DAY
    ]
    # Made a day later, the past is the same: sending it again adds nothing.
    later = {step.payload["event_id"] for step in again.history(NOW - 2 * DAY, NOW + DAY)}
    assert {step.payload["event_id"] for step in month() if step.at >= NOW - 2 * DAY} < later
    assert next(Plan("other", TODAY).history(NOW - DAY, NOW)) != next(again.history(NOW - DAY, NOW))


def test_history_is_in_order_complete_and_ends_now() -> None:
    times = [step.at for step in month()]
    assert times == sorted(times)
    assert times[0] >= NOW - 30 * DAY and times[-1] < NOW
    assert len({step.payload["event_id"] for step in month()}) == len(times)
    day = TODAY - timedelta(days=10)
    of_day = {s.payload["event_id"] for visit in PLAN.visits(day) for s in visit.steps}
    assert of_day <= {step.payload["event_id"] for step in month()}


def test_a_month_has_the_size_and_the_variety_of_a_small_shop() -> None:
    views = named("pageview")
    assert 25_000 < len(month()) < 40_000
    assert 100 < len(named("purchase")) < 400
    assert len({step.payload["_agent"] for step in views}) >= len(shop.AGENTS)
    visitors = Counter(visit.visitor.id for day in range(10) for visit in visits(day))
    assert 0.05 < sum(count > 1 for count in visitors.values()) / len(visitors) < 0.4
    bots = [visit for day in range(10) for visit in visits(day) if visit.visitor.bot]
    assert 0 < len(bots) < 200
    assert {step.payload["props"]["currency"] for step in named("purchase")} == {shop.CURRENCY}
    orders = [step.payload["props"]["transaction_id"] for step in named("purchase")]
    assert len(set(orders)) == len(orders)


def visits(days_ago: int) -> list[Visit]:
    return PLAN.visits(TODAY - timedelta(days=days_ago + 1))


def test_evenings_are_busier_than_nights_in_the_zone_of_the_shop() -> None:
    hours = Counter(local(step.at).hour for step in named("pageview"))
    assert sum(hours[h] for h in (19, 20, 21)) > 5 * sum(hours[h] for h in (2, 3, 4)) > 0


def test_one_day_is_the_campaign_and_the_shop_grows() -> None:
    per_day = Counter(local(step.at).date() for step in named("pageview"))
    [peak] = [day for day in per_day if PLAN.is_campaign(day)]
    assert per_day.most_common(1)[0][0] == peak
    assert (peak - TODAY).days % 28 == CAMPAIGN_DAY
    weeks = [PLAN.expected(TODAY - timedelta(days=days)) for days in (1, 8, 22, 29)]
    assert weeks == sorted(weeks, reverse=True)


def test_the_night_that_loses_an_hour_keeps_its_day() -> None:
    for visit in PLAN.visits(date(2026, 3, 29)):
        assert local(visit.steps[0].at).date() == date(2026, 3, 29)


def test_every_payload_is_one_that_the_collector_accepts() -> None:
    from properties.models import Property
    from tracking.directory import Record
    from tracking.event import Event
    from tracking.intake import Origin, judge

    place = Property(
        pk=1, account_id=1, hostnames=[shop.HOST], currency=shop.CURRENCY, timezone=shop.ZONE
    )
    record, origin = Record.of(place), Origin(privileged=True)
    events = [judge(step.payload, record, origin, NOW) for step in month()[:8_000]]
    assert all(isinstance(event, Event) and not event.sanitized for event in events)
    judged = [event for event in events if isinstance(event, Event)]
    channels = {event.channel for event in judged}
    assert channels >= {
        "Direct", "Organic Search", "Paid Search", "Organic Social", "Paid Social", "Email",
        "Affiliates", "Referral", "AI Assistant",
    }  # fmt: skip
    assert {event.device for event in judged} >= {"Desktop", "Mobile", "Tablet"}
    assert {event.country for event in judged if not event.bot} == set(shop.COUNTRIES)
    assert {event.bot for event in judged} == {True, False}
    people = [visit for visit in visits(0) if not visit.visitor.bot]
    for visit in people[:20]:
        for beat in heartbeats(visit, Random(1)):
            judge(beat.payload, record, origin, beat.at)


# -- live --------------------------------------------------------------------------------------


def test_heartbeats_follow_the_visit_and_end_with_gone() -> None:
    [visit] = [visit for visit in visits(0) if len(visit.steps) > 8][:1]
    beats = list(heartbeats(visit, Random(1)))
    assert [beat.at for beat in beats] == sorted(beat.at for beat in beats)
    states = [beat.payload["state"] for beat in beats]
    assert states.index("gone") == len(states) - 1
    while_reading = [b.payload["state"] for b in beats if b.at < visit.steps[-1].at]
    assert while_reading and set(while_reading) <= {"engaged", "visible"}
    # Nobody drops out of the live set between two beats.
    for before, after in pairwise(beats):
        assert after.at - before.at <= before.payload["next_ms"] + 1_000


def test_a_crowd_fills_up_and_stays_within_its_bounds() -> None:
    from tracking.management.commands.simulate_demo import FEWEST, MOST, Crowd

    crowd, now, sizes, steps = Crowd(PLAN, Random(7)), NOW, [], 0
    while now < NOW + 7_200_000:
        steps += sum(1 for _ in crowd.due(now))
        assert 0 <= crowd.rests(now) <= 1
        now += 500
        sizes.append(len(crowd))
    assert max(sizes) <= MOST
    assert min(sizes[200:]) >= FEWEST - 3
    assert steps / 7_200 < 8  # a second, on average


class Wire:
    """A collector that takes what it is told to take."""

    def __init__(self) -> None:
        self.taken: list[dict[str, Any]] = []
        self.trouble: Exception | None = None

    def send(self, play: Any, payload: dict[str, Any]) -> None:
        if self.trouble:
            raise self.trouble
        self.taken.append(payload)


@pytest.fixture
def traffic(django_db_setup: None) -> Any:
    from tracking.demo.scene import Scene
    from tracking.management.commands.simulate_demo import Traffic

    play = Scene("demo@aktivat.example", "-", "AK-DEMO", "ak_old", TODAY.isoformat())
    return Traffic(Wire(), play, Random(3))  # type: ignore[arg-type]


def run(traffic: Any, start: int, seconds: int) -> None:
    for now in range(start, start + seconds * 1_000, 500):
        traffic.tick(now)


def test_events_wait_for_a_collector_that_is_away_and_heartbeats_do_not(traffic: Any) -> None:
    from tracking.management.commands.simulate_demo import LONGEST_PAUSE, Away

    run(traffic, NOW, 60)
    assert {payload["name"] for payload in traffic.collector.taken} >= {"pageview", "ping"}
    traffic.collector.trouble = Away("refused")
    run(traffic, NOW + 60_000, 60)
    waiting = list(traffic.waiting)
    assert waiting and all(payload["name"] != "ping" for payload in waiting)
    assert traffic.pause == LONGEST_PAUSE
    before, traffic.collector.trouble = len(traffic.collector.taken), None
    run(traffic, NOW + 120_000, 1)
    assert traffic.collector.taken[before : before + len(waiting)] == waiting
    assert traffic.pause == 0


def test_a_demo_made_anew_is_looked_up(traffic: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    from tracking.demo import scene
    from tracking.management.commands.simulate_demo import Denied

    monkeypatch.setattr(scene, "load", lambda: replace(traffic.play, api_key="ak_new"))
    traffic.collector.trouble = Denied("401")
    run(traffic, NOW, 5)
    assert traffic.play.api_key == "ak_new"


# -- through the real thing --------------------------------------------------------------------


def command(name: str, *args: str) -> dict[str, Any]:
    from django.core.management import call_command

    out = io.StringIO()
    call_command(name, *args, "--json", stdout=out)
    found: dict[str, Any] = json.loads(out.getvalue())
    return found


@pytest.fixture(scope="module")
def scene_file(django_db_setup: None) -> Iterator[Path]:
    """The demo with two days of history, made once for this file."""
    from tracking.demo import scene

    made = command("seed_demo", "--days", "2")
    assert made["events"] > 1_000
    yield scene.path()


def test_seeding_makes_a_user_who_can_sign_in_and_sees_the_shop(scene_file: Path) -> None:
    from allauth.account.models import EmailAddress

    from accounts.models import User
    from properties.access import Actor
    from properties.models import Property

    kept = json.loads(scene_file.read_text())
    assert scene_file.stat().st_mode & 0o077 == 0
    user = User.objects.get(email=kept["email"])
    assert user.check_password(kept["password"]) and len(kept["password"]) >= 16
    assert EmailAddress.objects.get(user=user).verified
    place = Property.objects.across_accounts().get(key=kept["property"])
    assert (place.name, place.timezone, place.hostnames) == (
        "Demo shop", "Europe/Stockholm", ["shop.example"]
    )  # fmt: skip
    assert Actor(user).may("manage", "property", place)


def test_history_is_stored_and_seeding_again_adds_nothing(scene_file: Path) -> None:
    from properties.models import Property
    from tracking.models import Event

    kept = json.loads(scene_file.read_text())
    place = Property.objects.across_accounts().get(key=kept["property"])
    stored = Event.objects.using("worker").filter(property_id=place.pk)
    count = stored.count()
    assert count > 1_000
    assert command("seed_demo", "--days", "2") == {"property": place.key, "events": 0}

    # A history that was interrupted is sent again, and is known already.
    scene_file.write_text(json.dumps(kept | {"history_until": 0}))
    again = command("seed_demo", "--days", "2")["events"]
    # ... but for the minutes that have passed since, at both ends of the two days.
    left = stored.filter(time__lt=datetime.now(UTC) - timedelta(days=2)).count()
    assert again >= count - left
    assert count <= stored.count() <= count + 200


def test_a_lost_file_ends_the_old_key_and_keeps_the_property(scene_file: Path) -> None:
    from properties.models import ApiKey
    from tracking.demo import scene

    kept = json.loads(scene_file.read_text())
    scene_file.unlink()
    found = scene.prepare(datetime.now(UTC))
    found.history_until = kept["history_until"]
    found.save()
    assert found.property == kept["property"]
    assert found.password != kept["password"]
    keys = ApiKey.objects.across_accounts()
    assert not keys.filter(digest=ApiKey.digest_of(kept["api_key"])).exists()
    assert keys.filter(digest=ApiKey.digest_of(found.api_key)).exists()


def test_live_visitors_come_over_http_from_many_countries(
    scene_file: Path, web_server: str
) -> None:
    from django.core.management import call_command

    from properties.models import Property
    from tracking.models import Event

    kept = json.loads(scene_file.read_text())
    place = Property.objects.across_accounts().get(key=kept["property"])
    began = datetime.now(UTC)
    root = Path(__file__).resolve().parent.parent
    subprocess.run(
        [sys.executable, "manage.py", "simulate_demo", "--url", web_server, "--seconds", "6"],
        cwd=root, env=os.environ, check=True, timeout=60,
    )  # fmt: skip
    call_command("drain", stdout=io.StringIO())
    rows = Event.objects.using("worker").filter(property_id=place.pk, received_at__gte=began)
    assert rows.filter(name="pageview").count() >= 2
    assert {row.country for row in rows if not row.bot} <= set(shop.COUNTRIES)
