"""A page of a property with certain capture switches on: what the tests of more.js begin with."""

from typing import Any

from playwright.sync_api import Page

from .collector import Collector, Site


def visit(
    tab: Page, site: Site, collector: Collector, *switches: str, path: str = "/", **config: Any
) -> None:
    """Open the site with these switches on, and wait until more.js listens."""
    collector.configure(capture=list(switches), more="/js/more.js", **config)
    tab.goto(site.url + path)
    tab.wait_for_function("trackr.consent()")
