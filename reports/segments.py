"""Segments: filters that an account keeps under a name, for every report of its properties.

Enters: what somebody wants to keep, or a filter that names a segment. Leaves: a Segment, or the
filter with what its segments mean in their place. In a segment is who has an event in the range on
which its filters hold; so it holds others in another range. Whoever may view every module that its
filters name may use it; making and changing asks for `audience:manage` of the whole account, and
for those modules. Called by questions.py, address.py, segment_endpoints.py and segment_pages.py,
inside the tenant of the account.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from django.core.exceptions import ValidationError
from django.utils.text import slugify

from accounts import audit
from accounts.models import Account, User
from accounts.tenancy import tenant
from properties import inputs
from properties.access import Actor, Denied
from properties.api import Invalid
from properties.goals import of as goals_of
from properties.models import Goal, Property
from reports import filters, metrics
from reports.models import Segment

MOST = 500  # of an account
LONGEST = 20_000  # characters of its filters as JSON
LONGEST_SLUG = 60

# The right to make, change and delete them.
MODULE, VERB = "audience", "manage"
GOALS = "events"  # the module of goals

Rows = Callable[[], Iterable[Goal]]


# -- what a filter means -----------------------------------------------------------------------


def resolved(place: Property, tree: object) -> object:
    """A filter with its goals and segments spelt out; raises Invalid for one that is not there.

    Asks the database for what the filter names, once for each, and nothing if it names none.
    """
    goals = cache(_goals_of(place))

    @cache
    def filters_of(slug: str) -> object:
        with tenant(place.account_id):
            found = Segment.objects.filter(account_id=place.account_id, slug=slug).first()
        if found is None:
            raise Invalid(
                "unknown_segment",
                f"There is no segment {slug[:LONGEST_SLUG]!r} in this account: it may have been "
                "deleted. Leave it out, or name another.",
                "filters",
            )
        return filters.with_goals(found.filters, goals)

    return filters.with_segments(filters.with_goals(tree, goals), filters_of)


def _goals_of(place: Property) -> Rows:
    return lambda: goals_of(place)


def _goals_of_all(account: Account) -> list[Goal]:
    return list(Goal.objects.of(account).select_related("property"))


def modules_of(tree: object) -> list[str]:
    """The modules of everything that a filter without goals and segments names, each once."""
    names = [leaf.dimension for leaf in filters.all_leaves(filters.parse(tree))]
    found = map(metrics.find_dimension, names)
    return list(dict.fromkeys(dimension.module for dimension in found if dimension))


# -- who may use which -------------------------------------------------------------------------


def of_account(account: Account, actor: Actor) -> list[Segment]:
    """The segments that the actor may use in some property of the account, by name."""
    every = list(Segment.objects.filter(account_id=account.pk))
    goals = _goals_of_all(account) if every else []
    return [each for each in every if _may_use(actor, account, _needed_at_all(each, goals))]


def one_of_account(account: Account, actor: Actor, slug: str) -> Segment | None:
    """None when there is none of that slug; raises Denied when it may be used nowhere."""
    if not inputs.is_storable(slug):  # what Postgres cannot hold names nothing
        return None
    found = Segment.objects.filter(account_id=account.pk, slug=slug).first()
    if found is not None:
        require_use(account, actor, found)
    return found


def require_use(account: Account, actor: Actor, segment: Segment) -> None:
    """Raises Denied when the actor may use it nowhere: then she may not see its filters either."""
    modules = _needed_at_all(segment, _goals_of_all(account))
    if not _may_use(actor, account, modules):
        raise Denied("view", modules[0], account)


def _needed_at_all(segment: Segment, goals: Iterable[Goal]) -> list[str]:
    try:
        return needed(segment, goals)
    except Invalid:  # its goal is gone everywhere; whoever may manage it must still find it
        return [GOALS]


def of_property(place: Property, actor: Actor) -> list[Segment]:
    """Those that the actor may use in this property, by name: one question, and one for goals."""
    found = list(Segment.objects.filter(account_id=place.account_id))
    goals = list(_goals_of(place)()) if found else []

    def may_use(segment: Segment) -> bool:
        try:
            modules = needed(segment, goals)
        except Invalid:  # it names a goal that this property has not
            return False
        return all(actor.may("view", module, place) for module in modules)

    return [segment for segment in found if may_use(segment)]


def needed(segment: Segment, goals: Iterable[Goal]) -> list[str]:
    """The modules whose view right a segment asks for. Raises Invalid for a goal that is gone."""
    return modules_of(filters.with_goals(segment.filters, lambda: goals))


def _may_use(actor: Actor, account: Account, modules: Sequence[str]) -> bool:
    """Whether there is a place of the account in which it may view all of them."""
    rights = [right for right in actor.rights if right.account_id == account.pk]
    places = {right.property_id for right in rights} | {None}
    return any(
        all(
            any(r.allows("view", module) and r.property_id in (None, place) for r in rights)
            for module in modules
        )
        for place in places
    )


# -- making and changing -----------------------------------------------------------------------


def checked(account: Account, actor: Actor, tree: object) -> Any:
    """The filter as it can be kept. Raises Invalid, and Denied for what the actor may not view."""
    try:
        is_long = len(json.dumps(tree)) > LONGEST
    except (TypeError, ValueError, RecursionError) as error:
        raise Invalid("shape", "Write the filters as JSON.", "filters") from error
    if is_long:
        message = f"A segment's filters are at most {LONGEST:,} characters of JSON. Leave some out."
        raise Invalid("too_many", message, "filters")
    meant = filters.with_goals(tree, lambda: _goals_of_all(account))
    filters.parse([filters.VISITOR, meant])
    for module in modules_of(meant):
        if not actor.may("view", module, account):
            raise Denied(
                "view",
                module,
                account,
                f"You may not view {module} in the whole account, and the filters name something "
                "of it. An owner of the account can grant it.",
            )
    return tree


def make(account: Account, actor: Actor, name: str, tree: object, *, request: Any) -> Segment:
    """A new segment of that name. Raises ValidationError, Invalid and Denied."""
    _one_at_a_time(account)
    taken = set(Segment.objects.filter(account_id=account.pk).values_list("slug", flat=True))
    if len(taken) >= MOST:
        raise ValidationError(f"{MOST} segments are the most. Delete one that nobody uses.")
    maker = actor.maker
    segment = Segment(
        account_id=account.pk,
        slug=_new_slug(name, taken),
        name=inputs.name(name),
        filters=checked(account, actor, tree),
        made_by=maker.pk if maker else None,
    )
    segment.save(force_insert=True)
    new = audit.snapshot(segment, Segment.SETTINGS)
    audit.record(account, "segment.created", request=request, target=segment.slug, new=new)
    return segment


def change(
    account: Account, actor: Actor, segment: Segment, changes: Mapping[str, Any], *, request: Any
) -> None:
    """Give it another `name` or other `filters`. Raises ValidationError, Invalid and Denied."""
    require_use(account, actor, segment)
    before = audit.snapshot(segment, Segment.SETTINGS)
    if "name" in changes:
        segment.name = inputs.name(changes["name"])
    if "filters" in changes:
        segment.filters = checked(account, actor, changes["filters"])
    segment.save()
    after = audit.snapshot(segment, Segment.SETTINGS)
    audit.record_changes(
        account, "segment.changed", before, after, request=request, target=segment.slug
    )


def delete(account: Account, segment: Segment, *, request: Any) -> None:
    """Reports that name it say from now on that it is not there."""
    old = audit.snapshot(segment, Segment.SETTINGS)
    segment.delete()
    audit.record(account, "segment.deleted", request=request, target=segment.slug, old=old)


def makers_of(segments: Iterable[Segment]) -> dict[int | None, str]:
    """Who made them, by her number; whoever has no login any more is not in it."""
    users = User.objects.filter(pk__in={segment.made_by for segment in segments})
    return dict(users.values_list("pk", "email"))


def _new_slug(name: str, taken: set[str]) -> str:
    """`returning-buyers`, or `returning-buyers-2`; of a name without Latin letters `segment`."""
    base = slugify(name)[: LONGEST_SLUG - 4].strip("-_") or "segment"
    slugs = (base if n == 1 else f"{base}-{n}" for n in range(1, MOST + 2))
    return next(slug for slug in slugs if slug not in taken)


def _one_at_a_time(account: Account) -> None:
    """Whoever makes one in the same account at the same moment waits for our commit."""
    Account.objects.select_for_update(of=("self",)).get(pk=account.pk)
