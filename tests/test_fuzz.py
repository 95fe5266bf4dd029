"""What decides in `make fuzz`: a planted crash is found, shrunk and told apart from refusals."""

import random
import time
from itertools import islice

import pytest

from tests.corpus import mutation
from tests.instruments.fuzz import (
    GROWTH,
    Found,
    Parser,
    answer_of,
    check_row,
    complaints,
    hunt,
    inputs,
    is_crash,
    shrunk,
)


@pytest.fixture(scope="module")
def parser(django_db_setup: None) -> Parser:
    return Parser()


def soon() -> float:
    return time.monotonic() + 60


def test_the_same_seed_makes_the_same_inputs(parser: Parser) -> None:
    def made(seed: int) -> list[bytes]:
        return [data for _, data in islice(inputs(parser, random.Random(seed)), 200)]

    assert made(1) == made(1)
    assert made(1) != made(2)
    assert len(set(made(1))) > 150


def test_a_few_hundred_inputs_find_many_answers_and_no_crash(parser: Parser) -> None:
    found = hunt(islice(inputs(parser, random.Random(4)), 600), soon())
    assert found.inputs == 600
    assert found.crashes == {}
    assert len(found.answers) > 30


def test_refusals_are_no_crashes(parser: Parser) -> None:
    tries = [(parser.body, b"nope"), (parser.body, b'{"property": "AK-FUZZFUZZ"}')]
    found = hunt(iter(tries), soon())
    assert found.faults() == []
    malformed, judged = sorted(found.answers)
    assert malformed == "400 malformed"
    assert "missing" in judged.split(" ")


def test_a_crash_is_found_once_and_shrunk_to_what_causes_it() -> None:
    def attempt(data: bytes) -> str:
        if b"bad" in data:
            raise ZeroDivisionError(len(data))
        return "fine"

    tries = [(attempt, b"x" * 300 + b"bad" + b"y" * 300), (attempt, b"good"), (attempt, b"bad")]
    found = hunt(iter(tries), soon())
    assert list(found.crashes.values()) == [b"bad"]
    (what,) = found.crashes
    assert what.startswith("ZeroDivisionError in test_fuzz.py:")
    assert found.answers == {"crash": 2, "fine": 1}
    assert len(found.faults()) == 1 and "b'bad'" in found.faults()[0]


def test_a_slow_input_is_a_fault() -> None:
    assert Found(slowest=0.9).faults() == []
    assert Found(slowest=1.1, slowest_input=b"slow").faults() == ["1.1 s for\n    b'slow'"]


def test_shrinking_keeps_what_is_needed() -> None:
    assert shrunk(b"aXbbYc" * 50, lambda data: b"X" in data and b"Y" in data) in (b"XY", b"YX")


@pytest.mark.parametrize(
    ("answer", "crash"),
    [
        ("500 error", True), ("503 unavailable", True), ("502", True), ("refused", True),
        ("501", False), ("505", False), ("202", False), ("422 invalid", False), ("waits", False),
        ("closed", False), ("no HTTP", False),
    ],
)  # fmt: skip
def test_a_5xx_is_a_crash(answer: str, crash: bool) -> None:
    assert is_crash(answer) is crash


def test_answers_are_read() -> None:
    assert answer_of(b"") == "closed"
    assert answer_of(b"HTTP/1.1 202 Accepted\r\n\r\n{}") == "202"
    assert answer_of(b'HTTP/1.1 400 Bad\r\n\r\n{"error":{"code":"shape"}}') == "400 shape"
    assert answer_of(b"HTTP/1.1 200 OK\r\nx-aktivat-reason: hostname\r\n") == "200 hostname"


def test_exceptions_in_the_log_are_told_once_each() -> None:
    crash = '{"event": "collector", "exception": "Traceback ...\\nKeyError: 5"}'
    (told,) = complaints("\n".join([crash, "ordinary", crash]))
    assert told.endswith("KeyError: 5")


def test_a_row_that_postgres_could_not_take_is_found(parser: Parser) -> None:
    from tests.test_intake import judged, pageview
    from tracking.event import row

    event = judged(pageview(props={"a": 1}))
    check_row(row(event))
    for wrong in (
        {"name": ""}, {"name": "x" * 201}, {"title": "a\0b"}, {"page": "ä" * 600},
        {"props": b"[1]"},
    ):  # fmt: skip
        with pytest.raises(AssertionError):
            check_row(row(event._replace(**wrong)))


def test_mutations_stay_within_bounds() -> None:
    rng = random.Random(7)
    for _ in range(300):
        assert len(mutation.mutated(rng, b"x" * 1_000, [b"y" * 2_000_000])) <= 1_100_000
    assert GROWTH <= 200_000_000
