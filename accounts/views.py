"""The one page of `accounts` that allauth does not bring: signing in by a one-time link."""

from allauth.account.internal.flows.login import record_authentication
from allauth.account.utils import perform_login
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET

from accounts import login_links


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
