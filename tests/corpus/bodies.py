"""Bodies that are no JSON, too deep, too large, wrongly packed or of the wrong kind: C1 to C18,
C35 and C49."""

import gzip
import zlib
from dataclasses import replace
from functools import cache

from tests.corpus.case import (
    Answer,
    Case,
    accepted,
    batch,
    case,
    fault,
    packed,
    pageview,
    post,
    refused,
    written,
)

LIMIT = 1_000_000


def gzipped(body: bytes) -> bytes:
    return gzip.compress(body, 1, mtime=0)


@cache
def bomb(of: bytes, size: int) -> bytes:
    """Few bytes that become many."""
    return gzip.compress(of * size, 9, mtime=0)


def nested(levels: int) -> bytes:
    return b"[" * levels + b"]" * levels


def sized(size: int) -> bytes:
    """An event of exactly that many bytes once `$KEY` (11), `$ID` and `$VISITOR` (36) are in."""
    line = written(pageview())
    grows = sum(length - line.count(name) * len(name) for name, length in (
        (b"$KEY", 11), (b"$ID", 36), (b"$VISITOR", 36),
    ))  # fmt: skip
    return line[:-1] + b" " * (size - len(line) - grows) + b"}"


def keys(count: int) -> bytes:
    return b"{" + b",".join(b'"k%d":1' % n for n in range(count)) + b"}"


EVENT = post(pageview())
AGAIN = (post(pageview(event_id="$VISITOR")), accepted())
MULTIPART = b"multipart/form-data; boundary=x"

