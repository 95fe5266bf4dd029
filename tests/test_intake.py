"""The judge: what becomes an event, and one sentence for every reason to refuse one."""

import uuid
from ipaddress import ip_network
from typing import Any

import orjson
import pytest

NOW = 1_774_000_000_000  # 2026-03-20T09:46:40Z, a dull moment
CHROME = (
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/120.0.0.0 Safari/537.36"
)
DAY = 86_400_000


def record(**changes: Any) -> Any:
    from properties.periods import Clock
    from tracking.directory import Record

    fields = {
        "account_id": 1,
        "property_id": 2,
        "key": "AK-TESTTEST",
        "first_key": "AK-TESTTEST",
        "keys": ("AK-TESTTEST",),
        "called": ("AK-TESTTEST", ""),
        "prefix": "{1:2}",
        "version": 1,
        "hostnames": ("shop.example",),
        "excluded": (),
        "mode": "granted",
        "signals": "cookieless",
        "capture": (),
        "strict_origin": False,
        "rate_limit": 0,
        "currency": "EUR",
        "visitor_limit": 1_000,
        "clock": Clock("Europe/Stockholm"),
    }
    return Record(**(fields | changes))


def judged(payload: Any, origin: dict[str, Any] | None = None, **changes: Any) -> Any:
    from tracking.intake import Origin, judge

    sent_at = changes.pop("sent_at", None)
    sender = Origin(**({"address": "81.2.69.142", "agent": CHROME} | (origin or {})))
    return judge(payload, record(**changes), sender, NOW, sent_at)


def pageview(**fields: Any) -> dict[str, Any]:
    return {"name": "pageview", "url": "https://shop.example/p?utm_source=News"} | fields


def test_an_event_is_parsed_whole() -> None:
    event = judged(
        pageview(
            event_id="6f1d5b0c-2b7e-4a5d-9d1f-0a4e6c9f0a11",
            visitor="0d5c3f1e-7a0b-4f77-8f65-2f3e0d5c3f1e",
            referrer="https://www.google.com/search?q=x",
            title="Löwe & <b>",
            screen="1440x900",
            language="en-GB",
            engaged_ms=1500.4,
            scroll=100,
            load_ms=320,
            revenue={"amount": "12.50", "currency": "sek"},
            props={"plan": "pro"},
            user=42,
        )
    )
    assert str(event.event_id) == "6f1d5b0c-2b7e-4a5d-9d1f-0a4e6c9f0a11"
    assert (event.hostname, event.page, event.query) == ("shop.example", "/p", "utm_source=News")
    assert (event.time, event.received_at) == (NOW, NOW)
    assert (event.browser, event.os, event.device, event.bot) == (
        "Chrome", "Linux", "Desktop", False,
    )  # fmt: skip
    assert event.title == "Löwe & <b>"
    assert (event.engaged_ms, event.scroll, event.load_ms) == (1500, 100, 320)
    assert (event.revenue, event.currency) == ("12.50", "SEK")
    assert (event.props, event.user, event.country) == (b'{"plan":"pro"}', "42", "GB")
    assert event.sanitized is False


REFUSED = [
    ("shape", None, 5),
    ("shape", None, ["pageview"]),
    ("mixed_property", "property", pageview(property="AK-OTHEROTH")),
    ("missing", "name", {"url": "https://shop.example/"}),
    ("missing", "name", pageview(name="  ")),
    ("missing", "url", {"name": "pageview"}),
    ("invalid", "name", pageview(name=7)),
    ("invalid", "name", pageview(name={"select": 1})),
    ("invalid", "url", pageview(url="javascript:alert(1)")),
    ("invalid", "url", pageview(url="data:text/html,x")),
    ("invalid", "event_id", pageview(event_id=5)),
    ("invalid", "event_id", pageview(event_id="x" * 10_000)),
    ("invalid", "event_id", pageview(event_id="a\x00b")),
    ("nil_uuid", "event_id", pageview(event_id=str(uuid.UUID(int=0)))),
    ("invalid", "visitor", pageview(visitor=["a"])),
    ("hostname", "url", pageview(url="https://shop.example.evil.example/")),
    ("timestamp", "time", pageview(time="infinity")),
    ("timestamp", "time", pageview(time="2026-13-01T00:00:00Z")),
    ("timestamp", "time", pageview(time="2026-03-20T09:00:00")),
    ("timestamp", "time", pageview(time="9999-12-31T23:59:60Z")),
    ("timestamp", "time", pageview(time=1e18)),
    ("timestamp", "time", pageview(time=-1)),
    ("timestamp", "time", pageview(time=True)),
    ("future", "time", pageview(time=NOW + 5 * 60_000 + 1)),
    ("too_old", "time", pageview(time=NOW - 7 * DAY - 1)),
    ("too_old", "time", pageview(time="0001-01-01T00:00:00Z")),
    ("referrer_spam", "referrer", pageview(referrer="https://semalt.com/x")),
    ("invalid", "screen", pageview(screen="big")),
    ("invalid", "scroll", pageview(scroll="all")),
    ("number_range", "scroll", pageview(scroll=101)),
    ("number_range", "engaged_ms", pageview(engaged_ms=-1)),
    ("invalid", "props", pageview(props=[1])),
    ("number_range", "props", pageview(props={"n": 2**63})),
    ("too_many_properties", "props", pageview(props={f"k{i}": 1 for i in range(201)})),
    ("too_large", "props", pageview(props={"k" * 201: 1})),
    ("too_large", "props", pageview(props={f"k{i}": "x" * 1000 for i in range(40)})),
    ("invalid", "revenue", pageview(revenue=5)),
    ("invalid", "revenue.amount", pageview(revenue={"amount": "12,50"})),
    ("invalid", "revenue.amount", pageview(revenue={"amount": "NaN"})),
    ("invalid", "revenue.amount", pageview(revenue={"amount": "1_000"})),
    ("invalid", "revenue.amount", pageview(revenue={"amount": "12.50" + " " * 60 + "or so"})),
    ("invalid", "revenue.amount", pageview(revenue={"amount": "\N{ARABIC-INDIC DIGIT ONE}"})),
    ("number_range", "revenue.amount", pageview(revenue={"amount": 1e308})),
    ("number_range", "revenue.amount", pageview(revenue={"amount": "0.1234567"})),
    ("currency", "revenue.currency", pageview(revenue={"amount": "1", "currency": "EURO"})),
    ("invalid", "state", {"name": "ping", "state": "asleep"}),
]


