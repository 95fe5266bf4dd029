"""The pages of an account's segments: see them, make, change and delete them.

Enters: a request behind THE DOOR; the filters as lines of a form, or as a report's address had
them. Leaves: a rendered page, or a redirect: to the report with the new segment, if that is where
it was kept. The rules are those of segments.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme, urlencode
from django.views.decorators.http import require_http_methods, require_POST

from accounts.models import Account
from properties.access import Actor, actor_of, door
from properties.api import Invalid
from properties.etags import locked
from properties.inputs import is_storable
from reports import chips, segments
from reports.address import Address
from reports.filters import SEGMENT
from reports.models import Segment
from reports.picks import Link

MOST_PLACES = 5  # properties that a segment is linked with


@dataclass(frozen=True)
class Row:
    segment: Segment
    words: str
    maker: str
    links: list[Link]


@require_http_methods(["GET", "HEAD", "POST"])
@door(segments.MODULE, POST=segments.VERB)
def every_segment(request: HttpRequest, place: Account) -> HttpResponse:
    """All that the reader may use, and a form for one more."""
    actor = _actor(request)
    form: dict[str, Any] = {}
    if request.method == "POST":
        form = _typed(request)
        kept = _keep(request, place, actor, form)
        if isinstance(kept, Segment):
            messages.success(request, f"Kept as the segment {kept.name}.")
            return redirect(_back(request, kept) or reverse("segments", args=[place.slug]))
        form["error"] = kept
    usable = segments.of_account(place, actor)
    makers = segments.makers_of(usable) if actor.may("view", "members", place) else {}
    links = _links(place, actor)
    context = {
        "account": place,
        "rows": [
            Row(each, words_of(each), makers.get(each.made_by, ""), links(each)) for each in usable
        ],
        "form": form,
        "may_manage": actor.may(segments.VERB, segments.MODULE, place),
    }
    return render(request, "reports/segments.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@door(segments.MODULE, segments.VERB)
def one_segment(request: HttpRequest, place: Account, segment: str) -> HttpResponse:
    """Its name and filters, to be changed."""
    found = _find(place, segment)
    segments.require_use(place, _actor(request), found)
    form = {"name": found.name, "filters": "\n".join(_texts_of(found))}
    if request.method == "POST":
        form = _typed(request)
        kept = _keep(request, place, _actor(request), form, found)
        if isinstance(kept, Segment):
            messages.success(request, "Saved.")
            return redirect("segments", place.slug)
        form["error"] = kept
    context = {
        "account": place,
        "segment": found,
        "form": form,
        "links": _links(place, _actor(request))(found, spelt_out=True),
    }
    return render(request, "reports/segment.html", context)


@require_POST
@door(segments.MODULE, segments.VERB)
def delete_segment(request: HttpRequest, place: Account, segment: str) -> HttpResponse:
    found = _find(place, segment)
    segments.delete(place, found, request=request)
    messages.success(request, f"The segment {found.name} is deleted.")
    return redirect("segments", place.slug)


def words_of(segment: Segment) -> str:
    """Who is in it, in words."""
    return chips.said(chips.of_question(segment.filters))


def _texts_of(segment: Segment) -> list[str]:
    return chips.texts_of(chips.of_question(segment.filters))


def _actor(request: HttpRequest) -> Actor:
    actor = actor_of(request)
    assert actor is not None, "THE DOOR lets nobody in without an actor"
    return actor


def _find(place: Account, slug: str) -> Segment:
    """Locked until the transaction ends; else Http404."""
    if not is_storable(slug):  # what Postgres cannot hold names nothing
        raise Http404("There is nothing here.")
    return locked(Segment.objects.filter(account_id=place.pk), slug=slug)


def _typed(request: HttpRequest) -> dict[str, Any]:
    """Filters come as lines that somebody wrote, or one by one from a report."""
    lines = request.POST.getlist("filter") or request.POST.get("filters", "").splitlines()
    return {
        "name": request.POST.get("name", "").strip(),
        "filters": "\n".join(line.strip() for line in lines if line.strip()),
        "replaces": request.POST.get("replaces", ""),
    }


def _keep(
    request: HttpRequest,
    place: Account,
    actor: Actor,
    form: dict[str, Any],
    kept: Segment | None = None,
) -> Segment | str:
    """The segment, or why it cannot be kept."""
    if not form["filters"]:
        return "Write at least one filter: everybody is no segment."
    try:
        items = chips.read(form["filters"].split("\n"))
        tree = chips.joined("and", items)
        if kept is None and form["replaces"]:
            kept = _find(place, form["replaces"])
            form["name"] = kept.name
        if kept is None:
            return segments.make(place, actor, form["name"], tree, request=request)
        changes = {"name": form["name"], "filters": tree}
        segments.change(place, actor, kept, changes, request=request)
    except (chips.FilterError, Invalid) as error:
        return str(error)
    except ValidationError as error:
        return " ".join(error.messages)
    return kept


def _back(request: HttpRequest, segment: Segment) -> str:
    """The report at which it was kept, now showing the segment."""
    back = request.POST.get("back", "")
    if not back.startswith("/p/") or not url_has_allowed_host_and_scheme(back, allowed_hosts=None):
        return ""
    sign = "&" if "?" in back and not back.endswith("?") else "" if back.endswith("?") else "?"
    return f"{back}{sign}{urlencode({'filter': f'{SEGMENT}:is:{segment.slug}'})}"


def _links(place: Account, actor: Actor) -> Any:
    """For a segment the reports of a few properties that show who is in it."""
    places = [each for each in actor.properties(place) if actor.may("view", segments.MODULE, each)]

    def links(segment: Segment, *, spelt_out: bool = False) -> list[Link]:
        texts = _texts_of(segment) if spelt_out else [f"{SEGMENT}:is:{segment.slug}"]
        query = Address.query_of([("filter", text) for text in texts])
        return [
            Link(each.name, reverse("overview", args=[each.key]) + query)
            for each in places[:MOST_PLACES]
        ]

    return links
