"""The event inspector: what is sampled, who may see it, and that collecting owes nothing to it."""

import asyncio
import json
import re
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.people import new_account, new_property, signed_in_as
from tests.test_collector import fetch, pageview, post
from tests.test_gather import in_a_loop

CURL = "curl/8.0"


def until(found: Callable[[], Any], what: str) -> Any:
    """What `found` gives as soon as it is true."""
    deadline = time.monotonic() + 10
    while not (value := found()):
        assert time.monotonic() < deadline, what
        time.sleep(0.02)
    return value


def recent(place: Any, **asked: str) -> Any:
    from django.utils import timezone

    from accounts.tenancy import tenant
    from tracking import inspection

    with tenant(place.account_id):
        return inspection.recent(place, timezone.now(), **asked)


def watched(web: str, place: Any) -> None:
    """Watch the property, and wait until the collector knows."""
    probe = f"probe-{uuid.uuid4()}"
    recent(place)

    def is_seen() -> bool:
        post(web, {"property": place.key, "events": [{"name": probe}]})
        return any(seen.name == probe for seen in recent(place).rows)

    until(is_seen, "the collector does not take samples")


def rows(place: Any, count: int, **asked: str) -> list[Any]:
    """The rows, without the probes of `watched`, once there are so many."""

    def found() -> list[Any]:
        all_rows = recent(place, **asked).rows
        own = [seen for seen in all_rows if not seen.name.startswith("probe-")]
        return own if len(own) >= count else []

    got = until(found, f"{count} rows do not come")
    assert len(got) == count
    return got


@pytest.fixture
def place(shop: Any, web_server: str) -> Any:
    shop.hostnames = ["shop.example"]
    shop.save()
    watched(web_server, shop)
    return shop


def test_what_arrives_is_shown_with_its_verdict(web_server: str, place: Any) -> None:
    event = pageview(property=place.key, title="Löwe", props={"plan": "pro"})
    assert post(web_server, event).status == 202
    [first] = rows(place, 1)
    assert (first.verdict, first.name, first.where, first.visitor) == (
        "accepted", "pageview", "shop.example/p", event["visitor"],
    )  # fmt: skip
    assert json.loads(first.received) == event
    assert (first.columns["title"], first.columns["props"]) == ("Löwe", '{"plan":"pro"}')

    post(web_server, event)
    post(web_server, event | {"title": "Other"})
    conflict, again, _ = rows(place, 3)
    assert (again.verdict, again.message) == ("duplicate", "")
    assert conflict.verdict == "duplicate"
    assert "Make a new event_id" in conflict.message

    wrong = pageview(property=place.key, url="https://elsewhere.example/x")
    post(web_server, wrong)
    refused = rows(place, 4)[0]
    assert (refused.verdict, refused.reason, refused.field, refused.where) == (
        "refused", "hostname", "url", "elsewhere.example/x",
    )  # fmt: skip
    assert "settings" in refused.what_to_do
    assert json.loads(refused.received) == wrong
    assert refused.stored == {}


def test_batches_pixels_bots_and_heartbeats_are_seen(web_server: str, place: Any) -> None:
    events = [pageview(), {"name": "ping", "visitor": str(uuid.uuid4())}, {"name": ""}, 5]
    post(web_server, {"property": place.key, "events": events})
    fetch(f"{web_server}/track/it?config_account={place.key}&trackr_event_type=trackr_x_event")
    post(web_server, pageview(property=place.key), user_agent=CURL)
    shown = rows(place, 5)
    assert sorted((seen.verdict, seen.reason, seen.name, seen.bot) for seen in shown) == [
        ("accepted", "", "pageview", False),
        ("accepted", "", "pageview", True),
        ("accepted", "", "x", False),
        ("refused", "missing", "", False),
        ("refused", "shape", "", False),
    ]
    assert until(lambda: recent(place).pings, "no heartbeat") == 1


def test_refused_heartbeats_do_not_bury_the_rest(web_server: str, place: Any) -> None:
    wrong = {"name": "ping", "url": "https://wrong.example/", "visitor": str(uuid.uuid4())}
    for _ in range(3):
        post(web_server, wrong | {"property": place.key})
    post(web_server, {"property": place.key, "name": "ping", "state": "asleep"})
    assert [(seen.name, seen.field) for seen in rows(place, 1)] == [("ping", "state")]
    until(lambda: recent(place).pings == 3, "heartbeats are not counted")


def test_events_over_the_limit_are_counted(web_server: str, acme: Any) -> None:
    place = new_property(acme, rate_limit=1)
    batch = {"property": place.key, "events": [pageview() for _ in range(30)]}
    statuses = [post(web_server, batch).status for _ in range(3)]
    assert statuses[-1] == 429
    until(lambda: recent(place).limited == 30 * statuses.count(429), "429s are not counted")


