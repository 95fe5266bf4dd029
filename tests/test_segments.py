"""Segments: filters with a name, kept in the account, used in every question of its properties."""

import json

import pytest

from tests.history import Happening, at, roll_up, write
from tests.people import new_account, new_key, new_property, new_user, with_key

HISTORY = [
    Happening(at("2026-04-14T12:00"), 1, "purchase", "/order", "Google", texts={"country": "DE"}),
    Happening(at("2026-04-14T12:05"), 1, "pageview", "/thanks", "Google", texts={"country": "DE"}),
    Happening(at("2026-04-14T12:00"), 2, "pageview", "/order", "Google", texts={"country": "FR"}),
    Happening(at("2026-04-10T12:00"), 3, "purchase", "/order", "Bing", texts={"country": "DE"}),
    Happening(at("2026-04-14T12:00"), 3, "pageview", "/", "Bing", texts={"country": "DE"}),
]
DAY = {"from": "2026-04-14", "to": "2026-04-14"}
BUYERS = ["and", ["is", "event", ["purchase"]], ["is", "country", ["DE"]]]


@pytest.fixture(scope="module")
def shop(django_db_blocker):
    with django_db_blocker.unblock():
        place = new_property(new_account(new_user("alice")))
        write(place, HISTORY)
        roll_up(place, HISTORY)
        yield place


@pytest.fixture(scope="module")
def program(shop, django_db_blocker):
    with django_db_blocker.unblock():
        every = ("audience:manage", "events:view", "content:view", "sources:view", "property:view")
        return with_key(new_key(shop.account, *every)[1])


def below(shop, rest=""):
    return f"/api/v1/accounts/{shop.account.slug}/segments{rest}"


def post(client, path, body):
    return client.post(path, json.dumps(body), content_type="application/json")


def keep(client, shop, name, filters):
    answer = post(client, below(shop), {"name": name, "filters": filters})
    assert answer.status_code == 201, answer.content
    return answer.json()["slug"]


def count(client, shop, filters, metrics=("visitors",), **more):
    body = {"metrics": list(metrics), "filters": filters, "range": DAY} | more
    return post(client, f"/api/v1/properties/{shop.key}/query", body)


def test_a_segment_means_who_has_such_an_event_within_the_range(shop, program):
    slug = keep(program, shop, "Buyers", BUYERS)
    inside = count(program, shop, ["is", "segment", [slug]], ["visitors", "pageviews", "events"])
    assert inside.json()["totals"] == {"visitors": 1, "pageviews": 1, "events": 2}
    others = count(program, shop, ["is_not", "segment", [slug]], ["visitors", "pageviews"])
    assert others.json()["totals"] == {"visitors": 2, "pageviews": 2}
    longer = count(program, shop, ["is", "segment", [slug]], range={**DAY, "from": "2026-04-01"})
    assert longer.json()["totals"] == {"visitors": 2}
    both = ["and", ["is", "segment", [slug]], ["is", "page", ["/thanks"]]]
    assert count(program, shop, both).json()["totals"] == {"visitors": 1}
    plain = count(program, shop, BUYERS, ["visitors", "pageviews", "events"])
    assert plain.json()["totals"] == {"visitors": 1, "pageviews": 0, "events": 1}


def test_what_bitmaps_know_is_counted_from_them(shop, program):
    slug = keep(program, shop, "From Google", ["is", "source", ["Google"]])
    answer = count(program, shop, ["is", "segment", [slug]]).json()
    assert (answer["totals"], answer["meta"]["route"]) == ({"visitors": 2}, "rolled")


def test_it_is_changed_and_deleted_by_its_slug(shop, program):
    slug = keep(program, shop, "Österreich & Co", ["is", "country", ["AT"]])
    assert slug == "osterreich-co"
    assert keep(program, shop, "Österreich & Co", ["is", "country", ["AT"]]) == f"{slug}-2"
    shown = program.get(below(shop, f"/{slug}"))
    changed = program.patch(
        below(shop, f"/{slug}"),
        json.dumps({"name": "Austria", "filters": ["is", "country", ["DE"]]}),
        content_type="application/json",
        headers={"If-Match": shown["ETag"]},
    )
    assert (changed.json()["slug"], changed.json()["name"]) == (slug, "Austria")
    assert count(program, shop, ["is", "segment", [slug]]).json()["totals"] == {"visitors": 2}
    stale = program.delete(below(shop, f"/{slug}"), headers={"If-Match": shown["ETag"]})
    assert stale.status_code == 412
    assert program.delete(below(shop, f"/{slug}")).status_code == 204
    gone = count(program, shop, ["is", "segment", [slug]])
    assert gone.status_code == 400
    assert gone.json()["error"]["code"] == "unknown_segment"
    assert slug in gone.json()["error"]["message"]


