"""The audit log of an account, to be read: a page with filters, and a CSV of the same.

Enters: a request behind THE DOOR of module `audit`, its filters in the address. Leaves: a page of
entries, newest first, each of which opens to the old and new values; htmx gets the list alone. What
is told, and when, accounts/audit.py decides.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Self
from urllib.parse import urlencode

from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseBase, QueryDict
from django.shortcuts import render
from django.views.decorators.http import require_safe

from accounts.audit import ACTIONS, record
from accounts.models import Account, AuditEntry
from accounts.tenancy import tenant
from properties.access import door
from properties.inputs import is_storable
from properties.models import Property
from properties.strangers_text import visible
from properties.streaming import Streamed, csv_download

ON_A_PAGE = 50
IN_A_BLOCK = 1_000  # entries of the CSV that are asked for at once
LONGEST = 200  # characters of a filter
FIELDS = ("who", "action", "property", "from", "to")
COLUMNS = (
    "number",
    "time",
    "action",
    "actor_kind",
    "actor",
    "impersonator",
    "address",
    "user_agent",
    "property",
    "target",
    "old",
    "new",
    "request_id",
    "hash",
)


# -- what the address asks for -------------------------------------------------------------------


@dataclass(frozen=True)
class Asked:
    """The filters as they were typed, and those of them that can be read. `before`: the number of
    the last entry of the page before."""

    typed: dict[str, str] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    query: Q = field(default_factory=Q)
    before: int | None = None

    @classmethod
    def of(cls, params: QueryDict, places: Iterable[Property]) -> Self:
        typed = {name: params.get(name, "").strip()[:LONGEST] for name in FIELDS}
        typed = {name: text for name, text in typed.items() if text}
        errors: dict[str, str] = {}
        query = Q()
        for name, text in typed.items():
            try:
                query &= _filter(name, text, places)
            except ValueError as error:
                errors[name] = str(error)
        before = params.get("before", "")
        return cls(
            typed, errors, query, int(before) if before.isdecimal() and len(before) < 20 else None
        )

    def address(self, **more: Any) -> str:
        """The query string of this view; "" without filters."""
        words = urlencode({**self.typed, **more})
        return f"?{words}" if words else ""


def _filter(name: str, text: str, places: Iterable[Property]) -> Q:
    """ValueError, which says what to write, for what is no value of that filter."""
    if not is_storable(text):
        raise ValueError("This text cannot be looked for.")
    if name == "who":
        return Q(actor_name__icontains=text) | Q(impersonator_name__icontains=text)
    if name == "action":
        if text not in ACTIONS:
            raise ValueError("There is no such action. Choose one of the list.")
        return Q(action=text)
    if name == "property":
        found = next((place for place in places if place.key == text), None)
        if found is None:
            raise ValueError("There is no such property in this account. Choose one of the list.")
        return Q(property_id=found.pk)
    try:
        day = date.fromisoformat(text)
        start = datetime.combine(day, time(), UTC)
        return Q(at__gte=start) if name == "from" else Q(at__lt=start + timedelta(days=1))
    except (ValueError, OverflowError):
        raise ValueError("Write a date like 2026-01-31.") from None


def _found(account: Account, asked: Asked) -> QuerySet[AuditEntry]:
    """Newest first. Row-level security would show no other account's; the index needs the id."""
    return AuditEntry.objects.filter(asked.query, account_id=account.pk).order_by("-number")


# -- the page ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Change:
    """One field before and after; "" where there was nothing."""

    name: str
    old: str
    new: str


@dataclass(frozen=True)
class Line:
    """An entry as the page shows it. Its text is of strangers: made visible, not more."""

    number: int
    at: datetime
    action: str
    what: str
    who: str
    kind: str
    impersonator: str
    target: str
    property_name: str
    address: str
    user_agent: str
    request_id: str
    hash: str
    changes: list[Change]

    @classmethod
    def of(cls, entry: AuditEntry) -> Self:
        return cls(
            number=entry.number,
            at=entry.at,
            action=entry.action,
            what=ACTIONS.get(entry.action, entry.action),
            who=visible(entry.actor_name) or {"nobody": "Nobody"}.get(entry.actor_kind, "Aktivat"),
            kind=entry.actor_kind,
            impersonator=visible(entry.impersonator_name),
            target=visible(entry.target),
            property_name=visible(entry.property_name),
            address=entry.address,
            user_agent=visible(entry.user_agent),
            request_id=visible(entry.request_id),
            hash=bytes(entry.hash).hex(),
            changes=list(_changes(entry.old, entry.new)),
        )