def test_refusals_are_kept_for_whoever_looks_later(web_server: str) -> None:
    place = new_property(hostnames=["shop.example"])
    wrong = pageview(url="https://wrong.example/1")
    events = [pageview(), wrong, pageview(title="x" * 5_000, screen="x")]
    post(web_server, {"property": place.key, "events": events})
    shown = rows(place, 2)
    assert sorted((seen.verdict, seen.reason) for seen in shown) == [
        ("refused", "hostname"), ("refused", "invalid"),
    ]  # fmt: skip
    assert [len(seen.received) + seen.cut > 5_000 for seen in shown].count(True) == 1
    assert max(len(seen.received) for seen in shown) == 2_000


def test_a_filter_by_verdict_and_name(web_server: str, place: Any) -> None:
    events = [pageview(), {"name": "signup"}, {"name": "signup", "time": "x"}]
    post(web_server, {"property": place.key, "events": events})
    rows(place, 3)
    assert [seen.reason for seen in rows(place, 1, verdict="refused")] == ["timestamp"]
    assert {seen.verdict for seen in rows(place, 2, name="signup")} == {"accepted", "refused"}
    assert len(rows(place, 1, name="signup", verdict="accepted")) == 1


def test_older_events_come_from_postgres_each_once(web_server: str, place: Any) -> None:
    from tracking.collecting import collect
    from tracking.drain import drain_all

    unseen = pageview(title="before anybody looked")  # not over HTTP: nobody took a sample
    assert collect(place, [unseen]).accepted == 1
    post(web_server, pageview(property=place.key))
    rows(place, 1)
    drain_all()
    shown = rows(place, 2)
    older = next(seen for seen in shown if seen.id == unseen["event_id"])
    assert (older.received, older.visitor) == ("", unseen["visitor"])
    assert older.columns["title"] == "before anybody looked"
    assert rows(place, 2, name="pageview") == shown


def test_a_refusal_leads_to_the_page_with_its_setting(web_server: str, alice: Any) -> None:
    place = new_property(
        new_account(alice), hostnames=["shop.example"], excluded_addresses=["127.0.0.0/8"]
    )
    post(web_server, pageview(property=place.key))
    [excluded] = rows(place, 1)
    place.excluded_addresses = []
    place.save()
    post(web_server, pageview(property=place.key, url="https://elsewhere.example/"))
    hostname, _ = rows(place, 2)
    for seen, page in ((excluded, "settings/tracking"), (hostname, "settings")):
        shown = signed_in_as(alice).get(f"/p/{place.key}/inspector/?event={seen.id}")
        assert f'. <a href="/p/{place.key}/{page}/">Settings</a>' in shown.content.decode()


def test_a_sample_ends_by_its_age_although_others_come(web_server: str) -> None:
    """Where something is refused every minute, the key in Valkey never ends by itself."""
    from django_redis import get_redis_connection

    from tracking import keys
    from tracking.sampling import LASTS, REFUSED

    place = new_property(hostnames=["shop.example"])
    wrong = [pageview(url=f"https://wrong.example/{number}") for number in range(3)]
    post(web_server, {"property": place.key, "events": wrong[:2]})
    assert [seen.where[-2:] for seen in rows(place, 2)] == ["/1", "/0"]
    client = get_redis_connection("default")
    key = keys.samples(keys.prefix(place.account_id, place.pk), REFUSED)
    for sample in client.zrange(key, 0, -1):
        client.zincrby(key, -1_000 * LASTS, sample)
    assert recent(place).rows == []
    post(web_server, {"property": place.key, "events": wrong[2:]})
    rows(place, 1)
    assert client.zcard(key) == 1


def test_one_event_by_its_id(web_server: str, place: Any) -> None:
    from django.utils import timezone

    from accounts.tenancy import tenant
    from tracking import inspection
    from tracking.drain import drain_all

    post(web_server, pageview(property=place.key))
    [seen] = rows(place, 1)
    with tenant(place.account_id):
        assert inspection.one(place, seen.id, timezone.now()) == seen
        assert not inspection.is_in_postgres(place, seen)
        drain_all()
        assert inspection.is_in_postgres(place, seen)
        for unknown in ("", "x", str(uuid.uuid4()), "\x00"):
            assert inspection.one(place, unknown, timezone.now()) is None


