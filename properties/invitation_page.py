"""The page behind the link of an invitation: what is offered, and the button that accepts it.

Public, for whoever was invited may have no log-in yet. The mail proves the address: somebody who
signs up with it from here need not confirm it again.
"""

from allauth.account.adapter import get_adapter
from django.contrib import messages
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from accounts.models import User
from properties import in_words, invitations
from properties.access import actor_of, public
from properties.models import Invitation, Property


@public
@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
def invitation(request: HttpRequest, token: str) -> HttpResponseBase:
    """200 with the offer, a redirect into the account when it is accepted, 410 when it ended."""
    now = timezone.now()
    actor = actor_of(request)
    user = actor.holder if actor is not None else None
    try:
        found = invitations.find(token, now)
        if request.method == "POST":
            if not isinstance(user, User):
                return redirect_to_login(request.get_full_path())
            membership = invitations.accept(token, user, now, request=request)
            messages.success(request, f"You belong to {membership.account} now.")
            return redirect("account", membership.account.slug)
    except invitations.Ended:
        return render(request, "properties/invitation_ended.html", status=410)
    except invitations.OtherAddress:
        return _offer(request, found, other=True, status=403)
    if not isinstance(user, User):
        get_adapter().stash_verified_email(request, found.email)
        return _offer(request, found)
    return _offer(request, found, other=not invitations.is_hers(found, user))


def _offer(
    request: HttpRequest, found: Invitation, *, other: bool = False, status: int = 200
) -> HttpResponse:
    """Whoever is signed in as somebody else learns the account, and nothing more."""
    context: dict[str, object] = {"account": found.account, "other": other}
    if not other:
        places = Property.objects.of(found.account)
        names = {place.pk: place.name for place in places}
        context |= {
            "email": found.email,
            "inviter": invitations.inviter_name(found),
            "words": in_words.sentence(invitations.still_given(found), names),
        }
    return render(request, "properties/invitation.html", context, status=status)
