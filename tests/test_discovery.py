"""What can be asked: dimensions, the properties of events, and values for a filter."""

import pytest

from tests.history import Happening, at, roll_up, write
from tests.people import new_key, new_property, with_key

DAY = "2026-04-14"
NOON = at("2026-04-14T12:00")


@pytest.fixture
def place(acme):
    place = new_property(acme)
    history = [
        Happening(NOON, 1, page="/Blog", props={"plan": "pro", "price": 3, "tags": ["a"]}),
        Happening(NOON, 1, page="/Blog", props={"plan": "free", "price": "3"}),
        Happening(NOON, 2, page="/blog/b", texts={"country": "DE"}),
        Happening(NOON, 2, page="/", props={"plan": "pro"}),
        Happening(NOON, -1, page="/bot", bot=True, props={"bot": 1}),
    ]
    write(place, history)
    roll_up(place, history)
    return place


def client(acme, *rights):
    return with_key(new_key(acme, *rights)[1])


def get(client, place, rest, status=200, **params):
    path = f"/api/v1/properties/{place.key}/dimensions{rest}"
    response = client.get(path, {"range": DAY} | params)
    assert response.status_code == status, response.content
    return response.json()


def test_everything_of_the_registry_that_may_be_viewed_is_listed(acme, place):
    from reports.metrics import DIMENSIONS, METRICS

    some = ("audience", "content", "events", "sources")
    found = get(client(acme, *(f"{module}:view" for module in some)), place, "")
    assert [each["name"] for each in found["dimensions"]] == list(DIMENSIONS)
    assert [each["name"] for each in found["metrics"]] == list(METRICS)
    found = get(client(acme, "sources:view"), place, "")
    assert {each["module"] for each in found["dimensions"]} == {"sources"}
    assert found["properties"] == found["metrics"] == []


def test_properties_of_events_come_with_their_types(acme, place):
    found = get(client(acme, "events:view"), place, "")["properties"]
    assert found == [
        {"name": "props:plan", "type": "string", "events": 3},
        {"name": "props:price", "type": "mixed", "events": 2},
        {"name": "props:tags", "type": "array", "events": 1},
    ]
    key = client(acme, "events:view")
    assert get(key, place, "", range="2026-04-13")["properties"] == []
    assert get(key, place, "", event="pageview")["properties"] == found
    assert get(key, place, "", event="other")["properties"] == []
    assert get(key, place, "", 400, event="\0")["error"]["field"] == "event"


def test_values_are_found_in_upper_and_lower_case(acme, place):
    asking = client(acme, "content:view", "audience:view", "events:view")
    found = get(asking, place, "/page/values")["values"]
    assert found == [
        {"value": "/Blog", "count": 2},
        {"value": "/", "count": 1},
        {"value": "/blog/b", "count": 1},
    ]
    found = get(asking, place, "/page/values", search="BLOG")["values"]
    assert [each["value"] for each in found] == ["/Blog", "/blog/b"]
    assert len(get(asking, place, "/page/values", limit="1")["values"]) == 1
    assert get(asking, place, "/country/values", search="d")["values"] == [
        {"value": "DE", "count": 1}
    ]
    assert get(asking, place, "/props:plan/values")["values"] == [
        {"value": "pro", "count": 2},
        {"value": "free", "count": 1},
    ]


def test_rare_values_are_found_by_their_exact_part(acme, place, monkeypatch):
    from reports import discovery

    monkeypatch.setattr(discovery, "MOST_ROWS", 1)
    found = get(client(acme, "content:view"), place, "/page/values", search="blog")["values"]
    assert [each["value"] for each in found] == ["/Blog", "/blog/b"]


@pytest.mark.parametrize(
    ("rest", "params", "code"),
    [
        ("/horoscope/values", {}, "unknown_dimension"),
        ("/time:day/values", {}, "unknown_dimension"),
        ("/page/values", {"limit": "0"}, "invalid_limit"),
        ("/page/values", {"limit": "9" * 5000}, "invalid_limit"),
        ("/page/values", {"search": "\0"}, "invalid_value"),
        ("/page/values", {"range": "soon"}, "invalid_range"),
        ("", {"range": "soon"}, "invalid_range"),
    ],
)
def test_what_cannot_be_asked_is_400(acme, place, rest, params, code):
    answer = get(client(acme, "content:view"), place, rest, 400, **params)
    assert answer["error"]["code"] == code


def test_the_module_of_the_dimension_must_be_granted(acme, place):
    answer = get(client(acme, "audience:view"), place, "/page/values", 403)
    assert "You may not view content here" in answer["error"]["message"]
