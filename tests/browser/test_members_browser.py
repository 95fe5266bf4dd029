"""The matrix of a member as a person has it: the sentence follows each click, the keyboard does, a
narrow and a dark screen do, and axe and the content security policy have nothing to object to."""

from typing import Any

from playwright.sync_api import expect

from tests.test_access import new_invitation

from .conftest import Look, findings, overflow


def test_the_sentence_follows_the_clicks_and_saving_keeps_them(
    look: Look, alice: Any, acme: Any, shop: Any, blog: Any, bob: Any
) -> None:
    membership = bob.memberships.get()
    page = look(alice, f"/a/{acme.slug}/members/{membership.pk}/")
    words = page.locator("#words")
    expect(words).to_contain_text("May view Audience and Sources of Shop. Cannot see People")
    page.locator(f'[name="people@{blog.key}"][value="view"]').check()
    expect(words).to_contain_text("may view People of Blog")
    # The keyboard: an arrow moves within a cell.
    page.locator('[name="chat@everywhere"][value=""]').focus()
    page.keyboard.press("ArrowRight")
    expect(words).to_contain_text("May view Chat everywhere")
    page.get_by_role("button", name="Save rights").click()
    expect(page.get_by_role("status")).to_contain_text("Saved.")
    held = set(membership.grants.values_list("module", "verb", "property"))
    assert held == {
        ("audience", "view", shop.pk),
        ("sources", "view", shop.pk),
        ("people", "view", blog.pk),
        ("chat", "view", None),
    }


def test_pages_of_members_fit_and_axe_finds_nothing(
    look: Look, alice: Any, acme: Any, shop: Any, bob: Any
) -> None:
    shop.name = "مرحبا بالعالم " * 6
    shop.save()
    new_invitation(acme)
    pk = bob.memberships.get().pk
    page = look(alice, f"/a/{acme.slug}/members/", 360, "dark")
    origin = page.url.split("/a/")[0]
    for rest in ("members/", f"members/{pk}/", f"members/{pk}/remove/", "leave/"):
        page.goto(f"{origin}/a/{acme.slug}/{rest}")
        assert (rest, overflow(page)) == (rest, 0)
        assert (rest, findings(page)) == (rest, [])
