"""The audit log as it is read: page, filters, CSV and API; what strangers wrote stays text."""

import csv
from io import StringIO
from typing import Any

import pytest

from tests.people import new_key, new_property, signed_in_as, with_key
from tests.test_audit import entries

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "{{ 7*7 }}",
    "javascript:alert(1)",
    "</title><svg onload=alert(1)>",
    "evil\u202egnp.exe",
    "\x1b[31mred",
]


@pytest.fixture
def told(acme: Any, shop: Any, blog: Any, alice: Any, vera: Any) -> Any:
    """Four entries beside those of opening the account: two of each person, one in each place."""
    from accounts.audit import record

    record(acme, "goal.created", actor=alice, property=shop, target="Signup", new={"name": "S"})
    record(acme, "goal.changed", actor=vera, property=shop, target="Signup", old={"name": "S"})
    record(acme, "goal.deleted", actor=alice, property=blog, target="Signup")
    record(acme, "api_key.revoked", actor=vera, target="Nightly")
    return acme


def page(actor: Any, account: Any, query: str = "", **headers: str) -> str:
    answer = signed_in_as(actor).get(f"/a/{account.slug}/audit/{query}", headers=headers)
    assert answer.status_code == 200
    return answer.content.decode()


def rows(actor: Any, account: Any, query: str = "") -> list[dict[str, str]]:
    answer = signed_in_as(actor).get(f"/a/{account.slug}/audit.csv{query}")
    assert answer.status_code == 200
    assert answer["Content-Disposition"] == f'attachment; filename="audit-{account.slug}.csv"'
    return list(csv.DictReader(StringIO(b"".join(answer.streaming_content).decode())))


def api(actor: Any, account: Any, query: str = "") -> list[dict[str, Any]]:
    answer = signed_in_as(actor).get(f"/api/v1/accounts/{account.slug}/audit{query}")
    assert answer.status_code == 200, answer.json()
    return answer.json()["results"]


def test_the_page_tells_the_newest_first_and_opens_to_old_and_new(told: Any, alice: Any) -> None:
    text = page(alice, told)
    order = ["Revoked an API key", "Deleted a goal", "Changed a goal", "Created a goal"]
    body = text[text.index('id="entries"') :]
    places = [body.index(what) for what in order]
    assert places == sorted(places)
    assert "Opened the account" in body
    assert body.count("<details") == len(entries(told))


@pytest.mark.parametrize(
    ("query", "actions"),
    [
        ("?who=vera", ["api_key.revoked", "goal.changed"]),
        ("?action=goal.created", ["goal.created"]),
        ("?property={blog}", ["goal.deleted"]),
        ("?who=vera&property={shop}", ["goal.changed"]),
        ("?from=2020-01-01&to=2020-12-31&who=vera", []),
        ("?from=2020-01-01&who=vera", ["api_key.revoked", "goal.changed"]),
        ("?who=vera&before=" + "9" * 5000, ["api_key.revoked", "goal.changed"]),
        ("?who=%25", []),
    ],
)
def test_page_and_csv_have_the_same_filters(
    told: Any, shop: Any, blog: Any, alice: Any, query: str, actions: list[str]
) -> None:
    query = query.format(shop=shop.key, blog=blog.key)
    text = page(alice, told, query)
    assert text.count('<details class="audit-entry"') == len(actions)
    assert [row["action"] for row in rows(alice, told, query)] == actions
    if not actions:
        assert "Nothing in the log fits these filters" in text


def test_the_api_has_filters_and_pages(told: Any, shop: Any, blog: Any, alice: Any) -> None:
    found = api(alice, told)
    assert [entry["number"] for entry in found] == sorted(
        (entry.number for entry in entries(told)), reverse=True
    )
    newest = found[0] if found[0]["action"] == "api_key.revoked" else found[1]
    assert newest["target"] == "Nightly"
    assert [e["action"] for e in api(alice, told, f"?property={blog.key}")] == ["goal.deleted"]
    assert [e["property"] for e in api(alice, told, "?action=goal.created")] == [shop.key]
    assert api(alice, told, "?to=2020-01-01T00:00:00Z") == []
    elsewhere = new_property()
    assert api(alice, told, f"?property={elsewhere.key}") == []
    client = signed_in_as(alice)
    path = f"/api/v1/accounts/{told.slug}/audit"
    first = client.get(path, {"limit": 2}).json()
    second = client.get(path, {"limit": 2, "cursor": first["next"]}).json()
    numbers = [entry["number"] for entry in first["results"] + second["results"]]
    assert numbers == list(range(numbers[0], numbers[0] - 4, -1))
    assert client.get(path, {"action": "goal.painted"}).json()["error"]["field"] == "action"


def test_a_wrong_filter_keeps_what_was_typed_and_says_what_to_write(told: Any, alice: Any) -> None:
    client = signed_in_as(alice)
    for query, message in (
        ("?from=yesterday&who=vera", "Write a date like"),
        ("?to=9999-12-31", "Write a date like"),
        ("?action=goal.painted", "There is no such action"),
        ("?property=AK-ZZZZZZZZ", "There is no such property"),
        ("?who=%00", "cannot be looked for"),
    ):
        answer = client.get(f"/a/{told.slug}/audit/{query}")
        assert answer.status_code == 400
        assert message in answer.content.decode()
        file = client.get(f"/a/{told.slug}/audit.csv{query}")
        assert (file.status_code, file["Content-Type"]) == (400, "text/plain; charset=utf-8")
        assert message in file.content.decode()
    assert 'value="vera"' in client.get(f"/a/{told.slug}/audit/?from=x&who=vera").content.decode()


