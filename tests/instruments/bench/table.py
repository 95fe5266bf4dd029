"""Rows of the bench and how they are printed.

In: what was measured. Out: lines of a Markdown table, as docs/performance.md keeps them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

PARTS = ("web", "valkey", "worker", "postgres")


@dataclass
class Row:
    """One measurement. `cpu`: microseconds of each part for one `unit`."""

    name: str
    per_second: float
    unit: str = "event"
    p50: float | None = None  # ms
    p99: float | None = None
    cpu: Mapping[str, float] = field(default_factory=dict)
    load: float | None = None  # microseconds of the generator for one unit
    ratio: float | None = None  # CPU of the web to that of the bare answer
    note: str = ""

    @property
    def total(self) -> float:
        return sum(self.cpu.get(part, 0) for part in PARTS)


HEADS = (
    "what", "a second", "p50 ms", "p99 ms",
    "web", "Valkey", "worker", "Postgres", "sum", "web / bare", "load", "remarks",
)  # fmt: skip


def cells(row: Row) -> list[str]:
    cpu = [number(row.cpu.get(part)) for part in PARTS]
    return [
        row.name,
        f"{row.per_second:,.0f}" if row.per_second >= 10 else f"{row.per_second:.2g}",
        number(row.p50),
        number(row.p99),
        *cpu,
        number(row.total) if row.cpu else "",
        f"{row.ratio:.2f}" if row.ratio is not None else "",
        number(row.load),
        row.note,
    ]


def number(value: float | None) -> str:
    """Three figures; nothing for what was not measured or takes no time."""
    if value is None or value < 0.05:
        return ""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value < 10 else f"{value:.0f}"


def lines(rows: Sequence[Row]) -> list[str]:
    """The table, its columns padded."""
    table = [list(HEADS), *map(cells, rows)]
    widths = [max(len(line[place]) for line in table) for place in range(len(HEADS))]
    padded = [
        [
            text.ljust(width) if place in (0, len(HEADS) - 1) else text.rjust(width)
            for place, (text, width) in enumerate(zip(line, widths, strict=True))
        ]
        for line in table
    ]
    rule = [
        "-" * width if place in (0, len(HEADS) - 1) else "-" * (width - 1) + ":"
        for place, width in enumerate(widths)
    ]
    return [f"| {' | '.join(line)} |".rstrip() for line in (padded[0], rule, *padded[1:])]
