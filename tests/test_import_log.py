"""import_log: real files through the real collector; what is sent, kept, and counted."""

import gzip
import io
import json
import os
import secrets
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.db.models import Count

from tests.people import with_key
from tests.test_logs import ELASTIC, LINE, MTN, real_log, truth

CLOSED = b"\x1b]0;owned\x07 no line of a log"


@pytest.fixture
def place() -> Any:
    """A property of its own, in an account of its own."""
    from accounts.models import Account
    from properties.models import Property

    account = Account.objects.create(slug=f"log-{secrets.token_hex(6)}", name="Log")
    return Property.objects.create(account=account, name="Site", hostnames=["site.example", "*"])


@pytest.fixture
def log(tmp_path: Path) -> Callable[..., str]:
    """Write a log of these lines; its name."""

    def write(*lines: bytes, name: str = "access.log") -> str:
        path = tmp_path / name
        text = b"\n".join(lines) + b"\n"
        path.write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
        return str(path)

    return write


def import_log(place: Any, file: str, *options: str) -> dict[str, Any]:
    from django.core.management import call_command

    out = io.StringIO()
    call_command("import_log", place.key, file, "--json", "--quiet", *options, stdout=out)
    answer: dict[str, Any] = json.loads(out.getvalue())
    assert answer["lines"] == (
        answer["accepted"] + answer["duplicate"] + answer["bad"]
        + sum(answer["skipped"].values()) + sum(answer["refused"].values())
    )  # fmt: skip
    return answer


def view(second: int, path: bytes = b"/a", agent: bytes = b"Mozilla/5.0 (X11)") -> bytes:
    line = LINE.replace(b"10:05:03", b"10:%02d:%02d" % divmod(second, 60))
    return line.replace(b"/a?b=c", path).replace(b"Mozilla/5.0 (X11)", agent)


def kept(place: Any, suffix: str) -> list[Path]:
    from django.conf import settings

    return list((settings.HOME / "imports").glob(f"{place.key}-*{suffix}"))


# -- what becomes of lines ---------------------------------------------------------------------


def test_every_line_has_one_place(place: Any, log: Callable[..., str]) -> None:
    file = log(
        view(1),
        view(2, b"/style.css"),
        view(3).replace(b" 200 ", b" 404 "),
        view(4).replace(b"GET", b"POST"),
        view(5).replace(b"GET /a HTTP/1.1", b"\\x16\\x03"),
        CLOSED,
    )
    assert import_log(place, file) == {
        "lines": 6,
        "accepted": 1,
        "duplicate": 0,
        "skipped": {"request": 1, "method": 1, "status": 1, "static": 1},
        "bad": 1,
        "refused": {},
    }


def test_identical_lines_count_each_and_the_same_file_adds_nothing(
    place: Any, log: Callable[..., str]
) -> None:
    lines = [view(1), view(1), view(2), view(1)]
    assert import_log(place, log(*lines))["accepted"] == 4
    again = import_log(place, log(*lines, name="access.log.1.gz"))
    assert (again["accepted"], again["duplicate"]) == (0, 4)


def test_a_rotated_file_adds_only_what_is_new(place: Any, log: Callable[..., str]) -> None:
    lines = [view(second) for second in range(10)]
    assert import_log(place, log(*lines[:6]))["accepted"] == 6
    assert import_log(place, log(*lines[4:8], name="access.log.1"))["accepted"] == 2
    grown = import_log(place, log(*lines))
    assert (grown["accepted"], grown["duplicate"]) == (2, 8)


def test_bad_lines_are_kept_with_number_and_reason_and_no_terminal_obeys_them(
    place: Any, log: Callable[..., str]
) -> None:
    import_log(place, log(view(1), CLOSED, b"\0" * 9, view(2) + b"x" * 1_000_000, b"caf\xe9"))
    [path] = kept(place, ".bad.jsonl")
    text = path.read_bytes()
    assert text.replace(b"\n", b"").decode("ascii").isprintable()
    rows = [json.loads(row) for row in text.splitlines()]
    assert [row["line"] for row in rows] == [2, 3, 4, 5]
    assert rows[0]["text"] == CLOSED.decode()
    assert "longer than" in rows[2]["reason"] and len(rows[2]["text"]) == 2_000
    assert rows[3]["text"] == "caf\\xe9"
    assert path.parent.stat().st_mode & 0o077 == 0


