"""Pages of members: the list with its invitations, the matrix of one, removing, leaving, owning.

Enters: a request that passed THE DOOR. Leaves: a rendered page or a redirect. What may be given or
ended, granting.py and invitations.py say; what they refuse is shown where it was asked for.
"""

from collections.abc import Callable, Sequence
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST

from accounts import modules
from accounts.models import Account, Membership
from properties import granting, in_words, invitations, leaving, matrix, revoking, snippets
from properties.access import Actor, Right, actor_of, door, fresh_login, member
from properties.granting import Refused
from properties.member_forms import InviteForm, KeysForm
from properties.models import Invitation, Property


def _actor(request: HttpRequest) -> Actor:
    actor = actor_of(request)
    assert actor is not None, "the view wears no decorator of access.py"
    return actor


# -- the list --------------------------------------------------------------------------------------


@require_http_methods(["GET", "HEAD", "POST"])
@door("members", POST="manage")
def members(request: HttpRequest, place: Account) -> HttpResponse:
    """Who belongs to the account, who is invited, and the form that invites."""
    actor = _actor(request)
    form = InviteForm(request.POST or None, actor=actor, account=place)
    if request.method == "POST" and form.is_valid() and _invite(request, place, form):
        messages.success(
            request, f"{form.cleaned_data['email'].lower()} is invited. A mail is on its way."
        )
        return redirect("members", place.slug)
    names = {prop.pk: prop.name for prop in actor.properties(place)}
    now = timezone.now()
    context = {
        "account": place,
        "members": _listed(place, names),
        "invitations": [
            (sent, sent.state(now), _where(sent_rights, names), bool(invitations.still_given(sent)))
            for sent in invitations.open_of(place)
            for sent_rights in [invitations.rights_in(sent)]
        ],
        "form": form,
        "may_manage": actor.may("manage", "members", place),
        "own": granting.membership_of(actor, place),
    }
    return render(request, "properties/members.html", context)


def _invite(request: HttpRequest, place: Account, form: InviteForm) -> bool:
    data = form.cleaned_data
    try:
        invitations.invite(
            _actor(request),
            place,
            data["email"],
            data["role"],
            form.rights(),
            origin=snippets.origin_of(request),
            now=timezone.now(),
            request=request,
        )
    except Refused as error:
        form.add_error(
            "email" if error.code in ("member", "invited", "too_soon") else None, str(error)
        )
        return False
    return True


def _listed(place: Account, names: dict[int, str]) -> list[tuple[Membership, str, bool]]:
    """(member, where she may do something, whether her rights differ from her role)."""
    found = Membership.objects.filter(account=place).select_related("user").order_by("user__email")
    rights = granting.rights_by_member(place)
    return [
        (one, _where(held, names), any(granting.difference(one.role, place, held)))
        for one in found
        for held in [rights.get(one.pk, frozenset())]
    ]


def _where(rights: frozenset[Right], names: dict[int, str]) -> str:
    """`everywhere`, or the properties by name; others that the reader cannot see have no name."""
    if not rights:
        return "nowhere"
    pks = {right.property_id for right in rights}
    in_one = pks - {None}
    if not in_one:
        return "everywhere"
    known = sorted(names[pk] for pk in in_one if pk in names)
    unseen = len(in_one) - len(known)
    told = in_words.joined([*known, *([f"{unseen} more"] if unseen else [])])
    return f"{told}; some everywhere" if None in pks else told


# -- one member ------------------------------------------------------------------------------------


def _member(place: Account, pk: int) -> Membership:
    return get_object_or_404(Membership.objects.select_related("user"), account=place, pk=pk)


