"""Who agrees to be counted, and as whom: consent, signals of the browser, and the sites allowed."""

import json
import uuid
from typing import Any

import pytest

from tests.people import new_key, new_property
from tests.test_intake import judged, pageview

VISITOR = "0d5c3f1e-7a0b-4f77-8f65-2f3e0d5c3f1e"
SESSION = "6f1d5b0c-2b7e-4a5d-9d1f-0a4e6c9f0a11"


def verdict(payload: dict[str, Any], origin: dict[str, Any] | None = None, **settings: Any) -> str:
    """known, nameless, or the reason of the refusal."""
    from tracking.refusals import Refusal

    sent = payload | {"visitor": VISITOR, "session": SESSION, "user": "42"}
    try:
        event = judged(sent, origin, **settings)
    except Refusal as refusal:
        return str(refusal.reason)
    if event.visitor_uuid == VISITOR:
        assert (event.session, event.user, event.cookieless) == (SESSION, "42", False)
        return "known"
    assert (event.session, event.cookieless) == (None, True)
    return "user only" if event.user else "nameless"


@pytest.mark.parametrize(
    ("mode", "unanswered", "granted", "cookieless"),
    [
        ("granted", "known", "known", "nameless"),
        ("cookieless", "user only", "user only", "nameless"),
        ("required", "consent_denied", "known", "nameless"),
    ],
)
def test_the_answer_of_a_visitor_in_every_mode(
    mode: str, unanswered: str, granted: str, cookieless: str
) -> None:
    assert verdict(pageview(), mode=mode) == unanswered
    assert verdict(pageview(consent="granted"), mode=mode) == granted
    assert verdict(pageview(consent="cookieless"), mode=mode) == cookieless
    for no in ("denied", "yes", "", 1, True, [], {"granted": True}, "\ud800"):
        assert verdict(pageview(consent=no), mode=mode) == "consent_denied"


def test_the_id_of_a_click_is_kept_of_those_only_who_are_known() -> None:
    url = "https://shop.example/?utm_source=news&gclid=Cj0K"
    known, nameless = (
        judged(pageview(url=url, visitor=VISITOR, consent=word))
        for word in ("granted", "cookieless")
    )
    assert (known.query, nameless.query) == ("utm_source=news&gclid=Cj0K", "utm_source=news")
    assert judged(pageview(url=url, visitor=VISITOR), mode="cookieless").query == "utm_source=news"
    assert (nameless.source, nameless.channel) == (known.source, known.channel)


@pytest.mark.parametrize("signal", ["gpc", "dnt"])
@pytest.mark.parametrize("mode", ["granted", "cookieless", "required"])
def test_a_signal_does_what_the_property_says(mode: str, signal: str) -> None:
    from tracking.refusals import Reason

    origin = {"signal": Reason(signal)}
    event = pageview(consent="granted")
    unsigned = verdict(event, mode=mode)
    assert verdict(event, origin, mode=mode, signals="ignore") == unsigned
    assert verdict(event, origin, mode=mode, signals="cookieless") == "nameless"
    assert verdict(event, origin, mode=mode, signals="drop") == signal
    assert verdict(event, {}, mode=mode, signals="drop") == unsigned
    denied = verdict(pageview(consent="denied"), origin, mode=mode, signals="cookieless")
    assert denied == "consent_denied"


def test_a_refusal_for_the_visitors_sake_comes_before_any_look_at_the_event() -> None:
    from tracking.refusals import UNSEEN, Reason, Refusal

    broken = {"name": 5, "url": "nonsense", "event_id": []}
    assert verdict(broken, {"signal": Reason.GPC}, signals="drop") == Reason.GPC
    assert verdict(broken, mode="required") == Reason.CONSENT_DENIED
    elsewhere = pageview(property="AK-ELSEWHER")
    assert verdict(elsewhere, {"signal": Reason.GPC}, signals="drop") == Reason.GPC
    with pytest.raises(Refusal, match="asks not to be counted"):
        judged("no object", {"signal": Reason.GPC}, signals="drop")
    assert verdict(elsewhere, mode="required") == Reason.CONSENT_DENIED
    assert verdict(elsewhere | {"consent": "denied"}) == Reason.CONSENT_DENIED
    assert {str(reason) for reason in UNSEEN} == {"consent_denied", "gpc", "dnt", "erased"}


