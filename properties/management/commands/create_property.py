"""`manage.py create_property ACCOUNT NAME --timezone TZ --hostname H`: a property and its key."""

import argparse
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from accounts.models import Account
from properties import allowance, inputs, recording
from properties.management.answers import add_json, find_account, say
from properties.models import Property


class Command(BaseCommand):
    help = (
        "Make a property and print its key. Safe to repeat: a property of that name is found "
        "again and left as it is."
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("account", help="short name of the account")
        parser.add_argument("name", help="what the property is called")
        parser.add_argument("--timezone", default="UTC", help="such as Europe/Berlin; default UTC")
        parser.add_argument("--currency", default="EUR", help="default EUR")
        parser.add_argument(
            "--hostname",
            action="append",
            dest="hostnames",
            metavar="HOST",
            required=True,
            help="a host whose events count; repeat it for several, '*' allows all",
        )
        add_json(parser)

    @transaction.atomic
    def handle(self, *args: Any, **options: Any) -> None:
        account = find_account(options["account"])
        # Two commands at once must not both find nothing.
        Account.objects.select_for_update().get(pk=account.pk)
        place = found_or_made(account, options)
        say(
            self,
            options,
            {"key": place.key},
            f"{place.name} of {account.slug} has the key {place.key}.",
        )


def found_or_made(account: Account, options: dict[str, Any]) -> Property:
    """The account's property of that name."""
    try:
        name = inputs.name(options["name"])
        place = Property.objects.of(account).filter(name=name).order_by("pk").first()
        if place is not None:
            return place
        place = Property(
            account=account,
            name=name,
            timezone=inputs.timezone(options["timezone"]),
            currency=inputs.currency(options["currency"]),
            hostnames=inputs.hostnames(options["hostnames"]),
        )
        place.full_clean()
        if full := allowance.why_no_property(account):
            raise ValidationError(full)
    except ValidationError as error:
        raise CommandError(" ".join(error.messages)) from error
    place.save()
    recording.property_created(None, place)
    return place
