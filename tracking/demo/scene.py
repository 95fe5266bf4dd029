"""Where the demo plays: its user, account, property and key, and the file that knows them.

`prepare` makes what is missing and changes nothing that is there. AKTIVAT_HOME/demo.json holds
the only copies of the password and the API key; `make run` prints its log-in from there, and
`simulate_demo` takes its key from there.
"""

import json
import os
import secrets
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from allauth.account.models import EmailAddress
from django.conf import settings
from django.db import transaction

from accounts.models import Account, Membership, User
from properties import capture, periods
from properties.joining import open_account
from properties.models import ApiKey, Goal, Grant, Property
from tracking.demo import shop
from tracking.demo.simulator import Plan

EMAIL = "demo@aktivat.example"
SLUG = "demo"
SEED = "aktivat"


class Occupied(Exception):
    """The names of the demo are in use by somebody else."""


@dataclass
class Scene:
    """What demo.json holds. `history_until` (epoch ms) is 0 until the history is complete."""

    email: str
    password: str
    property: str
    api_key: str
    anchor: str
    history_until: int = 0

    def plan(self) -> Plan:
        return Plan(SEED, date.fromisoformat(self.anchor))

    def place(self) -> Property | None:
        found: Property | None = (
            Property.objects.across_accounts().filter(key=self.property).first()
        )
        return found

    def save(self) -> None:
        """Atomically, and readable for nobody else."""
        fresh = path().with_suffix(".new")
        handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w") as file:
            json.dump(asdict(self), file, indent=2)
        fresh.replace(path())


def path() -> Path:
    return Path(settings.HOME) / "demo.json"


def load() -> Scene | None:
    """The scene as saved; None when there is none, or not a whole one."""
    try:
        found: dict[str, Any] = json.loads(path().read_text())
        return Scene(**found)
    except (OSError, ValueError, TypeError):
        return None


def prepare(now: datetime) -> Scene:
    """The scene, made if it is missing or if its property is gone. Raises Occupied."""
    known = load()
    if known and known.place():
        return known
    with transaction.atomic():
        user, password = _user()
        account = _account(user)
        place, _ = Property.objects.of(account).get_or_create(
            account=account,
            name="Demo shop",
            defaults={
                "timezone": shop.ZONE,
                "currency": shop.CURRENCY,
                "hostnames": [shop.HOST],
                "capture": [*capture.default(), "vitals", "site_search"],
            },
        )
        for name, goal in shop.GOALS.items():
            Goal.objects.of(account).get_or_create(
                account=account, property=place, name=name, defaults=goal
            )
        scene = Scene(
            email=user.email,
            password=password,
            property=place.key,
            api_key=_api_key(account, place),
            anchor=periods.local_date(now.astimezone(UTC), periods.zone(shop.ZONE)).isoformat(),
        )
    path().parent.mkdir(parents=True, exist_ok=True)
    scene.save()
    return scene


def _user() -> tuple[User, str]:
    """The demo's user with a new password: the old one, if any, was lost with demo.json."""
    password = secrets.token_urlsafe(12)
    user = User.objects.filter(email=EMAIL).first()
    if user is None:
        user = User.objects.create_user(EMAIL, password, name="Demo")
    else:
        user.set_password(password)
        user.save()
    EmailAddress.objects.update_or_create(
        user=user, email=EMAIL, defaults={"verified": True, "primary": True}
    )
    return user, password


def _account(user: User) -> Account:
    account = Account.objects.filter(slug=SLUG).first()
    if account is None:
        return open_account(SLUG, "Demo", user)
    if not Membership.objects.filter(account=account, user=user).exists():
        raise Occupied(
            f"An account {SLUG!r} exists and is not the demo's. Set AKTIVAT_DEMO=0 to go without."
        )
    return account


def _api_key(account: Account, place: Property) -> str:
    """A key for this property's events only; the one that was lost with demo.json ends."""
    name = "Demo traffic"
    ApiKey.objects.of(account).filter(name=name).delete()
    key, secret = ApiKey.issue(account, name)
    Grant.objects.create(
        account=account, api_key=key, module="events", verb="manage", property=place
    )
    return secret
