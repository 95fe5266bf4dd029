"""A chart as SVG: what the page draws by script, for whoever wants a picture or has no script.

Enters: a Drawing, which is plain values and texts of anybody. Leaves: the text of an SVG file.
Pure. Called by reports/files.py, and by reports/pictures.py for what is no curve. Texts become text
nodes, colours and lines are attributes: no style and no script, so the file is harmless wherever it
is put.
"""

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any
from xml.etree.ElementTree import Element, SubElement, tostring

from django.http import HttpResponse

from properties.strangers_text import visible
from reports.formatting import NOTHING, Number, duration, percent
from reports.metrics import Unit

WIDTH, HEIGHT = 960, 440
LEFT, RIGHT, TOP, BOTTOM = 72, 24, 92, 76  # around the plot
LETTER = 7.0  # px that a letter of 14 px takes, about
TICK_WIDTH = 84
PARTS = 4  # of the value axis

# The tokens of frontend/static/css/tokens.css, which a picture cannot read (a test compares).
THEMES = {
    "light": {
        "surface": "#ffffff",
        "ink": "#16211f",
        "muted": "#53615e",
        "line": "#dbe2e0",
        "line-strong": "#7f8d8a",
        "accent": "#0b756b",
        "accent-soft": "#e0f1ee",
        "waiting": "#d68b00",
        "bad": "#b3261e",
        "graph-active": "#a4600a",
        "graph-engaged": "#7a3fb0",
    },
    "dark": {
        "surface": "#161d1c",
        "ink": "#e5ecea",
        "muted": "#9caaa7",
        "line": "#2a3533",
        "line-strong": "#71807d",
        "accent": "#4fc3b4",
        "accent-soft": "#15322e",
        "waiting": "#e2b64f",
        "bad": "#f49389",
        "graph-active": "#e2a24f",
        "graph-engaged": "#c39af0",
    },
}
# XML has no way to write these, not even escaped.
_NO_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True)
class Drawing:
    """One curve. `values` and `before` are None where there is nothing to know; `open_from`: the
    first period that is not complete; `flags`: (period, text) of notes; `others`: (name, colour of
    THEMES, values) of further lines."""

    title: str  # of the metric
    about: str  # the property
    lines: Sequence[str]  # range, zone, up to when it is complete
    unit: Unit
    ticks: Sequence[str]
    values: Sequence[Number]
    before: Sequence[Number] = ()
    before_name: str = ""
    open_from: int | None = None
    flags: Sequence[tuple[int, str]] = ()
    others: Sequence[tuple[str, str, Sequence[Number]]] = ()
    theme: str = "light"
    colours: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "colours", THEMES[self.theme])


def of_curve(
    curve: Mapping[str, Any],
    about: str,
    lines: Sequence[str],
    theme: str,
    before_name: str = "period before",
) -> Drawing:
    """The picture of what chart.js draws from the same values (curves.py `curve`)."""
    return Drawing(
        title=curve["label"],
        about=about,
        lines=lines,
        unit=curve["unit"],
        ticks=curve["ticks"],
        values=curve["values"],
        before=curve["before"],
        before_name=before_name,
        open_from=curve["openFrom"],
        flags=[(flag["at"], flag["text"]) for flag in curve.get("flags", ())],
        theme=theme,
    )


def response(root: Element, name: str = "") -> HttpResponse:
    """The picture, to be shown; or to be saved by that name."""
    answer = HttpResponse(as_text(root), content_type="image/svg+xml; charset=utf-8")
    answer["Cache-Control"] = "private, no-cache"
    if name:
        answer["Content-Disposition"] = f'attachment; filename="{name}"'
    return answer


def as_text(root: Element) -> str:
    """The file, ready to be sent or saved."""
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + tostring(root, encoding="unicode")


def as_svg(drawing: Drawing) -> str:
    """The file of a curve."""
    return as_text(drawn(drawing))


def drawn(drawing: Drawing) -> Element:
    """The picture of a curve."""
    words = _in_words(drawing)
    root = begun(drawing.title, drawing.about, words, drawing.lines, drawing.theme)
    legend_of(root, _legend(drawing), drawing.colours)
    plot = _Plot(drawing)
    _axes(root, drawing, plot)
    _curves(root, drawing, plot)
    _flags(root, drawing, plot)
    return root


