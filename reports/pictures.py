"""Charts that are no curve, as SVG: the map, how numbers are spread, and web vitals.

Enters: what the block of a page shows (WorldMap, Properties, vitals) and where it comes from.
Leaves: the element that reports/drawing.py writes. Pure, and harmless as drawing.py says. Named by
the blocks of reports/catalogue.py, called by reports/files.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element, SubElement

from reports import worldmap
from reports.drawing import (
    BOTTOM,
    HEIGHT,
    LEFT,
    PARTS,
    RIGHT,
    THEMES,
    TOP,
    WIDTH,
    begun,
    ceiling,
    fitting,
    legend_of,
    line,
    named,
    on_axis,
    size_of,
    text_at,
)
from reports.event_properties import Properties
from reports.speed import LIMITS, Vital
from reports.worldmap import WorldMap

SHADES = {1: "0.28", 2: "0.42", 3: "0.58", 4: "0.78", 5: "1"}  # of the accent, as in report.css
NOTHING = "Nothing in this range"


@dataclass(frozen=True)
class Source:
    """Where a picture comes from: the property, and lines on range, filters and zone."""

    about: str
    lines: Sequence[str]
    theme: str


def of_map(shown: WorldMap, source: Source) -> Element:
    colours = THEMES[source.theme]
    _, _, width, height = (float(part) for part in shown.box.split())
    high = round(height * WIDTH / width)
    words = ". ".join(shape.text for shape in shown.shapes) or NOTHING
    if shown.elsewhere:
        words += f". Not on the map: {shown.elsewhere}"
    root = begun("Visitors by country", source.about, words, source.lines, source.theme, high + 130)
    x = 24.0
    for each in shown.legend:
        swatch = size_of(int(x), 50, 10, 10) | _filled(colours, each.shade)
        SubElement(root, "rect", swatch)
        text_at(root, x + 16, 60, each.text, colours["muted"], size=12)
        x += 16 + 7 * len(each.text) + 20
    scale = f"translate(0 74) scale({WIDTH / width:g})"
    world = SubElement(root, "g", {"transform": scale, "stroke": colours["surface"]})
    world.set("stroke-width", "0.5")
    shades = {shape.code: shape for shape in shown.shapes}
    for code, path in worldmap.paths_of_file().items():
        shape = shades.get(code)
        fill = _filled(colours, shape.shade) if shape else {"fill": colours["line"]}
        drawn = SubElement(world, "path", {"d": path} | fill)
        if shape:
            named(drawn, "title", shape.text)
    if shown.elsewhere:
        text = fitting(f"Not on the map: {shown.elsewhere}", 130)
        text_at(root, 24, high + 92, text, colours["muted"], size=12)
    return root


def _filled(colours: dict[str, str], shade: int) -> dict[str, str]:
    return {"fill": colours["accent"], "fill-opacity": SHADES[shade]}


def of_histogram(shown: Properties, source: Source) -> Element:
    """The bars of the chosen property; a picture that says so where there are none."""
    drawing, colours = shown.drawing, THEMES[source.theme]
    title = f"{shown.event}: {shown.chosen}" if shown.chosen else "Properties of events"
    if drawing is None:
        return begun(title, source.about, NOTHING, [NOTHING, *source.lines], source.theme)
    words = "; ".join(bar.title for bar in drawing.bars)
    line_of = " · ".join(f"{label} {value}" for label, value, _ in drawing.line)
    root = begun(title, source.about, f"{line_of}. {words}.", source.lines, source.theme)
    legend = [("Events", colours["accent"], "8", "")]
    if drawing.compares:
        legend.append(("period before", colours["muted"], "1", ""))
    legend_of(root, legend, colours)
    text_at(root, WIDTH - RIGHT, 60, line_of, colours["muted"], anchor="end", size=12)
    top, floor, high = ceiling(drawing.highest, "count"), HEIGHT - BOTTOM, HEIGHT - TOP - BOTTOM
    for part in range(PARTS + 1):
        y = floor - high * part / PARTS
        line(root, [(LEFT, y), (WIDTH - RIGHT, y)], colours["line"])
        text = on_axis(top * part / PARTS, "count")
        text_at(root, LEFT - 8, y + 4, text, colours["muted"], anchor="end", size=12)
    wide = (WIDTH - LEFT - RIGHT) / len(drawing.bars)
    scale = high * drawing.highest / top / 100
    for place, bar in enumerate(drawing.bars):
        group = SubElement(root, "g")
        named(group, "title", bar.title)
        x = LEFT + place * wide
        _bar(group, x, wide, floor, float(bar.height) * scale).set("fill", colours["accent"])
        if drawing.compares:
            before = _bar(group, x, wide, floor, float(bar.before_height) * scale)
            before.set("fill", "none")
            before.set("stroke", colours["muted"])
    last = len(drawing.ticks) - 1
    for place, tick in enumerate(drawing.ticks):
        at = LEFT + (WIDTH - LEFT - RIGHT) * place / max(last, 1)
        anchor = "start" if place == 0 else "end" if place == last else "middle"
        text_at(root, at, floor + 20, tick, colours["muted"], anchor=anchor, size=12)
    return root


def _bar(group: Element, x: float, wide: float, floor: float, high: float) -> Element:
    gap = min(2.0, wide / 10)
    place = {"x": x + gap / 2, "y": floor - high, "width": wide - gap, "height": high}
    return SubElement(group, "rect", {name: f"{value:.1f}" for name, value in place.items()})


def of_vitals(shown: list[Vital], source: Source) -> Element:
    """Each vital on a line from nothing to half as much again as is poor, with its limits."""
    colours = THEMES[source.theme]
    words = "; ".join(
        f"{each.label} {each.text}{f' ({each.rating})' if each.rating else ''}" for each in shown
    )
    root = begun("Web vitals, p75", source.about, words, source.lines, source.theme)
    left, right = 290, WIDTH - 210
    for place, each in enumerate(shown):
        y = 92 + place * 62
        good, poor = LIMITS[each.name]
        most = 1.5 * poor
        text_at(root, 24, y + 4, each.label, colours["ink"])
        text_at(root, 24, y + 22, each.limits, colours["muted"], size=12)
        edges = [left + (right - left) * part / most for part in (0, good, poor, most)]
        for start, end, opacity in zip(edges, edges[1:], ("0.55", "0.3", "0.12"), strict=False):
            zone = size_of(round(start), y - 5, round(end) - round(start), 10)
            SubElement(root, "rect", zone | {"fill": colours["muted"], "fill-opacity": opacity})
        if each.value is not None:
            at = left + (right - left) * min(each.value, most) / most
            line(root, [(at, y - 12), (at, y + 12)], colours["accent"], "4")
        told = f"{each.text}  {each.rating}" if each.rating else each.text
        text_at(root, right + 24, y + 5, told, colours["ink"])
    return root
