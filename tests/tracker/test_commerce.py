"""shop(name, fields): GA4's events as they are; the collector's schema reads them."""

from collections.abc import Callable

from playwright.sync_api import Page

from tests.test_intake import judged

from .collector import Collector, Site
from .switches import visit

ORDER = {
    "transaction_id": "T-1",
    "value": 59.8,
    "currency": "EUR",
    "items": [{"item_id": "SKU-1", "price": 29.9, "quantity": 2}],
}


def test_an_order_arrives_as_sent_and_is_revenue(
    tab: Page, site: Site, collector: Collector
) -> None:
    visit(tab, site, collector, "calls")
    tab.evaluate("order => { trackr.shop('purchase', order); order.items.length = 0 }", ORDER)
    [event] = collector.wait_for("purchase")
    assert event["props"] == ORDER
    assert "revenue" not in event
    read = judged(event | {"time": None}, hostnames=("*",))
    assert (read.name, read.revenue, read.currency) == ("purchase", "59.8", "EUR")


def test_what_cannot_be_sent_is_not(
    tab: Page, site: Site, collector: Collector, sentinel: Callable[[], None]
) -> None:
    visit(tab, site, collector, "calls")
    tab.evaluate("const order = {items: []}; order.self = order; trackr.shop('purchase', order)")
    sentinel()
    assert collector.sent("purchase") == []


def test_all_items_of_the_largest_order_arrive(tab: Page, site: Site, collector: Collector) -> None:
    visit(tab, site, collector, "calls")
    tab.evaluate("""trackr.shop('view_item_list', {items: Array.from({length: 200}, (_, i) => ({
        item_id: `SKU-${i}`, item_name: 'A product with quite a long name '.repeat(8), index: i,
    }))})""")
    [event] = collector.wait_for("view_item_list")
    assert [item["index"] for item in event["props"]["items"]] == list(range(200))
    judged(event | {"time": None}, hostnames=("*",))
