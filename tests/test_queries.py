"""Every number three ways: rollups and bitmaps, raw events in SQL, and a loop in Python."""

import json
import os
import random
import re
from collections import defaultdict
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch

import pytest
from django.db import connections
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.history import GAP, Happening, at, roll_up, visits, write
from tests.people import new_property

DOCS = Path(__file__).parent.parent / "docs"
NOW = at("2026-04-15T10:20")
# `make histories HISTORIES=2000` tries others than those of every run, and more of them.
HISTORIES = int(os.environ.get("AKTIVAT_HISTORIES", "25"))
DERANDOMIZE = "AKTIVAT_HISTORIES" not in os.environ
ZONES = [
    "UTC", "Europe/Berlin", "Asia/Kathmandu", "America/New_York", "America/St_Johns",
    "Australia/Lord_Howe",
]  # fmt: skip
# With what LIKE, JSON, lines and alphabets take for something else.
PAGES = ["/", "/a", "/b", "/ö", "", "/A", "/a ", "/%_", "\n/a\\", "/\uffff", "/\U0001f600"]
SOURCES = ["Direct", "Google", "news"]


# -- the loop ----------------------------------------------------------------------------------


# What a row adds to each measure, and what each sample is, said once more. Whoever adds one to the
# registry says it here, too; one that is missing fails.
OF_EVENTS = {
    "events": lambda event: 1,
    "pageviews": lambda event: event.name == "pageview",
    "page_engaged_ms": lambda event: event.engaged_ms or 0,
    "vitals": lambda event: event.name == "web_vitals",
    "scroll": lambda event: event.scroll or 0,
    "scroll_told": lambda event: event.scroll is not None,
    **{
        f"scroll_{depth}": lambda event, depth=depth: (event.scroll or 0) >= depth
        for depth in (25, 50, 75, 100)
    },
    "elements_shown": lambda event: event.name == "element_shown" or is_element(event, "shown"),
    "elements_hovered": lambda event: is_element(event, "mouseover"),
    "elements_clicked": lambda event: is_element(event, "click"),
}
OF_SESSIONS = {
    "sessions": lambda visit: 1,
    "bounces": lambda visit: visit.bounced,
    "session_pageviews": lambda visit: len(visit.pages),
    "engaged_ms": lambda visit: visit.engaged_ms,
    "duration_ms": lambda visit: (visit.ended_at - visit.started_at) // timedelta(milliseconds=1),
    "new_visitors": lambda visit: visit.is_first,
    "entries": lambda visit: visit.text("entry_page") != "",
    "entry_bounces": lambda visit: visit.bounced,
    "exits": lambda visit: visit.text("exit_page") != "",
}
ON_A_PAGE = {"entries": "entry_page", "entry_bounces": "entry_page", "exits": "exit_page"}
SAMPLES = {
    "load_ms": lambda event: event.load_ms,
    "ttfb": lambda event: vital(event, "ttfb"),
    "fcp": lambda event: vital(event, "fcp"),
    "lcp": lambda event: vital(event, "lcp"),
    "inp": lambda event: vital(event, "inp"),
    "cls": lambda event: vital(event, "cls", 10_000),
}


def is_element(event, what):
    return event.name == "element" and (event.props or {}).get("event") == what


def vital(event, name, scale=1):
    value = (event.props or {}).get(name)
    if event.name != "web_vitals" or type(value) not in (int, float):
        return None
    return round(value * scale) if 0 <= value <= 86_400_000 else None


def test_every_number_of_the_registry_is_counted_by_the_loop():
    from reports import metrics

    events = [m.name for m in metrics.MEASURES.values() if m.scope == "event"]
    sessions = [m.name for m in metrics.MEASURES.values() if m.scope == "session"]
    assert sorted(events) == sorted(OF_EVENTS)
    assert sorted(sessions) == sorted(OF_SESSIONS)
    assert {m.name: m.at for m in metrics.MEASURES.values() if m.at} == ON_A_PAGE
    assert sorted(metrics.SAMPLES) == sorted(SAMPLES)


def naive(history, question, within):
    """(groups, total) of base numbers: the definitions, spelt out without any cleverness."""
    history = [
        event
        for event in history
        if question.bots == "include" or event.bot == (question.bots == "only")
    ]
    pairs = [(event, visit) for visit in visits(history) for event in visit.events]
    whole = SimpleNamespace(**{**vars(question), "dimensions": (), "needs": question.needs})
    whole.places = lambda within: []
    return (
        _count(pairs, question, within) if question.dimensions else {},
        _count(pairs, whole, within).get((), {}),
    )


def _count(pairs, question, within):
    from reports import metrics
    from reports.filters import leaves, parse

    tree = parse(question.filters) if question.filters else None
    spans = list(zip(_spans(question, within), question.places(within), strict=True))
    inside = [(event, visit) for event, visit in pairs if event.time in within.span]
    matched = [pair for pair in inside if _holds(tree, *pair, inside)]
    scopes = {leaf.scope for leaf in leaves(tree)} if tree else set()
    scopes |= {d.scope for name in question.dimensions if (d := metrics.find_dimension(name))}
    if "event" in scopes:
        sessions = matched
    else:
        sessions = [
            (visit.first, visit) for _, visit in inside if _holds(tree, None, visit, inside)
        ]
    people, sums, counted = defaultdict(set), defaultdict(lambda: defaultdict(int)), set()
    sampled = defaultdict(lambda: defaultdict(list))
    for event, visit in matched:
        key = _key(question, spans, event, visit, event.time)
        people[key].add(event.visitor)
        for name, number in OF_EVENTS.items():
            sums[key][name] += number(event)
        for name, number in SAMPLES.items():
            if number(event) is not None:
                sampled[key][name].append(number(event))
    for event, visit in sessions:
        if visit.started_at not in within.span:
            continue
        key = _key(question, spans, event, visit, visit.started_at)
        for name, number in OF_SESSIONS.items():
            once = (key, name, visit.visitor, visit.started_at)
            if once in counted:
                continue
            if name in ON_A_PAGE and "event" in scopes:
                if event.page != visit.text(ON_A_PAGE[name]):
                    continue
                counted.add(once)
                sums[key][name] += number(visit)
                continue
            counted.add(once)
            sums[key][name] += number(visit)
    for key, several in people.items():
        sums[key]["visitors"] = len(several)
    for key, samples in sampled.items():
        for quantile in metrics.QUANTILES.values():
            if values := sorted(samples.get(quantile.sample, ())):
                sums[key][quantile.name] = nearest_rank(values, quantile.part)
    return {key: dict(found) for key, found in sums.items() if key is not None}


def nearest_rank(values, part):
    return next(value for n, value in enumerate(values, 1) if n >= part * len(values))


def _spans(question, within):
    from properties import periods

    kinds = [d.removeprefix("time:") for d in question.dimensions if d.startswith("time:")]
    kinds = [periods.CYCLES.get(kind, kind) for kind in kinds]
    return list(periods.spans(kinds[0], within.span, within.tz)) if kinds else []


def _key(question, spans, event, visit, moment):
    from reports import metrics

    key = []
    for name in question.dimensions:
        if name.startswith("time:"):
            key.append(next(place for span, place in spans if moment in span))
            continue
        value = _value(name, event, visit)
        if value == "" and not metrics.find_dimension(name).blank:
            return None
        key.append(value)
    return tuple(key)


