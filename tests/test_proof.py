"""The proof: every route x every kind of actor -> the status that the rulebook says.

The rows are those of tests/test_access.py, which fails when a route has none; what each cell must
answer is worked out here from what the route asks for (its module and verb), what the actor was
given and the rulebook, never from what the product answers. One world serves all cells: each
request is undone when its status is known. `pytest` prints how many cells there were.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import pytest

from tests import test_access as table
from tests.people import fresh, new_account, new_key, new_property, new_user, signed_in_as, with_key
from tests.test_access import Row

ROLES = ("owner", "admin", "analyst", "marketer", "support", "viewer")
ROWS: list[Row] = [*table.ROWS, *table.PRIVACY, *table.REPORTS]

OWNERS_ONLY = ("delete_account",)  # no grant opens it
# Of the properties of an account in which she has the right, together.
SUMS = ("stats_", "account_live", "api_account_realtime", "api_account_stream")
BY_WHAT_IS_SEEN = ("api_dimensions",)  # for whoever sees the property; lists what she may view
# What is sent instead of the row's body, where that would be refused before anything is looked up.
VALID = {
    ("api_member", "PATCH"): {"role": "viewer"},
    ("api_member_grants", "PUT"): {
        "grants": [{"module": "audience", "verb": "view", "property": None}]
    },
}


# -- the world -------------------------------------------------------------------------------------


@dataclass
class World:
    """Two accounts that are alike: what belongs to Alice's in `mine`, to Charlie's in `theirs`."""

    mine: dict[str, Any]
    theirs: dict[str, Any]
    blog: Any  # a second property of Alice's account
    clients: dict[Any, Any] = field(default_factory=dict)

    def client(self, *name: Any, make: Callable[[], Any]) -> Any:
        """The browser or program of an actor, made once."""
        if name not in self.clients:
            self.clients[name] = make()
        return self.clients[name]


def new_side(owner: Any) -> dict[str, Any]:
    account = new_account(owner)
    shop = new_property(account)
    key, _ = new_key(account, "audience:view")
    link, token = table.new_link(shop, "audience", "sources", downloads=True)
    table.new_person(shop)
    table.new_segment(account)
    ids = {
        "revoke_api_key": key.pk,
        "api_key": key.pk,
        "account_key": key.pk,
        "share_link": link.pk,
        "goal": table.new_goal(shop).pk,
        "annotation": table.new_annotation(shop).pk,
        "key": table.new_retired_key(shop).pk,
        "member": table.new_member(account).pk,
        "invitation": table.new_invitation(account).pk,
        "erasure": table.new_erasure(shop).pk,
    }
    return {"acme": account, "shop": shop, "token": token, "ids": ids, "owner": owner}


_worlds: list[World] = []


@pytest.fixture
def world() -> World:
    """Made by the first test; nothing that a cell does stays."""
    if not _worlds:
        mine = new_side(new_user("alice"))
        _worlds.append(World(mine, new_side(new_user("charlie")), new_property(mine["acme"])))
    return _worlds[0]


def undone(client: Any, row: Row, path: str, body: Any = None) -> Any:
    """The answer, and nothing of what it did."""
    from django.db import transaction

    with transaction.atomic():
        answer = send(client, row, path, body)
        transaction.set_rollback(True)
    return answer


def send(client: Any, row: Row, path: str, body: Any = None) -> Any:
    body = row.body if body is None else body
    if row.method == "GET":
        return client.get(path)
    if body is None:
        return client.generic(row.method, path, "")
    return client.generic(row.method, path, table.json.dumps(body), content_type="application/json")


# -- who asks --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Asked:
    """What a route asks for."""

    kind: str
    module: str
    verb: str
    of_account: bool

    @classmethod
    def by(cls, row: Row) -> "Asked":
        route, pattern = next(
            (route, pattern)
            for route, pattern in table.ours()
            if pattern.name == row.name and pattern.default_args.items() <= row.params.items()
        )
        access = table.access_of(pattern.callback)
        of_account = "<str:account>" in route
        if row.name in BY_WHAT_IS_SEEN:
            return cls("member", "", "", of_account)
        if (
            access.kind in ("member", "signed in")
            and row.right
            and row.key_without == 403
            and "<" in route
        ):
            # The view asks for the right by itself: of each property, or of what is asked about.
            return cls("door", *row.right.split(":"), of_account)
        verb = access.verb
        if "/" in verb:
            verb = "view" if row.method == "GET" else "manage"
        return cls(access.kind, access.module, verb, of_account)


# actor -> the rights that it has been given, as (module, verb, "account" | "shop" | "blog").
Given = tuple[tuple[str, str, str], ...]


def given_to(role: str) -> Given:
    from accounts import modules

    return tuple((module, verb, "account") for module, verb in modules.preset(role))


def members(asked: Asked) -> Iterator[tuple[str, Given]]:
    """Every kind of member, by what she may do."""
    from accounts import modules

    for role in ROLES:
        yield role, given_to(role)
    if asked.kind != "door":
        return
    right = (asked.module, asked.verb)
    yield "this right", ((*right, "account"),)
    if asked.verb == "manage":
        yield "this right to view", ((asked.module, "view", "account"),)
    if asked.module not in modules.ASKED_OF_ACCOUNTS:
        yield "this right here", ((*right, "shop"),)
        yield "this right elsewhere", ((*right, "blog"),)
    others = [module for module in modules.MODULES if module != asked.module]
    yield "every other right", tuple((module, "manage", "account") for module in others)


def expected(row: Row, asked: Asked, name: str, given: Given) -> int:
    """The status, by the rules of accounts/modules.py and DESIGN: right, 403, 404."""
    from accounts import modules

    if asked.kind != "door":
        return row.owner
    if row.name in OWNERS_ONLY:
        return row.owner if name == "owner" else 403
    reach = {"account"} if asked.of_account else {"account", "shop"}
    if row.name.startswith(SUMS):
        reach = {"account", "shop", "blog"}  # a sum of the properties in which she has the right
    if row.name == "api_segment" and row.method == "GET":
        reach = {"account", "shop", "blog"}  # she may use it in one of them
    given_here = {(module, verb) for module, verb, where in given if where in reach}
    if {(asked.module, asked.verb), (asked.module, "manage")} & given_here:
        return row.owner
    about = {*modules.PROPERTY_MODULES, "property"}
    if asked.of_account:
        return 403 if given else 404
    sees = any(where in reach and module in about for module, _, where in given)
    return 403 if sees else 404


def member_client(world: World, name: str, given: Given) -> Any:
    """A member with those rights and no other; owners and the like by their role."""
    from accounts.models import Membership
    from properties.joining import join
    from properties.models import Grant

    def make() -> Any:
        account = world.mine["acme"]
        if name in ROLES:
            user = world.mine["owner"] if name == "owner" else new_user(name)
            if name != "owner":
                join(account, user, name)
            return signed_in_as(user)
        user = new_user("dora")
        membership = Membership.objects.create(account=account, user=user, role="viewer")
        places = {"account": None, "shop": world.mine["shop"], "blog": world.blog}
        for module, verb, where in given:
            Grant.objects.create(
                account=account, membership=membership, module=module, verb=verb,
                property=places[where],
            )  # fmt: skip
        return signed_in_as(user)

    return world.client("member", *([name] if name in ROLES else given), make=make)


def key_client(world: World, given: Given, account: Any = None, **ends: Any) -> Any:
    """A program whose key has those rights."""
    from properties.issuing import give
    from properties.models import ApiKey

    def make() -> Any:
        key, secret = ApiKey.issue(account or world.mine["acme"], fresh("key"), **ends)
        places = {"account": None, "shop": world.mine["shop"], "blog": world.blog}
        for module, verb, where in given:
            give(key, [(module, verb)], [places[where]])
        return with_key(secret)

    name = (account.pk if account else 0, *ends, *given)
    return world.client("key", *name, make=make)


# -- the table -------------------------------------------------------------------------------------


def cells(world: World, row: Row) -> Iterator[tuple[str, Any, int]]:
    """(actor, its client, the status that it must get)."""
    asked = Asked.by(row)
    for name, given in members(asked):
        yield name, member_client(world, name, given), expected(row, asked, name, given)
    charlie = world.client("charlie", make=lambda: signed_in_as(world.theirs["owner"]))
    yield "other account", charlie, row.charlie
    nobody = world.client("nobody", make=lambda: signed_in_as(None))
    yield "nobody", nobody, row.nobody
    yield from as_the_table_says(world, row)
    yield "share link", world.client("link", make=lambda: link_client(world)), row.nobody
    if row.key is not None:
        yield from cells_of_keys(world, row, asked)


def as_the_table_says(world: World, row: Row) -> Iterator[tuple[str, Any, int]]:
    """What stands in the row itself, written by hand: the two ways must meet."""
    yield "table: viewer", member_client(world, "viewer", given_to("viewer")), row.viewer
    bob: Given = (("audience", "view", "shop"), ("sources", "view", "shop"))
    yield "table: bob", member_client(world, "bob", bob), row.bob
    if row.key is None:
        return
    module, verb = row.right.split(":")
    yield "table: key", key_client(world, ((module, verb, "account"),)), row.key
    of_account = row.name.startswith("api_a") and not row.name.startswith("api_annotation")
    other = "usage" if of_account else "people"
    other = {"people": "content"}.get(
        module, "events" if row.name.startswith("api_user") else other
    )
    yield "table: key without", key_client(world, ((other, "view", "account"),)), row.key_without


def link_client(world: World) -> Any:
    """A browser that has opened a share link: nobody anywhere else."""
    client = signed_in_as(None)
    assert client.get(f"/share/{world.mine['token']}/").status_code == 200
    return client


def cells_of_keys(world: World, row: Row, asked: Asked) -> Iterator[tuple[str, Any, int]]:
    from datetime import timedelta

    from django.utils import timezone

    right = asked.module or "audience", asked.verb or "view"
    for name, given in members(asked):
        if name not in ROLES:
            yield f"key: {name}", key_client(world, given), expected(row, asked, name, given)
    if asked.kind != "door":
        yield "key", key_client(world, ((*right, "account"),)), row.key or 0
    whole = ((*right, "account"),)
    past = timezone.now() - timedelta(seconds=1)
    yield "key: expired", key_client(world, whole, expires=past), 401
    yield "key: revoked", key_client(world, whole, revoked=past), 401
    theirs = key_client(world, whole, account=world.theirs["acme"])
    yield "key: other account", theirs, row.key_elsewhere


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_every_actor_gets_what_the_rulebook_says(
    row: Row, world: World, record_property: Any
) -> None:
    path = table.path_of(row, world.mine)
    wanted, got = {}, {}
    answered: dict[int, int] = {}  # who stands in the table a second time is not asked again
    for actor, client, status in cells(world, row):
        if id(client) not in answered:
            answered[id(client)] = undone(client, row, path).status_code
        wanted[actor] = status
        got[actor] = answered[id(client)]
    record_property("cells", len(got))
    assert got == wanted


# -- what is another's does not exist --------------------------------------------------------------


@cache
def with_numbers() -> list[Row]:
    """Rows whose route names a thing inside an account or property by its number."""
    routes = {pattern.name: route for route, pattern in table.ours()}
    return [row for row in ROWS if "<int:pk>" in routes[row.name]]


@cache
def with_places() -> list[Row]:
    routes = {pattern.name: route for route, pattern in table.ours()}
    return [row for row in ROWS if re.search(r"<str:(key|account)>", routes[row.name])]


@pytest.mark.parametrize("row", with_places(), ids=str)
def test_another_accounts_place_is_nothing(row: Row, world: World, record_property: Any) -> None:
    """By its key or slug: for a user and for a key of another account."""
    path = table.path_of(row, world.theirs)
    key, slug = world.theirs["shop"].key, world.theirs["acme"].slug
    nothing = path.replace(key, "AK-ZZZZZZZZ").replace(slug, fresh("nobody"))
    assert nothing != path
    alice = member_client(world, "owner", ())
    everything = tuple((module, "manage", "account") for module in modules_of_keys())
    clients = [alice] + ([key_client(world, everything)] if row.key is not None else [])
    for client in clients:
        answers = [undone(client, row, each) for each in (path, nothing)]
        assert answers[0].status_code == 404
        assert table.seen(answers[0]) == table.seen(answers[1])
    record_property("cells", 2 * len(clients))


def modules_of_keys() -> tuple[str, ...]:
    from accounts import modules

    return modules.MODULES


@pytest.mark.parametrize("row", with_numbers(), ids=str)
def test_another_accounts_thing_is_nothing_in_my_own_place(
    row: Row, world: World, record_property: Any
) -> None:
    """By its number, below my own account or property."""
    mixed = {**world.mine, "ids": world.theirs["ids"]}
    path = table.path_of(row, mixed)
    number = re.findall(r"/(\d+)(?=/|$)", path)[-1]
    nothing = path[::-1].replace(number[::-1], "999999999", 1)[::-1]
    alice, body = member_client(world, "owner", ()), VALID.get((row.name, row.method))
    answers = [undone(alice, row, each, body) for each in (path, nothing)]
    assert answers[0].status_code == 404
    assert table.seen(answers[0]) == table.seen(answers[1])
    record_property("cells", 2)


# The other places in which a request names a property: (method, path, body).
_RIGHT = {"module": "audience", "verb": "view", "property": "{key}"}
_GUEST = {"email": "guest@example.com", "role": "viewer"}
INSIDE: list[tuple[str, str, Any]] = [
    ("POST", "api-keys", {"name": "K", "grants": ["audience:view"], "properties": ["{key}"]}),
    ("PATCH", "api-keys/{api_key}", {"grants": ["audience:view"], "properties": ["{key}"]}),
    ("POST", "invitations", {**_GUEST, "properties": ["{key}"]}),
    ("POST", "invitations", {**_GUEST, "grants": [_RIGHT]}),
    ("PATCH", "members/{member}", {"role": "viewer", "properties": ["{key}"]}),
    ("PUT", "members/{member}/grants", {"grants": [_RIGHT]}),
    ("GET", "audit?property={key}", None),
]


@pytest.mark.parametrize(("method", "below", "body"), INSIDE)
def test_another_accounts_property_in_a_body_or_query_is_nothing(
    method: str, below: str, body: Any, world: World, record_property: Any
) -> None:
    row, ids = Row("", method), world.mine["ids"]
    path = f"/api/v1/accounts/{world.mine['acme'].slug}/{below}"
    for name in ("api_key", "member"):
        path = path.replace(f"{{{name}}}", str(ids[name]))
    answers = []
    for key in (world.theirs["shop"].key, "AK-ZZZZZZZZ"):
        sent = table.json.loads(table.json.dumps(body).replace("{key}", key))
        answer = undone(member_client(world, "owner", ()), row, path.replace("{key}", key), sent)
        status, content, headers = table.seen(answer)
        answers.append((status, content.replace(key.encode(), b"AK-"), headers))
    assert answers[0] == answers[1]
    assert answers[0][0] == (200 if method == "GET" else 400)
    record_property("cells", 2)
