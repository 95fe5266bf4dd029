"""What a share link shows over HTTP: its modules and days, at every widget; nothing to anybody
whose link has ended, whose password is wrong, or who would write."""

import html
import json
import re
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from io import BytesIO
from typing import Any
from zipfile import ZipFile

import pytest
from django.test import Client

from tests.history import Happening, at, roll_up, write
from tests.people import fresh, new_link, signed_in_as
from tests.test_access import access_of, ours, seen
from tests.test_report_page import curve_of, rows_of, tiles_of

DAYS = {"first": date(2026, 3, 5), "last": date(2026, 3, 7)}
REPORTS = ("audience", "sources", "content", "events")
OUTSIDE = "outside"  # stands in every text of what happened on other days


def happening(when: str, visitor: int, word: str, country: str, **other: Any) -> Happening:
    """A page view whose every text says the word."""
    names = "campaign medium term content referrer browser os device language screen title hostname"
    texts = dict.fromkeys(names.split(), word) | {"country": country}
    more = {"page": f"/{word}", "source": word, "channel": word, "texts": texts} | other
    return Happening(at(when), visitor, **more)


@pytest.fixture
def busy(shop: Any) -> Any:
    """`shop` (Berlin) with three visitors from 5 to 7 March and ten on the days around."""
    inside = [happening(f"2026-03-0{day}T12:00", day, "inside", "DE") for day in (5, 6, 7)]
    # A minute before the first day begins in Berlin, and the moment at which the last has ended.
    edges = ["2026-03-04T22:59", "2026-03-07T23:00"]
    around = [
        happening(when, 100 + index, OUTSIDE, "FR")
        for index, when in enumerate([*edges, *[f"2026-03-0{day}T12:00" for day in (3, 4, 8, 9)]])
    ]
    named = [
        happening(when, 200 + index, OUTSIDE, "FR", name=OUTSIDE)
        for index, when in enumerate(["2026-02-20T12:00", *edges, "2026-03-08T12:00"])
    ]
    bots = [happening("2026-03-04T12:00", 300, OUTSIDE, "FR", bot=True)]
    every = sorted([*inside, *around, *named, *bots], key=lambda happening: happening.time)
    write(shop, every)
    roll_up(shop, every)
    type(shop).objects.of(shop.account).filter(pk=shop.pk).update(first_event_at=every[0].time)
    shop.refresh_from_db()
    return shop


def get(token: str, below: str = "", client: Client | None = None, expected: int = 200) -> Any:
    response = (client or Client()).get(f"/share/{token}/{below}")
    assert response.status_code == expected, response.content[:300]
    return response


def text(response: Any) -> str:
    """What stands in it, and in the files of an archive."""
    body = response.getvalue()
    if response["Content-Type"] != "application/zip":
        return body.decode()
    with ZipFile(BytesIO(body)) as archive:
        return "\n".join(archive.read(name).decode() for name in archive.namelist())


# -- the days ------------------------------------------------------------------------------------

RANGES = (
    "", "range=all", "range=year", "range=month", "range=28d", "range=5000d",
    "range=2026-01-01..2026-12-31", "range=2026-03-04..2026-03-08", "from=2026-01-01&to=2026-12-31",
    "range=2026-03-04T00:00..2026-03-09T00:00", "range=2026-03-04T22:30Z..2026-03-07T23:30Z",
    "range=24h", "range=week", "range=quarter",
)  # fmt: skip
VIEWS = (
    "", "interval=hour", "interval=day", "interval=week", "interval=month", "interval=quarter",
    "interval=year", "compare=previous", "compare=none",
    "changes=1", "changes=1&compare=year", "bots=include", "bots=only",
    f"filter=page:is_not:/x&filter=page:contains:{OUTSIDE[:3]}", "filter=country:is:FR",
    "metric=pageviews&interval=week",
)  # fmt: skip


def at_noon(monkeypatch: Any, when: str) -> None:
    from django.utils import timezone

    monkeypatch.setattr(timezone, "now", lambda: at(when))


def pages_of_a_link() -> Iterator[str]:
    """Every address below a share link that shows numbers."""
    for route, pattern in ours():
        # A link with fixed dates shows nobody who is there now.
        if pattern.name.startswith("shared_") and access_of(pattern.callback).module != "realtime":
            below = route.removeprefix("share/<str:token>/").replace("<str:prop>", "plan")
            assert "<" not in below, f"{route}: this test cannot reach it"
            yield below


