"""The tracker's second file as it is served: by the property's switches, from the collector, on a
page whose content security policy allows nothing but the collector."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.tracker.collector import Site

from .test_first_event import CHROME, wait_for_the_stream


@pytest.fixture
def site() -> Iterator[Site]:
    server = Site()
    yield server
    server.stop()


def shop_page(web: str, key: str) -> str:
    policy = f"default-src 'none'; script-src {web}; connect-src {web}"
    return f"""<!doctype html><title>Shop</title>
        <meta http-equiv="Content-Security-Policy" content="{policy}">
        <script defer src="{web}/js/trackr.js" data-property="{key}" data-allow-automation></script>
        <button class="track-it" data-trackr-type="button" data-trackr-label="buy"
         data-trackr-position="top">Buy</button>"""


def test_what_the_switches_ask_for_arrives_under_a_strict_policy(
    acme: Any, site: Site, new_context: Any, web_server: str
) -> None:
    from tests.people import new_property
    from tracking.drain import drain_all
    from tracking.models import Event

    place = new_property(acme, hostnames=[urlsplit(site.url).hostname])
    site.pages["/shop"] = shop_page(web_server, place.key)
    page = new_context(user_agent=CHROME).new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(f"{site.url}/shop")
    page.evaluate("new Promise((resolve) => trackr.interests(resolve))")  # the file is there
    page.click("button")
    page.evaluate("""() => {
        trackr.convert('newsletter', 2.5);
        trackr.shop('purchase', {transaction_id: 'T-1', value: 59.8, currency: 'EUR',
                                 items: [{item_id: 'SKU-1', price: 29.9, quantity: 2}]});
    }""")
    wait_for_the_stream(place, 6)  # the page view, the button three times, and two calls
    page.close()
    drain_all()
    rows = list(Event.objects.using("worker").filter(property_id=place.pk))
    kept = {row.name: row for row in rows}
    done = {row.props["event"] for row in rows if row.name == "element"}
    # A page that is closed takes the focus away, and may or may not tell.
    assert done - {"blur"} == {"mouseover", "focus", "click"}
    assert kept["element"].props["label"] == "buy"
    assert kept["conversion"].props == {"goal": "newsletter"}
    assert (kept["conversion"].revenue, kept["conversion"].currency) == (Decimal("2.5"), "EUR")
    assert kept["purchase"].props["items"] == [{"item_id": "SKU-1", "price": 29.9, "quantity": 2}]
    assert kept["purchase"].revenue == Decimal("59.8")
    assert set(kept) - {"engagement"} == {"pageview", "element", "conversion", "purchase"}
    assert complaints == []
