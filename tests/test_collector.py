"""The collector as senders see it: real gunicorn, real Valkey, every answer of the contract."""

import gzip
import json
import socket
import urllib.error
import urllib.request
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest

from tests.people import new_account, new_key, new_property, new_user


@dataclass
class Got:
    status: int
    body: bytes
    headers: Any

    @property
    def json(self) -> Any:
        return json.loads(self.body)


CHROME = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/120.0.0.0 Safari/537.36"


def fetch(url: str, method: str = "GET", body: bytes | None = None, **headers: str) -> Got:
    headers = {"user_agent": CHROME} | headers  # urllib's own is a listed crawler's
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(url, data=body, method=method, headers=named)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return Got(answer.status, answer.read(), answer.headers)
    except urllib.error.HTTPError as error:
        return Got(error.code, error.read(), error.headers)


def post(web: str, data: Any, **headers: str) -> Got:
    body = data if isinstance(data, bytes) else json.dumps(data).encode()
    return fetch(f"{web}/track", "POST", body, **({"content_type": "text/plain"} | headers))


def pageview(**fields: Any) -> dict[str, Any]:
    ids = {"event_id": str(uuid.uuid4()), "visitor": str(uuid.uuid4())}
    return {"name": "pageview", "url": "https://shop.example/p"} | ids | fields


@pytest.fixture(scope="module")
def place() -> Any:
    return new_property()


def test_one_event(web_server: str, place: Any) -> None:
    got = post(web_server, pageview(property=place.key))
    assert (got.status, got.json) == (202, {"accepted": 1, "duplicate": 0, "rejected": []})
    assert got.headers["access-control-allow-origin"] == "*"
    assert "set-cookie" not in got.headers


def test_a_batch_answers_for_each(web_server: str, place: Any) -> None:
    good = pageview()
    batch = [good, pageview(screen="x"), good, {"name": "signup"}, None]
    got = post(web_server, {"property": place.key, "events": batch})
    assert got.status == 202
    assert (got.json["accepted"], got.json["duplicate"]) == (2, 1)
    assert [(r["index"], r["reason"], r.get("field")) for r in got.json["rejected"]] == [
        (1, "invalid", "screen"),
        (4, "shape", None),
    ]
    ids = got.json["event_ids"]
    assert [bool(event_id) for event_id in ids] == [True, False, True, True, False]


def test_a_single_refused_event_is_422(web_server: str, place: Any) -> None:
    got = post(web_server, pageview(property=place.key, time="yesterday"))
    assert got.status == 422
    assert got.json["rejected"][0]["reason"] == "timestamp"


def test_a_batch_of_refused_events_is_202(web_server: str, place: Any) -> None:
    got = post(web_server, {"property": place.key, "events": [{"name": ""}]})
    assert (got.status, got.json["accepted"]) == (202, 0)


def test_an_empty_batch_is_fine(web_server: str, place: Any) -> None:
    for named in ({"property": place.key}, {}):
        got = post(web_server, {**named, "events": []})
        assert (got.status, got.json) == (202, {"accepted": 0, "duplicate": 0, "rejected": []})


HUGE = 10**400  # JSON knows no limit; orjson does, and leaves it to the slow parser
DEEP = "[" * 980 + "]" * 980


@pytest.mark.parametrize(
    ("reason", "fields"),
    [
        ("timestamp", {"time": HUGE}),
        ("number_range", {"engaged_ms": HUGE}),
        ("number_range", {"props": {"n": HUGE}}),
        ("number_range", {"revenue": {"amount": HUGE}}),
        ("depth", {"unread": "DEEP"}),
    ],
    ids=["time", "engaged_ms", "props", "revenue", "depth"],
)
def test_numbers_and_depths_beyond_what_python_takes_are_refused(
    web_server: str, place: Any, reason: str, fields: dict[str, Any]
) -> None:
    batch = json.dumps({"property": place.key, "events": [pageview(**fields), pageview()]})
    got = post(web_server, batch.replace('"DEEP"', DEEP).encode())
    assert (got.status, got.json["accepted"]) == (202, 1)
    assert [(r["index"], r["reason"]) for r in got.json["rejected"]] == [(0, reason)]