@require_http_methods(["GET", "HEAD", "POST"])
@door("members", POST="manage")
def one_member(request: HttpRequest, place: Account, pk: int) -> HttpResponse:
    """Her rights as a matrix. A button with `fill` fills a column and saves nothing yet."""
    membership = _member(place, pk)
    if request.method != "POST":
        return _matrix_page(request, membership, granting.rights_of(membership), membership.role)
    wanted, role = _typed(request, membership)
    if "fill" in request.POST:
        wanted, role = _filled(request, membership, wanted, role)
        return _matrix_page(request, membership, wanted, role, unsaved=True)
    try:
        granting.change(
            _actor(request),
            membership,
            wanted,
            role,
            seen=request.POST.get("seen"),
            request=request,
        )
    except Refused as error:
        return _matrix_page(request, membership, wanted, role, unsaved=True, error=str(error))
    messages.success(request, f"Saved. {membership.user} has the new rights with the next click.")
    return redirect("member", place.slug, pk)


@require_POST
@door("members")
def member_words(request: HttpRequest, place: Account, pk: int) -> HttpResponse:
    """The sentence for what is ticked just now: a partial update, nothing is saved."""
    wanted, role = _typed(request, _member(place, pk))
    context = _words(place, _actor(request).properties(place), wanted, role)
    return render(request, "properties/member_words.html", context)


def _typed(request: HttpRequest, membership: Membership) -> tuple[frozenset[Right], str]:
    """(rights, role) of the form. What holds in properties that the actor cannot see stays."""
    places = _actor(request).properties(membership.account)
    seen = {None, *(place.pk for place in places)}
    kept = {right for right in granting.rights_of(membership) if right.property_id not in seen}
    typed = matrix.read(request.POST, membership.account, places) | kept
    role = request.POST.get("role", "")
    return typed, role if role in granting.ASSIGNABLE else membership.role


def _filled(
    request: HttpRequest, membership: Membership, wanted: frozenset[Right], role: str
) -> tuple[frozenset[Right], str]:
    own = granting.grantable_by(_actor(request), membership.account)
    fill = request.POST["fill"] if request.POST["fill"] in granting.ASSIGNABLE else ""
    keys = {place.key: place for place in own.places.values()}
    where = keys.get(request.POST.get("fill_in", ""))
    return matrix.filled(wanted, fill, where, own), fill or role


def _matrix_page(
    request: HttpRequest,
    membership: Membership,
    rights: frozenset[Right],
    role: str,
    *,
    unsaved: bool = False,
    error: str = "",
) -> HttpResponse:
    actor, place = _actor(request), membership.account
    places = actor.properties(place)
    asked = [*request.GET.getlist("column"), *request.POST.getlist("column")]
    shown = matrix.columns(rights, places, asked)
    own = granting.grantable_by(actor, place)
    stored = granting.fingerprint(membership.role, granting.rights_of(membership))
    context = {
        "account": place,
        "member": membership,
        "role": role,
        "role_name": role.title(),
        "matrix": matrix.Matrix(place, shown, rights, role, own),
        "columns": shown,
        "more_columns": [prop for prop in places if prop not in shown],
        "roles": [(name, modules.ROLES_EXPLAINED[name]) for name in reversed(granting.ASSIGNABLE)],
        "seen": request.POST.get("seen", stored),
        "unsaved": unsaved,
        "fill_in": request.POST.get("fill_in", ""),
        "error": error,
        "may_manage": actor.may("manage", "members", place),
        "is_owner": granting.is_owner(actor, place),
        "is_self": membership.user == actor.holder,
        "made": revoking.made_by(membership.user, place, timezone.now()),
        **_words(place, places, rights, role),
    }
    return render(request, "properties/member.html", context)


def _words(
    place: Account, places: Sequence[Property], rights: frozenset[Right], role: str
) -> dict[str, Any]:
    names = {prop.pk: prop.name for prop in places}
    shown = frozenset(right for right in rights if right.property_id in {None, *names})
    more, less = granting.difference(role, place, shown)
    return {
        "words": in_words.sentence(shown, names),
        "changes": in_words.changes(more, less, names),
        "role_name": role.title(),
    }


# -- owning, removing, leaving ---------------------------------------------------------------------