def _value(name, event, visit):
    from reports import metrics

    if name == "event":
        return event.name
    if name == "visit":
        return "new" if visit.is_first else "returning"
    if name.startswith("props:"):
        value = (event.props or {}).get(name.removeprefix("props:"))
        return value if isinstance(value, str) else "" if value is None else json.dumps(value)
    bound_to = event if metrics.DIMENSIONS[name].scope == "event" else visit
    return bound_to.text(name)


def _holds(node, event, visit, inside):
    if node is None:
        return True
    if getattr(node, "joint", "") == "visitor":
        return any(
            other.visitor == visit.visitor and _holds(node.parts[0], other, v, inside)
            for other, v in inside
        )
    if hasattr(node, "parts"):
        parts = [_holds(part, event, visit, inside) for part in node.parts]
        return {"and": all(parts), "or": any(parts), "not": not parts[0]}[node.joint]
    if node.operator == "has_done":
        return any(
            other.visitor == visit.visitor and _value(node.dimension, other, v) in node.values
            for other, v in inside
        )
    if node.operator == "worth":
        least, currency = node.values
        return (
            event.revenue is not None
            and event.currency == currency
            and Fraction(event.revenue) >= Fraction(least)
        )
    value = _value(node.dimension, event, visit)
    if node.operator == "contains":
        return any(part in value for part in node.values)
    if node.operator == "matches":
        return any(
            re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), value, re.DOTALL)
            for pattern in node.values
        )
    return (value in node.values) == (node.operator == "is")


def expected_rows(question, within, groups, first):
    """What the answer must show, from the loop's groups; nothing is known of periods that end
    before the day of the `first` event, or begin after NOW."""
    from reports.metrics import METRICS, QUANTILES

    labels = question.labels(within)
    if question.is_series:
        groups = {(place,): groups.get((place,), {}) for place in labels}
    unknown = dict.fromkeys(question.metrics)
    rows = []
    for key, numbers in groups.items():
        row = {
            name: labels[part] if name.startswith("time:") else part
            for name, part in zip(question.dimensions, key, strict=True)
        }
        some = [
            numbers.get(need) is not None if need in QUANTILES else numbers.get(need)
            for need in question.needs
        ]
        if question.is_series and not any(some) and is_unknown(question, within, key[0], first):
            rows.append(row | unknown)
        elif question.is_series or any(some):
            rows.append(row | {name: METRICS[name].value(numbers) for name in question.metrics})
    return rows


def is_unknown(question, within, number, first):
    span = within.span if question.cycle else question.periods(within)[number - 1]
    if first is None or span.start > NOW:
        return True
    return (
        span.end.astimezone(within.tz).isoformat()
        <= f"{first.astimezone(within.tz):%Y-%m-%dT00:01}"
    )


# -- histories and questions by chance -----------------------------------------------------------
# Drawn by dice from one seed: a strategy of its own for every part asks mostly simple questions.


TEXTS = {  # of sessions and events; what is not here is empty
    "hostname": ["shop.example", "blog.example"],
    "title": ["A", "Ö", ""],
    "referrer": ["google.com", ""],
    "medium": ["cpc", "organic", ""],
    "campaign": ["may", ""],
    "term": ["shoes", ""],
    "content": ["banner", ""],
    "country": ["DE", "FR", ""],
    "device": ["desktop", "mobile"],
    "browser": ["Firefox", "Chrome", ""],
    "os": ["Linux", ""],
    "language": ["de", "en", ""],
    "screen": ["1440x900", "360x800", ""],
}
NAMES = [
    "pageview", "pageview", "pageview", "engagement", "signup", "element", "element_shown",
    "web_vitals", "purchase",
]  # fmt: skip
# What an event brings, around the amounts that goals ask for: next to the largest that may be
# sent, floats do not tell six decimals apart.
AMOUNTS = [
    None, None, "0", "-0.000001", "-50", "49.999999", "50", "50.000000", "50.000001", "5e1", "7",
    "999999999999.999849", "999999999999.9999", "999999999999.999999",
]  # fmt: skip
CURRENCIES = ["EUR", "EUR", "EUR", "USD", "JPY"]


NOTHING, MS = timedelta(0), timedelta(milliseconds=1)


def a_history(dice, base):
    """A few visitors over some days around a change of clocks, so that everything overlaps."""
    history = []
    # Columns keep numbers in as few bytes as a day needs.
    numbers = [1, 2, 255, 256, 70_000, 2**24 + 1]
    for visitor in dice.sample(numbers, dice.randint(1, 6)):
        is_bot = dice.random() < 0.15
        is_long = dice.random() < 0.04  # over one midnight or two
        for _ in range(1 if is_long else dice.randint(1, 4)):
            moment = base + timedelta(minutes=dice.randint(0, 3 * 24 * 60))
            if dice.random() < 0.2:  # where hours and days meet
                moment = moment.replace(minute=dice.choice([0, 15, 30]))
                moment -= dice.choice([NOTHING, MS])
            source = dice.choice(SOURCES)
            texts = {name: dice.choice(values) for name, values in TEXTS.items()}
            for _ in range(dice.randint(50, 90) if is_long else dice.randint(1, 4)):
                pause = timedelta(milliseconds=dice.randint(1, 40 * 60 * 1000))
                moment += GAP if is_long else dice.choice([pause, pause, pause, GAP, GAP + MS])
                name = dice.choice(NAMES)
                history.append(
                    Happening(
                        moment,
                        -visitor if is_bot else visitor,
                        name,
                        dice.choice(PAGES),
                        source,
                        channel=dice.choice(["Direct", "Referral", ""]),
                        bot=is_bot,
                        engaged_ms=dice.choice([None, 1, 3000, 12000, 86_400_000]),
                        scroll=dice.choice([None, None, 0, 25, 60, 100]),
                        load_ms=dice.choice([None, None, 0, 250, 900, 5000]),
                        props=some_props(dice, name),
                        revenue=(revenue := dice.choice(AMOUNTS)),
                        texts=texts
                        | {"title": dice.choice(TEXTS["title"])}
                        | {"currency": dice.choice(CURRENCIES) if revenue else ""},
                    )
                )
    return history


def some_props(dice, name):
    if name == "element":
        return {
            "event": dice.choice(["shown", "mouseover", "click", "blur"]),
            "type": "item",
            "position": dice.choice(["1", "2"]),
        }
    if name == "web_vitals":
        lcp = [0, 1200, 2500.4, 4000, "fast", -5, 10**9]
        return {"lcp": dice.choice(lcp), "cls": dice.choice([0, 0.0123, 0.25]), "inp": 80}
    free = {"plan": "free", "event": "click", "lcp": 7}
    odd = [{"plan": None}, {"plan": True}, {"plan": 12}, {"plan": {"a": [1]}}, {"": "x"}]
    return dice.choice([None, None, {"plan": "pro"}, {"plan": "pro"}, free, free, dice.choice(odd)])


