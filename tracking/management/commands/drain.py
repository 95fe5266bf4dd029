"""`manage.py drain`: the streams into Postgres until nothing is left; safe to repeat."""

import json
from argparse import ArgumentParser
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand

from tracking.drain import drain_all


class Command(BaseCommand):
    help = "Store the events that wait in Valkey, until nothing is left."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, **options: Any) -> None:
        drained = drain_all()
        if options["json"]:
            self.stdout.write(json.dumps(asdict(drained)))
            return
        self.stdout.write(
            f"{drained.stored:,} stored, {drained.duplicates:,} duplicates, "
            f"{drained.quarantined:,} quarantined, {drained.conflicts:,} conflicts."
        )
