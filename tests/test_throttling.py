"""How often the API may be asked: the same count in every process, and never none."""

from typing import Any

import pytest

from tests.people import fresh, new_key, signed_in_as, with_key


@pytest.fixture(autouse=True)
def five_at_once(settings: Any) -> None:
    """And one a minute, so that no test meets the second request of the next second."""
    settings.API_RATE, settings.API_BURST = 1 / 60, 5


@pytest.fixture
def address(shop: Any) -> str:
    return f"/api/v1/properties/{shop.key}"


def statuses(client: Any, address: str, times: int = 6, **headers: str) -> list[int]:
    return [client.get(address, **headers).status_code for _ in range(times)]


def test_a_key_may_ask_so_often_and_hears_how_often(acme: Any, address: str) -> None:
    _, secret = new_key(acme, "property:view")
    answers = [with_key(secret).get(address) for _ in range(6)]
    assert [answer.status_code for answer in answers] == [200] * 5 + [429]
    assert [answer.headers["RateLimit-Remaining"] for answer in answers] == [*"432100"[:6]]
    assert {answer.headers["RateLimit-Limit"] for answer in answers} == {"5"}
    assert {answer.headers["RateLimit-Policy"] for answer in answers} == {"5;w=300"}
    assert answers[0].headers["RateLimit-Reset"] == "60"
    refused = answers[-1]
    assert refused.json()["error"]["code"] == "rate_limited"
    assert 1 <= int(refused.headers["Retry-After"]) <= 60
    assert 240 < int(refused.headers["RateLimit-Reset"]) <= 300


def test_each_key_and_user_has_a_bucket_of_its_own(acme: Any, address: str, alice: Any) -> None:
    for _ in range(2):
        _, secret = new_key(acme, "property:view")
        assert statuses(with_key(secret), address) == [200] * 5 + [429]
    assert statuses(signed_in_as(alice), address) == [200] * 5 + [429]


def test_refusals_count_too(acme: Any, address: str) -> None:
    """Whatever is wrong with them: the right, the parameter, the type that is asked for."""
    _, secret = new_key(acme, "audience:view")
    program = with_key(secret)
    asked = [address, f"{address}?fields=1", f"{address}/nothing", f"{address}/goals"]
    found = [program.get(path).status_code for path in asked]
    assert found == [403, 400, 404, 403]
    # The third named no view: whom would it be charged to?
    assert statuses(program, address, 3, HTTP_ACCEPT="text/xml") == [406, 406, 429]


def test_nobody_is_counted_by_address(address: str) -> None:
    nobody = signed_in_as(None)
    here = {"REMOTE_ADDR": "192.0.2.1"}
    wrong = with_key(fresh("ak_wrong"))
    assert [client.get(address, **here).status_code for client in [nobody, wrong] * 3] == [
        401, 401, 401, 401, 401, 429,
    ]  # fmt: skip
    assert nobody.get(address, REMOTE_ADDR="192.0.2.2").status_code == 401


def test_an_ipv6_address_counts_with_its_network(address: str) -> None:
    nobody = signed_in_as(None)
    found = [
        nobody.get(address, REMOTE_ADDR=f"2001:db8:7:7::{number}").status_code
        for number in range(6)
    ]
    assert found == [401] * 5 + [429]


def test_a_forged_header_brings_no_other_address(address: str) -> None:
    nobody = signed_in_as(None)
    found = [
        nobody.get(
            address, REMOTE_ADDR="192.0.2.3", HTTP_X_FORWARDED_FOR=f"198.51.100.{number}"
        ).status_code
        for number in range(6)
    ]
    assert found == [401] * 5 + [429]


def test_a_right_key_is_not_held_up_by_its_neighbours(acme: Any, address: str) -> None:
    there = {"REMOTE_ADDR": "192.0.2.4"}
    assert statuses(with_key(fresh("ak_wrong")), address, **there)[-1] == 429
    _, secret = new_key(acme, "property:view")
    assert with_key(secret).get(address, **there).status_code == 200


def test_the_schema_is_limited_too() -> None:
    found = statuses(signed_in_as(None), "/api/docs/", REMOTE_ADDR="192.0.2.5")
    assert found == [200] * 5 + [429]


def test_processes_share_a_bucket_and_the_count_is_exact() -> None:
    """Four that take at once get what one would get."""
    from concurrent.futures import ThreadPoolExecutor

    from properties.buckets import Limit, SharedBuckets

    of, name = Limit(1 / 3600, 100), fresh("sender")
    processes = [SharedBuckets("test") for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda n: processes[n % 4].enter(name, of, 0.0), range(200)))
    assert sorted(charge.left for charge in found if not charge.wait) == list(range(100))
    assert sum(charge.wait > 0 for charge in found) == 100


def test_while_the_cache_is_away_each_process_counts_for_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And does not ask it again for some seconds, each of which could cost its timeout."""
    import redis

    from properties import buckets

    tries = []

    def away(alias: str) -> redis.Redis:
        tries.append(alias)
        return redis.Redis(port=1, socket_connect_timeout=0.2)

    of, name = buckets.Limit(1 / 60, 5), fresh("sender")
    told = buckets.SharedBuckets("test")
    with monkeypatch.context() as patched:
        patched.setattr(buckets, "get_redis_connection", away)
        found = [told.enter(name, of, 100.0 + n / 1000) for n in range(6)]
        assert [charge.left for charge in found] == [4, 3, 2, 1, 0, 0]
        assert [bool(charge.wait) for charge in found] == [False] * 5 + [True]
        assert len(tries) == 1
    assert told.enter(name, of, 100.0 + buckets.BREAK + 1).left == 4


def test_zero_is_no_limit(settings: Any, acme: Any, address: str) -> None:
    settings.API_RATE = 0
    _, secret = new_key(acme, "property:view")
    program = with_key(secret)
    assert statuses(program, address, 8) == [200] * 8
    assert "RateLimit-Limit" not in program.get(address).headers