def test_a_sending_time_that_cannot_be_read_corrects_nothing(web_server: str, place: Any) -> None:
    got = post(web_server, {"property": place.key, "sent_at": HUGE, "events": [pageview()]})
    assert (got.status, got.json["accepted"]) == (202, 1)


def test_one_request_one_property(web_server: str, place: Any) -> None:
    other = new_property()
    events = [pageview(property=place.key), pageview(property=other.key)]
    got = post(web_server, {"property": place.key, "events": events})
    assert [refusal["reason"] for refusal in got.json["rejected"]] == ["mixed_property"]


KEYS = ["AK-NOTTHERE", "{1:1}", "AK-\r\nX", "*", "a" * 10_000, "AK-NÖTTHERE", 5, {"select": 1}]
KEYS += ["AK-NULL\x00", "AK-\ud800", ""]  # what Postgres cannot be asked for


@pytest.mark.parametrize("key", KEYS, ids=[ascii(key)[:14] for key in KEYS])
def test_an_unknown_property_is_401(web_server: str, key: Any) -> None:
    got = post(web_server, pageview(property=key))
    assert (got.status, got.json["error"]["code"]) == (401, "unknown_property")


@pytest.mark.parametrize("change", ["{} ", " {}", "lower"])
def test_a_key_must_be_exact(web_server: str, place: Any, change: str) -> None:
    key = place.key.lower() if change == "lower" else change.format(place.key)
    assert post(web_server, pageview(property=key)).status == 401


def test_faults_of_the_envelope(web_server: str, place: Any) -> None:
    from tracking.envelope import MAX_BODY

    event = pageview(property=place.key)
    line = json.dumps(event).encode()
    assert post(web_server, b"").json["error"]["code"] == "empty"
    assert post(web_server, b"nope").status == 400
    assert post(web_server, {"name": "x"}).json["error"]["field"] == "property"
    assert post(web_server, line, content_type="multipart/form-data").status == 415
    assert post(web_server, line, content_encoding="br").status == 415
    assert post(web_server, b" " * (MAX_BODY + 1)).status == 413
    assert post(web_server, gzip.compress(line), content_encoding="gzip").status == 202
    exactly = line[:-1] + b" " * (MAX_BODY - len(line)) + b"}"
    assert len(exactly) == MAX_BODY
    assert post(web_server, exactly).json["duplicate"] == 1


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PROPFIND"])
def test_other_methods_are_405(web_server: str, method: str) -> None:
    got = fetch(f"{web_server}/track", method, x_http_method_override="POST")
    assert (got.status, got.headers["allow"]) == (405, "POST, OPTIONS")


def test_a_preflight_allows_what_trackers_send(web_server: str) -> None:
    got = fetch(f"{web_server}/track", "OPTIONS", origin="https://shop.example")
    assert got.status == 204
    assert got.headers["access-control-max-age"] == "86400"
    assert "access-control-allow-credentials" not in got.headers


def raw(web: str, request: bytes, end: float = 0) -> bytes:
    """Bytes in, bytes out, over a connection of our own."""
    address = urlsplit(web)
    with socket.create_connection((address.hostname, address.port), timeout=15) as connection:
        connection.sendall(request)
        answer = b""
        try:
            while part := connection.recv(65_536):
                answer += part
                if b"\r\n\r\n" in answer and end == 0:
                    break
        except TimeoutError:
            pass
        return answer


def test_a_body_without_a_length_is_411(web_server: str) -> None:
    answer = raw(web_server, b"POST /track HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 411")


@pytest.mark.parametrize(
    "headers",
    [
        b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: xchunked\r\n",
        b"Content-Length: 2\r\nContent-Length: 3\r\n",
        b"Content-Length: -1\r\n",
    ],
)
def test_smuggled_lengths_are_refused(web_server: str, headers: bytes) -> None:
    answer = raw(web_server, b"POST /track HTTP/1.1\r\nHost: x\r\n" + headers + b"\r\n{}")
    assert answer == b"" or answer.split(b" ")[1] in (b"400", b"411", b"413", b"501")


