"""Every page, full of hostile, long and right-to-left texts: whatever people name things and
whatever senders send, it is text. Nothing runs without a content security policy, nothing offends
against it; our pages fit a phone and a screen, in both themes, and axe finds nothing. The pages are
those of the table in tests/test_access.py and of the administration, so that a new one is looked at
by itself."""

import io
import re
from typing import Any
from urllib.parse import quote

from playwright.sync_api import Page

from tests.people import fresh, new_link, signed_in_as
from tests.test_access import TABLES, ours, places
from tests.test_collector import pageview, post
from tests.test_inspector import watched
from tests.test_sessions_of_people import browser

from .conftest import Look, findings, overflow
from .pages import pages_of

__all__ = ["places"]
HOSTILE = "\"'></title></script><img src=x onerror=__ran=1><script>__ran=1</script>{{7*7}}"
RIGHT_TO_LEFT = "مرحبا بالعالم "
# Current tabs that their row has scrolled out of sight.
OUT_OF_SIGHT = """() => [...document.querySelectorAll(":is(.tabs, .subnav) [aria-current]")]
  .filter((tab) => {
    const [row, own] = [tab.parentElement, tab].map((one) => one.getBoundingClientRect());
    return own.left < row.left - 1 || own.right > row.right + 1;
  })
  .map((tab) => tab.textContent)"""
SEEN = """() => [window.__ran, window.violations,
  document.body.innerText.includes("onerror=__ran=1")]"""
POLICY = "content-security-policy"
OF_ADMINISTRATION = ("ledger", "usage", "refusals", "ticks", "audit")


def name_everything(places: dict[str, Any]) -> None:
    """A hostile name for all that has one, and for what the audit log and sessions keep."""
    from django.utils import timezone

    from properties.models import ApiKey, Goal, Invitation, ShareLink
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
    assert Goal.objects.of(acme).update(event=HOSTILE)
    assert Invitation.objects.of(acme).update(email=HOSTILE)
    for thing in (alice, acme, shop):
        thing.name = HOSTILE  # in the object, too: who saves it later leaves the name alone
        thing.save()
    shop.name = (HOSTILE + RIGHT_TO_LEFT * 6)[: shop._meta.get_field("name").max_length]
    shop.save()
    shop.replace_key(30, timezone.now())  # its settings show the former one, too
    for member in acme.memberships.exclude(user=alice):
        user = member.user
        named = {"name": HOSTILE, "email": f"{HOSTILE}{user.pk}"}
        type(user).objects.filter(pk=user.pk).update(**named)


def run_the_house(places: dict[str, Any]) -> None:
    """What the administration keeps: a plan, a visit of support, what could not be stored."""
    from datetime import timedelta

    from django.utils import timezone

    from accounts import audit
    from accounts.models import Plan, SupportSession
    from tracking.models import Quarantined

    alice, acme, shop, now = places["alice"], places["acme"], places["shop"], timezone.now()
    alice.is_staff = alice.is_superuser = True
    alice.save()
    plan = Plan.objects.create(name=f"<img src=x onerror=__ran=1>{fresh('plan')}")
    type(acme).objects.filter(pk=acme.pk).update(plan=plan)
    SupportSession.objects.create(
        staff=alice, user=places["vera"], reason=HOSTILE, account_ids=[acme.pk],
        started=now - timedelta(hours=1), ends=now, ended=now,
    )  # fmt: skip
    Quarantined.objects.using("worker").create(
        account_id=acme.pk, property_id=shop.pk, entry="1-1", received_at=now, reason=HOSTILE,
        payload=HOSTILE.encode(),
    )  # fmt: skip
    told = {HOSTILE: HOSTILE}
    audit.record(acme, "goal.created", actor=alice, target=HOSTILE, old=told, new=told)


def send_everything(web: str, place: Any) -> None:
    """Events with a hostile text wherever one fits, stored and counted; and refused ones."""
    from django.core.management import call_command

    watched(web, place)
    tags = "&".join(f"utm_{name}={quote(HOSTILE)}" for name in ("source", "medium", "campaign"))
    texts = {"title": HOSTILE, "language": HOSTILE, "tab": HOSTILE}
    texts |= {"user": HOSTILE, "props": {HOSTILE: HOSTILE, "plan": HOSTILE}}
    view = texts | {"url": f"https://shop.example/{HOSTILE}?{tags}"}
    events = [
        pageview(**view),
        pageview(**view, referrer=f"https://evil.example/{HOSTILE}", session=HOSTILE),
        pageview(**view, name=HOSTILE, revenue={"amount": "1.50", "currency": "EUR"}),
        pageview(**view, name="sign_up", event_id=HOSTILE, visitor=HOSTILE),
        pageview(**texts, name=HOSTILE, url=HOSTILE),
        pageview(**view, name="wrong", time=HOSTILE, screen=HOSTILE, revenue={"amount": HOSTILE}),
    ]
    got = post(web, {"property": place.key, "events": events}).json
    assert (got["accepted"], len(got["rejected"])) == (4, 2), got
    for command in ("drain", "roll_up"):
        call_command(command, stdout=io.StringIO())


