"""Members, grants and invitations by API: the rules of the pages, ETags, and nothing of others."""

from typing import Any

import pytest
from django.utils import timezone

from tests.people import fresh, grant, new_key, new_property, signed_in_as, with_key
from tests.test_access import new_member


def api(account: Any, rest: str) -> str:
    return f"/api/v1/accounts/{account.slug}/{rest}"


@pytest.fixture
def program(acme: Any) -> Any:
    """A program that may manage members, and view the audience and sources."""
    _, secret = new_key(acme, "members:manage", "audience:view", "sources:view")
    return with_key(secret)


def put(client: Any, path: str, grants: list[Any], **headers: str) -> Any:
    body = {"grants": grants}
    return client.put(path, body, content_type="application/json", headers=headers or None)


def post(client: Any, path: str, **body: Any) -> Any:
    return client.post(path, body, content_type="application/json")


def given(module: str, verb: str = "view", place: Any = None) -> dict[str, Any]:
    return {"module": module, "verb": verb, "property": place.key if place else None}


def test_members_are_listed_and_found_by_address(acme: Any, program: Any, bob: Any) -> None:
    found = program.get(api(acme, "members"), {"email": bob.email}).json()["results"]
    one = found[0]
    assert (len(found), one["role"], one["email"]) == (1, "viewer", bob.email)
    assert one.keys() == {"id", "email", "name", "role", "created", "last_login"}
    assert program.get(api(acme, f"members/{one['id']}")).json() == one
    owners = program.get(api(acme, "members"), {"role": "owner"}).json()["results"]
    assert len(owners) == 1


def test_grants_are_put_as_a_whole_and_guarded_by_their_etag(
    acme: Any, shop: Any, alice: Any, bob: Any
) -> None:
    client = signed_in_as(alice)
    path = api(acme, f"members/{bob.memberships.get().pk}/grants")
    before = client.get(path)
    assert before.json() == {
        "role": "viewer",
        "grants": [given("audience", place=shop), given("sources", place=shop)],
    }
    wanted = [given("chat", "manage"), given("audience", place=shop)]
    answer = put(client, path, wanted, **{"If-Match": before["ETag"]})
    assert answer.status_code == 200
    assert answer.json()["grants"] == wanted
    assert client.get(path)["ETag"] == answer["ETag"]
    stale = put(client, path, [given("chat")], **{"If-Match": before["ETag"]})
    assert (stale.status_code, stale.json()["error"]["code"]) == (412, "changed")
    assert client.get(path).json()["grants"] == wanted


def test_a_program_gives_no_more_than_it_has(acme: Any, program: Any, bob: Any) -> None:
    path = api(acme, f"members/{bob.memberships.get().pk}/grants")
    answer = put(program, path, [given("people")])
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "forbidden")
    assert (
        "You may not view People of the whole account yourself" in answer.json()["error"]["message"]
    )
    assert put(program, path, [given("audience")]).status_code == 200


@pytest.mark.parametrize(
    ("grants", "code", "field"),
    [
        ([], "empty", None),
        ([{"module": "horoscopes", "verb": "view"}], "invalid", "grants.0.module"),
        ([{"module": "chat", "verb": "destroy"}], "invalid", "grants.0.verb"),
        ([given("audience") | {"account": "x"}], "invalid", "grants.0.account"),
        (
            [given("audience") | {"property": "AK-ZZZZZZZZ"}],
            "unknown_property",
            "grants.0.property",
        ),
    ],
    ids=str,
)
def test_what_makes_no_sense_is_refused_with_its_field(
    grants: list[Any], code: str, field: str | None, acme: Any, alice: Any, bob: Any
) -> None:
    path = api(acme, f"members/{bob.memberships.get().pk}/grants")
    answer = put(signed_in_as(alice), path, grants)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error.get("field")) == (400, code, field)


def test_a_property_of_another_account_is_one_that_does_not_exist(
    acme: Any, alice: Any, bob: Any
) -> None:
    path, client = api(acme, f"members/{bob.memberships.get().pk}/grants"), signed_in_as(alice)
    theirs = put(client, path, [given("audience", place=new_property())]).json()
    nothing = put(client, path, [given("audience") | {"property": "AK-ZZZZZZZZ"}]).json()
    assert theirs["error"]["code"] == nothing["error"]["code"] == "unknown_property"


def test_a_property_that_the_caller_cannot_see_is_neither_shown_nor_lost(
    acme: Any, shop: Any, blog: Any, bob: Any
) -> None:
    key, secret = new_key(acme, "members:manage")
    from properties.models import Grant

    Grant.objects.create(account=acme, api_key=key, module="audience", verb="view", property=blog)
    path = api(acme, f"members/{bob.memberships.get().pk}/grants")
    program = with_key(secret)
    assert program.get(path).json()["grants"] == []
    wanted = [given("audience", place=blog)]
    assert put(program, path, wanted).json()["grants"] == wanted
    held = bob.memberships.get().grants.values_list("module", "property")
    assert set(held) == {("audience", shop.pk), ("sources", shop.pk), ("audience", blog.pk)}


