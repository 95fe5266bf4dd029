"""`manage.py reconcile [PROPERTY]`: does every received event stand somewhere, once?

Drains first, prints the ledger of one property or of all, and ends with 1 if anything does not
add up; safe to repeat, also under load.
"""

import json
import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from properties.models import Property
from tracking.ledger import Balance, reconcile, reconcile_nameless
from tracking.working import WORKER

ROWS = (
    "received", "accepted", "duplicate", "pings", "bots", "stored", "in_flight", "quarantined",
    "erased", "expired", "late_duplicate", "difference",
)  # fmt: skip


class Command(BaseCommand):
    help = "Compare what was received with what is stored. Exit 1 if anything does not add up."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("property", nargs="?", help="key of a property; default: all")
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, **options: Any) -> None:
        now = timezone.now()
        balances = [reconcile(place, now) for place in places(options["property"])]
        if not options["property"]:
            balances.append(reconcile_nameless(now))
        adds_up = all(balance.adds_up for balance in balances)
        if options["json"]:
            found = [balance.as_json() for balance in balances]
            self.stdout.write(json.dumps({"adds_up": adds_up, "properties": found}))
        else:
            for balance in balances:
                self.stdout.write(table(balance))
            self.stdout.write("Everything adds up." if adds_up else "Something does not add up.")
        if not adds_up:
            sys.exit(1)


def places(key: str | None) -> list[Property]:
    every = Property.objects.across_accounts().using(WORKER).order_by("pk")
    if not key:
        return list(every)
    found = list(every.filter(key=key))
    if not found:
        raise CommandError(f"There is no property {key!r}. Give a key like AK-XXXXXXXX.")
    return found


def table(balance: Balance) -> str:
    rows = [(name.replace("_", " "), getattr(balance, name)) for name in ROWS]
    refused = [(f"refused: {reason}", count) for reason, count in balance.refused.items()]
    rows[3:3] = refused
    rows.append(("raw events", balance.raw_events))
    if balance.rolled_up is not None:
        rows.append(("of people", balance.raw_of_people))
        rows.append(("rolled up", balance.rolled_up))
    lines = [balance.key, *(f"  {name:<28}{number:>14,}" for name, number in rows)]
    lines += [
        f"  does not add up: {name} differs by {by:,}"
        for name, by in balance.differences.items()
        if by
    ]
    return "\n".join(lines)
