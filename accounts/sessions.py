"""How long a sign-in lasts, and what its owner sees of it.

Every request of somebody signed in passes `SessionLimits`: after SESSION_HOURS the session ends
whatever happens in it, after SESSION_IDLE_HOURS without a request too. Once a minute it notes when
and from where it was used; the page of sessions shows that, and ends what its owner does not know.
"""

import time

import ua_parser
from allauth.usersessions.models import UserSession
from django.conf import settings
from django.contrib.auth import logout
from django.contrib.auth.signals import user_logged_in
from django.http import HttpRequest
from django.utils.deprecation import MiddlewareMixin

NOTED_EVERY = 60  # seconds: one write a minute, not one a request
BEGUN, SEEN = "begun", "seen"  # in the session: seconds since 1970


class SessionLimits(MiddlewareMixin):
    def process_request(self, request: HttpRequest) -> None:
        if settings.SESSION_COOKIE_NAME not in request.COOKIES:
            return
        if not request.user.is_authenticated:
            return
        now, session = int(time.time()), request.session
        begun, seen = session.get(BEGUN, now), session.get(SEEN, 0)
        if now - begun > settings.SESSION_HOURS * 3600:
            logout(request)  # and the page it asked for sends it to the log-in page
        elif now - seen >= NOTED_EVERY:
            # Saving the session also moves its end, which is that of being idle.
            session[BEGUN], session[SEEN] = begun, now
            UserSession.objects.create_from_request(request)


def note_beginning(request: HttpRequest | None, **kwargs: object) -> None:
    """A sign-in has just begun."""
    if request is not None:
        request.session[BEGUN] = request.session[SEEN] = int(time.time())


user_logged_in.connect(note_beginning, dispatch_uid="accounts.sessions")


def device_of(user_agent: str) -> str:
    """What a person calls it: "Firefox on Linux"; "Unknown device" when it says nothing."""
    found = ua_parser.parse(user_agent)
    browser = found.user_agent.family if found.user_agent else ""
    system = found.os.family if found.os else ""
    return " on ".join(part for part in (browser, system) if part) or "Unknown device"