@pytest.mark.parametrize(("reason", "field", "payload"), REFUSED)
def test_a_refusal_names_its_reason_and_field(reason: str, field: str | None, payload: Any) -> None:
    from tracking.refusals import Refusal

    with pytest.raises(Refusal) as caught:
        judged(payload)
    assert (caught.value.reason, caught.value.field or None) == (reason, field)
    assert len(caught.value.message) > 10


def test_every_reason_is_tested_or_belongs_to_the_store() -> None:
    from tracking.refusals import Reason

    elsewhere = {"depth", "excluded_address", "unknown_property", "visitor_limit"}
    elsewhere |= {"quota"}  # tests/test_quota.py
    elsewhere |= {"consent_denied", "gpc", "dnt", "origin"}  # tests/test_consent.py
    elsewhere |= {"erased"}  # tests/test_erasing.py
    assert {reason for reason, _, _ in REFUSED} | elsewhere == set(Reason)


def test_deep_properties_are_refused_and_twenty_levels_are_not() -> None:
    from tracking.refusals import Refusal

    def nested(levels: int) -> Any:
        return {"a": nested(levels - 1)} if levels else 1

    assert judged(pageview(props=nested(20))).props is not None
    with pytest.raises(Refusal) as caught:
        judged(pageview(props=nested(21)))
    assert caught.value.reason == "depth"


def test_excluded_addresses_are_refused() -> None:
    from tracking.refusals import Refusal

    with pytest.raises(Refusal) as caught:
        judged(pageview(), excluded=(ip_network("81.2.0.0/16"),))
    assert caught.value.reason == "excluded_address"


def test_an_old_event_passes_with_a_key_that_may_manage_events() -> None:
    old = pageview(time="1997-01-01T00:00:00Z")
    assert judged(old, {"privileged": True}).time == 852_076_800_000


def test_no_key_makes_an_event_older_than_1970() -> None:
    """Zones west of Greenwich have no year before the first."""
    from tracking.refusals import Refusal

    with pytest.raises(Refusal) as caught:
        judged(pageview(time="0001-01-01T00:00:00Z"), {"privileged": True})
    assert caught.value.reason == "too_old"


def test_only_a_privileged_sender_speaks_for_other_addresses() -> None:
    foreign = pageview(_address="8.8.8.8", _agent="Googlebot/2.1 (+http://www.google.com/bot.html)")
    assert judged(foreign).country == "GB"
    believed = judged(foreign, {"privileged": True})
    assert (believed.country, believed.bot) == ("US", True)
    for nonsense in ("here", 5, {"ip": 1}, "1.2.3.4.5"):
        broken = judged(
            pageview(_address=nonsense), {"privileged": True}, excluded=(ip_network("10.0.0.0/8"),)
        )
        assert broken.country == ""
    broken = judged(pageview(_agent="\ud800\x00x"), {"privileged": True})
    assert (broken.browser, len(broken.visitor_uuid)) == ("Unknown", 36)
    own = judged(pageview(), {"privileged": True, "agent": "python-requests/2.34"})
    assert (own.country, own.bot, own.browser) == ("", False, "Unknown")


