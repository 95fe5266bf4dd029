"""Notes on the charts: what may be written, who wrote it, and where a chart shows it.

Enters: what a form or the API took, and an actor; or a property and the spans of a series. Leaves:
an Annotation with its entry in the audit log; or those of a range, each with the number of its
period. Called inside the tenant that THE DOOR opened, by reports/annotation_pages.py,
reports/annotation_endpoints.py and the pages with a chart.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.core.validators import URLValidator
from django.db.models import QuerySet
from django.http import HttpRequest
from django.shortcuts import get_object_or_404
from django.urls import reverse
from rest_framework.request import Request

from accounts.audit import record, record_changes, snapshot
from accounts.models import Account, Membership
from properties import inputs, periods
from properties.access import Actor
from properties.models import ApiKey, Property
from properties.periods import Range
from reports.formatting import clock
from reports.models import Annotation

MOST = 10_000  # of a property: thirty deploys a day for a year
MOST_SHOWN = 100  # beside one chart
LONGEST, LONGEST_URL = 200, 1000
TYPED = "%Y-%m-%dT%H:%M"  # a time as the field of a form has it
GONE = {Annotation.Maker.USER: "somebody who left", Annotation.Maker.KEY: "a key that is gone"}

By = HttpRequest | Request


# -- writing ---------------------------------------------------------------------------------------


def text_of(written: str) -> str:
    """One line without control characters; ValidationError says what to write instead."""
    return inputs.name(written)


def url_of(written: str) -> str:
    """A link that a click may follow: http(s) or nothing."""
    url = written.strip()
    if not url:
        return ""
    try:
        URLValidator(schemes=["http", "https"])(url)
    except ValidationError:
        raise ValidationError("Write a whole address, like https://example.com/4711.") from None
    return url


def moment_of(at: datetime) -> datetime:
    """Within the years that every calendar here knows."""
    if not 1970 <= at.year <= 2200:
        raise ValidationError("Write a time between 1970 and 2200.")
    return at


def new(place: Property, actor: Actor) -> Annotation:
    """One by this actor, not saved yet; ValidationError when there are too many."""
    if of(place).count() >= MOST:
        raise ValidationError(f"{MOST:,} notes are the most. Delete old ones.")
    is_key = isinstance(actor.holder, ApiKey)
    return Annotation(
        account_id=place.account_id,
        property_id=place.pk,
        made_by=actor.holder.pk,
        made_by_kind=Annotation.Maker.KEY if is_key else Annotation.Maker.USER,
    )


def created(by: By, place: Property, note: Annotation) -> None:
    written = snapshot(note, Annotation.SETTINGS)
    record(place.account_id, "annotation.created", new=written, **_about(by, place, note))


def changed(by: By, place: Property, note: Annotation, before: dict[str, Any]) -> None:
    """`before` is a `snapshot` of its SETTINGS."""
    after = snapshot(note, Annotation.SETTINGS)
    about = _about(by, place, note)
    record_changes(place.account_id, "annotation.changed", before, after, **about)


def deleted(by: By, place: Property, note: Annotation) -> None:
    old = snapshot(note, Annotation.SETTINGS)
    record(place.account_id, "annotation.deleted", old=old, **_about(by, place, note))


def _about(by: By, place: Property, note: Annotation) -> dict[str, Any]:
    return {"request": by, "property": place, "target": note.text}


# -- reading ---------------------------------------------------------------------------------------


def of(place: Property) -> QuerySet[Annotation]:
    return Annotation.objects.filter(account_id=place.account_id, property_id=place.pk)


def makers(account: Account, notes: Iterable[Annotation]) -> dict[tuple[str, int], str]:
    """(kind, number) -> name, of members and keys of the account; GONE has words for the others."""
    wanted: dict[str, set[int]] = {kind: set() for kind in Annotation.Maker.values}
    for note in notes:
        wanted[note.made_by_kind].add(note.made_by)
    names: dict[tuple[str, int], str] = {}
    if users := wanted[Annotation.Maker.USER]:
        members = Membership.objects.filter(account=account, user__in=users).select_related("user")
        for one in members:
            names[Annotation.Maker.USER, one.user_id] = one.user.name or "a member"
    if keys := wanted[Annotation.Maker.KEY]:
        for key in ApiKey.objects.of(account).filter(pk__in=keys):
            names[Annotation.Maker.KEY, key.pk] = key.name
    return names


def maker_of(note: Annotation, names: dict[tuple[str, int], str]) -> str:
    return names.get((note.made_by_kind, note.made_by)) or GONE[Annotation.Maker(note.made_by_kind)]


@dataclass(frozen=True)
class Flag:
    """A note where a chart shows it. `period`: the number of its period, from 0."""

    pk: int
    period: int
    when: str
    at: str  # ISO 8601, for programs that read the page
    kind: str
    text: str
    url: str
    maker: str


@dataclass(frozen=True)
class Beside:
    """What stands below a chart: its notes, and for whom the form for one more."""

    flags: list[Flag]
    may_manage: bool
    url: str
    view: str  # the query string of the chart
    now: str  # in the property's zone, as the form's field wants it


def beside(
    place: Property,
    actor: Actor,
    view: str,
    within: Range,
    starts: Sequence[datetime],
    now: datetime,
) -> Beside | None:
    """None for a share link: notes are written for members, and the link's reader is none."""
    if actor.only_looks:
        return None
    return Beside(
        flags=flags(place, within, starts, now),
        may_manage=actor.may("manage", "audience", place),
        url=reverse("annotations", args=[place.key]),
        view=view,
        now=f"{periods.wall(now, within.tz):{TYPED}}",
    )


def flags(place: Property, within: Range, starts: Sequence[datetime], now: datetime) -> list[Flag]:
    """Those of the range, newest first, MOST_SHOWN at most. `starts`: where the periods of the
    series begin, in order; a note belongs to the last that has begun."""
    span = within.span
    notes = list(
        of(place).filter(at__gte=span.start, at__lt=span.end).order_by("-at", "-pk")[:MOST_SHOWN]
    )
    names = makers(place.account, notes)
    return [
        Flag(
            pk=note.pk,
            period=period_of(note.at, starts),
            when=clock(note.at, within, now),
            at=periods.wall(note.at, within.tz).isoformat(),
            kind=note.kind,
            text=note.text,
            url=note.url,
            maker=maker_of(note, names),
        )
        for note in notes
    ]


def period_of(at: datetime, starts: Sequence[datetime]) -> int:
    return max(0, bisect_right(starts, at) - 1)


def find(place: Property, pk: int) -> Annotation:
    return get_object_or_404(of(place), pk=pk)
