"""Who may enter where, as a table; and proofs that the table is complete.

Every route of the URLconf names its access, or belongs to a package that guards itself. Routes
with a right are tried by every kind of actor; a stranger's 404 equals that of nothing at all.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import pytest
from django.db import connection
from django.db.utils import ProgrammingError

from tests.people import (
    fresh,
    new_key,
    new_link,
    new_property,
    new_user,
    signed_in_as,
    with_key,
)

# Packages that guard their own pages, by the beginning of their routes.
GUARD_THEMSELVES = ("user/", "admin/")


# -- every route names its access ------------------------------------------------------------------


@cache
def routes() -> list[tuple[str, Any]]:
    """(route from the root, view) of every pattern there is; the same for all tests, and a walk
    through seven hundred patterns for each request is dearer than many an answer."""
    from django.urls import URLPattern, get_resolver

    def below(patterns: list[Any], begin: str) -> Iterator[tuple[str, Any]]:
        for pattern in patterns:
            route = begin + str(pattern.pattern)
            if isinstance(pattern, URLPattern):
                yield route, pattern
            else:
                yield from below(pattern.url_patterns, route)

    return list(below(get_resolver().url_patterns, ""))


def access_of(view: Any) -> Any:
    return getattr(getattr(view, "view_class", None), "access", None) or getattr(
        view, "access", None
    )


@cache
def ours() -> list[tuple[str, Any]]:
    return [(route, p) for route, p in routes() if not route.startswith(GUARD_THEMSELVES)]


def test_every_route_names_its_access() -> None:
    nameless = [route for route, pattern in ours() if access_of(pattern.callback) is None]
    assert nameless == [], "give these views a decorator of properties/access.py, or DoorView"


def test_every_right_that_a_route_names_stands_in_the_rulebook() -> None:
    from accounts import modules

    for route, pattern in ours():
        access = access_of(pattern.callback)
        assert access.kind in {"door", "share", "member", "signed in", "public"}, route
        if access.module:
            for verb in access.verb.split("/"):
                modules.check(access.module, verb)


def test_the_public_routes_are_these() -> None:
    public = {p.name for _, p in ours() if access_of(p.callback).kind == "public"}
    assert public == {
        "healthz", "readyz", "security_txt", "gpc", "login_link", "invitation", "schema", "api_docs"
    }  # fmt: skip


TABLES = ("table", "table_csv", "shared_table", "shared_table_csv")


def test_the_table_of_a_dimension_stands_behind_the_door_of_its_module() -> None:
    from reports.metrics import DIMENSIONS

    found = {
        (p.name, p.default_args["dimension"]): access_of(p.callback).module
        for _, p in ours()
        if p.name in TABLES
    }
    assert found == {
        (name, dimension.name): dimension.module
        for name in TABLES
        for dimension in DIMENSIONS.values()
    }


def test_a_report_and_its_tables_stand_behind_the_door_of_its_module() -> None:
    from reports.catalogue import REPORTS

    files = ("report_series_csv", "report_chart_svg")  # of the curve
    names = ("report", "report_table", "report_table_csv", "report_tables_zip", *files)
    wanted = {
        (prefix + name, report.name, table, report.module)
        for report in REPORTS.values()
        for prefix in ("", "shared_")
        for name in names
        for table in (report.tables if "report_table" in name and "zip" not in name else [""])
        if report.tiles or name not in files
        if report.cards or "zip" not in name
    }
    assert wanted == {
        (
            p.name,
            p.default_args["report"],
            p.default_args.get("table", ""),
            access_of(p.callback).module,
        )
        for _, p in ours()
        if p.name and p.name.removeprefix("shared_") in names
    }


def test_the_picture_of_a_block_stands_behind_the_door_of_its_module() -> None:
    from reports.catalogue import REPORTS

    wanted = {
        (prefix + "report_block_svg", report.name, block.name, block.module)
        for report in REPORTS.values()
        for block in report.blocks
        for prefix in ("", "shared_")
        if block.picture
    }
    assert {block for _, _, block, _ in wanted} == {"map", "properties", "web vitals"}
    assert wanted == {
        (p.name, p.default_args["report"], p.default_args["block"], access_of(p.callback).module)
        for _, p in ours()
        if p.name and p.name.removeprefix("shared_") == "report_block_svg"
    }


def test_a_route_behind_the_door_names_a_place() -> None:
    for route, pattern in ours():
        kind = access_of(pattern.callback).kind
        if kind in {"door", "member"}:
            assert re.search(r"<str:(key|account)>", route), route
        if kind == "share":
            assert route.startswith("share/<str:token>/"), route


def test_an_unknown_right_is_refused_where_it_is_written() -> None:
    from accounts.modules import UnknownRight
    from properties.access import DoorView, door

    with pytest.raises(UnknownRight):
        door("horoscopes")
    with pytest.raises(UnknownRight):
        door("audience", "destroy")
    with pytest.raises(UnknownRight):
        door("audience", POST="destroy")
    with pytest.raises(UnknownRight):
        type("Bad", (DoorView,), {"module": "audience", "verbs": {"GET": "destroy"}})


def test_an_api_view_without_access_is_refused() -> None:
    from django.core.exceptions import ImproperlyConfigured
    from rest_framework.test import APIRequestFactory
    from rest_framework.views import APIView

    class Forgotten(APIView):
        def get(self, request: Any) -> None:
            raise AssertionError("entered")

    with pytest.raises(ImproperlyConfigured):
        Forgotten.as_view()(APIRequestFactory().get("/"))


# -- the table -------------------------------------------------------------------------------------

LOGIN = 302
ACTORS = ("owner", "viewer", "bob", "charlie", "nobody")


@dataclass(frozen=True)
class Row:
    """What a route answers to each actor; `key` is an API key that has the right it asks for.
    tests/test_proof.py tries them, and many more."""

    name: str
    method: str = "GET"
    owner: int = 200
    viewer: int = 403
    bob: int = 403  # audience and sources of one property
    charlie: int = 404
    nobody: int = LOGIN
    key: int | None = None  # None: pages take no keys
    key_without: int = 403
    key_elsewhere: int = 404
    right: str = ""
    body: dict[str, Any] | None = None
    params: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return "-".join([self.method, self.name, *self.params.values()])


def api(name: str, right: str, method: str = "GET", **other: Any) -> Row:
    """A row of the API: nobody gets 401, and keys are tried."""
    return Row(name, method, **({"nobody": 401, "key": 200, "right": right} | other))


ROWS = [
    Row("home", owner=302, viewer=302, bob=302, charlie=302),
    Row("new_account", viewer=200, bob=200, charlie=200),
    Row("account", viewer=200, bob=200),
    Row("account_settings"),
    Row("account_settings", "POST"),
    Row("usage"),
    Row("usage_csv"),
    Row("usage_svg"),
    Row("members"),
    Row("members", "POST"),
    Row("member"),
    Row("member", "POST"),
    Row("member_words", "POST"),
    Row("member_owner", "POST", owner=302),
    Row("remove_member"),
    Row("remove_member", "POST"),
    Row("leave_account", viewer=200, bob=200),
    Row("leave_account", "POST", viewer=200, bob=200),
    Row("resend_invitation", "POST", owner=302),
    Row("revoke_invitation", "POST", owner=302),
    Row("api_keys"),
    Row("api_keys", "POST"),
    Row("api_key"),
    Row("api_key", "POST"),
    Row("revoke_api_key", "POST", owner=302),
    Row("audit_log"),
    Row("audit_csv"),
    api("api_audit", "audit:view"),
    Row("new_property"),
    Row("property_settings"),
    Row("property_settings", "POST"),
    Row("property_tracking"),
    Row("property_tracking", "POST"),
    Row("property_keys"),
    Row("property_keys", "POST"),
    Row("end_key", "POST", owner=302),
    Row("property_goals"),
    Row("property_goals", "POST"),
    Row("property_goal"),
    Row("property_goal", "POST"),
    Row("delete_goal", "POST", owner=302),
    Row("property_share"),
    Row("property_share", "POST"),
    Row("revoke_share_link", "POST", owner=302),
    Row("snippet"),
    Row("first_event", owner=302),
    api(
        "api_accounts",
        "audience:view",
        viewer=200,
        bob=200,
        charlie=200,
        key_without=200,
        key_elsewhere=200,
    ),
    api(
        "api_accounts",
        "property:manage",
        "POST",
        owner=400,
        viewer=400,
        bob=400,
        charlie=400,
        key=403,
        key_elsewhere=403,
        body={},
    ),
    api(
        "api_me",
        "audience:view",
        viewer=200,
        bob=200,
        charlie=200,
        key_without=200,
        key_elsewhere=200,
    ),
    api("api_account", "property:view", viewer=200, bob=200, key_without=200),
    api("api_account", "property:manage", "PATCH", body={}),
    api("api_usage", "usage:view"),
    api("api_account_properties", "property:view"),
    api("api_account_properties", "property:manage", "POST", owner=400, key=400, body={}),
    api("api_members", "members:view"),
    api("api_member", "members:view"),
    api("api_member", "members:manage", "PATCH", owner=400, key=400, body={}),
    api("api_member", "members:manage", "DELETE", owner=204, key=204),
    api("api_member_grants", "members:view"),
    api("api_member_grants", "members:manage", "PUT", owner=400, key=400, body={}),
    api("api_invitations", "members:view"),
    api("api_invitations", "members:manage", "POST", owner=400, key=400, body={}),
    api("api_invitation", "members:view"),
    api("api_invitation", "members:manage", "DELETE", owner=204, key=204),
    api("api_resend_invitation", "members:manage", "POST"),
    api("api_property", "property:view"),
    api("api_property", "property:manage", "PATCH", body={}),
    api("api_keys_of_property", "property:view"),
    api(
        "api_keys_of_property",
        "property:manage",
        "POST",
        owner=400,
        key=400,
        body={"days": -1},
    ),
    api("api_retired_key", "property:manage", "DELETE"),
    api("api_goals", "property:view"),
    api("api_goals", "property:manage", "POST", owner=400, key=400, body={}),
    api("api_goal", "property:view"),
    api("api_goal", "property:manage", "PATCH", body={}),
    api("api_goal", "property:manage", "DELETE", owner=204, key=204),
]
_PERSON = {"user": "17"}
ROWS += [
    api("api_users", "people:view", key_without=403),
    api("api_users", "people:manage", "POST", owner=400, key=400, body={}),
    api("api_user", "people:view", params=_PERSON),
    api("api_user", "people:manage", "PATCH", body={}, params=_PERSON),
]
_SEGMENT = {"segment": "buyers"}
ROWS += [
    Row("segments", viewer=200),
    Row("segments", "POST"),
    Row("segment", params=_SEGMENT),
    Row("segment", "POST", params=_SEGMENT),
    Row("delete_segment", "POST", owner=302, params=_SEGMENT),
    api("api_segments", "audience:view", viewer=200, bob=200, key_without=200),
    api("api_segments", "audience:manage", "POST", owner=400, key=400, body={}),
    api("api_segment", "audience:view", viewer=200, bob=200, params=_SEGMENT),
    api("api_segment", "audience:manage", "PATCH", body={}, params=_SEGMENT),
    api("api_segment", "audience:manage", "DELETE", owner=204, key=204, params=_SEGMENT),
]
# Visitors and persons: whoever may look at the settings sees the page, `people` opens the rest.
_NOBODY = {"visitor": "somebody-unknown"}
PRIVACY = [
    Row("property_privacy"),
    Row("stored", viewer=200, bob=200, charlie=200),
    Row("export_visitor", "POST"),
    Row("erase_visitor", "POST"),
    Row("delete_property", "POST"),
    Row("delete_account"),
    Row("delete_account", "POST"),
    api("api_exports", "people:manage", "POST", body=_NOBODY),
    api("api_erasures", "people:view"),
    api("api_erasures", "people:manage", "POST", owner=202, key=202, body=_NOBODY),
    api("api_erasure", "people:view"),
]
# Below a share link's address everybody gets the same: what the link shows (audience, sources).
ROWS += [
    api("api_account_keys", "api_keys:view"),
    api("api_account_keys", "api_keys:manage", "POST", owner=400, key=400, body={}),
    api("api_account_key", "api_keys:view"),
    api("api_account_key", "api_keys:manage", "PATCH", body={}),
    api("api_account_key", "api_keys:manage", "DELETE"),
    api("api_share_links", "property:manage"),
    api("api_share_links", "property:manage", "POST", owner=400, key=400, body={}),
    api("api_share_link", "property:manage"),
    api("api_share_link", "property:manage", "DELETE"),
]
ROWS += [
    Row(name, method, **dict.fromkeys(ACTORS, status), params=params)
    for name, method, status, params in [
        ("shared_overview", "GET", 200, {}),
        ("shared_overview", "POST", 405, {}),
        ("shared_now", "GET", 403, {}),
        ("shared_series_csv", "GET", 200, {}),
        ("shared_tables_zip", "GET", 200, {}),
        ("shared_report_tables_zip", "GET", 200, {"report": "audience"}),
        ("shared_report_tables_zip", "GET", 403, {"report": "pages"}),
        ("shared_chart_svg", "GET", 200, {}),
        ("shared_live_stream", "GET", 403, {}),
        ("shared_count", "GET", 200, {}),
        ("shared_dimensions", "GET", 403, {}),
        ("shared_prop_values", "GET", 403, {"prop": "plan"}),
        ("shared_values", "GET", 200, {"dimension": "country"}),
        ("shared_values", "GET", 403, {"dimension": "page"}),
        ("shared_live", "GET", 403, {}),
        ("shared_live_svg", "GET", 403, {}),
        ("shared_live_now", "GET", 403, {}),
        ("shared_report", "GET", 200, {"report": "sources"}),
        ("shared_report", "GET", 403, {"report": "pages"}),
        ("shared_report_series_csv", "GET", 200, {"report": "sources"}),
        ("shared_report_series_csv", "GET", 403, {"report": "pages"}),
        ("shared_report_chart_svg", "GET", 200, {"report": "sources"}),
        ("shared_report_chart_svg", "GET", 403, {"report": "pages"}),
        ("shared_report_block_svg", "GET", 200, {"report": "audience", "block": "map"}),
        ("shared_report_block_svg", "GET", 403, {"report": "speed", "block": "web vitals"}),
        ("shared_report_table", "GET", 200, {"report": "sources", "table": "channels"}),
        ("shared_report_table", "GET", 403, {"report": "pages", "table": "pages"}),
        ("shared_report_table_csv", "GET", 200, {"report": "sources", "table": "channels"}),
        ("shared_report_table_csv", "GET", 403, {"report": "events", "table": "events"}),
        ("shared_concurrency", "GET", 403, {}),
        ("shared_concurrency_csv", "GET", 403, {}),
        ("shared_concurrency_svg", "GET", 403, {}),
        ("shared_table", "GET", 200, {"dimension": "country"}),
        ("shared_table", "GET", 403, {"dimension": "page"}),
        ("shared_table_csv", "GET", 200, {"dimension": "source"}),
        ("shared_table_csv", "GET", 403, {"dimension": "event"}),
        ("unlock_share", "POST", 302, {}),
        ("unlock_share", "GET", 405, {}),
    ]
]
_STATS = [("event", "pageview"), ("year", "2026"), ("month", "2"), ("day", "3"), ("hour", "4")]
# Reports: modules of a property, which a viewer may view; Bob has audience and sources of one.
REPORTS = [
    Row("overview", viewer=200, bob=200),
    Row("now", viewer=200),
    Row("count", viewer=200, bob=200),
    Row("glance", viewer=200, bob=200),
    Row("live", viewer=200),
    Row("live_now", viewer=200),
    Row("live_svg", viewer=200),
    Row("account_live_svg", viewer=200, right="realtime:view"),
    Row("concurrency", viewer=200),
    Row("concurrency_csv", viewer=200),
    Row("concurrency_svg", viewer=200),
    api("api_concurrency", "realtime:view", viewer=200),
    Row("account_live", viewer=200, right="realtime:view"),
    Row("account_live_now", viewer=200, right="realtime:view"),
    Row("inspector", viewer=200),
    *(
        Row(name, viewer=200, bob=bob, params={"dimension": dimension})
        for name in ("table", "table_csv")
        for dimension, bob in [("country", 200), ("source", 200), ("page", 403), ("event", 403)]
    ),
    Row("series_csv", viewer=200, bob=200),
    Row("tables_zip", viewer=200, bob=200),
    Row("chart_svg", viewer=200, bob=200),
    Row("annotations", viewer=200, bob=200),
    Row("annotations", "POST"),
    Row("annotation"),
    Row("annotation", "POST"),
    Row("delete_annotation", "POST", owner=302),
    api("api_annotations", "audience:view", viewer=200, bob=200),
    api("api_annotations", "audience:manage", "POST", owner=400, key=400, body={}),
    api("api_annotation", "audience:view", viewer=200, bob=200),
    api("api_annotation", "audience:manage", "PATCH", body={}),
    api("api_annotation", "audience:manage", "DELETE", owner=204, key=204),
    *(
        Row(name, viewer=200, bob=bob, params={"report": report})
        for name in ("report", "report_series_csv", "report_chart_svg")
        for report, bob in [("pages", 403), ("sources", 200), ("audience", 200), ("events", 403)]
    ),
    *(  # every table of it: those of sources would be three times as many
        Row("report_tables_zip", viewer=200, bob=bob, params={"report": report})
        for report, bob in [("pages", 403), ("audience", 200)]
    ),
    *(
        Row("report_block_svg", viewer=200, bob=bob, params={"report": report, "block": block})
        for report, block, bob in [
            ("audience", "map", 200),
            ("speed", "web vitals", 403),
            ("events", "properties", 403),
        ]
    ),
    *(
        Row("report", viewer=200, params={"report": report})
        for report in ("speed", "bots", "elements")
    ),
    *(
        Row(name, viewer=200, bob=bob, params={"report": report, "table": table})
        for name in ("report_table", "report_table_csv")
        for report, table, bob in [("pages", "pages", 403), ("sources", "channels", 200)]
    ),
    api("api_query", "audience:view", "POST", viewer=200, bob=200, body={"metrics": ["visitors"]}),
    api("api_histogram", "events:view", "POST", viewer=200, body={"property": "props:price"}),
    api("api_dimensions", "audience:view", viewer=200, bob=200, key_without=200),
    *(
        api("api_values", right, viewer=200, bob=bob, params={"name": name})
        for name, right, bob in [
            ("country", "audience:view", 200),
            ("page", "content:view", 403),
            ("props:plan", "events:view", 403),
        ]
    ),
    api("api_realtime", "realtime:view", viewer=200),
    api("api_account_realtime", "realtime:view", viewer=200, bob=403),
    api("api_stream", "realtime:view", viewer=200),
    api("api_account_stream", "realtime:view", viewer=200, bob=403),
    Row("live_stream", viewer=200),
    Row("account_live_stream", viewer=200, right="realtime:view"),
    *(
        api(f"stats_{part}", "events:view", viewer=200, params=dict(_STATS[: number + 2]))
        for number, part in enumerate(("year", "month", "day", "hour"))
    ),
]


@pytest.fixture
def places(request: pytest.FixtureRequest) -> dict[str, Any]:
    """One world for a row: acme with its shop, and somebody for every column."""
    shop = request.getfixturevalue("shop")
    acme = request.getfixturevalue("acme")
    people = {name: request.getfixturevalue(name) for name in ("alice", "bob", "charlie", "vera")}
    key, _ = new_key(acme, "audience:view")
    link, token = new_link(shop, "audience", "sources", downloads=True)
    ids = {
        "revoke_api_key": key.pk,
        "api_key": key.pk,
        "api_account_key": key.pk,
        "share_link": link.pk,
        "goal": new_goal(shop).pk,
        "annotation": new_annotation(shop).pk,
        "key": new_retired_key(shop).pk,
        "member": new_member(acme).pk,
        "invitation": new_invitation(acme).pk,
    }
    new_person(shop)
    new_segment(acme)
    ids["erasure"] = new_erasure(shop).pk
    return {"token": token, "shop": shop, "acme": acme, "ids": ids, **people}


def new_person(place: Any, user: str = "17") -> None:
    from datetime import UTC, datetime

    from tracking.people import import_users

    import_users(place, [{"id": user, "traits": {"plan": "pro"}}], datetime.now(UTC), "worker")


def new_segment(account: Any, slug: str = "buyers") -> Any:
    from accounts.tenancy import tenant
    from reports.models import Segment

    with tenant(account.pk):
        return Segment.objects.create(
            account_id=account.pk, slug=slug, name="Buyers", filters=["is", "country", ["DE"]]
        )


def new_goal(place: Any) -> Any:
    from properties.models import Goal

    name, account = fresh("goal"), place.account
    return Goal.objects.create(property=place, account=account, name=name, event="signup")


def new_annotation(place: Any) -> Any:
    from django.utils import timezone

    from reports.models import Annotation

    return Annotation.objects.using("worker").create(
        account_id=place.account_id, property_id=place.pk, at=timezone.now(),
        text=fresh("note"), made_by=0, made_by_kind="user",
    )  # fmt: skip


def new_member(account: Any) -> Any:
    from properties.joining import join

    return join(account, new_user("dora"), "support")


def new_invitation(account: Any) -> Any:
    from datetime import timedelta

    from django.utils import timezone

    from properties.models import Invitation

    hour, email = timedelta(hours=1), f"{fresh('guest')}@example.com"
    return Invitation.objects.create(
        account=account,
        email=email,
        role="viewer",
        rights=[["audience", "view", None]],
        invited_by=account.memberships.get(role="owner").user,
        digest=fresh("digest"),
        sent=timezone.now() - hour,
        expires=timezone.now() + hour,
    )


def new_retired_key(place: Any) -> Any:
    from django.utils import timezone

    from properties.models import RetiredKey

    return RetiredKey.objects.create(
        property=place, account=place.account, key=fresh("K")[:11], until=timezone.now()
    )


def new_erasure(place: Any) -> Any:
    import secrets

    from django.utils import timezone

    from tracking.models import Erasure

    return Erasure.objects.using("worker").create(
        account_id=place.account_id, property_id=place.pk, kind="visitor", state="d",
        digest=secrets.token_hex(16), created=timezone.now(),
    )  # fmt: skip


def path_of(row: Row, places: dict[str, Any]) -> str:
    """The route with this world's names in it."""
    from django.urls import reverse

    route = next(route for route, pattern in ours() if pattern.name == row.name)
    of = next((word for word in places["ids"] if word in row.name), "")
    values = {"key": places["shop"].key, "account": places["acme"].slug}
    values["token"] = places["token"]
    values["pk"] = places["ids"].get(of)
    values |= row.params
    named = {name: values[name] for name in re.findall(r"<\w+:(\w+)>", route)}
    return reverse(row.name, kwargs=named | row.params)


