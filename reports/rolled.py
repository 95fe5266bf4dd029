"""The route over rollups and bitmaps: answers the usual questions in milliseconds.

Enters: a Question and a range that `can_answer` has approved: whole hours, bots left out, split
by time and at most one rolled dimension (or narrowed to some of its values); of visitors also
what asks of them as a whole, such as segments (crowds.py). Leaves: the same base numbers as
reports/raw.py. Day rows serve whole days, hour rows the rest; people are united from bitmaps, and
only from those that the answer shows.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import groupby
from operator import itemgetter
from sys import intern

from django.db import connection
from psycopg import sql
from pyroaring import BitMap

from properties import periods
from properties.models import Property
from properties.periods import Range
from reports import crowds, filters, metrics
from reports.blocks import binary_cursor, row_by_row
from reports.crowds import Stretch, union
from reports.kept import Kept
from reports.models import Grain
from reports.questions import EVERY, Base, Counted, Key, Question, best
from reports.sheets import side_by_side

STEP = 200  # values whose people are read at once, at least
MORE = 10  # values that are read of a day, beyond twice as many as are shown
MOST_RANKED = 500  # rows shown, beyond which nearly all values would be hopeful
AT_ONCE = 10_000  # rows of numbers that are taken from Postgres in one piece
BITMAPS_AT_ONCE = 500  # of 8 kB for every 65,536 visitors, where they are many

Numbers = dict[Key, dict[str, int]]
Slot = tuple[int, str]  # period (from 1), value
Slots = dict[Slot, dict[str, int]]
People = dict[Slot, BitMap]


def can_answer(question: Question, within: Range) -> bool:
    """Whether rollups and bitmaps hold what is asked."""
    if question.bots != "exclude" or question.interval == "minute":
        return False
    named = _named(question)
    if named is None or not _is_whole_hours(within):
        return False
    held = {measure.name for measure in metrics.rolled_measures(named.dimension)}
    return held | {metrics.VISITORS} >= set(question.needs)


def count(place: Property, question: Question, within: Range, kept: Kept) -> Counted | None:
    """Base numbers over the range; None when a filtered value may hide in "(other)"."""
    reader = _reader(place, question, within)
    if reader is None:
        return None
    known = kept.totals[within, question.tree]
    if not question.dimensions:
        return Counted({}, reader.totals(known))
    if question.is_series:
        counted = reader.series()
        known |= counted.total
        return counted
    whole = replace(question, dimensions=())
    everything = reader.named if reader.named.values else _Named("")
    every = _Reader(place, whole, within, everything)
    every.among = reader.among
    groups = reader.groups()
    return Counted(groups, every.totals(known), is_exact=not reader.has_other)


def each(
    place: Property, question: Question, within: Range, *, exactly: bool = False
) -> Iterator[tuple[Key, Base]] | None:
    """The groups of `count` by one dimension, one at a time; None where it is, and where something
    stands together as "(other)" and the answer has to be `exactly`."""
    reader = _reader(place, question, within)
    if reader is None:
        return None
    if exactly and crowds.hides_values(place, reader.named.dimension, reader.stretches):
        return None
    return reader.each()


def _reader(place: Property, question: Question, within: Range) -> _Reader | None:
    """None when a filtered value may hide in "(other)"."""
    named = _named(question)
    assert named is not None
    reader = _Reader(place, question, within, named)
    if named.values and crowds.hides_values(place, named.dimension, reader.stretches):
        return None
    try:
        reader.choose()
    except crowds.Hidden:
        return None
    return reader


@dataclass(frozen=True)
class _Named:
    """The rolled dimension of a question ("" for none), the values that it is narrowed to, and
    what is asked of the visitors."""

    dimension: str
    values: tuple[str, ...] = ()
    among: filters.Node | None = None


def _named(question: Question) -> _Named | None:
    """The one dimension that it splits by or filters by; None if there is more to it."""
    split = [name for name in question.dimensions if not name.startswith(metrics.TIME)]
    if question.filters is None:
        return _split_by(split)
    tree = filters.parse(question.filters)
    if set(question.needs) == {metrics.VISITORS}:
        if not split and question.interval is None and crowds.can_tell(tree):
            return _Named("", among=tree)
        plain, among = _apart(tree)
        if among is not None and crowds.can_tell(among):
            named = _split_by(split) if plain is None else _narrowed(plain, split)
            return named and replace(named, among=among)
    return _narrowed(tree, split)


def _split_by(split: list[str]) -> _Named | None:
    name = split[0] if split else ""
    is_rolled = not name or (name in metrics.DIMENSIONS and metrics.DIMENSIONS[name].rolled)
    return _Named(name) if len(split) <= 1 and is_rolled else None


def _narrowed(leaf: filters.Node, split: list[str]) -> _Named | None:
    if not isinstance(leaf, filters.Leaf) or leaf.operator != "is":
        return None
    if split not in ([], [leaf.dimension]):
        return None
    found = metrics.find_dimension(leaf.dimension)
    if found is None or not found.rolled or ("" in leaf.values and not found.blank):
        return None
    return _Named(leaf.dimension, leaf.values)


def _apart(tree: filters.Node) -> tuple[filters.Node | None, filters.Node | None]:
    """The plain filter, and what is asked of the visitors, of two that must both hold; None for
    what there is not. Nothing is taken apart that has more plain filters than one."""
    if crowds.is_of_visitor(tree):
        return None, tree
    if not isinstance(tree, filters.Branch) or tree.joint != "and":
        return tree, None
    plain = [part for part in tree.parts if not crowds.is_of_visitor(part)]
    others = tuple(part for part in tree.parts if part not in plain)
    if len(plain) > 1 or not others:
        return tree, None
    return plain[0], filters.Branch("and", others)


def _is_whole_hours(within: Range) -> bool:
    edges = (within.span.start, within.span.end)
    return all(periods.floor("hour", edge, within.tz) == edge for edge in edges)


def cover(within: Range, by_hour: bool) -> list[Stretch]:
    """The range as stretches of day rows, with hour rows where a day is not whole."""
    start, end = within.span.start, within.span.end
    first = periods.floor("day", start, within.tz)
    if first < start:
        first = periods.next_start("day", start, within.tz)
    last = periods.floor("day", end, within.tz)
    if by_hour or first >= last:
        return [(Grain.HOUR.value, start, end)]
    stretches = [
        (Grain.HOUR.value, start, first),
        (Grain.DAY.value, first, last),
        (Grain.HOUR.value, last, end),
    ]
    return [stretch for stretch in stretches if stretch[1] < stretch[2]]


class _Reader:
    """Reads the rows of one dimension in one range."""

    def __init__(self, place: Property, question: Question, within: Range, named: _Named) -> None:
        self.place = place
        self.within = within
        self.question = question
        self.named = named
        self.stretches = cover(within, question.interval == "hour")
        # One period for the whole range where it is not split by time.
        spans = question.periods(within) or [within.span]
        self.starts = [span.start for span in spans]
        self.places = question.places(within)
        self.measures = [name for name in question.needs if name != metrics.VISITORS]
        self.asks_visitors = metrics.VISITORS in question.needs
        self.among: BitMap | None = None  # who is counted; None: everybody
        self.has_other = False  # whether a number read stands for values without a row

    def choose(self) -> None:
        """Count only whom the filter means. Raises crowds.Hidden."""
        if self.named.among is not None:
            stretches = cover(self.within, by_hour=False)
            self.among = crowds.Crowd(self.place, stretches).who(self.named.among)

    def totals(self, known: dict[str, int | None]) -> dict[str, int | None]:
        """Base numbers of the range as a whole; those that are known are not read again, and those
        that are read are known from then on."""
        wanted = self.question.needs
        self.measures = [name for name in self.measures if name not in known]
        self.asks_visitors = self.asks_visitors and metrics.VISITORS not in known
        found = self._united(self._numbers(self.measures), self._people())
        known |= {name: found.get(name, 0) for name in wanted if name not in known}
        return {name: known[name] for name in wanted}

    def series(self) -> Counted:
        """Base numbers by period, and of all periods together, from one reading."""
        numbers, people = self._numbers(self.measures), self._people()
        return Counted(self._by_key(numbers, people, is_series=True), self._united(numbers, people))

    def groups(self) -> Numbers:
        """Base numbers by value (and period); values that the answer cannot show may lack."""
        if not self.asks_visitors:
            return self._by_key(self._numbers(self.measures), {})
        if len(self.question.dimensions) == 1:
            name, way = self.question.order[0]
            if name == metrics.VISITORS and way == "desc":
                return self._most_visited()
            if name in metrics.METRICS and way == "desc":
                return self._ranked_first()
        return self._by_key(self._numbers(self.measures), self._people())

    # -- fewer bitmaps than there are --

    def _most_visited(self) -> Numbers:
        """The values with most visitors: read by how many there can be at most, until none left
        can be among the best."""
        scope = metrics.DIMENSIONS[self.named.dimension].scope
        measure = "events" if scope == "event" else "sessions"
        numbers = self._numbers([measure, *self.measures])
        most = {slot: found.get(measure, 0) for slot, found in numbers.items()}
        if scope == "session":
            for slot, bits in self._people(stretches=[self._opening()]).items():
                most[slot] = most.get(slot, 0) + len(bits)
        # Whoever belongs to it may have come the day before, by a value that had a row of its own.
        most[1, crowds.OTHER] = EVERY
        slots = sorted(most, key=lambda slot: -most[slot])
        found: Numbers = {}
        step = max(2 * self.question.limit, STEP)
        for first in range(0, len(slots), step):
            some = slots[first : first + step]
            people = self._people([value for _, value in some])
            found |= self._by_key({slot: numbers.get(slot, {}) for slot in some}, people)
            shown = best(self.question, found)
            bound = max((most[slot] for slot in slots[first + step :]), default=0)
            if len(shown) == self.question.limit and (shown[-1][1][metrics.VISITORS] or 0) > bound:
                break
        return found

    def _opening(self) -> Stretch:
        """Where everybody is seen who has no session that starts in the range: theirs, from
        before, has an event within its gap of an hour at most. Two hours, for a change of clocks
        may have shortened the first."""
        start, end = self.within.span.start, self.within.span.end
        second = periods.next_start("hour", start, self.within.tz)
        return Grain.HOUR.value, start, min(end, periods.next_start("hour", second, self.within.tz))

    def _ranked_first(self) -> Numbers:
        """Rank by what rollups say, and unite the people only of what is shown."""
        if (hopeful := self._hopeful()) is not None:
            read = self._numbers_of_few([*hopeful, crowds.OTHER])
            numbers = {slot: found for slot, found in read.items() if slot[1] in set(hopeful)}
        else:
            numbers = self._numbers(self.measures)
        if not self._ranks_people:
            shown = best(self.question, self._by_key(numbers, {}))
            ranked_by = metrics.METRICS[self.question.order[0][0]]
            # Values that have people and no numbers come after every positive number.
            if len(shown) == self.question.limit and ranked_by.value(shown[-1][1]):
                values = [str(key[0]) for key, _ in shown]
                kept = {slot: numbers[slot] for slot in numbers if slot[1] in set(values)}
                return self._by_key(kept, self._people([*values, crowds.OTHER]))
        return self._by_key(numbers, self._people())

    @property
    def _ranks_people(self) -> bool:
        """Whether the order is, in any of its parts, that of a number for which people are read."""
        ranked_by = (metrics.METRICS.get(name) for name, _ in self.question.order)
        return any(metric and metrics.VISITORS in metric.needs for metric in ranked_by)

    def _hopeful(self) -> list[str] | None:
        """Values of which those shown are some, where the order is that of one sum: of thousands of
        pages a few. None where they cannot be told from the rest, or are too few."""
        metric = metrics.METRICS[self.question.order[0][0]]
        if len(self.question.order) > 1 or metric.over or metric.of == metrics.VISITORS:
            return None
        if self.question.limit > MOST_RANKED:
            return None
        found = self._best_of_days(metric.of) if self._is_of_days else None
        return self._best(metric.of) if found is None else found

    @property
    def _is_of_days(self) -> bool:
        return all(grain == Grain.DAY for grain, _, _ in self.stretches)

    def _days(self, bound: filters.Bound) -> sql.Composed:
        """The days of the range on which anything happened, as a table of `starts_at`."""
        rows = crowds.rows(bound, self.place, "", self.stretches)
        return sql.SQL(
            "(SELECT DISTINCT starts_at FROM rollups WHERE {} AND measure = 'events')"
        ).format(rows)

    def _best_of_days(self, measure: str) -> list[str] | None:
        """Only the best of each day are read, by an index that has them in order. Who is below
        them has less on every day than the last one read, so less than their sum in all."""
        limit = self.question.limit
        most = 2 * limit + MORE
        bound = filters.Bound()
        text = sql.SQL(
            "SELECT d.starts_at, t.value, t.number FROM {days} AS d CROSS JOIN LATERAL ("
            " SELECT value, number FROM rollups WHERE property_id = {place} AND grain = 'd'"
            "  AND dimension = {dimension} AND measure = {measure} AND starts_at = d.starts_at"
            "  {values}{filled} ORDER BY number DESC LIMIT {most}"
            ") AS t"
        ).format(
            days=self._days(bound),
            place=bound.add(self.place.pk),
            dimension=bound.add(self.named.dimension),
            measure=bound.add(measure),
            most=bound.add(most),
            values=self._values(bound, self.named.values),
            filled=self._filled(),
        )
        days: dict[datetime, dict[str, int]] = defaultdict(dict)
        with binary_cursor() as cursor:  # moments in words would cost more than all the rest
            cursor.execute(text, bound.values)
            for day, value, number in cursor.fetchall():
                days[day][value] = number
        # What a value can have at most on a day of which it was not read.
        unseen = {day: min(f.values()) if len(f) == most else 0 for day, f in days.items()}
        least: dict[str, int] = defaultdict(int)
        missed: dict[str, int] = defaultdict(lambda: sum(unseen.values()))
        for day, numbers in days.items():
            for value, number in numbers.items():
                least[value] += number
                missed[value] -= unseen[day]
        if len(least) < limit:
            return None
        edge = sorted(least.values(), reverse=True)[limit - 1]
        if sum(unseen.values()) >= edge:
            return None
        return [value for value in least if least[value] + missed[value] >= edge]

    def _best(self, measure: str) -> list[str] | None:
        """All are added up, and Postgres ranks them."""
        bound = filters.Bound()
        text = sql.SQL(
            "SELECT value FROM rollups WHERE {rows}{values}{filled} AND measure = {measure}"
            ' GROUP BY value ORDER BY sum(number) DESC, value COLLATE "C" LIMIT {limit}'
        ).format(
            rows=self._rows(bound),
            values=self._values(bound, self.named.values),
            filled=self._filled(),
            measure=bound.add(measure),
            limit=bound.add(self.question.limit),
        )
        with connection.cursor() as cursor:
            cursor.execute(text, bound.values)
            found = [value for (value,) in cursor.fetchall()]
        return found if len(found) == self.question.limit else None

    def _filled(self) -> sql.SQL:
        blank = metrics.DIMENSIONS[self.named.dimension].blank
        return sql.SQL("" if blank else " AND value <> ''")

    def each(self) -> Iterator[tuple[Key, Base]]:
        """Base numbers by value, from two readings in the order of values: neither is held."""
        blank = metrics.DIMENSIONS[self.named.dimension].blank
        for key, found in side_by_side(self._each_number(), self._each_crowd()):
            if any(found.values()) and (blank or key != ("",)):
                yield key, found

    def _each_number(self) -> Iterator[tuple[Key, Base]]:
        if not self.measures:
            return
        bound = filters.Bound()
        sums = [
            sql.SQL("(coalesce(sum(number) FILTER (WHERE measure = {}), 0))::bigint").format(
                bound.add(name)
            )
            for name in self.measures
        ]
        text = sql.SQL(
            "SELECT value, {sums} FROM rollups WHERE {rows}{values}"
            ' AND measure = ANY({measures}::text[]) GROUP BY value ORDER BY value COLLATE "C"'
        ).format(
            sums=sql.SQL(", ").join(sums),
            rows=self._rows(bound),
            values=self._values(bound, self.named.values),
            measures=bound.add(list(self.measures)),
        )
        for value, *numbers in row_by_row(text, bound.values):
            yield (value,), dict(zip(self.measures, numbers, strict=True))

    def _each_crowd(self) -> Iterator[tuple[Key, Base]]:
        if not self.asks_visitors:
            return
        bound = filters.Bound()
        text = sql.SQL(
            'SELECT value, bits FROM bitmaps WHERE {rows}{values} ORDER BY value COLLATE "C"'
        ).format(rows=self._rows(bound), values=self._values(bound, self.named.values))
        found = row_by_row(text, bound.values, BITMAPS_AT_ONCE)
        for value, several in groupby(found, itemgetter(0)):
            people = union(BitMap.deserialize(bits) for _, bits in several)
            among = people if self.among is None else people & self.among
            yield (value,), {metrics.VISITORS: len(among)}

    # -- putting together --

    def _united(self, numbers: Slots, people: People) -> dict[str, int]:
        total: dict[str, int] = defaultdict(int)
        for found in numbers.values():
            for name, number in found.items():
                total[name] += number
        if self.asks_visitors:
            total[metrics.VISITORS] = len(union(people.values()))
        return dict(total)

    def _by_key(self, numbers: Slots, people: People, is_series: bool = False) -> Numbers:
        """Base numbers by the question's dimensions; what is empty and no row is left out."""
        groups: Numbers = defaultdict(dict)
        for (period, value), found in numbers.items():
            group = groups[self._key(period, value)]
            for name in self.measures:
                group[name] = group.get(name, 0) + found.get(name, 0)
        united: dict[Key, list[BitMap]] = defaultdict(list)
        for (period, value), bits in people.items():
            united[self._key(period, value)].append(bits)
        for key, several in united.items():
            groups[key][metrics.VISITORS] = len(union(several))
        blank = is_series or metrics.DIMENSIONS[self.named.dimension].blank
        return {
            key: found
            for key, found in groups.items()
            if any(found.values()) and (blank or "" not in key)
        }

    def _key(self, period: int, value: str) -> Key:
        if len(self.question.dimensions) == 1 and not self.question.interval:
            return (value,)  # the usual case, thousands of times
        return tuple(
            period if name.startswith(metrics.TIME) else value for name in self.question.dimensions
        )

    # -- reading --

    def _numbers(self, measures: Sequence[str], values: Sequence[str] = ()) -> Slots:
        if not measures:
            return {}
        bound = filters.Bound(starts=filters.array(self.starts), places=filters.array(self.places))
        text = sql.SQL(
            "SELECT {period}, value, measure, sum(number)::bigint FROM rollups"
            " WHERE {rows}{values} AND measure = ANY({measures}::text[]) GROUP BY 1, 2, 3"
        ).format(
            period=self._period(),
            rows=self._rows(bound),
            values=self._values(bound, values or self.named.values),
            measures=bound.add(list(measures)),
        )
        slots: Slots = defaultdict(dict)
        with connection.cursor() as cursor:
            cursor.execute(text, bound.values)
            # In blocks, and one text for each measure: a table may have a million values.
            while rows := cursor.fetchmany(AT_ONCE):
                for period, value, measure, number in rows:
                    slots[period, value][intern(measure)] = number
        if any((period, crowds.OTHER) in slots for period in self.places or [1]):
            self.has_other = True
        return dict(slots)

    def _numbers_of_few(self, values: list[str]) -> Slots:
        """The numbers of these values where time does not split: each looked up by its key, day
        after day. Asked of all days at once, Postgres would read all of their values."""
        if not self._is_of_days:
            return self._numbers(self.measures, values)
        bound = filters.Bound()
        text = sql.SQL(
            "SELECT t.value, t.measure, sum(t.number)::bigint"
            " FROM {days} AS d CROSS JOIN LATERAL ("
            " SELECT value, measure, number FROM rollups WHERE property_id = {place}"
            "  AND grain = 'd' AND dimension = {dimension} AND starts_at = d.starts_at"
            "  AND measure = ANY({measures}::text[]) AND value = ANY({values}::text[]) OFFSET 0"
            ") AS t GROUP BY 1, 2"
        ).format(
            days=self._days(bound),
            place=bound.add(self.place.pk),
            dimension=bound.add(self.named.dimension),
            measures=bound.add(list(self.measures)),
            values=bound.add(values),
        )
        slots: Slots = defaultdict(dict)
        with connection.cursor() as cursor:
            cursor.execute(text, bound.values)
            for value, measure, number in cursor.fetchall():
                slots[1, value][intern(measure)] = number
        self.has_other |= (1, crowds.OTHER) in slots
        return dict(slots)

    def _people(
        self, values: Sequence[str] = (), stretches: Sequence[Stretch] | None = None
    ) -> People:
        if not self.asks_visitors:
            return {}
        bound = filters.Bound(starts=filters.array(self.starts), places=filters.array(self.places))
        text = sql.SQL("SELECT {period}, value, bits FROM bitmaps WHERE {rows}{values}").format(
            period=self._period(),
            rows=self._rows(bound, stretches),
            values=self._values(bound, values or self.named.values),
        )
        slots: dict[Slot, list[BitMap]] = defaultdict(list)
        with binary_cursor() as cursor:
            cursor.execute(text, bound.values)
            for period, value, bits in cursor.fetchall():
                slots[period, value].append(BitMap.deserialize(bits))
        self.has_other |= any(value == crowds.OTHER for _, value in slots)
        if self.among is None:
            return {slot: union(several) for slot, several in slots.items()}
        return {slot: union(several) & self.among for slot, several in slots.items()}

    def _period(self) -> sql.SQL:
        """The place of a row's period, from 1; where there is but one, nothing is computed."""
        if self.question.interval is None:
            return sql.SQL("1::int")
        return sql.SQL("(%(places)s::int[])[width_bucket(starts_at, %(starts)s::timestamptz[])]")

    def _rows(
        self, bound: filters.Bound, stretches: Sequence[Stretch] | None = None
    ) -> sql.Composed:
        return crowds.rows(bound, self.place, self.named.dimension, stretches or self.stretches)

    @staticmethod
    def _values(bound: filters.Bound, values: Sequence[str]) -> sql.Composable:
        if not values:
            return sql.SQL("")
        return sql.SQL(" AND value = ANY({}::text[])").format(bound.add(list(values)))
