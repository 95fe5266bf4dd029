"""Properties and API keys: what may be written, what is refused and how, and the first event."""

import json
import re
from io import StringIO
from typing import Any
from uuid import uuid4

import pytest

from tests.people import fresh, new_key, new_property, signed_in_as, with_key

GOOD = {
    "name": "Shop",
    "hostnames": "example.com",
    "timezone": "Europe/Berlin",
    "currency": "EUR",
    "session_gap_minutes": "30",
    "retention_days": "730",
}
GOOD_TRACKING = {
    "privacy": "required",
    "signals": "drop",
    "capture": ["vitals", "elements"],
    "search_parameters": "Find\n q \n\nfind",
    "strict_origin": "on",
    "excluded_addresses": "192.0.2.7",
    "rate_limit": "50",
}


# -- what may be written ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("example.com", "example.com"),
        ("https://www.Example.com/shop?x=1", "example.com"),
        ("user@example.com:8443", "example.com"),
        ("*.example.com", "*.example.com"),
        ("*", "*"),
        ("localhost:3000", "localhost"),
        ("bücher.de", "xn--bcher-kva.de"),
        ("[2001:db8::1]:80", "[2001:db8::1]"),
        ("example.com.", "example.com"),
    ],
)
def test_an_address_becomes_a_hostname(written: str, kept: str) -> None:
    from properties.inputs import hostname

    assert hostname(written) == kept


@pytest.mark.parametrize(
    "written", ["a b", "<script>", "..", "*.*", "a..b", "x" * 300, "-", "http://"]
)
def test_what_is_no_hostname_is_refused(written: str) -> None:
    from django.core.exceptions import ValidationError

    from properties.inputs import hostname

    with pytest.raises(ValidationError, match="is no hostname"):
        hostname(written)


def test_what_the_form_keeps_lets_its_own_events_in() -> None:
    """The collector's rule and the form's must speak of the same names."""
    from properties.inputs import hostname
    from tracking.addresses import host_allowed, split

    for address in ("https://www.Example.com/shop", "http://bücher.de:8000/", "http://localhost/"):
        page = split(address)
        assert page is not None
        assert host_allowed(page.hostname, [hostname(address)]), address


def test_addresses_are_normalised_and_doubles_dropped() -> None:
    from properties.inputs import addresses

    written = ["192.0.2.7", " 192.0.2.7 ", "192.0.2.1/24", "", "2001:DB8::/32"]
    assert addresses(written) == ["192.0.2.7", "192.0.2.0/24", "2001:db8::/32"]


# -- settings --------------------------------------------------------------------------------------


def test_settings_are_saved_and_raise_the_version(alice: Any, shop: Any) -> None:
    changed = GOOD | {"name": "Store", "hostnames": "a.example\nb.example\na.example"}
    answer = signed_in_as(alice).post(f"/p/{shop.key}/settings/", changed)
    assert answer.status_code == 302
    shop.refresh_from_db()
    assert (shop.name, shop.hostnames, shop.version) == ("Store", ["a.example", "b.example"], 2)


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ({"name": "\u200b"}, "Write a name that can be read"),
        ({"hostnames": "not a host"}, "is no hostname"),
        ({"timezone": "Europe/Berlín"}, "did you mean"),
        ({"currency": "XYZ"}, "is no currency"),
        ({"session_gap_minutes": "61"}, "less than or equal to 60"),
        ({"session_gap_minutes": "4"}, "greater than or equal to 5"),
        ({"retention_days": "29"}, "greater than or equal to 30"),
    ],
    ids=str,
)
def test_a_fault_is_said_and_what_was_typed_stays(
    fault: dict[str, str], says: str, alice: Any, shop: Any
) -> None:
    page = signed_in_as(alice).post(f"/p/{shop.key}/settings/", GOOD | fault)
    check_fault(page, fault, says, shop)


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ({"excluded_addresses": "192.0.2.300"}, "is no address"),
        ({"privacy": "secret"}, "Select a valid choice"),
        ({"signals": ""}, "This field is required"),
        ({"capture": ["mind"]}, "Select a valid choice"),
        ({"search_parameters": "a b"}, "is no name of a parameter"),
        ({"search_parameters": "x" * 41}, "is no name of a parameter"),
        ({"search_parameters": "\n".join(map(str, range(21)))}, "At most 20"),
        ({"search_parameters": ""}, "This field is required"),
        ({"rate_limit": "-1"}, "greater than or equal to 0"),
    ],
    ids=str,
)
def test_a_fault_in_the_tracking_is_said_too(
    fault: dict[str, Any], says: str, alice: Any, shop: Any
) -> None:
    path = f"/p/{shop.key}/settings/tracking/"
    page = signed_in_as(alice).post(path, GOOD_TRACKING | fault)
    check_fault(page, fault, says, shop)
    assert 'value="vitals"' in page.content.decode()


