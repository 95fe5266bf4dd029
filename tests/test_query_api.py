"""POST /api/v1/properties/{key}/query and GET .../realtime: who may ask, what, and how."""

import csv
import json
import random
import uuid
from datetime import UTC, datetime, timedelta
from io import StringIO

import pytest

from tests.history import Happening, at, write
from tests.people import new_key, new_property, signed_in_as, with_key

DAY = "2026-04-14"
QUESTION = {"metrics": ["visitors", "pageviews"], "range": DAY}


def post(client, key, body, **extra):
    text = body if isinstance(body, str | bytes) else json.dumps(body)
    return client.post(
        f"/api/v1/properties/{key}/query", text, content_type="application/json", **extra
    )


def error(response):
    return response.json()["error"]


@pytest.fixture
def place(acme):
    place = new_property(acme, timezone="Europe/Berlin")
    history = [
        Happening(at("2026-04-14T12:00"), 1, texts={"country": "DE"}),
        Happening(at("2026-04-14T12:01"), 1, page="/a"),
        Happening(at("2026-04-14T13:00"), 2, page="/a", source="Google"),
        Happening(at("2026-04-14T13:00"), -1, bot=True),
    ]
    write(place, history)
    return place


@pytest.fixture
def client(acme):
    _, secret = new_key(acme, "audience:view", "content:view", "sources:view", "events:view")
    return with_key(secret)


# -- answers ---------------------------------------------------------------------------------------


def test_an_answer_is_rows_totals_and_meta(client, place):
    body = {"metrics": ["visitors", "pageviews"], "dimensions": ["page", "country"], "range": DAY}
    response = post(client, place.key, body)
    assert response.status_code == 200, response.content
    answer = response.json()
    assert answer["rows"] == [
        {"page": "/", "country": "DE", "visitors": 1, "pageviews": 1},
        {"page": "/a", "country": "", "visitors": 1, "pageviews": 1},
        {"page": "/a", "country": "DE", "visitors": 1, "pageviews": 1},
    ]
    assert answer["totals"] == {"visitors": 2, "pageviews": 3}
    assert set(answer) == {"rows", "totals", "meta"}
    assert answer["meta"]["from"] == "2026-04-14T00:00:00+02:00"
    assert answer["meta"]["exact"] is True
    assert answer["meta"]["filters"] is None
    filters = ["and", ["is", "country", ["DE"]], ["not", ["contains", "page", ["/a"]]]]
    answer = post(client, place.key, QUESTION | {"filters": filters}).json()
    assert answer["meta"]["filters"] == filters


def test_bots_are_left_out_unless_asked_for(client, place):
    filtered = QUESTION | {"filters": ["is_not", "page", ["/none"]]}
    for bots, pageviews in [("exclude", 3), ("include", 4), ("only", 1)]:
        answer = post(client, place.key, filtered | {"bots": bots}).json()
        assert answer["totals"]["pageviews"] == pageviews


def test_comparing_adds_compare(client, place):
    question = QUESTION | {"range": "2026-04-15", "compare": "previous", "bots": "include"}
    answer = post(client, place.key, question).json()
    assert answer["totals"] == {"visitors": 0, "pageviews": 0}
    assert answer["compare"]["totals"] == {"visitors": 3, "pageviews": 4}


def test_a_year_is_compared_by_date_or_by_weekday(client, place):
    question = QUESTION | {"range": "2027-04-14", "compare": "year", "bots": "include"}
    answer = post(client, place.key, question).json()
    assert answer["compare"]["from"] == "2026-04-14T00:00:00+02:00"
    assert answer["compare"]["totals"] == {"visitors": 3, "pageviews": 4}
    answer = post(client, place.key, question | {"align": "weekday"}).json()
    assert answer["compare"]["from"] == "2026-04-15T00:00:00+02:00"  # both are Wednesdays
    assert answer["compare"]["totals"] == {"visitors": 0, "pageviews": 0}
    answer = post(client, place.key, question | {"compare": "previous", "align": "weekday"}).json()
    assert answer["compare"]["from"] == "2027-04-07T00:00:00+02:00"


def test_meta_says_how_visitors_are_known(client, place):
    from properties.models import Property

    for privacy in Property.Privacy.values:
        Property.objects.across_accounts().filter(pk=place.pk).update(privacy=privacy)
        assert post(client, place.key, QUESTION).json()["meta"]["identity"] == privacy


def test_the_session_of_a_browser_may_ask_too(alice, place):
    assert post(signed_in_as(alice), place.key, QUESTION).status_code == 200


# -- who may ask -----------------------------------------------------------------------------------