LEAVES = [
    ["is", "page", ["/a", "/b"]],
    ["is", "event", ["signup"]],
    ["is", "source", ["Google"]],
    ["is", "campaign", ["may"]],
    ["is", "props:plan", ["pro"]],
    ["is", "visit", ["new"]],
    ["is", "entry_page", ["/"]],
    ["is", "first_source", ["Google", "news"]],
    ["is_not", "last_channel", ["Direct"]],
    ["is_not", "page", ["/"]],
    ["is_not", "country", ["DE"]],
    ["is_not", "visit", ["new"]],
    ["is_not", "props:plan", ["pro"]],
    ["contains", "page", ["ö", "b"]],
    ["contains", "visit", ["turn"]],
    ["matches", "page", ["/*"]],
    ["matches", "referrer", ["g*e.c*", "x"]],
    ["has_done", "event", ["signup"]],
    ["has_done", "page", ["/a"]],
    ["is", "goal", ["Anything"]],
    ["is", "goal", ["Large"]],
    ["is_not", "goal", ["Large"]],
    ["is", "goal", ["Largest"]],
    ["is_not", "goal", ["Largest", "Signed up"]],
    ["is", "goal", ["Large purchase"]],
]


GOALS = [  # of the property of every history
    {"name": "Signed up", "kind": "event", "event": "signup"},
    {"name": "Anything", "kind": "value", "minimum": 0},
    {"name": "Large", "kind": "value", "minimum": 50},
    {"name": "Largest", "kind": "value", "minimum": "999999999999.9999"},
    {"name": "Large purchase", "kind": "value", "minimum": "49.9999", "event": "purchase"},
]


SEGMENTS = {  # of the account of every history
    "from-google": ["is", "source", ["Google"]],
    "engaged": ["or", ["has_done", "event", ["signup"]], ["is", "visit", ["returning"]]],
    "mobile-may": ["and", ["is", "device", ["mobile"]], ["is", "campaign", ["may"]]],
    "nowhere-else": ["not", ["or", ["is", "page", ["/a"]], ["contains", "page", ["b"]]]],
    "buyers": ["and", ["is", "goal", ["Signed up"]], ["is_not", "country", ["FR"]]],
    "spenders": ["and", ["is", "goal", ["Large", "Largest"]], ["is_not", "page", ["/a"]]],
}


def with_segments(place):
    """The property, which has the goals above, and its account the segments."""
    from accounts.tenancy import tenant
    from properties.models import Goal
    from reports.models import Segment

    for goal in GOALS:
        Goal.objects.create(property=place, account=place.account, **goal)
    with tenant(place.account_id):
        Segment.objects.bulk_create(
            Segment(account_id=place.account_id, slug=slug, name=slug, filters=tree)
            for slug, tree in SEGMENTS.items()
        )
    return place


def metric_names():
    """All but conversions, which are put together from others: tests/test_conversions.py."""
    from reports.metrics import CONVERSIONS, METRICS

    return [m.name for m in METRICS.values() if not CONVERSIONS.keys() & set(m.needs)]


def metrics_of(*scopes):
    """The metrics that need measures of these scopes, or visitors, and nothing else."""
    from reports.metrics import MEASURES, METRICS

    def scope(need):
        return MEASURES[need].scope if need in MEASURES else "event"

    return [
        name
        for name in metric_names()
        if {scope(need) for need in METRICS[name].needs} <= set(scopes)
    ]


def rolled_metrics():
    from reports.metrics import METRICS, VISITORS, rolled_measures

    kept = {VISITORS, *(measure.name for measure in rolled_measures(""))}
    return [metric.name for metric in METRICS.values() if set(metric.needs) <= kept]


def splits():
    from reports.metrics import DIMENSIONS

    kept = [dimension.name for dimension in DIMENSIONS.values() if not dimension.is_made]
    return [*kept, "props:plan", "props:position"]


OFTEN = ["page", "source", "country", "entry_page"]
TIMES = [
    "time:hour", "time:day", "time:week", "time:month", "time:quarter", "time:hour_of_day",
    "time:day_of_week",
]  # fmt: skip


def a_filter(dice, depth=0, within=False):
    joints = ["leaf", "leaf", "and", "or", "not", *([] if within else ["visitor", "segment"])]
    joint = dice.choice(joints) if depth < 3 else "leaf"
    if joint == "segment":
        return [dice.choice(["is", "is_not"]), "segment", dice.sample(list(SEGMENTS), 1)]
    if joint == "leaf" and dice.random() < 0.2:
        some = dice.sample(PAGES, 2)
        return [dice.choice(["is", "is_not"]), dice.choice(["page", "exit_page"]), some]
    if joint == "leaf" and dice.random() < 0.3:
        name = dice.choice([name for name in TEXTS if name != "title"])
        return [dice.choice(["is", "is_not"]), name, [dice.choice(TEXTS[name])]]
    if joint == "leaf":
        return dice.choice(LEAVES)
    parts = 1 if joint in ("not", "visitor") else 2
    within = within or joint == "visitor"
    return [joint, *(a_filter(dice, depth + 1, within) for _ in range(parts))]


def a_question(dice, base):
    names = dice.choice(
        [rolled_metrics(), metric_names(), metrics_of("event"), metrics_of("session")]
    )
    asked = dice.sample(names, dice.randint(1, 3)) if dice.random() < 0.8 else ["visitors"]
    some = dice.choice([OFTEN, splits()])
    dimensions = dice.sample(some, dice.choice([0, 1, 1, 1, 2, 3])) + dice.sample(
        TIMES, dice.choice([0, 0, 1])
    )
    dice.shuffle(dimensions)
    body = {
        "metrics": asked,
        "dimensions": dimensions,
        "range": a_range(dice, base),
        "bots": dice.choice(["exclude"] * 5 + ["include", "only"]),
        "limit": dice.choice([1, 2, 3, 1000]),
    }
    if dice.random() < 0.4:
        body["filters"] = a_filter(dice)
    if dice.random() < 0.5:
        ordered = dice.sample([*asked, *dimensions], min(dice.randint(1, 3), len(asked)))
        body["order_by"] = [[name, dice.choice(["asc", "desc"])] for name in ordered]
        body["offset"] = dice.choice([0, 0, 0, 2])
    return body


def a_range(dice, base):
    first = base + timedelta(hours=dice.randint(-5, 30), minutes=dice.choice([0, 0, 0, 15, 37]))
    last = first + timedelta(hours=dice.randint(1, 60), seconds=dice.choice([0, 0, 11]))
    days = {
        "from": f"{base:%Y-%m-%d}",
        "to": f"{base + timedelta(days=dice.randint(0, 3)):%Y-%m-%d}",
    }
    return dice.choice([days, {"from": _iso(first), "to": _iso(last)}])