def test_no_widget_shows_a_day_outside_the_link(busy: Any, monkeypatch: Any) -> None:
    from properties.models import Property

    at_noon(monkeypatch, "2026-03-10T12:00")
    _, token = new_link(busy, *REPORTS, downloads=True, **DAYS)
    client, shown, refused = Client(), 0, 0
    below = list(pages_of_a_link())
    assert len(below) > 30
    # Everything of a page and of a file; of the other tables what would show most.
    some = ["", "table/page/", "table/source.csv"]
    asked = [(page, f"?{days}") for page in some for days in RANGES]
    asked += [(page, f"?range=all&{view}") for page in some for view in VIEWS]
    asked += [(page, "?range=2026-03-01..2026-03-31&bots=include") for page in below]
    for page, query in asked:
        answer = client.get(f"/share/{token}/{page}{query}", follow=True)
        assert answer.status_code in (200, 400), (page, query)
        body = text(answer).replace(f"contains:{OUTSIDE[:3]}", "")
        assert OUTSIDE not in body, (page, query)
        assert ">FR<" not in body, (page, query)
        shown, refused = shown + (answer.status_code == 200), refused + (answer.status_code == 400)
    assert shown > 2 * refused
    # The same pages do show it to a member: this test can fail.
    alice = Property.objects.of(busy.account).get().account.memberships.get().user
    member = signed_in_as(alice)
    assert OUTSIDE in text(member.get(f"/p/{busy.key}/?range=all"))
    assert OUTSIDE in text(member.get(f"/p/{busy.key}/table/page.csv?range=all"))
    assert OUTSIDE in text(member.get(f"/p/{busy.key}/tables.zip?range=all"))


def test_numbers_of_a_link_are_those_of_its_days(busy: Any) -> None:
    _, token = new_link(busy, *REPORTS, **DAYS)
    for query in ("", "?range=all", "?range=2026-01-01..2026-12-31&interval=week"):
        page = text(get(token, query))
        assert tiles_of(page)["visitors"] == "Visitors: 3"
        assert sum(curve_of(page)["values"]) >= 3 or query
        assert rows_of(page, "pages") == [("/inside", "3", "3")]
        assert rows_of(page, "places") == [("Germany", "3", "100 %")]
    week = curve_of(text(get(token, "?interval=week")))
    assert week["values"] == [3]
    assert get(token, "?range=2026-04-01..2026-04-02", expected=400)


def test_a_visitor_of_the_days_came_as_she_came(shop: Any) -> None:
    """Of visits before the days nothing is counted; what they say of her visit stays with it."""
    history = [
        happening("2026-02-20T12:00", 5, OUTSIDE, "FR"),
        happening("2026-03-05T12:00", 5, "inside", "DE", source="Direct", channel="Direct"),
        happening("2026-03-04T22:50", 6, "under way", "FR"),
        happening("2026-03-04T23:10", 6, "inside", "DE"),
        happening("2026-03-08T12:00", 7, "later", "SE"),
    ]
    write(shop, history)
    roll_up(shop, history)
    _, token = new_link(shop, *REPORTS, **DAYS)
    page = text(get(token, "?range=all"))
    assert tiles_of(page)["visitors"] == "Visitors: 2"
    assert tiles_of(page)["pageviews"] == "Pageviews: 2"
    assert rows_of(page, "pages") == [("/inside", "2", "2")]
    assert [row[:2] for row in rows_of(page, "sources")] == [("Direct", "1"), ("under way", "1")]
    assert [row[:2] for row in rows_of(page, "places")] == [("Germany", "1"), ("France", "1")]
    first = text(get(token, "table/first_source/?range=all"))
    assert re.findall(r'class="row-link"[^>]*><bdi>([^<]*)<', first) == [
        OUTSIDE, "under way"
    ]  # fmt: skip
    assert "later" not in page + first