def test_nobody_gets_401_whether_or_not_the_property_exists(place):
    for key in (place.key, "AK-22222222"):
        assert post(signed_in_as(None), key, QUESTION).status_code == 401


def test_a_stranger_gets_the_404_of_what_does_not_exist(charlie, place):
    answers = [post(signed_in_as(charlie), key, "{") for key in (place.key, "AK-22222222", "%00")]
    assert [answer.status_code for answer in answers] == [404, 404, 404]
    assert len({answer.content for answer in answers}) == 1


def test_a_property_outside_my_grants_is_404(bob, blog):
    assert post(signed_in_as(bob), blog.key, QUESTION).status_code == 404


@pytest.mark.parametrize(
    ("more", "module"),
    [
        ({}, None),
        ({"dimensions": ["source"]}, None),
        ({"dimensions": ["page"]}, "content"),
        ({"dimensions": ["event"]}, "events"),
        ({"dimensions": ["props:plan"]}, "events"),
        ({"metrics": ["events"]}, "events"),
        ({"filters": ["not", ["is", "page", ["/"]]]}, "content"),
        ({"filters": ["has_done", "event", ["signup"]]}, "events"),
    ],
)
def test_every_module_that_the_question_names_must_be_granted(bob, shop, more, module):
    response = post(signed_in_as(bob), shop.key, QUESTION | more)
    if module is None:
        assert response.status_code == 200
    else:
        assert response.status_code == 403
        assert f"You may not view {module} here" in error(response)["message"]


def test_events_alone_are_enough_to_ask_about_events(acme, place):
    _, secret = new_key(acme, "events:view", place=place)
    body = {"metrics": ["events"], "dimensions": ["event"]}
    assert post(with_key(secret), place.key, body).status_code == 200
    assert post(with_key(secret), place.key, QUESTION).status_code == 403


# -- what cannot be asked --------------------------------------------------------------------------

TOO_DEEP = ["is", "page", ["/"]]
for _ in range(10):
    TOO_DEEP = ["not", TOO_DEEP]


@pytest.mark.parametrize(
    ("change", "code", "field"),
    [
        ({"metrics": None}, "required", "metrics"),
        ({"metrics": []}, "required", "metrics"),
        ({"metrics": ["horoscope"]}, "unknown_metric", "metrics"),
        ({"metrics": ["visitors", "visitors"]}, "twice", "metrics"),
        ({"dimensions": ["sign"]}, "unknown_dimension", "dimensions"),
        ({"dimensions": ["worth"]}, "unknown_dimension", "dimensions"),
        ({"dimensions": ["time:fortnight"]}, "unknown_dimension", "dimensions"),
        ({"dimensions": ["time:day", "time:hour"]}, "two_times", "dimensions"),
        ({"dimensions": ["props:"]}, "unknown_dimension", "dimensions"),
        ({"dimensions": ["props:a\0"]}, "unknown_dimension", "dimensions"),
        ({"dimensions": ["page", "event", "os", "device", "source"]}, "too_many", "dimensions"),
        ({"filters": ["like", "page", ["/"]]}, "unknown_operator", "filters"),
        ({"filters": ["worth", "event", ["5", "EUR"]]}, "unknown_operator", "filters"),
        ({"filters": ["is", "sign", ["/"]]}, "unknown_dimension", "filters"),
        ({"filters": ["is", "worth", ["5 EUR"]]}, "unknown_dimension", "filters"),
        ({"filters": ["is", "time:day", ["2026-04-14"]]}, "unknown_dimension", "filters"),
        ({"filters": ["has_done", "country", ["DE"]]}, "unknown_dimension", "filters"),
        ({"filters": ["is", "page", []]}, "shape", "filters"),
        ({"filters": ["is", "page", "/"]}, "shape", "filters"),
        ({"filters": ["is", "page", [1]]}, "invalid_value", "filters"),
        ({"filters": ["is", "page", ["\0"]]}, "invalid_value", "filters"),
        ({"filters": ["is", "page", ["\ud800"]]}, "invalid_value", "filters"),
        ({"filters": ["not"]}, "shape", "filters"),
        ({"filters": []}, "shape", "filters"),
        ({"filters": TOO_DEEP}, "too_deep", "filters"),
        ({"filters": ["or", *[["is", "page", ["/"]]] * 51]}, "shape", "filters"),
        ({"range": "last christmas"}, "invalid_range", "range"),
        ({"range": {"from": "2026-02-30", "to": "2026-03-01"}}, "invalid_range", "range.from"),
        ({"range": {"from": "2026-03-01"}}, "invalid_range", "range.to"),
        ({"range": {"from": "2026-03-01", "to": "2026-02-01"}}, "invalid_range", "range.from"),
        ({"range": {"from": "1", "to": "2", "x": 1}}, "invalid_range", "range"),
        ({"compare": "yesterday"}, "invalid_range", "compare"),
        ({"compare": {"from": "x", "to": "y"}}, "invalid_range", "compare.from"),
        ({"range": "1970-01-01", "compare": "previous"}, None, None),
        ({"dimensions": ["time:minute"], "range": "28d"}, "too_many_points", "dimensions"),
        (
            {"dimensions": ["time:hour"], "range": DAY,
             "compare": {"from": "2020-01-01", "to": "2026-01-01"}},
            "too_many_points", "dimensions",
        ),
        ({"order_by": [["pages", "desc"]]}, "unknown_order", "order_by"),
        ({"order_by": [["visitors", "down"]]}, "shape", "order_by"),
        ({"order_by": ["visitors"]}, "shape", "order_by"),
        ({"limit": 0}, "invalid_limit", "limit"),
        ({"limit": 10_001}, "invalid_limit", "limit"),
        ({"limit": True}, "invalid_limit", "limit"),
        ({"limit": 1.5}, "invalid_limit", "limit"),
        ({"bots": "robots"}, "invalid_bots", "bots"),
        ({"metric": ["visitors"]}, "unknown_field", "metric"),
        ({"\ud800": 1}, "unknown_field", "?"),
    ],
)  # fmt: skip
def test_what_cannot_be_asked_is_refused_with_its_field(client, shop, change, code, field):
    response = post(client, shop.key, QUESTION | change)
    if code is None:
        assert response.status_code in (200, 400)
        return
    assert response.status_code == 400, response.content
    assert (error(response)["code"], error(response).get("field")) == (code, field)
    assert error(response)["message"].endswith((".", "point."))


