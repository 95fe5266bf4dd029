"""A share link on its way in: is it open, how often was a wrong password tried, who looked.

Enters: a request below `/share/<token>/` and the link that the token names. Leaves: whether its
pages may be shown. Called by THE DOOR (`shared` in access.py) and by the form that asks for the
password. The answer to a password is remembered in a signed cookie that only this link's pages get.
"""

import hmac
from datetime import datetime
from hashlib import sha256
from http import HTTPStatus
from ipaddress import ip_network
from typing import TypeVar

from django.conf import settings
from django.core import signing
from django.core.cache import cache
from django.db.models import F
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.urls import reverse
from django.utils.html import escape

from accounts import audit
from accounts.addresses import address_of
from properties.models import Property, ShareLink

COOKIE = "__Secure-share" if settings.PRODUCTION else "share"
REMEMBERED = 12 * 3600  # seconds after which the password is asked for again
TRIES, TRIES_OF_ALL, TRIES_WITHIN = 10, 200, 900  # from one address, from all, in so many seconds
A_DAY = 24 * 3600
MOST_ADDRESSES = 100  # a day, of which the audit log tells for one link


ResponseT = TypeVar("ResponseT", bound=HttpResponseBase)


class TooMany(Exception):
    """So many wrong passwords that the next one is not even looked at."""


def root_of(token: str) -> str:
    """The address below which everything of the link lies."""
    return reverse("shared_overview", args=[token])


def is_open(request: HttpRequest, link: ShareLink) -> bool:
    """Whether it has no password, or this browser gave the one that it has now."""
    if not link.password:
        return True
    given = request.get_signed_cookie(COOKIE, default="", salt=_salt(link), max_age=REMEMBERED)
    return hmac.compare_digest(str(given), _mark(link))


def ask_password(
    request: HttpRequest,
    token: str,
    onward: str,
    refused: str = "",
    status: int = HTTPStatus.FORBIDDEN,
) -> HttpResponse:
    """The page in place of every other; it names nothing of what lies behind."""
    context = {"token": token, "next": onward, "refused": refused}
    return render(request, "properties/share_locked.html", context, status=status)


def embeddable(response: ResponseT, link: ShareLink) -> ResponseT:
    """Let the link's hosts, and no other, show the page in a frame."""
    if link.hosts:
        sources = [name for host in link.hosts for name in (host, f"www.{host}")]
        hosts = [name for name in sources if not name.startswith("www.*")]
        setattr(response, "_csp_replace", {"frame-ancestors": hosts})  # noqa: B010
        setattr(response, "xframe_options_exempt", True)  # noqa: B010
    return response


def frame_of(address: str, place: Property) -> str:
    """The HTML that shows the report in a page of the link's hosts: to be copied, so plain text."""
    src, title = escape(address), escape(place.name)
    about = 'width="100%" height="1200" loading="lazy"'
    return f'<iframe src="{src}?embed=1" title="{title}" {about}></iframe>'


def remember(request: HttpRequest, response: HttpResponse, link: ShareLink, token: str) -> None:
    """Let this browser in for some hours."""
    response.set_signed_cookie(
        COOKIE,
        _mark(link),
        salt=_salt(link),
        max_age=REMEMBERED,
        path=root_of(token),
        secure=settings.PRODUCTION or request.is_secure(),
        httponly=True,
        samesite="Lax",
    )


def _salt(link: ShareLink) -> str:
    return f"properties.sharing:{link.pk}"


def _mark(link: ShareLink) -> str:
    """Changes with the password, and tells nothing of it."""
    return signing.Signer(salt=_salt(link)).signature(link.password)


def try_password(request: HttpRequest, link: ShareLink, password: str) -> bool:
    """Whether it is the password; raises TooMany. Without the cache, which counts, nobody is let
    in: its error becomes a 503."""
    of_all, of_address = f"share:{link.pk}", f"share:{link.pk}:{_network(request)}"
    if not link.password:
        return True
    # Counted before it is looked at: tries that come at once share no count.
    if _count(of_address) > TRIES or _count(of_all) > TRIES_OF_ALL:
        raise TooMany
    if link.check_password(password):
        return True
    audit.record(
        link.account_id,
        "share_link.refused",
        actor=link,
        request=request,
        property=link.property,
        target=link.name,
    )
    return False


def _count(key: str) -> int:
    cache.add(key, 0, TRIES_WITHIN)
    try:
        return int(cache.incr(key))
    except ValueError:  # it ended between the two
        cache.add(key, 1, TRIES_WITHIN)
        return 1


def _network(request: HttpRequest) -> str:
    """An IPv6 address stands for its /64, which one person can fill by herself."""
    address = address_of(request)
    return str(ip_network(f"{address}/64", strict=False)) if ":" in address else address


def note_view(request: HttpRequest, link: ShareLink, now: datetime) -> None:
    """Count a page that was loaded, and tell the audit log of the day's first by an address."""
    mine = ShareLink.objects.across_accounts().filter(pk=link.pk)
    mine.update(views=F("views") + 1, last_used=now)
    # Of the address only its hash reaches the cache.
    who = sha256(_network(request).encode()).hexdigest()[:16]
    day = ("share_link.opened", link.pk, f"{now:%F}")
    if audit.first_in(A_DAY, *day, who) is None:
        return
    if audit.fewer_than(MOST_ADDRESSES, A_DAY, *day):  # a link in the news has many readers
        audit.record(
            link.account_id,
            "share_link.opened",
            actor=link,
            request=request,
            property=link.property,
            target=link.name,
        )
