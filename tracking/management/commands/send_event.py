"""`manage.py send_event PROPERTY [NAME]`: one event through the collector, and what it says."""

import json
import urllib.error
import urllib.request
import uuid
from argparse import ArgumentParser
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from properties.models import Property
from tracking.collecting import Origin, collect, now_ms
from tracking.importing import host_of
from tracking.store import Unavailable, visitor_salt

AGENT = "aktivat-send-event/1"


class Command(BaseCommand):
    help = (
        "Send one event of a new visitor: over HTTP to --url or PUBLIC_URL, else from here. Exits"
        " with 1 if it is refused."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("property", metavar="PROPERTY", help="its key, AK-...")
        parser.add_argument("name", metavar="NAME", nargs="?", default="pageview")
        parser.add_argument("--url", help="where Aktivat runs, like http://127.0.0.1:8000")
        parser.add_argument("--page", help="the page's address; the property's first host's /")
        parser.add_argument("--props", type=json.loads, help="a JSON object")
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        place = Property.objects.across_accounts().filter(key=options["property"]).first()
        if place is None:
            raise CommandError(
                f"There is no property {options['property']!r}. Its key stands in its settings."
            )
        payload = {
            "property": place.key,
            "name": options["name"],
            "event_id": str(uuid.uuid4()),
            "visitor": str(uuid.uuid4()),
            "url": options["page"] or f"https://{host_of(place)}/",
        }
        if options["props"] is not None:
            payload["props"] = options["props"]
        url = options["url"] if options["url"] is not None else settings.PUBLIC_URL
        answer = over_http(url, payload) if url else in_process(place, payload)
        if options["json"]:
            self.stdout.write(json.dumps(answer))
        elif answer["accepted"]:
            self.stdout.write(f"Accepted as {payload['event_id']}.")
        if answer["rejected"]:
            refusal = answer["rejected"][0]
            raise CommandError(f"Refused ({refusal['reason']}): {refusal['message']}")


def in_process(place: Property, payload: dict[str, Any]) -> dict[str, Any]:
    """What the collector's own code answers here."""
    try:
        origin = Origin(agent=AGENT, visitor_salt=visitor_salt(now_ms()))
        return collect(place, [payload], origin).as_json()
    except Unavailable as error:
        raise CommandError(f"The events Valkey is away or full ({error}). Try again.") from error


def over_http(url: str, payload: dict[str, Any]) -> dict[str, Any]:
    """What the collector at that address answers."""
    if urlsplit(url).scheme not in ("http", "https"):
        raise CommandError("--url must begin with http:// or https://.")
    request = urllib.request.Request(  # noqa: S310  # the scheme is http or https
        f"{url.rstrip('/')}/track",
        json.dumps(payload).encode(),
        {"Content-Type": "application/json", "User-Agent": AGENT},
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
            return json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            found = _read(error)
        if "rejected" in found:
            return found
        message = found.get("error", {}).get("message", error.reason)
        raise CommandError(f"{url} answers {error.code}: {message}") from error
    except OSError as error:
        raise CommandError(f"{url} does not answer ({error}). Is Aktivat running there?") from error


def _read(answer: Any) -> dict[str, Any]:
    try:
        found = json.loads(answer.read(100_000))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
