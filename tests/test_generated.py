"""Generated histories are what the pipeline would have stored; questions about them are fair."""

import random
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import numpy as np
import pytest

from tests.instruments import crowded, generated, questions
from tests.instruments.generated import History, draw

SMALL = History(1_500, days=6, seed=7)


def test_the_same_seed_gives_the_same_history():
    first, second, other = draw(SMALL), draw(SMALL), draw(History(1_500, days=6, seed=8))
    assert np.array_equal(first.time, second.time)
    assert np.array_equal(first.page, second.page)
    assert not np.array_equal(first.time, other.time)


@pytest.mark.parametrize("history", [SMALL, History(20_000), History(20_000, days=30)])
def test_a_history_has_what_was_asked_for(history):
    drawn = draw(history)
    orders = drawn.name == generated.NAMES.index(generated.ORDER)
    assert np.array_equal(drawn.cents != generated.NO_MONEY, orders)
    assert orders.any() and (drawn.cents[orders] > 5_000).any()
    assert len(drawn.time) == drawn.length.sum() == history.events
    assert drawn.time.min() >= generated.FIRST_DAY.timestamp() * 1000
    assert drawn.time.max() < history.end.timestamp() * 1000
    numbers = np.unique(drawn.visitor)
    people = numbers[numbers > 0]
    assert people.tolist() == list(range(1, len(people) + 1))  # dense, as the collector gives out
    assert len(people) >= 0.9 * history.visitors
    assert (numbers < 0).any()
    order = np.argsort(drawn.time[drawn.first], kind="stable")
    firsts = drawn.visitor[order][np.sort(np.unique(drawn.visitor[order], return_index=True)[1])]
    assert firsts[firsts > 0].tolist() == people.tolist()  # and in the order of coming


def test_sessions_are_those_that_the_gap_makes():
    drawn = draw(History(20_000, days=30))
    order = np.lexsort((drawn.time, drawn.visitor[drawn.session]))
    visitor, moment = drawn.visitor[drawn.session][order], drawn.time[order]
    session = drawn.session[order]
    apart = (moment[1:] - moment[:-1]) > 30 * 60_000
    begins = apart | (visitor[1:] != visitor[:-1])
    assert np.array_equal(begins, session[1:] != session[:-1])


def drawn_money(history):
    """The cents of each currency."""
    drawn = draw(history)
    has = drawn.cents != generated.NO_MONEY
    return [
        ("EUR", drawn.cents[has & drawn.euros].sum()),
        ("USD", drawn.cents[has & ~drawn.euros].sum()),
    ]


def test_what_is_stored_is_what_the_product_derives_from_the_events():
    from django.db import connections

    from reports.rebuilding import rebuild
    from tests.test_rollups import everything
    from tests.test_sessions import sessions_of

    history = History(600, days=3, seed=3)
    place = generated.made(history, say=lambda text: None)
    with connections["worker"].cursor() as cursor:
        cursor.execute("SELECT count(*), min(time) FROM events WHERE property_id = %s", [place.pk])
        assert cursor.fetchone() == (600, place.first_event_at)
        cursor.execute(
            "SELECT currency, sum(revenue) FROM events WHERE property_id = %s AND revenue <> 0"
            " GROUP BY 1 ORDER BY 1",
            [place.pk],
        )
        assert cursor.fetchall() == [
            (code, Decimal(int(cents)) / 100) for code, cents in drawn_money(history)
        ]
    before = sessions_of(place), everything(place)
    assert before[0] and before[1][0]
    first = date(2024, 12, 31)
    rebuild(place, first, first + timedelta(days=6), datetime.now(UTC))
    assert (sessions_of(place), everything(place)) == before
    assert generated.made(history, say=lambda text: None).pk == place.pk


def test_a_history_that_was_cut_off_is_made_again():
    from django.db import connections

    history = History(200, days=2, seed=4)
    place = generated.made(history, say=lambda text: None)
    place.first_event_at = None
    place.save(update_fields=["first_event_at"])
    again = generated.made(history, say=lambda text: None)
    with connections["worker"].cursor() as cursor:
        cursor.execute("SELECT count(*) FROM events WHERE property_id = %s", [place.pk])
        assert (again.pk, cursor.fetchone()[0]) == (place.pk, 200)


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "letters").write_text("dear")
    with pytest.raises(SystemExit, match="something else"):
        generated._forget_stale(tmp_path, print)
    (tmp_path / "letters").unlink()
    (tmp_path / "postgres").mkdir()
    (tmp_path / "version").write_text("0\n")
    generated._forget_stale(tmp_path, lambda text: None)
    assert not tmp_path.exists()