def test_nobody_sees_what_belongs_to_another(
    web_server: str, place: Any, alice: Any, charlie: Any, bob: Any
) -> None:
    from properties.models import Property

    post(web_server, pageview(property=place.key, title="a secret of Alice"))
    [seen] = rows(place, 1)
    path = f"/p/{place.key}/inspector/?event={seen.id}"
    assert "a secret of Alice" in signed_in_as(alice).get(path).content.decode()
    assert signed_in_as(charlie).get(path).status_code == 404
    assert signed_in_as(bob).get(path).status_code == 403
    theirs = Property.objects.of(charlie.memberships.get().account).get()
    own = signed_in_as(charlie).get(f"/p/{theirs.key}/inspector/?event={seen.id}")
    assert own.status_code == 200
    assert "a secret of Alice" not in own.content.decode()
    assert "Not here any more" in own.content.decode()


def test_what_the_product_never_keeps_is_not_shown_either(web_server: str, acme: Any) -> None:
    from tests.people import new_key

    place = new_property(acme, privacy="cookieless")
    watched(web_server, place)
    _, secret = new_key(acme, "events:manage")
    event = pageview(property=place.key, _address="203.0.113.9", _agent="Somebody's browser")
    post(web_server, event, authorization=f"Bearer {secret}")
    post(web_server, event | {"screen": "x"}, authorization=f"Bearer {secret}")
    for seen in rows(place, 2):
        told = json.dumps([seen.received, *seen.columns.values(), seen.visitor])
        assert event["visitor"] not in told
        assert "203.0.113" not in told
        assert "Somebody" not in told


def test_the_number_of_a_payment_card_is_not_shown(web_server: str, place: Any) -> None:
    card = "4111111111111111"
    url = f"https://shop.example/?c={card}"
    post(web_server, pageview(property=place.key, url=url, title=card, props={"n": int(card)}))
    post(web_server, pageview(property=place.key, url=url, name=card, screen="x"))
    for seen in rows(place, 2):
        told = json.dumps([seen.received, seen.where, seen.name, *seen.columns.values()])
        assert card not in told
        assert "1111" in told  # the last four stay


def test_who_asks_not_to_be_known_is_not_known_here_either(web_server: str, acme: Any) -> None:
    place = new_property(acme, signals="cookieless")
    watched(web_server, place)
    event = pageview(property=place.key, user="anna", session=str(uuid.uuid4()))
    post(web_server, event, sec_gpc="1")
    post(web_server, event | {"screen": "x"}, sec_gpc="1")
    for seen in rows(place, 2):
        told = json.dumps([seen.received, *seen.columns.values(), seen.visitor])
        assert event["visitor"] not in told
        assert "anna" not in told


def test_of_an_event_refused_for_privacy_only_the_reason_is_kept() -> None:
    from tracking.directory import Record
    from tracking.intake import Origin
    from tracking.sampling import _refused

    payload, record = pageview(title="private"), Record.of(new_property())
    for reason in ("gpc", "dnt", "consent_denied", "erased"):
        refusal = {"index": 0, "reason": reason, "message": "They asked not to be counted."}
        sample = json.loads(_refused(payload, refusal, record, Origin(address="8.8.8.8"), 5))
        assert sample.keys() == {"id", "at", "verdict", "reason", "field", "message"}
        assert "private" not in str(sample)


# -- bounded, and never in the way -----------------------------------------------------------------


class Heard:
    """A request of a property that was answered."""

    def __init__(self, place: Any, payloads: list[Any]) -> None:
        from tracking.collecting import hear
        from tracking.directory import Record
        from tracking.intake import Origin

        self.payloads, self.origin = payloads, Origin()
        self.hearing = hear(payloads, Record.of(place), self.origin, 1_700_000_000_000)

    def note(self, sampler: Any) -> None:
        verdicts = "a" * len(self.hearing.items)
        sampler.note(self.hearing, self.payloads, verdicts, self.origin, 1_700_000_000_000)


@pytest.fixture
def quiet(settings: Any) -> Iterator[Any]:
    """A sampler of which nothing is pushed: its Valkey is away."""
    from tracking.sampling import Sampler

    settings.BROKER_URL = "redis://127.0.0.1:1/0"
    yield Sampler()


def test_more_than_fits_is_left_out_and_counted(quiet: Any) -> None:
    from tracking.sampling import A_SECOND, REFUSED, SEEN

    place = new_property()
    good = Heard(place, [pageview() for _ in range(150)])
    bad = Heard(place, [{"name": ""} for _ in range(150)])

    async def noted() -> None:
        quiet.watched = frozenset({place.pk})
        good.note(quiet)
        bad.note(quiet)
        assert len(quiet._waiting) == A_SECOND[SEEN] + A_SECOND[REFUSED]
        assert sum(quiet._tallies.values()) == 300 - len(quiet._waiting)
        await quiet.stop()

    in_a_loop(noted())


