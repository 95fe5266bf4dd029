"""`manage.py import_users PROPERTY FILE`: the users you had before, with what you know of them."""

import sys
import tempfile
from argparse import ArgumentParser
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from properties.management.answers import add_json, say
from properties.models import Property
from tracking import people
from tracking.people_files import Unreadable, users_in
from tracking.working import WORKER

SHOWN = 20  # refused lines that are printed


class Command(BaseCommand):
    help = (
        "Import users from CSV (columns id, signed_up, time; every other one is a trait) or from "
        "lines of JSON. Safe to repeat: of each fact the newest stays. Nothing is imported from a "
        "file that cannot be read to its end."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("property", metavar="PROPERTY", help="its key, AK-...")
        parser.add_argument("file", metavar="FILE", help="- for standard input")
        add_json(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        place = Property.objects.across_accounts().filter(key=options["property"]).first()
        if place is None:
            raise CommandError(
                f"There is no property {options['property']!r}. Its key stands in its settings."
            )
        try:
            with _opened(options["file"]) as file:
                for _ in users_in(file):  # to its end, before anything is written
                    pass
                file.seek(0)
                answer = imported(place, file)
        except OSError as error:
            raise CommandError(f"{options['file']}: {error.strerror}.") from error
        except Unreadable as error:
            raise CommandError(f"{error} Nothing was imported.") from error
        say(self, options, answer, report(answer))


def _opened(name: str) -> BinaryIO:
    """The file, to be read twice."""
    if name != "-":
        return Path(name).open("rb")
    kept = tempfile.TemporaryFile()  # noqa: SIM115  the caller closes it
    while chunk := sys.stdin.buffer.read(1_000_000):
        kept.write(chunk)
    kept.seek(0)
    return kept


def imported(place: Property, file: BinaryIO) -> dict[str, Any]:
    """What became of the users: counts, reasons, and the first lines that were refused."""
    now, accepted = timezone.now(), 0
    reasons: Counter[str] = Counter()
    refused: list[dict[str, Any]] = []
    users = users_in(file)
    while chunk := list(islice(users, people.MOST)):
        answer = people.import_users(place, [user for _, user in chunk], now, WORKER)
        accepted += answer.accepted
        for refusal in answer.rejected:
            reasons[refusal["reason"]] += 1
            if len(refused) < SHOWN:
                refused.append({"line": chunk[refusal.pop("index")][0], **refusal})
    return {"accepted": accepted, "rejected": dict(reasons), "first_rejected": refused}


def report(answer: dict[str, Any]) -> str:
    lines = [f"{answer['accepted']:,} users imported."]
    lines += [f"{count:,} refused: {reason}" for reason, count in answer["rejected"].items()]
    lines += [f"  line {one['line']}: {one['message']}" for one in answer["first_rejected"]]
    return "\n".join(lines)