def test_a_comparison_that_reaches_beyond_is_left_out(busy: Any) -> None:
    _, token = new_link(busy, *REPORTS, **DAYS)
    page = text(get(token, "?compare=previous"))
    assert curve_of(page)["before"] == [] or not any(curve_of(page)["before"])
    assert "vs previous" not in page
    day = text(get(token, "?range=2026-03-06..2026-03-06&interval=hour"))
    assert "vs previous" in day
    assert "1, 1 in the period before" in tiles_of(day)["visitors"]
    table = "table/page/?range=2026-03-06..2026-03-06&changes=1"
    assert "1, 1 in the period before" in text(get(token, table))
    embedded = text(get(token, "?embed=1&range=2026-03-06..2026-03-06&changes=1"))
    assert "1, 1 in the period before" in embedded[embedded.index('id="card-pages"') :]
    outside = text(get(token, table.replace("-06", "-05")))
    assert "period before" not in outside
    assert 'class="change' not in outside
    first = text(get(token, "?range=2026-03-05..2026-03-05"))
    assert tiles_of(first)["visitors"] == "Visitors: 1"


def test_the_last_days_roll_on(busy: Any, monkeypatch: Any) -> None:
    _, token = new_link(busy, *REPORTS, days=3)
    for noon, visitors in (
        ("2026-03-07T12:30", "3"),
        ("2026-03-08T12:30", "6"),
        ("2026-06-01T12:00", "0"),
    ):
        at_noon(monkeypatch, noon)
        page = text(get(token, "?range=all&compare=none"))
        assert tiles_of(page)["visitors"].split(";")[0] == f"Visitors: {visitors}", noon


def test_a_link_offers_only_ranges_that_it_shows(busy: Any, monkeypatch: Any) -> None:
    at_noon(monkeypatch, "2026-03-10T12:00")
    _, token = new_link(busy, "audience", days=10)
    page = text(get(token))
    assert "Last 10 days" in page
    assert "Last 7 days" in page
    for longer in ("Last 28 days", "Last 90 days", "All time", "This year"):
        assert longer not in page
    assert 'min="2026-03-01" max="2026-03-10"' in page


def test_every_number_comes_by_the_place_that_knows_the_days(busy: Any) -> None:
    from django.core.exceptions import PermissionDenied

    from accounts.tenancy import tenant
    from properties.periods import parse_range, zone
    from reports.queries import Question, ask, count

    tz, now = zone(busy.timezone), at("2026-03-10T12:00")
    everything = parse_range("2026-01-01..2026-12-31", tz, now)
    question = Question(metrics=("visitors",), range=everything, compare=everything)
    link, _ = new_link(busy, "audience", **DAYS)
    with tenant(busy.account_id):
        assert ask(busy, question, now).totals["visitors"] > 3
        busy.window = link.window(now)
        answer = ask(busy, question, now)
        assert (answer.totals["visitors"], answer.compared) == (3, None)
        assert answer.meta["from"].startswith("2026-03-05T00:00")
        with pytest.raises(PermissionDenied):
            count(busy, question, everything)


# -- the modules ----------------------------------------------------------------------------------


def test_a_link_shows_its_modules_and_no_others(busy: Any) -> None:
    from reports.metrics import DIMENSIONS

    _, token = new_link(busy, "audience", "sources")
    page = text(get(token))
    assert 'id="card-sources"' in page
    assert 'id="card-pages"' not in page
    for name, dimension in DIMENSIONS.items():
        expected = 200 if dimension.module in ("audience", "sources") else 403
        get(token, f"table/{name}/", expected=expected)
    get(token, "?filter=page:is:/inside", expected=400)
    get(token, "now/", expected=403)


def test_who_is_there_now_is_shown_by_a_link_that_shows_it(busy: Any) -> None:
    _, token = new_link(busy, "audience", "realtime")
    assert f'hx-get="/share/{token}/now/"' in text(get(token))
    assert "now" in text(get(token, "now/"))
    _, fixed = new_link(busy, "audience", "realtime", **DAYS)
    get(fixed, "now/", expected=403)
    assert 'id="now"' not in text(get(fixed))


def test_who_is_there_now_is_compared_with_no_weeks_that_a_link_does_not_show(busy: Any) -> None:
    from properties.access import Actor
    from reports.realtime import Asked
    from reports.viewers import Viewer, _group_of

    for days, told in ((None, True), (3, False)):
        link, token = new_link(busy, "audience", "realtime", days=days)
        assert ("unusual" in get(token, "live/now/").json()) is told
        actor = Actor(link)
        group = _group_of(Viewer(actor, busy, Asked()), actor.rights, {busy.pk: busy})
        assert group is not None
        assert group.asked.sees_past is told, "of the stream"