def status(client: Any, row: Row, path: str) -> int:
    return send_row(client, row, path).status_code


def send_row(client: Any, row: Row, path: str) -> Any:
    if row.method == "GET":
        return client.get(path)
    data = json.dumps(row.body) if row.body is not None else {}
    kind = {"content_type": "application/json"} if row.body is not None else {}
    return client.generic(row.method, path, data or "", **kind)


def test_the_table_holds_every_route_that_is_not_public() -> None:
    wanted = {p.name for _, p in ours() if access_of(p.callback).kind != "public"}
    known = {row.name for row in [*ROWS, *PRIVACY, *REPORTS]}
    assert wanted - known == set(), "add a row for these routes"
    assert known - wanted == set(), "these rows name no route"


# -- what does not exist for me --------------------------------------------------------------------

VARYING = re.compile(rb'name="csrfmiddlewaretoken" value="[^"]*"')


def seen(response: Any) -> tuple[int, bytes, dict[str, str]]:
    """What a client can tell answers apart by, without the token of the form and the count of the
    caller's own requests."""
    own = ("set-cookie", "ratelimit-remaining", "ratelimit-reset", "x-request-id")
    headers = {name: value for name, value in response.items() if name.lower() not in own}
    return response.status_code, VARYING.sub(b"", response.content), headers