def test_strangers_cannot_fill_the_memory_with_refusals(quiet: Any) -> None:
    from tracking.sampling import MOST_WAITING, REFUSED_A_SECOND

    heard = [Heard(new_property(), [{"name": "", "x": "y" * 9_000}] * 30) for _ in range(8)]

    async def noted() -> None:
        for each in heard:
            each.note(quiet)
        assert len(quiet._waiting) == REFUSED_A_SECOND < MOST_WAITING
        assert max(len(sample) for _, _, sample in quiet._waiting) < 3_000
        await quiet.stop()

    in_a_loop(noted())


def test_a_cache_that_is_away_costs_samples_and_nothing_else(quiet: Any, capsys: Any) -> None:
    place = new_property()
    heard = Heard(place, [pageview()])

    async def noted() -> None:
        quiet.watched = frozenset({place.pk})
        for _ in range(3):
            heard.note(quiet)
        async with asyncio.timeout(5):
            while quiet.watched:
                await asyncio.sleep(0.01)
        assert quiet._waiting == []
        heard.note(quiet)
        await quiet.stop()

    in_a_loop(noted())
    assert capsys.readouterr().out.count("no samples for the event inspector") == 1


def test_a_fault_of_the_sampler_stays_inside(quiet: Any) -> None:
    place = new_property()
    heard = Heard(place, [pageview()])
    heard.payloads = []  # an index that is not there

    async def noted() -> None:
        quiet.watched = frozenset({place.pk})
        heard.note(quiet)
        await quiet.stop()

    in_a_loop(noted())


def test_the_page_goes_on_with_stored_events_when_the_cache_is_away(
    shop: Any, alice: Any, monkeypatch: Any
) -> None:
    import redis.exceptions

    from tracking import inspection
    from tracking.collecting import collect
    from tracking.drain import drain_all

    collect(shop, [pageview(title="stored")])
    drain_all()

    def away(_name: str) -> Any:
        raise redis.exceptions.ConnectionError("away")

    monkeypatch.setattr(inspection, "get_redis_connection", away)
    page = signed_in_as(alice).get(f"/p/{shop.key}/inspector/").content.decode()
    assert "pageview" in page
    assert "the live samples do not answer" in page


HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "{{ 7*7 }}{% load static %}",
    "a\x00b",
    "lone \ud800 surrogate",
    "‮txt.exe‬",
    10**400,
    2**70,
    {"a": [1, {"b": None}]},
    [[]],
    True,
]


@pytest.mark.parametrize("value", HOSTILE, ids=lambda value: ascii(value)[:20])
def test_hostile_values_are_shown_as_text(web_server: str, alice: Any, value: Any) -> None:
    place = new_property(new_account(alice))
    names = ("name", "url", "visitor", "title", "event_id")
    events = [pageview(**{name: value}) for name in names]
    body = json.dumps({"property": place.key, "events": [*events, value]})
    recent(place)
    answer = post(web_server, body.encode()).json
    refused = len(answer["rejected"])
    if refused:
        until(lambda: len(recent(place, verdict="refused").rows) == refused, "refusals are missing")
    client = signed_in_as(alice)
    for seen in recent(place).rows:
        page = client.get(f"/p/{place.key}/inspector/?event={seen.id}")
        assert page.status_code == 200
        assert "<script>alert" not in page.content.decode()
        assert "<img src=x" not in page.content.decode()


def test_what_is_unseen_in_a_text_is_shown_by_its_number(
    web_server: str, place: Any, alice: Any
) -> None:
    sent, shown = "\u202ecod\u200f", "\\u202ecod\\u200f"
    for fields in ({"title": sent, "props": {sent: sent}}, {"screen": sent}):
        event = pageview(property=place.key, name=sent, **fields)
        post(web_server, json.dumps(event, ensure_ascii=False).encode())
    for seen in rows(place, 2):
        page = signed_in_as(alice).get(f"/p/{place.key}/inspector/?event={seen.id}")
        text = page.content.decode()
        assert text.count(shown) > 3
        assert not re.search("[\u202e\u200f]", text)


def test_a_list_that_did_not_change_is_not_sent_again(shop: Any, alice: Any) -> None:
    client = signed_in_as(alice)
    path = f"/p/{shop.key}/inspector/"
    htmx = {"HX-Request": "true", "HX-Target": "events"}
    part = client.get(path, headers=htmx)
    assert part.status_code == 200
    assert "<html" not in part.content.decode()
    again = re.search(r'hx-get="([^"]+)"', part.content.decode())
    assert again
    same = client.get(again[1].replace("&amp;", "&"), headers=htmx)
    assert (same.status_code, same.content) == (204, b"")
    for odd in ("?verdict=zzz", "?name=%00", "?event=%00", "?name=" + "x" * 900, "?compact=1"):
        assert client.get(path + odd).status_code == 200