@pytest.mark.parametrize(
    ("headers", "signal"),
    [
        ({}, None),
        ({"dnt": "1"}, "dnt"),
        ({"sec-gpc": "1"}, "gpc"),
        ({"dnt": "1", "sec-gpc": "1"}, "gpc"),
        ({"dnt": "0", "sec-gpc": "0"}, None),
        ({"dnt": "unspecified", "sec-gpc": "?1"}, None),
        ({"dnt": " 1 "}, "dnt"),
    ],
    ids=str,
)
def test_signals_are_read_from_headers(headers: dict[str, str], signal: str | None) -> None:
    from tracking.consent import signal_of

    assert signal_of(headers) == signal


def test_a_program_with_a_key_answers_for_its_visitors() -> None:
    program = {"privileged": True}
    assert verdict(pageview(), program, mode="required") == "known"
    assert verdict(pageview(consent="denied"), program) == "consent_denied"
    assert verdict(pageview(consent="cookieless"), program) == "nameless"


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("https://shop.example", True),
        ("https://www.shop.example:8443", True),
        ("HTTPS://SHOP.EXAMPLE", True),
        ("https://a.b.wild.example", True),
        ("https://wild.example", False),
        ("null", False),
        ("", False),
        ("https://evil", False),
        ("https://shop.example.evil.com", False),
        ("https://notshop.example", False),
        ("https://shop.example@evil.com", False),
        ("shop.example", False),
    ],
)
def test_a_strict_property_takes_events_from_its_own_sites(origin: str, allowed: bool) -> None:
    from tracking.intake import site_of

    hosts = ("shop.example", "*.wild.example")
    origins = {"site": site_of(origin)}
    assert verdict(pageview(), origins, hostnames=hosts) == "known"
    strict = verdict(pageview(), origins, hostnames=hosts, strict_origin=True)
    assert strict == ("known" if allowed else "origin")


def test_a_strict_property_of_any_host_still_wants_an_origin() -> None:
    assert verdict(pageview(), {"site": "x.example"}, hostnames=("*",), strict_origin=True) == (
        "known"
    )
    assert verdict(pageview(), {}, hostnames=("*",), strict_origin=True) == "origin"
    assert verdict(pageview(), {"privileged": True}, strict_origin=True) == "known"


# -- over HTTP, both ways ------------------------------------------------------------------------


def sent(web: str, place: Any, *more: bytes, **fields: Any) -> list[Any]:
    """The answers of the short way and of the long one to the same kind of event."""
    from tests.test_protocol import UNUSUAL, Connection, request

    connection = Connection(web)
    try:
        answers = []
        for unusual in ((), (UNUSUAL,)):
            own = {"event_id": str(uuid.uuid4()), "visitor": VISITOR} | fields
            connection.send(request(place, *more, *unusual, **own))
            status, _, body = connection.answer()
            answers.append((status, [refusal["reason"] for refusal in body["rejected"]]))
        return answers
    finally:
        connection.socket.close()


def stored(place: Any) -> list[bool]:
    """Whether each event kept is that of VISITOR."""
    from tests.test_collector import stream

    return [event["visitor_uuid"] == VISITOR for event in stream(place)]


def test_headers_are_obeyed_on_both_ways(web_server: str) -> None:
    from tests.test_store import ledger

    place = new_property()
    assert sent(web_server, place) == [(202, [])] * 2
    assert sent(web_server, place, b"Sec-GPC: 1") == [(202, [])] * 2
    assert stored(place) == [True, True, False, False]
    place.signals = "drop"
    place.save()
    assert sent(web_server, place, b"DNT: 1") == [(422, ["dnt"])] * 2
    assert sent(web_server, place, b"DNT: 1", b"Sec-GPC: 1") == [(422, ["gpc"])] * 2
    place.privacy, place.strict_origin = "required", True
    place.hostnames = ["shop.example"]  # as the Origin header of these requests says
    place.save()
    assert sent(web_server, place) == [(422, ["consent_denied"])] * 2
    assert sent(web_server, place, consent="granted") == [(202, [])] * 2
    place.hostnames = ["*.shop.example"]
    place.save()
    assert sent(web_server, place, consent="granted") == [(422, ["origin"])] * 2
    assert ledger(place) == {
        "accepted": 6, "r.dnt": 2, "r.gpc": 2, "r.consent_denied": 2, "r.origin": 2
    }  # fmt: skip


def test_a_key_passes_where_an_origin_is_asked_for(web_server: str) -> None:
    from tests.test_collector import fetch

    place = new_property(strict_origin=True, signals="drop")
    _, secret = new_key(place.account, "events:manage")
    body = json.dumps(pageview(property=place.key)).encode()
    headers = {"content_type": "application/json", "sec_gpc": "1"}
    assert fetch(f"{web_server}/track", "POST", body, **headers).status == 422
    headers["authorization"] = f"Bearer {secret}"
    assert fetch(f"{web_server}/track", "POST", body, **headers).status == 202
