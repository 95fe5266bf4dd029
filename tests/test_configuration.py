"""How the tracker and a property's configuration are served: to anybody, from any cache."""

import gzip
import re
import time

import pytest

from tests.people import new_account, new_property, new_user
from tests.test_collector import fetch, pageview, post


def test_a_configuration_says_how_to_measure_and_nothing_of_the_visitor(web_server: str) -> None:
    place = new_property()
    got = fetch(f"{web_server}/js/{place.key}.json?host=shop.example")
    assert got.status == 200
    assert set(got.json) == {"property", "mode", "signals", "capture", "more", "vitals"}
    assert (got.json["property"], got.json["mode"]) == (place.key, "granted")
    assert re.fullmatch(r"/js/[0-9a-f]{32}\.js", got.json["more"])
    assert got.json["vitals"] is None
    assert got.headers["access-control-allow-origin"] == "*"
    assert got.headers["cache-control"] == "public, max-age=60, stale-while-revalidate=600"
    assert "set-cookie" not in got.headers
    again = fetch(f"{web_server}/js/{place.key}.json", if_none_match=got.headers["etag"])
    assert (again.status, again.body) == (304, b"")


def test_a_file_by_its_hash_never_changes(web_server: str) -> None:
    place = new_property()
    more = fetch(f"{web_server}/js/{place.key}.json").json["more"]
    got = fetch(f"{web_server}{more}")
    assert got.status == 200
    assert got.headers["content-type"].startswith("text/javascript")
    assert got.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert fetch(f"{web_server}/js/{'0' * 32}.js").status == 404


def test_browsers_get_the_tracker_packed(web_server: str) -> None:
    plain = fetch(f"{web_server}/js/trackr.js")
    packed = fetch(f"{web_server}/js/trackr.js", accept_encoding="gzip, deflate, br")
    assert (plain.headers["vary"], packed.headers["vary"]) == ("accept-encoding",) * 2
    assert "content-encoding" not in plain.headers
    assert packed.headers["content-encoding"] == "gzip"
    assert gzip.decompress(packed.body) == plain.body
    assert plain.headers["etag"] != packed.headers["etag"]
    again = fetch(
        f"{web_server}/js/trackr.js",
        accept_encoding="gzip",
        if_none_match=packed.headers["etag"],
    )
    assert (again.status, again.body) == (304, b"")
    assert "content-encoding" not in again.headers
    refused = fetch(f"{web_server}/js/trackr.js", accept_encoding="gzip;q=0, identity")
    assert refused.body == plain.body


def test_no_file_is_loaded_that_no_switch_asks_for(web_server: str) -> None:
    plain = new_property(capture=["hash_routes"], signals="ignore")
    assert fetch(f"{web_server}/js/{plain.key}.json").json["more"] is None
    for fields in ({"privacy": "required"}, {"signals": "drop"}):
        place = new_property(capture=[], **fields)
        assert fetch(f"{web_server}/js/{place.key}.json").json["more"]  # consent, and who is hidden


def test_a_slug_means_the_property_that_fits_the_host(web_server: str) -> None:
    account = new_account(new_user("owner"))
    place = new_property(account, hostnames=["shop.example"])
    got = fetch(f"{web_server}/js/{account.slug}.json?host=shop.example")
    assert got.json["property"] == place.key
    event = pageview(property=account.slug)
    assert post(web_server, event).json["accepted"] == 1
    elsewhere = pageview(property=account.slug, url="https://elsewhere.example/")
    assert post(web_server, elsewhere).status == 401


def test_what_does_not_exist_is_404(web_server: str) -> None:
    for name in ("AK-NOTTHERE", "nobody", "-", "a/b", "%00"):
        got = fetch(f"{web_server}/js/{name}.json?host=shop.example")
        assert (got.status, got.json["error"]["code"]) == (404, "unknown_property")


def test_a_slash_too_many_is_forgiven(web_server: str) -> None:
    place = new_property()
    assert fetch(f"{web_server}//js/{place.key}.json").status == 200
    assert fetch(f"{web_server}/js/trackr.js", "POST", b"").status == 405


def test_a_change_shows_before_any_event_tells_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from tracking import directory, views

    place, began = new_property(), time.monotonic()
    assert directory.load(place.key) is not None
    for age, is_fresh in ((views.FRESH - 1, True), (views.FRESH + 1, False)):
        monkeypatch.setattr(directory.time, "monotonic", lambda age=age: began + age)
        assert directory.recall(place.key) is not None  # events: their call tells the version
        if is_fresh:
            assert directory.recall(place.key, within=views.FRESH) is not None
        else:
            with pytest.raises(directory.Unknown):
                directory.recall(place.key, within=views.FRESH)
