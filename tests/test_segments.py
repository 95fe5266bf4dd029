"""Segments: filters with a name, kept in the account, used in every question of its properties."""

import json
from functools import reduce

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from tests.history import Happening, at, roll_up, write
from tests.people import (
    grant,
    new_account,
    new_key,
    new_property,
    new_user,
    signed_in_as,
    with_key,
)

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
    assert answer["meta"]["filters"] == ["is", "segment", [slug]]  # not what it stands for
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
    from accounts.models import Membership

    slug = keep(program, shop, "By page", ["is", "page", ["/order"]])
    looks = with_key(new_key(shop.account, "audience:view")[1])
    assert count(looks, shop, ["is", "segment", [slug]]).status_code == 403
    assert looks.get(below(shop, f"/{slug}")).status_code == 403
    listed = [each["slug"] for each in looks.get(below(shop)).json()["results"]]
    assert slug not in listed
    reads = with_key(new_key(shop.account, "audience:view", "content:view", place=shop)[1])
    assert count(reads, shop, ["is", "segment", [slug]]).json()["totals"] == {"visitors": 2}
    assert slug in [each["slug"] for each in reads.get(below(shop)).json()["results"]]
    manages = with_key(new_key(shop.account, "audience:manage")[1])
    refused = post(manages, below(shop), {"name": "X", "filters": ["is", "page", ["/order"]]})
    assert refused.status_code == 403
    assert "content" in refused.json()["error"]["message"]
    for change in ({}, {"name": "X"}, {"filters": ["is", "country", ["DE"]]}):
        renamed = json.dumps(change)
        answer = manages.patch(below(shop, f"/{slug}"), renamed, content_type="application/json")
        assert (answer.status_code, b"/order" in answer.content) == (403, False)
    user = new_user("carol")
    member = Membership.objects.create(account=shop.account, user=user, role="viewer")
    grant(member, "audience:manage")
    browser, page = signed_in_as(user), f"/a/{shop.account.slug}/segments/"
    for answer in (
        browser.get(f"{page}{slug}/"),
        browser.post(page, {"replaces": slug, "filter": "country:is:DE"}),
    ):
        assert (answer.status_code, b"/order" in answer.content) == (403, False)


def test_a_goal_in_it_is_that_of_the_property_asked_about(shop, program):
    from properties.models import Goal

    Goal.objects.create(property=shop, account=shop.account, name="Order", event="purchase")
    slug = keep(program, shop, "Reached", ["is", "goal", ["Order"]])
    assert count(program, shop, ["is", "segment", [slug]]).json()["totals"] == {"visitors": 1}
    deep = reduce(lambda tree, _: ["and", tree], range(4), ["is", "goal", ["Order"]])
    deep = reduce(lambda tree, _: ["and", tree], range(4), ["visitor", deep])
    assert count(program, shop, deep).json()["totals"] == {"visitors": 1}
    blog = new_property(shop.account)
    assert count(program, blog, ["is", "segment", [slug]]).json()["error"]["code"] == "unknown_goal"
    Goal.objects.of(shop.account).filter(name="Order").delete()
    assert slug in [each["slug"] for each in program.get(below(shop)).json()["results"]]


def test_what_a_filter_names_is_looked_up_once_however_often_it_does(shop, program):
    from properties.models import Goal
    from reports.models import Segment

    slug = keep(program, shop, "Often", ["is_not", "page", ["/nowhere"]])
    goal = Goal.objects.create(property=shop, account=shop.account, name="Often", event="purchase")
    often = ["or", *([["is", "goal", ["Often"]], ["is", "segment", [slug] * 2]] * 10)]
    with CaptureQueriesContext(connection) as queries:
        assert count(program, shop, often).status_code == 200
    for model in (Goal, Segment):
        table = f'FROM "{model._meta.db_table}"'
        assert sum(table in query["sql"] for query in queries) <= 2, table
    goal.delete()


def test_another_account_does_not_know_it(shop, program):
    slug = keep(program, shop, "Ours", ["is", "country", ["DE"]])
    other = new_property()
    stranger = with_key(new_key(other.account, "audience:manage")[1])
    assert stranger.get(below(shop, f"/{slug}")).status_code == 404
    assert count(stranger, other, ["is", "segment", [slug]]).status_code == 400


# -- on pages: the address, the builder, the count ---------------------------------------------


def read(*texts):
    from reports import chips

    return chips.read(list(texts))


NESTED = ["country:is:DE", "any(", "source:is:Bing", "event:has_done:purchase", ")"]