def test_a_connection_goes_on_after_a_refusal(web_server: str, place: Any) -> None:
    """Pipelining and keep-alive: the next request on the connection is understood right."""
    line = json.dumps(pageview(property=place.key)).encode()
    head = b"POST /track HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n"
    first = head % 4 + b"\r\nnope"
    second = head % len(line) + b"Connection: close\r\n\r\n" + line
    answer = raw(web_server, first + second, end=1)
    assert answer.startswith(b"HTTP/1.1 400")
    assert b"HTTP/1.1 202" in answer


def test_old_events_need_a_key_that_may_manage_events(web_server: str) -> None:
    account = new_account(new_user("owner"))
    place = new_property(account)
    old = pageview(property=place.key, time="2011-01-01T00:00:00Z")
    assert post(web_server, old).json["rejected"][0]["reason"] == "too_old"
    _, may = new_key(account, "events:manage")
    assert post(web_server, old, authorization=f"Bearer {may}").status == 202
    _, may_not = new_key(account, "events:view")
    assert post(web_server, old, authorization=f"Bearer {may_not}").status == 403
    assert post(web_server, old, authorization="Bearer ak_nonsense").status == 401
    _, elsewhere = new_key(new_account(new_user("charlie")), "events:manage")
    assert post(web_server, old, authorization=f"Bearer {elsewhere}").status == 403


def test_a_key_is_refused_where_the_property_has_just_gone(web_server: str) -> None:
    """The collector still has the property in memory; the key is asked about in Postgres."""
    account = new_account(new_user("owner"))
    place = new_property(account)
    event, (_, key) = pageview(property=place.key), new_key(account, "events:manage")
    assert post(web_server, event, authorization=f"Bearer {key}").status == 202
    type(place).objects.of(account).filter(pk=place.pk).delete()
    assert post(web_server, event, authorization=f"Bearer {key}").status in (403, 404, 422)


def hit(**fields: str) -> str:
    return urlencode(
        {
            "trackr_event_type": "trackr_pageloaded_event",
            "trackr_page_loadtime": "120",
            "config_screen_width": "1440",
            "config_screen_height": "900",
            "config_cookies_session": str(uuid.uuid4()),
            "config_cookies_v_visitor": str(uuid.uuid4()),
            "config_cookies_visitor": "undefined",
            "config_tab": str(uuid.uuid4()),
            "hostname": "shop.example",
            "path": "/p/1",
            "hash": "",
            "args_utm_source": "news",
            "event_id": str(uuid.uuid4()),
        }
        | fields
    )


def stream(place: Any) -> list[dict[str, Any]]:
    from tracking import keys
    from tracking.event import read_row
    from tracking.store import events_client

    prefix = keys.prefix(place.account_id, place.pk)
    rows = events_client().xrange(keys.stream(prefix))
    return [read_row(fields[b"d"]) for _, fields in rows]


def test_the_pixel_takes_the_first_trackers_hits(web_server: str) -> None:
    account = new_account(new_user("owner"))
    place = new_property(account, hostnames=["shop.example"])
    click = {
        "trackr_event_type": "trackr_element_event",
        "trackr_element_event": "keyup",
        "trackr_element_label": "Password",
        "trackr_element_position": "1",
        "trackr_element_type": "field",
        "trackr_element_value": "hunter2",
        "trackr_element_char": "104",
    }
    for query in (hit(config_account=account.slug), hit(config_account=place.key, **click)):
        got = fetch(f"{web_server}/track/it?{query}")
        assert (got.status, len(got.body), got.headers["content-type"]) == (200, 43, "image/gif")
        assert "x-aktivat-reason" not in got.headers
    page, element = stream(place)
    assert (page["name"], page["page"], page["source"], page["screen"], page["load_ms"]) == (
        "pageview", "/p/1", "news", "1440x900", "120",
    )  # fmt: skip
    assert page["user"] == ""
    assert element["name"] == "element"
    assert json.loads(element["props"]) == {
        "event": "keyup", "label": "Password", "position": "1", "type": "field",
    }  # fmt: skip
    assert "hunter2" not in str(element)


