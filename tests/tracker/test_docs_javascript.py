"""docs/javascript.md: every example is run, and sends and gives what its comment says."""

import json
import re
from typing import Any

from playwright.sync_api import Page

from .collector import FRONTEND, Collector, Site
from .conftest import modern, page
from .switches import visit

DOCS = (FRONTEND.parent / "docs" / "javascript.md").read_text()
EXPERIMENTS = re.search(r"data-experiments='.*?'", DOCS)
ELEMENT = re.search(r'<button class="track-it".*?</button>', DOCS)
GIVES = re.compile(r"^(.*); // gives (.*)$", re.MULTILINE)
AUTOMATIC = ("pageview", "engagement", "ping", "element_shown")


def examples() -> list[str]:
    """The blocks of JavaScript, in their order."""
    return re.findall(r"```js\n(.*?)```", DOCS, re.DOTALL)


def promised(block: str) -> list[tuple[str, Any, Any]]:
    """(event, props, revenue) of each "// sends"."""
    found = re.findall(r"// sends (\w+)(?: (\{.*?\}))?(?: worth (\{.*\}))?$", block, re.MULTILINE)
    return [
        (name, json.loads(props) if props else None, json.loads(worth) if worth else None)
        for name, props, worth in found
    ]


def test_every_example_does_what_it_says(tab: Page, site: Site, collector: Collector) -> None:
    from properties.capture import NAMES

    assert EXPERIMENTS
    assert ELEMENT
    site.html = page(modern(collector, EXPERIMENTS[0]), ELEMENT[0])
    tab.context.add_cookies(
        [{"name": "trackit_v_visitor", "value": "visitor-of-the-docs", "url": site.url}]
    )
    visit(tab, site, collector, *NAMES)
    expected: list[tuple[str, Any, Any]] = []
    for block in examples():
        code = re.sub(GIVES, r"given.push(\1);", block)
        given = tab.evaluate(f"() => {{ const given = []; {code} return given }}")
        assert given == [json.loads(value) for _, value in re.findall(GIVES, block)]
        expected += promised(block)
        tab.evaluate("trackr.track('next example')")
        expected.append(("next example", None, None))
        collector.wait_for("next example", [name for name, *_ in expected].count("next example"))
    sent = [
        (event["name"], event.get("props"), event.get("revenue"))
        for event in collector.accepted()
        if event["name"] not in AUTOMATIC
    ]
    assert sent == expected
    assert tab.title() == "tea"
    assert tab.evaluate("document.body.className") == "low"


def test_the_switches_are_those_that_exist() -> None:
    from properties import capture

    rows = re.findall(r"^\| `(\w+)` \| .* \| (yes|no) \|$", DOCS, re.MULTILINE)
    assert rows == [
        (switch.name, "yes" if switch.is_default else "no") for switch in capture.SWITCHES
    ]


def test_every_event_of_the_second_file_is_listed() -> None:
    table = DOCS.split("## What is captured without a call")[1].split("\n\n")[1]
    listed = {row.split("|")[1].strip(" `") for row in table.splitlines()[2:]}
    code = "".join((FRONTEND / "tracker" / name).read_text() for name in ("more.js", "vitals.mjs"))
    sent = set(re.findall(r'(?:send|emit|makeEvent)\(\s*"(\w+)"', code))
    assert sent - listed == {"conversion", "interest", "exposure"}  # calls, each with its chapter
    assert listed <= sent
