"""Limits of senders: buckets that fill again, whom they are shared by, and what 429 says."""

import json
import random
import uuid
from collections.abc import Callable
from typing import Any

import pytest

from tests.people import new_key, new_property


def buckets(most: int = 100) -> Any:
    from properties.buckets import Buckets

    return Buckets(most)


def limit(rate: float, burst: float) -> Any:
    from properties.buckets import Limit

    return Limit(rate, burst)


def test_a_bucket_holds_a_burst_and_fills_again() -> None:
    told, of = buckets(), limit(10, 30)
    for _ in range(30):
        assert told.wait("a", 1, of, 100.0) == 0
        told.take("a", 1, of, 100.0)
    assert told.wait("a", 1, of, 100.0) == pytest.approx(0.1)
    assert told.wait("a", 5, of, 100.0) == pytest.approx(0.5)
    assert told.wait("a", 1, of, 100.1) == pytest.approx(0, abs=1e-9)
    assert told.wait("b", 30, of, 100.0) == 0
    assert told.wait("a", 30, of, 103.1) == 0


def test_looking_and_taking_in_one_step_is_the_same() -> None:
    """Against the two steps, with many senders, so that they change generations."""
    dice, of = random.Random(7), limit(10, 30)
    one, two, now = buckets(8), buckets(8), 0.0
    for _ in range(5_000):
        now += dice.random() / 5
        name, events = dice.randrange(12), dice.choice((1, 1, 1, 5, 100))
        waits = two.wait(name, events, of, now)
        if not waits:
            two.take(name, events, of, now)
        assert one.enter(name, events, of, now) == pytest.approx(waits)


def test_what_is_larger_than_the_bucket_comes_when_that_is_full_and_is_paid_in_full() -> None:
    told, of = buckets(), limit(10, 30)
    assert told.wait("a", 1_000, of, 0.0) == 0
    told.take("a", 1_000, of, 0.0)
    assert told.wait("a", 1, of, 0.0) == pytest.approx(97.1)
    assert told.wait("a", 1_000, of, 99.0) == pytest.approx(1.0)
    assert told.wait("a", 1_000, of, 100.0) == 0


def test_no_more_senders_are_remembered_than_there_is_room_for() -> None:
    told, of = buckets(most=4), limit(1, 1)
    for name in ("b", "a", "c", "a", "d"):  # b is the one heard of longest ago
        told.take(name, 1, of, 0.0)
    assert [told.wait(name, 1, of, 0.0) for name in "abcd"] == [2, 0, 1, 1]
    for number in range(10_000):
        told.enter(number, 1, of, 0.0)
        assert told.wait(number, 1, of, 0.0) == 1
        assert len(told) <= 4


@pytest.mark.parametrize(
    ("address", "home"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("fe80::1%eth0", "fe80::/64"),
    ],
)
def test_an_ipv6_address_is_its_network(address: str, home: str) -> None:
    from accounts.addresses import household

    assert household(address) == home


def limits(address: tuple[int, int] = (0, 0), key: tuple[int, int] = (0, 0)) -> Any:
    from tracking.limits import Limits

    return Limits(limit(*address), limit(*key))


def record(**changes: Any) -> Any:
    from tests.test_intake import record

    return record(**changes)


HERE, THERE = "203.0.113.1", "203.0.113.2"


def test_address_and_property_are_charged_alike_and_either_can_be_empty() -> None:
    both = limits(address=(1, 5), key=(1, 8))
    assert both.admit(HERE, record(), 5, 0.0) == 0
    assert both.admit(HERE, record(), 1, 0.0) == 1
    assert both.admit(THERE, record(), 4, 0.0) == 1  # the property has room for three
    assert both.admit("", record(), 3, 0.0) == 0  # no address, or an API key
    assert both.admit(THERE, record(property_id=3), 5, 0.0) == 0  # and it was not charged for four
    assert both.admit(HERE, record(property_id=4), 1, 0.0) == 1


def test_what_is_given_back_was_never_charged() -> None:
    both = limits(address=(1, 5), key=(1, 5))
    for _ in range(3):
        assert both.admit(HERE, record(), 5, 0.0) == 0
        both.give_back(HERE, record(), 5, 0.0)
    assert both.admit(HERE, record(), 5, 0.0) == 0
    assert both.admit(HERE, record(), 1, 0.0) == 1