@pytest.mark.parametrize(
    "path",
    [
        "/p/{key}/",
        "/p/{key}/settings/",
        "/p/{key}/settings/tracking/",
        "/p/{key}/settings/keys/",
        "/p/{key}/settings/privacy/",
        "/p/{key}/goals/",
        "/p/{key}/goals/1/",
        "/p/{key}/annotations/",
        "/p/{key}/annotations/1/",
        "/p/{key}/share/",
        "/p/{key}/snippet/",
        "/p/{key}/first-event/",
        "/p/{key}/inspector/",
        "/p/{key}/live/",
        "/p/{key}/concurrency/",
        "/a/{account}/",
        "/a/{account}/members/",
        "/a/{account}/usage/",
        "/api/v1/accounts/{account}/usage",
        "/a/{account}/members/1/",
        "/a/{account}/members/1/remove/",
        "/a/{account}/leave/",
        "/a/{account}/segments/",
        "/a/{account}/segments/buyers/",
        "/a/{account}/settings/",
        "/a/{account}/api-keys/",
        "/a/{account}/audit/",
        "/a/{account}/audit.csv",
        "/api/v1/accounts/{account}/audit",
        "/api/v1/accounts/{account}/members",
        "/api/v1/accounts/{account}/members/1",
        "/api/v1/accounts/{account}/members/1/grants",
        "/api/v1/accounts/{account}/segments",
        "/api/v1/accounts/{account}/segments/buyers",
        "/api/v1/accounts/{account}/invitations",
        "/api/v1/accounts/{account}/invitations/1",
        "/api/v1/properties/{key}",
        "/api/v1/properties/{key}/users",
        "/api/v1/properties/{key}/users/17",
        "/api/v1/properties/{key}/goals",
        "/api/v1/properties/{key}/goals/1",
        "/api/v1/properties/{key}/annotations",
        "/api/v1/properties/{key}/annotations/1",
        "/api/v1/properties/{key}/keys",
        "/api/v1/properties/{key}/erasures",
        "/api/v1/properties/{key}/erasures/1",
        "/api/v1/accounts/{account}",
        "/api/v1/accounts/{account}/properties",
        "/api/v1/properties/{key}/realtime",
        "/api/v1/accounts/{account}/realtime",
        "/api/v1/properties/{key}/stream",
        "/api/v1/accounts/{account}/stream",
        "/p/{key}/live/stream",
        "/a/{account}/live/stream",
        "/api/stats/track/{account}/pageview/2026",
    ],
)
def test_a_strangers_404_is_that_of_nothing(path: str, shop: Any, acme: Any, charlie: Any) -> None:
    theirs = path.format(key=shop.key, account=acme.slug)
    nothing = path.format(key="AK-ZZZZZZZZ", account=fresh("nobody"))
    client = signed_in_as(charlie)
    assert seen(client.get(theirs)) == seen(client.get(nothing))
    assert client.get(theirs).status_code == 404
    _, secret = new_key(new_property().account, "property:manage", "audience:view")
    if path.startswith("/api/"):
        program = with_key(secret)
        assert seen(program.get(theirs)) == seen(program.get(nothing))