@pytest.mark.parametrize(
    "tree",
    [
        ["is", "props:a:b", ["c:is:d"]],
        ["and", ["is", "country", ["DE", "AT"]], ["not", ["contains", "page", ["/x"]]]],
        ["visitor", ["and", ["is", "page", ["/"]], ["not", ["has_done", "event", ["signup"]]]]],
        ["not", ["or", ["is", "os", ["iOS"]], ["not", ["matches", "page", ["/a*"]]]]],
        ["is_not", "page", ["any(", ")"]],
        ["or", ["is", "goal", ["Order"]], ["is_not", "segment", ["buyers"]]],
    ],
)
def test_every_filter_of_a_question_can_be_written_in_an_address(tree):
    from reports import chips

    items = chips.of_question(tree)
    texts = chips.texts_of(items)
    assert chips.read(texts) == items
    # What it asks says the same: written once more, nothing changes.
    assert chips.of_question(chips.joined("and", items)) == items


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ([")"], "closes no group"),
        (["any("] * 9 + ["page:is:/"], "at most 8 deep"),
        (["some(", "page:is:/", ")"], "There is no filter by"),
        (["segment:contains:x"], "instead of 'is' it may say is_not"),
        (["country:has_done:DE"], "it may say is_not, contains, contains_not, matches"),
        (["page:contains_not:"], "its value is empty"),
        ([f"page:is:/{n}" for n in range(21)], "Over 20 filters"),
        (["any("] * 300, "Over 20 filters"),
    ],
)
def test_what_no_address_can_say_is_refused_with_what_to_do(texts, message):
    from reports.chips import FilterError

    with pytest.raises(FilterError, match=message):
        read(*texts)


def test_a_group_that_is_not_closed_ends_with_the_address():
    assert read("any(", "page:is:/a", "page:is:/b") == read("any(", "page:is:/a", "page:is:/b", ")")
    assert read("any(", ")") == ()


def test_the_builder_puts_filters_beside_into_and_instead_of_others():
    from reports import chips

    items = read("country:is:DE", "any(", "source:is:Bing", "source:is:Google", ")")
    [added] = read("device:is:mobile")

    def texts(into):
        return chips.texts_of(chips.put(items, added, into))

    assert texts("") == [*chips.texts_of(items), "device:is:mobile"]
    assert texts("in:1")[-2:] == ["device:is:mobile", ")"]
    assert texts("or:0")[:4] == ["any(", "country:is:DE", "device:is:mobile", ")"]
    assert texts("or:1.0")[2:6] == ["any(", "source:is:Bing", "device:is:mobile", ")"]
    for nowhere in ("in:7", "or:0.0", "or:1.9", "in:x", "at:1", "in:"):
        with pytest.raises(chips.FilterError):
            texts(nowhere)
    assert [place.into for place in chips.places(items)] == [
        "", "or:0", "in:1", "or:1.0", "or:1.1"
    ]  # fmt: skip
    gone = chips.changed(chips.changed(items, (1, 0), lambda _: None), (1, 0), lambda _: None)
    assert chips.texts_of(gone) == ["country:is:DE"]
    for item in read("page:is:/", "page:contains:/", "page:has_done:/", "page:matches:/*"):
        assert item.turned().turned() == item or item.operator == "matches"


@pytest.fixture(scope="module")
def member(shop, django_db_blocker):
    from tests.people import signed_in_as

    with django_db_blocker.unblock():
        return signed_in_as(shop.account.memberships.get(role="owner").user)


def query_of(*texts, **more):
    from urllib.parse import urlencode

    pairs = [("range", "2026-04-14..2026-04-14"), *(("filter", text) for text in texts)]
    return "?" + urlencode([*pairs, *more.items()])


# One of each that can be filtered by, and how many visitors of the day it lets pass.
EVERY = [
    ("page:is:/order", 2), ("entry_page:is:/thanks", 1), ("exit_page:contains:thanks", 1),
    ("source:is:Google", 2), ("medium:is_not:cpc", 3), ("campaign:is:", 3), ("term:is:", 3),
    ("content:is:", 3), ("channel:is:Direct", 3), ("referrer:is:", 3), ("country:is:DE", 2),
    ("device:is:", 3), ("browser:is:", 3), ("os:is:", 3), ("language:is:", 3), ("screen:is:", 3),
    ("event:is:purchase", 1), ("props:plan:is:", 3), ("props:plan:contains_not:x", 3),
    ("visit:is:new", 2), ("goal:is:Bought", 1), ("segment:is:bought", 1),
    ("segment:is_not:bought", 2), ("page:matches:/o*", 2), ("event:has_not_done:purchase", 2),
]  # fmt: skip


