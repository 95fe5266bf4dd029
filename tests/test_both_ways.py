"""The short way and views.py decide the same: made-up requests over both, with equal bytes.

Each kind of property stands twice. One hears every request on the short way, where that takes it,
the other behind a header that the short way leaves alone; answers, ledger and stored rows agree.
"""

import itertools
import json
import random
import uuid
from typing import Any

import pytest

from tests.people import new_property
from tests.test_collector import stream
from tests.test_protocol import BROWSER, UNUSUAL, Connection
from tests.test_store import ledger

REQUESTS = 15  # for each kind of property
SIGNALS = ((), (b"DNT: 1",), (b"Sec-GPC: 1",), (b"DNT: 1", b"Sec-GPC: 1"), (b"DNT: 0",))
ORIGINS = (
    b"https://shop.example",
    b"https://www.shop.example:8443",
    b"https://evil.example",
    b"null",
)
CARD = 4_111_111_111_111_111
NAMES = ("pageview", "pageview", "purchase", "refund", "ping", "click", str(CARD), "", 3)
URLS = (
    "https://shop.example/p?utm_source=x&gclid=abc",
    f"https://shop.example/{CARD}",
    "https://evil.example/",
    "bad",
)
# What an event may say besides; most say nothing wrong.
FIELDS: dict[str, tuple[Any, ...]] = {
    "visitor": ("v-1", 7, str(uuid.UUID(int=1))),
    "consent": ("granted", "granted", "granted", "cookieless", "denied", "", 5, [], {}, True),
    "props": (
        {"transaction_id": "1", "value": "12.5", "items": [{"item_id": CARD}]},
        {"transaction_id": "a", "value": -3},
        {"transaction_id": 0, "value": 2},
        {"items": "x"},
        {"a": CARD},
        [1],
    ),
    "revenue": ({"amount": "5"}, {"amount": True}, {"amount": "1e3", "currency": "usd"}, 5),
    "property": ("AK-ZZZZZZZZ", 5),
    "user": ("42", "null"),
    "tab": ("t-1", []),
}
NO_EVENTS = (None, "x", [], 5)
# What differs between two properties that hear the same.
APART = {"received_at", "time", "visitor_uuid", "tab", "fingerprint"}


def made_up(rng: random.Random) -> Any:
    if rng.random() < 0.05:
        return rng.choice(NO_EVENTS)
    event = {
        "event_id": str(uuid.UUID(int=rng.getrandbits(128), version=4)),
        "name": rng.choice(NAMES),
        "url": rng.choice(URLS),
    }
    said = {field: rng.choice(values) for field, values in FIELDS.items() if rng.random() < 0.3}
    return event | said


def request(place: Any, events: list[Any], is_batch: bool, *headers: bytes) -> bytes:
    batch = {"property": place.key, "events": events}
    body = json.dumps(batch if is_batch else {"property": place.key} | events[0]).encode()
    fields = [field for field in BROWSER if not field.startswith(b"Origin")]
    length = b"Content-Length: %d" % len(body)
    lines = [b"POST /track HTTP/1.1", *fields, *headers, length]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


@pytest.mark.parametrize("strict_origin", [False, True], ids=["open", "strict"])
def test_both_ways_decide_the_same(web_server: str, strict_origin: bool) -> None:
    rng = random.Random(4)
    for privacy, signals in itertools.product(
        ("cookies", "cookieless", "required"), ("ignore", "cookieless", "drop")
    ):
        settings = {"privacy": privacy, "signals": signals, "strict_origin": strict_origin}
        places = [new_property(hostnames=["shop.example"], **settings) for _ in range(2)]
        ways = [Connection(web_server) for _ in places]
        for _ in range(REQUESTS):
            events = [made_up(rng) for _ in range(rng.choice((0, 1, 1, 1, 3)))]
            is_batch = len(events) != 1 or not isinstance(events[0], dict) or rng.random() < 0.3
            headers = [*rng.choice(SIGNALS), b"Origin: " + rng.choice(ORIGINS)]
            answers = []
            for way, place, unusual in zip(ways, places, ((), (UNUSUAL,)), strict=True):
                way.send(request(place, events, is_batch, *headers, *unusual))
                status, told, body = way.answer()
                answers.append((status, told | {"date": ""}, body))
            assert answers[0] == answers[1], (settings, headers, events)
        for way in ways:
            way.socket.close()
        assert ledger(places[0]) == ledger(places[1]), settings
        short, long = (
            [{name: row[name] for name in row.keys() - APART} for row in stream(place)]
            for place in places
        )
        assert short == long, settings
