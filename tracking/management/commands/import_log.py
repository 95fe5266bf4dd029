"""`manage.py import_log PROPERTY FILE`: an Apache or nginx access log becomes page views."""

import json
import sys
import time
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from properties.models import Property
from tracking.importing import Import, LogFile, Stopped, Tally, open_log

WIDTH = 30


class Progress:
    """A bar that redraws itself on a terminal, a line every ten seconds elsewhere; to stderr."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream
        self.terminal = stream.isatty()
        self.pause = 0.2 if self.terminal else 10.0
        self.shown = time.monotonic()

    def show(self, tally: Tally, log: LogFile) -> None:
        now = time.monotonic()
        if now - self.shown < self.pause:
            return
        self.shown = now
        share = log.share_read()
        text = f"{tally.lines:,} lines" + (f", {share:.0%}" if share is not None else "")
        if self.terminal:
            filled = round(WIDTH * (share or 0))
            text = f"\r[{'#' * filled}{'.' * (WIDTH - filled)}] {text} "
        self.stream.write(text if self.terminal else text + "\n")
        self.stream.flush()

    def end(self) -> None:
        if self.terminal:
            self.stream.write("\r\x1b[K")
            self.stream.flush()


class Command(BaseCommand):
    help = (
        "Import page views from an access log in Apache's or nginx's combined format. The same"
        " lines again add nothing; an interrupted import goes on where it stopped."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("property", metavar="PROPERTY", help="its key, AK-...")
        parser.add_argument("file", metavar="FILE", help="plain or .gz; - for standard input")
        parser.add_argument("--json", action="store_true", help="print one JSON object")
        parser.add_argument("--quiet", action="store_true", help="show no progress")
        parser.add_argument(
            "--from-start", action="store_true", help="send again what was already sent"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        place = Property.objects.across_accounts().filter(key=options["property"]).first()
        if place is None:
            raise CommandError(
                f"There is no property {options['property']!r}. Its key stands in its settings."
            )
        progress = None if options["quiet"] else Progress(sys.stderr)
        try:
            with open_log(options["file"]) as log:
                run = Import(place, log, from_start=options["from_start"])
                if progress:
                    run.watch = progress.show
                tally = run.run()
        except Stopped as stopped:
            raise CommandError(str(stopped)) from stopped
        finally:
            if progress:
                progress.end()
        if options["json"]:
            self.stdout.write(json.dumps(tally.as_json()))
        else:
            self.stdout.write(report(run))


def report(run: Import) -> str:
    """The tally as people read it."""
    tally = run.tally
    rows = [
        ("lines", tally.lines),
        ("accepted", tally.accepted),
        ("duplicate", tally.duplicate),
        *((f"skipped: {why}", count) for why, count in tally.skipped.items()),
        *((f"refused: {reason}", count) for reason, count in tally.refused.items()),
        ("bad", tally.bad),
    ]
    text = "\n".join(f"{name:<24}{count:>12,}" for name, count in rows)
    if run.resumed_after:
        text += f"\nWent on after line {run.resumed_after:,}, where the last run stopped."
    if tally.bad:
        text += f"\nThe bad lines and their numbers stand in {run.notes.bad_lines}"
    return text
