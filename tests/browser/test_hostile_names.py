"""Whatever people name things, it is text on every page: nothing runs without a content security
policy, and nothing offends against it. The pages are those of the table in tests/test_access.py,
so that a new one is looked at by itself."""

from typing import Any

from tests.people import signed_in_as
from tests.test_access import PRIVACY, REPORTS, ROWS, Row, path_of, places
from tests.test_sessions_of_people import browser

from .conftest import Look

__all__ = ["places"]
HOSTILE = "\"'></title></script><img src=x onerror=__ran=1><script>__ran=1</script>{{7*7}}"
OWN_PAGES = ("profile", "email", "password/change", "2fa", "sessions", "logout")


def name_everything(places: dict[str, Any]) -> None:
    """A hostile name for all that has one, and for what the audit log and sessions keep."""
    from properties.models import ApiKey, Goal, ShareLink
    from tracking.models import Person

    alice, acme, shop = places["alice"], places["acme"], places["shop"]
    program = browser(alice, HOSTILE)  # its user agent is kept, too
    form = {"name": HOSTILE, "grants": ["audience:view"]}
    program.post(f"/a/{acme.slug}/api-keys/", form)
    people = Person.objects.using("worker").filter(property_id=shop.pk)
    assert people.update(user=HOSTILE, traits={HOSTILE: HOSTILE})
    for model in (ApiKey, Goal, ShareLink):
        changed = model.objects.of(acme).filter(pk=model.objects.of(acme).first().pk)
        assert changed.update(name=HOSTILE[: model._meta.get_field("name").max_length])
    for thing in (alice, acme, shop):
        type(thing).objects.filter(pk=thing.pk).update(name=HOSTILE)
    for member in acme.memberships.exclude(user=alice):
        user = member.user
        type(user).objects.filter(pk=user.pk).update(name=HOSTILE)


def paths(places: dict[str, Any]) -> list[str]:
    """Every page that its owner may look at."""
    rows = [row for row in (*ROWS, *PRIVACY, *REPORTS) if is_page(row)]
    own = [f"/user/{page}/" for page in OWN_PAGES]
    found = dict.fromkeys([*(path_of(row, places) for row in rows), *own])
    client = signed_in_as(places["alice"])
    return [path for path in found if is_html(client.get(path))]


def is_page(row: Row) -> bool:
    return row.method == "GET" and row.key is None and row.owner == 200


def is_html(answer: Any) -> bool:
    kind = answer.headers.get("Content-Type", "")
    return kind.startswith("text/html") and "attachment" not in str(answer.headers)


def test_a_hostile_name_runs_on_no_page(
    look: Look, places: dict[str, Any], complaints: list[str]
) -> None:
    name_everything(places)
    seen = paths(places)
    assert len(seen) > 20
    shown = 0
    for bypass in (True, False):
        page = look(places["alice"], seen[0], bypass_csp=bypass)
        origin = page.url.split("/", 3)
        for path in seen:
            page.goto("/".join(origin[:3]) + path, wait_until="load")
            assert page.evaluate("window.__ran") is None, path
            assert page.evaluate("window.violations") == [], path
            shown += "onerror=__ran" in page.locator("body").inner_text()
        ran = "const s = document.createElement('script'); s.text = 'window.__ran = 1';"
        page.evaluate(f"() => {{ {ran} document.body.append(s); }}")
        # The other way round: what slips in does run without the policy, and is stopped by it.
        assert page.evaluate("window.__ran") == (1 if bypass else None)
        if not bypass:
            assert len(page.evaluate("window.violations")) == 1
            page.evaluate("window.violations = []")
            complaints.clear()
    assert shown > 20