def paths(places: dict[str, Any]) -> list[str]:
    """Every page that its owner may look at, those of links, and those of the administration."""
    client = signed_in_as(places["alice"])
    inspector = f"/p/{places['shop'].key}/inspector/"
    shown = re.findall(r"event=[\w.:-]+", client.get(inspector).content.decode())
    inspected = [f"{inspector}?{event}" for event in dict.fromkeys(shown)]
    assert len(inspected) >= 4
    wanted = [*inspected, *pages_of(places), *tables(places), *administration(client)]
    return list(dict.fromkeys([*wanted, "/no-such-page/"]))


def tables(places: dict[str, Any]) -> list[str]:
    """All tables there are, and the pages of a link that shows all."""
    from django.urls import reverse

    modules = ("audience", "sources", "content", "events", "realtime")
    _, token = new_link(places["shop"], *modules)
    given = {"table": {"key": places["shop"].key}, "shared_table": {"token": token}}
    found = [
        reverse(p.name, kwargs=given[p.name] | {"dimension": p.default_args["dimension"]})
        for _, p in ours()
        if p.name in TABLES and p.name in given
    ]
    live = f"live/?filter=page:is:{quote(HOSTILE)}"
    return [*found, *(f"/share/{token}/{page}" for page in ("", "now/", "live/", live))]


def administration(client: Any) -> list[str]:
    """Its own pages, every list of its index, and the first things of each."""
    index = client.get("/admin/").content.decode()
    lists = dict.fromkeys(re.findall(r'href="(/admin/\w+/\w+/)"', index))
    assert len(lists) > 6
    things: list[str] = []
    for each in lists:
        listed = client.get(each).content.decode()
        things += list(dict.fromkeys(re.findall(rf'href="({each}\d+/change/)', listed)))[:2]
    assert len(things) > 6
    return ["/admin/", *(f"/admin/{page}/" for page in OF_ADMINISTRATION), *lists, *things]


def objections(page: Page) -> list[str]:
    """On a phone by night; then, without a further request, on a wide screen by day."""
    found = []
    for width, scheme in ((360, "dark"), (1280, "light")):
        page.set_viewport_size({"width": width, "height": 900})
        page.emulate_media(color_scheme=scheme)
        wider = overflow(page)
        wrong = [*findings(page), *([f"too wide: {wider} px"] if wider else [])]
        found += [f"{width}: {each}" for each in [*wrong, *page.evaluate(OUT_OF_SIGHT)]]
    page.set_viewport_size({"width": 360, "height": 900})
    page.emulate_media(color_scheme="dark")
    return found


def policy_only_reports(page: Page) -> list[str]:
    """From now on nothing is stopped, and what offends the policy is reported: what a page would do
    without a policy and what it does against it are seen at one look. Out: the documents that came
    without a policy."""
    network = page.context.new_cdp_session(page)
    bare: list[str] = []

    def arrived(event: dict[str, Any]) -> None:
        answer: dict[str, Any] = {"requestId": event["requestId"]}
        if 300 <= event["responseStatusCode"] < 400:
            network.send("Fetch.continueResponse", answer)
            return
        named = [(each["name"].lower(), each["value"]) for each in event["responseHeaders"]]
        if POLICY not in dict(named):
            bare.append(event["request"]["url"])
        headers = [{"name": n + "-report-only" * (n == POLICY), "value": v} for n, v in named]
        body = network.send("Fetch.getResponseBody", answer)
        assert body["base64Encoded"]
        answer |= {"responseCode": event["responseStatusCode"], "responseHeaders": headers}
        network.send("Fetch.fulfillRequest", answer | {"body": body["body"]})

    network.on("Fetch.requestPaused", arrived)
    documents = {"resourceType": "Document", "requestStage": "Response"}
    network.send("Fetch.enable", {"patterns": [documents]})
    return bare


def slip_in(page: Page) -> tuple[Any, int]:
    """Put a script into the page, as no text may: (what it left behind, offences it made)."""
    ran = "const s = document.createElement('script'); s.text = 'window.__ran = 1';"
    page.evaluate(f"() => {{ {ran} document.body.append(s); }}")
    left, offences = page.evaluate("[window.__ran, window.violations.splice(0).length]")
    return left, offences


PARTS = ("/now/", "/count/", "/glance/")


def test_every_page_shows_text_as_text_fits_and_is_for_everybody(
    look: Look, places: dict[str, Any], complaints: list[str], web_server: str
) -> None:
    name_everything(places)
    run_the_house(places)
    send_everything(web_server, places["shop"])
    seen = paths(places)
    assert len(seen) > 60
    # Of our own making, and not a part of a page.
    judged = {path for path in pages_of(places) if not path.endswith(PARTS)}
    assert len(judged) > 30
    shown: set[str] = set()
    wrong = {}
    page = look(places["alice"], seen[0], 360, "dark")
    # What slips in is stopped by the policy; where that only reports, it runs, and both is noticed.
    assert slip_in(page) == (None, 1)
    bare = policy_only_reports(page)
    page.goto(web_server + seen[0])
    assert slip_in(page) == (1, 1)
    complaints.clear()
    for path in seen:
        page.goto(web_server + path, wait_until="load")
        ran, violations, hostile = page.evaluate(SEEN)
        assert (ran, violations) == (None, []), path
        if hostile:
            shown.add(path)
        if path in judged and (found := objections(page)):
            wrong[path] = found
    assert bare == []
    complaints[:] = [each for each in complaints if "404" not in each]  # of /no-such-page/
    hidden = sorted(set(seen) - shown)
    assert len(shown) > 50, hidden
    assert wrong == {}