def test_another_accounts_property_is_no_filter(told: Any, alice: Any, charlie: Any) -> None:
    from properties.models import Property

    other = Property.objects.of(charlie.memberships.get().account).get()
    client = signed_in_as(alice)
    answers = [
        client.get(f"/a/{told.slug}/audit/", {"property": key})
        for key in (other.key, "AK-ZZZZZZZZ")
    ]
    assert answers[0].status_code == answers[1].status_code == 400


def test_older_entries_are_a_page_away(acme: Any, alice: Any, monkeypatch: Any) -> None:
    import re

    from accounts.audit import record
    from properties import audit_pages

    monkeypatch.setattr(audit_pages, "ON_A_PAGE", 3)
    monkeypatch.setattr(audit_pages, "IN_A_BLOCK", 2)
    for number in range(7):
        record(acme, "goal.created", target=f"goal-{number}")
    query, seen = "?action=goal.created", []
    while query:
        text = page(alice, acme, query)
        seen += re.findall(r"goal-\d", text)
        found = re.search(r'href="(\?[^"]*before=\d+)"', text)
        query = found[1].replace("&amp;", "&") if found else ""
    assert seen == [f"goal-{number}" for number in range(6, -1, -1)]
    assert [row["target"] for row in rows(alice, acme, "?action=goal.created")] == seen


def test_htmx_gets_the_list_alone(told: Any, alice: Any) -> None:
    asked = f"/a/{told.slug}/audit/?who=vera&action=&from="
    answer = signed_in_as(alice).get(asked, headers={"hx-request": "true"})
    part = answer.content.decode()
    assert answer["HX-Push-Url"] == f"/a/{told.slug}/audit/?who=vera"
    assert "<html" not in part
    assert part.count("<details") == 2
    back = page(alice, told, **{"hx-request": "true", "hx-history-restore-request": "true"})
    assert "<html" in back


def test_an_account_without_entries_says_what_will_be_here(alice: Any, acme: Any) -> None:
    from properties.audit_pages import Asked

    assert "No such entry" in page(alice, acme, "?action=goal.deleted")
    assert Asked().address() == ""


@pytest.mark.parametrize("text", HOSTILE)
def test_what_strangers_wrote_is_shown_as_text(acme: Any, alice: Any, rf: Any, text: str) -> None:
    from accounts.audit import record

    alice.name, alice.email = text, f"{text}@example.com"
    request = rf.get("/", headers={"user-agent": text})
    record(acme, "goal.changed", actor=alice, request=request, target=text, old={text: text})
    alice.refresh_from_db()
    shown = page(alice, acme)
    for mark in ("<script>alert", "<img src=x", "<svg onload", "\u202e", "\x1b"):
        assert mark not in shown[shown.index('id="entries"') :]
    stored = rows(alice, acme, "?action=goal.changed")[0]
    assert (stored["target"], stored["user_agent"]) == (text, text)


@pytest.mark.parametrize("formula", ["=1+1", "+1", "-1", "@SUM(A1)", "\t'=1", "\uff1d1"])
def test_no_cell_of_the_file_is_a_formula(acme: Any, alice: Any, formula: str) -> None:
    from accounts.audit import record

    record(acme, "goal.created", target=formula.replace("'", ""))
    assert rows(alice, acme, "?action=goal.created")[0]["target"] == f"'{formula}"


def test_the_download_is_in_the_log_itself(told: Any, alice: Any) -> None:
    found = rows(alice, told, "?who=alice")
    assert (found[0]["action"], found[0]["actor"]) == ("audit.exported", alice.email)
    assert found[0]["new"] == '{"who": "alice"}'


def test_a_key_reads_the_log_only_with_its_right(told: Any) -> None:
    for right, status in (("audit:view", 200), ("members:view", 403)):
        _, secret = new_key(told, right)
        answer = with_key(secret).get(f"/api/v1/accounts/{told.slug}/audit")
        assert answer.status_code == status


def test_support_stands_beside_the_person_it_acts_as(acme: Any, alice: Any, rf: Any) -> None:
    from accounts.audit import record
    from tests.people import new_user

    request = rf.get("/")
    request.user, request.impersonator = alice, new_user("staff")
    record(acme, "goal.created", request=request)
    text = page(alice, acme, "?who=staff")
    assert f"<bdi>{request.impersonator.email}</bdi>, acting as {alice.email}" in text


def test_the_file_is_sent_in_parts_by_the_web_server_too(told: Any, alice: Any) -> None:
    """Under ASGI each part is made when the one before is sent."""
    import asyncio
    from concurrent.futures import ThreadPoolExecutor

    from properties.streaming import Streamed

    made: list[int] = []

    def parts() -> Any:
        for number in range(3):
            made.append(number)
            yield f"{number}"

    async def read() -> list[tuple[bytes, int]]:
        return [(part, len(made)) async for part in Streamed(parts())]

    # In a thread: the browser of another test may keep a loop running in this one.
    with ThreadPoolExecutor(1) as pool:
        found = pool.submit(asyncio.run, read()).result()
    assert found == [(b"0", 1), (b"1", 2), (b"2", 3)]
