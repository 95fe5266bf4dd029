"""Live numbers pushed by the served product: what comes, what a viewer who comes again gets, and
who is let go."""

import asyncio
import http.client
import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.people import grant, new_account, new_key, new_link, new_property, new_user, signed_in_as
from tests.test_realtime import event_of, view

LONG = 20  # seconds after which a test fails that waits for something


class Stream:
    """A browser that listens: the events of the stream, one by one."""

    def __init__(self, web_server: str, path: str, **headers: str) -> None:
        self.line = http.client.HTTPConnection(urlsplit(web_server).netloc, timeout=LONG)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.line.request("GET", path, headers=named)
        self.answer = self.line.getresponse()

    def close(self) -> None:
        self.line.close()

    def __iter__(self) -> Iterator[tuple[str, str, Any]]:
        """(event, id, data) until the stream ends."""
        fields: dict[str, str] = {}
        while line := self.answer.readline():
            text = line.decode().rstrip("\n")
            if text and not text.startswith(":"):
                name, _, value = text.partition(": ")
                fields[name] = value
            elif "data" in fields:
                yield fields["event"], fields.get("id", ""), json.loads(fields["data"])
                fields = {}

    def until(self, wanted: Callable[[str, Any], bool]) -> tuple[str, str, Any]:
        """The first event that is wanted."""
        began = time.monotonic()
        for event, number, data in self:
            if wanted(event, data):
                return event, number, data
            assert time.monotonic() - began < LONG
        pytest.fail("The stream ended.")

    def rest(self) -> list[str]:
        """What it is told until it ends, which must be soon."""
        began, told = time.monotonic(), []
        for event, _, _ in self:
            told.append(event)
            assert time.monotonic() - began < LONG, "It goes on and on."
        return told


@pytest.fixture(scope="module")
def world(django_db_setup: None) -> dict[str, Any]:
    account = new_account(new_user("owner"))
    shop, blog = (new_property(account, name=name) for name in ("Shop", "Blog"))
    key, secret = new_key(account, "realtime:view")
    return {"account": account, "shop": shop, "blog": blog, "key": key, "secret": secret}


def opened(world: Any, web_server: str, path: str, **headers: str) -> Stream:
    return Stream(web_server, path, Authorization=f"Bearer {world['secret']}", **headers)


def collect(place: Any, *payloads: dict[str, Any]) -> None:
    from tracking.collecting import collect

    answer = collect(place, list(payloads))
    assert not answer.rejected


def is_feed(name: str) -> Callable[[str, Any], bool]:
    return lambda event, data: event == "feed" and data["name"] == name


def test_numbers_and_events_come_and_resume_without_loss(world: Any, web_server: str) -> None:
    shop = world["shop"]
    path = f"/api/v1/properties/{shop.key}/stream"
    hostile = "<script>alert(1)</script>\n\nevent: gone\ndata: {}"
    reader = view("/a", title=hostile)
    with closing(opened(world, web_server, path)) as stream:
        headers = {name.lower(): value for name, value in stream.answer.headers.items()}
        assert headers["content-type"] == "text/event-stream"
        assert headers["cache-control"] == "private, no-store"
        assert headers["x-accel-buffering"] == "no"
        _, _, first = stream.until(lambda event, _: event == "snapshot")
        assert first["open"] == 0
        collect(shop, reader, event_of(reader, "signup", props={"plan": "pro"}))
        _, _, shown = stream.until(is_feed("pageview"))
        assert set(shown) == {
            "at", "event_id", "name", "title", "page", "source", "campaign", "country", "device",
            "visit",
        }, "nothing that tells of one visitor"  # fmt: skip
        assert (shown["page"], shown["visit"]) == ("/a", "new")
        assert shown["title"].startswith("<script>alert(1)</script>")
        _, last, _ = stream.until(is_feed("signup"))
        _, _, now = stream.until(lambda event, data: event == "snapshot" and data["open"] == 1)
        assert now["pages"][0]["page"] == "/a"
    collect(shop, event_of(reader, "first"), event_of(reader, "second"))
    with closing(opened(world, web_server, path, Last_Event_ID=last)) as stream:
        missed = []
        for event, _, data in stream:
            if event == "feed":
                missed.append(data["name"])
            if event == "snapshot":
                break
        assert missed == ["first", "second"], "those since, and not those before"


