"""The parser of access logs: single lines, hostile lines, and two real logs with known answers."""

import gzip
import json
import os
from collections import Counter
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tracking import logs

LINE = (
    b'192.0.2.7 - - [17/May/2015:10:05:03 +0200] "GET /a?b=c HTTP/1.1" 200 12 '
    b'"https://example.org/" "Mozilla/5.0 (X11)"'
)
ELASTIC, MTN = "elastic_apache_2015", "mtn_apache_2005_2018"
BOTH = pytest.mark.parametrize("log", [ELASTIC, MTN])


def real_log(name: str) -> Path:
    """A real access log; the test is skipped where the data are not there."""
    folder = os.environ.get("AKTIVAT_TESTDATA")
    if not folder:
        pytest.skip("AKTIVAT_TESTDATA is not set: the folder with the real access logs is needed.")
    return Path(folder, name, "access.log.gz")


def truth(name: str) -> dict[str, Any]:
    """What other programs counted in that log."""
    found: dict[str, Any] = json.loads((real_log(name).parent / "ground_truth.json").read_text())
    return found


@cache
def parsed(log: Path) -> list[logs.Line]:
    with gzip.open(log) as lines:
        return [logs.parse(line) for line in lines]


def pageviews(name: str) -> list[logs.Line]:
    return [line for line in parsed(real_log(name)) if logs.skipped(line) is None]


def day(line: logs.Line, offset: int) -> str:
    return datetime.fromtimestamp(line.time + offset, UTC).date().isoformat()


# -- one line ----------------------------------------------------------------------------------


def test_a_line_says_who_when_what_and_from_where() -> None:
    assert logs.parse(LINE + b"\r\n") == logs.Line(
        address="192.0.2.7",
        time=1431849903,
        offset=7200,
        method="GET",
        target="/a?b=c",
        status=200,
        referrer="https://example.org/",
        agent="Mozilla/5.0 (X11)",
    )


@pytest.mark.parametrize(
    ("change", "field", "expected"),
    [
        ((b'(X11)"', b"(X11)"), "agent", "Mozilla/5.0 (X11)"),  # cut off before the quote
        ((b'(X11)"', b"(X11\\"), "agent", "Mozilla/5.0 (X11\\"),  # ... in the middle of an escape
        ((b'(X11)"', b'(X11)" "198.51.100.1"'), "agent", "Mozilla/5.0 (X11)"),
        ((b"(X11)", b'(X192.0.2.8 - - [18/May/2015:10:05:03 +0200] "GET'), "time", 1431849903),
        ((b"X11", b'\\"id\\"'), "agent", 'Mozilla/5.0 ("id")'),
        ((b"X11", b"\\\\"), "agent", "Mozilla/5.0 (\\)"),
        ((b"X11", b"\\x22\\xc3\\xa9"), "agent", 'Mozilla/5.0 ("é)'),
        ((b"X11", b"caf\xe9"), "agent", "Mozilla/5.0 (caf\ufffd)"),
        ((b"X11", b"\\x1b]0;owned\\x07"), "agent", "Mozilla/5.0 (\x1b]0;owned\x07)"),
        ((b'"Mozilla/5.0 (X11)"', b'"-"'), "agent", ""),
        ((b'"https://example.org/"', b'"-"'), "referrer", ""),
        ((b"192.0.2.7", b"2001:db8::7"), "address", "2001:db8::7"),
        ((b" - - [", b" - first last ["), "address", "192.0.2.7"),
        ((b" - - [", b' - "" ['), "address", "192.0.2.7"),
        ((b" 200 12 ", b" 200 - "), "status", 200),
        ((b"HTTP/1.1", b"HTTP/2"), "target", "/a?b=c"),
        ((b"+0200", b"-0530"), "time", 1431849903 + 7 * 3600 + 1800),
    ],
)
def test_what_servers_really_write(
    change: tuple[bytes, bytes], field: str, expected: object
) -> None:
    assert change[0] in LINE
    assert getattr(logs.parse(LINE.replace(*change)), field) == expected


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"", "empty"),
        (b"\0" * 100, "not the combined format"),
        (b"\x1b]0;owned\x07", "not the combined format"),
        (LINE[:40], "not the combined format"),
        (LINE[:80], "missing, or the line was cut off"),
        (LINE[:-24], "missing, or the line was cut off"),
        (LINE.replace(b"17/May", b"32/May"), "no date and time"),
        (LINE.replace(b"May", b"Mai"), "no date and time"),
        (LINE.replace(b"10:05:03", b"24:05:03"), "no date and time"),
        (LINE.replace(b" 200 ", b" OK "), "not the combined format"),
        (LINE + b"x" * 1_000_000, "longer than"),
        (b"1 - - " + b'[17/May/2015:10:05:03 +0200] "' * 2_000, "cut off"),
        (b'1 - - [17/May/2015:10:05:03 +0200] "' + b"\\" * 60_000, "not the combined format"),
    ],
)
def test_what_cannot_be_parsed_is_refused_without_being_quoted(line: bytes, reason: str) -> None:
    with pytest.raises(logs.BadLine, match=reason) as refused:
        logs.parse(line)
    assert str(refused.value).isprintable()


