"""Segments: filters that an account keeps under a name, for every report of its properties.

Enters: what somebody wants to keep, or a filter that names a segment. Leaves: a Segment, or the
filter with what its segments mean in their place. In a segment is who has an event in the range on
which its filters hold; so it holds others in another range. Whoever may view every module that its
filters name may use it; making and changing asks for `audience:manage` of the whole account.
"""

from __future__ import annotations

from collections.abc import Iterable

from accounts.tenancy import tenant
from properties.api import Invalid
from properties.goals import of as goals_of
from properties.models import Goal, Property
from reports import filters
from reports.models import Segment


def resolved(place: Property, tree: object) -> object:
    """A filter with its goals and segments spelt out; raises Invalid for one that is not there.

    Asks the database for what the filter names, and nothing if it names none.
    """

    def goals() -> Iterable[Goal]:
        return goals_of(place)

    def filters_of(slug: str) -> object:
        with tenant(place.account_id):
            found = Segment.objects.filter(account_id=place.account_id, slug=slug).first()
        if found is None:
            raise Invalid(
                "unknown_segment",
                f"There is no segment {slug[:60]!r} in this account: it may have been deleted. "
                "Leave it out, or name another.",
                "filters",
            )
        return filters.with_goals(found.filters, goals)

    return filters.with_segments(filters.with_goals(tree, goals), filters_of)
