"""Links to files: by the usual extensions, or because the page says so."""

from collections.abc import Callable

from playwright.sync_api import Page

from .collector import Collector, Site
from .conftest import modern, page
from .switches import visit

LINKS = """
<a href="/files/List.PDF?v=2#page=3">pdf</a>
<a href="/export" download>export</a>
<a href="https://cdn.example/setup.tar.gz">elsewhere</a>
<a href="/page.html">page</a>
<a href="/pdf">no file</a>
<a href="data:text/plain,x" download="x.txt">made by the page</a>
<script>addEventListener('click', (event) => event.preventDefault())</script>
"""


def click_all(tab: Page) -> None:
    tab.evaluate("document.querySelectorAll('a').forEach((link) => link.click())")


def test_files_and_nothing_else(
    tab: Page, site: Site, collector: Collector, sentinel: Callable[[], None]
) -> None:
    site.html = page(modern(collector), LINKS)
    visit(tab, site, collector, "downloads", "outbound")
    click_all(tab)
    sentinel()
    assert [event["props"] for event in collector.accepted("download")] == [
        {"url": f"{site.url}/files/List.PDF?v=2"},
        {"url": f"{site.url}/export"},
        {"url": "https://cdn.example/setup.tar.gz"},
    ]
    assert collector.sent("outbound") == []  # one click, one event


def test_switched_off_a_file_elsewhere_is_a_link(
    tab: Page, site: Site, collector: Collector, sentinel: Callable[[], None]
) -> None:
    site.html = page(modern(collector), LINKS)
    visit(tab, site, collector, "outbound")
    click_all(tab)
    sentinel()
    assert collector.sent("download") == []
    assert len(collector.sent("outbound")) == 1
