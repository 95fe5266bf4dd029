"""The calls of the first tracker about users, as its README promised them."""

import pytest
from playwright.sync_api import BrowserContext, Page

from .collector import Collector, Site


@pytest.mark.leaves_pages
def test_sign_up_update_and_log_out(
    tab: Page, site: Site, collector: Collector, visitor: BrowserContext
) -> None:
    tab.goto(f"{site.url}/a")
    collector.wait_for("pageview")
    tab.evaluate("trackr.signupUser('u1', {plan: 'pro'}, 1700000000)")
    [signup] = collector.wait_for("signupUser")
    assert signup["user"] == "u1"
    assert signup["props"] == {"plan": "pro", "signupDate": 1_700_000_000}
    assert {c["name"]: c["value"] for c in visitor.cookies()}["trackit_visitor"] == "u1"

    tab.goto(f"{site.url}/b")
    assert collector.wait_for("pageview", 2)[1]["user"] == "u1"  # the next page knows it
    tab.evaluate("trackr.updateUser({plan: 'free'})")
    [update] = collector.wait_for("updateUser")
    assert (update["user"], update["props"]) == ("u1", {"plan": "free"})

    tab.evaluate("trackr.logoutUser(); trackr.track('after')")
    [logout] = collector.wait_for("logoutUser")
    [after] = collector.wait_for("after")
    assert logout["user"] == "u1"
    assert not after.get("user")
    assert "trackit_visitor=" not in tab.evaluate("document.cookie")
    tab.goto(f"{site.url}/c")
    assert not collector.wait_for("pageview", 3)[2].get("user")


def test_log_in_and_import(tab: Page, site: Site, collector: Collector) -> None:
    tab.goto(site.url)
    tab.evaluate("trackr.loginUser(7)")
    tab.evaluate("trackr.loginAndImportUser('u2', {plan: 'old'}, 1600000000)")
    [login] = collector.wait_for("loginUser")
    [imported] = collector.wait_for("importUser")
    assert (login["user"], login["props"]) == ("7", {})
    assert (imported["user"], imported["props"]["plan"]) == ("u2", "old")
    assert imported["props"]["signupDate"] == 1_600_000_000
    assert collector.sent("signupUser") == []


@pytest.mark.leaves_pages
def test_without_its_cookie_the_user_is_known_for_the_page(
    tab: Page, site: Site, collector: Collector
) -> None:
    site.html = site.html.replace("data-property", 'data-visitor-cookie-name="" data-property')
    tab.goto(site.url)
    tab.evaluate("trackr.loginUser('u1'); trackr.track('a')")
    [event] = collector.wait_for("a")
    assert event["user"] == "u1"
    assert "u1" not in tab.evaluate("document.cookie")
    tab.goto(site.url)
    assert "user" not in collector.wait_for("pageview", 2)[1]