def test_a_filter_narrows_numbers_and_feed(world: Any, web_server: str) -> None:
    shop = new_property(world["account"])
    path = f"/api/v1/properties/{shop.key}/stream?filter=page:is:/b"
    with closing(opened(world, web_server, path)) as stream:
        stream.until(lambda event, _: event == "snapshot")
        collect(shop, view("/a"), view("/b"))
        event, _, data = stream.until(lambda event, data: event == "feed" or data["open"] > 0)
        assert (event, data["page"]) == ("feed", "/b")
        _, _, data = stream.until(lambda event, data: event == "snapshot" and data["open"] > 0)
        assert (data["open"], [row["page"] for row in data["pages"]]) == (1, ["/b"])


def test_whoever_loses_the_right_is_out(world: Any, web_server: str) -> None:
    """A member of a property, over the account's stream; then a browser that is
    signed out, and one that is signed in by a password of before."""
    from django.conf import settings

    from accounts.models import Membership
    from properties.models import Grant

    account, blog = world["account"], world["blog"]
    member = Membership.objects.create(account=account, user=new_user("bob"), role="viewer")
    grant(member, "realtime:view", place=blog)
    grant(member, "audience:view")
    client = signed_in_as(member.user)
    cookie = f"{settings.SESSION_COOKIE_NAME}={client.session.session_key}"
    page, whole = f"/p/{blog.key}/live/stream", f"/a/{account.slug}/live/stream"
    streams = [Stream(web_server, path, Cookie=cookie) for path in (page, whole)]
    for stream in streams:
        _, _, data = stream.until(lambda event, _: event == "snapshot")
        assert [row["property"] for row in data.get("properties", [])] in ([], [blog.key])
    one, all_ = streams
    Grant.objects.of(account).filter(membership=member, module="realtime").delete()
    assert one.rest()[-1] == "gone"
    assert all_.rest()[-1] == "gone"
    grant(member, "realtime:view", place=blog)
    with closing(Stream(web_server, page, Cookie=cookie)) as stream:
        stream.until(lambda event, _: event == "snapshot")
        client.logout()
        assert stream.rest()[-1] == "gone"
    client = signed_in_as(member.user)
    cookie = f"{settings.SESSION_COOKIE_NAME}={client.session.session_key}"
    with closing(Stream(web_server, page, Cookie=cookie)) as stream:
        stream.until(lambda event, _: event == "snapshot")
        member.user.set_password("another one, which whoever else is in does not know")
        member.user.save()
        assert stream.rest()[-1] == "gone"
    for stream in streams:
        stream.close()


def test_a_share_link_streams_until_it_is_revoked(world: Any, web_server: str) -> None:
    from datetime import UTC, datetime

    link, token = new_link(world["shop"], "realtime")
    path = f"/share/{token}/live/stream"
    with closing(Stream(web_server, path)) as stream:
        stream.until(lambda event, _: event == "snapshot")
        link.set_password("whoever came in by none has to come again")
        link.save()
        assert stream.rest()[-1] == "gone"
    link.password = ""
    link.save()
    with closing(Stream(web_server, path)) as stream:
        stream.until(lambda event, _: event == "snapshot")
        link.revoke(datetime.now(UTC))
        assert stream.rest()[-1] == "gone"
    link.refresh_from_db()
    assert link.views == 0, "what a page fetches by itself is no look"


def test_many_viewers_hold_nothing_and_find_an_end(world: Any, web_server: str) -> None:
    """Of one key 50: each gets its snapshot, no connection to Postgres, and the next one 429."""
    from django.db import connection

    from tests.people import with_key

    shop = world["shop"]
    path = f"/api/v1/properties/{shop.key}/stream"
    streams = [opened(world, web_server, path) for _ in range(50)]
    try:
        for stream in streams:
            stream.until(lambda event, _: event == "snapshot")
        with closing(opened(world, web_server, path)) as refused:
            assert (refused.answer.status, refused.answer.headers["Retry-After"]) == (429, "5")
            assert json.load(refused.answer)["error"]["code"] == "too_many_streams"
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE usename = current_user"
                " AND backend_type = 'client backend'"
            )
            assert cursor.fetchone()[0] <= 20
    finally:
        for stream in streams:
            stream.close()
    refused_filter = with_key(world["secret"]).get(path, {"filter": "browser:is:Firefox"})
    assert refused_filter.status_code == 400


