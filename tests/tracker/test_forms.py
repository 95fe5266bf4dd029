"""Forms that were submitted: which one, never what was in them."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page

from .collector import Collector, Site
from .conftest import modern, page
from .switches import visit

FORMS = """
<form id=contact><input name=id value=Zq7wXk2v><input type=password value=Zq7wXk2v></form>
<form name=search><input name=q value=Zq7wXk2v></form>
<form action="/newsletter/join?token=Zq7wXk2v"><input name=mail value=a@b.example></form>
<form><input></form>
<form id=invalid><input required></form>
<script>addEventListener('submit', (event) => event.preventDefault())</script>
"""


def submit_all(tab: Page) -> None:
    tab.evaluate("document.querySelectorAll('form').forEach((form) => form.requestSubmit())")


def test_which_form_and_no_value(
    tab: Page, site: Site, collector: Collector, sentinel: Callable[[], None]
) -> None:
    site.html = page(modern(collector), FORMS)
    visit(tab, site, collector, "forms", path="/start")
    submit_all(tab)
    sentinel()
    assert [event["props"] for event in collector.accepted("form_submit")] == [
        {"form": "contact"},
        {"form": "search"},
        {"form": "/newsletter/join"},
        {"form": "/start"},
    ]
    assert "Zq7wXk2v" not in str(collector.requests)
    assert "b.example" not in str(collector.requests)


@pytest.mark.leaves_pages
def test_a_form_that_leaves_the_page(tab: Page, site: Site, collector: Collector) -> None:
    site.html = page(modern(collector), "<form action=/thanks><button>Go</button></form>")
    visit(tab, site, collector, "forms")
    tab.click("button")
    tab.wait_for_url("**/thanks?")
    collector.wait(lambda: collector.sent("form_submit"), "form_submit")
    assert {event["props"]["form"] for event in collector.sent("form_submit")} == {"/thanks"}


def test_switched_off_nothing(
    tab: Page, site: Site, collector: Collector, sentinel: Callable[[], None]
) -> None:
    site.html = page(modern(collector), FORMS)
    visit(tab, site, collector, "elements")
    submit_all(tab)
    sentinel()
    assert collector.sent("form_submit") == []
