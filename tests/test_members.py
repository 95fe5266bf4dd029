"""Pages of members: the list, inviting, the matrix of one, owning, removing and leaving; and that
whoever is removed is out with her next request, with the keys that she made.
"""

import re
from typing import Any

import pytest

from tests.people import fresh, grant, new_key, new_property, new_user, signed_in_as, with_key


def joined(account: Any, role: str = "viewer", word: str = "dora") -> Any:
    from properties.joining import join

    return join(account, new_user(word), role)


def texts(membership: Any) -> set[str]:
    from properties.granting import rights_of, told

    return set(told(rights_of(membership), membership.account))


def fields(page: Any) -> dict[str, str]:
    """What a browser would send of the form of rights, as it stands."""
    form = re.search(r'id="rights".*?</form>', page.content.decode(), re.S)[0]
    inputs = re.findall(r"<input [^>]*>", form)
    sent = {}
    for tag in inputs:
        named = dict(re.findall(r'(\w+)="([^"]*)"', tag))
        if named.get("type") == "hidden" or re.search(r"\bchecked\b", tag):
            sent[named["name"]] = named.get("value", "")
    return sent


def path(membership: Any, rest: str = "") -> str:
    return f"/a/{membership.account.slug}/members/{membership.pk}/{rest}"


def actions(account: Any) -> list[str]:
    from accounts.models import AuditEntry
    from accounts.tenancy import tenant

    with tenant(account.pk):
        return list(AuditEntry.objects.order_by("pk").values_list("action", flat=True))


# -- the list --------------------------------------------------------------------------------------


def test_the_list_says_who_where_and_whether_the_role_was_changed(
    acme: Any, alice: Any, shop: Any, bob: Any, vera: Any
) -> None:
    text = signed_in_as(alice).get(f"/a/{acme.slug}/members/").content.decode()
    rows = set(re.findall(r"<tr>.*?</tr>", text, re.S))
    of_bob = next(row for row in rows if bob.email in row)
    assert ">Shop<" in of_bob and "changed" in of_bob
    of_vera = next(row for row in rows if vera.email in row)
    assert ">everywhere<" in of_vera and "changed" not in of_vera


def test_the_list_costs_no_query_a_member(acme: Any, alice: Any) -> None:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    client = signed_in_as(alice)

    def queries() -> int:
        with CaptureQueriesContext(connection) as asked:
            client.get(f"/a/{acme.slug}/members/")
        return len(asked)

    queries()  # the first look warms what is kept
    before = queries()
    for _ in range(6):
        joined(acme)
    assert queries() == before


def test_somebody_is_invited_on_the_page(
    acme: Any, alice: Any, shop: Any, mailoutbox: list[Any]
) -> None:
    from properties.invitations import rights_in
    from properties.models import Invitation

    client = signed_in_as(alice)
    email = f"{fresh('guest')}@example.com"
    page = client.post(f"/a/{acme.slug}/members/", {"email": "nobody", "properties": [shop.key]})
    text = page.content.decode()
    assert "Choose a role." in text and 'value="nobody"' in text  # what was typed stays
    data = {"email": email, "role": "viewer", "properties": [shop.key]}
    page = client.post(f"/a/{acme.slug}/members/", data, follow=True)
    assert f"{email} is invited." in page.content.decode()
    assert mailoutbox[-1].to == [email]
    sent = Invitation.objects.of(acme).get()
    assert {right.property_id for right in rights_in(sent)} == {shop.pk}
    page = client.post(f"/a/{acme.slug}/members/", data)
    assert "is invited already" in page.content.decode()
    page = client.post(f"/a/{acme.slug}/invitations/{sent.pk}/resend/", follow=True)
    assert "Wait a minute" in page.content.decode()
    page = client.post(f"/a/{acme.slug}/invitations/{sent.pk}/revoke/", follow=True)
    assert "is taken back" in page.content.decode()


def test_whoever_may_manage_little_is_offered_little(acme: Any, shop: Any) -> None:
    lead = joined(acme)
    grant(lead, "members:manage")
    text = signed_in_as(lead.user).get(f"/a/{acme.slug}/members/").content.decode()
    assert 'value="viewer"' in text
    assert 'value="admin"' not in text and 'value="analyst"' not in text
    data = {"email": "x@example.com", "role": "admin"}
    page = signed_in_as(lead.user).post(f"/a/{acme.slug}/members/", data)
    assert "Select a valid choice" in page.content.decode()


