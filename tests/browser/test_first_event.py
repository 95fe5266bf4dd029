"""From the snippet to the report, as a customer sees it: two browsers, everything real.

A visitor's Chromium runs the tracker as it is served; the owner's stands on the snippet page and
turns green by itself once the worker has drained, and the overview shows the visit.
"""

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect

from tests.tracker.collector import Site


@pytest.fixture
def site() -> Iterator[Site]:
    server = Site()
    yield server
    server.stop()


CHROME = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/120.0.0.0 Safari/537.36"


def visit(new_context: Any, site: Site, web: str, key: str) -> Any:
    """A visitor's page with the snippet; her Chromium does not call itself headless."""
    site.pages["/shop"] = (
        "<!doctype html><title>Löwe &amp; Söhne</title><body><h1>Shop</h1>"
        f'<script defer src="{web}/js/trackr.js" data-property="{key}" data-allow-automation>'
        "</script></body>"
    )
    page = new_context(user_agent=CHROME).new_page()
    page.goto(f"{site.url}/shop?utm_source=newsletter&utm_campaign=spring")
    return page


def wait_for_the_stream(place: Any, entries: int) -> None:
    from tracking.drain import lengths

    deadline = time.monotonic() + 15
    while lengths([place])[0] < entries:
        assert time.monotonic() < deadline, "the collector did not get the event"
        time.sleep(0.1)


def test_the_first_event_turns_the_page_green_and_reaches_the_report(
    look: Any, alice: Any, acme: Any, site: Site, new_context: Any, web_server: str
) -> None:
    from reports.rollups import roll_up_property
    from tests.people import new_property
    from tracking.drain import drain_all

    place = new_property(acme, hostnames=[urlsplit(site.url).hostname])
    owner = look(alice, f"/p/{place.key}/snippet/")
    expect(owner.get_by_text("Waiting for the first event")).to_be_visible()
    overview = look(alice, f"/p/{place.key}/?range=today")
    expect(overview.locator("main")).to_contain_text("No event has arrived yet")
    # What a script gave to a field is not carried over by the swap, which the CSP would forbid.
    overview.evaluate("document.querySelector('#filter-value').style.caretColor = 'red'")

    visit(new_context, site, web_server, place.key)
    # The list below shows it before any worker has stored it.
    expect(owner.locator("#events tbody tr", has_text="pageview")).to_contain_text("accepted")
    wait_for_the_stream(place, 1)
    expect(overview.locator("body")).to_contain_text("1 now", timeout=20_000)
    drain_all()
    expect(owner.get_by_text("Waiting for the first event")).to_have_count(0, timeout=20_000)
    expect(owner.locator("main")).to_contain_text("pageview")
    roll_up_property(place, datetime.now(UTC))
    for shown in ("/shop", "newsletter", "Desktop"):  # by itself
        expect(overview.locator("main")).to_contain_text(shown, ignore_case=True, timeout=20_000)