def begun(
    title: str, about: str, words: str, lines: Sequence[str], theme: str, height: int = HEIGHT
) -> Element:
    """An empty picture: its title and what it is about on top, the lines below; `words` say what
    it shows to whoever does not see it."""
    root = Element(
        "svg",
        {
            "xmlns": "http://www.w3.org/2000/svg",
            "width": f"{WIDTH}",
            "height": f"{height}",
            "viewBox": f"0 0 {WIDTH} {height}",
            "role": "img",
            "aria-labelledby": "title desc",
            "font-family": "system-ui, -apple-system, Segoe UI, Roboto, Noto Sans, sans-serif",
            "font-size": "14",
        },
    )
    colours = THEMES[theme]
    named(root, "title", f"{title}: {about}").set("id", "title")
    named(root, "desc", words).set("id", "desc")
    SubElement(root, "rect", size_of(0, 0, WIDTH, height) | {"fill": colours["surface"]})
    head = text_at(root, 24, 34, fitting(title, 34), colours["ink"], size=20)
    head.set("font-weight", "600")
    text_at(root, WIDTH - RIGHT, 34, fitting(about, 50), colours["ink"], anchor="end")
    foot = fitting(" · ".join(filter(None, lines)), 130)
    text_at(root, 24, height - 20, foot, colours["muted"], size=12)
    return root


# -- the plot --------------------------------------------------------------------------------------


class _Plot:
    """Where a value stands on the picture."""

    def __init__(self, drawing: Drawing) -> None:
        known = [value for value in (*drawing.values, *drawing.before) if value is not None]
        self.top = ceiling(max(known, default=0), drawing.unit)
        self.last = max(1, len(drawing.values) - 1)

    def x(self, at: float) -> float:
        return round(LEFT + at / self.last * (WIDTH - LEFT - RIGHT), 1)

    def y(self, value: float) -> float:
        return round(HEIGHT - BOTTOM - value / self.top * (HEIGHT - TOP - BOTTOM), 1)


def ceiling(highest: float, unit: Unit) -> float:
    """The top of the axis: a round number whose quarters are round, too (as in chart.js)."""
    if unit == "rate":
        return 1 if highest > 0.5 else 0.5 if highest > 0.2 else 0.2
    if unit == "duration_ms":
        return _round_seconds(highest / 1000) * 1000 if highest else 60_000
    if highest <= 4:
        return 4
    size = 10 ** math.floor(math.log10(highest))
    steps = (round(each * size) for each in (1, 1.2, 1.6, 2, 2.4, 3.2, 4, 6, 8, 10))
    return max(4, next((step for step in steps if step >= highest and step % 4 == 0), 12))


def _round_seconds(seconds: float) -> float:
    sizes = (4, 8, 20, 40, 60, 120, 240, 480, 1200, 2400, 3600, 7200, 14400)
    return next((size for size in sizes if size >= seconds), math.ceil(seconds / 14400) * 14400)


def on_axis(value: float, unit: Unit) -> str:
    if unit == "rate":
        return percent(value)
    if unit == "duration_ms":
        return duration(value)
    for size, letter in ((1e6, "M"), (1e4, "")):
        if value >= size:
            return f"{value / size:g}{letter}" if letter else f"{value / 1000:g}k"
    return f"{value:,g}"