def check_fault(page: Any, fault: dict[str, Any], says: str, shop: Any) -> None:
    assert page.status_code == 200
    (field,) = page.context["form"].errors
    assert {field} == fault.keys()
    assert says in str(page.context["form"].errors[field])
    assert page.context["form"][field].value() == fault[field]
    shop.refresh_from_db()
    assert shop.version == 1


def test_the_tracking_is_saved_and_reaches_the_collector(alice: Any, shop: Any) -> None:
    from tracking.directory import Record

    path = f"/p/{shop.key}/settings/tracking/"
    client = signed_in_as(alice)
    assert client.post(path, GOOD_TRACKING).status_code == 302
    shop.refresh_from_db()
    record = Record.of(shop)
    assert (record.mode, record.signals, record.strict_origin) == ("required", "drop", True)
    assert (record.capture, record.rate_limit) == (("elements", "vitals"), 50)
    assert record.search_parameters == ("find", "q")
    page = client.get(path).content.decode()
    assert 'id="capture_vitals" aria-describedby="capture_vitals_help" checked' in page
    assert 'id="capture_forms" aria-describedby="capture_forms_help"  ' in page
    assert client.post(path, GOOD_TRACKING | {"capture": []}).status_code == 302
    shop.refresh_from_db()
    assert shop.capture == []


def test_only_the_operator_allows_more_than_the_installation(
    alice: Any, shop: Any, settings: Any
) -> None:
    settings.KEY_RATE = 100
    path = f"/p/{shop.key}/settings/tracking/"
    client = signed_in_as(alice)
    refused = client.post(path, GOOD_TRACKING | {"rate_limit": "101"})
    assert "100 events a second are the most here" in str(refused.context["form"].errors)
    shop.rate_limit = 500  # in the administration
    shop.save()
    assert client.post(path, GOOD_TRACKING | {"rate_limit": "500"}).status_code == 302
    assert client.post(path, GOOD_TRACKING | {"rate_limit": "499"}).status_code == 200


def test_a_viewer_of_the_settings_sees_and_cannot_change_them(
    acme: Any, shop: Any, bob: Any
) -> None:
    from tests.people import grant

    grant(bob.memberships.get(), "property:view", place=shop)
    client = signed_in_as(bob)
    page = client.get(f"/p/{shop.key}/settings/").content.decode()
    assert "You may look at these settings" in page
    assert 'type="submit">Save' not in page
    assert client.post(f"/p/{shop.key}/settings/", GOOD).status_code == 403
    for path in ("settings/tracking/", "settings/keys/", "goals/"):
        page = client.get(f"/p/{shop.key}/{path}").content.decode()
        assert "You may look at these settings" in page
        assert not re.search(r"<button[^>]*>(Save|Add goal|Replace)", page)


def test_hostile_names_are_shown_as_text(alice: Any, shop: Any) -> None:
    shop.name = "<img src=x onerror=alert(1)>{{ user }}"
    shop.save()
    client = signed_in_as(alice)
    for path in (f"/a/{shop.account.slug}/", f"/p/{shop.key}/settings/", f"/p/{shop.key}/snippet/"):
        page = client.get(path).content.decode()
        assert "<img src=x" not in page
        assert "&lt;img src=x onerror=alert(1)&gt;{{ user }}" in page


# -- the snippet and the first event ---------------------------------------------------------------


