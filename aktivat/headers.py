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
# The address is the secret: no other site learns it, no search engine lists what is behind it. So
# say the refusals, too, for whoever tries addresses.
SHARED = "/share/"
OF_SHARED = {"Referrer-Policy": "no-referrer", "X-Robots-Tag": "noindex, nofollow, noarchive"}


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