def test_a_name_that_postgres_cannot_hold_is_404_on_every_route(alice: Any) -> None:
    tried, client = set(), signed_in_as(alice)
    for route, _ in ours():
        if "<str:key>" in route or "<str:account>" in route:
            path = "/" + re.sub(r"<str:(key|account)>", "a%00b", route).replace(
                "<str:year>", "2020"
            )
            path = re.sub(r"<[^>]+>", "1", path)
            found = client.get(path)
            if found.status_code == 405:
                found = client.post(path, "{}", content_type="application/json")
            assert found.status_code == 404, path
            tried.add(path)
    assert len(tried) > 10


def test_a_403_names_the_missing_right_and_who_can_give_it(shop: Any, bob: Any, acme: Any) -> None:
    page = signed_in_as(bob).get(f"/p/{shop.key}/settings/")
    assert page.status_code == 403
    assert "You may not view property here. An owner of the account can" in page.content.decode()
    _, secret = new_key(acme, "audience:view")
    answer = with_key(secret).get(f"/api/v1/properties/{shop.key}")
    assert answer.json()["error"]["code"] == "forbidden"


def test_a_500_needs_no_database_and_tells_nothing(rf: Any, django_assert_num_queries: Any) -> None:
    from aktivat.errors import bad_request, server_error

    with django_assert_num_queries(0):
        page = server_error(rf.get("/p/AK-X/"))
        answer = server_error(rf.get("/api/v1/accounts"))
        refused = bad_request(rf.get("/api/v1/accounts"), ValueError("secret"))
    assert (page.status_code, answer.status_code, refused.status_code) == (500, 500, 400)
    assert b"Something broke on our side" in page.content
    assert json.loads(answer.content)["error"]["code"] == "error"
    assert b"secret" not in refused.content