@pytest.mark.parametrize(
    ("request_field", "status", "expected"),
    [
        (b"GET / HTTP/1.1", b"200", None),
        (b"GET /readme.txt?a HTTP/1.1", b"200", "static"),
        (b"GET /a.txt/b HTTP/1.1", b"200", None),
        (b"GET /LOGO.PNG HTTP/1.1", b"200", "static"),
        (b"GET /page?img=a.png HTTP/1.1", b"200", None),
        (b"GET /a.html HTTP/1.1", b"304", "status"),
        (b"GET /a.png HTTP/1.1", b"404", "status"),  # the status is asked before the extension
        (b"HEAD /a.png HTTP/1.1", b"404", "method"),
        (b"OPTIONS * HTTP/1.0", b"200", "method"),
        (b"-", b"408", "request"),
        (b"\\x16\\x03\\x01", b"400", "request"),
        (b"GET /a b HTTP/1.1", b"200", "request"),
        (b"GET /", b"200", "request"),
    ],
)
def test_lines_that_are_no_pageviews_have_one_class(
    request_field: bytes, status: bytes, expected: str | None
) -> None:
    line = LINE.replace(b"GET /a?b=c HTTP/1.1", request_field).replace(b"200", status)
    assert logs.skipped(logs.parse(line)) == expected


# -- real logs ---------------------------------------------------------------------------------


@BOTH
def test_every_line_methods_and_statuses_of_a_real_log(log: str) -> None:
    lines, known = parsed(real_log(log)), truth(log)
    assert len(lines) == known["lines_total"]
    assert Counter(str(line.status) for line in lines) == known["status"]
    methods = Counter(line.method for line in lines)
    assert methods.pop("", 0) == known["requests_not_well_formed"]
    assert methods == dict(known["methods"])
    assert len({line.address for line in lines}) == known["unique_ip"]
    assert len({(line.address, line.agent) for line in lines}) == known["unique_ip_ua"]


@BOTH
def test_requests_per_day_as_written_and_in_utc(log: str) -> None:
    lines, known = parsed(real_log(log)), truth(log)
    local = Counter(day(line, line.offset) for line in lines)
    assert local == known["requests_per_day_local"]
    assert Counter(day(line, 0) for line in lines) == known["requests_per_day_utc"]


@BOTH
def test_pageviews_and_visitors_of_a_real_log(log: str) -> None:
    views, known = pageviews(log), truth(log)["pageviews_all_agents"]
    assert len(views) == known["pageviews"]
    assert len({(view.address, view.agent) for view in views}) == known["unique_ip_ua"]
    per_day = Counter(day(view, view.offset) for view in views)
    assert per_day == known["pageviews_per_day_local"]
    visitors = {(day(view, view.offset), view.address, view.agent) for view in views}
    assert Counter(when for when, *_ in visitors) == known["unique_ip_ua_per_day_local"]


@BOTH
def test_the_ten_most_viewed_pages_of_a_real_log(log: str) -> None:
    views = Counter(view.path for view in pageviews(log))
    top = dict(truth(log)["pageviews_all_agents"]["top10_paths"])
    assert {path: views[path] for path in top} == top
    # Ties may stand in any order, so the tenth place is compared by its number.
    assert sorted(dict(views.most_common(10)).values()) == sorted(top.values())


@BOTH
def test_sessions_of_a_real_log_by_the_rule_of_thirty_minutes(log: str) -> None:
    last: dict[tuple[str, str], int] = {}
    sessions = 0
    for view in sorted(pageviews(log), key=lambda view: view.time):
        visitor = (view.address, view.agent)
        sessions += view.time - last.get(visitor, -(10**9)) > 1800
        last[visitor] = view.time
    assert sessions == truth(log)["pageviews_all_agents"]["sessions"]["sessions"]


def test_the_extensions_of_static_files_are_those_of_the_counted_answers() -> None:
    assert rf"\.({logs.STATIC_EXTENSIONS})$" in truth(ELASTIC)["pageview_rule"]
