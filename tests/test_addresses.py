"""What of an address is kept, and that nothing hostile raises or gets through."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracking.addresses import PATH_LIMIT, VALUE_LIMIT, Page, clean_text, host_allowed, split


@pytest.mark.parametrize(
    ("url", "hostname", "path"),
    [
        ("https://example.com/a/b", "example.com", "/a/b"),
        ("HTTPS://WWW.Example.COM./A", "www.example.com", "/A"),
        ("http://example.com:8080/a", "example.com", "/a"),
        ("http://example.com", "example.com", "/"),
        ("http://example.com?x=1", "example.com", "/"),
        ("http://example.com/a?x=1#top", "example.com", "/a"),
        ("http://example.com/a#top?x=1", "example.com", "/a"),
        ("http://user:secret@example.com/a", "example.com", "/a"),
        ("http://good.example@evil.example/a", "evil.example", "/a"),
        ("http://good.example\\@evil.example/a", "good.example", "/\\@evil.example/a"),
        ("http://example.com//a/../b", "example.com", "//a/../b"),
        ("http://example.com/caf%C3%A9", "example.com", "/caf%C3%A9"),
        ("http://example.com/café", "example.com", "/café"),
        ("http://example.com/%3Cscript%3E", "example.com", "/%3Cscript%3E"),
        ("http://bücher.example/", "xn--bcher-kva.example", "/"),
        ("http://127.0.0.1:8000/a", "127.0.0.1", "/a"),
        ("http://[2001:db8::1]:80/a", "[2001:db8::1]", "/a"),
        ("  https://example.com/a\n", "example.com", "/a"),
        ("shop-app://home/cart", "home", "/cart"),
        ("android-app://com.google.android.gm/", "com.google.android.gm", "/"),
        ("http://my_host/a", "my_host", "/a"),
    ],
)
def test_an_address_is_split(url: str, hostname: str, path: str) -> None:
    assert split(url) == Page(hostname, path, {})


@pytest.mark.parametrize(
    "url",
    ["", " ", "/", "/a/b", "a", "example.com/a", "//example.com/a", "http:", "http://", "http:///a",
     "http:/example.com", "javascript:alert(1)", "javascript://example.com/%0aalert(1)",
     "JavaScript://example.com/", "java\tscript://example.com/", " vbscript://example.com/",
     "data:text/html,x", "data://example.com/", "blob:https://example.com/1",
     "blob://example.com/1", "file:///etc/passwd", "file://host/etc/passwd", "about:blank",
     "http://exa mple.com/", "http://example.com:port/", "http://example.com:999999/",
     "http://exa%6dple.com/", "http://a..b/", "http://.com/", "http://-/", "http://[::1/",
     "http://[x]/", "http://" + "a" * 300 + ".com/", "http://<script>/", "http://\x00/",
     "http://\ud800.com/", "http://" + "ü" * 200 + ".com/", "1http://example.com/"],
)  # fmt: skip
def test_what_is_no_page_is_none(url: str) -> None:
    assert split(url) is None


@given(st.text(max_size=80) | st.text(max_size=80).map("https://example.com".__add__))
@settings(deadline=None)
def test_nothing_raises(url: str) -> None:
    page = split(url)
    if page is not None:
        assert page.hostname and page.path.startswith("/")
        page.path.encode()


def test_the_path_is_bounded_and_storable() -> None:
    page = split("https://example.com/" + "é" * 5000)
    assert page is not None and len(page.path) == PATH_LIMIT
    page = split("https://example.com/a\x00b\udc80c\u202ed\x1be")
    assert page is not None and page.path == "/a\ufffdb\ufffdc\u202ed\x1be"


def test_only_parameters_of_interest_are_kept() -> None:
    page = split(
        "https://example.com/?q=secret&token=abc&utm_source=News%20letter&UTM_Medium=e-mail"
        "&utm_campaign=Spring+Sale&gclid=CjwK&utm_term=&ref=hn&utm_source=second"
    )
    assert page is not None
    assert page.query == {
        "utm_source": "News letter",
        "utm_medium": "e-mail",
        "utm_campaign": "Spring Sale",
        "gclid": "CjwK",
        "ref": "hn",
    }


def test_the_first_value_that_says_something_wins() -> None:
    page = split("https://example.com/?utm_source=&utm_source=%20&utm_source=b&utm_source=c")
    assert page is not None and page.query == {"utm_source": "b"}


def test_parameters_are_bounded_and_storable() -> None:
    page = split("https://example.com/?utm_source=" + "x" * 900 + "&utm_term=a%00b%ED%A0%80")
    assert page is not None
    assert page.query["utm_source"] == "x" * VALUE_LIMIT
    assert "\x00" not in page.query["utm_term"]
    many = split("https://example.com/?" + "a=1&" * 5000 + "utm_source=late")
    assert many is not None and many.query == {}


def test_parameters_of_a_fragment_are_not_read() -> None:
    page = split("https://example.com/#?utm_source=x")
    assert page is not None and page.query == {}


@pytest.mark.parametrize(
    ("value", "limit", "text", "changed"),
    [
        ("", 5, "", False),
        ("plain", 5, "plain", False),
        ("longer", 5, "longe", True),
        ("a\x00b", 5, "a\ufffdb", True),
        ("a\ud83db", 5, "a\ufffdb", True),
        ("\ud83d\ude00", 5, "\ufffd\ufffd", True),
        ("😀😀😀", 2, "😀😀", True),
        ("a\u202eb\x1b", 5, "a\u202eb\x1b", False),
        ("abc\x00", 3, "abc", True),
    ],
)
def test_clean_text_says_whether_it_changed(
    value: str, limit: int, text: str, changed: bool
) -> None:
    assert clean_text(value, limit) == (text, changed)


@given(st.text(alphabet=st.characters(), max_size=50), st.integers(0, 50))
@settings(deadline=None)
def test_clean_text_can_always_be_stored(value: str, limit: int) -> None:
    text, changed = clean_text(value, limit)
    assert len(text) <= limit and "\x00" not in text
    text.encode()
    assert changed == (text != value)


@pytest.mark.parametrize(
    ("hostname", "patterns", "allowed"),
    [
        ("anything.example", ["*"], True),
        ("example.com", ["example.com"], True),
        ("EXAMPLE.com.", ["Example.COM"], True),
        ("www.example.com", ["example.com"], True),
        ("shop.example.com", ["example.com"], False),
        ("example.com", ["www.example.com"], False),
        ("shop.example.com", ["*.example.com"], True),
        ("a.b.example.com", ["*.example.com"], True),
        ("example.com", ["*.example.com"], False),
        (".example.com", ["*.example.com"], False),
        ("evilexample.com", ["*.example.com"], False),
        ("evilexample.com", ["example.com"], False),
        ("example.com.evil.net", ["example.com", "*.example.com"], False),
        ("example.com", ["other.com", "example.com"], True),
        ("example.com", [], False),
        ("example.com", [""], False),
        ("", [""], False),
    ],
)
def test_hosts_are_matched(hostname: str, patterns: list[str], allowed: bool) -> None:
    assert host_allowed(hostname, patterns) is allowed