# -- questions -------------------------------------------------------------------------------


def test_questions_are_drawn_by_seed_and_can_be_asked():
    from reports.queries import parse_question

    place = generated.made(SMALL, say=lambda text: None)
    drawn = [questions.draw(random.Random(seed), History(1_000)) for seed in range(200)]
    assert drawn == [questions.draw(random.Random(seed), History(1_000)) for seed in range(200)]
    assert {body["dimensions"][0] for body in drawn} == set(questions.dimensions())
    assert {body["filters"][0] for body in drawn} == {"is", "is_not", "contains", "has_done"}
    for body in drawn:
        question = parse_question(place, body, SMALL.now)
        days = question.range.span.end - question.range.span.start
        assert abs(days - timedelta(days=30)) <= timedelta(hours=1)
        assert date(2025, 1, 1) <= date.fromisoformat(body["range"]["from"])
        assert date.fromisoformat(body["range"]["to"]) <= date(2025, 12, 31)


def test_every_question_is_measured_once():
    place = generated.made(SMALL, say=lambda text: None)
    for kind in questions.KINDS:
        found = kind(place, SMALL, 3)
        assert len(found.times) == len(found.cpu) == sum(found.routes.values()) == 3
        assert all(python > 0 for python in found.python)
        assert len(questions.row(found)) == len(questions.HEAD)


def test_pages_are_measured_with_the_last_day_open_and_packed(monkeypatch):
    from reports import packing
    from reports.models import PackedDay

    monkeypatch.setattr(packing, "FEWEST", 1)
    monkeypatch.setattr(packing, "FEWEST_OF_PART", 1)
    place = generated.made(SMALL, say=lambda text: None)
    day = questions.last_day(place, SMALL).span
    blocks = PackedDay.objects.using("worker").filter(
        property_id=place.pk, state="d", starts_at__gte=day.start
    )
    found = questions.with_open_day(place, SMALL, 1)
    opened = [next(found)]
    assert set(blocks.values_list("grain", flat=True)) <= {"h", "q"}
    opened += [next(found) for _ in questions.PAGES[1:]]
    closed = list(found)
    assert len(opened) == len(closed) == len(questions.PAGES)
    assert all("open" in page.what for page in opened)
    assert all("packed" in page.what and len(page.times) == 1 for page in closed)
    assert [*blocks.values_list("grain", "starts_at")] == [("d", day.start)]


def test_crowds_are_counted_from_bitmaps_or_from_columns_which_agree():
    from accounts.tenancy import tenant
    from reports import columnar, queries
    from reports.kept import Kept

    place = crowded.made(300, 2, say=lambda text: None)
    for kind in crowded.KINDS:
        found = crowded.measure(place, 300, 2, kind, 3)
        assert found.routes == {"columns" if kind in crowded.OF_SESSIONS else "rolled": 3}
        body = {"metrics": ["visitors"], "filters": kind(random.Random(5))}
        body["range"] = {"from": "2025-01-01", "to": "2025-01-02"}
        with tenant(place.account_id):
            question = queries.parse_question(place, body, crowded.FIRST_DAY)
            by_columns = columnar.count(place, question, question.range, Kept())
            answer = queries.ask(place, question, crowded.FIRST_DAY)
        assert by_columns is not None and dict(by_columns.total) == answer.totals, body
    assert crowded.made(300, 2, say=lambda text: None).pk == place.pk


@pytest.mark.parametrize(("part", "wanted"), [(0.5, 50), (0.95, 95), (1, 100), (0.001, 1)])
def test_quantiles_are_ranks(part, wanted):
    seconds = [number / 1000 for number in range(1, 101)]
    random.Random(1).shuffle(seconds)
    assert questions.quantile(seconds, part) == pytest.approx(wanted)