@pytest.mark.parametrize("other", [{}, {"a": 1}, [], [[]], [1], [None], 7, True, None, "x", 1e300])
@pytest.mark.parametrize(
    "field",
    ["metrics", "dimensions", "filters", "range", "compare", "align", "order_by", "limit", "bots"],
)
def test_no_value_of_a_wrong_type_is_a_crash(client, shop, field, other):
    response = post(client, shop.key, QUESTION | {field: other})
    assert response.status_code in (200, 400)
    if response.status_code == 400:
        assert error(response)["field"].startswith(field)


@pytest.mark.parametrize("place_in_tree", [0, 1, 2])
@pytest.mark.parametrize("other", [{}, [], 7, None, True, [[[]]]])
def test_no_part_of_a_filter_of_a_wrong_type_is_a_crash(client, shop, place_in_tree, other):
    leaf = ["is", "page", ["/"]]
    leaf[place_in_tree] = other
    response = post(client, shop.key, QUESTION | {"filters": ["and", leaf, leaf]})
    assert (response.status_code, error(response)["field"]) == (400, "filters")


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("{", 400),
        ("", 400),
        ("[]", 400),
        ("null", 400),
        ('{"limit": NaN}', 400),
        (b'{"metrics": ["\xff"]}', 400),
        ('{"filters": ' + "[" * 40_000 + "]" * 40_000 + "}", 400),
        ('{"limit": ' + "9" * 5_000 + "}", 400),
        (" " * 100_001, 413),
    ],
)
def test_a_body_that_is_no_question_is_refused(client, shop, text, status):
    response = post(client, shop.key, text)
    assert response.status_code == status
    assert set(error(response)) >= {"code", "message"}


def test_another_content_type_is_415(client, shop):
    url = f"/api/v1/properties/{shop.key}/query"
    assert client.post(url, "a=1", content_type="text/csv").status_code == 415
    assert client.get(url).status_code == 405


def test_hostile_values_are_values(client, place):
    for value in ("'; DROP TABLE events; --", "%s%(start)s", "\\", "{}", "$1", "\u202e"):
        body = QUESTION | {
            "filters": ["or", ["is", "page", [value]], ["contains", "title", [value]]]
        }
        assert post(client, place.key, body).json()["totals"] == {"visitors": 0, "pageviews": 0}
        body = QUESTION | {"dimensions": [f"props:{value}"]}
        assert post(client, place.key, body).json()["rows"] == []


# -- realtime and schema ---------------------------------------------------------------------------


def test_who_is_here_now(acme, place):
    _, secret = new_key(acme, "realtime:view")
    response = with_key(secret).get(f"/api/v1/properties/{place.key}/realtime")
    assert response.status_code == 200
    answer = response.json()
    assert (answer["open"], answer["active"], answer["engaged"]) == (0, 0, 0)
    assert answer["pages"] == answer["sources"] == answer["countries"] == []