def test_standard_input_is_a_file_too(
    place: Any, log: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = log(view(1), view(2), name="access.log.gz")
    with Path(file).open("rb", buffering=0) as stream:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BufferedReader(stream)))
        assert import_log(place, "-")["accepted"] == 2


def test_an_event_says_page_source_and_visitor_and_holds_no_address(place: Any) -> None:
    from tracking import importing, logs

    line = logs.parse(view(1, b"/a?utm_source=feed"))
    event_id = importing.event_id(b"0" * 32, 0)
    payload = importing.payload_of(line, importing.host_of(place), event_id)
    assert payload["url"] == "https://site.example/a?utm_source=feed"
    assert payload["time"] == line.time * 1000
    assert payload["referrer"] == "https://example.org/"
    assert payload["visitor"] == str(importing.visitor_id("192.0.2.7", "Mozilla/5.0 (X11)"))
    assert [name for name in payload if "192.0.2.7" in str(payload[name])] == ["_address"]


@pytest.mark.parametrize(
    ("target", "page"),
    [(b"http://elsewhere.example/?a", "/http://elsewhere.example/?a"), (b"?a=b", "/%3F?a=b")],
)
def test_what_browsers_never_ask_for_is_not_the_home_page(target: bytes, page: str) -> None:
    from tracking import importing, logs

    line = logs.parse(view(1, target))
    payload = importing.payload_of(line, "site.example", importing.event_id(b"0" * 32, 0))
    assert payload["url"] == f"https://site.example{page}"


def test_repetitions_are_remembered_by_hour_within_bounds() -> None:
    from tracking.importing import Occurrences

    seen = Occurrences(most=2)
    assert [seen.before(b"a", 0), seen.before(b"a", 0), seen.before(b"b", 3600)] == [0, 1, 0]
    assert seen.before(b"c", 7200) == 0  # the first hour is forgotten
    assert seen.before(b"b", 3600) == 1
    assert seen.before(b"a", 0) == 0


# -- files that are none -----------------------------------------------------------------------


def test_what_is_no_regular_file_is_refused_at_once(place: Any, tmp_path: Path) -> None:
    from django.core.management import CommandError

    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to("/dev/zero")
    for name in (tmp_path / "fifo", tmp_path / "link", tmp_path, "/dev/zero"):
        with pytest.raises(CommandError, match="no regular file"):
            import_log(place, str(name))
    for name in (str(tmp_path / "missing"), "a\0b"):
        with pytest.raises(CommandError, match="cannot be opened"):
            import_log(place, name)


def test_a_link_to_a_log_is_followed(place: Any, log: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "current").symlink_to(log(view(1)))
    assert import_log(place, str(tmp_path / "current"))["accepted"] == 1


def test_a_damaged_archive_says_so_and_what_stands_before_is_imported(
    place: Any, log: Callable[..., str]
) -> None:
    from django.core.management import CommandError

    file = log(*[view(n % 3600, b"/" + secrets.token_hex(50).encode()) for n in range(9_000)],
               name="access.log.gz")  # fmt: skip
    whole = Path(file).read_bytes()
    Path(file).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CommandError, match="cannot be read to its end"):
        import_log(place, file)
    Path(file).write_bytes(whole)
    assert import_log(place, file)["accepted"] == 9_000  # of both runs together


