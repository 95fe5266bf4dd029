"""Fixtures for pages in a real Chromium, served as in real life (`web_server`).

`look(user, path, ...)` opens a page as somebody; whatever the browser complains about on the way
(console, dialogs, uncaught errors, violations of the content security policy) lands in
`page.complaints`, which is asserted empty at the end of every test.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

from tests.people import signed_in_as

ROOT = Path(__file__).parents[2]
AXE = ROOT / "frontend" / "node_modules" / "axe-core" / "axe.min.js"
LISTEN = """
window.violations = [];
document.addEventListener('securitypolicyviolation', (event) =>
  violations.push(`${event.violatedDirective}: ${event.blockedURI} ${event.sample}`));
"""
OBJECT = """() => axe.run({ resultTypes: ["violations"] }).then((found) =>
  found.violations.map(({ id, help, nodes }) => `${id}: ${help}: ${nodes[0].html}`))"""

Look = Callable[..., Page]


@pytest.fixture
def complaints() -> list[str]:
    return []


@pytest.fixture
def look(new_context: Any, web_server: str, complaints: list[str]) -> Any:
    """look(user, path, width=1280, scheme="light", fresh=True, **options) -> the open page."""
    opened: list[Page] = []

    def open_page(
        user: Any,
        path: str,
        width: int = 1280,
        scheme: str = "light",
        fresh: bool = True,
        **options: Any,
    ) -> Page:
        context = new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, **options
        )
        context.set_default_timeout(30_000)
        context.add_init_script(LISTEN)
        cookie = signed_in_as(user, fresh).cookies["sessionid"].value
        context.add_cookies([{"name": "sessionid", "value": cookie, "url": web_server}])
        page = context.new_page()
        page.on("console", lambda message: note(message, complaints))
        page.on("pageerror", lambda error: complaints.append(f"error: {error}"))
        page.on("dialog", lambda dialog: _refuse(dialog, complaints))
        page.goto(web_server + path)
        opened.append(page)
        return page

    yield open_page
    for page in opened:
        if page.context.pages and page.evaluate("'violations' in window"):
            complaints += page.evaluate("window.violations")
    assert complaints == []


def _refuse(dialog: Any, complaints: list[str]) -> None:
    complaints.append(f"dialog: {dialog.message}")
    dialog.dismiss()


def note(message: Any, complaints: list[str]) -> None:
    """A policy that is only reported on speaks as information."""
    if message.type in ("error", "warning") or "Content Security Policy" in message.text:
        complaints.append(f"{message.type}: {message.text} {message.location.get('url', '')}")


def overflow(page: Page) -> int:
    """By how many pixels the page is wider than the window."""
    return page.evaluate(
        "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    )


def findings(page: Page) -> list[str]:
    """What axe objects to: the rule, and the first element that breaks it.

    The page gets axe once, and hands out what is wrong alone: all that is right, with the markup
    of each element, costs more than finding it."""
    assert AXE.is_file(), "axe-core is missing: run `npm ci` in frontend/"
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE.read_text())
    return page.evaluate(OBJECT)
