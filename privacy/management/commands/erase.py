"""`manage.py erase PROPERTY --visitor ID | --number N | --user ID`: erase, now and for good.

Asks and carries it out, without a worker; safe to repeat.
"""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from privacy import erasing
from privacy.subjects import NoSuchSubject, subject_of
from properties.management.answers import add_json, say
from properties.models import Property
from tracking.working import WORKER, transaction_of_worker


class Command(BaseCommand):
    help = "Erase a visitor or a person from a property."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("property", help="key of the property, AK-XXXXXXXX")
        parser.add_argument("--visitor", default="", help="the visitor's id, as the cookie has it")
        parser.add_argument("--number", type=int, help="the virtual visitor id")
        parser.add_argument("--user", default="", help="the person's id, as loginUser was told")
        add_json(parser)

    def handle(self, **options: Any) -> None:
        place = find_property(options["property"])
        now = timezone.now()
        try:
            with transaction_of_worker() as cursor:
                named = {name: options[name] for name in ("visitor", "number", "user")}
                subject = subject_of(cursor, place, **named)
        except NoSuchSubject as error:
            raise CommandError(str(error)) from error
        erasure = erasing.ask(place, subject, "manage.py erase", now)
        erasing.carry_out(erasure, now)
        erasure.refresh_from_db(using=WORKER)
        answer = {"property": place.key, "erasure": erasure.pk, "counts": erasure.counts}
        words = ", ".join(f"{count:,} {name}" for name, count in erasure.counts.items() if count)
        say(self, options, answer, f"Erased: {words or 'nothing was kept'}.")


def find_property(key: str) -> Property:
    """The property, or an error that says what a key looks like."""
    place = Property.objects.across_accounts().using(WORKER).filter(key=key).first()
    if place is None:
        raise CommandError(f"There is no property {key!r}. Give a key like AK-XXXXXXXX.")
    return place
