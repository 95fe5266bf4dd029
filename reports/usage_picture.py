"""The days of a month of usage as a picture.

Enters: a request behind THE DOOR of the usage page, with its month. Leaves: the SVG of the bars
that the page shows, of the same numbers.
"""

from datetime import date, datetime
from http import HTTPStatus
from xml.etree.ElementTree import Element, SubElement

from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.http import require_safe

from accounts.models import Account
from properties.access import door
from reports import drawing, usage
from reports.drawing import BOTTOM, HEIGHT, LEFT, PARTS, RIGHT, THEMES, TOP, WIDTH
from reports.views import _safe_name
from tracking.usage import Use, of_month


@require_safe
@door("usage")
def usage_svg(request: HttpRequest, place: Account) -> HttpResponse:
    """`?theme=dark`, and `?download=1` to save it."""
    theme = request.GET.get("theme", "light")
    if theme not in THEMES:
        kind = "text/plain; charset=utf-8"
        text = "A theme is light or dark."
        return HttpResponse(text, status=HTTPStatus.BAD_REQUEST, content_type=kind)
    now = timezone.now()
    month = usage.read_month(request.GET.get("month", ""), now)
    picture = drawn(of_month(place, month, now), month, now, place.name, theme)
    name = _safe_name(f"usage-{place.slug}-{month:%Y-%m}.svg")
    return drawing.response(picture, name if "download" in request.GET else "")


def drawn(use: Use, month: date, now: datetime, about: str, theme: str) -> Element:
    """Accepted events of each day, and on top of them what was refused."""
    colours = THEMES[theme]
    bars = list(usage.chart(use, month, now))
    until = use.complete_until
    lines = [
        f"{month:%B %Y}",
        "days of receipt in UTC, bots included, pings not",
        f"complete until {until:%-d %b %H:%M}" if until else "what came just now is missing",
    ]
    known = [(bar, bar.tally) for bar in bars if bar.tally is not None]
    words = "; ".join(told for bar, _ in known if (told := bar.words))
    root = drawing.begun("Events by day", about, words or "Nothing came", lines, theme)
    legend = [("accepted", colours["accent"], "8", ""), ("refused", colours["bad"], "8", "")]
    drawing.legend_of(root, legend, colours)
    highest = max((tally.accepted + tally.refusals for _, tally in known), default=0)
    top, floor, high = drawing.ceiling(highest, "count"), HEIGHT - BOTTOM, HEIGHT - TOP - BOTTOM
    for part in range(PARTS + 1):
        y = floor - high * part / PARTS
        drawing.line(root, [(LEFT, y), (WIDTH - RIGHT, y)], colours["line"])
        text = drawing.on_axis(top * part / PARTS, "count")
        drawing.text_at(root, LEFT - 8, y + 4, text, colours["muted"], anchor="end", size=12)
    wide = (WIDTH - LEFT - RIGHT) / len(bars)
    for place, bar in enumerate(bars):
        x = LEFT + place * wide
        if place % 3 == 0:
            tick = f"{bar.day:%-d %b}"
            at = x + wide / 2, floor + 20
            drawing.text_at(root, *at, tick, colours["muted"], anchor="middle", size=12)
        if bar.tally is None:
            continue
        group = SubElement(root, "g")
        drawing.named(group, "title", bar.words)
        y = float(floor)
        for number, colour in ((bar.tally.accepted, "accent"), (bar.tally.refusals, "bad")):
            tall = high * number / top
            y -= tall
            place_of = {"x": x + 3, "y": y, "width": wide - 6, "height": tall}
            rect = {name: f"{value:.2f}" for name, value in place_of.items()}
            SubElement(group, "rect", rect | {"fill": colours[colour]})
    return root