def test_a_form_without_its_token_changes_nothing(alice: Any, shop: Any) -> None:
    from django.test import Client

    client = Client(enforce_csrf_checks=True)
    client.force_login(alice, backend="django.contrib.auth.backends.ModelBackend")
    page = client.post(f"/p/{shop.key}/settings/", {"name": "Other"})
    assert page.status_code == 403
    assert "This form is too old" in page.content.decode()


def test_a_strangers_post_changes_nothing(shop: Any, acme: Any, charlie: Any) -> None:
    key, _ = new_key(acme, "audience:view")
    client = signed_in_as(charlie)
    assert client.post(f"/p/{shop.key}/settings/", {"name": "Mine"}).status_code == 404
    assert client.post(f"/a/{acme.slug}/api-keys/{key.pk}/revoke/").status_code == 404
    own = charlie.memberships.get().account
    assert client.post(f"/a/{own.slug}/api-keys/{key.pk}/revoke/").status_code == 404
    key.refresh_from_db()
    shop.refresh_from_db()
    assert (key.revoked, shop.name) == (None, "Shop")


def test_a_property_outside_my_grants_does_not_exist_in_my_own_account(
    blog: Any, shop: Any, acme: Any, bob: Any
) -> None:
    client = signed_in_as(bob)
    assert client.get(f"/p/{blog.key}/").status_code == 404
    assert client.get(f"/p/{shop.key}/settings/").status_code == 403
    listed = client.get(f"/a/{acme.slug}/").content.decode()
    assert shop.key in listed
    assert blog.key not in listed
    shown = client.get("/api/v1/accounts").json()["results"]
    assert [account["slug"] for account in shown] == [acme.slug]


