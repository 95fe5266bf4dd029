"""Bad input that nobody has thought of: mutations of the corpus, and payloads made from the words
of the protocol with values that do not belong there.

In: a random.Random, which decides everything. Out: bytes. Called by `make fuzz`.
"""

import json
from random import Random
from typing import Any
from urllib.parse import quote, quote_from_bytes

FIELDS = (
    "property", "name", "event_id", "visitor", "session", "tab", "user", "time", "url", "referrer",
    "title", "screen", "language", "engaged_ms", "scroll", "load_ms", "props", "revenue", "state",
    "next_ms", "consent", "sent_at", "events", "_address", "_agent", "unknown", "",
)  # fmt: skip
NAMES = (
    "pageview", "engagement", "ping", "element", "purchase", "add_to_cart", "view_item", "refund",
    "view_item_list", "begin_checkout", "events_lost", "exposure", "conversion", "loginUser",
)  # fmt: skip
PROPS = (
    "items", "item_id", "item_name", "price", "quantity", "currency", "value", "transaction_id",
    "tax", "shipping", "coupon", "discount", "index", "item_list_id", "amount", "a", "__proto__",
)  # fmt: skip
PARAMETERS = (
    "trackr_event_type", "config_account", "hostname", "path", "hash", "event_id", "url", "time",
    "config_cookies_v_visitor", "config_cookies_visitor", "config_cookies_session", "config_tab",
    "config_screen_width", "config_screen_height", "trackr_page_loadtime", "trackr_visit_time",
    "args_utm_source", "args_", "props_a", "props_", "trackr_element_label", "referrer", "title",
    "language", "state", "next_ms", "engaged_ms", "scroll", "consent", "name", "x",
)  # fmt: skip
KINDS = (
    "trackr_pageloaded_event", "trackr_visitDuration_event", "trackr_element_event",
    "trackr_loginUser_event", "trackr__event", "ping", "pageview", "",
)  # fmt: skip
TEXTS = (
    "", " ", "x", "x" * 201, "x" * 9_000, "\0", "a\0b", "\ud800", "\udfff\ud800", "\u202e",
    "\ufeff",
    "\u0130", "ß", "ẞ", "Ⅷ", "١٢", "\u0301" * 300, "\U0001f468\u200d\U0001f469", "<script>",
    "\\N", "\t",
    "\r\n", "\\", "NaN", "null", "undefined", "true", "-0", "1e400", "0x1", "1_000", "12,50",
    "https://shop.example/", "https://shop.example", "https://xn--/", "https://[::1]/",
    "https://[::",
    "http://shop.example:99999/", "https://é.example/", "https://ß.example/", "https://\u3002/",
    "HTTPS://SHOP.EXAMPLE/?utm_source=%ff&utm_medium=%00", "https://a..b/", "//shop.example/x",
    "https://user:pw@shop.example/?ref=" + "%41" * 90, "https://shop.example/" + "ä" * 600,
    "https://shop.example/4111 1111 1111 1111", "4111111111111111", "javascript:alert(1)",
    "https://" + "a" * 300 + "/", "https://shop.example/\ud800?gclid=\udfff", "android-app://x/",
    "2026-03-20T09:46:40Z", "2026-03-20T09:46:40+23:59", "0001-01-01T00:00:00+14:00",
    "20260320T09Z",
    "9999-12-31T23:59:59-14:00", "2026-W12-5T00:00:00Z", "1440x900", "1x", "x1", "²x³",
    "00000000-0000-0000-0000-000000000000", "6f1d5b0c-2b7e-4a5d-9d1f-0a4e6c9f0a11",
    "{" + "0" * 34 + "}",
    "urn:uuid:6f1d5b0c2b7e4a5d9d1f0a4e6c9f0a11", "EUR", "eur", "€", "granted", "cookieless",
    "denied",
    "engaged", "gone", "1.2.3.4", "::ffff:1.2.3.4%eth0", "256.1.1.1", "1774000000000",
)  # fmt: skip
NUMBERS = (
    0, 1, -1, 99, 101, 2**31, 2**32 - 1, 2**53 + 1, 2**63 - 1, 2**63, -(2**63), 2**64, 10**30, 0.1,
    -0.0, 1e-320, 1e15, 1.7976931348623157e308, 1_774_000_000_000, 1_774_000_000_000.5,
    4_102_444_800_000,
    253_402_300_800_000, -62_135_596_800_000, 4_111_111_111_111_111, 12.5, 10**400,
)  # fmt: skip
TOKENS = (
    b"\0", b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\\u0000", b"\\ud800",
    b'"', b"\\",
    b"{", b"}", b"[", b"]", b",", b":", b"\r\n", b"\r\n\r\n", b"NaN", b"-Infinity", b"1e400",
    b"9" * 400,
    b"null", b"true", b"[" * 300, b'{"a":' * 60, b"%00", b"%", b"&", b"=", b"$KEY", b"events",
    b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"Content-Encoding: gzip\r\n",
    b"X-Forwarded-For: 1.2.3.4\r\n", b"Expect: 100-continue\r\n", b"0\r\n\r\n", b" HTTP/1.1",
    b"\x1f\x8b",
    b"POST /track HTTP/1.1\r\n", b"GET /track/it?", b"Connection: close\r\n", b"Upgrade: h2c\r\n",
)  # fmt: skip


