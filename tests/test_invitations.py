"""An invitation: the mail, the link that works once and for one address, and what it still gives
when its sender has lost a right meanwhile. A state machine: open, accepted, revoked, expired.
"""

import re
import threading
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from tests.people import PASSWORD, fresh, new_key, new_user, signed_in_as

ORIGIN = "https://stats.example.com"


def actor(holder: Any) -> Any:
    from properties.access import Actor

    return Actor(holder)


def invite(by: Any, account: Any, email: str = "", role: str = "viewer", **more: Any) -> Any:
    """Send an invitation; `places` and `now` may be given."""
    from properties import granting, invitations

    rights = granting.rights_of_role(role, account, more.pop("places", [None]))
    return invitations.invite(
        actor(by),
        account,
        email or f"{fresh('guest')}@example.com",
        role,
        more.pop("rights", rights),
        origin=ORIGIN,
        now=more.pop("now", timezone.now()),
    )


def path_in(mail: Any) -> str:
    return re.search(rf"{ORIGIN}(/invitation/\S+)", mail.body)[1]


def refused(code: str, act: Any) -> str:
    from properties.granting import Refused

    with pytest.raises(Refused) as error:
        act()
    assert error.value.code == code
    return str(error.value)


def later(invitation: Any, **fields: Any) -> None:
    """Let time pass over an invitation."""
    type(invitation).objects.of(invitation.account).filter(pk=invitation.pk).update(**fields)


def member(account: Any, email: str) -> Any:
    return account.memberships.filter(user__email=email).first()


def actions(account: Any) -> list[str]:
    from accounts.models import AuditEntry
    from accounts.tenancy import tenant

    with tenant(account.pk):
        return list(AuditEntry.objects.order_by("pk").values_list("action", flat=True))


# -- the way in ------------------------------------------------------------------------------------


def test_the_mail_says_who_invites_and_brings_the_only_copy_of_the_link(
    alice: Any, acme: Any, mailoutbox: list[Any]
) -> None:
    from properties.models import Invitation

    sent = invite(alice, acme)
    mail = mailoutbox[-1]
    assert mail.to == [sent.email]
    assert mail.subject == f"{alice.email} invites you to Acme on Aktivat"
    token = path_in(mail).split("/")[2]
    html = mail.alternatives[0].content
    assert f"{ORIGIN}/invitation/{token}/" in html
    stored = str(Invitation.objects.of(acme).filter(pk=sent.pk).values().get())
    assert token not in stored


def test_a_hostile_name_breaks_neither_the_subject_nor_the_page_of_the_mail(
    alice: Any, acme: Any, mailoutbox: list[Any]
) -> None:
    alice.name, acme.name = "Al\r\nBcc: all@example.com", "<script>alert(1)</script>"
    alice.save()
    acme.save()
    invite(alice, acme)
    mail = mailoutbox[-1]
    assert "\n" not in mail.subject
    assert "<script>" not in mail.alternatives[0].content


def test_somebody_new_signs_up_by_the_mail_and_need_not_confirm_again(
    alice: Any, acme: Any, shop: Any, mailoutbox: list[Any], client: Any
) -> None:
    sent = invite(alice, acme, places=[shop])
    path = path_in(mailoutbox[-1])
    page = client.get(path)
    text = page.content.decode()
    assert page.status_code == 200
    assert "Acme" in text and sent.email in text and "of Shop" in text
    mails = len(mailoutbox)
    to_sign_up = re.search(r'href="(/user/signup/[^"]+)"', text)[1]
    form = client.get(to_sign_up)
    assert sent.email in form.content.decode()
    data = {"email": sent.email, "password1": PASSWORD, "next": path}
    answer = client.post("/user/signup/", data)
    assert answer.headers["Location"] == path
    assert len(mailoutbox) == mails  # none to confirm
    answer = client.post(path)
    assert answer.headers["Location"] == f"/a/{acme.slug}/"
    assert client.get(f"/p/{shop.key}/").status_code == 200
    assert client.get(f"/a/{acme.slug}/members/").status_code == 403
    assert member(acme, sent.email).role == "viewer"
    assert "invitation.accepted" in actions(acme)


def test_another_address_signs_up_as_ever(
    alice: Any, acme: Any, charlie: Any, mailoutbox: list[Any], client: Any
) -> None:
    """The mail proves one address and no other, and gives nobody an address that has an owner."""
    invite(alice, acme, charlie.email)
    path = path_in(mailoutbox[-1])
    client.get(path)
    data = {"email": f"{fresh('else')}@example.com", "password1": PASSWORD, "next": path}
    answer = client.post("/user/signup/", data)
    assert answer.headers["Location"] == "/user/confirm-email/"
    assert "_auth_user_id" not in client.session


