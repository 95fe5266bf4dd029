"""Headers that every answer of Django carries, whichever view made it.

Static files are answered before this (they may be cached); a view that sets a header itself keeps
it. The Content Security Policy comes from django-csp, by settings.CONTENT_SECURITY_POLICY.
"""

from csp.constants import UNSAFE_INLINE
from django.http import HttpRequest, HttpResponseBase
from django.utils.deprecation import MiddlewareMixin

DEFAULTS = {
    # What one account may see belongs into no cache, not even into that of a shared computer.
    "Cache-Control": "private, no-store",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}
ADMIN = "/admin/"
# The address is the secret: no search engine lists what is behind it (the refusals say so, too, for
# whoever tries addresses), no other site learns it (Referrer-Policy: same-origin, as everywhere;
# with no-referrer browsers send `Origin: null`, and the password's form would never be taken).
SHARED = "/share/"
OF_SHARED = {"X-Robots-Tag": "noindex, nofollow, noarchive"}


class HeadersMiddleware(MiddlewareMixin):
    def process_response(
        self, request: HttpRequest, response: HttpResponseBase
    ) -> HttpResponseBase:
        for name, value in DEFAULTS.items():
            response.headers.setdefault(name, value)
        if request.path_info.startswith(SHARED):
            for name, value in OF_SHARED.items():
                response.headers[name] = value
        if request.path_info.startswith(ADMIN):
            # Django's admin brings inline styles of its own; the rest of the policy holds.
            setattr(response, "_csp_update", {"style-src": [UNSAFE_INLINE]})  # noqa: B010
        return response
