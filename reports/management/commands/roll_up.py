"""`manage.py roll_up`: hours and days that are out of date, until none is; safe to repeat."""

import json
from argparse import ArgumentParser
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand
from django.utils import timezone

from reports.packing import list_old_days, pack_all
from reports.rollups import roll_up_all
from reports.zones import follow_zones


class Command(BaseCommand):
    help = "Bring rollups and bitmaps up to date, until nothing is left."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, **options: Any) -> None:
        now = timezone.now()
        follow_zones(now)
        rolled = roll_up_all(now)
        list_old_days(now)
        packed = pack_all(now)
        if options["json"]:
            self.stdout.write(json.dumps(asdict(rolled) | {"packed": packed}))
            return
        self.stdout.write(
            f"{rolled.hours:,} hours set, in {rolled.days:,} days of properties; "
            f"{packed:,} days packed."
        )
