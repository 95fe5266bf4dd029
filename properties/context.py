"""What the frame around every page shows: where I am, where I may go.

Enters: a request, with `request.place` set by THE DOOR. Leaves: `frame`, which asks the database
only for what the template reads (two queries behind a door, none for nobody).
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils import timezone

from accounts import plans
from accounts.models import Account
from properties.access import Actor, actor_of
from properties.models import Property

# Route name (of a report: with its name), label, the right that opens it. A page that does not
# exist yet is not shown.
Row = tuple[str, str, str, str]
PROPERTY_TABS: list[Row] = [
    ("live", "Live", "view", "realtime"),
    ("overview", "Overview", "view", "audience"),
]
# In the menu behind the tabs: more reports, then what is set up.
MORE_PAGES: list[Row] = [
    ("concurrency", "Concurrency", "view", "realtime"),
    ("inspector", "Inspector", "view", "events"),
]
SETUP_PAGES: tuple[Row, ...] = (
    ("snippet", "Snippet", "view", "property"),
    ("property_settings", "Settings", "view", "property"),
)


def offer_report(name: str, title: str, module: str, *, in_more: bool = False) -> None:
    """Show a report in the navigation: called once for each by the app that has them."""
    row = (f"report:{name}", title, "view", module)
    if in_more:
        MORE_PAGES.insert(len(MORE_PAGES) - 1, row)  # the inspector stays the last
    else:
        PROPERTY_TABS.append(row)


ACCOUNT_TABS: tuple[Row, ...] = (
    ("account_live", "Live", "view", "realtime"),
    ("members", "Members", "view", "members"),
    ("api_keys", "API keys", "view", "api_keys"),
    ("usage", "Usage", "view", "usage"),
    ("audit_log", "Audit log", "view", "audit"),
    ("segments", "Segments", "view", "audience"),
    ("account_settings", "Settings", "view", "property"),
)


# Pages of an account that show those of its properties of which the reader may see it.
OF_SOME = {"account_live"}

SETTINGS_PAGES = (
    ("property_settings", "General"),
    ("property_tracking", "Tracking"),
    ("property_goals", "Goals"),
    ("property_keys", "Keys"),
    ("property_privacy", "Privacy"),
    ("property_share", "Sharing"),
)
FOR_MANAGERS = {"property_share"}  # not shown to whoever may only view the settings
# Every page of the settings, and which of those above it belongs to.
IN_SETTINGS = {route: route for route, _ in SETTINGS_PAGES} | {
    "property_goal": "property_goals",
    "export_visitor": "property_privacy",
    "erase_visitor": "property_privacy",
    "delete_property": "property_privacy",
}
# Pages of a property that belong to another tab than one of their own.
IN_OVERVIEW = {"annotations", "annotation"}
# Pages of an account that belong to one of its tabs.
BELOW_TABS = {
    "member": "members",
    "remove_member": "members",
    "api_key": "api_keys",
    "segment": "segments",
    "delete_account": "account_settings",
}


# The pages of one's own user, and by which beginning of a route's name each is the current one.
PERSON_PAGES = (
    ("profile", "Profile", ("profile", "delete_login")),
    ("account_email", "Email", ("account_email",)),
    ("account_change_password", "Password", ("account_change_password", "account_set_password")),
    ("mfa_index", "Two-step", ("mfa_",)),
    ("sessions", "Sessions", ("sessions",)),
    ("socialaccount_connections", "Connections", ("socialaccount_",)),
)


@dataclass(frozen=True)
class Link:
    label: str
    url: str
    current: bool = False


@dataclass(frozen=True)
class Quota:
    """The account is close to its plan's end, over it, or refusing."""

    level: int
    url: str

    @property
    def is_closed(self) -> bool:
        return self.level == plans.CLOSED

    @property
    def is_full(self) -> bool:
        return self.level == plans.FULL