def test_whoever_may_only_look_has_nothing_to_press(acme: Any) -> None:
    reader, other = joined(acme), joined(acme)
    grant(reader, "members:view")
    client = signed_in_as(reader.user)
    text = client.get(f"/a/{acme.slug}/members/").content.decode()
    assert "Send invitation" not in text
    text = client.get(path(other)).content.decode()
    assert "Save rights" not in text and "<fieldset disabled>" in text
    assert client.post(path(other), {}).status_code == 403


# -- the matrix ------------------------------------------------------------------------------------


def test_the_form_sends_back_what_is_stored(acme: Any, alice: Any, shop: Any, bob: Any) -> None:
    membership = bob.memberships.get()
    before = texts(membership)
    client = signed_in_as(alice)
    page = client.get(path(membership))
    assert "May view Audience and Sources of Shop. Cannot see People or E-commerce." in (
        page.content.decode()
    )
    assert client.post(path(membership), fields(page)).status_code == 302
    assert texts(membership) == before
    assert "member.changed" not in actions(acme)


def test_rights_are_changed_one_by_one(acme: Any, alice: Any, shop: Any, bob: Any) -> None:
    membership = bob.memberships.get()
    client = signed_in_as(alice)
    data = fields(client.get(path(membership)))
    data |= {"chat@everywhere": "manage", f"sources@{shop.key}": "", f"events@{shop.key}": "view"}
    page = client.post(path(membership), data, follow=True)
    wanted = {"chat:manage", f"audience:view {shop.key}", f"events:view {shop.key}"}
    assert texts(membership) == wanted
    text = page.content.decode()
    assert "May view Audience and Events of Shop; may manage Chat everywhere." in text
    assert actions(acme)[-1] == "member.changed"
    assert signed_in_as(bob).get(f"/p/{shop.key}/").status_code == 200


def test_the_sentence_follows_what_is_ticked_and_nothing_is_saved(
    acme: Any, alice: Any, shop: Any, bob: Any
) -> None:
    membership = bob.memberships.get()
    before = texts(membership)
    client = signed_in_as(alice)
    data = fields(client.get(path(membership))) | {"people@everywhere": "view"}
    text = client.post(path(membership, "words/"), data).content.decode()
    assert "People everywhere" in text
    assert "Cannot see E-commerce." in text
    assert "view People everywhere" in text  # more than the role
    assert "<html" not in text
    assert texts(membership) == before


def test_a_role_fills_a_column_and_waits_to_be_saved(
    acme: Any, alice: Any, shop: Any, blog: Any, bob: Any
) -> None:
    membership = bob.memberships.get()
    before = texts(membership)
    client = signed_in_as(alice)
    data = fields(client.get(path(membership))) | {"fill": "support", "fill_in": blog.key}
    page = client.post(path(membership), data)
    assert "Not saved yet" in page.content.decode()
    assert texts(membership) == before
    sent = fields(page)
    assert (sent["role"], sent[f"chat@{blog.key}"]) == ("support", "manage")
    assert sent[f"audience@{shop.key}"] == "view"
    client.post(path(membership), sent)
    membership.refresh_from_db()
    assert membership.role == "support"
    assert f"people:view {blog.key}" in texts(membership)
    data = fields(client.get(path(membership))) | {"fill": "", "fill_in": blog.key}
    client.post(path(membership), fields(client.post(path(membership), data)))
    assert not any(blog.key in text for text in texts(membership))


def test_what_one_may_not_give_is_crossed_out_and_refused(acme: Any, shop: Any) -> None:
    lead, other = joined(acme), joined(acme)
    grant(lead, "members:manage")
    client = signed_in_as(lead.user)
    page = client.get(path(other))
    text = page.content.decode()
    assert re.search(r'name="people@everywhere" value="view"\s+disabled', text)
    assert not re.search(r'name="audience@everywhere" value="view"[^>]*disabled', text)
    data = fields(page) | {"people@everywhere": "view"}
    text = client.post(path(other), data).content.decode()
    assert "You may not view People of the whole account yourself" in text
    assert "people:view" not in texts(other)