def test_a_link_offers_the_values_of_its_days_to_filter_by(busy: Any) -> None:
    from reports.metrics import DIMENSIONS

    token = new_link(busy, "audience", "sources", "content", "events", **DAYS)[1]
    offered = html.unescape(re.findall(r'data-values="([^"]+)"', get(token).content.decode())[0])
    assert offered == f"/share/{token}/dimensions"

    def values(name: str, query: str = "") -> list[str]:
        answer = get(token, f"dimensions/{name}/values?range=2026-02-01..2026-03-20{query}").json()
        return [each["value"] for each in answer["values"]]

    for name in DIMENSIONS:
        assert not any(OUTSIDE in value for value in values(name)), name
    assert values("source") == ["inside"]
    assert values("source", "&search=INS") == ["inside"]
    assert values("source", "&search=nothing") == values("source", f"&search={'x' * 5000}") == []
    assert get(token, "dimensions/source/values?range=2026-01-01").json() == {"values": []}
    assert get(token, "dimensions?range=28d").json() == {"properties": []}
    assert get(token, "dimensions/props:plan/values").json() == {"values": []}


def test_a_frame_opens_who_is_here_now_beside_the_page_that_has_it(busy: Any) -> None:
    token = new_link(busy, "audience", "realtime")[1]
    [way] = re.findall(r'<a class="now-way"[^>]*>', get(token, "?embed=1").content.decode())
    assert 'target="_blank" rel="noopener"' in way
    [way] = re.findall(r'<a class="now-way"[^>]*>', get(token).content.decode())
    assert "target" not in way


def test_files_come_only_by_a_link_that_gives_them(busy: Any) -> None:
    _, token = new_link(busy, *REPORTS)
    get(token, "table/page.csv", expected=403)
    get(token, "tables.zip", expected=403)
    assert "tables.zip" not in text(get(token))
    assert "Download CSV" not in text(get(token, "table/page/"))
    _, giving = new_link(busy, *REPORTS, downloads=True)
    file = get(giving, "table/page.csv?range=2026-03-05..2026-03-07")
    assert text(file).splitlines()[1].startswith("/inside,")
    assert busy.key not in file.headers["Content-Disposition"]
    assert f"/share/{giving}/table/page.csv" in text(get(giving, "table/page/"))
    archive = get(giving, "tables.zip?range=2026-03-05..2026-03-07")
    assert "/inside," in text(archive)
    assert busy.key not in archive.headers["Content-Disposition"]
    assert f"/share/{giving}/tables.zip" in text(get(giving))


def test_its_pages_lead_nowhere_else_and_name_nobody(busy: Any, alice: Any, acme: Any) -> None:
    from properties.models import ApiKey

    key, secret = ApiKey.issue(acme, fresh("Reader"))
    _, token = new_link(busy, *REPORTS, "realtime", downloads=True, made_by=alice)
    type(busy).objects.of(acme).filter(pk=busy.pk).update(hostnames=["acme.example"])
    for below in ("?range=all", "pages/?range=all", "table/page/?range=all", "table/country/"):
        page = text(get(token, below))
        targets = re.findall(r'(?:href|action|hx-get)="([^"]*)"', page)
        leading = {html.unescape(target) for target in targets}
        away = {
            target
            for target in leading
            if not target.startswith((f"/share/{token}/", "?", "#", "/static/"))
        }
        assert away == set()
        for secret_word in (alice.email, key.prefix, secret, busy.key, acme.slug, "csrf"):
            assert secret_word not in page


def test_whoever_is_signed_in_sees_what_everybody_sees(busy: Any, alice: Any, charlie: Any) -> None:
    _, token = new_link(busy, "audience", **DAYS)
    nobody = text(get(token))
    for user in (alice, charlie):
        client = signed_in_as(user)
        assert text(get(token, client=client)) == nobody
        get(token, "table/page/", client=client, expected=403)
        assert client.get("/user/email/").status_code == 200  # still signed in


# -- the address ----------------------------------------------------------------------------------


