"""Visits that the demo's shop might have: a seed and a day in, payloads for the collector out.

Pure and deterministic: the same seed, anchor and day give the same visits with the same event
ids, whenever they are made, so making a day twice adds nothing. `seed_demo` sends past days in
one go; `simulate_demo` makes visits of the moment and sends each step when its time has come,
with the heartbeats of a real tracker between them.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import cycle
from random import Random
from typing import Any, Final
from uuid import UUID, uuid5

from properties import periods
from tracking.demo import shop

VISITS_A_DAY: Final = 215
GROWTH: Final = 1.009  # a day, around the anchor
CAMPAIGN_EVERY, CAMPAIGN_DAY = 28, 17  # the sale comes every 28 days, first 11 days before today
CAMPAIGN_PEAK: Final = 2.1
RETURNING, BOTS = 0.3, 0.03
BEAT_MS, HIDDEN_BEAT_MS = 5_000, 60_000
_NAMESPACE: Final = UUID("0d6a1b55-54c5-5f0e-9d43-7d2f1b7f4c01")

# Visits by hour of the day (0-23) and by weekday (Monday first): evenings and Sundays are busy.
_HOURS: Final = (
    0.28, 0.16, 0.1, 0.08, 0.1, 0.2, 0.5, 0.85, 1.0, 1.05, 1.1, 1.2,
    1.35, 1.15, 1.05, 1.05, 1.1, 1.2, 1.4, 1.7, 1.9, 1.7, 1.15, 0.6,
)  # fmt: skip
_WEEKDAYS: Final = (1.0, 0.97, 0.98, 1.02, 0.93, 0.84, 1.16)
_BUYS: Final = 0.035


@dataclass(frozen=True)
class Visitor:
    """A browser that can come back. `address` and `agent` are what its requests would have."""

    id: str
    address: str
    agent: str
    language: str = ""
    screen: str = ""
    bot: bool = False


@dataclass(frozen=True)
class Step:
    """A payload and the moment (epoch ms) at which it is sent."""

    at: int
    payload: dict[str, Any]


@dataclass(frozen=True)
class Visit:
    """Events in the order of their times; afterwards the tab stays open for `lingers` ms."""

    visitor: Visitor
    tab: str
    steps: tuple[Step, ...]
    lingers: int


@dataclass(frozen=True)
class Plan:
    """A demo: `anchor` is the local date at which it was made, around which it grows."""

    seed: str
    anchor: date
    timezone: str = shop.ZONE

    @property
    def _tz(self) -> Any:
        return periods.zone(self.timezone)

    def history(self, after: int, until: int) -> Iterator[Step]:
        """Every step of [after, until) (epoch ms), day by day, in the order of time."""
        day = self._local(after).date() - timedelta(days=1)  # visits cross midnight
        late: list[Step] = []
        while (start := _ms(periods.day_start(day, self._tz))) < until:
            steps = late + [step for visit in self.visits(day) for step in visit.steps]
            steps.sort(key=lambda step: step.at)
            day += timedelta(days=1)
            end = _ms(periods.day_start(day, self._tz))
            late = [step for step in steps if step.at >= end]
            yield from (s for s in steps if after <= s.at < min(until, end) and s.at >= start)

    def visits(self, day: date) -> list[Visit]:
        """The visits that begin on that day."""
        rng = Random(f"{self.seed}/{day}")  # noqa: S311  # a demo, not a secret
        start = periods.day_start(day, self._tz)
        end = _ms(periods.day_start(day + timedelta(days=1), self._tz))
        made = []
        for number in range(round(self.expected(day) * rng.uniform(0.93, 1.07))):
            hour = rng.choices(range(24), _HOURS)[0]
            at = _ms(start) + round((hour + rng.random()) * 3_600_000)
            # The shortest day of the year has 23 hours.
            made.append(self._visit(rng, day, number, min(at, end - 1)))
        return made

    def live_visit(self, number: int, now: int) -> Visit:
        """A visit that begins now."""
        rng = Random(f"{self.seed}/live/{now}/{number}")  # noqa: S311
        return self._visit(rng, self._local(now).date(), number, now, live=True)

    def expected(self, day: date) -> float:
        """How many visits that day would have, but for chance."""
        growth = GROWTH ** max(-60, min(60, (day - self.anchor).days))
        peak = CAMPAIGN_PEAK if self.is_campaign(day) else 1.0
        return VISITS_A_DAY * _WEEKDAYS[day.weekday()] * growth * peak

    def is_campaign(self, day: date) -> bool:
        return (day - self.anchor).days % CAMPAIGN_EVERY == CAMPAIGN_DAY

    def rhythm(self, now: int) -> float:
        """How busy this hour of the day is; 1 on average."""
        return _HOURS[self._local(now).hour] * 24 / sum(_HOURS)

    def visitor(self, day: date, number: int) -> Visitor:
        """The visitor who came as that day's number so-and-so for the first time."""
        rng = Random(f"{self.seed}/visitor/{day}/{number}")  # noqa: S311
        country = _pick(rng, tuple(shop.COUNTRIES.values()))
        agent = _pick(rng, shop.AGENTS)
        return Visitor(
            id=str(self._uuid("visitor", day, number)),
            address=f"{rng.choice(country.prefixes)}.{rng.randrange(256)}.{rng.randrange(1, 255)}",
            agent=agent.text,
            language=rng.choice(country.languages),
            screen=rng.choice(agent.screens),
        )

    def _visit(self, rng: Random, day: date, number: int, at: int, live: bool = False) -> Visit:
        name = f"live/{at}/{number}" if live else f"{day}/{number}"
        chance = rng.random()
        if chance < BOTS:
            return self._crawl(rng, name, at)
        if chance < BOTS + RETURNING:
            earlier = day - timedelta(days=min(28, 1 + int(rng.expovariate(1 / 5))))
            visitor = self.visitor(earlier, rng.randrange(VISITS_A_DAY // 2))
        else:
            # Live visitors must not be the ones whom the plan of the day already has.
            visitor = self.visitor(day, (at % 10**9) * 1_000 + number if live else number)
        arrivals = [(arrival, arrival.weight) for arrival in shop.ARRIVALS]
        if self.is_campaign(day):
            arrivals += [(arrival, arrival.weight * 12) for arrival in shop.CAMPAIGN]
        [arrival] = rng.choices([a for a, _ in arrivals], [weight for _, weight in arrivals])
        walk = _Walk(rng, visitor, str(self._uuid(name, "tab")), at, pace=2 if live else 1)
        walk.go(arrival)
        steps = tuple(
            Step(step_at, {"event_id": str(self._uuid(name, index)), **payload})
            for index, (step_at, payload) in enumerate(walk.steps)
        )
        return Visit(visitor, walk.tab, steps, round(min(7_200, rng.expovariate(1 / 3_000)) * 1000))

    def _crawl(self, rng: Random, name: str, at: int) -> Visit:
        agent = rng.choice(shop.BOTS)
        bot = Visitor(str(self._uuid("bot", agent)), "66.249.66.1", agent, bot=True)
        steps = []
        for index in range(rng.randrange(1, 6)):
            page = rng.choice(shop.PRODUCTS)
            payload = {
                "event_id": str(self._uuid(name, index)),
                **_payload(bot, "", at, "pageview", page.path, page.title),
            }
            steps.append(Step(at, payload))
            at += rng.randrange(1_000, 9_000)
        return Visit(bot, "", tuple(steps), 0)

    def _uuid(self, *name: object) -> UUID:
        return uuid5(_NAMESPACE, "/".join(map(str, (self.seed, *name))))

    def _local(self, ms: int) -> datetime:
        return periods.wall(datetime.fromtimestamp(ms / 1000, UTC), self._tz)


def heartbeats(visit: Visit, rng: Random) -> Iterator[Step]:
    """The pings of a visit: engaged or visible while it has steps; then a tab left open, hidden
    for some minutes and looked at for some seconds; at last gone."""
    if visit.visitor.bot or not visit.steps:
        return
    leaves = visit.steps[-1].at
    at, closes = visit.steps[0].at, leaves + visit.lingers
    for hidden in cycle((False, True)):
        if not hidden:
            until = leaves if at < leaves else at + rng.expovariate(1 / 35_000)
        else:
            until = at + rng.expovariate(1 / 110_000)
        while at < min(until, closes):
            state = "hidden" if hidden else "engaged" if rng.random() < 0.65 else "visible"
            beat = HIDDEN_BEAT_MS if hidden else BEAT_MS
            yield Step(at, _ping(visit, at, state, beat))
            at += round(min(beat, max(1_000, until - at)))
        if at >= closes:
            break
    yield Step(max(at, closes), _ping(visit, closes, "gone", 0))


def _ping(visit: Visit, at: int, state: str, next_ms: int) -> dict[str, Any]:
    page = next(
        (step.payload["url"] for step in reversed(visit.steps) if step.at <= at),
        visit.steps[0].payload["url"],
    )
    return {
        "name": "ping",
        "visitor": visit.visitor.id,
        "tab": visit.tab,
        "state": state,
        "next_ms": next_ms,
        "url": page,
        "_address": visit.visitor.address,
        "_agent": visit.visitor.agent,
    }


def _payload(
    visitor: Visitor, tab: str, at: int, name: str, path: str, title: str
) -> dict[str, Any]:
    payload = {
        "name": name,
        "visitor": visitor.id,
        "tab": tab,
        "time": at,
        "url": f"https://{shop.HOST}{path}",
        "title": title,
        "screen": visitor.screen,
        "language": visitor.language,
        "_address": visitor.address,
        "_agent": visitor.agent,
    }
    return {field: value for field, value in payload.items() if value != ""}


class _Walk:
    """One visitor's way through the shop; collects (time, payload) in `steps`.

    `pace` 2: everything takes twice as long, so that few visits keep a live page busy.
    """

    def __init__(self, rng: Random, visitor: Visitor, tab: str, at: int, pace: int) -> None:
        self.pace = pace
        self.rng, self.visitor, self.tab, self.at = rng, visitor, tab, at
        self.steps: list[tuple[int, dict[str, Any]]] = []
        self.page, self.title, self.referrer = "", "", ""
        self.basket: list[shop.Product] = []
        self.loads = False  # whether the page has just been loaded

    def go(self, arrival: shop.Arrival) -> None:
        self.referrer = arrival.referrer
        if arrival.name in ("google", "bing", "duckduckgo") and self.rng.random() < 0.3:
            lands = "article"
        else:
            lands = arrival.lands
        path, title = self._landing(lands)
        query = arrival.query.replace("{click}", f"Cj0KCQ{self.rng.getrandbits(64):x}")
        self.view(path, title, query)
        if self.rng.random() < arrival.bounces:
            self.leave(self.rng.uniform(2, 9))
            return
        if path == shop.HOME[0]:
            self.teasers()
        self.leave()
        wants = self.rng.random() < _BUYS * arrival.serious
        for _ in range(1 + int(self.rng.expovariate(1 / 2.4)) + 2 * wants):
            self.stroll(wants)
        if wants and not self.basket:
            self.look_at(_pick(self.rng, shop.PRODUCTS), buy=True)
        if self.basket:
            self.check_out(certainly=wants)

    def _landing(self, lands: str) -> tuple[str, str]:
        if lands == "any":
            lands = self.rng.choices(["home", "product", "list"], [55, 28, 17])[0]
        if lands == "article":
            return _pick(self.rng, shop.ARTICLES)[:2]
        if lands == "product":
            return _pick(self.rng, shop.PRODUCTS)[:2]
        if lands in ("new", "sale"):
            found = next(c for c in shop.COLLECTIONS if c[0].endswith(lands))
            return found[:2]
        return _pick(self.rng, shop.COLLECTIONS)[:2] if lands == "list" else shop.HOME

    def stroll(self, wants: bool) -> None:
        """Something that people do in shops."""
        what = self.rng.choices(
            ["product", "list", "search", "article", "service", "home", "missing"],
            [44, 22, 9, 8, 6, 11, 1],
        )[0]
        if what == "product":
            chance = 0.75 if wants else 0.07
            self.look_at(_pick(self.rng, shop.PRODUCTS), buy=self.rng.random() < chance)
        elif what == "search":
            self.search()
        elif what == "missing":
            self.view(*shop.GONE)
            self.event("not_found", {})
            self.leave(4)
        else:
            table = {"list": shop.COLLECTIONS, "article": shop.ARTICLES, "service": shop.SERVICE}
            path, title = _pick(self.rng, table[what])[:2] if what in table else shop.HOME
            self.view(path, title)
            if what == "home":
                self.teasers()
            self.leave()
            if what == "article":
                self.read_on()

    def search(self) -> None:
        words, _, results = self.rng.choices(shop.SEARCHES, [s[1] for s in shop.SEARCHES])[0]
        self.view("/search", "Search", "q=" + words.replace(" ", "+"))
        self.event("search", {"query": words, "results": results})
        self.leave()

    def read_on(self) -> None:
        """What an article offers at its end; most take nothing."""
        if self.rng.random() < 0.06:
            self.event("newsletter_signup", {"form": "footer"})
        for name, url, chance in shop.LINKS:
            if self.rng.random() < chance:
                self.event(name, {"url": url})

    def teasers(self) -> None:
        """Marked elements of the first page: who scrolls sees them, and follows one at most."""
        teased = self.rng.sample(shop.TEASED, len(shop.TEASERS_SEEN))
        for place, (product, seen) in enumerate(zip(teased, shop.TEASERS_SEEN, strict=True), 1):
            if self.rng.random() > seen:
                return
            called = {"type": "teaser", "label": product.title, "position": f"{place}"}
            self.event("element_shown", called)
            if self.rng.random() < 0.3:
                self.event("element", {"event": "mouseover", **called})
                if self.rng.random() < product.weight / 16:
                    self.event("element", {"event": "click", **called})
                    self.view(product.path, product.title)
                    return

    def look_at(self, product: shop.Product, buy: bool) -> None:
        self.view(product.path, product.title)
        if buy:
            self.at += round(self.rng.uniform(6, 40) * 1000)
            self.basket.append(product)
            self.trade("add_to_cart", [product])
        self.leave()

    def check_out(self, certainly: bool) -> None:
        """The way to the till, which most leave: some at the basket, some at the form."""
        self.view("/cart", "Your basket")
        self.leave()
        if not certainly and self.rng.random() < 0.6:
            return
        self.view("/checkout", "Checkout")
        self.trade("begin_checkout", self.basket)
        self.leave(self.rng.uniform(40, 160))
        if not certainly and self.rng.random() < 0.7:
            return
        self.view("/thanks", "Thank you")
        order = f"D-{self.rng.getrandbits(40):010x}"
        self.trade("purchase", self.basket, transaction_id=order)
        self.leave(self.rng.uniform(5, 30))

    def view(self, path: str, title: str, query: str = "") -> None:
        self.page, self.title = path, title
        payload = _payload(self.visitor, self.tab, self.at, "pageview", path, title)
        if query:
            payload["url"] += f"?{query}"
        if self.referrer:
            payload["referrer"] = self.referrer
        payload["load_ms"] = min(15_000, round(self.rng.lognormvariate(math.log(850), 0.5)))
        self.loads = True
        self.steps.append((self.at, payload))
        self.referrer = f"https://{shop.HOST}{path}"

    def vitals(self) -> dict[str, Any]:
        """What the browser measured of the load: phones are slower."""
        slow = 1.6 if self.visitor.screen.startswith(("3", "4")) else 1.0
        typical = {"ttfb": 280, "fcp": 900, "lcp": 1_500, "inp": 90}
        found: dict[str, Any] = {
            name: min(15_000, round(self.rng.lognormvariate(math.log(ms * slow), 0.5)))
            for name, ms in typical.items()
        }
        return found | {"cls": round(self.rng.expovariate(18 / slow), 4)}

    def event(self, name: str, props: dict[str, Any]) -> None:
        self.at += round(self.rng.uniform(0.5, 3) * 1000)
        payload = _payload(self.visitor, self.tab, self.at, name, self.page, self.title)
        self.steps.append((self.at, payload | {"props": props}))

    def trade(self, name: str, products: list[shop.Product], **more: str) -> None:
        """An event of e-commerce; what is in the basket twice is one line of two pieces."""
        items = [
            {
                "item_id": product.path.rpartition("/")[2],
                "item_name": product.title,
                "price": product.price,
                "quantity": quantity,
            }
            for product, quantity in Counter(products).items()
        ]
        value = sum(product.price for product in products)
        self.event(name, {"currency": shop.CURRENCY, "value": value, "items": items, **more})

    def leave(self, seconds: float | None = None) -> None:
        """Stay for a while (most stay shortly, a few for long), then say how long it was."""
        if seconds is None:
            typical = 62 if self.page.startswith("/guides") else 24
            seconds = min(600, max(3, self.rng.lognormvariate(math.log(typical), 0.8)))
        self.at += round(seconds * 1000) * self.pace
        if self.loads and self.rng.random() < 0.03:
            self.event("web_vitals", self.vitals())
        self.loads = False
        payload = _payload(self.visitor, self.tab, self.at, "engagement", self.page, self.title)
        payload["engaged_ms"] = round(seconds * self.rng.uniform(0.5, 0.97) * 1000)
        payload["scroll"] = min(100, round(self.rng.triangular(10, 100, 30 + min(60, seconds))))
        self.steps.append((self.at, payload))


def _pick(rng: Random, table: Sequence[Any]) -> Any:
    """One row of a table, by its weight (the last column)."""
    return rng.choices(table, [row[-1] for row in table])[0]


def _ms(instant: datetime) -> int:
    return round(instant.timestamp() * 1000)