def _axes(root: Element, drawing: Drawing, plot: _Plot) -> None:
    colours = drawing.colours
    for part in range(PARTS + 1):
        value = plot.top * part / PARTS
        line(root, [(LEFT, plot.y(value)), (WIDTH - RIGHT, plot.y(value))], colours["line"])
        text = on_axis(value, drawing.unit)
        text_at(root, LEFT - 8, plot.y(value) + 4, text, colours["muted"], anchor="end", size=12)
    most = max(1, (WIDTH - LEFT - RIGHT) // TICK_WIDTH)
    step = max(1, math.ceil(len(drawing.ticks) / most))
    for at in range(0, len(drawing.ticks), step):
        place = plot.x(at), HEIGHT - BOTTOM + 20
        text_at(root, *place, drawing.ticks[at], colours["muted"], anchor="middle", size=12)


def _curves(root: Element, drawing: Drawing, plot: _Plot) -> None:
    colours, values = drawing.colours, drawing.values
    opened = len(values) if drawing.open_from is None else drawing.open_from
    closed = [value if at < opened else None for at, value in enumerate(values)]
    # The dashed line starts at the last complete point, so that the two meet.
    dashed = [value if at >= opened - 1 else None for at, value in enumerate(values)]
    for piece in _pieces(closed):
        if len(piece) > 1:
            feet = [(plot.x(piece[-1][0]), plot.y(0)), (plot.x(piece[0][0]), plot.y(0))]
            points = [(plot.x(at), plot.y(value)) for at, value in piece] + feet
            SubElement(root, "path", {"d": f"{path_of(points)}Z", "fill": colours["accent-soft"]})
    for series, colour, width, dash in (
        (drawing.before, colours["line-strong"], "1", ""),
        *((values, colours[colour], "1.5", "") for _, colour, values in drawing.others),
        (closed, colours["accent"], "2", ""),
        (dashed, colours["accent"], "2", "4 4"),
    ):
        for piece in _pieces(series):
            points = [(plot.x(at), plot.y(value)) for at, value in piece]
            if len(points) > 1:
                line(root, points, colour, width, dash)
            elif series is not dashed or piece[0][0] >= opened:
                # One point is no line.
                [(x, y)] = points
                SubElement(
                    root, "circle", {"cx": f"{x:g}", "cy": f"{y:g}", "r": "3", "fill": colour}
                )


def _pieces(values: Sequence[Number]) -> Iterator[list[tuple[int, float]]]:
    """Stretches without a gap, as (number of the period, value)."""
    for known, group in groupby(enumerate(values), lambda pair: pair[1] is not None):
        if known:
            yield [(at, value) for at, value in group if value is not None]


def _flags(root: Element, drawing: Drawing, plot: _Plot) -> None:
    """A thin line with a flag for each period with notes; the notes are its title."""
    colours = drawing.colours
    for at in sorted({at for at, _ in drawing.flags}):
        texts = [text for where, text in drawing.flags if where == at]
        group = SubElement(root, "g")
        named(group, "title", "; ".join(texts))
        x, top = plot.x(at), TOP - 10
        line(group, [(x, top), (x, HEIGHT - BOTTOM)], colours["muted"], "1", "2 3")
        points = [(x, top), (x + 9, top + 3.5), (x, top + 7)]
        SubElement(group, "path", {"d": f"{path_of(points)}Z", "fill": colours["waiting"]})


# -- words -----------------------------------------------------------------------------------------


def legend_of(
    root: Element, names: Iterable[tuple[str, str, str, str]], colours: Mapping[str, str]
) -> None:
    """(name, colour, width, dash) of what is drawn, below the title."""
    x, y = 24.0, 60
    for name, colour, width, dash in names:
        line(root, [(x, y - 5), (x + 24, y - 5)], colour, width, dash)
        text_at(root, x + 32, y, name, colours["muted"], size=12)
        x += 32 + len(name) * LETTER + 20


def _legend(drawing: Drawing) -> Iterator[tuple[str, str, str, str]]:
    """(name, colour, width, dash) of what is drawn."""
    colours = drawing.colours
    yield drawing.title, colours["accent"], "2", ""
    for name, colour, _ in drawing.others:
        yield name, colours[colour], "1.5", ""
    if drawing.open_from is not None:
        yield "not complete yet", colours["accent"], "2", "4 4"
    if any(value is not None for value in drawing.before):
        yield fitting(drawing.before_name or "period before", 40), colours["line-strong"], "1", ""
    if drawing.flags:
        yield "note", colours["waiting"], "3", ""


def _in_words(drawing: Drawing) -> str:
    known = [value for value in drawing.values if value is not None]
    parts = [" · ".join(filter(None, drawing.lines))]
    if not known:
        return f"{parts[0]}. No value in this range."
    lowest, highest = min(known), max(known)
    parts.append(
        f"{len(drawing.values)} periods from {drawing.ticks[0]} to {drawing.ticks[-1]}; lowest "
        f"{exactly(lowest, drawing.unit)}, highest {exactly(highest, drawing.unit)}"
    )
    missing = len(drawing.values) - len(known)
    if missing:
        parts.append(f"{missing} without a value ({NOTHING})")
    return ". ".join(parts) + "."


def exactly(value: float, unit: Unit) -> str:
    if unit == "rate":
        return f"{value * 100:.1f} %"
    return duration(value) if unit == "duration_ms" else f"{value:,g}"


def fitting(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


# -- elements --------------------------------------------------------------------------------------


def _clean(text: str) -> str:
    """What turns or hides the text around it is shown by its number; what XML cannot hold goes."""
    return visible(_NO_XML.sub("", text))


def named(parent: Element, tag: str, text: str) -> Element:
    element = SubElement(parent, tag)
    element.text = _clean(text)
    return element


def text_at(
    parent: Element,
    x: float,
    y: float,
    text: str,
    colour: str,
    *,
    anchor: str = "start",
    size: int = 14,
) -> Element:
    element = named(parent, "text", text)
    place = {"x": f"{x:g}", "y": f"{y:g}", "fill": colour, "font-size": f"{size}"}
    # A name of another script must not turn the rest of the line round.
    for name, value in (place | {"text-anchor": anchor, "unicode-bidi": "isolate"}).items():
        element.set(name, value)
    return element


def line(
    parent: Element,
    points: list[tuple[float, float]],
    colour: str,
    width: str = "1",
    dash: str = "",
) -> None:
    drawn = {"d": path_of(points), "fill": "none", "stroke": colour, "stroke-width": width}
    if dash:
        drawn["stroke-dasharray"] = dash
    SubElement(parent, "path", drawn | {"stroke-linejoin": "round"})


def path_of(points: list[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:g} {y:g}" for x, y in points)


def size_of(x: int, y: int, width: int, height: int) -> dict[str, str]:
    return {"x": f"{x}", "y": f"{y}", "width": f"{width}", "height": f"{height}"}