def mutated(rng: Random, data: bytes, others: list[bytes]) -> bytes:
    """The bytes with one to four changes, or spliced with others."""
    for _ in range(rng.randint(1, 4)):
        at = rng.randint(0, len(data))
        end = min(len(data), at + rng.choice((1, 1, 2, 4, 16, 200)))
        match rng.randrange(8):
            case 0 if data:
                at = rng.randrange(len(data))
                data = data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]
            case 1:
                data = data[:at] + data[end:]
            case 2:
                data = data[:at] + data[at:end] * rng.choice((2, 3, 40)) + data[end:]
            case 3 | 4:
                data = data[:at] + rng.choice(TOKENS) + data[at:]
            case 5:
                data = data[:at] + rng.choice(TOKENS) + data[end:]
            case 6:
                data = data[:at]
            case _:
                other = rng.choice(others)
                data = data[:at] + other[rng.randint(0, len(other)) :]
    return data[:1_100_000]


def value(rng: Random, depth: int = 0) -> Any:
    """Anything that JSON can say."""
    match rng.randrange(8):
        case 0 | 1 | 2:
            return rng.choice(TEXTS)
        case 3 | 4:
            return rng.choice(NUMBERS)
        case 5:
            return rng.choice((None, True, False, "", {}, []))
        case 6 if depth < 5:
            return [value(rng, depth + 1) for _ in range(rng.choice((0, 1, 2, 3, 30)))]
        case _ if depth < 5:
            count = rng.choice((0, 1, 2, 5, 30))
            return {rng.choice((*PROPS, *TEXTS)): value(rng, depth + 1) for _ in range(count)}
    return rng.choice(TEXTS)


def payload(rng: Random) -> dict[str, Any]:
    """An event that is right but for some of its fields."""
    event: dict[str, Any] = {
        "property": "$KEY",
        "name": rng.choice(NAMES),
        "url": "https://shop.example/p",
        "props": {rng.choice(PROPS): value(rng, 2) for _ in range(rng.randrange(4))},
    }
    for _ in range(rng.randint(0, 4)):
        event[rng.choice(FIELDS)] = value(rng)
    if rng.random() < 0.3:
        item = {name: value(rng, 4) for name in rng.sample(PROPS, 4)}
        event["props"] = {"items": [item] * rng.choice((1, 2, 201)), "currency": "EUR", "value": 5}
    return event


def body(rng: Random) -> bytes:
    """One event, or a batch."""
    if rng.random() < 0.7:
        data: Any = payload(rng)
    else:
        events = [
            payload(rng) if rng.random() < 0.9 else value(rng) for _ in range(rng.randrange(5))
        ]
        data = {"property": "$KEY", "events": events, "sent_at": value(rng)}
    line = json.dumps(data, ensure_ascii=rng.random() < 0.5)
    return line.encode(errors=rng.choice(("surrogatepass", "replace", "ignore")))


def query(rng: Random) -> bytes:
    """A pixel's."""
    pairs = [("trackr_event_type", rng.choice(KINDS))]
    pairs += [(rng.choice(PARAMETERS), rng.choice(TEXTS)) for _ in range(rng.randrange(9))]
    if rng.random() < 0.2:
        pairs.append((rng.choice(PARAMETERS), str(rng.choice(NUMBERS))))
    written = [
        f"{name}={quote_from_bytes(text.encode(errors='surrogatepass'))}"
        if rng.random() < 0.9
        else f"{quote(name)}={quote(text, safe='%', errors='replace')}"
        for name, text in pairs
    ]
    return "&".join(["config_account=$KEY", *written]).encode()
