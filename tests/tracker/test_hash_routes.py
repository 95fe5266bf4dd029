"""Routes after #: pages where the property says so, and otherwise neither pages nor sent."""

from collections.abc import Callable

from playwright.sync_api import Page

from .collector import Collector, Site
from .test_routes import paths


def test_switched_on_each_fragment_is_a_page(
    tab: Page, site: Site, collector: Collector, sentinel: Callable[[], None]
) -> None:
    collector.configure(capture=["hash_routes"])
    tab.goto(f"{site.url}/#/a")
    collector.wait_for("pageview")
    tab.evaluate("location.hash = '#/b'")
    collector.wait_for("pageview", 2)
    tab.evaluate("history.back()")
    collector.wait_for("pageview", 3)
    tab.evaluate("history.replaceState({n: 1}, '', location.href)")
    sentinel()
    assert paths(collector, site) == ["/#/a", "/#/b", "/#/a"]
    assert collector.accepted("pageview")[1]["referrer"] == f"{site.url}/#/a"


def test_switched_off_no_fragment_leaves_the_page(
    tab: Page, site: Site, collector: Collector, sentinel: Callable[[], None]
) -> None:
    tab.goto(f"{site.url}/#token=secret")
    collector.wait_for("pageview")
    tab.evaluate("location.hash = '#secret2'")
    sentinel()
    assert paths(collector, site) == ["/"]
    assert "secret" not in str(collector.requests)
