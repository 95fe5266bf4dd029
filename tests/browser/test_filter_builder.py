"""The filter builder as a reader has it: it offers values, counts before anything is applied, stays
open from one filter to the next, and keeps what is built as a segment. One page, looked at once."""

import re
from typing import Any

from playwright.sync_api import expect

from tests.test_report_page import MARCH, fill, history

from .conftest import Look, findings, overflow


def test_a_segment_is_built_by_clicking_and_kept(look: Look, alice: Any, shop: Any) -> None:
    fill(shop, history(days=2))
    page = look(alice, f"/p/{shop.key}/?range={MARCH}")
    page.locator("#card-sources .row-link").first.click()
    expect(page.locator(".chip")).to_have_count(1)
    page.locator("#filter-menu > summary").click()
    expect(page.locator("#count")).to_contain_text("visitor")
    applied = page.url

    page.select_option("#filter-dimension", "country")
    assert page.locator("#filter-operator option:enabled").all_inner_texts() == [
        "is", "is not", "contains", "does not contain", "matches"
    ]  # fmt: skip
    page.locator("#filter-value").press_sequentially("d")
    offered = page.locator("#filter-values option[value=DE]")
    expect(offered).to_have_count(1)
    page.fill("#filter-value", "nowhere")
    expect(page.locator("#count")).to_contain_text("0 of ")
    assert page.url == applied, "nothing is applied while somebody types"

    page.fill("#filter-value", "DE")
    page.locator("#filter-form button[type=submit]").click()
    expect(page.locator(".chip")).to_have_count(2)
    expect(page.locator("#filter-menu")).to_have_attribute("open", "")
    page.select_option("[name=filter_into]", "or:1")
    page.select_option("#filter-dimension", "page")
    page.select_option("#filter-operator", "has_done")
    page.fill("#filter-value", "/")
    page.keyboard.press("Enter")
    expect(page.locator(".builder-line")).to_have_count(4)
    assert "filter=any(&filter=country:is:DE&filter=page:has_done:/&filter=)" in page.url
    assert findings(page) == []
    page.get_by_role("link", name="none of", exact=True).click()
    expect(page.locator(".chips")).to_contain_text("Not Country is Germany")
    expect(page).to_have_url(re.compile(r"none\("))
    page.go_back()
    expect(page.locator(".chips")).not_to_contain_text("Not Country")
    page.set_viewport_size({"width": 360, "height": 800})
    page.locator("#filter-menu > summary").click()
    assert overflow(page) == 0

    page.set_viewport_size({"width": 1280, "height": 900})
    page.locator("#keep-segment > summary").click()
    page.fill("#keep-segment [name=name]", "<b>Germany</b>")
    page.locator("#keep-segment button").click()
    expect(page.locator(".chip bdi")).to_have_text("<b>Germany</b>")
    page.locator("#segments-menu > summary").click()
    page.get_by_role("link", name="All segments").click()
    expect(page.locator("tbody")).to_contain_text("(Country is Germany or Visitor has seen page /)")
    assert findings(page) == []
