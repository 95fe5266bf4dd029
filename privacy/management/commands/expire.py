"""`manage.py expire [PROPERTY] [--dry-run]`: let go what is older than the property keeps it.

The worker does it every ten minutes. With --dry-run nothing changes, and the answer is what would
go.
"""

from argparse import ArgumentParser
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand
from django.utils import timezone

from privacy import expiring
from privacy.management.commands.erase import find_property
from properties.management.answers import add_json, say
from properties.models import Property
from tracking.working import WORKER, transaction_of_worker


class Command(BaseCommand):
    help = "Let raw events go that are older than their property keeps them."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("property", nargs="?", help="key of a property; default: all")
        parser.add_argument("--dry-run", action="store_true", help="only count what would go")
        add_json(parser)

    def handle(self, **options: Any) -> None:
        now = timezone.now()
        key = options["property"]
        every = Property.objects.across_accounts().using(WORKER).order_by("pk")
        lines = []
        for place in [find_property(key)] if key else every:
            edge = expiring.edge_of(place, now)
            if options["dry_run"]:
                with transaction_of_worker() as cursor:
                    found = expiring.foresee(cursor, place, edge)
            else:
                found = expiring.expire(place, now)
            lines.append({"property": place.key, "before": edge.isoformat(), **asdict(found)})
        months = [] if options["dry_run"] else expiring.drop_empty_months(now)
        answer = {"dry_run": options["dry_run"], "properties": lines}
        answer["months_dropped"] = [f"{month:%Y-%m}" for month in months]
        verb = "would go" if options["dry_run"] else "went"
        words = [
            f"{line['property']}: {line['events']:,} events, {line['sessions']:,} sessions"
            f" from before {line['before'][:10]} {verb}."
            for line in lines
        ]
        say(self, options, answer, "\n".join(words) or "There is no property.")