def _iso(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


@given(seed=st.integers(0, 2**32))
@settings(
    max_examples=HISTORIES,
    derandomize=DERANDOMIZE,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    phases=[Phase.reuse, Phase.generate],  # a smaller seed is no simpler history
)
def test_rollups_columns_raw_events_and_a_loop_agree(seed):
    dice = random.Random(seed)
    base = dice.choice([at("2026-03-28T20:00"), at("2026-04-03T22:00"), at("2026-03-07T20:00")])
    place = with_segments(new_property(timezone=dice.choice(ZONES)))
    history = a_history(dice, base)
    happen(place, history, dice)
    if dice.random() < 0.3:
        history = erase_somebody(place, history, dice)
    unpack_some(place, dice)
    for number in range(25):
        _check(place, history, a_question(dice, base), by_shares=number % 3 == 0)
        if number % 5 == 0:
            _check_beside(place, a_question(dice, base) | {"compare": a_range(dice, base)})
            _check_pages(place, [a_question(dice, base) for _ in range(3)])


def happen(place, history, dice):
    """The events come in parts, some of them late; after each the worker rolls up and, mostly,
    packs what it can at that moment. At last, mostly, all days are over."""
    late = [event.time + timedelta(minutes=dice.choice([0, 0, 0, 0, 90, 900])) for event in history]
    arriving = [event for _, _, event in sorted(zip(late, range(len(late)), history, strict=True))]
    many = dice.choice([1, 1, 2, 4])
    for part in range(many):
        start, end = (len(history) * n // many for n in (part, part + 1))
        before, new = arriving[:start], arriving[start:end]
        now = max((event.time for event in arriving[:end]), default=NOW)
        now += timedelta(minutes=dice.randint(0, 120))
        if part == many - 1 and dice.random() < 0.5:
            now = datetime.now(UTC)
        write(place, new, before)
        roll_up(place, new, before, now)
        if dice.random() < 0.9:
            pack_all(place, now)


def erase_somebody(place, history, dice):
    """What is left of the history without one of its visitors."""
    from privacy import erasing
    from privacy.subjects import subject_of
    from tracking.models import Visitor
    from tracking.working import transaction_of_worker

    gone = dice.choice(history).visitor
    known = Visitor.objects.using("worker").get(property_id=place.pk, number=gone)
    with transaction_of_worker() as cursor:
        subject = subject_of(cursor, place, visitor=str(known.visitor))
    now = datetime.now(UTC)
    erasing.carry_out(erasing.ask(place, subject, "alice", now), now)
    if dice.random() < 0.7:
        pack_all(place, now)
    return [event for event in history if event.visitor != gone]


def pack_all(place, now):
    from reports import packing, rows

    few = patch.object(packing, "FEWEST", 1), patch.object(packing, "FEWEST_OF_PART", 1)
    with few[0], few[1], patch.object(rows, "AT_ONCE", 20):
        packing.pack_all(now, place)


def unpack_some(place, dice):
    """Of what is packed, read some from rows: it waits to be packed again, or is dirty."""
    with connections["worker"].cursor() as cursor:
        cursor.execute(
            "SELECT grain, starts_at FROM packed_days WHERE property_id = %s", [place.pk]
        )
        for grain, start in cursor.fetchall():
            if dice.random() < 0.2:
                cursor.execute(
                    "UPDATE packed_days SET state = 'w'"
                    " WHERE property_id = %s AND grain = %s AND starts_at = %s",
                    [place.pk, grain, start],
                )
            elif dice.random() < (0.2 if grain == "d" else 0.02):
                cursor.execute(
                    "INSERT INTO dirty_hours VALUES (%s, %s, %s, 'e', now())"
                    " ON CONFLICT DO NOTHING",
                    [place.account_id, place.pk, start + timedelta(hours=dice.randint(0, 22))],
                )


def _check(place, history, body, by_shares=True):
    from accounts.tenancy import tenant
    from reports import columnar, queries, raw, reading, rolled
    from reports.kept import Kept

    question = queries.parse_question(place, body, NOW)
    groups, total = naive(history, question, question.range)
    wanted = expected_rows(question, question.range, groups, place.first_event_at)
    with tenant(place.account_id):
        answer = queries.ask(place, question, NOW)
        routes = [raw.count(place, question, question.range)]
        if columnar.can_answer(question):
            with patch.object(reading, "AT_ONCE", 2):
                counted = columnar.count(place, question, question.range, Kept())
            assert counted is not None or not is_packed(place, question.range)
            routes += [counted] if counted is not None else []
        if rolled.can_answer(question, question.range):
            routes.append(rolled.count(place, question, question.range, Kept()))
            # Few values at once, as if there were many.
            with patch.object(rolled, "STEP", 1), patch.object(rolled, "MORE", -1):
                routes.append(rolled.count(place, question, question.range, Kept()))
        if question.filters is not None:
            _check_members(place, history, question)
        ranked_by = {name for name, _ in question.order}
        if question.interval is None and ranked_by <= {*question.metrics}:
            _check_file(place, question, answer.rows, by_shares)
    _check_rows(answer.rows, wanted, question)
    for found in routes:
        assert {n: found.total.get(n) or 0 for n in question.needs} == {
            n: total.get(n, 0) for n in question.needs
        }, body
        assert queries._values(question, found.total) == queries._values(question, total), body
        ordered = queries._ordered(place, question, found, question.range, NOW)
        labels = question.labels(question.range)
        assert list(queries._each_row(question, ordered, labels)) == answer.rows, body


NEVER = 10**9  # what it would cost


def _check_members(place, history, question):
    """Who a filter means, as if there were so many events that all are gone through."""
    from reports import blocks, columnar
    from reports.kept import Kept

    question = replace(question, metrics=("visitors",), dimensions=(), order_by=())
    if not columnar.can_answer(question):
        return
    _, total = naive(history, question, question.range)
    costs = {"EACH_OF_ROWS": NEVER, "EACH_AMONG": NEVER, "SLICE": 2}
    with patch.multiple(blocks, **costs):
        counted = columnar.count(place, question, question.range, Kept())
    assert counted is not None or not is_packed(place, question.range)
    if counted is not None:
        assert counted.total == {"visitors": total.get("visitors", 0)}, question


def _check_file(place, question, rows, by_shares):
    """Whatever the limit, a file has every row of the table, in its order, by every route."""
    from reports import columnar, queries, rolled

    whole = replace(question, limit=queries.EVERY, offset=0)
    every = queries.ask(place, whole, NOW).rows
    if question.dimensions:
        assert every[question.offset : question.limit] == rows
        held = [([], 2_000), ([rolled], 2_000), ([rolled, columnar], 0)]
        for ways, few in [*held, ([rolled], 2)] if by_shares else held:
            with ExitStack() as without:
                for route in ways:
                    without.enter_context(patch.object(route, "each", lambda *_, **__: None))
                # As if all but few groups were too many to be held at once.
                without.enter_context(patch.object(columnar, "FEW_GROUPS", few))
                without.enter_context(patch.object(columnar, "MOST_HELD", 0))
                count, found = queries.ask_rows(place, question)
                assert (count, list(found)) == (len(every), every)


def _check_beside(place, body):
    """Beside each row stands what a question about the other range alone says of it."""
    from accounts.tenancy import tenant
    from reports import queries
    from reports.metrics import METRICS

    question = queries.parse_question(place, body, NOW)
    if question.is_series or question.compare is None:
        return
    within = question.compare
    alone = replace(question, range=within, compare=None, limit=queries.EVERY, offset=0)
    with tenant(place.account_id):
        answer, other = (queries.ask(place, one, NOW) for one in (question, alone))
    here, there = (list(question.labels(each).items()) for each in (question.range, within))
    places = {label: number for number, label in here}
    of_rows = {_names(question, row): row for row in other.rows}
    wanted = []
    for row in answer.rows:
        names = {
            name: dict(there).get(places[row[name]]) if name.startswith("time:") else row[name]
            for name in question.dimensions
        }
        number = next((places[row[n]] for n in names if n.startswith("time:")), 0)
        nothing = {name: METRICS[name].value({}) for name in question.metrics}
        if None in names.values() or _is_unknown_there(question, within, number, place):
            nothing = dict.fromkeys(question.metrics)
        wanted.append(of_rows.get(tuple(names.values()), names | nothing))
    assert answer.compared["rows"] == wanted, body
    assert answer.compared["totals"] == other.totals, body


def _names(question, row):
    return tuple(row[name] for name in question.dimensions)


def _is_unknown_there(question, within, number, place):
    if question.interval and not question.cycle:
        return is_unknown(question, within, number, place.first_event_at)
    span = SimpleNamespace(cycle="all of it")
    return is_unknown(span, within, number, place.first_event_at)


def _check_pages(place, bodies):
    """Whoever asks several questions at once gets what each of them would be told alone."""
    from accounts.tenancy import tenant
    from reports import queries
    from reports.kept import Kept

    questions = [queries.parse_question(place, body, NOW) for body in bodies]
    kept = Kept()
    with tenant(place.account_id):
        queries.expect(place, questions, kept)
        for question, body in zip(questions, bodies, strict=True):
            alone = queries.ask(place, question, NOW)
            together = queries.ask(place, question, NOW, kept)
            assert (together.rows, together.totals) == (alone.rows, alone.totals), body


def is_packed(place, within):
    """Whether the columns of any day of the range can be read."""
    from reports import blocks

    with blocks.binary_cursor() as cursor:
        return bool(blocks.all_packed(cursor, place, within.span))


def _check_rows(rows, wanted, question):
    """The same rows, in the order asked for, cut at the offset and the limit."""
    places = {label: place for place, label in question.labels(question.range).items()}

    def ranks(row, name):
        value = places[row[name]] if name.startswith("time:") else row[name]
        return value is None, 0 if value is None else value

    rest = [(name, "asc") for name in question.dimensions if name not in dict(question.order)]
    for name, way in reversed([*question.order, *rest]):
        wanted = sorted(wanted, key=lambda row: ranks(row, name), reverse=way == "desc")
        wanted.sort(key=lambda row: row[name] is None)
    assert rows == (wanted if question.is_series else wanted[question.offset : question.limit])


# -- the routes ----------------------------------------------------------------------------------


@contextmanager
def asked(place, body, now=NOW):
    from accounts.tenancy import tenant
    from reports import queries

    with tenant(place.account_id):
        yield queries.ask(place, queries.parse_question(place, body, now), now)


def ask(place, now=NOW, **body):
    with asked(place, body, now) as answer:
        return answer


METRIC_NAMES = [
    "visitors", "sessions", "pageviews", "events", "bounce_rate", "engaged_time",
    "engaged_total", "visit_duration", "views_per_session",
]  # fmt: skip


@pytest.mark.parametrize(
    ("body", "route"),
    [
        ({"metrics": METRIC_NAMES}, "rolled"),
        ({"metrics": ["visitors", "pageviews"], "dimensions": ["page"]}, "rolled"),
        ({"metrics": ["visitors", "sessions"], "dimensions": ["source", "time:day"]}, "rolled"),
        ({"metrics": ["visitors"], "dimensions": ["time:hour"], "range": "24h"}, "rolled"),
        ({"metrics": ["events"], "filters": ["is", "event", ["signup"]]}, "rolled"),
        (
            {
                "metrics": ["visitors", "bounce_rate"],
                "dimensions": ["source", "time:day"],
                "filters": ["is", "source", ["news"]],
            },
            "rolled",
        ),
        (
            {
                "metrics": ["sessions"],
                "dimensions": ["source"],
                "filters": ["is", "country", ["DE"]],
            },
            "raw",
        ),
        ({"metrics": ["sessions"], "dimensions": ["page"]}, "raw"),
        ({"metrics": ["pageviews"], "dimensions": ["source"]}, "raw"),
        ({"metrics": ["visitors"], "dimensions": ["page", "source"]}, "raw"),
        ({"metrics": ["visitors"], "dimensions": ["hostname"]}, "raw"),
        ({"metrics": ["visitors"], "bots": "include"}, "raw"),
        ({"metrics": ["visitors"], "dimensions": ["time:minute"], "range": "30m"}, "raw"),
        ({"metrics": ["visitors"], "range": "30m"}, "raw"),
        ({"metrics": ["visitors"], "filters": ["is_not", "page", ["/"]]}, "raw"),
        ({"metrics": ["visitors"], "filters": ["is", "campaign", [""]]}, "raw"),
        (
            {
                "metrics": ["visitors"],
                "filters": [
                    "and",
                    ["visitor", ["or", ["is", "source", ["Google"]], ["is", "page", ["/"]]]],
                    ["not", ["has_done", "event", ["signup"]]],
                ],
                "dimensions": ["country", "time:day"],
            },
            "rolled",
        ),
        (
            {
                "metrics": ["visitors"],
                "filters": ["or", ["is", "source", ["Google"]], ["is_not", "country", ["DE"]]],
            },
            "rolled",
        ),
        (
            {
                "metrics": ["visitors"],
                "filters": ["and", ["is", "source", ["Google"]], ["is", "country", ["DE"]]],
            },
            "raw",
        ),
        (
            {
                "metrics": ["sessions"],
                "filters": ["visitor", ["is", "source", ["Google"]]],
            },
            "raw",
        ),
    ],
)
def test_what_rollups_hold_is_read_from_them(body, route):
    assert ask(new_property(), **body).meta["route"] == route


def test_nothing_is_zero_and_a_mean_over_nothing_is_none():
    place = new_property()
    place.first_event_at = NOW - timedelta(days=90)
    answer = ask(place, metrics=["visitors", "bounce_rate"], dimensions=["time:day"], range="7d")
    assert answer.totals == {"visitors": 0, "bounce_rate": None}
    assert len(answer.rows) == 7
    assert answer.rows[0] == {"time:day": "2026-04-09", "visitors": 0, "bounce_rate": None}


def test_what_nobody_could_count_is_unknown_and_not_zero():
    place = new_property()
    body = {"metrics": ["visitors"], "dimensions": ["time:day"], "compare": "previous"}
    place.created = at("2026-04-14T12:00")
    answer = ask(place, **body, range="7d")  # no event ever: since it is there, nothing came
    assert answer.meta["counted_from"] == "2026-04-14T00:00:00+00:00"
    assert [row["visitors"] for row in answer.rows] == [None] * 5 + [0, 0]
    assert answer.totals == {"visitors": 0}
    assert answer.compared["totals"] == {"visitors": None}
    place.first_event_at = at("2026-04-11T09:30")
    days = {"from": "2026-04-10", "to": "2026-04-17"}  # it is the 15th
    answer = ask(place, **body, range=days, order_by=[["visitors", "desc"]])
    assert answer.meta["counted_from"] == "2026-04-11T00:00:00+00:00"
    assert [(row["time:day"][-2:], row["visitors"]) for row in answer.rows] == [
        ("11", 0), ("12", 0), ("13", 0), ("14", 0), ("15", 0), ("10", None), ("16", None),
        ("17", None),
    ]  # fmt: skip
    assert answer.totals == {"visitors": 0}
    assert answer.compared["totals"] == {"visitors": None}
    assert {row["visitors"] for row in answer.compared["rows"]} == {None}
    # A month in which counting began is known in part: its number is what the total is made of.
    months = ask(place, **body | {"dimensions": ["time:month"]}, range="year").rows
    assert [row["visitors"] for row in months] == [None] * 3 + [0] + [None] * 8


def test_a_value_beyond_the_most_frequent_ones_is_looked_up_in_raw_events():
    from reports.models import Rollup

    place = new_property()
    history = [
        Happening(at("2026-04-14T12:00"), 1, page="/rare"),
        Happening(at("2026-04-14T12:01"), 2),
        Happening(at("2026-04-14T12:02"), 3),
    ]
    write(place, history)
    roll_up(place, history)
    rows = Rollup.objects.using("worker").filter(property_id=place.pk, dimension="page")
    rows.filter(value="/rare").update(value="(other)")
    question = {"metrics": ["pageviews"], "range": "2026-04-14"}
    filtered = ask(place, **question, filters=["is", "page", ["/rare"]])
    assert (filtered.totals["pageviews"], filtered.meta["route"]) == (1, "raw")
    by_page = ask(place, **question, dimensions=["page"])
    assert [row["page"] for row in by_page.rows] == ["/", "(other)"]
    assert by_page.meta["exact"] is False
    assert ask(place, **question).meta["exact"] is True
    # Nor is it exact where the rest does not come among the rows.
    best = question | {"metrics": ["pageviews", "visitors"], "limit": 1}
    cut = ask(place, **best, dimensions=["page"])
    assert [row["page"] for row in cut.rows] == ["/"]
    assert (cut.meta["exact"], cut.meta["route"]) == (False, "rolled")


def test_who_came_by_a_campaign_that_was_frequent_only_the_day_before_is_of_the_rest():
    from reports.models import Bitmap

    place = new_property()
    texts = {"campaign": "may"}
    history = [
        Happening(at("2026-04-13T23:50"), 1, texts=texts),
        Happening(at("2026-04-14T00:10"), 1, texts=texts),
    ]
    write(place, history)
    roll_up(place, history)
    bits = Bitmap.objects.using("worker").filter(property_id=place.pk, dimension="campaign")
    bits.filter(starts_at__gte=at("2026-04-14T00:00")).update(value="(other)")
    days = {"from": "2026-04-13", "to": "2026-04-14"}
    for limit in (1, 100):
        answer = ask(place, metrics=["visitors"], dimensions=["campaign"], range=days, limit=limit)
        assert (answer.meta["route"], answer.meta["exact"]) == ("rolled", False)
        rows = [{"campaign": "(other)", "visitors": 1}, {"campaign": "may", "visitors": 1}]
        assert answer.rows == rows[:limit]
        by_sessions = ask(
            place,
            metrics=["sessions", "visitors"],
            dimensions=["campaign"],
            range=days,
            limit=limit,
        )
        assert by_sessions.meta["exact"] is False
        assert by_sessions.rows[0] == {"campaign": "may", "sessions": 1, "visitors": 1}


def test_the_most_visited_pages_are_found_without_reading_all_bitmaps():
    place = new_property()
    history = [
        Happening(
            at("2026-04-14T12:00") + timedelta(seconds=n), 1 + n % (page + 1), page=f"/{page}"
        )
        for page in range(250)
        for n in range(page + 1)
        if page < 3 or page > 245
    ]
    history += [Happening(at("2026-04-14T13:00"), 1, page=f"/rare/{page}") for page in range(400)]
    write(place, history)
    roll_up(place, history)
    answer = ask(place, metrics=["visitors"], dimensions=["page"], range="2026-04-14", limit=3)
    assert answer.rows == [
        {"page": "/249", "visitors": 250},
        {"page": "/248", "visitors": 249},
        {"page": "/247", "visitors": 248},
    ]


def test_pages_with_as_many_events_stand_in_the_order_of_what_takes_people():
    place = new_property()
    history = [
        Happening(at("2026-04-14T12:00"), 1, page="/a"),
        Happening(at("2026-04-14T12:01"), 2, page="/a"),
        Happening(at("2026-04-14T12:02"), 3, page="/b"),
        Happening(at("2026-04-14T12:03"), 3, page="/b"),
    ]
    write(place, history)
    roll_up(place, history)
    answer = ask(
        place,
        metrics=["events", "events_per_visitor"],
        dimensions=["page"],
        range="2026-04-14",
        order_by=[["events", "desc"], ["events_per_visitor", "desc"]],
        limit=1,
    )
    assert answer.meta["route"] == "rolled"
    assert answer.rows == [{"page": "/b", "events": 2, "events_per_visitor": 2.0}]


def test_the_most_visited_entry_pages_count_who_came_before_the_range():
    place = new_property()
    history = []
    for visitor in range(1, 6):
        history += [Happening(at("2026-04-13T23:45"), visitor, page="/late")]
        history += [Happening(at("2026-04-14T00:10"), visitor, page="/")]
    for number in range(300):
        moment = at("2026-04-14T12:00") + timedelta(seconds=number)
        history += [Happening(moment, 10 + number, page=f"/{number}")]
    history += [Happening(at("2026-04-14T15:00"), 400, page="/0")]
    write(place, history)
    roll_up(place, history)
    answer = ask(
        place, metrics=["visitors"], dimensions=["entry_page"], range="2026-04-14", limit=2
    )
    assert answer.meta["route"] == "rolled"
    assert answer.rows == [
        {"entry_page": "/late", "visitors": 5},
        {"entry_page": "/0", "visitors": 2},
    ]


def test_comparing_gives_totals_and_periods_beside_periods():
    place = new_property(timezone="Europe/Berlin")
    history = [Happening(at("2026-04-10T12:00"), 1), Happening(at("2026-04-13T12:00"), 1)]
    history += [Happening(at("2026-04-14T12:00"), 2)]
    write(place, history)
    roll_up(place, history)
    answer = ask(
        place,
        metrics=["visitors"],
        dimensions=["time:day"],
        range={"from": "2026-04-12", "to": "2026-04-14"},
        compare="previous",
    )
    assert [row["visitors"] for row in answer.rows] == [0, 1, 1]
    assert answer.totals == {"visitors": 2}
    assert answer.compared == {
        "from": "2026-04-09T00:00:00+02:00",
        "to": "2026-04-12T00:00:00+02:00",
        "totals": {"visitors": 1},
        "rows": [
            {"time:day": "2026-04-09", "visitors": None},  # before the first event
            {"time:day": "2026-04-10", "visitors": 1},
            {"time:day": "2026-04-11", "visitors": 0},
        ],
    }


def test_periods_in_another_order_stand_beside_those_of_the_same_number():
    place = new_property()
    days = {8: 1, 9: 2, 10: 3, 11: 1, 12: 3, 13: 2, 14: 0}
    history = [
        Happening(at(f"2026-04-{day:02}T12:0{n}"), n) for day in days for n in range(days[day])
    ]
    write(place, history)
    roll_up(place, history)
    body = {"metrics": ["visitors"], "dimensions": ["time:day"]}
    body |= {"range": {"from": "2026-04-12", "to": "2026-04-14"}}

    def beside(first, last, *order):
        answer = ask(
            place, **body, order_by=[order], compare={"from": f"2026-04-{first:02}", "to": last}
        )
        return [
            [tuple(row.values()) for row in rows] for rows in (answer.rows, answer.compared["rows"])
        ]

    shown, other = beside(9, "2026-04-11", "visitors", "asc")
    assert shown == [("2026-04-14", 0), ("2026-04-13", 2), ("2026-04-12", 3)]
    assert other == [("2026-04-11", 1), ("2026-04-10", 3), ("2026-04-09", 2)]
    # A shorter range has no such period, and those of a longer one come behind.
    _, other = beside(10, "2026-04-11", "visitors", "asc")
    assert other == [(None, None), ("2026-04-11", 1), ("2026-04-10", 3)]
    _, other = beside(8, "2026-04-11", "time:day", "desc")
    assert [day for day, _ in other] == ["2026-04-10", "2026-04-09", "2026-04-08", "2026-04-11"]


def test_comparing_gives_each_row_its_own_numbers_in_the_other_range():
    place = new_property(timezone="Europe/Berlin")
    history = [
        *(Happening(at(f"2026-04-08T12:0{n}"), n, page="/fell") for n in range(3)),
        Happening(at("2026-04-09T12:00"), 3, page="/fell"),
        Happening(at("2026-04-09T12:00"), 4, page="/gone"),
        Happening(at("2026-04-14T12:00"), 1, page="/fell"),
        Happening(at("2026-04-14T12:00"), 2, page="/fell"),
        Happening(at("2026-04-15T09:00"), 2, page="/new"),
    ]
    write(place, history)
    roll_up(place, history)
    body = {
        "metrics": ["pageviews", "time_on_page"],
        "range": {"from": "2026-04-14", "to": "2026-04-15"},
    }
    for narrowed in ({}, {"filters": ["is_not", "page", ["/none"]]}, {"bots": "include"}):
        question = body | narrowed | {"dimensions": ["page"]}
        compared = ask(
            place, **question, compare={"from": "2026-04-08", "to": "2026-04-09"}
        ).compared
        assert compared["rows"] == [
            {"page": "/fell", "pageviews": 4, "time_on_page": 0.0},
            {"page": "/new", "pageviews": 0, "time_on_page": None},
        ]
        assert compared["totals"]["pageviews"] == 5
        # Nothing can be known of what was before the first event: that is not 0.
        compared = ask(
            place, **question, compare={"from": "2026-04-06", "to": "2026-04-07"}
        ).compared
        assert [row["pageviews"] for row in compared["rows"]] == [None, None]
    # Periods stand beside those of the same number, as far as there are any.
    compared = ask(
        place,
        **body,
        dimensions=["time:day", "page"],
        compare={"from": "2026-04-08", "to": "2026-04-08"},
    ).compared
    assert [tuple(row.values())[:3] for row in compared["rows"]] == [
        ("2026-04-08", "/fell", 3),
        (None, "/new", None),
    ]


def test_the_rest_of_a_table_is_compared_with_no_other_rest():
    from reports.models import Rollup

    place = new_property()
    history = [
        Happening(at(f"2026-04-{day}T12:0{n}"), n, page=page)
        for day in (13, 14)
        for n, page in enumerate(["/", "/", "/rare", "/seldom"])
    ]
    write(place, history)
    roll_up(place, history)
    rows = Rollup.objects.using("worker").filter(property_id=place.pk, dimension="page")
    rows.filter(value__in=["/rare"]).update(value="(other)")
    answer = ask(
        place,
        metrics=["pageviews"],
        dimensions=["page"],
        range="2026-04-14",
        compare={"from": "2026-04-13", "to": "2026-04-13"},
    )
    assert (answer.meta["route"], answer.meta["exact"]) == ("rolled", False)
    beside = zip(answer.rows, answer.compared["rows"], strict=True)
    assert [(row["page"], row["pageviews"], other["pageviews"]) for row, other in beside] == [
        ("/", 2, 2),
        ("(other)", 1, None),
        ("/seldom", 1, 1),
    ]


def test_a_value_that_is_called_like_the_rest_is_a_value_where_events_are_counted():
    place = new_property()
    history = [
        Happening(at(f"2026-04-{day}T12:0{n}"), n, page="(other)")
        for day in (13, 14)
        for n in range(day - 12)
    ]
    write(place, history)
    roll_up(place, history)
    body = {"metrics": ["pageviews"], "dimensions": ["page"], "range": "2026-04-14"}
    body |= {"compare": {"from": "2026-04-13", "to": "2026-04-13"}}
    for narrowed, beside in (({}, None), ({"filters": ["is_not", "page", ["/"]]}, 1)):
        answer = ask(place, **body, **narrowed)
        assert answer.rows == [{"page": "(other)", "pageviews": 2}]
        assert answer.compared["rows"] == [{"page": "(other)", "pageviews": beside}]
        assert answer.meta["exact"] is (beside is not None)
        assert (answer.meta["route"] == "rolled") is (beside is None)
        assert _in_file(place, body | narrowed) == [(2, beside)]


def _in_file(place, body):
    from accounts.tenancy import tenant
    from reports import queries

    with tenant(place.account_id):
        _, pairs = queries.ask_rows_compared(place, queries.parse_question(place, body, NOW), NOW)
        return [(row["pageviews"], other["pageviews"]) for row, other in pairs]


def test_a_row_without_a_country_is_compared_by_the_cheapest_route():
    place = new_property()
    history = [Happening(at(f"2026-04-{day}T12:00"), day) for day in (12, 13, 14)]
    write(place, history)
    roll_up(place, history)
    body = {"metrics": ["visitors", "bounce_rate"], "dimensions": ["country"]}
    body |= {"range": {"from": "2026-04-13", "to": "2026-04-14"}}
    narrowed = ask(place, **body, filters=["is", "country", ["", "DE"]])
    assert narrowed.rows == [{"country": "", "visitors": 2, "bounce_rate": 1.0}]
    assert narrowed.meta["route"] == "rolled"
    other = ask(place, **body, compare="previous").compared["rows"]
    assert other == [{"country": "", "visitors": 1, "bounce_rate": 1.0}]


def test_meta_says_of_which_time_and_how_complete():
    answer = ask(
        new_property(timezone="Europe/Berlin"),
        metrics=["visitors"],
        dimensions=["time:day"],
        range="week",
    )
    assert answer.meta["timezone"] == "Europe/Berlin"
    assert answer.meta["from"] == "2026-04-13T00:00:00+02:00"
    assert answer.meta["to"] == "2026-04-20T00:00:00+02:00"
    assert answer.meta["interval"] == "day"
    assert answer.meta["open_from"] == "2026-04-15"
    assert answer.meta["starts"][1] == "2026-04-14T00:00:00+02:00"
    assert answer.meta["complete_until"] == "2026-04-15T12:20:00+02:00"
    assert set(answer.meta["definitions"]) == {"visitors"}


def test_a_session_over_midnight_counts_where_it_starts_and_its_visitor_on_both_days():
    place = new_property()
    history = [
        Happening(at("2026-04-13T23:50"), 1),
        Happening(at("2026-04-14T00:10"), 1, page="/a"),
    ]
    write(place, history)
    roll_up(place, history)
    days = {"from": "2026-04-13", "to": "2026-04-14"}
    answer = ask(place, metrics=["visitors", "sessions"], dimensions=["time:day"], range=days)
    assert [(row["visitors"], row["sessions"]) for row in answer.rows] == [(1, 1), (1, 0)]
    assert answer.totals == {"visitors": 1, "sessions": 1}
    # Filtered by an event of the second day, the session still counts where it starts.
    answer = ask(
        place, metrics=["sessions"], dimensions=["time:day"], range=days,
        filters=["is", "page", ["/a"]],
    )  # fmt: skip
    assert [row["sessions"] for row in answer.rows] == [1, 0]


def test_plain_filters_hold_together_on_one_event():
    place = new_property()
    write(
        place,
        [
            Happening(at("2026-04-14T12:00"), 1, "signup", "/a"),
            Happening(at("2026-04-14T12:01"), 1, "pageview", "/b"),
        ],
    )
    both = ["and", ["is", "event", ["signup"]], ["is", "page", ["/b"]]]
    done = ["and", ["has_done", "event", ["signup"]], ["is", "page", ["/b"]]]
    question = {"metrics": ["visitors", "sessions", "events"], "range": "2026-04-14"}
    assert ask(place, **question, filters=both).totals == {
        "visitors": 0,
        "sessions": 0,
        "events": 0,
    }
    assert ask(place, **question, filters=done).totals == {
        "visitors": 1,
        "sessions": 1,
        "events": 1,
    }


@pytest.mark.parametrize(
    ("goal", "reached"),
    [
        ({"kind": "event", "event": "signup"}, [1, 3]),
        ({"kind": "page", "page": "/thanks*"}, [2]),
    ],
)
def test_a_goal_is_reached_by_what_its_property_says(goal, reached):
    from properties.goals import Happened, matches
    from properties.models import Goal

    place = new_property()
    made = Goal.objects.create(account=place.account, property=place, name="Goal", **goal)
    history = [
        Happening(at("2026-04-14T12:00"), 1, "signup", "/"),
        Happening(at("2026-04-14T12:00"), 2, "pageview", "/thanks/50%_off"),
        Happening(at("2026-04-14T12:00"), 3, "conversion", props={"goal": "Goal"}),
        Happening(at("2026-04-14T12:00"), 4, "conversion", props={"goal": "Other"}),
        Happening(at("2026-04-14T12:00"), 5, "pageview", "/thank"),
    ]
    write(place, history)
    assert reached == [
        event.visitor
        for event in history
        if matches(made, Happened(event.name, event.page, None, (event.props or {}).get("goal")))
    ]
    question = {"metrics": ["sessions", "visitors"], "range": "2026-04-14"}
    answer = ask(place, **question, filters=["is", "goal", ["Goal"]])
    assert answer.totals == {"sessions": len(reached), "visitors": len(reached)}
    others = ask(place, **question, filters=["not", ["is_not", "goal", ["Goal"]]])
    assert others.totals == answer.totals


def test_a_goal_that_there_is_not_is_refused():
    from properties.api import Invalid

    place = new_property()
    with pytest.raises(Invalid, match="Goal"):
        ask(place, metrics=["sessions"], filters=["is", "goal", ["Goal"]])
    with pytest.raises(Invalid, match="is_not"):
        ask(place, metrics=["sessions"], filters=["contains", "goal", ["Goal"]])


def test_a_pattern_takes_what_postgres_would_take_for_its_own():
    place = new_property()
    pages = ["/50%_a", "/500_a", "/50%xa", "/a\\b", "/a\\\\b"]
    write(
        place,
        [Happening(at("2026-04-14T12:00"), n, page=page) for n, page in enumerate(pages, 1)],
    )
    for pattern, found in [("/50%_*", 1), ("/a\\b", 1), ("/*", 5), ("*a", 3), ("*", 5), ("**b", 2)]:
        for bots in ("exclude", "include"):  # read from columns, and by Postgres
            answer = ask(
                place,
                metrics=["visitors"],
                range="2026-04-14",
                filters=["matches", "page", [pattern]],
                bots=bots,
            )
            assert answer.totals == {"visitors": found}, pattern


def test_a_tenant_sees_nothing_of_another_even_when_asked_by_mistake():
    from accounts.tenancy import tenant
    from reports import queries

    place, stranger = new_property(), new_property()
    write(place, [Happening(at("2026-04-14T12:00"), 1)])
    question = queries.parse_question(
        place, {"metrics": ["visitors"], "range": "2026-04-14", "bots": "include"}, NOW
    )
    with tenant(stranger.account_id):
        assert queries.ask(place, question, NOW).totals == {"visitors": 0}
    with tenant(place.account_id):
        assert queries.ask(place, question, NOW).totals == {"visitors": 1}


def test_reports_are_shown_while_valkey_is_away(monkeypatch):
    import redis

    from tracking import lag

    place = new_property()
    write(place, history := [Happening(at("2026-04-14T12:00"), 1)])
    roll_up(place, history)
    nowhere = redis.Redis(unix_socket_path="/nowhere/valkey.sock", retry=None)
    monkeypatch.setattr(lag, "events_client", lambda: nowhere)
    answer = ask(place, metrics=["visitors"], dimensions=["time:day"], range="7d")
    assert answer.totals == {"visitors": 1}
    assert answer.meta["complete_until"] is None
    assert answer.meta["open_from"] == "2026-04-15"


def test_a_real_log_gives_its_known_answers_and_both_routes_agree(testdata):
    from django.core.management import call_command

    from reports.rollups import roll_up_property
    from tracking.drain import drain_property

    place = new_property(timezone="UTC")
    log = testdata / "elastic_apache_2015" / "access.log.gz"
    call_command("import_log", place.key, str(log), "--quiet")
    drain_property(place)
    roll_up_property(place, datetime.now(UTC))
    days = {"from": "2015-05-17", "to": "2015-05-20"}
    answer = ask(
        place,
        metrics=["pageviews", "visitors", "sessions"],
        dimensions=["time:day"],
        range=days,
        bots="include",
    )
    assert answer.totals == {"pageviews": 3811, "visitors": 1257, "sessions": 2247}
    assert [row["pageviews"] for row in answer.rows] == [691, 1250, 997, 873]
    assert [row["visitors"] for row in answer.rows] == [258, 421, 409, 367]
    everything = ["contains", "event", [""]]
    for split in ("page", "source", "referrer", "entry_page", "browser", "time:hour"):
        question = {"metrics": ["visitors"], "dimensions": [split], "range": days, "limit": 5000}
        rolled, raw = ask(place, **question), ask(place, **question, filters=everything)
        assert (rolled.meta["route"], raw.meta["route"]) == ("rolled", "raw")
        assert rolled.rows == raw.rows


# -- the documentation -------------------------------------------------------------------------


def table_of(text, heading):
    """The cells of the Markdown table below a heading, without its head."""
    below = text.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in below.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


def test_the_documented_metrics_are_the_registered_ones():
    from reports.metrics import METRICS

    text = (DOCS / "metrics.md").read_text()
    assert table_of(text, "Metrics") == [
        [f"`{m.name}`", m.label, m.unit, m.module, m.definition] for m in METRICS.values()
    ]


def test_the_documented_dimensions_are_the_registered_ones():
    from properties.periods import CYCLES, KINDS
    from reports.metrics import DIMENSIONS

    text = (DOCS / "metrics.md").read_text()
    assert table_of(text, "Dimensions") == [
        [f"`{d.name}`", d.label, d.scope, d.module, "is a row" if d.blank else "is left out"]
        for d in DIMENSIONS.values()
    ]
    assert all(f"`time:{kind}`" in text for kind in (*KINDS, *CYCLES))


def test_the_documented_fields_and_codes_are_those_of_the_code():
    from reports import filters, questions

    text = (DOCS / "api.md").read_text()
    documented = {
        row[0].strip("`") for row in table_of(text, "Ask: `POST /api/v1/properties/{key}/query`")
    }
    assert documented == set(questions.FIELDS)
    for module in (questions, filters):
        source = Path(module.__file__).read_text()
        for code in re.findall(r'(?:Invalid|_invalid)\(\s*"(\w+)"', source):
            assert f"`{code}`" in text


def test_every_module_of_the_registry_stands_in_the_rulebook():
    from accounts import modules
    from reports.metrics import CONVERSIONS, DIMENSIONS, MEASURES, METRICS, QUANTILES, VISITORS

    for item in (*METRICS.values(), *DIMENSIONS.values()):
        modules.check(item.module, "view")
    known = {VISITORS, *MEASURES, *QUANTILES, *CONVERSIONS}
    assert {need for m in METRICS.values() for need in m.needs} <= known