def test_what_is_no_link_looks_like_nothing(busy: Any) -> None:
    now = datetime.now().astimezone()
    link, good = new_link(busy, *REPORTS)
    _, expired = new_link(busy, *REPORTS, expires=now - timedelta(seconds=1))
    _, revoked = new_link(busy, *REPORTS, revoked=now)
    nothing = seen(Client().get("/nothing/of/that/name/"))
    wrong = [
        ":token",
        "null",
        "0",
        "undefined",
        "%00",
        "*",
        "..",
        good[:-1],
        good + "a",
        link.digest,
    ]
    wrong += [good.swapcase(), "<str:token>", "{token}", "%20", "é", expired, revoked]
    for token in wrong:
        for below in ("", "now/", "table/page/", "table/page.csv", "?range=all"):
            answer = seen(Client().get(f"/share/{token}/{below}"))
            headers = {name: v for name, v in answer[2].items() if name != "X-Robots-Tag"}
            assert (answer[0], answer[1], headers) == (404, nothing[1], nothing[2]), token
    for path in ("/share", "/share/", "/share//"):
        assert Client().get(path).status_code == 404


def test_an_ended_link_is_out_at_once(busy: Any) -> None:
    link, token = new_link(busy, *REPORTS)
    get(token)
    link.revoke(datetime.now().astimezone())
    get(token, expected=404)


def test_a_deleted_propertys_link_leads_nowhere(shop: Any) -> None:
    _, token = new_link(shop, *REPORTS)
    get(token)
    shop.delete()
    get(token, expected=404)


def test_the_address_is_told_to_nobody(busy: Any) -> None:
    _, token = new_link(busy, *REPORTS, downloads=True)
    for below, status in (("", 200), ("table/page/", 200), ("table/page.csv", 200), ("x/", 404)):
        headers = get(token, below, expected=status).headers
        assert headers["Referrer-Policy"] == "same-origin"
        assert "noindex" in headers["X-Robots-Tag"]
        assert "private" in headers["Cache-Control"]
        assert headers["X-Frame-Options"] == "DENY"
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]


def test_only_named_hosts_may_frame_it(busy: Any) -> None:
    _, token = new_link(busy, "audience", hosts=["example.com", "*.example.net"])
    headers = get(token).headers
    policy = headers["Content-Security-Policy"]
    assert "frame-ancestors example.com www.example.com *.example.net;" in policy + ";"
    assert "default-src 'none'" in policy
    assert "X-Frame-Options" not in headers
    get(token, "table/page/", expected=403)


# -- the password ---------------------------------------------------------------------------------

PASSWORD = "correct horse"


def new_locked(place: Any) -> tuple[Any, str]:
    link, token = new_link(place, *REPORTS)
    link.set_password(PASSWORD)
    link.save()
    return link, token


def unlock(client: Client, token: str, password: str = PASSWORD, **more: str) -> Any:
    return client.post(f"/share/{token}/unlock/", {"password": password} | more)


def test_a_password_stands_before_every_page_and_names_nothing(busy: Any) -> None:
    _, token = new_locked(busy)
    for below in ("", "now/", "table/page/", "table/page.csv", "table/page/?range=all"):
        page = text(get(token, below, expected=403))
        assert "This report has a password" in page
        assert busy.name not in page
        assert "/inside" not in page


def test_the_right_password_lets_this_browser_in(busy: Any, settings: Any) -> None:
    link, token = new_locked(busy)
    client = Client()
    refused = unlock(client, token, "wrong horse")
    assert refused.status_code == 403
    assert "This is not the password" in text(refused)
    onward = f"/share/{token}/table/page/?range=all"
    answer = unlock(client, token, next=onward)
    assert (answer.status_code, answer.headers["Location"]) == (302, onward)
    cookie = answer.cookies["share"]
    assert cookie["path"] == f"/share/{token}/"
    assert cookie["httponly"]
    assert cookie["samesite"] == "Lax"
    assert 0 < cookie["max-age"] <= 12 * 3600
    assert link.password not in cookie.value
    get(token, client=client)
    get(token, "table/page/", client=client)
    get(token, expected=403)
    # The answer to one link opens no other, and a new password asks again.
    _, other = new_locked(busy)
    client.cookies["share"]["path"] = "/"
    get(other, client=client, expected=403)
    link.set_password("another horse")
    link.save()
    get(token, client=client, expected=403)


@pytest.mark.parametrize(
    "onward", ["https://evil.example/", "//evil.example/", "/user/email/", "\\\\evil.example", ""]
)
def test_after_the_password_nobody_is_sent_elsewhere(onward: str, busy: Any) -> None:
    _, token = new_locked(busy)
    answer = unlock(Client(), token, next=onward)
    assert answer.headers["Location"] == f"/share/{token}/"


