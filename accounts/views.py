"""Pages of one's own user that allauth does not bring: the one-time link, the profile, sessions.

aktivat/urls.py puts the decorators of properties/access.py around them.
"""

from allauth.account.internal.flows.login import record_authentication
from allauth.account.utils import perform_login
from allauth.usersessions.internal.flows.sessions import end_sessions
from allauth.usersessions.models import UserSession
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import (
    require_GET,
    require_http_methods,
    require_POST,
    require_safe,
)

from accounts import login_links
from accounts.forms import ProfileForm
from accounts.sessions import device_of


@require_GET  # a HEAD of some preview must not spend the link
@never_cache
def login_link(request: HttpRequest, token: str) -> HttpResponse:
    """Sign in, past the second factor if there is one, and go home; 410 when the link is spent or
    too old."""
    user = login_links.redeem(token)
    if user is None:
        return render(request, "account/login_link_spent.html", status=410)
    record_authentication(request, user, method="login_link")
    return perform_login(request, user)


@require_http_methods(["GET", "HEAD", "POST"])
def profile(request: HttpRequest) -> HttpResponse:
    """One's name, and the accounts that one belongs to."""
    form = ProfileForm(request.POST or None, instance=request.user)
    if request.method == "POST" and form.is_valid():
        form.save()
        messages.success(request, "Saved.")
        return redirect("profile")
    found = request.user.memberships.select_related("account").order_by("account__name")  # type: ignore[union-attr]
    return render(request, "account/profile.html", {"form": form, "memberships": found})


@require_safe
def sign_in_again(request: HttpRequest) -> HttpResponse:
    """For whoever has neither password nor second factor to confirm a dangerous act with."""
    return render(request, "account/sign_in_again.html", {"next": request.GET.get("next", "")})


@require_safe
def sessions(request: HttpRequest) -> HttpResponse:
    """Where one is signed in, this browser first."""
    found = UserSession.objects.purge_and_list(request.user)  # type: ignore[arg-type]
    found.sort(key=lambda session: session.last_seen_at, reverse=True)
    rows = [(session, device_of(session.user_agent), session.is_current()) for session in found]
    rows.sort(key=lambda row: not row[2])
    return render(request, "usersessions/sessions.html", {"rows": rows})


@require_POST
def end_session(request: HttpRequest, pk: int) -> HttpResponse:
    """Sign one browser out."""
    session = get_object_or_404(UserSession, pk=pk, user=request.user)
    end_sessions(request, [session])
    messages.success(request, "That browser is signed out.")
    return redirect("sessions")


@require_POST
def end_other_sessions(request: HttpRequest) -> HttpResponse:
    """Sign every browser out but this one."""
    others = [s for s in UserSession.objects.filter(user=request.user) if not s.is_current()]  # type: ignore[misc]
    end_sessions(request, others)
    messages.success(request, "Every other browser is signed out.")
    return redirect("sessions")