CASES: list[Case] = [
    case("C1", "empty", post(b""), fault(400, "empty")),
    case("C1", "blanks", post(b" \r\n\t"), fault(400, "empty")),
    case("C1", "only a BOM", post(b"\xef\xbb\xbf"), fault(400, "empty")),
    *(
        case("C2", name, post(body), fault(400, "malformed"))
        for name, body in {
            "words": b"not json",
            "half": b'{"property": "$KEY", "name"',
            "single quotes": b"{'name': 'x'}",
            "trailing comma": b'{"property": "$KEY",}',
            "comment": b'{"property": "$KEY"} // x',
            "two values": b'{"property": "$KEY"}{}',
            "form": b"property=AK&name=pageview",
            "XML": b"<?xml version='1.0'?><!DOCTYPE x SYSTEM 'file:///etc/passwd'><x/>",
            "pickle": b"cos\nsystem\n(S'id'\ntR.",
            "control character in a string": b'{"property": "$KEY", "name": "a\nb"}',
            "NUL bytes": b"\0" * 100,
            "octal": b'{"property": "$KEY", "scroll": 010}',
            "hexadecimal": b'{"property": "$KEY", "scroll": 0x10}',
            "a half escape": b'{"property": "$KEY", "name": "\\u12"}',
        }.items()
    ),
    *(
        case("C3", body.decode(), post(body), fault(400, "shape"))
        for body in (b"null", b"1", b'"x"', b"true", b"-0.5", b'"{}"')
    ),
    case("C4", "a bare list", post(b"[]"), fault(400, "shape")),
    case("C4", "a list of events", post([pageview()]), fault(400, "shape")),
    case("C4", "an empty batch", post(batch()), accepted(0)),
    case("C4", "an empty batch of nobody", post({"events": []}), accepted(0)),
    *(
        case(
            "C4",
            f"events is {kind}",
            post(b'{"property":"$KEY","events":%s}' % value),
            fault(400, "shape"),
        )
        for kind, value in {"null": b"null", "an object": b'{"0":{}}', "text": b'"x"'}.items()
    ),
    *(
        case(
            "C5", name.decode(), post(written(pageview(), scroll=name)), fault(400, "number_range")
        )
        for name in (b"NaN", b"Infinity", b"-Infinity")
    ),
    case("C5", "nan is a word", post(written(pageview(), scroll=b"nan")), fault(400, "malformed")),
    *(
        case(
            "C6",
            f"{name} {field}",
            post(written(pageview(), **{field: name.encode()})),
            fault(400, "number_range"),
        )
        for name in ("1e400", "-1e400")
        for field in ("scroll", "props", "time")
    ),
    case(
        "C6",
        "1e400 is text in props",
        post(written(pageview(), props=b'{"a":"1e400"}')),
        accepted(props='{"a":"1e400"}'),
    ),
    case(
        "C7",
        "5,000 digits",
        post(written(pageview(), scroll=b"9" * 5_000)),
        fault(400, "malformed"),
    ),
    case(
        "C7",
        "400 digits",
        post(written(pageview(), scroll=b"9" * 400)),
        refused("number_range", "scroll"),
    ),
    case(
        "C7",
        "400 digits in props",
        post(written(pageview(), props=b'{"n":%s}' % (b"9" * 400))),
        refused("number_range", "props"),
    ),
    case(
        "C7",
        "2^63",
        post(written(pageview(), props=b'{"n":9223372036854775808}')),
        refused("number_range", "props"),
    ),
    case(
        "C7",
        "below -2^63",
        post(written(pageview(), props=b'{"n":-9223372036854775809}')),
        refused("number_range", "props"),
    ),
    case(
        "C7",
        "2^63 - 1",
        post(written(pageview(), props=b'{"n":9223372036854775807}')),
        accepted(props='{"n":9223372036854775807}'),
    ),
    case(
        "C7",
        "400 digits of time",
        post(written(pageview(), time=b"1" * 400)),
        refused("timestamp", "time"),
    ),
    case("C8", "100,000 open lists", post(b"[" * 100_000), fault(400, "depth")),
    case("C8", "100,000 open objects", post(b'{"a":' * 100_000), fault(400, "depth")),
    case(
        "C8", "100,000 lists", post(written(pageview(), props=nested(100_000))), fault(400, "depth")
    ),
    case(
        "C8",
        "65 levels",
        post(written(pageview(), props=b'{"a":%s}' % nested(65))),
        refused("depth", "props"),
    ),
    case(
        "C8",
        "21 levels",
        post(written(pageview(), props=b'{"a":%s}' % nested(20))),
        refused("depth", "props"),
    ),
    case("C8", "20 levels", post(written(pageview(), props=b'{"a":%s}' % nested(19))), accepted()),
    case(
        "C8",
        "980 levels where nobody reads",
        post(written(pageview(), unread=nested(980))),
        refused("depth"),
    ),
    case(
        "C9",
        "200,000 keys",
        post(written(pageview(), props=keys(200_000))),
        fault(413, "too_large"),
    ),
    case(
        "C9",
        "90,000 keys",
        post(written(pageview(), props=keys(90_000))),
        refused("too_many_properties", "props"),
    ),
    case(
        "C9",
        "90,000 fields",
        post(written(pageview())[:-1] + b"," + keys(90_000)[1:]),
        refused("too_many_properties"),
    ),
    case(
        "C9",
        "201 keys in two objects",
        post(written(pageview(), props=b'{"a":%s,"b":%s}' % (keys(100), keys(99)))),
        refused("too_many_properties", "props"),
    ),
    case("C9", "200 keys", post(written(pageview(), props=keys(200))), accepted()),
    case(
        "C9",
        "a key of 1 MB",
        post(written(pageview(), props=b'{"%s":1}' % (b"k" * LIMIT))),
        fault(413, "too_large"),
    ),
    case(
        "C9",
        "a key of 900 kB",
        post(written(pageview(), props=b'{"%s":1}' % (b"k" * 900_000))),
        refused("too_large", "props"),
    ),
    case(
        "C9",
        "a key of 201 characters",
        post(written(pageview(), props=b'{"%s":1}' % (b"k" * 201))),
        refused("too_large", "props"),
    ),
    # Documented otherwise than most lists have it: the last of a repeated key wins.
    case(
        "C10",
        "a field twice",
        post(written(pageview(title="a"), title=b'"b"')),
        accepted(title="b"),
    ),
    case(
        "C10",
        "a name twice",
        post(b'{"name":"a",%s' % written(pageview())[1:]),
        accepted(name="pageview"),
    ),
    case(
        "C10",
        "a key twice in props",
        post(written(pageview(), props=b'{"a":1,"a":2}')),
        accepted(props='{"a":2}'),
    ),
    case(
        "C10",
        "a property twice",
        post(b'{"property":"$KEY",%s' % written(pageview(property="x"))[1:]),
        fault(401, "unknown_property"),
    ),
    *(
        case("C13", name, post(written(pageview(), title=b'"%s"' % value)), fault(400, "encoding"))
        for name, value in {
            "ff fe": b"\xff\xfe",
            "overlong NUL": b"\xc0\x80",
            "overlong slash": b"\xe0\x80\xaf",
            "half a character": b"\xc3",
            "an encoded surrogate": b"\xed\xa0\x80",
            "beyond Unicode": b"\xf4\x90\x80\x80",
            "Latin-1": b"L\xf6we",
        }.items()
    ),
    case("C13", "a BOM", post(b"\xef\xbb\xbf" + written(pageview())), accepted()),
    case(
        "C14",
        "UTF-16 that says so",
        post("{}".encode("utf-16"), content_type=b"application/json; charset=utf-16"),
        fault(415, "charset"),
    ),
    case(
        "C14",
        "Latin-1 that says so",
        post(pageview(), content_type=b"text/plain; charset=latin1"),
        fault(415, "charset"),
    ),
    case("C14", "UTF-16 that does not", post("{}".encode("utf-16")), fault(400, "encoding")),
    case("C14", "UTF-32 that does not", post("{}".encode("utf-32-le")), fault(400, "malformed")),
    case(
        "C14",
        "UTF-8 in capitals",
        post(pageview(title="ö"), content_type=b'APPLICATION/JSON; Charset="UTF-8"'),
        accepted(title="ö"),
    ),
    case(
        "C15",
        "a gzip bomb",
        packed(EVENT, lambda _: bomb(b" ", 200_000_000), b"gzip"),
        fault(413, "too_large"),
    ),
    case(
        "C15",
        "a gzip bomb of nesting",
        packed(EVENT, lambda _: bomb(b"[", 50_000_000), b"gzip"),
        fault(413, "too_large"),
    ),
    case(
        "C15",
        "1 MB inflated and one byte",
        packed(post(sized(LIMIT + 1)), gzipped, b"gzip"),
        fault(413, "too_large"),
    ),
    case("C15", "1 MB inflated", packed(post(sized(LIMIT)), gzipped, b"gzip"), accepted()),
    *(
        case(
            "C16", encoding.decode(), packed(EVENT, pack, encoding), fault(415, "content_encoding")
        )
        for encoding, pack in {
            b"gzip, gzip": lambda body: gzipped(gzipped(body)),
            b"gzip, identity": gzipped,
            b"deflate": zlib.compress,
            b"br": bytes,
            b"zstd": bytes,
            b"compress": bytes,
            b"x-gzip": gzipped,
            b"*": bytes,
        }.items()
    ),
    case(
        "C16",
        "gzip in gzip that says it once",
        packed(EVENT, lambda body: gzipped(gzipped(body)), b"gzip"),
        fault(400),
    ),
    case("C16", "identity", packed(EVENT, bytes, b"identity"), accepted()),
    case("C16", "gzip in capitals", packed(EVENT, gzipped, b"GZIP"), accepted()),
    *(
        case("C17", name, packed(EVENT, pack, b"gzip"), fault(400, "gzip"))
        for name, pack in {
            "truncated": lambda body: gzipped(body)[:-9],
            "without its sum": lambda body: gzipped(body)[:-4],
            "a wrong sum": lambda body: gzipped(body)[:-8] + b"\0" * 8,
            "garbage": lambda body: b"\x1f\x8b\x08\x00garbage",
            "plain": bytes,
            "followed": lambda body: gzipped(body) + b"x",
            "two members": lambda body: gzipped(body) * 2,
            "nothing": lambda body: b"",
        }.items()
    ),
    Case("C18", "at the limit", ((post(sized(LIMIT)), accepted()), AGAIN)),
    Case("C18", "one below it", ((post(sized(LIMIT - 1)), accepted()), AGAIN)),
    Case("C18", "one above it", ((post(sized(LIMIT + 1)), fault(413, "too_large")), AGAIN)),
    case("C18", "ten times it", post(sized(10 * LIMIT)), fault(413, "too_large")),
    case(
        "C18",
        "chunks beyond it",
        replace(
            EVENT,
            headers=(*EVENT.headers, b"Transfer-Encoding: chunked"),
            says_length=False,
            body=b"186a0\r\n%s\r\n" % (b" " * 100_000) * 11 + b"0\r\n\r\n",
        ),
        fault(413, "too_large"),
    ),
    case(
        "C35",
        "10,001 events",
        post({"property": "$KEY", "events": [1] * 10_001}),
        fault(413, "too_many_events"),
    ),
    case(
        "C35",
        "1,001 events",
        post({"property": "$KEY", "events": [1] * 1_001}),
        fault(413, "too_many_events"),
    ),
    case(
        "C35",
        "one bad of 100",
        post(
            batch(
                *(pageview(event_id=f"$ID-{n}", scroll="x" if n == 41 else 1) for n in range(100))
            )
        ),
        Answer(accepted=99, rejected=(("invalid", "scroll"),)),
    ),
    case(
        "C35",
        "1,000 that are no events",
        post(batch(*[None, 5, "x", []] * 250)),
        Answer(accepted=0, rejected=(("shape", None),) * 1_000),
    ),
    *(
        case("C49", name, post(body, content_type=kind), fault(415, "content_type"))
        for name, kind, body in (
            (
                "multipart",
                MULTIPART,
                b'--x\r\nContent-Disposition: form-data; name="f"\r\n\r\nGIF\r\n--x--',
            ),
            ("an image", b"image/png", b"\x89PNG\r\n\x1a\n"),
            ("a form", b"application/x-www-form-urlencoded", b"a=1"),
            ("XML", b"text/xml", b"<x/>"),
            ("CSV", b"text/csv", b"a,b"),
            ("nonsense", b"json", b"{}"),
            ("bytes", b"application/octet-stream", b"{}"),
        )
    ),
    case("C49", "an empty type", post(pageview(), content_type=b";;;="), accepted()),
    case("C49", "no type at all", post(pageview(), content_type=None), accepted()),
    case(
        "C19",
        "chunks",
        replace(
            EVENT,
            headers=(*EVENT.headers, b"Transfer-Encoding: chunked"),
            says_length=False,
            body=b"3\r\n{}\n\r\n0\r\n\r\n",
        ),
        fault(400, "property"),
    ),
]