def test_the_snippet_names_this_installation_and_the_key(
    alice: Any, shop: Any, settings: Any
) -> None:
    from html import unescape

    page = unescape(signed_in_as(alice).get(f"/p/{shop.key}/snippet/").content.decode())
    assert f'<script defer src="http://testserver/js/trackr.js" data-property="{shop.key}">' in page
    assert "window.trackr = new window.Trackr(o)" in page
    assert "curl http://testserver/track" in page
    settings.PUBLIC_URL = "https://stats.example.com"
    page = unescape(signed_in_as(alice).get(f"/p/{shop.key}/snippet/").content.decode())
    assert "https://stats.example.com/js/trackr.js" in page
    assert "testserver" not in page


def test_the_server_snippet_is_an_event_of_a_person(shop: Any, web_server: str) -> None:
    import shlex

    from properties.snippets import curl
    from tests.test_collector import post, stream

    shop.hostnames = ["shop.example"]
    shop.save()
    words = shlex.split(curl(shop, "http://localhost").replace("\\\n", ""))
    assert words[1] == "http://localhost/track"
    body, agent = words[words.index("-d") + 1], words[words.index("-A") + 1]
    assert post(web_server, body.encode(), user_agent=agent).status == 202
    [event] = stream(shop)
    assert (event["name"], event["hostname"], event["bot"]) == ("pageview", "shop.example", "f")


def test_the_snippet_without_script_counts_the_page_that_holds_it(
    shop: Any, web_server: str
) -> None:
    from properties.snippets import pixel
    from tests.test_collector import fetch, stream

    found = re.search(r'src="([^"]+)"', pixel(shop, web_server))
    assert found
    fetch(found[1], referer="https://shop.example/about")
    assert [(event["name"], event["page"]) for event in stream(shop)] == [("pageview", "/about")]


def test_the_snippet_is_the_same_whatever_the_settings_are(shop: Any) -> None:
    from properties.snippets import snippets

    before = snippets(shop, "https://a.example")
    for privacy in ("cookieless", "required"):
        shop.privacy = privacy
        assert snippets(shop, "https://a.example") == before


def store_event(place: Any, name: str) -> None:
    """An event that went the whole road."""
    from tracking.collecting import collect
    from tracking.drain import drain_property
    from tracking.intake import Origin

    event = {"name": name, "url": "https://example.com/<b>", "visitor": str(uuid4())}
    agent = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
    answer = collect(place, [event], Origin("192.0.2.1", agent))
    assert answer.accepted == 1
    drain_property(place)


def test_waiting_turns_green_and_names_the_newest_event(alice: Any, shop: Any, blog: Any) -> None:
    client = signed_in_as(alice)
    asked = {"path": f"/p/{shop.key}/first-event/", "headers": {"HX-Request": "true"}}
    waiting = client.get(**asked).content.decode()
    assert "Waiting for the first event" in waiting
    assert 'hx-trigger="load, every 2s"' in waiting
    store_event(blog, "elsewhere")
    assert "Waiting" in client.get(**asked).content.decode()
    store_event(shop, "sign<up")
    green = client.get(**asked).content.decode()
    assert "Events are arriving" in green
    assert "<strong>sign&lt;up</strong>" in green
    assert "example.com/&lt;b&gt;" in green
    assert "hx-get" not in green


# -- API keys --------------------------------------------------------------------------------------


def make_key(client: Any, account: Any, **fields: Any) -> Any:
    return client.post(f"/a/{account.slug}/api-keys/", {"name": "Export"} | fields)


def test_a_key_is_shown_once_and_works(alice: Any, acme: Any, shop: Any) -> None:
    client = signed_in_as(alice)
    page = make_key(client, acme, grants=["property:view"], properties=[shop.key])
    secret = page.context["secret"]
    assert secret in page.content.decode()
    assert "no-store" in page.headers["Cache-Control"]
    assert secret not in client.get(f"/a/{acme.slug}/api-keys/").content.decode()
    program = with_key(secret)
    assert program.get(f"/api/v1/properties/{shop.key}").json()["key"] == shop.key
    assert program.get(f"/api/v1/accounts/{acme.slug}/properties").status_code == 403