def test_who_is_here_now_needs_realtime(bob, charlie, shop):
    url = f"/api/v1/properties/{shop.key}/realtime"
    found = [signed_in_as(user).get(url).status_code for user in (bob, charlie, None)]
    assert found == [403, 404, 401]


def test_the_schema_names_every_metric_and_dimension(capsys):
    from drf_spectacular.validation import validate_schema

    response = signed_in_as(None).get("/api/schema/?format=json")
    assert response.status_code == 200
    from reports.metrics import DIMENSIONS, METRICS

    found = json.loads(response.content)
    validate_schema(found)
    paths = found["paths"]
    query = paths["/api/v1/properties/{key}/query"]["post"]
    fields = query["requestBody"]["content"]["application/json"]["schema"]["properties"]
    assert fields["metrics"]["items"]["enum"] == list(METRICS)
    assert set(fields["dimensions"]["description"].split(", ")) >= set(DIMENSIONS)
    assert "/api/v1/properties/{key}/realtime" in paths
    assert capsys.readouterr().err == ""
    assert "/api/stats/track/{account}/{event}/{year}/{month}/{day}/{hour}" in paths


# -- the whole road --------------------------------------------------------------------------------


def test_page_api_counters_and_raw_events_say_the_same(alice, acme):
    """Events through the collector, the drain and the rollup, asked for in every way."""
    from django.db import connections

    from reports.rollups import roll_up_property
    from tracking.collecting import Origin, collect
    from tracking.drain import drain_property

    place = new_property(acme, timezone="Asia/Kolkata")
    now = datetime.now(UTC)
    dice = random.Random(7)
    payloads = [
        {
            "name": dice.choice(["pageview", "pageview", "pageview", "signup"]),
            "event_id": str(uuid.UUID(int=dice.getrandbits(128), version=4)),
            "visitor": str(uuid.UUID(int=1 + dice.randrange(40), version=4)),
            "time": int((now - timedelta(minutes=dice.randrange(4 * 24 * 60))).timestamp() * 1000),
            "url": f"https://shop.example{dice.choice(['/', '/a', '/b'])}",
            "referrer": dice.choice(["", "https://www.google.com/", "https://news.example/x"]),
        }
        for _ in range(300)
    ]
    assert collect(place, payloads + payloads[:50], Origin()).accepted == 300
    drain_property(place)
    roll_up_property(place, now)

    with connections["worker"].cursor() as cursor:
        cursor.execute(
            "SELECT count(*), count(*) FILTER (WHERE name = 'pageview'), count(DISTINCT visitor)"
            " FROM events WHERE property_id = %s",
            [place.pk],
        )
        events, pageviews, visitors = cursor.fetchone()
        cursor.execute("SELECT count(*) FROM sessions WHERE property_id = %s", [place.pk])
        (sessions,) = cursor.fetchone()
    assert (events, visitors) == (300, 40)
    assert sessions >= 40

    browser = signed_in_as(alice)
    metrics = ["events", "pageviews", "visitors", "sessions"]
    raw = {"events": events, "pageviews": pageviews, "visitors": visitors, "sessions": sessions}
    body = {"metrics": metrics, "range": "7d"}
    everything = ["contains", "event", [""]]
    by_rollup = post(browser, place.key, body).json()
    by_event = post(browser, place.key, body | {"filters": everything}).json()
    assert (by_rollup["meta"]["route"], by_rollup["totals"]) == ("rolled", raw)
    assert (by_event["meta"]["route"], by_event["totals"]) == ("raw", raw)
    by_page = {"metrics": ["visitors", "pageviews"], "dimensions": ["page"], "range": "7d"}
    answers = [
        post(browser, place.key, by_page | more).json() for more in ({}, {"filters": everything})
    ]
    assert [answer["meta"]["route"] for answer in answers] == ["rolled", "raw"]
    assert answers[0]["rows"] == answers[1]["rows"]
    # The page and its CSV.
    table = browser.get(f"/p/{place.key}/table/page.csv?range=7d").getvalue().decode("utf-8-sig")
    in_csv = {row["page"]: row for row in csv.DictReader(StringIO(table))}
    for row in answers[0]["rows"]:
        assert int(in_csv[row["page"]]["visitors"]) == row["visitors"]
    # The seed's counters: the months that the week touches.
    local = [(now + timedelta(hours=5.5, days=back)).date() for back in (-6, 0)]
    months = {(day.year, day.month) for day in local}
    for event, number in [("pageview", pageviews), ("signup", events - pageviews)]:
        answers = [
            browser.get(f"/api/stats/track/{acme.slug}/{event}/{year}/{month}").json()["data"]
            for year, month in months
        ]
        assert sum(sum(data.values()) for data in answers) == number
