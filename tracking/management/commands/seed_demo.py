"""`manage.py seed_demo`: the demo's log-in and 30 days of history, once; a gap since is filled."""

import io
import json
from argparse import ArgumentParser
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db.models import Max

from properties.models import Property
from tracking.demo import scene
from tracking.demo.simulator import Step
from tracking.importing import BATCH, Stopped, deliver
from tracking.models import Event

DAY_MS = 86_400_000
GAP_MS = 3_600_000  # shorter silences need no invention


class Command(BaseCommand):
    help = "Make the demo: a user, a property and 30 days of history. Safe to repeat."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--days", type=int, default=30, help="of history, 30 unless told")
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        self.quiet = options["json"]
        now = datetime.now(UTC)
        try:
            play = scene.prepare(now)
        except scene.Occupied as error:
            raise CommandError(str(error)) from error
        self.say(f"Demo: log in as {play.email}, property {play.property}.")
        place = play.place()
        assert place is not None  # prepare has just seen to it
        until = round(now.timestamp() * 1000)
        after = max(known_until(play, place), until - options["days"] * DAY_MS)
        sent = 0
        if until - after > GAP_MS:
            sent = self.send(place, play.plan().history(after, until))
            play.history_until = until
            play.save()
        if options["json"]:
            self.stdout.write(json.dumps({"property": play.property, "events": sent}))

    def send(self, place: Property, history: Iterator[Step]) -> int:
        """Through the collector, the drain and the rollup, as events of real visitors go."""
        self.say("Demo: inventing its history ...")
        sent = 0
        try:
            while batch := [step.payload for step in islice(history, BATCH)]:
                deliver(place, batch)
                sent += len(batch)
        except Stopped as stopped:
            raise CommandError(str(stopped)) from stopped
        self.say(f"Demo: {sent:,} events collected; storing them ...")
        call_command("drain", stdout=io.StringIO())
        self.say("Demo: counting hours and days ...")
        # By name, because reports stands above tracking.
        call_command("roll_up", stdout=io.StringIO())
        self.say("Demo: ready.")
        return sent

    def say(self, text: str) -> None:
        if not self.quiet:
            self.stdout.write(text)


def known_until(play: scene.Scene, place: Property) -> int:
    """Up to when the demo has a past (epoch ms): its history, or live traffic after it."""
    if not play.history_until:
        return 0  # never made, or interrupted: what is there already will be a duplicate
    rows = Event.objects.using("worker").filter(property_id=place.pk)
    latest = rows.aggregate(latest=Max("time"))["latest"]
    return max(play.history_until, round(latest.timestamp() * 1000) if latest else 0)
