"""Who may give which rights to whom. Nobody grants more than she has.

Enters: an actor, a member (or a key, a link) and the rights that it shall have. Leaves: the Grant
rows, changed in one transaction, or Refused with a sentence. Called by pages, endpoints and
invitations; THE DOOR (access.py) has decided before that the actor may manage members at all.

An owner may do everything, and always: her grants are those of the rulebook and cannot be changed
one by one. Only an owner makes or ends an owner, and the last one stays.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import transaction

from accounts import audit, modules
from accounts.models import Account, Membership, User
from properties.access import Actor, Right
from properties.models import ApiKey, Grant, Property

OWNER = "owner"
ASSIGNABLE = tuple(role for role in modules.ROLES if role != OWNER)


class Refused(Exception):
    """Why not: `code` for programs, the text for people, who read what to do."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


# -- what an actor can give ------------------------------------------------------------------------


@dataclass(frozen=True)
class Grantable:
    """What one actor can hand out in one account: what she may do there herself."""

    actor: Actor
    account: Account
    may_give: bool
    places: dict[int, Property]  # by primary key; those that exist for the actor

    def has(self, right: Right) -> bool:
        if not self.may_give or right.account_id != self.account.pk:
            return False
        place = self.account if right.property_id is None else self.places.get(right.property_id)
        return place is not None and self.actor.may(right.verb, right.module, place)

    def cut(self, rights: Iterable[Right]) -> frozenset[Right]:
        """What she can give of the rights: viewing where she may not manage, and her properties
        where she does not have the account."""
        less = {
            Right(right.account_id, where, right.module, verb)
            for right in rights
            for verb in (right.verb, "view")
            for where in (right.property_id, *self._below(right))
        }
        return tidy(right for right in less if self.has(right))

    def _below(self, right: Right) -> Iterable[int]:
        whole = right.property_id is None and right.module not in modules.ASKED_OF_ACCOUNTS
        return self.places if whole else ()


def grantable_by(actor: Actor, account: Account, by: str = "members") -> Grantable:
    """What the actor can give in that account; nothing at all unless she may manage `by` there.

    `by` is the module of what receives the rights: members, api_keys, property (share links).
    """
    places = {place.pk: place for place in actor.properties(account)}
    return Grantable(actor, account, actor.may("manage", by, account), places)


# -- sets of rights --------------------------------------------------------------------------------


def rights_of(holder: Membership | ApiKey) -> frozenset[Right]:
    """The rights of a member or a key, as they are stored."""
    rows = holder.grants.values_list("account", "property", "module", "verb")  # type: ignore[union-attr]
    return frozenset(Right(*row) for row in rows)


def rights_by_member(account: Account) -> dict[int, frozenset[Right]]:
    """The rights of every member by the primary key of her membership, in one query."""
    found: dict[int, set[Right]] = {}
    held = Grant.objects.of(account).filter(membership__isnull=False)
    for pk, where, module, verb in held.values_list("membership", "property", "module", "verb"):
        found.setdefault(pk, set()).add(Right(account.pk, where, module, verb))
    return {pk: frozenset(rights) for pk, rights in found.items()}


def fingerprint(role: str, rights: Iterable[Right]) -> str:
    """Another text whenever role or rights are others: did somebody change them meanwhile?"""
    rows = [(r.property_id or 0, r.module, r.verb) for r in listed(rights)]
    return hashlib.sha256(repr((role, rows)).encode()).hexdigest()[:20]


def rights_of_role(
    role: str, account: Account, places: Sequence[Property | None] = (None,)
) -> frozenset[Right]:
    """The preset of a role in those places (None: the whole account)."""
    return preset_in(role, account, [place.pk if place else None for place in places])


def tidy(rights: Iterable[Right]) -> frozenset[Right]:
    """The fewest rights that say the same: who may manage may view, the account has them all."""
    given = frozenset(rights)
    return frozenset(
        right for right in given if not any(_implies(other, right) for other in given - {right})
    )


def _implies(one: Right, other: Right) -> bool:
    return (
        one.account_id == other.account_id
        and one.property_id in (None, other.property_id)
        and one.allows(other.verb, other.module)
    )


def covers(rights: Iterable[Right], right: Right) -> bool:
    """Whether the right is among those or follows from one of them."""
    return any(_implies(one, right) for one in rights)


def difference(
    role: str, account: Account, rights: frozenset[Right]
) -> tuple[frozenset[Right], frozenset[Right]]:
    """(what is there beyond the role, what of the role is missing), where the rights hold."""
    return _against(preset_in(role, account, scope_of(role, account, rights)), rights)


