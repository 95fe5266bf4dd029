"""Notes on the charts: by hand and by a deploy hook, on the chart that they belong to, told by the
audit log, and never shown by a share link."""

import html
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.people import new_key, new_link, signed_in_as, with_key
from tests.test_report_page import HOSTILE, curve_of

MAY = "?range=2026-05-01..2026-05-07"


@pytest.fixture
def hook(acme: Any) -> Any:
    """A program that writes."""
    return with_key(new_key(acme, "audience:manage")[1])


def post(program: Any, place: Any, **note: Any) -> Any:
    path = f"/api/v1/properties/{place.key}/annotations"
    return program.post(path, note, content_type="application/json")


def told(account: Any) -> list[tuple[str, str]]:
    from accounts.models import AuditEntry
    from accounts.tenancy import tenant

    with tenant(account.pk):
        entries = AuditEntry.objects.filter(action__startswith="annotation.").order_by("number")
        return [(entry.action, entry.target) for entry in entries]


def test_a_hook_writes_one_text_and_the_chart_shows_it_in_its_period(
    shop: Any, acme: Any, alice: Any, hook: Any
) -> None:
    before = datetime.now(UTC)
    written = post(hook, shop, text="Release 4.2", url="https://example.com/4.2")
    assert written.status_code == 201
    note = written.json()
    assert (note["kind"], note["made_by"]["kind"]) == ("deploy", "api_key")
    assert before - timedelta(seconds=1) < datetime.fromisoformat(note["at"]) < datetime.now(UTC)
    shop.timezone = "Europe/Berlin"
    shop.save()
    # 22:30 in UTC is the next day in Berlin.
    moment = "2026-05-02T22:30:00Z"
    changed = hook.patch(
        f"/api/v1/properties/{shop.key}/annotations/{note['id']}",
        {"at": moment, "kind": "note"},
        content_type="application/json",
    )
    assert (changed.status_code, changed.json()["kind"]) == (200, "note")
    for number, text in enumerate(HOSTILE):
        assert post(hook, shop, text=text, at=f"2026-05-05T1{number}:00:00+02:00").json()["text"]
    shop.first_event_at = datetime(2026, 5, 1, tzinfo=UTC)
    shop.save()
    page = signed_in_as(alice).get(f"/p/{shop.key}/{MAY}").content.decode()
    flags = curve_of(page)["flags"]
    assert flags[-1] == {"at": 2, "text": "Release 4.2", "when": "3 May 2026 00:30"}
    assert {flag["at"] for flag in flags[:-1]} == {4}
    assert len(flags) == len(HOSTILE) + 1
    listed = page[page.index('class="note-list"') :].split("</ol>")[0]
    assert '<a href="https://example.com/4.2"' in listed
    assert "<script" not in listed
    assert "<img" not in listed
    for text in HOSTILE:
        assert html.escape("".join(filter(str.isprintable, text))) in listed
    found = told(acme)
    assert found[:2] == [
        ("annotation.created", "Release 4.2"),
        ("annotation.changed", "Release 4.2"),
    ]


def test_what_is_no_note_is_refused_in_words(shop: Any, hook: Any) -> None:
    for body, field in [
        ({"text": " "}, "text"),
        ({"text": "x" * 201}, "text"),
        ({"text": "x", "url": "javascript:alert(1)"}, "url"),
        ({"text": "x", "url": "//example.com"}, "url"),
        ({"text": "x", "at": "1969-12-31T23:59:59Z"}, "at"),
        ({"text": "x", "at": "9999-12-31T23:59:59-12:00"}, "at"),
        ({"text": "x", "kind": "party"}, "kind"),
        ({"text": "x", "made_by": 1}, "made_by"),
    ]:
        answer = post(hook, shop, **body)
        assert (answer.status_code, answer.json()["error"]["field"]) == (400, field), body


