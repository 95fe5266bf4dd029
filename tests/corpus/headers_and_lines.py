"""Requests that are odd as HTTP: lengths, headers, lines, methods, hosts and paths: C19, C20, C21
and C41 to C44."""

from dataclasses import replace

from tests.corpus.about_visitors import PIXEL
from tests.corpus.case import (
    Answer,
    Case,
    Request,
    accepted,
    batch,
    case,
    get,
    pageview,
    post,
    turned_away,
    with_method,
)

EVENT = post(pageview())
NOT_FOUND = Answer((404,))
BARE = tuple(header for header in EVENT.headers if not header.startswith(b"Host"))


def odd(*headers: bytes, body: bytes = b"{}", says_length: bool = False) -> Request:
    """A POST with exactly these headers beside the usual ones."""
    return Request(headers=(*EVENT.headers, *headers), body=body, says_length=says_length)


def chunked(body: bytes, *headers: bytes) -> Request:
    return odd(b"Transfer-Encoding: chunked", *headers, body=body)


CASES: list[Case] = [
    *(
        case("C19", name, request, turned_away(400, 411, 413, 501))
        for name, request in {
            "both lengths": odd(b"Content-Length: 2", b"Transfer-Encoding: chunked"),
            "xchunked": odd(b"Transfer-Encoding: xchunked"),
            "chunked twice": odd(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"),
            "chunked, identity": odd(b"Transfer-Encoding: chunked, identity"),
            "gzip, chunked": odd(b"Transfer-Encoding: gzip, chunked", body=b"2\r\n{}\r\n0\r\n\r\n"),
            "two lengths": odd(b"Content-Length: 2", b"Content-Length: 3"),
            "the same length twice": odd(b"Content-Length: 2", b"Content-Length: 2"),
            "two in one": odd(b"Content-Length: 2, 2"),
            "below zero": odd(b"Content-Length: -1"),
            "with a plus": odd(b"Content-Length: +2"),
            "hexadecimal": odd(b"Content-Length: 0x2"),
            "with a blank": odd(b"Content-Length: 1 2"),
            "underscored": odd(b"Content-Length: 1_0"),
            "30 digits": odd(b"Content-Length: " + b"9" * 30),
            "no length": odd(body=b""),
            "a chunk of no size": chunked(b"xyz\r\n{}\r\n0\r\n\r\n"),
            "a chunk below zero": chunked(b"-2\r\n{}\r\n0\r\n\r\n"),
            "a chunk of 2^64": replace(
                chunked(b"10000000000000000\r\n{}\r\n0\r\n\r\n"), hangs_up=True
            ),
            "a chunk that is longer": chunked(b"1\r\n{}\r\n0\r\n\r\n"),
            "a chunk's size of 9 kB": chunked(b"0" * 9_000 + b"2\r\n{}\r\n0\r\n\r\n"),
            "a blank before the colon": odd(b"Content-Length : 2"),
        }.items()
    ),
    case("C19", "5,000 digits", odd(b"Content-Length: " + b"9" * 5_000), Answer((400,))),
    case(
        "C19",
        "a smuggled request behind a refused one",
        odd(
            b"Content-Length: 2",
            b"Transfer-Encoding: chunked",
            body=b"0\r\n\r\nGET /js/trackr.js HTTP/1.1\r\nHost: x\r\n\r\n",
        ),
        replace(turned_away(400), closed=True),
    ),
    *(
        case("C20", name, odd(*headers, body=EVENT.body, says_length=True), turned_away(400, 431))
        for name, headers in {
            "64 kB": (b"X-Long: " + b"x" * 65_536,),
            "a name of 64 kB": (b"x" * 65_536 + b": 1",),
            "200 headers": tuple(b"X-H%d: 1" % n for n in range(200)),
            "NUL": (b"X-Null: a\0b",),
            "NUL in a name": (b"X-\0: a",),
            "a bare return": (b"X-Bare: a\rb",),
            "folded": (b"X-Folded: a\r\n b",),
            "no colon": (b"nonsense",),
            "no name": (b": x",),
            "a blank in a name": (b"X Y: z",),
            "10,000 lines": tuple([b"a:b"] * 10_000),
        }.items()
    ),
    case(
        "C20",
        "60 headers",
        odd(*(b"X-H%d: 1" % n for n in range(60)), body=EVENT.body, says_length=True),
        accepted(),
    ),
    case("C21", "20 kB", get(PIXEL + b"&x=" + b"a" * 20_000), turned_away(400, 414)),
    case("C21", "10,000 parameters", get(PIXEL + b"&a=1" * 10_000), turned_away(400, 414)),
    case("C21", "600 parameters", get(PIXEL + b"&a=1" * 600), Answer((200,), "malformed")),
    case(
        "C21",
        "wrong escapes",
        get(PIXEL + b"&title=%zz%&x=%"),
        Answer((200,), kept={"title": "%zz%"}),
    ),
    case(
        "C21",
        "escapes that are no UTF-8",
        get(PIXEL + b"&title=%ff"),
        Answer((200,), kept={"title": "\ufffd"}),
    ),
    case(
        "C21",
        "escaped NUL",
        get(PIXEL + b"&title=a%00b"),
        Answer((200,), kept={"title": "a\ufffdb"}),
    ),
    case(
        "C21",
        "only ampersands",
        get(b"/track/it?" + b"&" * 400),
        Answer((200,), "unknown_property"),
    ),
    case("C21", "no query", get(b"/track/it"), Answer((200,), "unknown_property")),
    case(
        "C21",
        "no event",
        get(b"/track/it?config_account=$KEY&hostname=shop.example"),
        Answer((200,)),
    ),
    case(
        "C21",
        "another host",
        get(PIXEL.replace(b"shop.example", b"evil.example")),
        Answer((200,), "hostname"),
    ),
    case(
        "C21",
        "numbers that browsers send",
        get(PIXEL + b"&trackr_page_loadtime=NaN&config_screen_width=-1&scroll=1e9&time=undefined"),
        Answer((200,), kept={"load_ms": None, "screen": ""}),
    ),
    case(
        "C21",
        "by an account's name",
        get(PIXEL.replace(b"$KEY", b"$SLUG")),
        Answer((200,), "unknown_property"),
    ),  # several of its properties allow the host
    case(
        "C41",
        "a preflight",
        with_method(
            b"OPTIONS",
            b"/track",
            b"Access-Control-Request-Method: POST",
            b"Access-Control-Request-Headers: content-type, x-odd, " + b"x" * 500,
        ),
        Answer(
            (204,),
            headers={"access-control-max-age": "86400", "access-control-allow-origin": "*"},
            lacks=("access-control-allow-credentials",),
        ),
    ),
    case(
        "C41",
        "a preflight for a private network",
        with_method(b"OPTIONS", b"/track", b"Access-Control-Request-Private-Network: true"),
        Answer((204,), lacks=("access-control-allow-private-network",)),
    ),
    case("C41", "OPTIONS *", with_method(b"OPTIONS", b"*"), turned_away(400, 404)),
    case("C41", "a beacon", post(pageview(), content_type=b"text/plain;charset=UTF-8"), accepted()),
    case(
        "C41",
        "a beacon's blob",
        post(batch(pageview()), content_type=b"application/json"),
        accepted(),
    ),
    *(
        case(
            "C42",
            method.decode(),
            with_method(method, b"/track", b"X-HTTP-Method-Override: POST"),
            Answer((405,), "method", headers={"allow": "POST, OPTIONS"}),
        )
        for method in (b"GET", b"PUT", b"DELETE", b"PATCH", b"TRACE", b"PROPFIND", b"BREW")
    ),
    # The answer to HEAD has no body.
    case("C42", "HEAD", with_method(b"HEAD"), Answer((405,), headers={"allow": "POST, OPTIONS"})),
    case(
        "C42",
        "an override is not read",
        Request(headers=(*EVENT.headers, b"X-HTTP-Method-Override: GET"), body=EVENT.body),
        accepted(),
    ),
    case(
        "C42", "CONNECT", with_method(b"CONNECT", b"evil.example:443"), turned_away(400, 404, 405)
    ),
    case("C42", "small letters", with_method(b"post"), turned_away(400, 405, 501)),
    case("C42", "a method of 9 kB", with_method(b"M" * 9_000), turned_away(400, 405, 414, 501)),
    case(
        "C42",
        "POST to the pixel",
        Request(b"POST /track/it HTTP/1.1", EVENT.headers, EVENT.body),
        Answer((405,), "method"),
    ),
    case(
        "C42",
        "POST to the tracker",
        Request(b"POST /js/trackr.js HTTP/1.1", EVENT.headers, EVENT.body),
        Answer((405,), "method"),
    ),
    case("C42", "HTTP/0.9", Request(b"GET /track", says_length=False), turned_away(400)),
    case(
        "C42",
        "HTTP/2.0",
        Request(b"POST /track HTTP/2.0", EVENT.headers, EVENT.body),
        turned_away(400, 505),
    ),
    case(
        "C42",
        "TLS",
        Request(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", (), says_length=False),
        turned_away(400),
    ),
    case(
        "C42",
        "two blanks",
        Request(b"POST  /track HTTP/1.1", EVENT.headers, EVENT.body),
        turned_away(400, 404),
    ),
    # The collector answers on every host, for it may stand behind anybody's domain, and nothing of
    # its answers depends on it; the pages do not.
    *(
        case("C43", f"{host.decode()[:20]}", post(pageview(), host=host), accepted())
        for host in (b"evil.example", b"evil.example:99999", b"[::1]", b"a" * 300)
    ),
    *(
        case(
            "C43", f"a page of {host.decode()}", get(b"/accounts/login/", host=host), Answer((400,))
        )
        for host in (b"evil.example", b"evil.example:80", b"127.0.0.1.evil.example")
    ),
    case(
        "C43",
        "an address for a path",
        Request(b"POST http://evil.example/track HTTP/1.1", EVENT.headers, EVENT.body),
        turned_away(202, 400, 404),
    ),
    case(
        "C43",
        "two",
        odd(b"Host: evil.example", body=EVENT.body, says_length=True),
        turned_away(400),
    ),
    case("C43", "none", Request(headers=BARE, body=EVENT.body), accepted()),
    *(
        case("C44", path.decode()[:30], get(path, host=b"127.0.0.1"), NOT_FOUND)
        for path in (
            b"/track/../admin/",
            b"/track/%2e%2e/admin/",
            b"/track%00",
            b"/track/..%2f..%2fetc/passwd",
            b"/track//it",
            b"/track/it/",
            b"/TRACK",
            b"/track;x=1",
            b"/track%20",
            b"/js/",
            b"/js/../../aktivat/settings.py",
            b"/js/%2e%2e/settings.py",
            b"/.git/config",
            b"/.env",
            b"/js/0123456789abcdef.js",
            b"/js/trackr.js%00.html",
            b"/%ff%fe",
            b"/" + b"a" * 4_000,
        )
    ),
    # A collector's address that was given with a slash at its end.
    case(
        "C44",
        "two slashes",
        get(b"//track"),
        Answer((405,), "method", headers={"allow": "POST, OPTIONS"}),
    ),
    case("C44", "8 kB", get(b"/" + b"a" * 8_000), turned_away(400, 414)),
    case("C44", "20 kB", get(b"/" + b"a" * 20_000), turned_away(400, 414)),
    case("C44", "no slash", get(b"track"), turned_away(400, 404)),
    case("C44", "a backslash", get(b"\\track"), turned_away(400, 404)),
]