def test_nobody_makes_a_key_that_may_more_than_herself(acme: Any, shop: Any, bob: Any) -> None:
    from properties.models import ApiKey
    from tests.people import grant

    grant(bob.memberships.get(), "api_keys:manage")
    client = signed_in_as(bob)
    for fields in (
        {"grants": ["property:manage"]},
        {"grants": ["audience:view"]},  # hers in one property only
        {"grants": ["audience:manage"], "properties": [shop.key]},
    ):
        page = make_key(client, acme, **fields)
        assert "so you cannot let others" in str(page.context["form"].non_field_errors())
    assert not ApiKey.objects.of(acme).exists()
    page = make_key(client, acme, grants=["audience:view"], properties=[shop.key])
    assert page.context["secret"].startswith("ak_")


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"grants": ["horoscopes:view"]},
        {"grants": ["audience:destroy"]},
        {"grants": ["audience:view"], "properties": ["AK-ZZZZZZZZ"]},
        {"grants": ["audience:view"], "name": " "},
    ],
    ids=str,
)
def test_a_faulty_key_is_not_made(fields: dict[str, Any], alice: Any, acme: Any, shop: Any) -> None:
    from properties.models import ApiKey

    page = make_key(signed_in_as(alice), acme, **fields)
    assert page.status_code == 200
    assert page.context["form"].errors
    assert not ApiKey.objects.of(acme).exists()


def test_a_property_of_another_account_cannot_be_put_into_a_key(alice: Any, acme: Any) -> None:
    page = make_key(
        signed_in_as(alice), acme, grants=["audience:view"], properties=[new_property().key]
    )
    assert "properties" in page.context["form"].errors


def test_a_revoked_key_is_refused_at_once(alice: Any, acme: Any, shop: Any) -> None:
    key, secret = new_key(acme, "property:view")
    client = signed_in_as(alice)
    assert client.post(f"/a/{acme.slug}/api-keys/{key.pk}/revoke/").status_code == 302
    assert with_key(secret).get(f"/api/v1/properties/{shop.key}").status_code == 401
    assert "Revoked" in client.get(f"/a/{acme.slug}/api-keys/").content.decode()


# -- the API ---------------------------------------------------------------------------------------


@pytest.fixture
def program(acme: Any) -> Any:
    _, secret = new_key(acme, "property:manage")
    return with_key(secret)


def send(client: Any, method: str, path: str, body: Any) -> Any:
    return client.generic(method, path, json.dumps(body), content_type="application/json")


def test_a_property_is_made_changed_and_read(program: Any, acme: Any) -> None:
    body = {"name": "App", "hostnames": ["https://app.example.com/"], "timezone": "Asia/Kolkata"}
    made = send(program, "POST", f"/api/v1/accounts/{acme.slug}/properties", body)
    assert made.status_code == 201
    path = f"/api/v1/properties/{made.json()['key']}"
    changed = send(program, "PATCH", path, {"currency": "inr", "session_gap_minutes": 45})
    assert changed.status_code == 200
    got = program.get(path).json()
    assert got == changed.json()
    assert (got["hostnames"], got["currency"], got["session_gap_minutes"], got["account"]) == (
        ["app.example.com"],
        "INR",
        45,
        acme.slug,
    )
    listed = program.get(f"/api/v1/accounts/{acme.slug}/properties").json()["results"]
    assert [row["key"] for row in listed] == [got["key"]]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": ""}, "name"),
        ({"hostnames": []}, "hostnames"),
        ({"hostnames": "example.com"}, "hostnames"),
        ({"hostnames": ["a b"]}, "hostnames"),
        ({"timezone": "Mars"}, "timezone"),
        ({"session_gap_minutes": 90}, "session_gap_minutes"),
        ({"excluded_addresses": ["x"]}, "excluded_addresses"),
        ({"capture": ["mind"]}, "capture.0"),
        ({"capture": "forms"}, "capture"),
        ({"search_parameters": []}, "search_parameters"),
        ({"search_parameters": ["a&b"]}, "search_parameters"),
        ({"search_parameters": ["q\ud800"]}, "search_parameters.0"),
        ({"search_parameters": "q"}, "search_parameters"),
        ({"rate_limit": -1}, "rate_limit"),
        ({"signals": "obey"}, "signals"),
        ({"strict_origin": "perhaps"}, "strict_origin"),
        ({"first_key": "AK-22222222"}, "first_key"),
        ({"key": "AK-22222222"}, "key"),
        ({"account": "other"}, "account"),
        ({"visitor_limit": 1}, "visitor_limit"),
        ({"nmae": "typo"}, "nmae"),
        ({"\ud800": 1}, "?"),
        ({"privacy": "\ud800"}, "privacy"),
    ],
    ids=str,
)
def test_a_fault_names_its_field(body: dict[str, Any], field: str, program: Any, shop: Any) -> None:
    answer = send(program, "PATCH", f"/api/v1/properties/{shop.key}", body)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert (error["code"], error["field"]) == ("invalid", field)
    assert error["message"]