def test_page_address_csv_share_link_and_api_filter_by_everything(shop, program, member):
    from properties.models import Goal
    from reports import chips
    from tests.people import new_link, signed_in_as

    Goal.objects.create(property=shop, account=shop.account, name="Bought", event="purchase")
    keep(program, shop, "Bought", ["is", "goal", ["Bought"]])
    modules = ("audience", "sources", "content", "events")
    _, token = new_link(shop, *modules, downloads=True)
    guest = signed_in_as(None)
    every_key = with_key(new_key(shop.account, *(f"{module}:view" for module in modules))[1])
    for text, visitors in [*EVERY, (NESTED, 2)]:
        texts = [text] if isinstance(text, str) else text
        query = query_of(*texts)
        tree = chips.joined("and", chips.read(texts))
        told = count(every_key, shop, tree)
        assert told.json()["totals"] == {"visitors": visitors}, (text, told.content)
        for client, root in ((member, f"/p/{shop.key}/"), (guest, f"/share/{token}/")):
            line = client.get(f"{root}count/{query}").content.decode()
            assert f"{visitors} of 3 visitors" in line, (text, line)
        rows = b"".join(member.get(f"/p/{shop.key}/table/country.csv{query}")).decode().split()
        of_link = b"".join(guest.get(f"/share/{token}/table/country.csv{query}")).decode().split()
        assert rows == of_link
        assert sum(int(row.split(",")[1]) for row in rows[1:]) == visitors, (text, rows)
    page = member.get(f"/p/{shop.key}/{query_of(*NESTED)}").content.decode()
    for words in ("Source is <bdi", "Visitor has done <bdi", "any of", "Save as segment"):
        assert words in page, words
    shared = guest.get(f"/share/{token}/{query_of('segment:is:bought')}").content.decode()
    assert "Save as segment" not in shared
    assert "All segments" not in shared


def test_what_a_link_does_not_show_cannot_be_filtered_by_there(shop, program, member):
    from tests.people import new_link, signed_in_as

    slug = keep(program, shop, "Of content", ["is", "page", ["/order"]])
    _, token = new_link(shop, "audience")
    guest = signed_in_as(None)
    for text in ("page:is:/order", f"segment:is:{slug}"):
        refused = guest.get(f"/share/{token}/{query_of(text)}")
        assert refused.status_code == 400
        assert "You may not view content here" in refused.content.decode()
        line = guest.get(f"/share/{token}/count/{query_of(text)}").content.decode()
        assert "You may not view content here" in line
    gone = member.get(f"/p/{shop.key}/{query_of('segment:is:never-was')}")
    assert gone.status_code == 400
    assert "There is no segment &#x27;never-was&#x27;" in gone.content.decode()


def test_the_count_knows_what_is_being_typed(shop, member):
    typed = {"filter_dimension": "country", "filter_operator": "is"}
    path = f"/p/{shop.key}/count/"
    for value, words in (("", "2 of 3"), ("DE", "1 of 3"), ("DE\0", "holds a NUL")):
        line = member.get(path + query_of("page:is:/order", filter_value=value, **typed))
        assert words in line.content.decode()
    instead = query_of("page:is:/thanks", filter_value="FR", filter_into="or:0", **typed)
    assert "2 of 3" in member.get(path + instead).content.decode()
    sent = member.get(f"/p/{shop.key}/{instead}")
    assert sent.status_code == 302
    ends = "filter=any(&filter=page:is:/thanks&filter=country:is:FR&filter=)"
    assert sent["Location"].endswith(ends)


def test_filters_are_kept_at_a_report_changed_and_deleted(shop, member):
    from accounts.tenancy import tenant
    from reports.models import Segment

    account = shop.account
    list_path = f"/a/{account.slug}/segments/"
    sent = {"name": "Berlin & <b>", "filter": NESTED, "back": f"/p/{shop.key}/?range=7d"}
    answer = member.post(list_path, sent)
    assert answer["Location"] == f"/p/{shop.key}/?range=7d&filter=segment%3Ais%3Aberlin-b"
    page = member.get(answer["Location"]).content.decode()
    assert "Berlin &amp; &lt;b&gt;" in page
    listed = member.get(list_path).content.decode()
    assert "Country is Germany and (Source is Bing or Visitor has done purchase)" in listed
    one = f"{list_path}berlin-b/"
    form = member.get(one).content.decode()
    assert "\n".join(NESTED) in form
    refused = member.post(one, {"name": "Berlin", "filters": "colour:is:red"}).content.decode()
    assert "There is no filter by &#x27;colour&#x27;" in refused
    assert "colour:is:red" in refused
    assert "Write at least one filter" in member.post(one, {"name": "x"}).content.decode()
    assert member.post(one, {"name": "Berlin", "filters": "page:is:/"}).status_code == 302
    replaced = {"replaces": "berlin-b", "filter": ["source:is:Bing"], "back": "//evil.example/p/"}
    assert member.post(list_path, replaced)["Location"] == list_path
    with tenant(account.pk):
        kept = Segment.objects.get(account_id=account.pk, slug="berlin-b")
        assert (kept.name, kept.filters) == ("Berlin", ["is", "source", ["Bing"]])
    assert member.post(f"{one}delete/").status_code == 302
    assert member.get(one).status_code == 404