def test_the_audit_log_tells_of_it(shop, program):
    from accounts.models import AuditEntry
    from accounts.tenancy import tenant

    slug = keep(program, shop, "Told", ["is", "country", ["DE"]])
    program.delete(below(shop, f"/{slug}"))
    with tenant(shop.account_id):
        entries = AuditEntry.objects.filter(target=slug).order_by("number")
        assert [entry.action for entry in entries] == ["segment.created", "segment.deleted"]


@pytest.mark.parametrize(
    ("filters", "code"),
    [
        (["is", "segment", ["buyers"]], "shape"),
        (["not", ["is_not", "segment", ["buyers"]]], "shape"),
        (["visitor", ["is", "country", ["DE"]]], "shape"),
        (["is", "weather", ["rain"]], "unknown_dimension"),
        (["is", "goal", ["nowhere"]], "unknown_goal"),
        ([], "shape"),
        ({"is": 1}, "shape"),
        (["or", *([["is", "country", ["x" * 500]]] * 45)], "too_many"),
    ],
)
def test_what_cannot_be_kept_is_refused(shop, program, filters, code):
    answer = post(program, below(shop), {"name": "Bad", "filters": filters})
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == code


def test_a_question_is_bounded_with_its_segments(shop, program):
    many = ["or", *([["is", "country", [f"X{n}"]] for n in range(45)])]
    slugs = [keep(program, shop, f"Many {n}", many) for n in range(5)]
    assert count(program, shop, ["is", "segment", slugs[:4]]).status_code == 200
    refused = count(program, shop, ["is", "segment", slugs])
    assert refused.json()["error"]["code"] == "too_many"


def test_a_segment_asks_for_the_modules_of_its_filters(shop, program):
    slug = keep(program, shop, "By page", ["is", "page", ["/order"]])
    looks = with_key(new_key(shop.account, "audience:view")[1])
    assert count(looks, shop, ["is", "segment", [slug]]).status_code == 403
    assert looks.get(below(shop, f"/{slug}")).status_code == 404
    listed = [each["slug"] for each in looks.get(below(shop)).json()["results"]]
    assert slug not in listed
    reads = with_key(new_key(shop.account, "audience:view", "content:view", place=shop)[1])
    assert count(reads, shop, ["is", "segment", [slug]]).json()["totals"] == {"visitors": 2}
    assert slug in [each["slug"] for each in reads.get(below(shop)).json()["results"]]
    manages = with_key(new_key(shop.account, "audience:manage")[1])
    refused = post(manages, below(shop), {"name": "X", "filters": ["is", "page", ["/order"]]})
    assert refused.status_code == 403
    assert "content" in refused.json()["error"]["message"]


def test_a_goal_in_it_is_that_of_the_property_asked_about(shop, program):
    from properties.models import Goal

    Goal.objects.create(property=shop, account=shop.account, name="Order", event="purchase")
    slug = keep(program, shop, "Reached", ["is", "goal", ["Order"]])
    assert count(program, shop, ["is", "segment", [slug]]).json()["totals"] == {"visitors": 1}
    blog = new_property(shop.account)
    assert count(program, blog, ["is", "segment", [slug]]).json()["error"]["code"] == "unknown_goal"
    Goal.objects.of(shop.account).filter(name="Order").delete()
    assert slug in [each["slug"] for each in program.get(below(shop)).json()["results"]]


def test_another_account_does_not_know_it(shop, program):
    slug = keep(program, shop, "Ours", ["is", "country", ["DE"]])
    other = new_property()
    stranger = with_key(new_key(other.account, "audience:manage")[1])
    assert stranger.get(below(shop, f"/{slug}")).status_code == 404
    assert count(stranger, other, ["is", "segment", [slug]]).status_code == 400
