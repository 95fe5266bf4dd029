"""`manage.py create_account SLUG --owner EMAIL`: an account, its owner, and a link to sign in."""

import argparse
from typing import Any

from allauth.account.models import EmailAddress
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError
from django.core.validators import validate_email
from django.db import transaction
from django.urls import reverse

from accounts import login_links
from accounts.forms import AccountForm
from accounts.models import Account, User
from properties import joining
from properties.management.answers import add_json, public_url, say


class Command(BaseCommand):
    help = (
        "Make an account and its owner, and print a link that signs the owner in once, within 24 "
        "hours, without a password. Safe to repeat: what exists is kept, and a new link is printed."
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("account", metavar="SLUG", help="short name, such as acme")
        parser.add_argument("--owner", metavar="EMAIL", required=True)
        parser.add_argument("--name", help="in full; default: the short name, capitalised")
        add_json(parser)

    @transaction.atomic
    def handle(self, *args: Any, **options: Any) -> None:
        owner = verified_user(options["owner"])
        slug = options["account"]
        account = Account.objects.filter(slug=slug).first()
        if account is None:
            form = AccountForm({"slug": slug, "name": options["name"] or slug.title()})
            if not form.is_valid():
                raise CommandError(
                    " ".join(str(m) for fault in form.errors.values() for m in fault)
                )
            account = joining.open_account(
                form.cleaned_data["slug"], form.cleaned_data["name"], owner
            )
        elif not account.memberships.filter(user=owner, role="owner").exists():  # type: ignore[attr-defined]
            joining.join(account, owner, "owner")
        link = public_url() + reverse("login_link", args=[login_links.token_for(owner)])
        say(
            self,
            options,
            {"account": account.slug, "login_link": link},
            f"{owner.email} owns the account {account.slug}. Sign in once, within 24 hours: {link}",
        )


def verified_user(email: str) -> User:
    """The user of that address, made without a password if new; the address counts as confirmed.

    Whoever signed up with it and never confirmed it may be anybody: that password is thrown away.
    """
    email = email.strip().lower()
    try:
        validate_email(email)
    except ValidationError as error:
        raise CommandError(f"{email!r} is no e-mail address. Write one to --owner.") from error
    user = User.objects.filter(email=email).first() or User.objects.create_user(email)
    if not EmailAddress.objects.filter(user=user, email=email, verified=True).exists():
        user.set_unusable_password()
        user.save(update_fields=["password"])
        EmailAddress.objects.update_or_create(
            user=user, email=email, defaults={"primary": True, "verified": True}
        )
    return user