def test_nobody_is_sent_to_log_in_whether_or_not_the_thing_exists(shop: Any) -> None:
    nobody = signed_in_as(None)
    for key in (shop.key, "AK-ZZZZZZZZ"):
        answer = nobody.get(f"/p/{key}/settings/")
        assert answer.headers["Location"] == f"/user/login/?next=/p/{key}/settings/"
        assert nobody.get(f"/api/v1/properties/{key}").status_code == 401


def test_nobody_gets_the_entrance_inside_of_a_page(acme: Any, shop: Any) -> None:
    """What htmx fetches for a part: the page around it is loaded again, and goes to log in."""
    nobody, htmx = signed_in_as(None), {"HX-Request": "true"}
    for path in (f"/p/{shop.key}/glance/", f"/p/{shop.key}/now/", f"/a/{acme.slug}/", "/"):
        answer = nobody.get(path, headers=htmx)
        assert (answer.status_code, answer.content) == (204, b"")
        assert answer.headers["HX-Refresh"] == "true"
        answer = nobody.get(path, headers=htmx | {"HX-Boosted": "true"})
        assert answer.headers["Location"] == f"/user/login/?next={path}"


def test_a_key_that_ended_is_nobody(acme: Any, shop: Any) -> None:
    from datetime import timedelta

    from django.utils import timezone

    for end in ({"revoked": timezone.now()}, {"expires": timezone.now() - timedelta(seconds=1)}):
        key, secret = new_key(acme, "property:view")
        assert with_key(secret).get(f"/api/v1/properties/{shop.key}").status_code == 200
        type(key).objects.of(acme).filter(pk=key.pk).update(**end)
        answer = with_key(secret).get(f"/api/v1/properties/{shop.key}")
        assert (answer.status_code, answer.json()["error"]["code"]) == (
            401,
            "authentication_failed",
        )
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")