def test_zero_switches_a_limit_off() -> None:
    none = limits()
    for _ in range(10):
        assert none.admit(HERE, record(), 10**9, 0.0) == 0
    none.give_back(HERE, record(), 10**9, 0.0)
    assert none.wait_to_read(HERE, False, 0.0) == 0


def test_a_limit_below_zero_is_none() -> None:
    odd = limits(address=(-5, 3), key=(-1, -1))
    assert [odd.admit(HERE, record(), 100, 0.0) for _ in range(3)] == [0, 0, 0]


def test_a_propertys_own_limit_takes_the_place_of_the_installations() -> None:
    told = limits(key=(10, 40))
    own = record(rate_limit=2)  # and holds as many seconds of it
    assert told.admit("", own, 8, 0.0) == 0
    assert told.admit("", own, 1, 0.0) == 0.5
    told = limits()
    assert told.admit("", own, 20, 0.0) == 0
    assert told.admit("", own, 1, 0.0) == 0.5
    told.give_back("", own, 1, 0.0)
    assert told.admit("", own, 1, 0.0) == 0
    more = record(rate_limit=100)
    told = limits(key=(10, 40))
    assert told.admit("", more, 399, 0.0) == 0
    assert told.admit("", more, 1, 0.0) == 0


def test_an_empty_batch_is_a_request() -> None:
    told = limits(key=(1, 2))
    for _ in range(2):
        assert told.admit("", record(), 0, 0.0) == 0
    assert told.admit("", record(), 1, 0.0) == 1


def test_what_cannot_be_read_is_charged_and_a_refused_key_apart() -> None:
    told = limits(address=(1, 2))
    for _ in range(2):
        told.charge_unread(HERE, True, 0.0)
    assert told.wait_to_read(HERE, True, 0.0) == 1
    assert told.wait_to_read(HERE, False, 0.0) == 0
    told.charge_unread(HERE, False, 0.0)
    assert told.admit(HERE, record(), 1, 0.0) == 0
    assert told.wait_to_read(HERE, False, 0.0) == 1


# -- over HTTP -----------------------------------------------------------------------------------


def counted(code: str) -> int:
    from tracking import keys
    from tracking.store import events_client

    client = events_client()
    found = client.scan_iter(match=f"{keys.INSTANCE}:l:*")
    return sum(int(client.hget(key, code) or 0) for key in found)


def test_beyond_its_limit_a_property_hears_429_on_both_ways(web_server: str) -> None:
    from tests.test_protocol import UNUSUAL, Connection, event, request
    from tests.test_store import ledger

    place = new_property(rate_limit=1)  # and ten at once, where the installation has no limit
    connection = Connection(web_server)
    before = counted("r.rate_limited")
    connection.send(request(place, events=[event(place) for _ in range(9)]))
    assert connection.answer()[0] == 202
    statuses, limited = [], []
    for number in range(10):
        connection.send(request(place, *([UNUSUAL] if number % 2 else [])))
        status, headers, body = connection.answer()
        statuses.append(status)
        if status == 429:
            limited.append((headers["retry-after"], body["error"]["code"]))
    connection.socket.close()
    assert statuses[0] == 202
    assert statuses.count(429) >= 7  # a second or two may have passed
    assert set(limited) == {("1", "rate_limited")}
    assert counted("r.rate_limited") - before == len(limited)
    assert ledger(place) == {"accepted": 9 + statuses.count(202)}
    elsewhere = Connection(web_server)
    elsewhere.send(request(new_property()))
    assert elsewhere.answer()[0] == 202
    elsewhere.socket.close()


@pytest.fixture
def one_each(monkeypatch: pytest.MonkeyPatch) -> Any:
    """One event an address in a hundred seconds."""
    from tracking import views

    told = limits(address=(1, 1))
    monkeypatch.setattr(views, "limits", lambda: told)
    monkeypatch.setattr(views.time, "monotonic", lambda: 0.0)
    return told


