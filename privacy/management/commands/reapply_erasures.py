"""`manage.py reapply_erasures [FILE]`: erase again who comes back with a restored copy.

A copy of Postgres holds who was erased since it was made. `--save FILE` writes the tombstones, one
JSON object a line, to be kept beside the copies; after a restore, give that FILE: its tombstones
are put up again, and whoever fits one is erased. Without a FILE those of the database are used.
"""

import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from privacy import reapplying
from properties.management.answers import add_json, say


class Command(BaseCommand):
    help = "Erase again whoever has a tombstone, after a restore; or save the tombstones."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", nargs="?", help="tombstones saved with --save")
        parser.add_argument("--save", metavar="FILE", help="only write the tombstones there")
        add_json(parser)

    def handle(self, **options: Any) -> None:
        if options["save"]:
            lines = list(reapplying.saved())
            Path(options["save"]).write_text("".join(f"{line}\n" for line in lines))
            say(self, options, {"tombstones": len(lines)}, f"{len(lines):,} tombstones saved.")
            return
        try:
            lines = Path(options["file"]).read_text().splitlines() if options["file"] else []
            brought = reapplying.bring_back(json.loads(line) for line in lines)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CommandError(
                f"{options['file']} cannot be read: {error}. Give a file made with --save."
            ) from error
        found = reapplying.reapply(timezone.now())
        answer = {"tombstones": brought, "erased": found}
        say(self, options, answer, f"{brought:,} tombstones brought back, {found:,} erased again.")