def scope_of(role: str, account: Account, rights: frozenset[Right]) -> Sequence[int | None]:
    """Where the role is meant: in the account, or in the properties that are named; whichever of
    the two leaves fewer modules that differ."""
    named = sorted({right.property_id for right in rights if right.property_id is not None})
    scopes: list[Sequence[int | None]] = [named, [None]] if named else [[None]]

    def differing(scope: Sequence[int | None]) -> int:
        more, less = _against(preset_in(role, account, scope), rights)
        return len({right.module for right in more | less})

    return min(scopes, key=differing)


def preset_in(role: str, account: Account, scope: Iterable[int | None]) -> frozenset[Right]:
    """The preset of a role in properties by their primary keys (None: the whole account).

    What is asked of the account only (members, usage, ...) is not part of a single property.
    """
    return frozenset(
        Right(account.pk, where, module, verb)
        for module, verb in modules.preset(role)
        for where in scope
        if where is None or module not in modules.ASKED_OF_ACCOUNTS
    )


def _against(
    preset: frozenset[Right], rights: frozenset[Right]
) -> tuple[frozenset[Right], frozenset[Right]]:
    more = frozenset(right for right in rights if not covers(preset, right))
    less = frozenset(right for right in preset if not covers(rights, right))
    return more, less


def check(rights: Iterable[Right], account: Account) -> None:
    """Refuse what the rulebook does not know, another account's properties, and what is asked of
    the account but meant for one property."""
    known = set(Property.objects.of(account).values_list("pk", flat=True))
    for right in rights:
        modules.check(right.module, right.verb)
        if right.account_id != account.pk or right.property_id not in {None, *known}:
            raise Refused("unknown_property", "One of the properties does not exist. Choose again.")
        if right.property_id is not None and right.module in modules.ASKED_OF_ACCOUNTS:
            raise Refused(
                "whole_account",
                f"{modules.NAMES[right.module]} is a matter of the whole account: give it "
                "everywhere or not at all.",
            )


# -- members ---------------------------------------------------------------------------------------


def membership_of(actor: Actor, account: Account) -> Membership | None:
    """The actor's own membership; None for a key."""
    if not isinstance(actor.holder, User):
        return None
    return Membership.objects.filter(account=account, user=actor.holder).first()


def is_owner(actor: Actor, account: Account) -> bool:
    own = membership_of(actor, account)
    return own is not None and own.role == OWNER


def store(membership: Membership, rights: Iterable[Right]) -> None:
    """Let the member have exactly these rights; whoever calls has asked whether she may."""
    with transaction.atomic():
        membership.grants.all().delete()  # type: ignore[attr-defined]
        Grant.objects.bulk_create(
            Grant(
                account_id=membership.account_id,
                membership=membership,
                module=right.module,
                verb=right.verb,
                property_id=right.property_id,
            )
            for right in listed(tidy(rights))
        )


def listed(rights: Iterable[Right]) -> list[Right]:
    """In the order of the rulebook, those of the whole account first."""
    return sorted(
        rights, key=lambda r: (r.property_id or 0, modules.MODULES.index(r.module), r.verb)
    )


@transaction.atomic
def change(
    actor: Actor,
    membership: Membership,
    rights: Iterable[Right],
    role: str | None = None,
    *,
    seen: str | None = None,
    request: Any = None,
) -> None:
    """Give a member these rights instead of hers, and remember the role they started from.

    What she keeps may be more than the actor has; what is new may not. `seen` is the fingerprint
    of what the actor believes to change.
    """
    account = lock(membership.account)
    actor = still_managing(actor, account)
    membership.refresh_from_db()
    wanted, had = tidy(rights), rights_of(membership)
    if seen is not None and seen != fingerprint(membership.role, had):
        raise Refused("changed", "Somebody has just changed these rights. Open the page again.")
    role = role or membership.role
    if OWNER in (membership.role, role):
        raise Refused("owner", "An owner may do everything. Let her stop being an owner first.")
    if role not in ASSIGNABLE:
        raise Refused("role", f"There is no role {role!r}. Known: {', '.join(ASSIGNABLE)}.")
    check(wanted, account)
    if not wanted:
        raise Refused("empty", "Leave at least one right, or remove the member.")
    refuse_more(actor, account, (right for right in wanted if not covers(had, right)))
    _put(actor, membership, role, wanted, "member.changed", request)


