"""Two requests about rights at once: the second one sees what the first one left, and neither waits
for the other for ever."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import connection, transaction

from tests.people import new_key, signed_in_as, with_key
from tests.test_granting import actor, joined, right, texts


def now() -> datetime:
    return datetime.now(UTC)


class Other:
    """An act on another connection, to be begun in the middle of a transaction of this one."""

    def __init__(self, act: Callable[[], object]) -> None:
        self.act = act

    def begin(self) -> None:
        """Returns when the act waits for a lock of this connection's, or is done."""
        pool = ThreadPoolExecutor(1)
        self.outcome = pool.submit(self._run)
        pool.shutdown(wait=False)
        while not self.outcome.done() and not _is_waited_for():
            time.sleep(0.01)

    def _run(self) -> object:
        try:
            return self.act()
        finally:
            connection.close()

    def result(self) -> Any:
        return self.outcome.result()


def _is_waited_for() -> bool:
    """By its locks: pg_stat_activity shows a transaction the connections that there were when it
    first looked, and never the one that was opened a moment later."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT EXISTS (SELECT FROM pg_locks"
            " WHERE NOT granted AND pg_backend_pid() = ANY(pg_blocking_pids(pid)))"
        )
        return bool(cursor.fetchone()[0])


def code_of(act: Callable[[], object]) -> Callable[[], str]:
    """What the act was refused with; "" when it was done."""
    from properties.granting import Refused

    def tried() -> str:
        try:
            act()
        except Refused as error:
            return error.code
        return ""

    return tried


def rights_of(key: Any) -> set[str]:
    from properties.granting import rights_of

    return texts(rights_of(key))


def test_a_right_that_a_key_loses_meanwhile_comes_back_by_nobody_with_less(
    acme: Any, alice: Any
) -> None:
    from properties.issuing import change_key

    lead = joined(acme, "viewer", "api_keys:manage", "audience:view").user
    key, _ = new_key(acme, "people:manage", "audience:view")
    both, less = [("people", "manage"), ("audience", "view")], [("audience", "view")]
    mine = type(key).objects.of(acme).get(pk=key.pk)

    def again() -> None:
        change_key(actor(lead), mine, name="Lead's", grants=both, now=now())

    other = Other(code_of(again))
    with transaction.atomic():
        change_key(actor(alice), key, name="Less", grants=less, now=now())
        other.begin()
    assert other.result() == "more_than_own"
    assert rights_of(key) == {"audience:view"}


@pytest.mark.parametrize("made", ["key", "link", "invitation"])
def test_whoever_is_removed_meanwhile_makes_nothing(
    made: str, acme: Any, alice: Any, shop: Any
) -> None:
    from properties import invitations, issuing, leaving
    from properties.models import ApiKey, Invitation, ShareLink

    rights = ("api_keys:manage", "property:manage", "members:manage", "audience:view")
    leaver = joined(acme, "viewer", *rights)
    her = actor(leaver.user)
    assert her.rights  # as THE DOOR read them

    def make() -> None:
        if made == "key":
            pairs = [("audience", "view")]
            issuing.issue_key(her, acme, name="k", grants=pairs, now=now())
        elif made == "invitation":
            wanted = [right(acme, "audience:view")]
            invitations.invite(
                her, acme, "guest@example.com", "viewer", wanted, origin="http://x", now=now()
            )
        else:
            issuing.issue_link(her, shop, issuing.WantedLink(name="l"), now())

    other = Other(code_of(make))
    with transaction.atomic():
        leaving.leave(actor(alice), leaver)
        other.begin()
    assert other.result() == ("more_than_own" if made == "invitation" else "forbidden")
    for model in (ApiKey, ShareLink, Invitation):
        assert not model.objects.of(acme).filter(revoked=None).exists()


@pytest.mark.parametrize("what", ["member", "grants", "invitation"])
def test_the_api_and_the_removal_of_a_member_do_not_block_each_other(
    what: str, acme: Any, alice: Any
) -> None:
    """Each takes the account first: in another order Postgres would end one of the two."""
    from properties import granting, leaving
    from tests.test_invitations import invite

    leaver = joined(acme, "viewer", "members:manage", "audience:view")
    sent = invite(leaver.user, acme, rights=[right(acme, "audience:view")])
    root = f"/api/v1/accounts/{acme.slug}"
    path = {
        "member": f"{root}/members/{leaver.pk}",
        "grants": f"{root}/members/{leaver.pk}/grants",
        "invitation": f"{root}/invitations/{sent.pk}",
    }[what]
    _, secret = new_key(acme, "members:manage", "audience:view")
    program = with_key(secret)

    def ask() -> int:
        if what == "grants":
            body = {"grants": [{"module": "audience", "verb": "view"}]}
            return program.put(path, body, content_type="application/json").status_code
        return program.delete(path).status_code

    other = Other(ask)
    with transaction.atomic():
        granting.lock(acme)
        other.begin()  # it stands behind the lock, with whatever it took before
        leaving.leave(actor(alice), leaver)
    assert other.result() in (200, 204, 404)


def test_an_owner_who_deletes_her_login_while_the_other_leaves_stays(acme: Any, alice: Any) -> None:
    from properties import granting

    other = joined(acme, "owner").user
    browser = signed_in_as(other)
    deletion = Other(lambda: browser.post("/user/delete/", {"typed": other.email}).status_code)
    with transaction.atomic():
        granting.lock(acme)
        deletion.begin()
        granting.remove(actor(alice), alice.memberships.get(account=acme))
    assert deletion.result() == 302
    assert [one.user for one in acme.memberships.all()] == [other]
