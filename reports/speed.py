"""How fast pages are, against the limits that browsers' makers publish for web vitals.

Enters: a Page. Leaves: the block of the report on speed: of each vital what three of four loads
reach, and whether that is good, needs work or is poor, in words.
"""

from __future__ import annotations

from dataclasses import dataclass

from reports.formatting import Number, exact, short
from reports.metrics import METRICS, Unit
from reports.parts import Page

# Up to the first it is good, beyond the second it is poor; judged by the 75th percentile.
LIMITS: dict[str, tuple[float, float]] = {
    "lcp": (2_500, 4_000),
    "inp": (200, 500),
    "cls": (0.1, 0.25),
    "fcp": (1_800, 3_000),
    "ttfb": (800, 1_800),
}
LABELS = {
    "lcp": "Largest contentful paint",
    "inp": "Interaction to next paint",
    "cls": "Layout shift",
    "fcp": "First contentful paint",
    "ttfb": "Time to first byte",
}
NAMES = tuple(f"{name}_p75" for name in LIMITS)


@dataclass(frozen=True)
class Vital:
    name: str
    label: str
    text: str
    title: str
    rating: str  # "good", "needs work", "poor"; "" where nothing was measured
    limits: str
    definition: str
    value: Number


def vitals(page: Page) -> list[Vital]:
    """One question. Every one of them, measured or not."""
    totals = page.ask(page.question(NAMES, page.report)).totals
    return [_vital(name, totals[f"{name}_p75"]) for name in LIMITS]


def _vital(name: str, value: Number) -> Vital:
    metric = METRICS[f"{name}_p75"]
    unit = metric.unit
    return Vital(
        name,
        LABELS[name],
        short(value, unit),
        exact(value, unit),
        rating(name, value),
        _limits(name),
        metric.definition,
        value,
    )


def rating(name: str, value: Number) -> str:
    if value is None:
        return ""
    good, poor = LIMITS[name]
    if value <= good:
        return "good"
    return "poor" if value > poor else "needs work"


def limits_in_words() -> str:
    return "; ".join(f"{LABELS[name]} {_limits(name)}" for name in LIMITS)


def _limits(name: str) -> str:
    (good, poor), unit = LIMITS[name], METRICS[f"{name}_p75"].unit
    return f"good up to {_limit(good, unit)}, poor over {_limit(poor, unit)}"


def _limit(value: float, unit: Unit) -> str:
    if unit == "score":
        return f"{value:g}"
    return f"{value / 1000:g} s" if value >= 1000 else f"{value:g} ms"
