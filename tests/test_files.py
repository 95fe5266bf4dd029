"""What is taken away from a report: a table whole and in blocks, a series with empty cells where
nothing is known, and the chart as a picture that is harmless whatever stands in it."""

import csv
import gc
import json
import re
import tracemalloc
import zipfile
from dataclasses import replace
from datetime import UTC, datetime
from io import BytesIO, StringIO
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree
from zipfile import ZipFile
from zoneinfo import ZoneInfo

import pytest
from django.db import connections

from properties.models import Goal
from tests.instruments import taking
from tests.people import new_key, new_property, signed_in_as, with_key
from tests.test_report_page import HOSTILE, MARCH, WEEK, asked, busy, get, two_weeks

__all__ = ["busy"]
SVG = "{http://www.w3.org/2000/svg}"
MANY = 10_050  # rows: more than one question gives
FEW = 1_700  # rows of a file that is held against one of four times as many
ROLLED = """
INSERT INTO rollups (account_id, property_id, grain, starts_at, dimension, value, measure, number)
SELECT %(account)s, %(place)s, 'd', '2026-03-02', 'page', '/p' || number, measure, %(many)s - number
FROM generate_series(1, %(many)s) AS number, unnest(ARRAY['pageviews', 'events']) AS measure
"""


@pytest.fixture
def wide(shop: Any) -> Any:
    """`shop` with more pages than an answer has rows."""
    with connections["worker"].cursor() as cursor:
        cursor.execute(ROLLED, {"account": shop.account_id, "place": shop.pk, "many": MANY})
    return shop


# -- tables ----------------------------------------------------------------------------------------


def test_a_table_is_whole_and_comes_in_blocks(wide: Any, alice: Any) -> None:
    from reports.files import ROWS_OF_A_BLOCK

    answer = get(alice, f"/p/{wide.key}/table/page.csv?range={MARCH}&sort=-pageviews")
    blocks = [part.decode() for part in answer.streaming_content]
    assert max(block.count("\r\n") for block in blocks) == ROWS_OF_A_BLOCK
    rows = list(csv.DictReader(StringIO("".join(blocks))))
    assert len(rows) == MANY - 1  # the last has no view, and nothing is no row
    assert [row["page"] for row in (rows[0], rows[-1])] == ["/p1", f"/p{MANY - 1}"]
    assert rows[0]["pageviews"] == str(MANY - 1)


