"""Elements that came into view: told once a page view, when half of them was there for a second."""

from collections.abc import Callable

from playwright.sync_api import Page

from .collector import Collector, Site
from .conftest import modern, page
from .switches import visit
from .test_elements import tracked

# The browser calls observers in the order in which they were made: the tracker's before this one.
LOOKED = """() => new Promise((done) => {
  const observer = new IntersectionObserver(() => { observer.disconnect(); done(); });
  observer.observe(document.documentElement);
})"""
BODY = (
    tracked("p", "first", "", "1")
    + tracked("p", "second", "", "2")
    + tracked("p", "empty")
    + '<p data-trackr-type="t" data-trackr-label="bare" data-trackr-position="top">no class</p>'
    + tracked("input", "secret", "type=password")
    + '<div id=place></div><div style="height: 3000px"></div>'
    + tracked("p", "far", "id=far", "far")
    + '<div style="height: 3000px"></div>'
    + tracked("div", "tall", 'id=tall style="height: 2500px"')
)


def told(collector: Collector) -> list[str]:
    return [event["props"]["label"] for event in collector.accepted("element_shown")]


def test_what_is_in_view_for_a_second_is_shown(
    tab: Page, site: Site, collector: Collector, stopped: None, sentinel: Callable[[], None]
) -> None:
    def later(ms: int) -> list[str]:
        """What was told when so much time has gone by since the browser last looked."""
        tab.evaluate(LOOKED)
        tab.clock.run_for(ms)
        sentinel()
        return told(collector)

    site.html = page(modern(collector), BODY)
    visit(tab, site, collector, "shown")
    assert later(999) == []
    assert later(1) == ["first", "second"]
    [batch] = [r.events for r in collector.requests if "element_shown" in str(r.body)]
    assert [event["props"] for event in batch if event["name"] == "element_shown"] == [
        {"type": "t", "label": label, "position": "top"} for label in ("first", "second")
    ]
    tab.locator("p").first.dispatch_event("click")  # the other switch is off
    assert collector.accepted("element") == []

    tab.evaluate("far.scrollIntoView()")
    assert "far" not in later(600)
    tab.evaluate("hidden_()")
    assert "far" not in later(2000)
    tab.evaluate("shown()")
    assert "far" not in later(999)
    assert later(1)[2:] == ["far"]

    # Scrolled past again, and made anew: not twice. What is new is told.
    tab.evaluate("scrollTo(0, 0)")
    new = tracked("p", "first", "", "1") + tracked("p", "late", "", "3")
    tab.evaluate("html => { place.innerHTML = html }", new)
    later(500)
    assert later(1000)[3:] == ["late"]
    tab.evaluate("tall.scrollIntoView()")
    assert later(1000)[4:] == ["tall"]

    tab.evaluate("scrollTo(0, 0); history.pushState({}, '', '/next')")
    tab.clock.run_for(200)
    later(1000)
    assert set(told(collector)[5:]) == {"first", "second", "late"}

    many = "".join(f"<i>{tracked('b', f'b{i}', '', '.')}</i>" for i in range(150))
    tab.evaluate("html => { place.innerHTML = html }", many)
    later(500)
    assert len(later(1000)) == 5 + 100
    assert not {"secret", "bare", "empty"} & set(told(collector))


def test_switched_off_nothing(
    tab: Page, site: Site, collector: Collector, stopped: None, sentinel: Callable[[], None]
) -> None:
    site.html = page(modern(collector), BODY)
    visit(tab, site, collector, "elements")
    tab.evaluate(LOOKED)
    tab.clock.run_for(3000)
    sentinel()
    assert {event["name"] for event in collector.sent()} <= {"pageview", "engagement", "sentinel"}