def test_an_archive_that_unpacks_without_end_is_left(
    place: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from django.core.management import CommandError

    from tracking import importing

    monkeypatch.setattr(importing, "UNENDING", 2**20)
    (tmp_path / "bomb.gz").write_bytes(gzip.compress(b"\0" * 2**23))
    with pytest.raises(CommandError, match="this is no log"):
        import_log(place, str(tmp_path / "bomb.gz"))
    (tmp_path / "lines.gz").write_bytes(gzip.compress(b"\n" * 2**23))
    with pytest.raises(CommandError, match="None of the first 10,000 lines"):
        import_log(place, str(tmp_path / "lines.gz"))


def test_an_unknown_property_is_named(place: Any, log: Callable[..., str]) -> None:
    from django.core.management import CommandError, call_command

    with pytest.raises(CommandError, match="There is no property 'AK-NONE'"):
        call_command("import_log", "AK-NONE", log(view(1)))


# -- interrupted -------------------------------------------------------------------------------


def test_an_import_goes_on_after_the_last_acknowledged_batch(
    place: Any, log: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from tracking import importing

    file = log(*[view(n) for n in range(2_500)], CLOSED)
    collect, sent = importing.collect, []

    def dies_at_the_third(place: Any, batch: list[Any], origin: Any) -> Any:
        sent.append(len(batch))
        if len(sent) == 3:
            raise KeyboardInterrupt
        return collect(place, batch, origin)

    monkeypatch.setattr(importing, "collect", dies_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        import_log(place, file)
    assert len(kept(place, ".bookmark.json")) == 1
    answer = import_log(place, file)
    assert sent == [1_000, 1_000, 500, 500]
    assert (answer["accepted"], answer["duplicate"], answer["bad"]) == (2_500, 0, 1)
    assert kept(place, ".bookmark.json") == []

    assert import_log(place, file)["duplicate"] == 2_500


def test_a_valkey_that_is_away_is_waited_for_with_growing_pauses(
    place: Any, log: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from tracking import importing
    from tracking.store import Unavailable

    collect, pauses = importing.collect, []

    def away_three_times(*args: Any) -> Any:
        if len(pauses) < 3:
            raise Unavailable("connection refused")
        return collect(*args)

    monkeypatch.setattr(importing, "collect", away_three_times)
    with importing.open_log(log(view(1))) as file:
        tally = importing.Import(place, file, sleep=pauses.append).run()
    assert (tally.accepted, pauses) == (1, [0.25, 0.5, 1.0])


def test_after_a_minute_without_valkey_it_stops_and_says_how_to_go_on(
    place: Any, log: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from tracking import importing
    from tracking.store import Unavailable

    def away(*args: Any) -> Any:
        raise Unavailable("connection refused")

    pauses: list[float] = []
    with monkeypatch.context() as patch, importing.open_log(log(view(1))) as file:
        patch.setattr(importing, "collect", away)
        with pytest.raises(importing.Stopped, match="run the same command again"):
            importing.Import(place, file, sleep=pauses.append).run()
    assert 60 <= sum(pauses) < 70
    assert import_log(place, log(view(1)))["accepted"] == 1


def test_a_long_import_stores_on_its_way_and_does_not_fill_valkey(
    place: Any, log: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from tracking import importing
    from tracking.models import Event

    monkeypatch.setattr(importing, "STORE_EVERY", 1)
    import_log(place, log(*[view(n) for n in range(1_500)]))
    assert Event.objects.using("worker").filter(property_id=place.pk).count() == 1_500


def test_a_file_is_imported_by_one_process_at_a_time(place: Any, log: Callable[..., str]) -> None:
    from tracking import importing

    name = log(view(1))
    with importing.open_log(name) as file:
        notes = importing.Notes(place, file.fingerprint())
        with notes.locked(), pytest.raises(importing.Stopped, match="Another process"):
            importing.Import(place, file).run()


def test_progress_is_drawn_on_a_terminal_only(place: Any) -> None:
    from tracking.importing import Tally
    from tracking.management.commands.import_log import Progress

    class Screen(io.StringIO):
        def __init__(self, terminal: bool) -> None:
            super().__init__()
            self.terminal = terminal

        def isatty(self) -> bool:
            return self.terminal

    class Half:
        def share_read(self) -> float:
            return 0.5

    drawn = []
    for terminal in (True, False):
        screen = Screen(terminal)
        progress = Progress(screen)
        progress.shown = 0
        progress.show(Tally(lines=1234), Half())  # type: ignore[arg-type]
        progress.end()
        drawn.append(screen.getvalue())
    assert drawn[0].startswith("\r[###############...............] 1,234 lines, 50% ")
    assert drawn[1] == "1,234 lines, 50%\n"


# -- real logs: the same numbers from raw events, reports and API -------------------------------


class Imported:
    """A real log in a property of its own, in the zone in which it was written."""

    def __init__(self, name: str, timezone: str) -> None:
        from django.core.management import call_command

        from tests.people import new_key, new_property

        file = str(real_log(name))  # skips, before anything is made
        self.truth = truth(name)
        self.place = new_property(timezone=timezone, retention_days=10_000)
        self.answer = import_log(self.place, file)
        call_command("drain", stdout=io.StringIO())
        call_command("roll_up", stdout=io.StringIO())
        self.place.refresh_from_db()  # it knows its first event now
        _, secret = new_key(self.place.account, "audience:view", "content:view", "events:view")
        self.client = with_key(secret)
        days = sorted(self.truth["pageviews_all_agents"]["pageviews_per_day_local"])
        self.range = {"from": days[0], "to": days[-1]}

    def reports(self, bots: str = "include", **body: Any) -> dict[str, Any]:
        """The answer of reports.queries, which pages use, and of the API, which must be equal."""
        from django.utils import timezone

        from accounts.tenancy import tenant
        from reports import queries

        body = {"range": self.range, "bots": bots, "limit": 10_000} | body
        with tenant(self.place.account_id):
            question = queries.parse_question(self.place, body, timezone.now())
            answer = queries.ask(self.place, question, timezone.now())
        reply = self.client.post(
            f"/api/v1/properties/{self.place.key}/query", body, content_type="application/json"
        )
        assert reply.status_code == 200, reply.content
        found: dict[str, Any] = reply.json()
        assert found["totals"] == answer.totals
        assert [list(row.values()) for row in found["rows"]] == [
            list(json.loads(json.dumps(row, default=str)).values()) for row in answer.rows
        ]
        return found

    def events(self) -> Any:
        from tracking.models import Event

        return Event.objects.using("worker").filter(property_id=self.place.pk)


@pytest.fixture(scope="module")
def elastic(django_db_setup: None) -> Imported:
    return Imported(ELASTIC, "UTC")


@pytest.fixture(scope="module")
def mtn(django_db_setup: None) -> Imported:
    return Imported(MTN, "America/New_York")


@pytest.fixture(params=[ELASTIC, MTN])
def imported(request: pytest.FixtureRequest) -> Imported:
    found: Imported = request.getfixturevalue("elastic" if request.param == ELASTIC else "mtn")
    return found


def test_every_line_of_a_real_log_has_its_place(imported: Imported) -> None:
    known, answer = imported.truth, imported.answer
    assert answer["lines"] == known["lines_total"]
    assert answer["accepted"] == known["pageviews_all_agents"]["pageviews"]
    assert answer["skipped"]["request"] == known["requests_not_well_formed"]
    assert (answer["duplicate"], answer["bad"], answer["refused"]) == (0, 0, {})


def test_raw_events_of_a_real_log(imported: Imported) -> None:
    known = imported.truth["pageviews_all_agents"]
    events = imported.events()
    assert events.count() == known["pageviews"]
    assert events.values("visitor").distinct().count() == known["unique_ip_ua"]
    pages = dict(events.values_list("page").annotate(n=Count("page")).order_by("-n")[:10])
    assert sorted(pages.values()) == sorted(dict(known["top10_paths"]).values())


def test_totals_of_a_real_log_in_reports_and_api(imported: Imported) -> None:
    known = imported.truth["pageviews_all_agents"]
    asked = imported.reports(metrics=["pageviews", "visitors", "sessions"])
    assert asked["totals"] == {
        "pageviews": known["pageviews"],
        "visitors": known["unique_ip_ua"],
        "sessions": known["sessions"]["sessions"],
    }


def test_days_of_a_real_log_in_reports_and_api(elastic: Imported) -> None:
    known = elastic.truth["pageviews_all_agents"]
    rows = elastic.reports(metrics=["pageviews", "visitors"], dimensions=["time:day"])["rows"]
    assert [row["pageviews"] for row in rows] == list(known["pageviews_per_day_local"].values())
    assert [row["visitors"] for row in rows] == list(known["unique_ip_ua_per_day_local"].values())


def test_days_of_thirteen_years_across_every_change_of_clocks(mtn: Imported) -> None:
    known = mtn.truth["pageviews_all_agents"]
    for year in range(2005, 2019):
        days = {d: n for d, n in known["pageviews_per_day_local"].items() if d[:4] == str(year)}
        rows = mtn.reports(
            metrics=["pageviews", "visitors"],
            dimensions=["time:day"],
            range={"from": f"{year}-01-01", "to": f"{year}-12-31"},
        )["rows"]
        seen = {row["time:day"]: row for row in rows if row["pageviews"]}
        assert {day: row["pageviews"] for day, row in seen.items()} == days
        visitors = {day: row["visitors"] for day, row in seen.items()}
        assert visitors == {day: known["unique_ip_ua_per_day_local"][day] for day in days}


def test_the_ten_most_viewed_pages_in_reports_and_api(imported: Imported) -> None:
    known = dict(imported.truth["pageviews_all_agents"]["top10_paths"])
    asked = imported.reports(metrics=["pageviews"], dimensions=["page"])["rows"]
    pages = {row["page"]: row["pageviews"] for row in asked}
    assert {page: pages[page] for page in known} == known
    assert sorted(pages.values())[-10:] == sorted(known.values())


def test_hours_of_the_day_of_a_real_log(imported: Imported) -> None:
    known = imported.truth["pageviews_all_agents"]["pageviews_by_hour_of_day_local"]
    years = [imported.range]
    if imported.truth["dataset"] == MTN:  # hours of 13 years are more than one question takes
        years = [{"from": f"{year}-01-01", "to": f"{year}-12-31"} for year in range(2005, 2019)]
    found: Counter[str] = Counter()
    for year in years:
        asked = imported.reports(
            metrics=["pageviews"], dimensions=["time:hour_of_day"], range=year
        )["rows"]
        found.update({str(int(row["time:hour_of_day"])): row["pageviews"] for row in asked})
    assert found == known


def test_where_sessions_of_a_real_log_begin(imported: Imported) -> None:
    known = dict(imported.truth["pageviews_all_agents"]["entry_pages_top10"])
    asked = imported.reports(metrics=["sessions"], dimensions=["entry_page"])["rows"]
    pages = {row["entry_page"]: row["sessions"] for row in asked}
    if imported.truth["dataset"] == ELASTIC:
        assert {page: pages[page] for page in known} == known
        assert sorted(pages.values())[-10:] == sorted(known.values())
    # Of requests of one second the truth takes the first line, and we whichever has the lower id.
    whole = imported.truth["pageviews_all_agents"]["sessions"]["sessions"]
    assert sum(pages.values()) == whole
    assert all(abs(pages[page] - number) <= whole * 0.001 for page, number in known.items())
    by_page = imported.reports(metrics=["entries", "exits"], dimensions=["page"])
    assert by_page["totals"]["entries"] == by_page["totals"]["exits"]
    entries = {row["page"]: row["entries"] for row in by_page["rows"] if row["entries"]}
    assert entries == pages


def test_sessions_of_a_real_log(imported: Imported) -> None:
    known = imported.truth["pageviews_all_agents"]["sessions"]
    found = imported.reports(metrics=["bounce_rate", "views_per_session", "visit_duration"])
    totals = found["totals"]
    assert round(totals["bounce_rate"], 6) == known["bounce_rate"]
    assert round(totals["views_per_session"], 6) == known["avg_pageviews_per_session"]
    assert round(totals["visit_duration"] / 1000, 3) == known["avg_duration_s_all"]


def test_new_visitors_of_a_real_log(imported: Imported) -> None:
    """Whom the truth calls eligible to return after n days: new n days before the end."""
    from datetime import date, timedelta

    known = imported.truth["pageviews_all_agents"]
    asked = imported.reports(metrics=["new_visitors", "visitors"])["totals"]
    assert asked["new_visitors"] == asked["visitors"] == known["unique_ip_ua"]
    first, last = (date.fromisoformat(imported.range[edge]) for edge in ("from", "to"))
    for days in (1, 2, 3, 7, 14, 28):
        until = last - timedelta(days=days)
        eligible = known["retention"]["classic"][f"day_{days}"]["eligible"]
        if until < first:
            assert eligible == 0
            continue
        within = {"from": f"{first}", "to": f"{until}"}
        asked = imported.reports(metrics=["new_visitors"], range=within)["totals"]
        assert asked["new_visitors"] == eligible


def test_people_and_bots_add_up(imported: Imported) -> None:
    metrics = ["pageviews", "visitors", "sessions"]
    people, bots, both = (
        imported.reports(bots, metrics=metrics)["totals"] for bots in ("exclude", "only", "include")
    )
    assert {name: people[name] + bots[name] for name in metrics} == both
    assert people["pageviews"] > 0 < bots["pageviews"]


def test_the_ledger_closes_and_importing_again_adds_nothing(imported: Imported) -> None:
    from django.core.management import call_command

    call_command("reconcile", imported.place.key, stdout=io.StringIO())  # exits with 1 if not zero
    count = imported.events().count()
    again = import_log(imported.place, str(real_log(ELASTIC if count < 10_000 else MTN)))
    assert (again["accepted"], again["duplicate"]) == (0, count)
    call_command("drain", stdout=io.StringIO())
    assert imported.events().count() == count
    call_command("reconcile", imported.place.key, stdout=io.StringIO())
