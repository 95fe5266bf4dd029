"""The settings of an account: its name, and whether support may look at it.

Enters: a request that passed THE DOOR. Leaves: a rendered page or a redirect. Whoever may only
view sees the same page with everything disabled.
"""

from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from accounts import audit
from accounts.forms import AccountSettingsForm
from accounts.models import Account
from properties.access import actor_of, door


@require_http_methods(["GET", "HEAD", "POST"])
@door("property", POST="manage")
def account_settings(request: HttpRequest, place: Account) -> HttpResponse:
    """Name and support; the short name stands in links and snippets, so it stays."""
    # The form writes into its instance even when it is refused; the frame shows `place`.
    form = AccountSettingsForm(request.POST or None, instance=Account.objects.get(pk=place.pk))
    if request.method == "POST" and form.is_valid():
        before = audit.snapshot(place, ("name", "allow_support"))
        with transaction.atomic():
            kept = form.save()
            old, new = audit.changes(before, audit.snapshot(kept, before))
            if new:
                audit.record(place, "account.changed", request=request, old=old, new=new)
        messages.success(request, "Saved.")
        return redirect("account_settings", place.slug)
    actor = actor_of(request)
    may = actor is not None and actor.may("manage", "property", place)
    for field in form.fields.values():
        field.disabled = not may
    context = {"form": form, "account": place, "may_manage": may}
    return render(request, "properties/account_settings.html", context)
