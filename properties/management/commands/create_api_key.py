"""`manage.py create_api_key ACCOUNT --name N --grant MODULE:VERB ...`: a key for the API."""

import argparse
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction
from django.utils import timezone

from accounts import modules
from accounts.models import Account
from properties import inputs
from properties.issuing import give
from properties.management.answers import add_json, find_account, say
from properties.models import ApiKey, Property


class Command(BaseCommand):
    help = (
        "Make an API key and print it: it is shown this once. Repeated with the same name, the "
        "former key of that name is revoked and a new one printed, so there is one at any time."
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("account", help="short name of the account")
        parser.add_argument("--name", required=True, help="what will use the key")
        parser.add_argument(
            "--grant",
            action="extend",
            nargs="+",
            dest="grants",
            metavar="MODULE:VERB",
            required=True,
            help=f"modules: {', '.join(modules.MODULES)}; verbs: {', '.join(modules.VERBS)}",
        )
        parser.add_argument(
            "--property",
            action="extend",
            nargs="+",
            dest="properties",
            metavar="KEY",
            default=[],
            help="only in these properties; default: the whole account",
        )
        add_json(parser)

    @transaction.atomic
    def handle(self, *args: Any, **options: Any) -> None:
        account = find_account(options["account"])
        try:
            grants = [modules.parse_grant(text) for text in options["grants"]]
            name = inputs.name(options["name"])[:120]
        except modules.UnknownRight as error:
            raise CommandError(f"{error} Write grants as MODULE:VERB.") from error
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from error
        scopes = [find_property(account, key) for key in dict.fromkeys(options["properties"])]
        of_account = [module for module, _ in grants if module in modules.ASKED_OF_ACCOUNTS]
        if scopes and of_account:
            raise CommandError(
                f"{of_account[0]} is a module of the whole account: grant it without --property."
            )
        former = ApiKey.objects.of(account).filter(name=name, revoked=None)
        former.update(revoked=timezone.now())
        key, secret = ApiKey.issue(account, name)
        give(key, grants, scopes or [None])
        say(self, options, {"key": secret}, f"{name}: {secret} (it is shown this once).")


def find_property(account: Account, key: str) -> Property:
    place = Property.objects.of(account).filter(key=key).first()
    if place is None:
        raise CommandError(f"There is no property {key!r} in {account.slug}. Write its AK-... key.")
    return place