def test_a_property_that_the_actor_cannot_see_keeps_its_rights(
    acme: Any, shop: Any, blog: Any, bob: Any
) -> None:
    lead = joined(acme)
    lead.grants.all().delete()
    grant(lead, "members:manage")
    grant(lead, "audience:view", place=blog)
    membership = bob.memberships.get()
    client = signed_in_as(lead.user)
    page = client.get(path(membership))
    assert shop.key not in page.content.decode()
    data = fields(page) | {f"audience@{blog.key}": "view", f"audience@{shop.key}": ""}
    client.post(path(membership), data)
    wanted = {f"audience:view {shop.key}", f"sources:view {shop.key}", f"audience:view {blog.key}"}
    assert texts(membership) == wanted


def test_two_who_change_the_same_rights_do_not_overwrite_each_other(
    acme: Any, alice: Any, vera: Any
) -> None:
    membership = vera.memberships.get()
    client = signed_in_as(alice)
    data = fields(client.get(path(membership)))
    grant(membership, "people:view")
    text = client.post(path(membership), data).content.decode()
    assert "Somebody has just changed these rights" in text
    assert "people:view" in texts(membership)


def test_many_properties_have_columns_on_demand(acme: Any, alice: Any, vera: Any) -> None:
    places = [new_property(acme, name=f"Site {number}") for number in range(8)]
    membership = vera.memberships.get()
    grant(membership, "people:view", place=places[3])
    client = signed_in_as(alice)
    page = client.get(path(membership))
    sent = fields(page)
    assert f"people@{places[3].key}" in sent
    assert f"people@{places[4].key}" not in sent
    page = client.get(path(membership), {"column": [places[4].key, places[3].key]})
    assert f"people@{places[4].key}" in fields(page)


def test_a_members_page_of_another_account_does_not_exist(
    acme: Any, alice: Any, charlie: Any
) -> None:
    theirs = charlie.memberships.get()
    client = signed_in_as(alice)
    for rest in ("", "words/", "remove/", "owner/"):
        for pk in (theirs.pk, 999_999_999):
            route = f"/a/{acme.slug}/members/{pk}/{rest}"
            assert client.post(route, {"keys": "revoke", "act": "make"}).status_code == 404
    theirs.refresh_from_db()


def test_a_hostile_name_is_text(acme: Any, alice: Any) -> None:
    membership = joined(acme)
    membership.user.name = "<img src=x onerror=alert(1)>"
    membership.user.save()
    client = signed_in_as(alice)
    for route in (f"/a/{acme.slug}/members/", path(membership), path(membership, "remove/")):
        assert "<img src=x" not in client.get(route).content.decode()


# -- owning ----------------------------------------------------------------------------------------


def test_an_owners_page_has_no_matrix(acme: Any, alice: Any) -> None:
    mine = alice.memberships.get()
    text = signed_in_as(alice).get(path(mine)).content.decode()
    assert "May view and manage everything, always." in text
    assert 'id="rights"' not in text


def test_ownership_is_handed_over_by_whoever_signed_in_lately(acme: Any, alice: Any) -> None:
    other = joined(acme)
    stale = signed_in_as(alice, fresh=False)
    answer = stale.post(path(other, "owner/"), {"act": "hand_over"})
    assert "reauthenticate" in answer.headers["Location"]
    other.refresh_from_db()
    assert other.role == "viewer"
    signed_in_as(alice).post(path(other, "owner/"), {"act": "hand_over"})
    other.refresh_from_db()
    mine = alice.memberships.get()
    assert (other.role, mine.role) == ("owner", "admin")
    assert actions(acme)[-2:] == ["owner.made", "owner.ended"]
    # Now she is an admin like any other.
    assert signed_in_as(alice).post(path(mine, "owner/"), {"act": "make"}).status_code == 403
    assert signed_in_as(alice).post(path(other, "owner/"), {"act": "end"}).status_code == 403


def test_the_last_owner_is_told_what_to_do(acme: Any, alice: Any) -> None:
    client = signed_in_as(alice)
    page = client.post(f"/a/{acme.slug}/leave/", {"keys": "revoke"}, follow=True)
    assert "Hand the ownership to another member first" in page.content.decode()
    mine = alice.memberships.get()
    page = client.post(path(mine, "owner/"), {"act": "end"}, follow=True)
    assert "The account needs an owner" in page.content.decode()


# -- out -------------------------------------------------------------------------------------------