def test_a_role_takes_the_place_of_grants(acme: Any, shop: Any, alice: Any, bob: Any) -> None:
    client = signed_in_as(alice)
    path = api(acme, f"members/{bob.memberships.get().pk}")
    body = {"role": "support", "properties": [shop.key]}
    answer = client.patch(path, body, content_type="application/json")
    assert (answer.status_code, answer.json()["role"]) == (200, "support")
    grants = client.get(f"{path}/grants").json()["grants"]
    assert given("chat", "manage", shop) in grants
    for role in ("owner", "king"):
        answer = client.patch(path, {"role": role}, content_type="application/json")
        assert (answer.status_code, answer.json()["error"]["field"]) == (400, "role")


def test_an_owner_is_not_changed_by_api(acme: Any, alice: Any) -> None:
    client, path = signed_in_as(alice), api(acme, f"members/{alice.memberships.get().pk}")
    assert (
        client.patch(path, {"role": "viewer"}, content_type="application/json").status_code == 403
    )
    assert put(client, f"{path}/grants", [given("chat")]).status_code == 403
    answer = client.delete(path)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "last_owner")
    _, secret = new_key(acme, "members:manage")
    assert with_key(secret).delete(path).status_code == 403


def test_removing_ends_the_keys_that_she_made_unless_kept(
    acme: Any, shop: Any, alice: Any, program: Any
) -> None:
    for keys, after in (("", 401), ("?keys=revoke", 401), ("?keys=keep", 200)):
        gone = new_member(acme)
        key, secret = new_key(acme, "property:view")
        type(key).objects.of(acme).filter(pk=key.pk).update(made_by=gone.user)
        path = api(acme, f"members/{gone.pk}")
        assert program.delete(f"{path}?keys=perhaps").status_code == 400
        assert program.delete(f"{path}{keys}").status_code == 204
        assert program.get(path).status_code == 404
        assert with_key(secret).get(f"/api/v1/properties/{shop.key}").status_code == after


def test_somebody_is_invited_again_and_no_more(
    acme: Any, shop: Any, program: Any, mailoutbox: list[Any]
) -> None:
    from datetime import timedelta

    from properties.models import Invitation

    email = f"{fresh('guest')}@example.com"
    path = api(acme, "invitations")
    refused = post(program, path, email=email, role="viewer")
    assert refused.status_code == 403  # a viewer sees more than the program
    answer = post(program, path, email=email, role="viewer", grants=[given("audience", place=shop)])
    assert answer.status_code == 201
    sent = answer.json()
    assert (sent["state"], sent["grants"]) == ("open", [given("audience", place=shop)])
    assert "token" not in str(sent) and "invitation/" not in str(sent)
    assert mailoutbox[-1].to == [email]
    one = f"{path}/{sent['id']}"
    again = program.post(f"{one}/resend")
    assert (again.status_code, again.json()["error"]["code"]) == (400, "too_soon")
    Invitation.objects.of(acme).update(sent=timezone.now() - timedelta(hours=1))
    assert program.post(f"{one}/resend").status_code == 200
    twice = post(program, path, email=email, role="viewer", grants=[given("audience")])
    assert twice.json()["error"]["code"] == "invited"
    assert program.delete(one).status_code == 204
    assert program.get(one).json()["state"] == "revoked"
    assert program.post(f"{one}/resend").json()["error"]["code"] == "ended"
    assert program.get(path, {"email": email}).json()["results"][0]["id"] == sent["id"]


def test_members_and_invitations_of_another_account_do_not_exist(
    acme: Any, alice: Any, charlie: Any
) -> None:
    from tests.test_access import new_invitation

    theirs = charlie.memberships.get()
    sent = new_invitation(theirs.account)
    client = signed_in_as(alice)
    for pk, rest in (
        (theirs.pk, "members/{}"),
        (theirs.pk, "members/{}/grants"),
        (sent.pk, "invitations/{}"),
    ):
        path, nothing = api(acme, rest.format(pk)), api(acme, rest.format(999_999_999))
        assert client.get(path).status_code == 404
        assert client.get(path).content == client.get(nothing).content
        if not rest.endswith("grants"):
            assert client.delete(path).status_code == 404
    assert put(client, api(acme, f"members/{theirs.pk}/grants"), [given("chat")]).status_code == 404
    assert client.post(api(acme, f"invitations/{sent.pk}/resend")).status_code == 404
    sent.refresh_from_db()
    assert sent.revoked is None


def test_whoever_may_only_view_changes_nothing(acme: Any, bob: Any) -> None:
    _, secret = new_key(acme, "members:view", "audience:view")
    reader, path = with_key(secret), api(acme, f"members/{bob.memberships.get().pk}/grants")
    assert reader.get(path).status_code == 200
    assert put(reader, path, [given("audience")]).status_code == 403
    grant(bob.memberships.get(), "members:view")
    assert (
        post(signed_in_as(bob), api(acme, "invitations"), email="x@example.com").status_code == 403
    )
