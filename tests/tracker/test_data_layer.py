"""E-commerce that the page tells its data layer, before and after the tracker is there."""

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page

from .collector import FRONTEND, Collector, Site
from .conftest import modern, page
from .switches import visit

BEFORE = """<script>
window.dataLayer = [{event: 'gtm.js'}, {event: 'view_item', ecommerce: {items: [{item_id: 'a'}]}}];
function gtag() { dataLayer.push(arguments) }
gtag('js', new Date());
gtag('event', 'add_to_cart', {currency: 'EUR', value: 5, items: [{item_id: 'a'}],
    user_data: {email: 'secret@b.example'}, send_to: 'G-1'});
</script>"""


def test_objects_and_gtag_before_and_after(
    tab: Page, site: Site, collector: Collector, sentinel: Callable[[], None]
) -> None:
    site.html = page(BEFORE + modern(collector))
    visit(tab, site, collector, "data_layer")
    lengths = tab.evaluate("""() => [
        dataLayer.push({event: 'purchase', email: 'secret@b.example',
                        ecommerce: {transaction_id: 'T-1', value: 5, items: [{item_id: 'a'}]}}),
        gtag('event', 'refund', {transaction_id: 'T-1'}),
        dataLayer.length,
    ]""")
    assert lengths == [5, None, 6]
    sentinel()
    shop = [
        each for each in collector.accepted() if each.get("props") and each["name"] != "sentinel"
    ]
    assert [(each["name"], each["props"]) for each in shop] == [
        ("view_item", {"items": [{"item_id": "a"}]}),
        ("add_to_cart", {"currency": "EUR", "value": 5, "items": [{"item_id": "a"}]}),
        ("purchase", {"transaction_id": "T-1", "value": 5, "items": [{"item_id": "a"}]}),
        ("refund", {"transaction_id": "T-1"}),
    ]
    assert "secret" not in str(collector.requests)


def test_nothing_else_of_it_and_the_page_does_not_notice(
    tab: Page, site: Site, collector: Collector, sentinel: Callable[[], None]
) -> None:
    site.html = page(
        "<script>window.dataLayer = []; dataLayer.push = function (entry) {"
        "if (entry === 'bad') throw new Error('of the page'); return [this.length, entry]}</script>"
        + modern(collector)
    )
    visit(tab, site, collector, "data_layer")
    said = tab.evaluate("""() => {
        for (const entry of [null, 7, 'purchase', {}, {event: 'login', ecommerce: {items: []}},
            {event: 'purchase'}, {event: 'purchase', ecommerce: {purchase: {actionField: {}}}},
            ['event', 'page_view', {items: []}], ['config', 'purchase', {items: []}],
            {event: 'purchase', get ecommerce() { throw 1 }}]) dataLayer.push(entry);
        let error;
        try { dataLayer.push('bad') } catch (thrown) { error = thrown.message }
        return [dataLayer.push('x'), error];
    }""")
    assert said == [[0, "x"], "of the page"]
    sentinel()
    assert {event["name"] for event in collector.sent()} <= {"pageview", "engagement", "sentinel"}


@pytest.mark.leaves_pages
def test_switched_off_it_is_not_touched(
    tab: Page, site: Site, collector: Collector, sentinel: Callable[[], None]
) -> None:
    site.html = page(BEFORE + modern(collector))
    visit(tab, site, collector, "calls")
    assert tab.evaluate("dataLayer.push === Array.prototype.push")
    sentinel()
    assert {event["name"] for event in collector.sent()} <= {"pageview", "engagement", "sentinel"}
    site.html = page(modern(collector))
    tab.reload()
    tab.wait_for_function("trackr.consent()")
    assert tab.evaluate("'dataLayer' in window") is False


def test_names_and_fields_are_those_of_the_schema() -> None:
    from tracking import commerce

    code = (FRONTEND / "tracker" / "more.js").read_text()

    def pattern(name: str) -> re.Pattern[str]:
        found = re.search(name + r" =\s+/(.+)/;", code)
        assert found
        return re.compile(found[1])

    events, fields = pattern("SHOP_EVENTS"), pattern("SHOP_FIELDS")
    assert [name for name in commerce.EVENTS if not events.match(name)] == []
    assert [name for name in [*commerce.FIELDS, "items"] if not fields.match(name)] == []
    known = {*commerce.EVENTS, *commerce.FIELDS, "items"}
    words = set(re.findall(r"[a-z_]+", code)) - known
    assert [word for word in words if events.match(word) or fields.match(word)] == []