def made_by(user: Any, account: Any) -> tuple[Any, str]:
    key, secret = new_key(account, "property:view")
    type(key).objects.of(account).filter(pk=key.pk).update(made_by=user)
    return key, secret


def test_whoever_is_removed_is_out_with_the_next_request(
    acme: Any, alice: Any, shop: Any, mailoutbox: list[Any]
) -> None:
    """Pages, partial updates, polls, API and the keys that she made."""
    membership = joined(acme, "admin")
    key, secret = made_by(membership.user, acme)
    out = signed_in_as(membership.user)
    asked = [
        f"/a/{acme.slug}/",
        f"/p/{shop.key}/",
        f"/p/{shop.key}/now/",
        f"/p/{shop.key}/inspector/",
        f"/api/v1/properties/{shop.key}",
        f"/api/v1/properties/{shop.key}/realtime",
    ]
    assert {out.get(route).status_code for route in asked} == {200}
    out.post(
        f"/a/{acme.slug}/members/", {"email": f"{fresh('guest')}@example.com", "role": "viewer"}
    )
    link = re.search(r"(/invitation/\S+)", mailoutbox[-1].body)[1]
    client = signed_in_as(alice)
    assert key.name in client.get(path(membership, "remove/")).content.decode()
    page = client.post(path(membership, "remove/"), {"keys": "revoke"}, follow=True)
    assert "is removed" in page.content.decode()
    assert {out.get(route).status_code for route in asked} == {404}
    assert with_key(secret).get(f"/api/v1/properties/{shop.key}").status_code == 401
    assert signed_in_as(None).get(link).status_code == 410
    assert actions(acme)[-3:] == ["member.removed", "invitation.revoked", "api_key.revoked"]


@pytest.mark.parametrize("choice", ["keep", "", "nonsense"])
def test_keys_end_unless_whoever_removes_keeps_them(
    choice: str, acme: Any, alice: Any, shop: Any
) -> None:
    membership = joined(acme)
    _, secret = made_by(membership.user, acme)
    answer = signed_in_as(alice).post(path(membership, "remove/"), {"keys": choice})
    if choice == "keep":
        assert answer.status_code == 302
        assert not acme.memberships.filter(pk=membership.pk).exists()
    else:  # nothing chosen: asked again, nothing done
        assert answer.status_code == 200
        assert acme.memberships.filter(pk=membership.pk).exists()
    assert with_key(secret).get(f"/api/v1/properties/{shop.key}").status_code == 200


def test_leaving_needs_no_right(acme: Any, shop: Any, bob: Any) -> None:
    client = signed_in_as(bob)
    assert client.get(f"/a/{acme.slug}/leave/").status_code == 200
    assert client.post(f"/a/{acme.slug}/leave/", {"keys": "revoke"}).status_code == 302
    assert client.get(f"/a/{acme.slug}/").status_code == 404
    assert actions(acme)[-1] == "member.left"


def test_an_admin_removes_no_owner(acme: Any, alice: Any) -> None:
    admin = joined(acme, "admin")
    mine = alice.memberships.get()
    page = signed_in_as(admin.user).post(path(mine, "remove/"), {"keys": "revoke"}, follow=True)
    assert "Only an owner can do this" in page.content.decode()
    mine.refresh_from_db()


# -- several accounts ------------------------------------------------------------------------------


def test_a_user_of_several_accounts_switches_and_each_shows_its_own(
    acme: Any, shop: Any, bob: Any, charlie: Any
) -> None:
    other = charlie.memberships.get().account
    from properties.joining import join

    join(other, bob, "admin")
    client = signed_in_as(bob)
    text = client.get(f"/a/{acme.slug}/").content.decode()
    switcher = re.search(r'<nav class="menu-list" aria-label="Account">.*?</nav>', text, re.S)[0]
    links = re.findall(r'href="([^"]+)"', switcher)
    assert links == [f"/a/{acme.slug}/", f"/a/{other.slug}/", "/new-account/"]
    assert shop.key in text and "Elsewhere" not in text
    text = client.get(f"/a/{other.slug}/").content.decode()
    assert "Elsewhere" in text and shop.key not in text
    # An admin there is nobody special here.
    assert client.get(f"/a/{other.slug}/members/").status_code == 200
    assert client.get(f"/a/{acme.slug}/members/").status_code == 403
