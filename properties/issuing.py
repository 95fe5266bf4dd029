"""Making share links and API keys: nobody hands out more than she has, nor for longer.

Enters: an actor whom THE DOOR let manage them, and what she asked for. Leaves: the row with its
grants and its secret, which is shown once; or Refused with a sentence. Pages and API call it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from django.db import transaction

from accounts import audit, modules
from accounts.models import Account
from properties import granting, periods
from properties.access import Actor, Right
from properties.granting import Refused
from properties.models import ApiKey, Grant, Property, ShareLink

ALWAYS = "audience"  # beside every other number stand visitors
SHORTEST_PASSWORD, LONGEST_PASSWORD = 8, 128
MOST_DAYS = 3_660
LAST_DAY = date(periods.LAST_YEAR - 1, 12, 31)  # on which something can end
MOST_LINKS = 200  # of one property that have not ended


@dataclass(frozen=True, kw_only=True)
class WantedLink:
    """What somebody asks of a share link. Days: the last `days`, or `first` to `last`, or all."""

    name: str
    shows: Iterable[str] = ()
    days: int | None = None
    first: date | None = None
    last: date | None = None
    password: str = field(default="", repr=False)
    downloads: bool = False
    hosts: list[str] = field(default_factory=list)
    expires: datetime | None = None

    @property
    def modules(self) -> list[str]:
        asked = {ALWAYS, *self.shows}
        return [module for module in modules.SHAREABLE if module in asked]


def can_share(actor: Actor, place: Property) -> list[str]:
    """The modules that she may show by a link: what she may view herself."""
    return [module for module in modules.SHAREABLE if actor.may("view", module, place)]


@transaction.atomic
def issue_link(
    actor: Actor, place: Property, wanted: WantedLink, now: datetime, request: Any = None
) -> tuple[ShareLink, str]:
    """The link and its token. Raises Refused."""
    granting.lock(place.account)
    actor = actor.anew()  # while she waited for the lock, her rights may have gone
    _check_link(actor, place, wanted, now)
    link, token = ShareLink.issue(
        place,
        wanted.name,
        made_by=actor.maker,
        days=wanted.days,
        first=wanted.first,
        last=wanted.last,
        downloads=wanted.downloads,
        hosts=wanted.hosts,
        expires=wanted.expires,
    )
    if wanted.password:
        link.set_password(wanted.password)
        link.save(update_fields=["password"])
    Grant.objects.bulk_create(
        Grant(account_id=place.account_id, share_link=link, module=m, verb="view", property=place)
        for m in wanted.modules
    )
    new = described(link)
    audit.record(
        place.account_id,
        "share_link.created",
        actor=actor,
        request=request,
        property=place,
        target=link.name,
        new=new,
    )
    return link, token


def described(link: ShareLink) -> dict[str, Any]:
    """What a reader may know of a link; never its token."""
    return {
        "modules": modules_of(link),
        "days": link.days,
        "first": link.first,
        "last": link.last,
        "password": bool(link.password),
        "downloads": link.downloads,
        "hosts": link.hosts,
        "expires": link.expires,
    }


def modules_of(link: ShareLink) -> list[str]:
    """The modules that it shows, in the order of the rulebook."""
    granted = {grant.module for grant in link.grants.all()}  # type: ignore[attr-defined]
    return [module for module in modules.SHAREABLE if module in granted]


def _check_link(actor: Actor, place: Property, wanted: WantedLink, now: datetime) -> None:
    if not actor.may("manage", "property", place):
        raise Refused("forbidden", "You may not share this property. An owner can grant it.")
    own = can_share(actor, place)
    for module in [ALWAYS, *wanted.shows]:
        if module not in modules.SHAREABLE:
            raise Refused("unknown_module", f"A link can show {', '.join(modules.SHAREABLE)}.")
        if module not in own:
            raise Refused(
                "more_than_own",
                f"You may not view {modules.NAMES[module]} here yourself, so you cannot share it.",
            )
    if wanted.first and wanted.last and wanted.last < wanted.first:
        raise Refused("range", "The dates end before they begin: exchange them.")
    if (wanted.first is None) != (wanted.last is None) or (wanted.first and wanted.days):
        raise Refused("range", "Give days, or first and last, or none of them for every day.")
    if wanted.first is not None:
        try:
            periods.parse_range(f"{wanted.first}..{wanted.last}", periods.zone(place.timezone), now)
        except periods.RangeError as error:
            raise Refused("range", str(error)) from error
    if "realtime" in wanted.shows and wanted.first is not None:
        raise Refused("live", "Who is there now lies outside fixed dates: leave out one of them.")
    if wanted.password and not SHORTEST_PASSWORD <= len(wanted.password) <= LONGEST_PASSWORD:
        raise Refused(
            "password",
            f"A password has {SHORTEST_PASSWORD} to {LONGEST_PASSWORD} characters: choose another.",
        )
    if wanted.password and wanted.hosts:
        raise Refused(
            "framed", "Browsers forget passwords in frames of other sites: leave out one of them."
        )
    check_end(actor, wanted.expires, now)
    going_on = ShareLink.objects.of(place.account).filter(property=place, revoked=None)
    if going_on.count() >= MOST_LINKS:
        raise Refused("too_many", f"{MOST_LINKS} links are the most: revoke some first.")


# -- API keys --------------------------------------------------------------------------------------

Grants = list[tuple[str, str]]  # (module, verb)


def texts(grants: Iterable[tuple[str, str]]) -> list[str]:
    """`["audience:view", ...]`, as forms and API write them."""
    return [f"{module}:{verb}" for module, verb in grants]


def grants_of(key: ApiKey) -> tuple[Grants, list[Property]]:
    """What it may do, in the order of the rulebook; and in which properties, none: all of them."""
    found = list(key.grants.all())  # type: ignore[attr-defined]
    pairs = {(grant.module, grant.verb) for grant in found}
    places = {grant.property for grant in found if grant.property is not None}
    return (
        sorted(pairs, key=lambda pair: (modules.MODULES.index(pair[0]), pair[1])),
        sorted(places, key=lambda place: (place.name, place.pk)),
    )


@transaction.atomic
def issue_key(
    actor: Actor,
    account: Account,
    *,
    name: str,
    grants: Grants,
    places: Sequence[Property] = (),
    expires: datetime | None = None,
    now: datetime,
    request: Any = None,
) -> tuple[ApiKey, str]:
    """The key and its secret. `places`: only in these properties. Raises Refused."""
    actor = granting.still_managing(actor, granting.lock(account), "api_keys")
    rights = _rights(account, grants, places)
    granting.check(rights, account)
    granting.refuse_more(actor, account, rights, by="api_keys")
    check_end(actor, expires, now)
    key, secret = ApiKey.issue(account, name, made_by=actor.maker, expires=expires)
    give(key, grants, scopes_of(places))
    about: dict[str, Any] = {"actor": actor, "request": request, "target": str(key)}
    audit.record(account, "api_key.created", new=described_key(key), **about)
    return key, secret


@transaction.atomic
def change_key(
    actor: Actor,
    key: ApiKey,
    *,
    name: str,
    grants: Grants,
    places: Sequence[Property] = (),
    expires: datetime | None = None,
    now: datetime,
    request: Any = None,
) -> None:
    """Another name, other rights, another end. What the key has it may keep, though the actor has
    less; what is new, and all of it when it shall last longer, may not be more than hers. Raises
    Refused."""
    actor = granting.still_managing(actor, granting.lock(key.account), "api_keys")
    key.refresh_from_db()
    if not key.is_usable(now):
        raise Refused("ended", "This key has ended. Make a new one.")
    rights, had = _rights(key.account, grants, places), granting.rights_of(key)
    granting.check(rights, key.account)
    lasts = key.expires is not None and (expires is None or expires > key.expires)
    new = [right for right in rights if lasts or not granting.covers(had, right)]
    granting.refuse_more(actor, key.account, new, by="api_keys")
    if expires != key.expires:
        check_end(actor, expires, now)
    before = described_key(key)
    key.name, key.expires = name, expires
    key.save(update_fields=["name", "expires"])
    if rights != had:
        key.grants.all().delete()  # type: ignore[attr-defined]
        give(key, grants, scopes_of(places))
    about: dict[str, Any] = {"actor": actor, "request": request, "target": str(key)}
    after = described_key(ApiKey.objects.of(key.account).get(pk=key.pk))
    audit.record_changes(key.account, "api_key.changed", before, after, **about)


def described_key(key: ApiKey) -> dict[str, Any]:
    """What a reader may know of a key; never its secret."""
    grants, places = grants_of(key)
    return {
        "name": key.name,
        "grants": texts(grants),
        "properties": [place.key for place in places],
        "expires": key.expires,
    }


def _rights(account: Account, grants: Grants, places: Sequence[Property]) -> frozenset[Right]:
    if not grants:
        raise Refused("empty", "Name at least one right: a key without rights can do nothing.")
    return frozenset(
        Right(account.pk, place.pk if place else None, module, verb)
        for module, verb in grants
        for place in scopes_of(places)
    )


def scopes_of(places: Sequence[Property]) -> Sequence[Property | None]:
    """Where grants hold: these properties; without any, the whole account (None)."""
    return places or [None]


def give(key: ApiKey, grants: Iterable[tuple[str, str]], scopes: Sequence[Property | None]) -> None:
    """Give a key these rights in each of the scopes (None: the whole account)."""
    Grant.objects.bulk_create(
        Grant(account=key.account, api_key=key, module=module, verb=verb, property=scope)
        for module, verb in dict.fromkeys(grants)
        for scope in scopes
    )


# -- both ------------------------------------------------------------------------------------------


def check_end(actor: Actor, expires: datetime | None, now: datetime) -> None:
    """An end lies ahead; what a key makes ends no later than the key."""
    if expires is not None and expires <= now:
        raise Refused("expires", "That moment has passed: choose a later one, or none.")
    if expires is not None and expires.year > LAST_DAY.year:
        raise Refused("expires", f"Choose a year until {LAST_DAY.year}, or none.")
    own = actor.holder.expires if isinstance(actor.holder, ApiKey) else None
    if own is not None and (expires is None or expires > own):
        raise Refused(
            "expires",
            f"The key that makes it ends on {own:%d %B %Y at %H:%M} UTC: let this end by then.",
        )
