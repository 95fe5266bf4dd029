"""`manage.py rebuild PROPERTY FROM TO`: sessions and rollups of these days anew from raw events."""

import json
from argparse import ArgumentParser
from datetime import date
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from properties.models import Property
from reports.rebuilding import RawEventsGone, rebuild
from tracking.working import WORKER


class Command(BaseCommand):
    help = "Derive sessions and rollups of some days again from raw events."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("property", help="key of the property, AK-XXXXXXXX")
        parser.add_argument("first", metavar="FROM", help="first day, YYYY-MM-DD")
        parser.add_argument("last", metavar="TO", help="last day, inclusive")
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, **options: Any) -> None:
        key = options["property"]
        place = Property.objects.across_accounts().using(WORKER).filter(key=key).first()
        if place is None:
            raise CommandError(f"There is no property {key!r}. Give a key like AK-XXXXXXXX.")
        first, last = day(options["first"]), day(options["last"])
        try:
            rebuilt = rebuild(place, first, last, timezone.now())
        except (RawEventsGone, ValueError) as error:
            raise CommandError(str(error)) from error
        found = {
            "property": key,
            "from": str(first),
            "to": str(last),
            "hours": rebuilt.rolled.hours,
            "days": rebuilt.rolled.days,
        }
        if options["json"]:
            self.stdout.write(json.dumps(found))
        else:
            self.stdout.write(f"{found['days']:,} days rebuilt, {found['hours']:,} hours.")


def day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise CommandError(f"{text[:40]!r} is no day: write it as 2015-05-17.") from error