def test_passwords_cannot_be_guessed_at_will(busy: Any, monkeypatch: Any) -> None:
    from properties import sharing

    monkeypatch.setattr(sharing, "TRIES", 3)
    monkeypatch.setattr(sharing, "TRIES_OF_ALL", 6)
    _, token = new_locked(busy)
    guesser = Client(REMOTE_ADDR="192.0.2.1")
    assert [unlock(guesser, token, f"guess {n}").status_code for n in range(4)] == [403] * 3 + [429]
    answer = unlock(guesser, token)
    assert answer.status_code == 429
    assert int(answer.headers["Retry-After"]) > 0
    # Whoever knows it is not locked out by somebody who guesses from elsewhere.
    assert unlock(Client(REMOTE_ADDR="192.0.2.2"), token).status_code == 302
    # Many addresses together are slowed as well; IPv6 counts by its /64.
    many = [Client(REMOTE_ADDR=f"2001:db8::{n}") for n in range(5)]
    got = [unlock(one, token, "guess").status_code for one in many]
    assert got[:1] == [403]
    assert got[-1] == 429


def test_without_the_count_no_password_is_tried(busy: Any, monkeypatch: Any) -> None:
    from django.core.cache import cache
    from redis.exceptions import ConnectionError as Away

    def away(*args: Any, **kwargs: Any) -> None:
        raise Away

    _, token = new_locked(busy)
    monkeypatch.setattr(cache, "add", away)
    client = Client(raise_request_exception=False)
    assert unlock(client, token).status_code == 503


def test_a_browser_may_send_the_password(busy: Any) -> None:
    """As browsers do it: a page that asks for no referrer sends `Origin: null` with its forms."""
    _, token = new_locked(busy)
    client = Client(enforce_csrf_checks=True)
    page = get(token, client=client, expected=403)
    origin = "http://testserver"
    if page.headers["Referrer-Policy"] == "no-referrer":
        origin = "null"
    form = {"password": PASSWORD, "csrfmiddlewaretoken": client.cookies["csrftoken"].value}
    answer = client.post(f"/share/{token}/unlock/", form, headers={"Origin": origin})
    assert answer.status_code == 302


def test_the_password_form_needs_its_token(busy: Any) -> None:
    _, token = new_locked(busy)
    assert unlock(Client(enforce_csrf_checks=True), token).status_code == 403


def test_unlocking_what_is_no_link_looks_like_nothing() -> None:
    assert unlock(Client(), ":token").status_code == 404


# -- it never writes ------------------------------------------------------------------------------


class AsLink:
    """Middleware that makes a share link the actor of every request: worse than any address."""

    link: Any = None

    def __init__(self, get_response: Any) -> None:
        self.get_response = get_response

    def __call__(self, request: Any) -> Any:
        from properties.access import Actor

        request._aktivat_actor = Actor(self.link)
        return self.get_response(request)


def test_a_link_writes_nowhere(busy: Any, acme: Any, alice: Any, settings: Any) -> None:
    """Every route with every unsafe method, as a link with all grants there are, and beside it the
    session of an owner."""
    from accounts import modules
    from properties.models import Grant

    link, token = new_link(busy)
    for module in modules.MODULES:
        for place in (busy, None):
            Grant.objects.create(
                account=acme, share_link=link, module=module, verb="manage", property=place
            )
    AsLink.link = link
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, f"{__name__}.AsLink"]
    values = {"key": busy.key, "account": acme.slug, "token": token, "event": "pageview"}
    client, tried = signed_in_as(alice), 0
    body = json.dumps({"name": "Mine", "metrics": ["visitors"]})
    for route, pattern in ours():
        access = access_of(pattern.callback)
        # A table's route is one for each dimension; unlocking changes nothing but a cookie.
        dimension = (pattern.default_args or {}).get("dimension", "page")
        if access.kind == "public" or pattern.name == "unlock_share" or dimension != "page":
            continue
        path = "/" + re.sub(r"<\w+:(\w+)>", lambda m: str(values.get(m[1], 1)), route)
        for method in ("POST", "PUT", "PATCH", "DELETE"):
            answer = client.generic(method, path, body, content_type="application/json")
            assert answer.status_code in (401, 403, 404, 405), (method, path)
            tried += 1
    assert tried > 150
    busy.refresh_from_db()
    assert busy.name == "Shop"