def test_a_key_does_not_open_pages(acme: Any, shop: Any) -> None:
    _, secret = new_key(acme, "property:manage")
    assert with_key(secret).get(f"/p/{shop.key}/settings/").status_code == 302


def test_a_switched_off_user_is_nobody(alice: Any, shop: Any) -> None:
    client = signed_in_as(alice)
    alice.is_active = False
    alice.save()
    assert client.get(f"/p/{shop.key}/settings/").status_code == 302


def test_a_session_that_writes_through_the_api_needs_the_csrf_token(alice: Any, shop: Any) -> None:
    from django.test import Client

    client = Client(enforce_csrf_checks=True)
    client.force_login(alice, backend="django.contrib.auth.backends.ModelBackend")
    path = f"/api/v1/properties/{shop.key}"
    answer = client.patch(path, {"name": "Other"}, content_type="application/json")
    assert answer.status_code == 403
    shop.refresh_from_db()
    assert shop.name == "Shop"


# -- row-level security: what holds when a query forgets its account ------------------------


@pytest.fixture
def ledgers(shop: Any, charlie: Any) -> dict[str, Any]:
    """A ledger row of Alice's shop and one of Charlie's property."""
    from django.utils import timezone

    from properties.models import Property
    from tracking.models import Ledger

    other = Property.objects.of(charlie.memberships.get().account).get()
    for place in (shop, other):
        Ledger.objects.using("worker").create(
            account_id=place.account_id, property_id=place.pk, hour=timezone.now(), accepted=7
        )
    return {"mine": shop, "theirs": other}