def test_ids_are_read_as_they_were_given() -> None:
    from reports.viewers import read_entry_id, text_of

    assert read_entry_id("1773480413589-2") == (1773480413589, 2)
    assert text_of((1773480413589, 2)) == "1773480413589-2"
    for strange in ("", "1", "-", "a-1", "1-\u0663", "1-2-3", "(1-0"):
        assert read_entry_id(strange) is None
    assert read_entry_id("9" * 40 + "-0") == (10**18 - 1, 0)


def test_nobody_stays_about_whom_nothing_can_be_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    from django.db import InterfaceError

    from properties.access import Actor
    from reports import hub, viewers
    from reports.realtime import Asked

    viewer = viewers.Viewer(Actor(new_user("unsure")), new_property(), Asked())

    def lost(_: Any) -> None:
        raise InterfaceError("connection already closed")

    monkeypatch.setattr(hub, "allowed", lost)
    monkeypatch.setattr(hub, "UNSURE_FOR", 0.1)
    monkeypatch.setattr(hub, "RIGHTS_EVERY", 0.02)

    async def looks() -> bytes | None:
        here = hub.Hub()
        here.join(viewer)
        async with asyncio.timeout(LONG):
            await viewer.news.wait()
        await here.stop()
        return viewer.end

    with ThreadPoolExecutor(1) as pool:  # a browser of another test leaves its loop in this one
        assert pool.submit(asyncio.run, looks()).result() == viewers.CLOSED


def test_a_process_that_stops_waits_for_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Postgres may be stopping as well: the last question about rights has no answer."""
    from threading import Event

    from properties.access import Actor
    from reports import hub, viewers
    from reports.realtime import Asked

    viewer = viewers.Viewer(Actor(new_user("stop")), new_property(), Asked())
    asked, over = Event(), Event()

    def silent(_: Any) -> Any:
        asked.set()
        over.wait(LONG)
        raise ConnectionError("it has stopped, too")

    monkeypatch.setattr(hub, "allowed", silent)

    async def looks() -> bytes | None:
        here = hub.Hub()
        here.join(viewer)
        await asyncio.to_thread(asked.wait, LONG)
        here.is_stopping = lambda: True
        async with asyncio.timeout(LONG):
            await viewer.news.wait()
        over.set()
        await here.stop()
        return viewer.end

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(asyncio.run, looks()).result() == viewers.CLOSED


@pytest.mark.parametrize("is_stopping", [False, True])
def test_who_does_not_read_is_let_go(monkeypatch: pytest.MonkeyPatch, is_stopping: bool) -> None:
    """With a word if she still hears it; when the process stops, before her patience ends."""
    from properties.access import Actor
    from reports import hub, streams, viewers
    from reports.realtime import Asked
    from reports.room import ROOM

    viewer = viewers.Viewer(Actor(new_user("deaf")), new_property(), Asked())
    monkeypatch.setattr(hub.Hub, "start", lambda _: None)  # nothing is counted
    monkeypatch.setattr(streams, "SLOW_AFTER", 10 * LONG if is_stopping else 0.05)
    monkeypatch.setattr(viewers, "ENDS_WITHIN", 0.05)
    sent: list[bytes] = []

    async def application(scope: Any, _: Any, send: Any) -> None:
        assert ROOM.enter(viewer) == ""
        scope[streams.SCOPE] = viewer
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def looks() -> None:
        full = asyncio.Event()

        async def send(message: Any) -> None:
            sent.append(message.get("body", b""))
            if len(sent) > 2:  # the head and the beginning got through
                full.set()
                await asyncio.get_running_loop().create_future()

        async def receive() -> Any:
            return await asyncio.get_running_loop().create_future()

        serving = asyncio.ensure_future(streams.serve(application, {}, receive, send))
        viewer.offer(b"a snapshot", [])
        async with asyncio.timeout(LONG):
            await full.wait()
            if is_stopping:
                viewer.close(viewers.CLOSED)
            await asyncio.wait([serving])
        assert serving.cancelled(), "the server ends the connection"
        assert viewer not in hub.hub().viewers

    with ThreadPoolExecutor(1) as pool:
        pool.submit(asyncio.run, looks()).result()
    assert sent[2:] == [b"a snapshot", viewers.SLOW]
    assert not ROOM.has(viewer)


def test_there_is_room_for_so_many_and_for_so_many_filters(
    world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked for and taken in one step, from as many threads as there are views."""
    from properties.access import Actor
    from reports import room
    from reports.filters import parse
    from reports.realtime import Asked
    from reports.viewers import Viewer
    from tests.people import with_key

    here, shop, account = room.Room(), world["shop"], world["account"]
    users = [Actor(new_user(f"u{number}")) for number in range(3)]

    def viewer(page: str = "", user: int = 0, place: Any = shop) -> Viewer:
        return Viewer(users[user], place, Asked(parse(["is", "page", [page]]) if page else None))

    with ThreadPoolExecutor(8) as pool:
        told = list(pool.map(lambda _: here.enter(viewer()), range(40)))
    assert (told.count(""), told.count(room.STREAMS)) == (20, 20)

    monkeypatch.setattr(room, "MOST_FILTERS_OF_AN_ACCOUNT", 2)
    monkeypatch.setattr(room, "MOST_FILTERS", 3)
    first, same, second = viewer("/a", 1), viewer("/a", 1), viewer("/a", 1, account)
    assert [here.enter(each) for each in (first, same, second)] == ["", "", ""]
    assert here.enter(viewer("/b", 1)) == room.FILTERS
    assert here.enter(viewer("", 1)) == "", "everybody is no filter"
    here.leave(first)
    assert here.enter(viewer("/b", 1)) == room.FILTERS, "somebody still looks by it"
    here.leave(same)
    here.leave(same)
    third = viewer("/b", 1)
    assert here.enter(third) == ""
    others = [viewer(page, 2, new_property()) for page in ("/x", "/y")]
    assert [here.enter(each) for each in others] == ["", room.FULL]

    monkeypatch.setattr(room, "MOST_FILTERS_OF_AN_ACCOUNT", 0)
    path = f"/api/v1/properties/{shop.key}/stream"
    refused = with_key(world["secret"]).get(path, {"filter": "page:is:/a"})
    assert (refused.status_code, refused["Retry-After"]) == (429, "5")
    assert refused.json()["error"]["code"] == "too_many_filters"