def test_somebody_known_joins_with_one_click(
    alice: Any, acme: Any, charlie: Any, mailoutbox: list[Any]
) -> None:
    invite(alice, acme, charlie.email.upper())
    path = path_in(mailoutbox[-1])
    nobody = signed_in_as(None)
    assert nobody.post(path).headers["Location"] == f"/user/login/?next={path}"
    client = signed_in_as(charlie)
    assert "Join" in client.get(path).content.decode()
    assert client.get(f"/a/{acme.slug}/").status_code == 404  # looking accepts nothing
    assert client.post(path).status_code == 302
    assert client.get(f"/a/{acme.slug}/").status_code == 200


def test_somebody_elses_log_in_learns_the_account_and_nothing_more(
    alice: Any, acme: Any, charlie: Any, mailoutbox: list[Any]
) -> None:
    sent = invite(alice, acme)
    path = path_in(mailoutbox[-1])
    client = signed_in_as(charlie)
    for page, status in ((client.get(path), 200), (client.post(path), 403)):
        text = page.content.decode()
        assert page.status_code == status
        assert "Acme" in text
        assert sent.email not in text and alice.email not in text
    assert client.get(f"/a/{acme.slug}/").status_code == 404


def test_an_address_that_is_not_confirmed_proves_nothing(
    alice: Any, acme: Any, mailoutbox: list[Any]
) -> None:
    """Whoever signed up with an address before its owner did may be anybody."""
    from allauth.account.models import EmailAddress

    squatter = new_user("squatter")
    EmailAddress.objects.filter(user=squatter).update(verified=False)
    invite(alice, acme, squatter.email)
    path = path_in(mailoutbox[-1])
    assert signed_in_as(squatter).post(path).status_code == 403
    assert member(acme, squatter.email) is None


def test_whoever_belongs_already_keeps_her_rights(
    alice: Any, acme: Any, mailoutbox: list[Any]
) -> None:
    from properties import granting, joining

    guest = new_user("guest")
    invite(alice, acme, guest.email, role="viewer")
    membership = joining.join(acme, guest, "admin")
    before = granting.rights_of(membership)
    signed_in_as(guest).post(path_in(mailoutbox[-1]))
    membership.refresh_from_db()
    assert (membership.role, granting.rights_of(membership)) == ("admin", before)


# -- every end of it is the same page --------------------------------------------------------------

VARYING = re.compile(rb'name="csrfmiddlewaretoken" value="[^"]*"')


def ended(client: Any, path: str) -> bytes:
    for page in (client.get(path), client.post(path)):
        assert page.status_code == 410, path
    return VARYING.sub(b"", page.content)


def test_used_revoked_expired_resent_and_unknown_links_answer_alike(
    alice: Any, acme: Any, mailoutbox: list[Any]
) -> None:
    from properties import invitations

    now = timezone.now()
    guest = new_user("guest")
    sent = invite(alice, acme, guest.email)
    used = path_in(mailoutbox[-1])
    signed_in_as(guest).post(used)

    sent = invite(alice, acme)
    revoked = path_in(mailoutbox[-1])
    invitations.revoke(actor(alice), sent, now=now)

    sent = invite(alice, acme)
    expired = path_in(mailoutbox[-1])
    later(sent, expires=now - timedelta(seconds=1))

    sent = invite(alice, acme)
    before = path_in(mailoutbox[-1])
    invitations.resend(actor(alice), sent, origin=ORIGIN, now=now + timedelta(minutes=2))
    again = path_in(mailoutbox[-1])
    assert signed_in_as(None).get(again).status_code == 200

    client = signed_in_as(guest)
    pages = {ended(client, path) for path in (used, revoked, expired, before, "/invitation/x/")}
    assert len(pages) == 1
    assert b"Acme" not in pages.pop()


def test_it_expires_after_a_week(alice: Any, acme: Any, mailoutbox: list[Any]) -> None:
    from properties import invitations

    sent = invite(alice, acme)
    token = path_in(mailoutbox[-1]).split("/")[2]
    assert invitations.find(token, sent.sent + timedelta(days=6, hours=23)).pk == sent.pk
    with pytest.raises(invitations.Ended):
        invitations.find(token, sent.sent + timedelta(days=8))


