"""What a batch changes beside the events: numbers of the ledger, and hours to roll up again.

Enters: counts and marks, as the steps of a batch (or of an erasure) find them. Leaves: rows of
`ledger` and `dirty_hours`, written at the end of the transaction, once and in the order of their
keys: so no two transactions wait for each other in a circle. Called by drain.py, batch.py and
privacy/.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from properties.models import Property
from tracking.models import DirtyHour
from tracking.working import Mark, write_marks

Column = Literal["stored", "quarantined", "late_duplicate", "erased", "expired"]
_COLUMNS: tuple[Column, ...] = ("stored", "quarantined", "late_duplicate", "erased", "expired")

ADD_TO_LEDGER = """
INSERT INTO ledger (account_id, property_id, hour, accepted, duplicate, pings, bots, refused,
    stored, quarantined, late_duplicate, erased, expired)
SELECT account_id, property_id, hour, 0, 0, 0, 0, '{}', stored, quarantined, late_duplicate,
    erased, expired
FROM unnest(%s::bigint[], %s::bigint[], %s::timestamptz[], %s::bigint[], %s::bigint[],
    %s::bigint[], %s::bigint[], %s::bigint[])
    AS added(account_id, property_id, hour, stored, quarantined, late_duplicate, erased, expired)
ORDER BY property_id, hour
ON CONFLICT (property_id, hour) DO UPDATE SET
    stored = ledger.stored + excluded.stored,
    quarantined = ledger.quarantined + excluded.quarantined,
    late_duplicate = ledger.late_duplicate + excluded.late_duplicate,
    erased = ledger.erased + excluded.erased,
    expired = ledger.expired + excluded.expired
"""


@dataclass
class Books:
    """Additions to the ledger by UTC hour of receipt, and marks with their oldest moment."""

    added: dict[tuple[int, int, datetime], Counter[Column]] = field(default_factory=dict)
    marks: dict[Mark, datetime] = field(default_factory=dict)

    def add(self, place: Property, column: Column, hour: datetime, count: int = 1) -> None:
        line = (place.account_id, place.pk, hour)
        self.added.setdefault(line, Counter())[column] += count

    def mark(
        self, place: Property, hours: Iterable[int], why: DirtyHour.Why, since: datetime
    ) -> None:
        """Hours (starts in epoch seconds) whose rollup lacks what came since that moment."""
        for hour in hours:
            mark = Mark(place.account_id, place.pk, hour, why.value)
            self.marks[mark] = min(since, self.marks.get(mark, since))

    def __iadd__(self, other: "Books") -> "Books":
        for line, counts in other.added.items():
            self.added.setdefault(line, Counter()).update(counts)
        for mark, since in other.marks.items():
            self.marks[mark] = min(since, self.marks.get(mark, since))
        return self

    def write(self, cursor: Any) -> None:
        if self.added:
            accounts, properties, hours = zip(*self.added, strict=True)
            numbers = [[counts[name] for counts in self.added.values()] for name in _COLUMNS]
            cursor.execute(ADD_TO_LEDGER, [list(accounts), list(properties), list(hours), *numbers])
        write_marks(cursor, self.marks)


def hour_of_receipt(moment: datetime) -> datetime:
    """The ledger's hour (UTC) of a moment in UTC."""
    return moment.replace(minute=0, second=0, microsecond=0)