def asked(
    path: str, body: Any = None, address: str = "203.0.113.1", **headers: str
) -> tuple[int, dict[bytes, bytes], bytes]:
    """What the collector answers to one request, without a server."""
    from tests.test_gather import in_a_loop
    from tracking.views import collector

    data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    path, _, query = path.partition("?")
    named = {"content-length": str(len(data)), **headers}
    scope = {
        "type": "http",
        "method": "GET" if body is None else "POST",
        "path": path,
        "query_string": query.encode(),
        "headers": [(name.encode(), value.encode()) for name, value in named.items()],
        "client": (address, 1),
    }
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": data}

    async def send(message: Any) -> None:
        sent.append(message)

    in_a_loop(collector(scope, receive, send))
    return sent[0]["status"], dict(sent[0]["headers"]), sent[1]["body"]


def pageview(place: Any) -> dict[str, Any]:
    return {"property": place.key, "name": "pageview", "url": "https://a.example/"}


@pytest.mark.parametrize(
    "first",
    [
        lambda place: asked("/track", pageview(place)),
        lambda place: asked("/track", {"property": place.key, "events": []}),
        lambda place: asked(f"/track/it?config_account={place.key}"),
        lambda place: asked("/track", b"no JSON"),
        lambda place: asked("/track", {"property": "AK-NOTTHERE"}),
        lambda place: asked("/track", b"{}", **{"content-type": "image/gif"}),
    ],
    ids=["event", "empty batch", "pixel", "no JSON", "unknown", "type"],
)
def test_every_request_counts_for_its_address(one_each: Any, first: Callable[[Any], Any]) -> None:
    place = new_property()
    assert first(place)[0] != 429
    for again in (asked("/track", pageview(place)), asked("/track/it?config_account=x")):
        status, headers, body = again
        assert (status, headers[b"retry-after"]) == (429, b"1")
        assert json.loads(body)["error"]["code"] == "rate_limited"
    assert asked("/js/trackr.js")[0] == 200
    assert asked("/track", pageview(place), address="203.0.113.2")[0] == 202


def test_inventing_names_of_configurations_counts_for_an_address(one_each: Any) -> None:
    """Each is a question to Postgres; what is in memory is answered to anybody."""
    known = new_property(hostnames=["*.a.example"])
    slug = known.account.slug
    assert asked(f"/js/{slug}.json?host=1.a.example")[0] == 200
    for unknown in (f"AK-{uuid.uuid4().hex[:8]}.json", f"{slug}.json?host=2.a.example"):
        status, headers, body = asked(f"/js/{unknown}")
        assert (status, headers[b"retry-after"]) == (429, b"1")
        assert headers[b"cache-control"] == b"no-store"
        assert json.loads(body)["error"]["code"] == "rate_limited"
    assert asked(f"/js/{slug}.json?host=1.a.example")[0] == 200
    assert asked(f"/js/{slug}.json?host=2.a.example", address="203.0.113.2")[0] == 200


def test_the_address_is_that_which_a_trusted_proxy_names(one_each: Any, settings: Any) -> None:
    from ipaddress import ip_network

    place = new_property()

    def through(proxy: str, visitor: str) -> int:
        named = {"x-forwarded-for": visitor}
        return asked("/track", pageview(place), address=proxy, **named)[0]

    settings.TRUSTED_PROXIES = [ip_network("10.0.0.0/8")]
    assert [through("10.0.0.1", f"203.0.113.{n}") for n in (1, 2, 1)] == [202, 202, 429]
    assert through("198.51.100.1", "203.0.113.3") == 202
    assert through("198.51.100.1", "203.0.113.4") == 429  # forged: it is one and the same sender


def test_a_key_that_may_manage_events_is_not_limited_by_address(one_each: Any) -> None:
    place = new_property()
    secrets = [new_key(place.account, right)[1] for right in ("events:manage", "audience:view")]
    may, may_not = ({"authorization": f"Bearer {secret}"} for secret in secrets)
    for _ in range(3):
        one_each.charge_unread("203.0.113.1", False, 0.0)
        event = pageview(place) | {"event_id": str(uuid.uuid4())}
        assert asked("/track", event, **may)[0] == 202
    assert asked("/track", pageview(place), **may_not)[0] == 403
    assert asked("/track", pageview(place), **may_not)[0] == 429


def test_retry_after_is_whole_seconds_rounded_up() -> None:
    from tracking.limits import too_many

    assert [too_many(seconds).retry_after for seconds in (0.01, 1.0, 1.2)] == [1, 1, 2]