def refuse_more(
    actor: Actor, account: Account, rights: Iterable[Right], by: str = "members"
) -> None:
    """Refuse when one of the rights is more than the actor can give."""
    own = grantable_by(actor, account, by)
    for right in listed(rights):
        if not own.has(right):
            place = own.places.get(right.property_id or 0)
            where = place.name if place else "the whole account"
            raise Refused(
                "more_than_own",
                f"You may not {right.verb} {modules.NAMES[right.module]} of {where} yourself, so "
                "you cannot let others.",
            )


@transaction.atomic
def make_owner(actor: Actor, membership: Membership, *, request: Any = None) -> None:
    """Let a member own the account beside those who do."""
    account = lock(membership.account)
    _refuse_unless_owner(actor, account)
    membership.refresh_from_db()
    if membership.role != OWNER:
        rights = rights_of_role(OWNER, account)
        _put(actor, membership, OWNER, rights, "owner.made", request)


@transaction.atomic
def end_owner(actor: Actor, membership: Membership, *, request: Any = None) -> None:
    """Let an owner be an admin from now on; the last one stays an owner."""
    account = lock(membership.account)
    _refuse_unless_owner(actor, account)
    membership.refresh_from_db()
    if membership.role == OWNER:
        _refuse_last_owner(membership)
        rights = rights_of_role("admin", account)
        _put(actor, membership, "admin", rights, "owner.ended", request)


@transaction.atomic
def hand_over(actor: Actor, membership: Membership, *, request: Any = None) -> None:
    """Make a member the owner in the actor's place, who stays as an admin."""
    make_owner(actor, membership, request=request)
    own = membership_of(actor, membership.account)
    if own is not None and own.pk != membership.pk:
        end_owner(actor, own, request=request)


@transaction.atomic
def remove(actor: Actor, membership: Membership, *, request: Any = None) -> None:
    """End a membership, her own or another's. An owner is removed by owners only."""
    account = lock(membership.account)
    membership.refresh_from_db()
    own = membership_of(actor, account)
    leaves = own is not None and own.pk == membership.pk
    if not leaves:
        still_managing(actor, account)
    if membership.role == OWNER:
        if not leaves:
            _refuse_unless_owner(actor, account)
        _refuse_last_owner(membership)
    before = _told(membership)
    membership.delete()
    audit.record(
        account,
        "member.left" if leaves else "member.removed",
        actor=actor,
        request=request,
        target=str(membership.user),
        old=before,
    )


def _put(
    actor: Actor,
    membership: Membership,
    role: str,
    rights: Iterable[Right],
    action: str,
    request: Any,
) -> None:
    """Store role and rights, and write down what they were."""
    before = _told(membership)
    membership.role = role
    membership.save(update_fields=["role"])
    store(membership, rights)
    old, new = audit.changes(before, _told(membership))
    if old or new:
        audit.record(
            membership.account,
            action,
            actor=actor,
            request=request,
            target=str(membership.user),
            old=old,
            new=new,
        )


def _told(membership: Membership) -> dict[str, Any]:
    return {"role": membership.role, "rights": told(rights_of(membership), membership.account)}


def told(rights: Iterable[Right], account: Account) -> list[str]:
    """As the audit log writes them: `audience:view`, or `audience:view AK-23456789`."""
    keys = dict(Property.objects.of(account).values_list("pk", "key"))
    return [
        f"{right.module}:{right.verb} {keys.get(right.property_id or 0, '')}".strip()
        for right in listed(rights)
    ]


def still_managing(actor: Actor, account: Account, by: str = "members") -> Actor:
    """The actor with her rights of now: while she waited for the lock, they may have gone."""
    now = actor.anew()
    if not now.may("manage", by, account):
        what = by.replace("_", " ")
        raise Refused("forbidden", f"You may not manage {what} here. An owner can grant it.")
    return now


def lock(account: Account) -> Account:
    """One change of an account's members, keys and links at a time: two owners cannot both leave
    at once, and nobody makes a key while she is removed. To be taken before any of their rows."""
    return Account.objects.select_for_update(no_key=True).get(pk=account.pk)


def _refuse_unless_owner(actor: Actor, account: Account) -> None:
    if not is_owner(actor, account):
        raise Refused("owners_only", "Only an owner can do this. Ask one of the owners.")


def _refuse_last_owner(membership: Membership) -> None:
    owners = Membership.objects.filter(
        account=membership.account_id, role=OWNER, user__is_active=True
    )
    if not owners.exclude(pk=membership.pk).exists():
        raise Refused(
            "last_owner", "The account needs an owner. Hand the ownership to another member first."
        )