def _changes(old: Any, new: Any) -> Iterator[Change]:
    before, after = (value if isinstance(value, dict) else {} for value in (old, new))
    for name in {**before, **after}:
        yield Change(visible(name), _words(before.get(name)), _words(after.get(name)))


def _words(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, list) and all(isinstance(inner, str) for inner in value):
        return visible(", ".join(value)) or "none"
    return visible(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


@require_safe
@door("audit")
def audit_log(request: HttpRequest, place: Account) -> HttpResponse:
    """Who did what, filtered by what the address says."""
    places = list(Property.objects.of(place))
    asked = Asked.of(request.GET, places)
    query = _found(place, asked)
    if asked.before is not None:
        query = query.filter(number__lt=asked.before)
    entries = [] if asked.errors else list(query[: ON_A_PAGE + 1])
    lines = [Line.of(entry) for entry in entries[:ON_A_PAGE]]
    context = {
        "account": place,
        "asked": asked,
        "lines": lines,
        "older": asked.address(before=lines[-1].number) if len(entries) > ON_A_PAGE else "",
        "newest": asked.address() or "?",
        "csv": asked.address(),
        "groups": _groups(),
        "properties": places,
    }
    # Of a page in its history the browser wants the whole.
    htmx: Any = getattr(request, "htmx", None)
    is_part = bool(htmx) and not htmx.history_restore_request
    template = "properties/audit_entries.html" if is_part else "properties/audit.html"
    response = render(request, template, context, status=400 if asked.errors else 200)
    if is_part:  # a form sends its empty fields too
        response["HX-Push-Url"] = request.path + asked.address()
    return response


def _groups() -> list[tuple[str, list[tuple[str, str]]]]:
    """(thing, [(action, sentence)]) for the list to choose from."""
    groups: dict[str, list[tuple[str, str]]] = {}
    for action, what in ACTIONS.items():
        thing = action.partition(".")[0].replace("_", " ")
        groups.setdefault(thing.capitalize(), []).append((action, what))
    return list(groups.items())


# -- the file ------------------------------------------------------------------------------------


@require_safe
@door("audit")
def audit_csv(request: HttpRequest, place: Account) -> HttpResponseBase:
    """The filtered log as a file, newest first, with this download on top."""
    asked = Asked.of(request.GET, Property.objects.of(place))
    if asked.errors:
        return HttpResponse(
            " ".join(asked.errors.values()), status=400, content_type="text/plain; charset=utf-8"
        )
    if request.method == "HEAD":
        return HttpResponse(content_type="text/csv; charset=utf-8")
    record(place, "audit.exported", request=request, new=dict(asked.typed))
    return _file(place, asked)


def _file(account: Account, asked: Asked) -> Streamed:
    def blocks() -> Iterator[list[Any]]:
        yield [COLUMNS]
        last = None
        while True:
            query = _found(account, asked)
            with tenant(account.pk):
                rows = list((query.filter(number__lt=last) if last else query)[:IN_A_BLOCK])
            if not rows:
                return
            last = rows[-1].number
            yield [_cells(entry) for entry in rows]

    return csv_download(f"audit-{account.slug}.csv", blocks())


def _cells(entry: AuditEntry) -> list[Any]:
    old, new = (
        json.dumps(value, ensure_ascii=False) if value is not None else None
        for value in (entry.old, entry.new)
    )
    return [
        entry.number,
        entry.at.isoformat(),
        entry.action,
        entry.actor_kind,
        entry.actor_name,
        entry.impersonator_name,
        entry.address,
        entry.user_agent,
        entry.property_name,
        entry.target,
        old,
        new,
        entry.request_id,
        bytes(entry.hash).hex(),
    ]