_OWNING: dict[str, tuple[Callable[..., None], str]] = {
    "make": (granting.make_owner, "{} is an owner now, beside you."),
    "hand_over": (granting.hand_over, "{} owns the account now; you are an admin."),
    "end": (granting.end_owner, "{} is an admin now."),
}


@require_POST
@door("members", "manage")
@fresh_login
def member_owner(request: HttpRequest, place: Account, pk: int) -> HttpResponse:
    """Make her an owner, hand over to her, or let her be an admin; by owners only."""
    membership = _member(place, pk)
    act, said = _OWNING.get(request.POST.get("act", ""), (None, ""))
    if act is not None:
        try:
            act(_actor(request), membership, request=request)
            messages.success(request, said.format(membership.user))
        except Refused as error:
            if error.code == "owners_only":
                raise PermissionDenied(str(error)) from error
            messages.error(request, str(error))
    return redirect("member", place.slug, pk)


@require_http_methods(["GET", "HEAD", "POST"])
@door("members", "manage")
def remove_member(request: HttpRequest, place: Account, pk: int) -> HttpResponse:
    """Asks once, with what becomes of her keys; then she is out with her next request."""
    membership = _member(place, pk)
    done = _end(request, membership)
    if done is not None:
        return done
    return _end_page(request, membership, leaves=False)


@require_http_methods(["GET", "HEAD", "POST"])
@member
def leave_account(request: HttpRequest, place: Account) -> HttpResponse:
    """The same by herself: no right is needed to go."""
    membership = get_object_or_404(
        Membership.objects.select_related("user"), account=place, user=_actor(request).holder
    )
    done = _end(request, membership)
    if done is not None:
        return done
    return _end_page(request, membership, leaves=True)


def _end(request: HttpRequest, membership: Membership) -> HttpResponse | None:
    """End the membership if the form says so; None when there is a page to show first."""
    form = KeysForm(request.POST)
    if request.method != "POST" or not form.is_valid():
        return None
    user, place = membership.user, membership.account
    leaves = user == _actor(request).holder
    try:
        keep = form.cleaned_data["keys"] == "keep"
        leaving.leave(_actor(request), membership, keep=keep, request=request)
    except Refused as error:
        messages.error(request, str(error))
        return redirect("account" if leaves else "members", place.slug)
    if leaves:
        messages.success(request, f"You left {place}.")
        return redirect("home")
    messages.success(request, f"{user} is removed. Open pages of theirs are refused from now on.")
    return redirect("members", place.slug)


def _end_page(request: HttpRequest, membership: Membership, *, leaves: bool) -> HttpResponse:
    made = revoking.made_by(membership.user, membership.account, timezone.now())
    context = {
        "account": membership.account,
        "member": membership,
        "leaves": leaves,
        "made": made,
        "form": KeysForm(request.POST or None),
    }
    return render(request, "properties/remove_member.html", context)


# -- invitations -----------------------------------------------------------------------------------


def _invitation(place: Account, pk: int) -> Invitation:
    return get_object_or_404(Invitation.objects.of(place), pk=pk)


@require_POST
@door("members", "manage")
def resend_invitation(request: HttpRequest, place: Account, pk: int) -> HttpResponse:
    sent = _invitation(place, pk)
    try:
        invitations.resend(
            _actor(request),
            sent,
            origin=snippets.origin_of(request),
            now=timezone.now(),
            request=request,
        )
        messages.success(request, f"A new link is on its way to {sent.email}. The old one is dead.")
    except Refused as error:
        messages.error(request, str(error))
    return redirect("members", place.slug)


@require_POST
@door("members", "manage")
def revoke_invitation(request: HttpRequest, place: Account, pk: int) -> HttpResponse:
    sent = _invitation(place, pk)
    invitations.revoke(_actor(request), sent, now=timezone.now(), request=request)
    messages.success(request, f"The invitation of {sent.email} is taken back.")
    return redirect("members", place.slug)