def test_a_token_is_no_credential_elsewhere(busy: Any, acme: Any) -> None:
    _, token = new_link(busy, *REPORTS)
    for secret in (token, f"ak_{token}"):
        client = Client(headers={"authorization": f"Bearer {secret}"})
        assert client.get(f"/api/v1/properties/{busy.key}").status_code == 401
        assert client.post(f"/api/v1/properties/{busy.key}/query").status_code == 401
    assert Client().get(f"/p/{token}/").status_code == 302
    assert Client().get(f"/p/{busy.key}/?token={token}").status_code == 302


# -- who looked -----------------------------------------------------------------------------------


def entries(place: Any, action: str) -> list[Any]:
    from accounts.models import AuditEntry
    from accounts.tenancy import tenant

    with tenant(place.account_id):
        return list(AuditEntry.objects.filter(account_id=place.account_id, action=action))


def test_views_are_counted_and_the_first_of_a_day_is_noted(busy: Any) -> None:
    link, token = new_link(busy, *REPORTS, "realtime")
    here, there = Client(REMOTE_ADDR="192.0.2.1"), Client(REMOTE_ADDR="192.0.2.2")
    get(token, client=here)
    get(token, "table/page/", client=here)
    here.get(f"/share/{token}/now/", headers={"HX-Request": "true"})
    get(token, client=there)
    link.refresh_from_db()
    assert link.views == 3
    assert link.last_used
    opened = entries(busy, "share_link.opened")
    assert [entry.address for entry in opened] == ["192.0.2.1", "192.0.2.2"]
    assert {entry.actor_name for entry in opened} == {link.name}
    assert token not in str([vars(entry) for entry in opened])


def test_a_wrong_password_is_noted(busy: Any) -> None:
    link, token = new_locked(busy)
    unlock(Client(), token, "secret guess")
    (entry,) = entries(busy, "share_link.refused")
    assert entry.target == link.name
    assert "secret guess" not in str(vars(entry))


# -- in a frame of another site --------------------------------------------------------------------


def test_an_embedded_report_has_no_frame_of_its_own_sets_no_cookie_and_keeps_its_look(
    busy: Any,
) -> None:
    _, token = new_link(busy, *REPORTS, hosts=["example.com"])
    answer = get(token, "?embed=1&theme=dark&range=2026-03-05..2026-03-07")
    page = text(answer)
    assert "frame-ancestors example.com www.example.com" in answer["Content-Security-Policy"]
    assert "X-Frame-Options" not in answer
    assert not answer.cookies
    assert '<html lang="en" data-theme="dark" data-fixed-theme data-embed>' in page
    assert "Shared report" not in page
    assert "data-theme-switch" not in page
    views = [href for href in re.findall(r'href="(\?[^"]*)"', page) if href != "?"]
    assert len(views) > 20
    assert [href for href in views if "embed=1&amp;theme=dark" not in href] == []
    tables = re.findall(rf'href="(/share/{token}/[^"]*)"', page)
    assert [href for href in tables if "embed=1" not in href and "live" not in href] == []
    assert "Shared report" in text(get(token))
    get(token, "?theme=pink", expected=400)
    get(token, "?embed=yes", expected=400)


def test_only_what_is_shared_stands_in_frames(busy: Any, alice: Any) -> None:
    answer = signed_in_as(alice).get(f"/p/{busy.key}/?embed=1&theme=dark")
    assert answer["X-Frame-Options"] == "DENY"
    assert "data-embed" not in text(answer)
    assert "embed=1" not in text(answer)


def test_the_page_that_makes_a_link_gives_the_snippet_for_its_hosts(shop: Any, alice: Any) -> None:
    client, path = signed_in_as(alice), f"/p/{shop.key}/share/"
    shop.name = 'Shop "><script>alert(1)</script>'
    shop.save()
    form = {"name": "Blog", "range": "all"}
    page = text(client.post(path, form | {"hosts": "blog.example.com"}))
    assert "&lt;iframe src=&quot;http://testserver/share/" in page
    assert "<iframe" not in page
    assert "<script>alert" not in page
    assert "?embed=1&quot; title=" in page
    assert "iframe" not in text(client.post(path, form))