def test_outside_a_tenant_tables_look_empty(ledgers: dict[str, Any]) -> None:
    from tracking.models import Ledger

    assert list(Ledger.objects.all()) == []


def test_inside_a_tenant_a_forgotten_filter_shows_own_rows_only(ledgers: dict[str, Any]) -> None:
    from accounts.tenancy import tenant
    from tracking.models import Ledger

    for name in ("mine", "theirs"):
        place = ledgers[name]
        with tenant(place.account_id):
            assert set(Ledger.objects.values_list("property_id", flat=True)) == {place.pk}


def test_a_nested_tenant_gives_the_outer_one_back(ledgers: dict[str, Any]) -> None:
    from accounts.tenancy import tenant
    from tracking.models import Ledger

    mine, theirs = ledgers["mine"], ledgers["theirs"]
    with tenant(mine.account_id):
        with tenant(theirs.account_id):
            assert Ledger.objects.get().property_id == theirs.pk
        assert Ledger.objects.get().property_id == mine.pk
        with pytest.raises(ValueError), tenant(theirs.account_id):
            raise ValueError
        assert Ledger.objects.get().property_id == mine.pk
    assert not Ledger.objects.exists()


def test_a_request_pays_one_query_for_its_tenant_and_one_within_another_two(acme: Any) -> None:
    from django.test.utils import CaptureQueriesContext

    from accounts.tenancy import SETTING, tenant

    def asked() -> list[str]:
        return [query["sql"] for query in captured if SETTING in query["sql"]]

    with CaptureQueriesContext(connection) as captured, tenant(acme.pk):
        pass
    assert len(asked()) == 1
    with tenant(acme.pk), CaptureQueriesContext(connection) as captured, tenant(acme.pk):
        pass
    assert len(asked()) == 2


def test_the_webs_user_may_not_write_what_the_pipeline_owns(ledgers: dict[str, Any]) -> None:
    from accounts.rls import (
        append_only_tables,
        tables_deleted_by_web,
        tables_of_web,
        tenant_tables,
    )
    from accounts.tenancy import tenant
    from tracking.models import Ledger

    refused = pytest.raises(ProgrammingError, match="permission denied")
    with refused, tenant(ledgers["mine"].account_id):
        Ledger.objects.update(accepted=0)
    asked = "SELECT has_table_privilege(current_user, %s::text, %s)"
    with connection.cursor() as cursor:
        for table in tenant_tables():
            for right in ("INSERT", "UPDATE", "DELETE", "TRUNCATE"):
                cursor.execute(asked, [table, right])
                may = right == "INSERT" and table in append_only_tables()
                may |= right in ("INSERT", "UPDATE") and table in tables_of_web()
                may |= right == "DELETE" and table in tables_deleted_by_web()
                assert cursor.fetchone() == (may,), f"{right} on {table}"


def test_row_level_security_is_forced_on_every_tenant_table() -> None:
    from accounts.rls import tenant_tables

    with connection.cursor() as cursor:
        cursor.execute("SELECT relname FROM pg_class WHERE relrowsecurity AND relforcerowsecurity")
        forced = {name for (name,) in cursor.fetchall()}
    assert set(tenant_tables()) <= forced


def test_the_webs_user_may_not_make_tables_nor_change_roles() -> None:
    for statement in (
        "CREATE TABLE mine (id int)",
        "CREATE SCHEMA mine",
        "ALTER TABLE ledger DISABLE ROW LEVEL SECURITY",
        "SET ROLE postgres",
    ):
        with pytest.raises(ProgrammingError), connection.cursor() as cursor:
            cursor.execute(statement)


def test_a_bug_in_a_view_leaves_no_transaction_open(shop: Any, alice: Any) -> None:
    from rest_framework.test import APIRequestFactory, force_authenticate

    from properties.access import DoorView

    class Buggy(DoorView):
        module = "property"

        def get(self, request: Any, key: str) -> None:
            raise RuntimeError("a bug")

    request = APIRequestFactory().get("/")
    force_authenticate(request, alice)
    with pytest.raises(RuntimeError):
        Buggy.as_view()(request, key=shop.key)
    assert not connection.in_atomic_block


def test_an_api_error_undoes_what_its_handler_wrote(shop: Any, alice: Any) -> None:
    from rest_framework.test import APIRequestFactory, force_authenticate

    from properties.access import DoorView
    from properties.api import Invalid

    class Halfway(DoorView):
        module = "property"

        def get(self, request: Any, key: str) -> None:
            type(shop).objects.filter(pk=shop.pk).update(name="Halfway")
            raise Invalid("no", "Not this way.")

    request = APIRequestFactory().get("/")
    force_authenticate(request, alice)
    assert Halfway.as_view()(request, key=shop.key).status_code == 400
    shop.refresh_from_db()
    assert shop.name == "Shop"