class Frame:
    """Read by frame/header.html; every part is found when it is first asked for."""

    def __init__(self, request: HttpRequest) -> None:
        self._request = request
        self._place: Property | Account | None = getattr(request, "place", None)

    @cached_property
    def _actor(self) -> Actor | None:
        return actor_of(self._request)

    @property
    def shared(self) -> bool:
        """Whether the page is shown by a share link: then there is nothing around it to go to."""
        return hasattr(self._request, "share_token")

    @property
    def measured(self) -> Property | None:
        """The property this page is about; None on pages of an account."""
        return self._place if isinstance(self._place, Property) else None

    @property
    def account(self) -> Account | None:
        return self._place.account if isinstance(self._place, Property) else self._place

    @cached_property
    def account_links(self) -> list[Link]:
        """Every account of the actor, and the way to a new one."""
        if self._actor is None or self.account is None:
            return []
        links = [
            Link(account.name, reverse("account", args=[account.slug]), account == self.account)
            for account in self._actor.accounts()
        ]
        return [*links, Link("New account ...", reverse("new_account"))]

    @cached_property
    def property_links(self) -> list[Link]:
        """Every property of this account that exists for the actor."""
        if self._actor is None or self.account is None:
            return []
        links = [
            Link(place.name, self._home(place), place == self._place)
            for place in self._actor.properties(self.account)
        ]
        if self._actor.may("manage", "property", self.account):
            add = reverse("new_property", args=[self.account.slug])
            links.append(Link("New property ...", add))
        return links

    def _home(self, place: Property) -> str:
        return home_of(place, self._actor) if self._actor else "/"

    @cached_property
    def tabs(self) -> list[Link]:
        """The pages of this place that exist and that the actor may open."""
        if self._place is None or self._actor is None:
            return []
        if isinstance(self._place, Property):
            tabs = list(self._open(PROPERTY_TABS, self._place.key))
        else:
            home = Link("Properties", reverse("account", args=[self._place.slug]))
            tabs = [home, *self._open(ACCOUNT_TABS, self._place.slug)]
        return self._marked(tabs)

    @cached_property
    def more(self) -> list[list[Link]]:
        """The groups of the menu behind the tabs of a property: more reports, what is set up."""
        if self.measured is None or self._actor is None:
            return []
        groups = (MORE_PAGES, SETUP_PAGES)
        found = [self._marked(self._open(rows, self.measured.key)) for rows in groups]
        return [group for group in found if group]

    @cached_property
    def more_here(self) -> str:
        """The page of that menu that this one is or belongs to; "" for none."""
        return next((link.label for group in self.more for link in group if link.current), "")

    def _marked(self, links: Iterable[Link]) -> list[Link]:
        here = self.section.url if self.section else self._request.path
        return [Link(link.label, link.url, link.url == here) for link in links]

    @cached_property
    def section(self) -> Link | None:
        """The tab that this page belongs to, when it is not the tab's own."""
        match = self._request.resolver_match
        if match is None or self.account is None:
            return None
        if (tab := BELOW_TABS.get(match.view_name)) is not None:
            return Link("", url_of(tab, self.account.slug))
        if self.measured is not None and match.view_name == "report_table":
            return Link("", url_of(f"report:{match.kwargs['report']}", self.measured.key))
        if self.measured is not None and match.view_name == "table":
            return Link("", self._tab_of(match.func.access.module))  # type: ignore[attr-defined]
        if match.view_name in IN_OVERVIEW and self.measured is not None:
            return Link("", url_of("overview", self.measured.key))
        if match.view_name not in IN_SETTINGS or self.measured is None:
            return None
        return Link("Settings", url_of("property_settings", self.measured.key))

    @cached_property
    def settings_links(self) -> list[Link]:
        """The pages of the settings, for the row below their heading."""
        match = self._request.resolver_match
        if match is None or self.measured is None:
            return []
        here = IN_SETTINGS.get(match.view_name)
        return [
            Link(label, url_of(route, self.measured.key), route == here)
            for route, label in SETTINGS_PAGES
            if route not in FOR_MANAGERS or self._may_manage
        ]

    @cached_property
    def person_links(self) -> list[Link]:
        """The pages of one's own user; connections where there is a provider to connect with."""
        match = self._request.resolver_match
        here = (match.view_name or "") if match else ""
        return [
            Link(label, reverse(route), here.startswith(begins))
            for route, label, begins in PERSON_PAGES
            if route != "socialaccount_connections" or settings.SIGN_IN_PROVIDERS
        ]

    @cached_property
    def _may_manage(self) -> bool:
        return (
            self._actor is not None
            and self._place is not None
            and self._actor.may("manage", "property", self._place)
        )

    def _tab_of(self, module: str) -> str:
        """The address of the report of a property that is of that module: the last among the tabs,
        for the overview is of one, too."""
        assert self.measured is not None
        routes = (route for route, _, _, of in reversed(PROPERTY_TABS) if of == module)
        return next((url for route in routes if (url := url_of(route, self.measured.key))), "")

    def _open(self, rows: Sequence[Row], name: str) -> Iterator[Link]:
        for route, label, verb, module in rows:
            url = url_of(route, name)
            if url and self._actor and self._place and self._may(route, verb, module):
                yield Link(label, url)

    def _may(self, route: str, verb: str, module: str) -> bool:
        assert self._actor is not None and self._place is not None
        if route in OF_SOME and isinstance(self._place, Account):
            return self._actor.may_in(verb, module, self._place)
        return self._actor.may(verb, module, self._place)

    @cached_property
    def quota(self) -> Quota | None:
        """How much of the account's plan is used, when the reader should know: whoever may view
        the usage from 80 % on, every member once events are refused. No query of its own."""
        if self.account is None or self._actor is None or self._actor.only_looks:
            return None
        match = self._request.resolver_match
        if match is not None and match.view_name == "usage":
            return None  # which says so itself
        level = self.account.quota_level_at(timezone.now())
        may_view = self._actor.may("view", "usage", self.account)
        if not level or not (may_view or level == plans.CLOSED):
            return None
        return Quota(level, url_of("usage", self.account.slug) if may_view else "")

    @property
    def docs_url(self) -> str:
        return "" if self.shared else reverse("api_docs")


def home_of(place: Property, actor: Actor) -> str:
    """The first page of a property that the actor may open; its account's page if there is none."""
    for route, _, verb, module in (*PROPERTY_TABS, *MORE_PAGES, *SETUP_PAGES):
        url = url_of(route, place.key)
        if url and route != "live" and actor.may(verb, module, place):
            return url
    return reverse("account", args=[place.account.slug])


def url_of(route: str, name: str) -> str:
    """The address of a page of a property or an account; "" while no app brings the route.
    `report:pages` is the report of that name."""
    route, _, report = route.partition(":")
    try:
        if report:
            return reverse(route, kwargs={"key": name, "report": report})
        return reverse(route, args=[name])
    except NoReverseMatch:
        return ""


def frame(request: HttpRequest) -> dict[str, Any]:
    """The context processor."""
    return {"frame": Frame(request)}