def test_whoever_is_let_in_and_never_comes_gives_her_place_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Her connection broke while the view was answering."""
    from properties.access import Actor
    from reports import room
    from reports.realtime import Asked
    from reports.viewers import Viewer

    here, place, user = room.Room(), new_property(), Actor(new_user("lost"))
    came, lost, last = (Viewer(user, place, Asked()) for _ in range(3))
    monkeypatch.setattr(room, "COMES_WITHIN", -1.0)
    monkeypatch.setattr(room, "MOST", 2)
    assert here.enter(came) == ""
    here.stay(came)
    assert here.enter(lost) == ""
    assert here.enter(last) == ""
    assert (here.has(came), here.has(lost), here.has(last)) == (True, False, True)


def test_a_slow_reader_keeps_the_newest_snapshot_and_a_bounded_feed() -> None:
    from reports import viewers
    from reports.realtime import Asked

    user = new_user("slow")
    from properties.access import Actor

    viewer = viewers.Viewer(Actor(user), new_property(), Asked())
    viewer.offer(b"old", [b"1"])
    viewer.offer(b"new", [b"2"])
    assert viewer.take() == b"12new"
    for number in range(viewers.MOST_FEED + 1):
        viewer.offer(b"", [b"%d" % number])
    assert viewer.end == viewers.SLOW
    many = [b"%d" % number for number in range(viewers.MOST_FEED + 1)]
    busy = viewers.Viewer(Actor(user), viewer.place, Asked())
    busy.offer(b"", many)
    assert busy.end is None, "all that she missed, at once"
    busy.take()
    busy.offer(b"", many)
    assert busy.end is None, "she reads as fast as it comes"
    busy.offer(b"", many)
    assert busy.end == viewers.SLOW, "she does not"
