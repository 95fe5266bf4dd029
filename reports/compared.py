"""With what the totals and rows of a page are compared, and how that is said.

Enters: a Page. Leaves: the other range, as far as it can be compared, and words for it; a number
beside its other one as a Change. Called by what makes tiles (curves.py) and tables (tables.py,
files.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from properties.models import Property
from properties.periods import Range, floor
from reports.formatting import NOTHING, Change, Number, change, clock, exact
from reports.metrics import Unit
from reports.parts import Page

BEFORE = {"previous": "the period before", "year": "the year before"}  # with what it compares


@dataclass(frozen=True)
class Other:
    """`range`: what to compare with, or None; `words`: "in the period before", or why not, or
    nothing where nothing is compared."""

    range: Range | None
    words: str = ""

    @property
    def what(self) -> str:
        """ "the period before", or why there is nothing to compare with."""
        return self.words.removeprefix("in ")

    def told(self, before: Number, unit: Unit) -> str:
        """What stands behind a number that is told in full."""
        return f", {exact(before, unit)} {self.words}" if self.range else f"; {self.words}"


def is_measured(place: Property, start: datetime, tz: ZoneInfo) -> bool:
    """Whether counting had begun by that day: before it the numbers are unknown, not 0."""
    first = place.first_event_at
    return first is not None and floor("day", first, tz) <= start


def other_range(page: Page) -> Other:
    """Half a day against a whole one would always look like a loss: as long as the range is not
    over, the same hours of the other one."""
    compared, shown, now = page.address.compared, page.address.range.span, page.now
    if compared is None:
        return Other(None)
    then = BEFORE[page.address.compare]
    if not is_measured(page.place, compared.span.start, compared.tz):
        return Other(None, f"nothing was counted yet in part of {then}")
    if now >= shown.end or now < shown.start:
        return Other(compared, f"in {then}")
    cut = page.address.range.as_far(compared, now)
    if cut.span.start == cut.span.end:  # the clock jumped over them: 0 would be no answer
        return Other(None, f"there were no such hours in {then}")
    return Other(cut, f"in {then}, until {clock(cut.span.end, cut, now)}")


def of_tables(page: Page) -> Other | None:
    """With what every row is compared; None unless the reader asked for that."""
    return other_range(page) if page.address.changes and page.address.compared else None


def beside(now: Number, before: Number, unit: Unit, more_is_better: bool) -> Change | None:
    """The change that stands beside a number of a table, where each has its place: a dash for what
    is unknown, and a word for what no percentage leads away from."""
    if now is None:
        return None
    if before is None:
        return Change(NOTHING, "same", "even")
    found = change(now, before, unit, more_is_better)
    if found is None:
        return Change("was 0" if now else "0 %", "same", "even")
    return found