@pytest.mark.parametrize("body", ["{", "[]", '"x"', "NaN", ""])
def test_what_is_no_object_is_refused(body: str, program: Any, shop: Any) -> None:
    path = f"/api/v1/properties/{shop.key}"
    answer = program.generic("PATCH", path, body, content_type="application/json")
    assert answer.status_code in (200, 400)
    assert answer.status_code == 400 or body == ""
    assert "field" not in answer.json().get("error", {})
    refused = program.generic("PATCH", path, "name=x", content_type="text/plain")
    assert refused.status_code == 415


def test_what_does_not_exist_below_api_answers_in_json(client: Any) -> None:
    answer = client.get("/api/v1/nothing")
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "not_found"


def test_the_schema_has_every_endpoint_and_the_docs_obey_the_policy(client: Any) -> None:
    schema = client.get("/api/schema/", headers={"accept": "application/json"}).json()
    paths = schema["paths"]
    assert paths["/api/v1/properties/{key}"].keys() == {"get", "patch"}
    assert paths["/api/v1/accounts/{account}/properties"].keys() == {"get", "post"}
    fields = schema["components"]["schemas"]["Property"]["properties"]
    assert "hostnames" in fields
    assert schema["components"]["securitySchemes"].keys() == {"apiKey", "session"}
    for path, operations in paths.items():
        for operation in operations.values():
            assert operation["security"] == [{"apiKey": []}, {"session": []}], path
            assert operation["responses"].keys() >= {"400", "401", "403", "404"}, path
    docs = client.get("/api/docs/").content.decode()
    assert "<style" not in docs
    assert "<script>" not in docs


def test_no_version_in_an_address_reaches_a_header(client: Any) -> None:
    plain = client.get("/api/schema/")
    forged = client.get("/api/schema/?version=a%00%0d%0aX:%20y")
    answers = [dict(answer.items()) for answer in (forged, plain)]
    for headers in answers:
        del headers["X-Request-Id"]  # another for every request
    assert forged.status_code == 200
    assert answers[0] == answers[1]


@pytest.mark.parametrize("name", ["offset", "fields", "page", "a%00b", "%F0%9F%92%A9"])
def test_an_unknown_parameter_is_refused_behind_the_log_in(
    name: str, program: Any, client: Any
) -> None:
    answer = program.get(f"/api/v1/accounts?{name}=1")
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "unknown_parameter")
    assert client.get(f"/api/v1/accounts?{name}=1").status_code == 401


def test_a_refusal_says_what_to_do(program: Any, client: Any, shop: Any) -> None:
    path = f"/api/v1/properties/{shop.key}"
    said = [
        answer.json()["error"]["message"]
        for answer in (
            client.get(path),
            program.delete(path),
            program.generic("PATCH", path, "name=x", content_type="text/plain"),
            program.get(path, headers={"accept": "text/csv"}),
        )
    ]
    for message, advice in zip(
        said,
        ["Bearer ak_", "Use GET, PATCH", "Content-Type: application/json", "Accept:"],
        strict=True,
    ):
        assert advice in message


# -- the command line ------------------------------------------------------------------------------


def command(name: str, *arguments: str) -> Any:
    from django.core.management import call_command

    out = StringIO()
    call_command(name, *arguments, "--json", stdout=out)
    return json.loads(out.getvalue())


def test_create_property_again_finds_it_and_leaves_it(acme: Any) -> None:
    from properties.models import Property

    asked = (acme.slug, "Shop", "--timezone", "Europe/Berlin", "--hostname", "a.example")
    first = command("create_property", *asked, "--hostname", "*.b.example")
    assert first == command("create_property", acme.slug, "Shop", "--hostname", "*")
    place = Property.objects.of(acme).get()
    assert (place.key, place.hostnames) == (first["key"], ["a.example", "*.b.example"])
    assert (place.timezone, place.version) == ("Europe/Berlin", 1)


