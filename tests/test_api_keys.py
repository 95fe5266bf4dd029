"""API keys: made and changed by whoever may, for no more and no longer than she has; shown once,
refused at once when they end, and never taken from an address."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client

from tests.people import fresh, grant, new_key, signed_in_as, with_key


def now() -> datetime:
    return datetime.now(UTC)


def page(account: Any, pk: int | None = None) -> str:
    return f"/a/{account.slug}/api-keys/" + (f"{pk}/" if pk else "")


def entries(account: Any, action: str) -> list[Any]:
    from accounts.models import AuditEntry
    from accounts.tenancy import tenant

    with tenant(account.pk):
        return list(AuditEntry.objects.filter(account_id=account.pk, action=action))


def stored(account: Any, name: str) -> Any:
    from properties.models import ApiKey

    return ApiKey.objects.of(account).get(name=name)


# -- the page -------------------------------------------------------------------------------------


def test_a_key_ends_after_the_day_that_was_chosen(alice: Any, acme: Any) -> None:
    client, name = signed_in_as(alice), fresh("export")
    asked = {"name": name, "grants": ["audience:view"], "expires": "2099-05-01"}
    assert "ak_" in client.post(page(acme), asked).content.decode()
    key = stored(acme, name)
    assert key.expires == datetime(2099, 5, 2, tzinfo=UTC)
    assert key.made_by == alice
    late = client.post(page(acme), asked | {"name": fresh("late"), "expires": "2020-05-01"})
    assert "That moment has passed" in str(late.context["form"].errors["expires"])
    never = client.post(page(acme), asked | {"expires": "9999-12-31"})
    assert "2099" in str(never.context["form"].errors["expires"])
    (entry,) = entries(acme, "api_key.created")
    assert entry.new["grants"] == ["audience:view"]
    assert key.digest not in str(vars(entry))


def test_a_key_gets_another_name_other_rights_and_another_end(
    alice: Any, acme: Any, shop: Any
) -> None:
    key, secret = new_key(acme, "audience:view", "sources:view")
    client = signed_in_as(alice)
    shown = client.get(page(acme, key.pk)).content.decode()
    assert 'value="sources:view" checked' in shown
    asked = {"name": "Other", "grants": ["property:view"], "properties": [shop.key]}
    assert client.post(page(acme, key.pk), asked).status_code == 302
    program = with_key(secret)
    assert program.get(f"/api/v1/properties/{shop.key}").status_code == 200
    assert program.get(f"/api/v1/accounts/{acme.slug}/properties").status_code == 403
    (entry,) = entries(acme, "api_key.changed")
    assert entry.old["grants"] == ["audience:view", "sources:view"]
    assert entry.new["grants"] == ["property:view"]


def test_rights_are_read_in_the_words_of_the_matrix(acme: Any, shop: Any) -> None:
    everywhere, _ = new_key(acme, "realtime:view", "audit:view")
    assert [str(one) for one in everywhere.grants.order_by("module")] == [
        "view Audit log",
        "view Live of every property",
    ]
    here, _ = new_key(acme, "ecommerce:view", place=shop)
    assert str(here.grants.get()) == f"view E-commerce of {shop.name}"


def test_who_changes_a_key_gives_no_more_than_she_has(acme: Any, shop: Any, bob: Any) -> None:
    grant(bob.memberships.get(), "api_keys:manage")
    key, _ = new_key(acme, "people:view")
    client = signed_in_as(bob)
    more = {"name": key.name, "grants": ["people:view", "chat:view"]}
    answer = client.post(page(acme, key.pk), more)
    assert "You may not view Chat of the whole account yourself" in answer.content.decode()
    assert [g.module for g in key.grants.all()] == ["people"]
    # What the key has it may keep, and it may get less.
    kept = {"name": "Renamed", "grants": ["people:view"]}
    assert client.post(page(acme, key.pk), kept).status_code == 302
    assert stored(acme, "Renamed").pk == key.pk


def test_who_may_not_give_what_a_key_has_lets_it_last_no_longer(acme: Any, bob: Any) -> None:
    grant(bob.memberships.get(), "api_keys:manage")
    key, _ = new_key(acme, "people:view")
    ends = datetime(2098, 5, 2, tzinfo=UTC)
    type(key).objects.of(acme).filter(pk=key.pk).update(expires=ends)
    client = signed_in_as(bob)
    path, json = f"/api/v1/accounts/{acme.slug}/api-keys/{key.pk}", "application/json"
    for longer in (None, "2098-05-03T00:00:00Z"):
        answer = client.patch(path, {"expires": longer}, content_type=json)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "more_than_own")
    asked = {"name": key.name, "grants": ["people:view"], "expires": ""}
    assert client.post(page(acme, key.pk), asked).status_code == 200
    key.refresh_from_db()
    assert key.expires == ends
    shorter = {"expires": "2098-05-01T00:00:00Z"}
    assert client.patch(path, shorter, content_type=json).status_code == 200


def test_an_ended_key_is_not_changed(alice: Any, acme: Any) -> None:
    key, _ = new_key(acme, "audience:view")
    client = signed_in_as(alice)
    assert client.post(page(acme, key.pk) + "revoke/").status_code == 302
    assert client.post(page(acme, key.pk) + "revoke/").status_code == 302
    assert len(entries(acme, "api_key.revoked")) == 1
    assert "has ended" in client.get(page(acme, key.pk)).content.decode()
    asked = {"name": "Again", "grants": ["audience:view"]}
    assert client.post(page(acme, key.pk), asked).status_code == 200
    key.refresh_from_db()
    assert key.name != "Again"


def test_a_key_of_another_account_is_not_changed(alice: Any, charlie: Any, acme: Any) -> None:
    other = charlie.memberships.get().account
    key, _ = new_key(acme, "audience:view")
    client = signed_in_as(charlie)
    for path in (page(other, key.pk), page(acme, key.pk)):
        assert client.get(path).status_code == 404
        assert client.post(path, {"name": "Mine", "grants": ["chat:view"]}).status_code == 404


# -- use ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["api_key", "key", "access_token", "cursor", "limit"])
def test_a_key_in_the_address_is_refused(name: str, acme: Any, shop: Any) -> None:
    key, secret = new_key(acme, "property:view")
    path = f"/api/v1/properties/{shop.key}?{name}={secret}"
    for client in (Client(), with_key(secret)):
        answer = client.get(path)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "key_in_address")
        assert secret not in answer.content.decode()
    key.refresh_from_db()
    assert key.last_used is None


def test_when_and_from_where_a_key_was_used_is_shown(alice: Any, acme: Any) -> None:
    key, secret = new_key(acme, "audience:view")
    program = Client(REMOTE_ADDR="192.0.2.7", headers={"authorization": f"Bearer {secret}"})
    assert program.get("/api/v1/accounts").status_code == 200
    key.refresh_from_db()
    assert (now() - key.last_used).total_seconds() < 600
    assert "192.0.2.7" in signed_in_as(alice).get(page(acme)).content.decode()


def test_a_revoked_key_imports_nothing_from_then_on(web_server: str, shop: Any) -> None:
    """Another process than the one that revokes: nothing of a key is kept in memory."""
    from tests.test_collector import post

    key, secret = new_key(shop.account, "events:manage")
    event = {"property": shop.key, "name": "pageview", "url": "https://a.example/"}
    bearer = f"Bearer {secret}"
    assert post(web_server, event, authorization=bearer).status == 202
    key.refresh_from_db()
    assert key.last_used_from
    key.revoke(now())
    assert post(web_server, event, authorization=bearer).status == 401


# -- the API --------------------------------------------------------------------------------------


def api(account: Any, pk: int | None = None) -> str:
    return f"/api/v1/accounts/{account.slug}/api-keys" + (f"/{pk}" if pk else "")


JSON: dict[str, Any] = {"content_type": "application/json"}


def test_a_key_is_made_listed_changed_and_revoked_by_the_api(acme: Any, shop: Any) -> None:
    _, secret = new_key(acme, "api_keys:manage", "audience:manage")
    program = with_key(secret)
    asked = {"name": "Nightly", "grants": ["audience:view"], "properties": [shop.key]}
    made = program.post(api(acme), asked, **JSON)
    assert made.status_code == 201
    new = made.json()
    assert new.pop("secret").startswith("ak_")
    listed = program.get(api(acme)).json()["results"]
    assert [key["name"] for key in listed][-1] == "Nightly"
    assert "secret" not in listed[-1]
    one = program.get(api(acme, new["id"]))
    assert one.json() == new
    tag = one.headers["ETag"]
    path, match = api(acme, new["id"]), {"If-Match": tag}
    changed = program.patch(path, {"name": "Daily"}, **JSON, headers=match)
    assert (changed.status_code, changed.json()["name"]) == (200, "Daily")
    assert changed.json()["properties"] == [shop.key]
    stale = program.patch(path, {"name": "X"}, **JSON, headers=match)
    assert stale.status_code == 412
    assert program.delete(api(acme, new["id"])).json()["revoked"]


def test_lists_show_prefixes_only(acme: Any) -> None:
    _, strong = new_key(acme, "members:manage")
    _, weak = new_key(acme, "api_keys:view")
    answer = with_key(weak).get(api(acme))
    text = answer.content.decode()
    assert strong[:11] in text
    assert strong not in text
    assert weak not in text
    assert "digest" not in text


def test_a_key_makes_none_that_may_more_or_lasts_longer(acme: Any, shop: Any) -> None:
    parent, secret = new_key(acme, "api_keys:manage", "audience:view")
    program = with_key(secret)
    end = now() + timedelta(days=3)
    type(parent).objects.of(acme).filter(pk=parent.pk).update(expires=end)
    soon = (end - timedelta(days=1)).isoformat()
    for grants, expires, field in [
        (["sources:view"], soon, "grants"),
        (["audience:manage"], soon, "grants"),
        (["audience:view"], None, "expires"),
        (["audience:view"], (end + timedelta(seconds=1)).isoformat(), "expires"),
        (["audience:view"], "2020-01-01T00:00:00Z", "expires"),
        (["horoscopes:view"], soon, "grants"),
        (["audience:destroy"], soon, "grants"),
        ([], soon, "grants"),
    ]:
        asked = {"name": "Child", "grants": grants, "expires": expires}
        answer = program.post(api(acme), asked, **JSON)
        assert answer.status_code in (400, 403), (grants, expires)
        assert answer.json()["error"].get("field", field).startswith(field), answer.json()
    asked = {"name": "Child", "grants": ["audience:view"], "expires": soon}
    child = program.post(api(acme), asked, **JSON)
    assert child.status_code == 201
    assert stored(acme, "Child").made_by == parent.made_by
    # Nor does it make itself last.
    mine = program.patch(api(acme, parent.pk), {"expires": None}, **JSON)
    assert mine.status_code in (400, 403)
    parent.refresh_from_db()
    assert parent.expires == end


def test_a_property_of_others_is_no_scope(acme: Any, shop: Any, charlie: Any) -> None:
    from properties.models import Property

    other = Property.objects.of(charlie.memberships.get().account).get()
    _, secret = new_key(acme, "api_keys:manage", "audience:view")
    got = []
    for key in (other.key, "AK-ZZZZZZZZ"):
        asked = {"name": "N", "grants": ["audience:view"], "properties": [key]}
        answer = with_key(secret).post(api(acme), asked, **JSON)
        assert answer.status_code == 400
        got.append(answer.content.decode().replace(key, ""))
    assert got[0] == got[1]
