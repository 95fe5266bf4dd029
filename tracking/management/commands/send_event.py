"""`manage.py send_event PROPERTY [NAME]`: events through the collector, and what it says."""

import json
import urllib.error
import urllib.request
import uuid
from argparse import ArgumentParser
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from properties.models import Property
from tracking.collecting import Origin, collect, now_ms
from tracking.importing import host_of
from tracking.store import Unavailable, visitor_salt

MOST = 1_000  # a batch
AGENT = "aktivat-send-event/1"


class Command(BaseCommand):
    help = (
        "Send events and print what became of each: verdict, reason, field and what to do. Over"
        " HTTP to --url or PUBLIC_URL, else from here. Exits with 1 if one is refused."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("property", metavar="PROPERTY", help="its key, AK-...")
        parser.add_argument("name", metavar="NAME", nargs="?", default="pageview")
        parser.add_argument("--url", help="where Aktivat runs, like http://127.0.0.1:8000")
        parser.add_argument("--page", help="the page's address; the property's first host's /")
        parser.add_argument("--referrer", help="the address that the visitor came from")
        parser.add_argument("--visitor", help="an id of yours; a new visitor")
        parser.add_argument("--user", help="your id of the signed-in user")
        parser.add_argument("--event-id", help="an id of yours: what comes twice is a duplicate")
        parser.add_argument("--time", help="ISO 8601 with an offset, or ms since 1970; now")
        parser.add_argument("--consent", help="the visitor's answer: granted or cookieless")
        parser.add_argument("--props", type=json.loads, help="a JSON object")
        parser.add_argument("--revenue", type=revenue, help="12.50, or '12.50 EUR'")
        parser.add_argument("-n", "--number", type=int, default=1, help="so many events; 1")
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        place = Property.objects.across_accounts().filter(key=options["property"]).first()
        if place is None:
            raise CommandError(
                f"There is no property {options['property']!r}. Its key stands in its settings."
            )
        if not 1 <= options["number"] <= MOST:
            raise CommandError(f"-n must be between 1 and {MOST:,}.")
        url = options["url"] if options["url"] is not None else settings.PUBLIC_URL
        events = events_of(place, options)
        answer = over_http(url, place, events) if url else in_process(place, events)
        if options["json"]:
            self.stdout.write(json.dumps(answer))
        else:
            self.stdout.write("\n".join(lines(answer)))
        if answer["rejected"]:
            raise CommandError(say(answer["rejected"][0], len(events)))


def revenue(text: str) -> dict[str, str]:
    """`12.50` or `12.50 EUR` as the collector takes it, which judges it."""
    amount, _, currency = text.strip().partition(" ")
    return {"amount": amount, "currency": currency} if currency else {"amount": amount}


def events_of(place: Property, options: dict[str, Any]) -> list[dict[str, Any]]:
    """The events to send; each has an id of its own unless one is given."""
    same = {name: options[name] for name in ("referrer", "user", "time", "consent", "props")}
    if same["time"] and same["time"].isdecimal():
        same["time"] = int(same["time"])
    event = {
        "property": place.key,
        "name": options["name"],
        "visitor": options["visitor"] or str(uuid.uuid4()),
        "url": options["page"] or f"https://{host_of(place)}/",
        "revenue": options["revenue"],
        **same,
    }
    event = {name: value for name, value in event.items() if value is not None}
    given = options["event_id"]
    return [event | {"event_id": given or str(uuid.uuid4())} for _ in range(options["number"])]


def lines(answer: dict[str, Any]) -> Iterator[str]:
    """What became of the events, for people."""
    for verdict in ("accepted", "duplicate"):
        if answer[verdict]:
            yield f"{answer[verdict]} {verdict}"
    for refusal in answer["rejected"]:
        yield say(refusal)


def say(refusal: dict[str, Any], of: int = 1) -> str:
    which = f"Event {refusal['index'] + 1} of {of} refused" if of > 1 else "Refused"
    field = f", field {refusal['field']}" if refusal.get("field") else ""
    return f"{which} ({refusal['reason']}{field}): {refusal['message']}"


def in_process(place: Property, events: list[dict[str, Any]]) -> dict[str, Any]:
    """What the collector's own code answers here."""
    try:
        origin = Origin(agent=AGENT, visitor_salt=visitor_salt(now_ms()))
        return collect(place, events, origin).as_json()
    except Unavailable as error:
        raise CommandError(f"The events Valkey is away or full ({error}). Try again.") from error


def over_http(url: str, place: Property, events: list[dict[str, Any]]) -> dict[str, Any]:
    """What the collector at that address answers."""
    if urlsplit(url).scheme not in ("http", "https"):
        raise CommandError("--url must begin with http:// or https://.")
    body = events[0] if len(events) == 1 else {"property": place.key, "events": events}
    request = urllib.request.Request(  # noqa: S310  # the scheme is http or https
        f"{url.rstrip('/')}/track",
        json.dumps(body).encode(),
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
