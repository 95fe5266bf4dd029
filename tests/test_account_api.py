"""Accounts over the API, who am I, and bodies that are none."""

import json
from typing import Any

import pytest

from tests.people import fresh, new_key, signed_in_as, with_key


def change(client: Any, path: str, body: Any, **headers: str) -> Any:
    return client.patch(path, body, content_type="application/json", headers=headers)


def test_who_am_i_says_what_i_may_do_where(acme: Any, shop: Any, bob: Any) -> None:
    shown = signed_in_as(bob).get("/api/v1/me").json()
    assert (shown["kind"], shown["name"], shown["expires"]) == ("user", bob.email, None)
    assert shown["accounts"] == [
        {
            "slug": acme.slug,
            "name": "Acme",
            "rights": [
                {"module": module, "verb": "view", "property": shop.key}
                for module in ("audience", "sources")
            ],
        }
    ]
    key, secret = new_key(acme, "property:manage")
    shown = with_key(secret).get("/api/v1/me").json()
    assert (shown["kind"], shown["name"]) == ("api_key", str(key))
    assert shown["accounts"][0]["rights"] == [
        {"module": "property", "verb": "manage", "property": None}
    ]


def test_who_is_in_no_account_sees_none() -> None:
    from tests.people import new_user

    client = signed_in_as(new_user("dora"))
    assert client.get("/api/v1/me").json()["accounts"] == []
    assert client.get("/api/v1/accounts").json() == {"results": [], "next": None}


def test_whoever_is_signed_in_opens_an_account_and_owns_it(alice: Any) -> None:
    client, slug = signed_in_as(alice), fresh("initech")
    body = {"name": "Initech", "slug": slug}
    made = client.post("/api/v1/accounts", body, content_type="application/json")
    assert (made.status_code, made.json()["slug"]) == (201, slug)
    assert client.get(f"/api/v1/accounts/{slug}").json() == made.json()
    assert alice.memberships.get(account__slug=slug).role == "owner"
    again = client.post("/api/v1/accounts", body, content_type="application/json")
    assert (again.status_code, again.json()["error"]["field"]) == (400, "slug")


@pytest.mark.parametrize(
    "body",
    [
        {"name": ""}, {"name": " \x07 "}, {"name": {"a": 1}}, {"name": ["x"]}, {"name": None},
        {"name": "A", "slug": "all"}, {"name": "A", "slug": "Not a slug"}, {"name": "A" * 121},
        {"name": "A", "plan": 1}, {"name": "\x00"}, {"name": "\ud800"}, [], "Acme", 7, None,
    ],
)  # fmt: skip
def test_what_is_no_account_is_refused(alice: Any, body: Any) -> None:
    client = signed_in_as(alice)
    answer = client.post("/api/v1/accounts", json.dumps(body), content_type="application/json")
    assert answer.status_code == 400
    assert answer.json()["error"]["message"]


def test_the_name_changes_and_stands_in_the_audit_log(alice: Any, acme: Any) -> None:
    from accounts.models import AuditEntry
    from accounts.tenancy import tenant

    client, path = signed_in_as(alice), f"/api/v1/accounts/{acme.slug}"
    tag = client.get(path).headers["ETag"]
    answer = change(client, path, {"name": "Acme & Daughters"}, if_match=tag)
    assert (answer.status_code, answer.json()["name"]) == (200, "Acme & Daughters")
    assert change(client, path, {"name": "Late"}, if_match=tag).status_code == 412
    assert change(client, path, {"slug": "other"}).status_code == 400
    assert change(client, path, {"name": "Acme & Daughters"}).status_code == 200
    with tenant(acme.pk):
        entry = AuditEntry.objects.get(action="account.changed")
    assert (entry.old, entry.new) == ({"name": "Acme"}, {"name": "Acme & Daughters"})
    assert entry.actor_name == alice.email


# -- bodies ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "parse_error"),
        (b"{", "parse_error"),
        (b'\xef\xbb\xbf{"name": "A"}', "parse_error"),
        (b'{"name": "A",}', "parse_error"),
        (b'{"name": "A"} // so', "parse_error"),
        (b'{"name": NaN}', "parse_error"),
        (b'{"name": "\xff"}', "parse_error"),
        ('{"name": "A"}'.encode("utf-16"), "parse_error"),
        (b'{"name": ' + b"9" * 5_000 + b"}", "parse_error"),
        (b"[" * 40_000 + b"]" * 40_000, "too_deep"),
        (b'{"name": "' + b"A" * 100_000 + b'"}', "too_large"),
    ],
)
def test_a_body_that_cannot_be_read_is_refused_everywhere(
    alice: Any, acme: Any, body: bytes, code: str
) -> None:
    client, path = signed_in_as(alice), f"/api/v1/accounts/{acme.slug}"
    answer = change(client, path, body)
    expected = {"too_large": 413}.get(code, 400)
    if body == b"":  # nothing was sent: nothing is changed
        assert answer.status_code == 200
        return
    assert (answer.status_code, answer.json()["error"]["code"]) == (expected, code)


@pytest.mark.parametrize(
    "kind",
    ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""],
)
def test_what_a_page_elsewhere_could_send_is_no_json(alice: Any, acme: Any, kind: str) -> None:
    """A form or a simple request of another site's script cannot write."""
    path = f"/api/v1/accounts/{acme.slug}"
    answer = signed_in_as(alice).patch(path, b'{"name": "Theirs"}', content_type=kind)
    assert (answer.status_code, answer.json()["error"]["code"]) == (415, "unsupported_media_type")
    acme.refresh_from_db()
    assert acme.name == "Acme"
