"""The pixel: every hit of the first trackr.js as it sends it, and the bare pixel without a script.

The parameters, their names and their order are those of the original, fields of forms and key
codes included; what is stored is asserted whole, and so is what is not.
"""

import http.client
import json
import uuid
from typing import Any
from urllib.parse import quote, urlsplit

import pytest

from tests.people import new_account, new_property, new_user
from tests.test_collector import fetch, stream

VISITOR, SESSION, TAB = (str(uuid.uuid4()) for _ in range(3))
SECRETS = ("hunter2", "104")


def original(kind: str, parameters: str, user: str = "undefined", account: str = "") -> str:
    """A query string of the original: its data, its configuration, its address, in this order."""
    return (
        f"trackr_event_type=trackr_{kind}_event&{parameters}"
        f"&config_account={account}&config_screen_width=1440&config_screen_height=900"
        f"&config_cookies_session={SESSION}&config_cookies_v_visitor={VISITOR}"
        f"&config_cookies_visitor={user}&config_tab={TAB}"
        "&hostname=shop.example&path=%2Fp%2F1&hash=%23reviews"
        "&args_utm_source=news&args_utm_campaign=May%20%26%20June&args_x_0=1&args_x_1=2"
        f"&event_id={uuid.uuid4()}"
    )


ELEMENT = (
    "trackr_element_event={}&trackr_element_label=Pass%20word&trackr_element_position=1"
    "&trackr_element_type=field"
)
ELEMENT_PROPS = {"label": "Pass word", "position": "1", "type": "field"}
PERSON = "name=Anna%20L%C3%B6we&address_city=Malm%C3%B6&vip=true"
PERSON_PROPS = {"name": "Anna Löwe", "address_city": "Malmö", "vip": "true"}
SIGNED_UP = "&signupDate=2013-09-05T12%3A00%3A00.000Z"

# type, its own parameters, the user's cookie -> name, column -> value, properties
HITS: list[tuple[str, str, str, str, dict[str, Any], dict[str, Any] | None]] = [
    ("pageloaded", "trackr_page_loadtime=120", "undefined", "pageview", {"load_ms": "120"}, None),
    ("pageloaded", "trackr_page_loadtime=-3", "undefined", "pageview", {"load_ms": None}, None),
    ("visitDuration", "trackr_visit_time=65000", "undefined", "engagement",
     {"engaged_ms": None}, {"open_ms": 65000}),
    ("element", ELEMENT.format("click"), "undefined", "element", {},
     ELEMENT_PROPS | {"event": "click"}),
    ("element", ELEMENT.format("mouseover"), "undefined", "element", {},
     ELEMENT_PROPS | {"event": "mouseover"}),
    ("element", ELEMENT.format("focus"), "undefined", "element", {},
     ELEMENT_PROPS | {"event": "focus"}),
    ("element", ELEMENT.format("blur") + "&trackr_element_value=hunter2", "undefined", "element",
     {}, ELEMENT_PROPS | {"event": "blur"}),
    ("element", ELEMENT.format("keyup") + "&trackr_element_char=104", "undefined", "element", {},
     ELEMENT_PROPS | {"event": "keyup"}),
    ("signupUser", PERSON + SIGNED_UP, "u-17", "signupUser", {"user": "u-17"},
     PERSON_PROPS | {"signupDate": "2013-09-05T12:00:00.000Z"}),
    ("loginUser", "", "u-17", "loginUser", {"user": "u-17"}, None),
    # loginAndImportUser is the login's type, with data.
    ("loginUser", PERSON + SIGNED_UP, "u-17", "loginUser", {"user": "u-17"},
     PERSON_PROPS | {"signupDate": "2013-09-05T12:00:00.000Z"}),
    ("updateUser", PERSON, "u-17", "updateUser", {"user": "u-17"}, PERSON_PROPS),
    ("logoutUser", "", "u-17", "logoutUser", {"user": "u-17"}, None),
]  # fmt: skip