@pytest.mark.parametrize("measured", ["NaN", "-5", "1447770000000"])
def test_a_load_time_that_cannot_be_costs_no_pageview(web_server: str, measured: str) -> None:
    place = new_property(hostnames=["shop.example"])
    query = hit(config_account=place.key, trackr_page_loadtime=measured)
    assert "x-aktivat-reason" not in fetch(f"{web_server}/track/it?{query}").headers
    assert [event["load_ms"] for event in stream(place)] == [None]


@pytest.mark.parametrize(
    "change", [{"config_account": "nobody"}, {"config_account": "AK-22222222"}]
)
def test_the_pixel_says_why_in_a_header(web_server: str, change: dict[str, str]) -> None:
    got = fetch(f"{web_server}/track/it?{hit(**change)}")
    assert (got.status, len(got.body)) == (200, 43)
    assert got.headers["x-aktivat-reason"] == "unknown_property"


def test_a_slug_needs_one_property_that_fits_the_host(web_server: str) -> None:
    account = new_account(new_user("owner"))
    for _ in range(2):
        new_property(account, hostnames=["shop.example"])
    got = fetch(f"{web_server}/track/it?{hit(config_account=account.slug)}")
    assert got.headers["x-aktivat-reason"] == "unknown_property"


def test_a_long_pixel_is_refused(web_server: str) -> None:
    assert fetch(f"{web_server}/track/it?{'a=1&' * 600}").status in (200, 414)
    assert fetch(f"{web_server}/track/it?x={'a' * 17_000}").status in (400, 414, 431)


def test_the_tracker_is_revalidated_by_name(web_server: str) -> None:
    got = fetch(f"{web_server}/js/trackr.js")
    assert got.status == 200
    assert got.headers["content-type"].startswith("text/javascript")
    etag = got.headers["etag"]
    for known in (etag, f"W/{etag}", f'"other", {etag}'):
        again = fetch(f"{web_server}/js/trackr.js", if_none_match=known)
        assert (again.status, again.body) == (304, b"")
    assert fetch(f"{web_server}/js/trackr.js", if_none_match=f"{etag[:-1]}x").status == 200


def test_a_forged_address_is_not_believed(web_server: str) -> None:
    place = new_property(excluded_addresses=["203.0.113.7/32"])
    got = post(web_server, pageview(property=place.key), x_forwarded_for="203.0.113.7")
    assert got.json["accepted"] == 1


def test_what_names_no_property_is_counted_for_the_instance(web_server: str) -> None:
    from tracking import keys
    from tracking.store import events_client

    def counted(field: str) -> int:
        return sum(
            int(events_client().hget(key, field) or 0)
            for key in events_client().scan_iter(match=f"{keys.INSTANCE}:l:*")
        )

    before = counted("r.malformed"), counted("r.unknown_property")
    post(web_server, b"nope")
    post(web_server, {"property": "AK-NOTTHERE", "events": [{}, {}, {}]})
    assert (counted("r.malformed"), counted("r.unknown_property")) == (before[0] + 1, before[1] + 3)


def test_many_at_once_lose_and_double_nothing(web_server: str) -> None:
    """Requests that share calls get their own verdicts."""
    from tests.test_store import ledger

    place = new_property()
    events = [pageview(property=place.key, title=str(i)) for i in range(200)]
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda event: post(web_server, event).json, events + events))
    assert sum(answer["accepted"] for answer in answers) == 200
    assert sum(answer["duplicate"] for answer in answers) == 200
    assert ledger(place) == {"accepted": 200, "duplicate": 200}
    assert len(stream(place)) == 200


def test_a_slow_body_is_408(web_server: str, place: Any) -> None:
    answer = raw(web_server, b"POST /track HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{")
    assert answer.startswith(b"HTTP/1.1 408")
