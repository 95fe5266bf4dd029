"""`/.well-known/security.txt` (RFC 9116): where to tell of a hole in this installation.

In: SECURITY_CONTACT, an address of mail or of the web. Without one the answer is 404. Routed in
urls.py.
"""

import re
from datetime import timedelta

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.http import require_safe

GOOD_FOR = timedelta(days=30)  # counted from each day anew: what is kept for long is old


def contact(given: str) -> str:
    """The contact as a URI, for settings.py; what is none ends the start with a sentence."""
    if not given or re.fullmatch(r"(https://|mailto:|tel:)[^\s<>]+", given):
        return given
    if re.fullmatch(r"[^\s@<>:/]+@[^\s@<>:/]+", given):
        return f"mailto:{given}"
    raise SystemExit(f"SECURITY_CONTACT={given!r}: write an e-mail address or an https:// address.")


@require_safe
def security_txt(request: HttpRequest) -> HttpResponse:
    if not settings.SECURITY_CONTACT:
        raise Http404
    today = timezone.now().replace(hour=0, minute=0, second=0, microsecond=0)
    lines = [
        f"Contact: {settings.SECURITY_CONTACT}",
        f"Expires: {today + GOOD_FOR:%Y-%m-%dT%H:%M:%SZ}",
        "Preferred-Languages: en",
        f"Canonical: {settings.PUBLIC_URL or request.build_absolute_uri('/')[:-1]}{request.path}",
    ]
    return HttpResponse("\n".join(lines) + "\n", content_type="text/plain; charset=utf-8")
