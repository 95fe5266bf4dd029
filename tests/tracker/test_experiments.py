"""variant(experiment): drawn once for a visitor, evenly, without asking anybody."""

import re
from collections import Counter
from collections.abc import Callable

import pytest
from playwright.sync_api import Page

from .collector import FRONTEND, KEY, Collector, Site
from .conftest import modern, page
from .switches import visit

SCRIPT = FRONTEND / "tracker" / "more.js"
ARMS = 'data-experiments=\'{"checkout": ["control", "new"], "price": {"low": 3, "high": 1}}\''
# One visitor after the other in the same browser, which remembers what it was given ...
DRAW_AGAIN = """([experiment, many]) => Array.from({length: many}, (_, i) => {
    const id = `00000000-0000-4000-8000-${String(i).padStart(12, '0')}`;
    document.cookie = `trackit_v_visitor=${id};path=/`;
    return trackr.variant(experiment);
})"""
# ... or has forgotten it.
DRAW = DRAW_AGAIN.replace("return", f"localStorage.removeItem('trackr_{KEY}_variants'); return")

_LOT = re.search(r"const lot = (.+?\n  \});", SCRIPT.read_text(), re.DOTALL)
assert _LOT
LOTS = f"""([experiment, many]) => Array.from({{length: many}}, (_, i) => {{
    const id = `00000000-0000-4000-8000-${{String(i).padStart(12, '0')}}`;
    return ({_LOT[1].rstrip(";")})(`${{experiment}}\n${{id}}`);
}})"""


@pytest.fixture
def shop(tab: Page, site: Site, collector: Collector) -> None:
    site.html = page(modern(collector, ARMS))
    visit(tab, site, collector, "calls")
    collector.wait_for("pageview")


@pytest.mark.leaves_pages
@pytest.mark.usefixtures("shop")
def test_a_visitor_keeps_the_variant_and_is_exposed_once_a_session(
    tab: Page, collector: Collector, sentinel: Callable[[], None]
) -> None:
    first = tab.evaluate("trackr.variant('checkout')")
    assert first in ("control", "new")
    asked = "new Promise((resolve) => trackr('variant', 'checkout', resolve))"
    assert tab.evaluate(asked) == first
    tab.reload()
    assert tab.evaluate(asked) == first
    sentinel()
    [exposure] = collector.accepted("exposure")
    assert exposure["props"] == {"experiment": "checkout", "variant": first}

    # Also with an id that would draw another one; a new session is exposed again.
    assert set(tab.evaluate(DRAW_AGAIN, ["checkout", 20])) == {first}
    tab.evaluate("document.cookie = 'trackit_session=another-session;path=/'")
    assert tab.evaluate("[1, 2, 3].map(() => trackr.variant('checkout'))") == [first] * 3
    sentinel()
    assert len(collector.accepted("exposure")) == 2


@pytest.mark.usefixtures("shop")
def test_a_thousand_visitors_are_drawn_evenly_and_always_the_same(tab: Page) -> None:
    tab.route("**/track", lambda route: route.abort())  # works offline
    drawn = {name: tab.evaluate(LOTS, [name, 1000]) for name in ("checkout", "price")}
    new = [lot >= 1 / 2 for lot in drawn["checkout"]]
    high = [lot >= 3 / 4 for lot in drawn["price"]]
    assert 450 < sum(new) < 550
    assert 205 < sum(high) < 295
    assert 85 < sum(map(all, zip(new, high, strict=True))) < 165  # neither follows the other
    tenths = Counter(int(lot * 10) for lot in drawn["checkout"])
    assert all(65 < tenths[tenth] < 135 for tenth in range(10))

    given = tab.evaluate(DRAW, ["checkout", 20])
    assert given == ["new" if each else "control" for each in new[:20]]
    assert tab.evaluate(DRAW, ["price", 20]) == ["high" if each else "low" for each in high[:20]]
    assert tab.evaluate(DRAW, ["checkout", 20]) == given


@pytest.mark.usefixtures("shop")
def test_an_unknown_experiment_has_no_variant(
    tab: Page, collector: Collector, sentinel: Callable[[], None]
) -> None:
    for name in ("other", "constructor", "__proto__"):
        answer = tab.evaluate(
            "name => new Promise((resolve) => trackr.variant(name, (v) => resolve([v])))", name
        )
        assert answer == [None]
    sentinel()
    assert collector.sent("exposure") == []


def test_cookieless_everybody_gets_the_first_and_nothing_is_measured(
    tab: Page, site: Site, collector: Collector, sentinel: Callable[[], None]
) -> None:
    site.html = page(modern(collector, ARMS))
    visit(tab, site, collector, "calls", mode="cookieless")
    assert tab.evaluate("[trackr.variant('checkout'), trackr.variant('price')]") == [
        "control", "low",
    ]  # fmt: skip
    sentinel()
    assert collector.sent("exposure") == []
    assert tab.evaluate("localStorage.length") == 0
