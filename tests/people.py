"""Three people and their places: Alice owns, Bob may see little, Charlie is somebody else.

Every test gets accounts and properties of its own with fresh names, for nothing is truncated:
`alice` owns `acme`, whose property is `shop`; `bob` is a member of it who may view the audience
and sources of `shop` and nothing of `blog`; `charlie` owns another account. `vera` is a viewer.
"""

import secrets
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from django.test import Client

    from accounts.models import Account, Membership, User
    from properties.models import ApiKey, Property, ShareLink

PASSWORD = "correct horse battery staple"


def fresh(word: str) -> str:
    """A name that no other test has."""
    return f"{word}-{secrets.token_hex(5)}"


@cache
def hashed_password() -> str:
    """Hashing is slow on purpose: once for all tests."""
    from django.contrib.auth.hashers import make_password

    return make_password(PASSWORD)


def new_user(word: str) -> "User":
    """Somebody with a confirmed address and PASSWORD."""
    from allauth.account.models import EmailAddress

    from accounts.models import User

    user = User.objects.create(email=f"{fresh(word)}@example.com", password=hashed_password())
    EmailAddress.objects.create(user=user, email=user.email, primary=True, verified=True)
    return user


def new_account(owner: "User", word: str = "acme") -> "Account":
    from properties.joining import open_account

    return open_account(fresh(word), word.title(), owner)


def new_property(account: "Account | None" = None, **fields: Any) -> "Property":
    """A property that takes events from any host; of a new account unless one is given."""
    from properties.models import Property

    account = account or new_account(new_user("owner"))
    return Property.objects.create(
        account=account, **({"name": fresh("shop"), "hostnames": ["*"]} | fields)
    )


def grant(membership: "Membership", *rights: str, place: "Property | None" = None) -> None:
    """Let a member do `"module:verb"`s, in the whole account or in one property."""
    from accounts.modules import parse_grant
    from properties.models import Grant

    for module, verb in map(parse_grant, rights):
        Grant.objects.create(
            account=membership.account,
            membership=membership,
            module=module,
            verb=verb,
            property=place,
        )


def new_key(
    account: "Account", *rights: str, place: "Property | None" = None
) -> "tuple[ApiKey, str]":
    """An API key with those `"module:verb"`s, and its secret."""
    from accounts.modules import parse_grant
    from properties.issuing import give
    from properties.models import ApiKey

    key, secret = ApiKey.issue(account, fresh("key"))
    give(key, [parse_grant(right) for right in rights], [place])
    return key, secret


def new_link(place: "Property", *modules: str, **fields: Any) -> "tuple[ShareLink, str]":
    """A share link that shows those modules of the property, and its token."""
    from properties.models import Grant, ShareLink

    link, token = ShareLink.issue(place, fresh("link"), **fields)
    for module in modules:
        Grant.objects.create(
            account=place.account, share_link=link, module=module, verb="view", property=place
        )
    return link, token


def an_address() -> str:
    """One that no other test has used in this run: log-ins are limited per address."""
    return f"2001:db8:{secrets.token_hex(2)}:{secrets.token_hex(2)}::1"


def signed_in_as(user: "User | None", fresh: bool = True) -> "Client":
    """A browser in which that user is signed in, a moment or (not fresh) a while ago; nobody for
    None."""
    from django.test import Client

    client = Client() if user is not None else Client(REMOTE_ADDR=an_address())
    if user is not None:
        client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
        if fresh:
            confirmed(client, user)
    return client


def confirmed(client: "Client", user: "User") -> None:
    """She has just typed her password."""
    from allauth.account.internal.flows.login import record_authentication
    from django.http import HttpRequest

    request = HttpRequest()
    request.session = client.session
    record_authentication(request, user, method="password")
    request.session.save()


def with_key(secret: str) -> "Client":
    """A program that sends that API key with every request."""
    from django.test import Client

    return Client(headers={"authorization": f"Bearer {secret}"})


@pytest.fixture
def alice() -> "User":
    return new_user("alice")


@pytest.fixture
def acme(alice: "User") -> "Account":
    return new_account(alice, "acme")


@pytest.fixture
def shop(acme: "Account") -> "Property":
    return new_property(acme, name="Shop", timezone="Europe/Berlin")


@pytest.fixture
def blog(acme: "Account") -> "Property":
    """A property of the same account, in which Bob has no right."""
    return new_property(acme, name="Blog")


@pytest.fixture
def bob(acme: "Account", shop: "Property") -> "User":
    from accounts.models import Membership

    user = new_user("bob")
    membership = Membership.objects.create(account=acme, user=user, role="viewer")
    grant(membership, "audience:view", "sources:view", place=shop)
    return user


@pytest.fixture
def vera(acme: "Account") -> "User":
    from properties.joining import join

    user = new_user("vera")
    join(acme, user, "viewer")
    return user


@pytest.fixture
def charlie() -> "User":
    """The owner of another account, which has a property too."""
    user = new_user("charlie")
    new_property(new_account(user, "globex"), name="Elsewhere")
    return user


@pytest.fixture
def make_property() -> "Callable[..., Property]":
    return new_property