def test_secrets_of_other_kinds_open_no_invitation_and_the_other_way_round(
    alice: Any, acme: Any, mailoutbox: list[Any]
) -> None:
    from django.contrib.auth.tokens import default_token_generator
    from django.core import signing

    from accounts import login_links
    from properties.models import ApiKey, Invitation, ShareLink

    sent = invite(alice, acme)
    token = path_in(mailoutbox[-1]).split("/")[2]
    _, secret = new_key(acme, "audience:view")
    others = [
        login_links.token_for(alice),
        secret,
        default_token_generator.make_token(alice),
        signing.dumps([sent.pk]),
        sent.digest,
    ]
    client = signed_in_as(alice)
    for other in others:
        assert client.get(f"/invitation/{other}/").status_code == 410
    assert signed_in_as(None).get(f"/login-link/{token}/").status_code == 410
    assert signed_in_as(None).get(f"/share/{token}/").status_code == 404
    headers = {"authorization": f"Bearer {token}"}
    assert signed_in_as(None).get("/api/v1/accounts", headers=headers).status_code == 401
    assert ApiKey.digest_of(token) != sent.digest != ShareLink.digest_of(token)
    assert Invitation.objects.of(acme).get(pk=sent.pk).is_open(timezone.now())


def test_of_two_acceptances_at_once_one_finds_it_used(
    alice: Any, acme: Any, mailoutbox: list[Any]
) -> None:
    from properties import invitations

    guest = new_user("guest")
    invite(alice, acme, guest.email)
    token = path_in(mailoutbox[-1]).split("/")[2]
    together = threading.Barrier(3)
    outcomes: list[str] = []

    def try_it() -> None:
        try:
            together.wait()
            invitations.accept(token, guest, timezone.now())
            outcomes.append("joined")
        except invitations.Ended:
            outcomes.append("ended")
        finally:
            connection.close()

    threads = [threading.Thread(target=try_it) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["ended", "ended", "joined"]
    assert acme.memberships.filter(user=guest).count() == 1


# -- what it still gives ---------------------------------------------------------------------------


def lead_of(account: Any, *rights: str) -> Any:
    from properties.joining import join
    from tests.people import grant

    membership = join(account, new_user("lead"), "viewer")
    membership.grants.all().delete()
    grant(membership, *rights)
    return membership


def given(account: Any, email: str) -> set[tuple[str, str, int | None]]:
    from properties.granting import rights_of

    rights = rights_of(member(account, email))
    return {(r.module, r.verb, r.property_id) for r in rights}


def test_nobody_invites_to_more_than_she_has(acme: Any) -> None:
    lead = lead_of(acme, "members:manage", "audience:view", "sources:view")
    refused("more_than_own", lambda: invite(lead.user, acme, role="viewer"))
    refused("role", lambda: invite(lead.user, acme, role="owner", rights=[]))
    viewer = lead_of(acme, "audience:view")
    refused("more_than_own", lambda: invite(viewer.user, acme))


def test_what_the_sender_lost_meanwhile_is_not_given(
    acme: Any, shop: Any, blog: Any, mailoutbox: list[Any]
) -> None:
    from tests.people import grant

    lead = lead_of(acme, "members:manage", "audience:manage", "ecommerce:view", "chat:view")
    guest = new_user("guest")
    from properties.access import Right

    rights = [
        Right(acme.pk, None, "audience", "manage"),
        Right(acme.pk, None, "ecommerce", "view"),
        Right(acme.pk, None, "chat", "view"),
    ]
    invite(lead.user, acme, guest.email, rights=rights)
    lead.grants.exclude(module="members").delete()
    grant(lead, "audience:view")
    grant(lead, "ecommerce:view", place=shop)
    signed_in_as(guest).post(path_in(mailoutbox[-1]))
    assert given(acme, guest.email) == {
        ("audience", "view", None),
        ("ecommerce", "view", shop.pk),
    }


@pytest.mark.parametrize("how", ["removed", "may not manage members", "switched off", "deleted"])
def test_an_invitation_ends_with_its_sender(how: str, acme: Any, mailoutbox: list[Any]) -> None:
    lead = lead_of(acme, "members:manage", "audience:view")
    guest = new_user("guest")
    from properties.access import Right

    invite(lead.user, acme, guest.email, rights=[Right(acme.pk, None, "audience", "view")])
    if how == "removed":
        lead.delete()
    elif how == "deleted":
        lead.user.delete()
    elif how == "switched off":
        type(lead.user).objects.filter(pk=lead.user.pk).update(is_active=False)
    else:
        lead.grants.filter(module="members").delete()
    ended(signed_in_as(guest), path_in(mailoutbox[-1]))
    assert member(acme, guest.email) is None


def test_a_property_that_is_gone_gives_nothing_and_never_the_account(
    alice: Any, acme: Any, shop: Any, blog: Any, mailoutbox: list[Any]
) -> None:
    guest = new_user("guest")
    invite(alice, acme, guest.email, places=[shop, blog])
    shop.delete()
    signed_in_as(guest).post(path_in(mailoutbox[-1]))
    assert {place for _, _, place in given(acme, guest.email)} == {blog.pk}
    invite(alice, acme, (second := new_user("guest")).email, places=[blog])
    blog.delete()
    ended(signed_in_as(second), path_in(mailoutbox[-1]))


def test_an_invitation_of_a_program_ends_with_its_key(acme: Any, mailoutbox: list[Any]) -> None:
    key, _ = new_key(acme, "members:manage", "audience:view")
    from properties.access import Right

    rights = [Right(acme.pk, None, "audience", "view")]
    guest = new_user("guest")
    invite(key, acme, guest.email, rights=rights)
    path = path_in(mailoutbox[-1])
    assert signed_in_as(guest).get(path).status_code == 200
    key.revoke(timezone.now())
    ended(signed_in_as(guest), path)


# -- floods ----------------------------------------------------------------------------------------


def test_an_address_with_an_account_is_invited_like_one_without(
    alice: Any, acme: Any, charlie: Any, mailoutbox: list[Any]
) -> None:
    known, unknown = charlie.email, f"{fresh('nobody')}@example.com"
    mails = []
    for email in (known, unknown):
        sent = invite(alice, acme, email)
        token = path_in(mailoutbox[-1]).split("/")[2]
        page = signed_in_as(None).get(path_in(mailoutbox[-1]))
        texts = (mailoutbox[-1].body, mailoutbox[-1].subject, page.content.decode())
        mails.append([t.replace(token, "T").replace(sent.email, "E") for t in texts])
        mails[-1][2] = re.sub(r'nonce="[^"]*"', "", mails[-1][2])
    assert mails[0] == mails[1]


def test_the_same_address_is_not_invited_twice(alice: Any, acme: Any) -> None:
    sent = invite(alice, acme)
    later(sent, sent=timezone.now() - timedelta(hours=1))
    said = refused("invited", lambda: invite(alice, acme, sent.email))
    assert "invited already" in said
    refused("member", lambda: invite(alice, acme, alice.email))
    # An expired one makes room.
    later(sent, expires=timezone.now() - timedelta(seconds=1))
    again = invite(alice, acme, sent.email)
    assert again.pk != sent.pk


def test_mails_to_an_address_are_a_minute_apart_and_ten_a_day_from_all_accounts(
    alice: Any, acme: Any, charlie: Any, mailoutbox: list[Any]
) -> None:
    from properties import invitations

    now = timezone.now()
    sent = invite(alice, acme, now=now)
    resend = lambda when: invitations.resend(actor(alice), sent, origin=ORIGIN, now=when)  # noqa: E731
    refused("too_soon", lambda: resend(now + timedelta(seconds=50)))
    resend(now + timedelta(seconds=70))
    other = charlie.memberships.get().account
    refused("too_soon", lambda: invite(charlie, other, sent.email, now=now + timedelta(seconds=80)))
    mails = len(mailoutbox)
    for turn in range(invitations.MOST_TO_ONE):
        when = now + timedelta(minutes=5 * (turn + 1))
        row = invite(charlie, other, sent.email, now=when) if turn < 8 else None
        if row is None:
            refused("too_many", lambda when=when: invite(charlie, other, sent.email, now=when))
        else:
            invitations.revoke(actor(charlie), row, now=when)
    assert len(mailoutbox) == mails + 8


def test_an_account_has_no_more_than_fifty_that_wait(
    alice: Any, acme: Any, monkeypatch: Any
) -> None:
    from properties import invitations

    monkeypatch.setattr(invitations, "MOST_OPEN", 2)
    first = invite(alice, acme)
    invite(alice, acme)
    refused("too_many", lambda: invite(alice, acme))
    invitations.revoke(actor(alice), first, now=timezone.now())
    invite(alice, acme)
    monkeypatch.setattr(invitations, "MOST_OPEN", 50)
    monkeypatch.setattr(invitations, "MOST_A_DAY", 3)
    refused("too_many", lambda: invite(alice, acme))


def test_a_dead_mail_server_loses_the_mail_and_not_the_invitation(
    alice: Any, acme: Any, settings: Any
) -> None:
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 1
    sent = invite(alice, acme)
    assert sent.is_open(timezone.now())
    assert actions(acme)[-1] == "invitation.sent"


def test_what_happens_to_an_invitation_is_written_down(alice: Any, acme: Any) -> None:
    from properties import invitations

    sent = invite(alice, acme)
    when = timezone.now() + timedelta(minutes=2)
    invitations.resend(actor(alice), sent, origin=ORIGIN, now=when)
    invitations.revoke(actor(alice), sent, now=when)
    wanted = ["invitation.sent", "invitation.resent", "invitation.revoked"]
    assert actions(acme)[-3:] == wanted
