"""THE DOOR: may this actor do this here?

Enters: a request and the place it names (a property key or an account slug). Leaves: the place,
inside a transaction in which row-level security shows that one account; or the answer that a
stranger (404), a member without the right (403) or nobody (401, the log-in page) gets. Pages wear
`@door`, API views inherit `DoorView`; a route with neither fails a test that reads the URLconf.

The other ways in: `@shared` (a report page for whoever has a share link's address), `@member` (an
account's page for whoever has any right in it), `@signed_in` (about nothing in particular) and
`@public`. Below each of them, `@fresh_login` asks people to
confirm that they are themselves before they do something dangerous.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property, wraps
from http import HTTPStatus
from typing import Any, ClassVar

from allauth.core.exceptions import ReauthenticationRequired
from django.contrib.auth.models import AnonymousUser
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Q
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect
from django.utils import timezone
from rest_framework.exceptions import APIException, NotAuthenticated
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts import audit, modules
from accounts.fresh import is_fresh
from accounts.models import Account, SupportSession, User
from accounts.support import going_on
from accounts.tenancy import tenant
from properties import sharing
from properties.api import Invalid, NotFresh
from properties.inputs import is_storable
from properties.models import ApiKey, Grant, Property, ShareLink

# What a member sees of a property at all: any right about it, but not, say, reading the audit log.
_ABOUT_PROPERTIES = frozenset(modules.PROPERTY_MODULES) | {"property"}


@dataclass(frozen=True)
class Right:
    """One grant, as the door compares it. property_id None: every property of the account."""

    account_id: int
    property_id: int | None
    module: str
    verb: str

    def covers(self, place: Property) -> bool:
        return self.account_id == place.account_id and self.property_id in (
            None,
            place.pk,
        )

    def allows(self, verb: str, module: str) -> bool:
        return self.module == module and self.verb in (verb, "manage")


@dataclass(frozen=True)
class Actor:
    """Whoever asks: a user, an API key or a share link. All of them answer the same questions.

    Needs no request: a mail report or a stream makes one of whom it works for.
    """

    holder: User | ApiKey | ShareLink
    support: SupportSession | None = None  # somebody of the staff acts as this user

    @property
    def name(self) -> str:
        return str(self.holder)

    @property
    def only_looks(self) -> bool:
        """A share link: views the reports of its property and nothing else, whatever its grants
        say; it is in no account and changes nothing."""
        return isinstance(self.holder, ShareLink)

    @property
    def sees_past(self) -> bool:
        """Of days as far back as there are any; a share link may show some only."""
        link = self.holder
        return not isinstance(link, ShareLink) or (link.days is None and link.first is None)

    @property
    def maker(self) -> User | None:
        """Who answers for what it makes: the user, or whoever made the key."""
        return self.holder if isinstance(self.holder, User) else self.holder.made_by

    @cached_property
    def rights(self) -> frozenset[Right]:
        """What it may do, as of the first time that anybody asks: one query a request. Nothing for
        a user who is switched off, nor for her keys, nor for a key or link that ended."""
        grants = Grant.objects.across_accounts()
        if isinstance(self.holder, ShareLink):
            return frozenset(_rights_of_link(self.holder))
        if self.support is not None:
            return frozenset(_rights_in_support(self.support))
        if isinstance(self.holder, User):
            grants = grants.filter(membership__user=self.holder, membership__user__is_active=True)
        else:
            grants = grants.filter(_goes_on("api_key"), api_key=self.holder)
            grants = grants.exclude(
                # Made by a member who was switched off since.
                api_key__made_by__is_active=False,
                api_key__made_by__memberships__account=self.holder.account_id,
            )
        return frozenset(
            Right(*row) for row in grants.values_list("account", "property", "module", "verb")
        )

    def still_may(self, verb: str, module: str, place: Property | Account) -> bool:
        """`may` as of this moment, by one query: what lasts (a stream) asks it every second."""
        return self.anew().may(verb, module, place)

    def anew(self) -> "Actor":
        """The same actor, whose rights are looked up again."""
        return Actor(self.holder, self.support)

    def may(self, verb: str, module: str, place: Property | Account) -> bool:
        """May it do this there? In an account: by grants of the whole account only."""
        modules.check(module, verb)
        return any(
            right.allows(verb, module) and self._reaches(right, place) for right in self.rights
        )

    def may_in(self, verb: str, module: str, account: Account) -> bool:
        """May it do this somewhere in the account: in all of it, or in some of its properties?"""
        modules.check(module, verb)
        return any(
            right.account_id == account.pk and right.allows(verb, module) for right in self.rights
        )

    def sees(self, place: Property | Account) -> bool:
        """Whether the place exists for this actor; if not, the answer is 404."""
        if isinstance(place, Account):
            return not self.only_looks and any(
                right.account_id == place.pk for right in self.rights
            )
        return any(
            right.covers(place) and right.module in _ABOUT_PROPERTIES for right in self.rights
        )

    @staticmethod
    def _reaches(right: Right, place: Property | Account) -> bool:
        if isinstance(place, Account):
            return right.account_id == place.pk and right.property_id is None
        return right.covers(place)

    def accounts(self) -> list[Account]:
        """The accounts in which it has any right, by name."""
        if self.only_looks:
            return []
        ids = {right.account_id for right in self.rights}
        return list(Account.objects.filter(pk__in=ids).order_by("name"))

    def properties(self, account: Account | None = None) -> list[Property]:
        """The properties that exist for it, by name; across its accounts unless one is given."""
        query = Property.objects.across_accounts().select_related("account")
        if account is not None:
            query = Property.objects.of(account).select_related("account")
        reach = query.filter(account_id__in={right.account_id for right in self.rights})
        return [place for place in reach.order_by("name") if self.sees(place)]


def rights_anew(actors: Iterable[Actor]) -> dict[Actor, frozenset[Right]]:
    """What each of them may do as of this moment: all users by one query, whoever else by one each.
    For what asks every second about hundreds who look."""
    wanted = set(actors)
    users = {a.holder.pk: a for a in wanted if isinstance(a.holder, User) and a.support is None}
    found: dict[Actor, set[Right]] = {actor: set() for actor in users.values()}
    grants = Grant.objects.across_accounts().filter(
        membership__user__in=users, membership__user__is_active=True
    )
    rows = grants.values_list("membership__user", "account", "property", "module", "verb")
    for user, account, place, module, verb in rows if users else ():
        found[users[user]].add(Right(account, place, module, verb))
    known = {actor: frozenset(rights) for actor, rights in found.items()}
    return known | {a: a.anew().rights for a in wanted if a not in known}


def _goes_on(holder: str) -> Q:
    """The key or link of a grant has not ended."""
    endless = Q(**{f"{holder}__expires": None})
    return Q(**{f"{holder}__revoked": None}) & (
        endless | Q(**{f"{holder}__expires__gt": timezone.now()})
    )


def _rights_of_link(link: ShareLink) -> Iterator[Right]:
    """Of its grants those to view what may be shared, in its own property. One with fixed dates
    shows nobody who is there now."""
    of_link = Grant.objects.across_accounts().filter(_goes_on("share_link"), share_link=link)
    for module in set(of_link.values_list("module", flat=True)) & set(modules.SHAREABLE):
        if link.first is None or module != "realtime":
            yield Right(link.account_id, link.property_id, module, "view")


# What support never sees, and what it only looks at even when it may write.
_CLOSED_TO_SUPPORT = frozenset({"api_keys"})
_ONLY_SHOWN_TO_SUPPORT = frozenset({"members", "audit"})
# Routes that are asked by POST and change nothing.
_QUESTIONS = frozenset({"api_query", "api_histogram"})
# What would go on after support has left, or belongs to the user alone.
_NEVER_BY_SUPPORT = frozenset(
    {
        "property_share",
        "api_share_links",
        "leave_account",
        "invitation",
        "new_account",
        "api_accounts",
    }
)


def _rights_in_support(begun: SupportSession) -> Iterator[Right]:
    """Those of the user in the accounts that let support in and were told so, to look unless the
    session may write; none when it is over, or the staff may act as nobody any more."""
    if going_on(begun.pk) is None:
        return
    grants = Grant.objects.across_accounts().filter(
        account__in=begun.account_ids,
        account__allow_support=True,
        membership__user=begun.user,
        membership__user__is_active=True,
    )
    for row in grants.values_list("account", "property", "module", "verb"):
        right = Right(*row)
        if right.module in _CLOSED_TO_SUPPORT:
            continue
        only_looks = not begun.may_write or right.module in _ONLY_SHOWN_TO_SUPPORT
        yield replace(right, verb="view") if only_looks else right


def _refuse_writing(request: HttpRequest | Request, begun: SupportSession) -> None:
    """The one place where a request of support that would change something ends."""
    if request.method in SAFE_METHODS:
        return
    route = request.resolver_match and request.resolver_match.url_name
    if not begun.may_write and route not in _QUESTIONS:
        raise PermissionDenied(
            f"You are looking as {begun.user} and change nothing. Stop acting as her, or ask a "
            "superuser for the right to write."
        )
    if route in _NEVER_BY_SUPPORT:
        raise PermissionDenied("Only the user herself does this, not support that acts as her.")


def actor_of(request: HttpRequest | Request) -> Actor | None:
    """The actor behind a request, found once; None for nobody."""
    known = getattr(request, "_aktivat_actor", None)
    if known is not None:
        return known
    key = getattr(request, "auth", None)
    user = getattr(request, "user", None)
    actor = None
    if isinstance(key, ApiKey):
        actor = Actor(key)
    elif isinstance(user, User) and user.is_active:
        support = getattr(request, "support", None)
        if support is not None:
            _refuse_writing(request, support)
        actor = Actor(user, support)
    request._aktivat_actor = actor  # type: ignore[union-attr]
    return actor


@dataclass(frozen=True)
class Access:
    """What a route asks for; the test of the URLconf reads it from `view.access`."""

    kind: str  # "door", "share", "member", "signed in" or "public"
    module: str = ""
    verb: str = ""  # "manage/view" when it depends on the method


class Denied(PermissionDenied):
    """403: the place exists for the actor, and the right is missing. The audit log tells it."""

    def __init__(
        self, verb: str, module: str, place: Property | Account, message: str = ""
    ) -> None:
        super().__init__(
            message
            or f"You may not {verb} {module.replace('_', ' ')} here. "
            "An owner of the account can grant it."
        )
        self.verb, self.module, self.place = verb, module, place


DENIED_EVERY = 600  # seconds in which a page that is opened again and again is told once


def note_denial(request: HttpRequest | Request, denied: Denied) -> None:
    """Tell the account's audit log; one entry per actor, route and right in ten minutes. To be
    called outside of the transaction that the refusal undoes."""
    actor, place = actor_of(request), denied.place
    if actor is None:
        return
    match = request.resolver_match
    what = (actor.holder._meta.model_name, actor.holder.pk, match and match.view_name)
    where = (request.method, type(place).__name__, place.pk, denied.module, denied.verb)
    repeated = audit.first_in(DENIED_EVERY, "denied", *what, *where)
    if repeated is None:
        return
    new: dict[str, Any] = {"right": f"{denied.module}:{denied.verb}"}
    if repeated:
        new["more_before"] = repeated
    audit.record(
        account_id_of(place),
        "access.denied",
        actor=actor,
        request=request,
        property=place if isinstance(place, Property) else None,
        target=f"{request.method} {request.path}",
        new=new,
    )


def enter(actor: Actor, module: str, verb: str, names: dict[str, Any]) -> Property | Account:
    """The place that `names` (a route's keyword arguments `key` or `account`) points at.

    Raises Http404 when it does not exist for the actor, Denied when it does but the right is
    missing.
    """
    place = _find(names)
    if place is None or not actor.sees(place):
        raise Http404("There is nothing here.")
    if not actor.may(verb, module, place):
        raise Denied(verb, module, place)
    return place


def _find(names: dict[str, Any]) -> Property | Account | None:
    if "key" in names:
        return _find_property(names["key"])
    return _find_account(names["account"])


# What Postgres cannot hold (%00 in an address) names nothing.


def _find_property(key: str) -> Property | None:
    """By its key, or by one that was replaced and still goes on."""
    if not is_storable(key):
        return None
    wanted = Property.objects.across_accounts().select_related("account")
    return (
        wanted.filter(key=key).first()
        or wanted.filter(retired_keys__key=key, retired_keys__until__gt=timezone.now()).first()
    )


def _find_account(slug: str) -> Account | None:
    return Account.objects.filter(slug=slug).first() if is_storable(slug) else None


def account_id_of(place: Property | Account) -> int:
    return place.pk if isinstance(place, Account) else place.account_id


def _refuse_link(actor: Actor, request: HttpRequest | Request) -> None:
    """A share link never changes anything, whatever a view or a grant would allow."""
    if actor.only_looks and request.method not in SAFE_METHODS:
        raise PermissionDenied("A share link shows reports and changes nothing.")


def _to_login(request: HttpRequest) -> HttpResponseBase:
    """The log-in page, and back from there. What a page fetches for a part of it would show that
    inside of itself: htmx loads the page again instead, which goes there."""
    if "HX-Request" not in request.headers or "HX-Boosted" in request.headers:
        return redirect_to_login(request.get_full_path())
    return HttpResponse(status=HTTPStatus.NO_CONTENT, headers={"HX-Refresh": "true"})


View = Callable[..., HttpResponseBase]


def door(module: str, verb: str = "view", **by_method: str) -> Callable[[View], View]:
    """A page behind THE DOOR: the view gets the place instead of the route's key or slug.

    `door("property", POST="manage")`: looking asks for less than changing.
    """
    for asked in (verb, *by_method.values()):
        modules.check(module, asked)

    def wrap(view: View) -> View:
        @wraps(view)
        def guarded(request: HttpRequest, **names: Any) -> HttpResponseBase:
            actor = actor_of(request)
            if actor is None:
                return _to_login(request)
            _refuse_link(actor, request)
            place = enter(actor, module, by_method.get(request.method or "GET", verb), names)
            old = names.get("key")
            if isinstance(place, Property) and old != place.key and request.method in SAFE_METHODS:
                # A bookmark with a replaced key: the same page under that of today.
                return redirect(request.get_full_path().replace(str(old), place.key, 1))
            rest = {name: value for name, value in names.items() if name not in ("key", "account")}
            setattr(request, "place", place)  # noqa: B010  the frame around the page reads it
            with tenant(account_id_of(place)):
                response = view(request, place, **rest)
                render = getattr(response, "render", None)
                # Templates ask the database: render before the tenant is left.
                return render() if callable(render) else response

        verbs = "/".join(sorted({verb, *by_method.values()}))
        guarded.access = Access("door", module, verbs)  # type: ignore[attr-defined]
        return guarded

    return wrap


def shared(
    module: str, *, downloads: bool = False, is_part: bool = False
) -> Callable[[View], View]:
    """A report page below `/share/<token>/`: the link is the actor, whoever is signed in beside it.

    It shows what the link may view, of the days that it may show; nothing is written but that
    somebody looked. `downloads`: a file, which the link must be allowed to give. `is_part`: what a
    page fetches by itself, which is no look of its own.
    """
    modules.check(module, "view")

    def wrap(view: View) -> View:
        @wraps(view)
        def guarded(request: HttpRequest, token: str, **names: Any) -> HttpResponseBase:
            now = timezone.now()
            link = enter_by_link(request, token, now)
            if not sharing.is_open(request, link):
                return sharing.ask_password(request, token, request.get_full_path())
            place, actor = link.property, Actor(link)
            place.window = link.window(now)
            setattr(request, "place", place)  # noqa: B010  the frame around the page reads it
            if not actor.may("view", module, place):
                raise PermissionDenied(f"This link does not show {modules.NAMES[module]}.")
            if downloads and not link.downloads:
                raise PermissionDenied("This link shows pages and gives no files.")
            if not is_part and "HX-Request" not in request.headers:
                sharing.note_view(request, link, now)
            with tenant(place.account_id):
                return sharing.embeddable(view(request, place, **names), link)

        guarded.access = Access("share", module, "view")  # type: ignore[attr-defined]
        return guarded

    return wrap


def by_link(view: View) -> View:
    """A route below `/share/<token>/` that shows nothing of the property; calls enter_by_link."""
    view.access = Access("share")  # type: ignore[attr-defined]
    return view


def enter_by_link(request: HttpRequest, token: str, now: datetime) -> ShareLink:
    """The link of the token, which is the request's actor from here on; else Http404."""
    link = ShareLink.find(token, now)
    if link is None:
        raise Http404("There is nothing here.")
    request.user = AnonymousUser()  # whoever is signed in sees what everybody sees
    setattr(request, "_aktivat_actor", Actor(link))  # noqa: B010
    setattr(request, "share_token", token)  # noqa: B010  the pages link to each other by it
    return link


def member(view: View) -> View:
    """An account's page for whoever has any right in it; it shows only what the actor sees."""

    @wraps(view)
    def guarded(request: HttpRequest, account: str, **names: Any) -> HttpResponseBase:
        actor = actor_of(request)
        if actor is None:
            return _to_login(request)
        _refuse_link(actor, request)
        place = see_account(actor, account)
        setattr(request, "place", place)  # noqa: B010  the frame around the page reads it
        return view(request, place, **names)

    guarded.access = Access("member")  # type: ignore[attr-defined]
    return guarded


def see_account(actor: Actor, slug: str) -> Account:
    """The account, if the actor has any right in it; else Http404."""
    place = _find_account(slug)
    if place is None or not actor.sees(place):
        raise Http404("There is nothing here.")
    return place


def see_property(actor: Actor, key: str) -> Property:
    """The property, if it exists for the actor; else Http404."""
    place = _find_property(key)
    if place is None or not actor.sees(place):
        raise Http404("There is nothing here.")
    return place


def signed_in(view: View) -> View:
    """A page for anybody who is signed in; it shows only what `actor_of(request)` sees."""

    @wraps(view)
    def guarded(request: HttpRequest, **names: Any) -> HttpResponseBase:
        actor = actor_of(request)
        if actor is None:
            return _to_login(request)
        _refuse_link(actor, request)
        return view(request, **names)

    guarded.access = Access("signed in")  # type: ignore[attr-defined]
    return guarded


def fresh_login(view: View) -> View:
    """Writing asks whoever signed in more than a quarter of an hour ago for the password or a code
    first, then goes on with what was sent. Stands below the door: `@door(...) @fresh_login`.

    Forms on such a page name their `action`, for the answer comes from the address that asked.
    """

    @wraps(view)
    def guarded(request: HttpRequest, *args: Any, **names: Any) -> HttpResponseBase:
        if request.method not in SAFE_METHODS and not is_fresh(request):
            raise ReauthenticationRequired  # allauth keeps the request and asks
        return view(request, *args, **names)

    return guarded


def public(view: View) -> View:
    """A route that asks for no right: sign-up, health, collecting, documentation."""
    view.access = Access("public")  # type: ignore[attr-defined]
    return view


class SignedInView(APIView):
    """An API view for any actor, about what that actor sees."""

    access = Access("signed in")
    # What may stand in the query string; `format` is REST framework's own.
    parameters: ClassVar[frozenset[str]] = frozenset({"format"})
    _denied: Denied | None = None

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        answer = self._answer(request, *args, **kwargs)
        if self._denied is not None:
            note_denial(self.request, self._denied)
        return answer

    def _answer(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        return super().dispatch(request, *args, **kwargs)

    def handle_exception(self, exc: Exception) -> Response:
        if isinstance(exc, Denied):
            self._denied = exc  # told when the transaction is over
        return super().handle_exception(exc)

    budget: Any = None  # how much more the caller may ask (throttling.py)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        try:
            super().initial(request, *args, **kwargs)
        except APIException:
            if self.budget is None:  # refused before it was counted: nobody guesses for nothing
                self.check_throttles(request)
            raise
        _refuse_link(self.actor, request)
        known = self.known_parameters(request.method or "GET")
        for name, values in request.query_params.lists():
            if name not in known:
                raise Invalid(
                    "unknown_parameter", "The address takes no such parameter.", name[:60]
                )
            if len(values) > 1:
                raise Invalid("twice", "This parameter is sent twice. Send it once.", name)

    def known_parameters(self, method: str) -> frozenset[str]:
        """What may stand in the query string; paging.py adds to it."""
        return self.parameters

    def finalize_response(
        self, request: Request, response: Response, *args: Any, **kwargs: Any
    ) -> Response:
        answer = super().finalize_response(request, response, *args, **kwargs)
        for name, value in self.budget.headers() if self.budget else ():
            answer[name] = value
        return answer

    @property
    def actor(self) -> Actor:
        actor = actor_of(self.request)
        if actor is None:
            raise NotAuthenticated
        return actor


class DoorView(SignedInView):
    """An API view of one property (`key` in its route) or one account (`account`).

    `module` and `verbs` (method -> verb) say what it asks for. Handlers find the place in
    `self.place` and run inside the tenant's transaction, undone when they answer with an error.
    `fresh` names methods for which a browser's user must have signed in lately; keys are not asked.
    """

    module: ClassVar[str]
    verbs: ClassVar[dict[str, str]] = {"GET": "view"}
    fresh: ClassVar[frozenset[str]] = frozenset()
    place: Property | Account
    _tenant: ExitStack

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if hasattr(cls, "module"):
            for verb in cls.verbs.values():
                modules.check(cls.module, verb)
            cls.access = Access("door", cls.module, "/".join(sorted(set(cls.verbs.values()))))
            cls.http_method_names = [*(m.lower() for m in cls.verbs), "options", "head"]

    def _answer(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        # A `with`, so that a bug in a handler cannot leave its transaction open behind it.
        with ExitStack() as self._tenant:
            return super()._answer(request, *args, **kwargs)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        verb = self.verbs.get(request.method or "GET", "view")
        place = enter(self.actor, self.module, verb, kwargs)
        is_person = isinstance(self.actor.holder, User)
        if is_person and request.method in self.fresh and not is_fresh(request._request):
            raise NotFresh
        self._tenant.enter_context(tenant(account_id_of(place)))
        self.place = place

    def finalize_response(
        self, request: Request, response: Response, *args: Any, **kwargs: Any
    ) -> Response:
        answer = super().finalize_response(request, response, *args, **kwargs)
        if hasattr(self, "place") and answer.status_code >= 400:
            transaction.set_rollback(True)
        return answer


def only(places: Iterable[Property], actor: Actor, verb: str, module: str) -> list[Property]:
    """Those of the properties in which the actor has the right (account-wide answers)."""
    return [place for place in places if actor.may(verb, module, place)]