def test_create_api_key_again_replaces_the_key(acme: Any, shop: Any) -> None:
    asked = (acme.slug, "--name", "CI", "--grant", "property:view", "events:manage")
    first = command("create_api_key", *asked, "--property", shop.key)["key"]
    second = command("create_api_key", *asked)["key"]
    path = f"/api/v1/properties/{shop.key}"
    assert with_key(first).get(path).status_code == 401
    assert with_key(second).get(path).status_code == 200


@pytest.mark.parametrize(
    ("name", "arguments", "says"),
    [
        ("create_property", ["nobody-here", "Kiosk", "--hostname", "*"], "no account"),
        ("create_property", ["{acme}", "Kiosk", "--hostname", "a b"], "no hostname"),
        ("create_property", ["{acme}", "Kiosk", "--hostname", "*", "--timezone", "X"], "time zone"),
        ("create_property", ["{acme}", "Kiosk"], "--hostname"),
        ("create_api_key", ["{acme}", "--name", "N", "--grant", "page:view"], "no module 'page'"),
        ("create_api_key", ["{acme}", "--name", "N", "--grant", "chat"], "no verb ''"),
        (
            "create_api_key",
            ["{acme}", "--name", "N", "--grant", "chat:view", "--property", "AK-X"],
            "no property 'AK-X'",
        ),
        (
            "create_api_key",
            ["{acme}", "--name", "N", "--grant", "members:view", "--property", "{shop}"],
            "members is a module of the whole account",
        ),
    ],
)
def test_a_wrong_argument_says_what_is_wrong(
    name: str, arguments: list[str], says: str, acme: Any, shop: Any
) -> None:
    from django.core.management import CommandError

    words = {"{acme}": acme.slug, "{shop}": shop.key}
    with pytest.raises(CommandError, match=says):
        command(name, *[words.get(word, word) for word in arguments])


def test_without_json_a_command_speaks_a_sentence(acme: Any) -> None:
    from django.core.management import call_command

    out = StringIO()
    call_command("create_property", acme.slug, fresh("App"), "--hostname", "*", stdout=out)
    assert out.getvalue().strip().endswith(".")
    assert "AK-" in out.getvalue()


# -- the frame -------------------------------------------------------------------------------------


def test_the_account_asks_who_is_here_only_where_that_may_be_seen(
    alice: Any, bob: Any, acme: Any, shop: Any, blog: Any
) -> None:
    from django.utils import timezone

    shop.first_event_at = timezone.now()
    shop.save(update_fields=["first_event_at"])
    page = signed_in_as(alice).get(f"/a/{acme.slug}/").content.decode()
    assert f'hx-get="/p/{shop.key}/now/"' in page
    assert f'hx-get="/p/{blog.key}/now/"' not in page  # nothing has come yet: it says so
    assert "Waiting for the first event" in page
    page = signed_in_as(bob).get(f"/a/{acme.slug}/").content.decode()
    assert shop.name in page
    assert "/now/" not in page  # he may see the audience, not who is here


def test_tabs_and_switchers_show_only_what_the_actor_may_open(
    shop: Any, blog: Any, bob: Any, alice: Any
) -> None:
    page = signed_in_as(bob).get(f"/p/{shop.key}/").content.decode()
    assert f"/p/{shop.key}/settings/" not in page
    assert blog.key not in page
    assert "New property" not in page
    page = signed_in_as(alice).get(f"/p/{shop.key}/").content.decode()
    assert f"/p/{shop.key}/settings/" in page
    assert f"/p/{blog.key}/" in page


def test_the_frame_costs_two_queries_and_nobodys_none(
    alice: Any, shop: Any, django_assert_num_queries: Any, rf: Any
) -> None:
    from django.contrib.auth.models import AnonymousUser

    from properties.access import actor_of
    from properties.context import Frame

    request = rf.get(f"/p/{shop.key}/")
    request.user, request.place = alice, shop
    assert actor_of(request).sees(shop)  # the door asked for the rights before
    frame = Frame(request)
    with django_assert_num_queries(2):
        assert (frame.tabs, frame.account_links, frame.property_links) != ([], [], [])
    request = rf.get("/")
    request.user = AnonymousUser()
    with django_assert_num_queries(0):
        frame = Frame(request)
        assert (frame.tabs, frame.account_links, frame.property_links) == ([], [], [])