@pytest.fixture
def small_spools(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows wait on disk from some hundred on, and are sorted in several rounds; nor are more taken
    from anywhere at once."""
    from reports import blocks, rolled, spools, sums

    for name, number in (("ROWS_HELD", 200), ("MOST_RUNS", 4), ("PIECE", 1_024)):
        monkeypatch.setattr(spools, name, number)
    for module, name in ((rolled, "BITMAPS_AT_ONCE"), (sums, "AT_ONCE")):
        monkeypatch.setattr(module, name, 200)
    monkeypatch.setattr(blocks.row_by_row, "__defaults__", (200,))
    monkeypatch.setattr(sums, "LARGEST", 1 << 16)  # bytes of a table that spares sorting


FILES = {
    "rolled": {"metrics": ["visitors", "pageviews"], "dimensions": ["page"]},
    "columns": {"metrics": ["visitors", "sessions"], "dimensions": ["page", "device"]},
    "raw": {"metrics": ["visitors", "sessions"], "dimensions": ["page", "device"]},
    "converted": {"metrics": ["conversion_rate", "events"], "dimensions": ["page"]},
    "by goal": {"metrics": ["conversion_rate", "events"], "dimensions": ["goal", "page"]},
}


@pytest.fixture(scope="module")
def filled() -> Any:
    """Properties by their number of rows. To fill them costs more than a file of one: all kinds of
    files are of the same."""
    from reports import dictionaries, packing

    places = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dictionaries, "MOST_JUDGED", 500)
        patch.setattr(packing, "FEWEST", 1)
        for many in (100, FEW, 4 * FEW):
            places[many] = place = new_property(timezone="UTC")
            taking.fill(place, many)
            for name in ("one", "other"):
                goal = {"name": name, "kind": "page", "page": "*"}
                Goal.objects.create(account=place.account, property=place, **goal)
    return places


@pytest.mark.parametrize("kind", FILES)
def test_a_file_takes_the_same_memory_however_many_rows_it_has(
    filled: dict[int, Any], small_spools: None, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    from accounts.tenancy import tenant
    from reports import columnar, dictionaries, packing
    from reports.queries import ask_rows, parse_question

    monkeypatch.setattr(columnar, "MOST_HELD", 200_000)
    monkeypatch.setattr(columnar, "FEW_GROUPS", 100)
    monkeypatch.setattr(dictionaries, "MOST_JUDGED", 500)
    monkeypatch.setattr(packing, "FEWEST", 1)
    if kind == "raw":
        monkeypatch.setattr(columnar, "each", lambda *_: None)

    def peak(many: int) -> int:
        place = filled[many]
        with tenant(place.account_id):
            body = FILES[kind] | {"range": taking.DAYS}
            question = parse_question(place, body, datetime(2025, 4, 1, tzinfo=UTC))
            tracemalloc.start()
            try:
                count, rows = ask_rows(place, question)
                assert sum(1 for _ in rows) == count == many * (2 if kind == "by goal" else 1)
                return tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()

    peak(100)  # what is loaded at the first time
    few, four_times = peak(FEW), peak(4 * FEW)
    # A day has four times as many rows, too, and a day at a time is held. All rows would be five
    # times as much.
    assert four_times < 1.3 * few, (few, four_times)


def test_what_waits_on_disk_has_no_name_and_goes_with_its_spool(
    tmp_path: Path, settings: Any, small_spools: None
) -> None:
    from reports.spools import Spool

    settings.SPOOL_DIR = str(tmp_path)
    texts = ["", "\n", "\x1f\u2028", '",[', "é" * 3, "\U0001f600", "z" * 5_000]
    rows = [[n % 7 - 3.5, n, texts[n % 7], None if n % 3 else 2**62] for n in range(20_011)]
    dice = Random(1)
    spool = Spool(dice.sample(rows, len(rows)))
    open_before = len(list(Path("/proc/self/fd").iterdir()))
    assert len(spool) == len(rows)
    assert list(spool) == sorted(rows)
    first, second = iter(spool), iter(spool)  # side by side
    assert [next(first), next(second), next(first)] == [*sorted(rows)[:1] * 2, sorted(rows)[1]]
    assert list(tmp_path.iterdir()) == []
    del first, second, spool
    assert len(list(Path("/proc/self/fd").iterdir())) == open_before - 1


def test_the_api_gives_the_same_table_by_pages(wide: Any) -> None:
    program = with_key(new_key(wide.account, "content:view", "audience:view")[1])

    def rows(offset: object, limit: int = 10_000) -> Any:
        body = {
            "metrics": ["pageviews"], "dimensions": ["page"], "limit": limit, "offset": offset,
            "range": {"from": "2026-03-01", "to": "2026-03-31"},
        }  # fmt: skip
        path = f"/api/v1/properties/{wide.key}/query"
        return program.post(path, json.dumps(body), content_type="application/json").json()

    first, second = rows(0)["rows"], rows(10_000)["rows"]
    assert (len(first), len(second)) == (10_000, MANY - 1 - 10_000)
    assert [row["pageviews"] for row in first + second] == list(range(MANY - 1, 0, -1))
    assert rows(7, 2)["rows"] == first[7:9]
    for wrong in (-1, True, "1", 990_001):
        assert rows(wrong)["error"]["code"] == "invalid_offset"


def test_a_file_has_what_its_rows_were_in_the_range_compared_with(alice: Any, shop: Any) -> None:
    two_weeks(shop)
    path = f"/p/{shop.key}/table/page.csv?range={WEEK}"

    def rows(query: str) -> list[tuple[str, ...]]:
        text = b"".join(get(alice, path + query).streaming_content).decode()
        found = csv.DictReader(StringIO(text))
        names = [name for name in found.fieldnames or () if "pageviews" in name]
        return [(row["page"], *(row[name] for name in names)) for row in found]

    assert rows("") == [("/a", "4"), ("/new", "1")]
    wanted = [("/a", "4", "3"), ("/new", "1", "0")]
    assert rows("&changes=1") == wanted
    assert rows("&changes=1&filter=country:is_not:FR") == wanted  # from columns or rows
    # Nothing was counted then: that is not 0.
    assert rows("&changes=1&compare=year") == [("/a", "4", ""), ("/new", "1", "")]


def test_what_a_row_was_is_found_among_any_number_of_rows(shop: Any, small_spools: None) -> None:
    from properties.periods import parse_range, zone
    from reports import sheets
    from reports.questions import Question

    question = Question(
        metrics=("events",),
        dimensions=("page", "event"),
        range=parse_range(WEEK, zone(shop.timezone), datetime.now(UTC)),
    )
    keys = [(f"/{n}", name) for n in range(500) for name in ("pageview", "buy")]
    groups = [(key, {"events": n}) for n, key in enumerate(keys)]
    earlier = [(key, {"events": 2 * n}) for n, key in enumerate(keys) if n % 3]
    earlier += [(("/500", "buy"), {"events": 7}), (("/", ""), {"events": 8})]
    sheet = sheets.compared(question, groups, reversed(earlier))
    assert len(sheet) == len(keys)
    found = [(key, sheets.before(question, numbers)) for key, numbers in sheet.ordered()]
    assert [key for key, _ in found] == keys[::-1]
    known = dict(earlier)
    assert [numbers for _, numbers in found] == [known.get(key, {}) for key in keys[::-1]]


# -- all tables ------------------------------------------------------------------------------------


def files_in(answer: Any) -> dict[str, str]:
    data = b"".join(answer.streaming_content)
    assert (answer["Content-Type"], answer["Content-Length"]) == ("application/zip", str(len(data)))
    with ZipFile(BytesIO(data)) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name).decode() for name in archive.namelist()}


@pytest.mark.parametrize("report", ["overview", "pages", "sources", "events"])
def test_an_archive_has_every_table_as_its_own_file_has_it(
    busy: Any, alice: Any, report: str
) -> None:
    from reports.catalogue import OVERVIEW, REPORTS
    from reports.metrics import METRICS

    is_overview = report == OVERVIEW.name
    root = f"/p/{busy.key}/" + ("" if is_overview else f"{report}/")
    query = f"?range={WEEK}&filter=country:is:DE&sources=channel"
    answer = get(alice, f"{root}tables.zip{query}")
    assert f'{busy.key}-{report}-{WEEK.replace("..", "-to-")}.zip"' in answer["Content-Disposition"]
    found = files_in(answer)
    about = found.pop("about.txt")
    assert re.search(r"Only where Country .*Germany", about)
    curve = get(alice, f"{root}series.csv{query}")
    assert found.pop("curve.csv") == b"".join(curve.streaming_content).decode()
    tables = (OVERVIEW if is_overview else REPORTS[report]).tables
    without_goals = {name for name, table in tables.items() if table.dimension != "goal"}
    assert {name.removesuffix(".csv") for name in found} == without_goals
    for name, text in found.items():
        single = get(alice, f"{root}{'table/' if is_overview else ''}{name}{query}")
        assert text == b"".join(single.streaming_content).decode(), name
        for column in METRICS.keys() & set(text.splitlines()[0].split(",")):
            assert f"\n{column}: " in about, column


def test_an_archive_says_who_is_counted_and_what_its_numbers_stand_beside(
    busy: Any, alice: Any
) -> None:
    def about(query: str) -> str:
        answer = get(alice, f"/p/{busy.key}/pages/tables.zip?range={WEEK}{query}")
        return files_in(answer)["about.txt"].partition("\n\n")[0]

    days = "from 2026-03-08 23:00 until 2026-03-15 23:00 UTC"
    plain = about("").splitlines()
    assert plain == ["Shop: Pages", f"9 to 15 Mar 2026, {days}; Europe/Berlin", "No bots"]
    assert about("&bots=include").splitlines()[-1] == "With bots"
    assert "Bots only" in about("&bots=only")
    either = "&filter=any(&filter=country:is:DE&filter=country:is:SE&filter=)"
    assert "\nOnly where Country is Germany or Country is Sweden\n" in about(either)
    assert "_before" not in about("&compare=year")
    # The property began on the 2nd: what was before is unknown.
    assert about("&changes=1&compare=year").endswith(
        "\nColumns that end in _before: nothing was counted yet in part of the year before"
    )
    assert about("&changes=1").endswith(
        "\nColumns that end in _before: the period before"
        "\nfrom 2026-03-01 23:00 until 2026-03-08 23:00 UTC"
    )


def test_an_archive_leaves_out_what_its_reader_may_not_view(busy: Any, bob: Any) -> None:
    found = files_in(get(bob, f"/p/{busy.key}/tables.zip?range={WEEK}"))
    assert "page.csv" not in found
    assert "event.csv" not in found
    assert "source.csv" in found
    get(bob, f"/p/{busy.key}/pages/tables.zip", expected=403)


def test_an_archive_is_counted_whole_before_it_is_sent(
    busy: Any, alice: Any, settings: Any
) -> None:
    answer = get(alice, f"/p/{busy.key}/tables.zip?range=nonsense", expected=400)
    assert answer["Content-Type"] == "text/plain; charset=utf-8"
    settings.FILE_TIMEOUT = 0  # of Postgres: none; of all together: over at once
    client = signed_in_as(alice)
    client.raise_request_exception = False
    slow = client.get(f"/p/{busy.key}/tables.zip")
    assert slow.status_code == 422
    assert "took longer than 0 seconds" in slow.content.decode()


@pytest.mark.parametrize(("is_alone", "seconds"), [(True, 8), (False, 4)])
def test_an_archive_ends_in_the_midst_of_a_table(
    wide: Any, alice: Any, settings: Any, monkeypatch: Any, is_alone: bool, seconds: int
) -> None:
    """Within the time of a file; beside another one of the account within that of a page, all of
    its tables together: else each of many would hold a thread and a connection for minutes."""
    from django.db import transaction

    from reports import archives, patience
    from reports.patience import ALONE

    blocks: list[int] = []  # each takes a second
    monkeypatch.setattr(patience, "time", SimpleNamespace(monotonic=lambda: len(blocks)))
    csv_lines = archives.csv_lines
    monkeypatch.setattr(archives, "csv_lines", lambda block: blocks.append(1) or csv_lines(block))
    settings.FILE_TIMEOUT, settings.QUESTION_TIMEOUT = 8, 4
    client = signed_in_as(alice)
    client.raise_request_exception = False
    before = set(Path("/proc/self/fd").iterdir())
    with transaction.atomic("worker"), connections["worker"].cursor() as other:
        if not is_alone:
            other.execute(ALONE, [f"file of {wide.account_id}"])
        answer = client.get(f"/p/{wide.key}/tables.zip?range={MARCH}")
    assert answer.status_code == 422
    assert f"took longer than {seconds} seconds" in answer.content.decode()
    assert len(blocks) == seconds + 1  # the table of pages has a dozen
    assert set(Path("/proc/self/fd").iterdir()) <= before


@pytest.mark.parametrize("method", ["head", "get"])
def test_an_archive_that_nobody_reads_is_closed(busy: Any, alice: Any, method: str) -> None:
    client = signed_in_as(alice)
    path = f"/p/{busy.key}/tables.zip?range={WEEK}"
    client.get(path).close()
    before = set(Path("/proc/self/fd").iterdir())
    answer = getattr(client, method)(path)
    assert int(answer["Content-Length"]) > 1_000
    answer.close()
    assert set(Path("/proc/self/fd").iterdir()) <= before


def test_a_table_in_an_archive_may_have_any_size(
    wide: Any, alice: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 10_000)  # 2 GB
    found = files_in(get(alice, f"/p/{wide.key}/tables.zip?range={MARCH}"))
    assert len(found["page.csv"]) > 10_000


def test_an_archive_waits_on_disk_and_is_sent_in_pieces(wide: Any, alice: Any) -> None:
    """In a file without a name, which goes with the answer."""
    from reports import archives

    before = set(Path("/proc/self/fd").iterdir())
    answer = get(alice, f"/p/{wide.key}/tables.zip?range={MARCH}")
    pieces = list(answer.streaming_content)
    assert len(pieces) > 1
    assert {len(piece) for piece in pieces[:-1]} == {archives.PIECE}
    with ZipFile(BytesIO(b"".join(pieces))) as archive:
        assert len(archive.read("page.csv").splitlines()) == MANY
    answer.close()
    del answer
    gc.collect()
    assert set(Path("/proc/self/fd").iterdir()) <= before


# -- the series ------------------------------------------------------------------------------------


def test_a_series_has_every_metric_and_no_zero_where_nothing_is_known(
    busy: Any, alice: Any
) -> None:
    from reports.catalogue import OVERVIEW

    days = "2026-02-27..2026-03-12"
    answer = get(alice, f"/p/{busy.key}/series.csv?range={days}")
    assert answer["Content-Disposition"].endswith('-day-2026-02-27-to-2026-03-12.csv"')
    rows = list(csv.DictReader(StringIO(answer.getvalue().decode())))
    assert [row["period"] for row in rows[:2]] == ["2026-02-27", "2026-02-28"]
    names = [name for name in OVERVIEW.tiles if name in rows[0]]
    assert {"visitors", "pageviews", "bounce_rate"} <= set(names)
    # Counting began on the 2nd of March.
    assert all(rows[at][name] == "" for at in range(3) for name in names)
    assert rows[3]["starts"] == "2026-03-02T00:00:00+01:00"
    wanted = asked(busy, days, metrics=tuple(names), dimensions=("time:day",)).rows
    for row, real in zip(rows[3:], wanted[3:], strict=True):
        assert {name: row[name] for name in names} == {
            name: "" if real[name] is None else str(real[name]) for name in names
        }
    assert (rows[-1]["visitors"], rows[-1]["bounce_rate"]) == ("0", "")
    assert {row["is_complete"] for row in rows} == {"yes"}


def test_what_has_not_begun_is_empty_and_what_is_open_says_so(shop: Any, alice: Any) -> None:
    shop.first_event_at = datetime(2026, 1, 1, tzinfo=UTC)
    shop.save()
    answer = get(alice, f"/p/{shop.key}/series.csv?range=year&interval=month")
    rows = list(csv.DictReader(StringIO(answer.getvalue().decode())))
    this_month = datetime.now(ZoneInfo(shop.timezone)).month
    assert [row["is_complete"] for row in rows] == [
        "yes" if month < this_month else "no" for month in range(1, 13)
    ]
    assert [row["visitors"] for row in rows] == ["0"] * this_month + [""] * (12 - this_month)


def test_a_wrong_address_is_answered_in_words(shop: Any, alice: Any) -> None:
    for path in ("series.csv?range=nonsense", "chart.svg?metric=luck", "chart.svg?theme=pink"):
        answer = get(alice, f"/p/{shop.key}/{path}", expected=400)
        assert answer["Content-Type"] == "text/plain; charset=utf-8"


# -- the picture -----------------------------------------------------------------------------------


def test_the_picture_says_what_the_page_says(busy: Any, alice: Any) -> None:
    answer = get(alice, f"/p/{busy.key}/chart.svg?range={MARCH}&filter=source:is:Google")
    assert answer["Content-Type"] == "image/svg+xml; charset=utf-8"
    root = ElementTree.fromstring(answer.content)
    title, desc = (root.find(f"{SVG}{name}").text or "" for name in ("title", "desc"))  # type: ignore[union-attr]
    assert title == f"Visitors: {busy.name}"
    assert "1 to 31 Mar 2026" in desc
    assert "Source is Google" in desc
    assert busy.timezone in desc
    totals = asked(busy, MARCH, metrics=("visitors",), dimensions=("time:day",),
                   filters=["is", "source", ["Google"]]).rows  # fmt: skip
    assert f"highest {max(row['visitors'] or 0 for row in totals)}" in desc
    saved = get(alice, f"/p/{busy.key}/chart.svg?range={MARCH}&download=1")
    assert saved["Content-Disposition"].endswith('-visitors-2026-03-01-to-2026-03-31.svg"')


@pytest.fixture(scope="module")
def plain() -> Any:
    from reports.drawing import Drawing

    return Drawing("Visitors", "Shop", ["May"], "count", ["1 May", "2 May", "3 May"], [1, 2, 4])


@pytest.mark.parametrize("text", [*HOSTILE, "\x00\ud800\x1b", "]]>&<!--", "x" * 4000])
def test_no_text_of_a_picture_is_more_than_text(plain: Any, text: str) -> None:
    from reports.drawing import as_svg

    drawn = replace(
        plain, title=text, about=text, lines=[text], ticks=[text] * 3, flags=[(1, text)],
        before=[1, 1, 1], before_name=text,
    )  # fmt: skip
    root = ElementTree.fromstring(as_svg(drawn).encode())
    tags = {element.tag.removeprefix(SVG) for element in root.iter()}
    assert tags <= {"svg", "title", "desc", "rect", "path", "text", "circle", "g"}
    attributes = {name for element in root.iter() for name in element.attrib}
    harmful = {name for name in attributes if name.startswith("on") or "href" in name}
    assert harmful | (attributes & {"style"}) == set()


def test_what_is_open_is_dashed_and_what_is_unknown_is_a_gap(plain: Any) -> None:
    from reports.drawing import as_svg

    def lines(**fields: Any) -> list[tuple[str, str]]:
        root = ElementTree.fromstring(as_svg(replace(plain, **fields)))
        accent = plain.colours["accent"]
        paths = [path for path in root.iter(f"{SVG}path") if path.get("stroke") == accent]
        # The legend is drawn at the top.
        drawn = [path for path in paths if not path.get("d", "").startswith("M24 ")]
        return [
            (path.get("stroke-dasharray", ""), path.get("d", "")[1:]) for path in drawn
            if path.get("d", "").count("L") >= 1 and "55L" not in path.get("d", "")
        ]  # fmt: skip

    whole = lines()
    assert [dash for dash, _ in whole] == [""]
    assert whole[0][1].count("L") == 2
    dashed = lines(open_from=2)
    assert [dash for dash, _ in dashed] == ["", "4 4"]
    # The two meet in the last complete point.
    assert dashed[0][1].split("L")[-1] == dashed[1][1].split("L")[0]
    assert lines(values=[1, None, 4]) == []  # two dots
    assert "No value in this range" in as_svg(replace(plain, values=[None] * 3))


@pytest.mark.parametrize(
    ("highest", "unit", "top"),
    [
        (0, "count", 4), (4, "count", 4), (5, "count", 8), (101, "count", 120),
        (9_999, "count", 10_000), (1e6, "count", 1_000_000), (0.21, "rate", 0.5),
        (0.6, "rate", 1), (0, "duration_ms", 60_000), (61_000, "duration_ms", 120_000),
        (100_000_000, "duration_ms", 100_800_000),
    ],
)  # fmt: skip
def test_the_axis_ends_at_a_round_number(highest: float, unit: Any, top: float) -> None:
    from reports.drawing import ceiling

    assert ceiling(highest, unit) == top


def test_a_picture_has_the_colours_of_the_page() -> None:
    from reports.drawing import THEMES

    css = (Path(__file__).parent.parent / "frontend/static/css/tokens.css").read_text()
    light, dark = css.split("@media screen and (prefers-color-scheme: dark)")
    for text, theme in ((light, "light"), (dark, "dark")):
        for name, colour in THEMES[theme].items():
            assert f"--{name}: {colour};" in text, (theme, name)


def test_the_picture_of_how_many_were_here_at_once(shop: Any, alice: Any) -> None:
    answer = get(alice, f"/p/{shop.key}/concurrency.svg?range=2026-03-02..2026-03-04&theme=dark")
    root = ElementTree.fromstring(answer.content)
    assert (root.find(f"{SVG}title").text or "").startswith("Open, on average: ")  # type: ignore[union-attr]
    assert "No value in this range" in (root.find(f"{SVG}desc").text or "")  # type: ignore[union-attr]
    get(alice, f"/p/{shop.key}/concurrency.svg?theme=pink", expected=400)


def test_bob_takes_away_what_he_may_view(busy: Any, bob: Any) -> None:
    client = signed_in_as(bob)
    assert client.get(f"/p/{busy.key}/series.csv").status_code == 200
    assert client.get(f"/p/{busy.key}/chart.svg?filter=page:is:/").status_code == 400
