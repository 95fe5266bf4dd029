"""What was refused, and what became of everything that was received: from the ledger.

Enters: a Page. Leaves: the block of the report on bots and refusals: reasons with what to do about
each, and the periods of the range. By hour of receipt, never mixed with what reports count, and
without filters: of what is refused only reason and hour are known.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass, field

from properties.periods import spans
from reports.formatting import percent, period_name
from reports.parts import Page
from reports.usage import advice_on
from tracking.models import Ledger

MOST_PERIODS = 400


@dataclass(frozen=True)
class Cause:
    code: str
    number: int
    share: str
    advice: str


@dataclass
class Period:
    name: str
    accepted: int = 0
    bots: int = 0
    duplicate: int = 0
    refused: Counter[str] = field(default_factory=Counter)

    @property
    def refusals(self) -> int:
        return self.refused.total()

    @property
    def reasons(self) -> str:
        return ", ".join(f"{code} {number:,}" for code, number in self.refused.most_common())

    @property
    def is_empty(self) -> bool:
        return not (self.accepted or self.duplicate or self.refused)


@dataclass(frozen=True)
class Refused:
    total: int
    reasons: list[Cause]
    periods: list[Period]  # newest first, those in which something came
    interval: str


def refused(page: Page) -> Refused:
    """One question, of a row for each hour."""
    periods = _periods(page)
    total: Counter[str] = Counter()
    for period in periods:
        total.update(period.refused)
    every = total.total()
    return Refused(
        total=every,
        reasons=[
            Cause(code, number, percent(number / every), advice_on(code))
            for code, number in total.most_common()
        ],
        periods=[period for period in reversed(periods) if not period.is_empty][:MOST_PERIODS],
        interval=page.address.interval,
    )


def _periods(page: Page) -> list[Period]:
    """Every period of the curve; an hour belongs to the one in which it begins."""
    shown, kind = page.address.range, page.address.interval
    kind = "hour" if kind == "minute" else kind  # the ledger knows no shorter time
    starts = [span.start for span in spans(kind, shown.span, shown.tz)]
    periods = [Period(period_name(kind, start, shown)) for start in starts]
    hours = Ledger.objects.filter(
        property_id=page.place.pk, hour__gte=shown.span.start, hour__lt=shown.span.end
    )
    for hour in hours:
        period = periods[max(0, bisect_right(starts, hour.hour) - 1)]
        period.accepted += hour.accepted - hour.late_duplicate
        period.bots += hour.bots
        period.duplicate += hour.duplicate + hour.late_duplicate
        period.refused.update({code: int(number) for code, number in hour.refused.items()})
    return periods