def test_a_clock_that_goes_wrong_is_corrected_by_when_it_was_sent() -> None:
    ahead = 2 * 3_600_000
    event = judged(pageview(time=NOW + ahead - 1_000), sent_at=NOW + ahead)
    assert event.time == NOW - 1_000


def test_text_that_cannot_be_stored_is_replaced_and_said_so() -> None:
    event = judged(pageview(title="a\x00b\ud800c", props={"k\x00": "v\ud800"}))
    assert event.title == "a\ufffdb\ufffdc"
    assert event.props == '{"k\ufffd":"v\ufffd"}'.encode()
    assert event.sanitized is True


def test_what_elements_are_called_is_bounded_and_nothing_else_of_them() -> None:
    from tracking.refusals import Refusal

    long = "<script>\u202e" * 1_000
    called = {"type": long, "label": long, "position": 7}
    for name in ("element", "element_shown"):
        event = judged(pageview(name=name, props=called | {"more": long}))
        kept = orjson.loads(event.props)
        assert kept == {"type": long[:200], "label": long[:200], "position": 7, "more": long}
        assert event.sanitized is True
    event = judged(pageview(name="element", props={"event": "click", "label": long[:200]}))
    assert event.sanitized is False
    other = judged(pageview(name="other", props={"label": long}))
    assert orjson.loads(other.props) == {"label": long}
    assert judged(pageview(name="element")).props is None
    with pytest.raises(Refusal):
        judged(pageview(name="element", props="none"))


def test_an_id_that_is_no_uuid_is_the_same_event_again_but_of_this_property_only() -> None:
    first, again = judged(pageview(event_id="order-1")), judged(pageview(event_id="order-1"))
    other = judged(pageview(event_id="order-1"), first_key="AK-OTHEROTH")
    assert first.event_id == again.event_id != other.event_id


def test_without_an_id_the_visitor_is_one_of_the_day() -> None:
    today = judged(pageview(), {"visitor_salt": b"a"}).visitor_uuid
    same = judged(pageview(title="x"), {"visitor_salt": b"a"}).visitor_uuid
    other_day = judged(pageview(), {"visitor_salt": b"b"}).visitor_uuid
    somebody = judged(pageview(), {"visitor_salt": b"a", "address": "81.2.69.143"}).visitor_uuid
    assert today == same
    assert len({today, other_day, somebody}) == 3


def test_a_cookieless_property_ignores_the_visitor_that_a_browser_sends() -> None:
    sent = str(uuid.uuid4())
    assert str(judged(pageview(visitor=sent), mode="cookieless").visitor_uuid) != sent


@pytest.mark.parametrize("user", ["null", "undefined", "0", "[object Object]", " NaN ", "", 0])
def test_stand_ins_for_nobody_make_no_user(user: Any) -> None:
    assert judged(pageview(user=user)).user == ""


@pytest.mark.parametrize("agent", ["", "-", "\x00\xff", "x" * 100_000, None])
def test_an_unreadable_agent_is_unknown(agent: Any) -> None:
    assert judged(pageview(), {"agent": agent or ""}).browser in ("Unknown", "Other")


def test_a_retry_has_the_same_fingerprint_and_a_conflict_another() -> None:
    from tracking.intake import fingerprint

    sent = pageview(event_id="1", title="\ud800")
    assert fingerprint(sent) == fingerprint({**sent, "sent_at": 5, "property": "AK-TESTTEST"})
    assert fingerprint(sent) == fingerprint(dict(reversed(sent.items())))
    assert fingerprint(sent) != fingerprint({**sent, "title": "b"})


@pytest.mark.parametrize(
    ("state", "next_ms", "lasts"),
    [("engaged", 5_000, 12_000), ("hidden", 60_000, 122_000), ("hidden", 10**8, 122_000)],
)
def test_a_ping_lasts_twice_its_promise_and_two_seconds(
    state: str, next_ms: int, lasts: int
) -> None:
    ping = judged({"name": "ping", "state": state, "next_ms": next_ms})
    assert ping.expires_at == NOW + lasts
    assert judged({"name": "ping", "state": "gone"}).expires_at == 0


def test_a_row_can_be_read_back_whatever_is_in_it() -> None:
    from tracking.event import COLUMNS, read_row, row

    for hostile in ("a\tb\nc\rd\\e", "\\N", "plain", "\\", "\t" * 50):
        event = judged(pageview(title=hostile, user="u\\", props={"x": hostile}))
        back = read_row(row(event))
        assert list(back) == list(COLUMNS)
        assert (back["title"], back["user"], back["tab"]) == (hostile, "u\\", None)
        assert back["props"] == event.props.decode()


def test_long_pages_fit_an_index_entry() -> None:
    event = judged(pageview(url="https://shop.example/" + "ä" * 900))
    assert len(event.page.encode()) <= 1_000