@pytest.mark.parametrize("hit", HITS, ids=lambda hit: f"{hit[0]}-{hit[1][21:31]}")
def test_every_hit_of_the_first_tracker_is_taken(web_server: str, hit: Any) -> None:
    kind, parameters, user, name, columns, props = hit
    account = new_account(new_user("owner"))
    place = new_property(account, hostnames=["shop.example"])
    query = original(kind, parameters, user, account.slug)
    got = fetch(f"{web_server}/track/it?{query}")
    assert (got.status, len(got.body), got.headers["content-type"]) == (200, 43, "image/gif")
    assert got.headers["x-aktivat-reason"] is None
    assert got.headers["cache-control"] == "no-store"
    [event] = stream(place)
    always = {
        "name": name, "hostname": "shop.example", "page": "/p/1", "screen": "1440x900",
        "visitor_uuid": VISITOR, "session": SESSION, "tab": TAB, "source": "news",
        "campaign": "May & June", "user": "",
    }  # fmt: skip
    expected = always | columns
    assert {column: event[column] for column in expected} == expected
    assert (json.loads(event["props"]) if event["props"] else None) == props
    told = json.dumps([event["props"], event["query"], event["title"]])
    assert [secret for secret in SECRETS if secret in told] == []


def test_a_repeated_tag_is_an_array_and_the_first_one_counts(web_server: str) -> None:
    place = new_property(hostnames=["shop.example"])
    query = original("pageloaded", "trackr_page_loadtime=1", account=place.key)
    query = query.replace("args_utm_source=", "args_utm_source_0=")
    fetch(f"{web_server}/track/it?{query}&args_utm_source_1=other")
    assert [event["source"] for event in stream(place)] == ["news"]


# -- without a script ------------------------------------------------------------------------------


def bare(web: str, account: str, page: str | None, **headers: str) -> str | None:
    """The reason of the bare pixel on that page, None when it is accepted."""
    named = {"referer": page} if page is not None else {}
    got = fetch(f"{web}/track/it?config_account={account}", **named, **headers)
    assert (got.status, len(got.body)) == (200, 43)
    reason: str | None = got.headers["x-aktivat-reason"]
    return reason


def test_a_bare_pixel_counts_the_page_that_holds_it(web_server: str) -> None:
    account = new_account(new_user("owner"))
    place = new_property(account, hostnames=["shop.example"])
    page = "https://shop.example/about?utm_source=news&token=secret"
    assert bare(web_server, place.key, page) is None
    assert bare(web_server, account.slug, page) is None  # found by the page's host
    assert bare(web_server, place.key, page, user_agent="Mozilla/5.0 Another") is None
    first, second, other = stream(place)
    columns = ("name", "hostname", "page", "source", "query", "session")
    assert [first[column] for column in columns] == [
        "pageview", "shop.example", "/about", "news", "utm_source=news", None,
    ]  # fmt: skip
    # Cookieless: the same browser on the same day is one visitor, another is another.
    assert first["visitor_uuid"] == second["visitor_uuid"] != other["visitor_uuid"]
    assert first["event_id"] != second["event_id"]


@pytest.mark.parametrize(
    ("page", "reason"),
    [(None, "missing"), ("", "missing"), ("https://other.example/", "hostname"), ("x", "invalid")],
)
def test_a_bare_pixel_needs_a_page_of_the_property(
    web_server: str, page: str | None, reason: str
) -> None:
    place = new_property(hostnames=["shop.example"])
    assert bare(web_server, place.key, page) == reason
    assert stream(place) == []


def test_the_pixel_can_say_what_the_visitor_answered(web_server: str) -> None:
    place = new_property(privacy="required")
    page = quote("https://shop.example/", safe="")
    begin = f"{web_server}/track/it?config_account={place.key}&url={page}"
    assert fetch(begin).headers["x-aktivat-reason"] == "consent_denied"
    assert fetch(f"{begin}&consent=cookieless").headers["x-aktivat-reason"] is None
    assert len(stream(place)) == 1


def test_looking_where_the_pixel_leads_counts_nothing(web_server: str) -> None:
    place = new_property()
    page = quote("https://shop.example/", safe="")
    address = urlsplit(f"{web_server}/track/it?config_account={place.key}&url={page}")
    pipe = http.client.HTTPConnection(str(address.hostname), address.port, timeout=10)
    pipe.request("HEAD", f"{address.path}?{address.query}")
    answer = pipe.getresponse()
    assert (answer.status, answer.read()) == (200, b"")
    pipe.close()
    assert stream(place) == []