def test_a_list_is_narrowed_by_time_and_kind(shop: Any, hook: Any) -> None:
    for day, kind in [(1, "note"), (2, "deploy"), (3, "note")]:
        post(hook, shop, text=f"{day}", at=f"2026-05-0{day}T00:00:00Z", kind=kind)
    path = f"/api/v1/properties/{shop.key}/annotations"

    def texts(query: str) -> list[str]:
        return [note["text"] for note in hook.get(f"{path}?{query}").json()["results"]]

    assert texts("") == ["3", "2", "1"]
    assert texts("from=2026-05-02T00:00:00Z") == ["3", "2"]
    assert texts("to=2026-05-02T00:00:00Z") == ["1"]
    assert texts("kind=note&ordering=at") == ["1", "3"]
    first = hook.get(f"{path}?limit=2").json()
    assert [note["text"] for note in first["results"]] == ["3", "2"]
    assert texts(f"limit=2&cursor={first['next']}") == ["1"]


def test_a_note_by_hand_leads_back_to_its_chart_in_the_propertys_time(
    shop: Any, acme: Any, alice: Any, bob: Any
) -> None:
    from reports.models import Annotation

    shop.timezone = "Asia/Kathmandu"
    shop.save()
    client, path = signed_in_as(alice), f"/p/{shop.key}/annotations/"
    body = {"text": "Newsletter", "at": "2026-05-02T09:00", "view": MAY}
    answer = client.post(path, body)
    assert answer.headers["Location"] == f"/p/{shop.key}/{MAY}"
    for elsewhere in ("https://evil.example/", "//evil.example"):
        answer = client.post(path, body | {"view": elsewhere})
        assert answer.headers["Location"] == f"/p/{shop.key}/"
    refused = client.post(path, body | {"url": "ftp://example.com", "text": "Keep this"})
    assert refused.status_code == 200
    assert "Write a whole address" in (page := refused.content.decode())
    assert 'value="Keep this"' in page
    note = Annotation.objects.using("worker").filter(property_id=shop.pk).order_by("pk").first()
    assert note is not None
    assert note.at == datetime(2026, 5, 2, 3, 15, tzinfo=UTC)
    assert note.kind == "note"
    one = f"{path}{note.pk}/"
    assert 'value="2026-05-02T09:00"' in client.get(one).content.decode()
    assert "2 May 2026 09:00" in client.get(path).content.decode()
    client.post(one, {"text": "Newsletter sent", "at": "2026-05-02T09:00"})
    client.post(f"{one}delete/")
    assert [entry for entry in told(acme) if entry[1].startswith("Newsletter")][-2:] == [
        ("annotation.changed", "Newsletter sent"),
        ("annotation.deleted", "Newsletter sent"),
    ]
    # Whoever may look reads notes and writes none.
    seen = signed_in_as(bob).get(path).content.decode()
    assert "Newsletter" in seen
    assert "Add note" not in seen


def test_a_share_link_shows_no_note(shop: Any, hook: Any, alice: Any) -> None:
    post(hook, shop, text="Secret plan", at="2026-05-02T00:00:00Z")
    shop.first_event_at = datetime(2026, 5, 1, tzinfo=UTC)
    shop.save()
    _, token = new_link(shop, "audience")
    page = signed_in_as(None).get(f"/share/{token}/{MAY}").content.decode()
    assert curve_of(page)["flags"] == []
    assert "Secret plan" not in page
    assert "Secret plan" in signed_in_as(alice).get(f"/p/{shop.key}/{MAY}").content.decode()


def test_who_wrote_it_is_named_while_she_is_a_member(shop: Any, acme: Any, vera: Any) -> None:
    from properties.models import Membership
    from tests.people import grant

    membership = Membership.objects.get(account=acme, user=vera)
    grant(membership, "audience:manage")
    vera.name = "Vera Writes"
    vera.save()
    client, path = signed_in_as(vera), f"/p/{shop.key}/annotations/"
    client.post(path, {"text": "One"})
    assert "Vera Writes" in client.get(path).content.decode()
    alice = acme.memberships.get(role="owner").user
    membership.delete()
    page = signed_in_as(alice).get(path).content.decode()
    assert "Vera Writes" not in page
    assert re.search(r"<bdi>somebody who left</bdi>", page)


def test_a_note_stands_in_the_last_period_that_has_begun() -> None:
    from reports.annotations import period_of

    days = [datetime(2026, 5, day, tzinfo=UTC) for day in (1, 2, 3)]
    assert [period_of(at, days) for at in (days[0], days[1] - timedelta(seconds=1))] == [0, 0]
    assert [period_of(at, days) for at in (days[1], days[2] + timedelta(days=9))] == [1, 2]
