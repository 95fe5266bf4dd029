"""From bytes to payloads: every way in which a body can be wrong has its status and code."""

import gzip
import zlib

import pytest


def read(body: bytes, kind: str = "application/json", encoding: str = "") -> object:
    from tracking.envelope import read

    return read(body, kind, encoding)


BOMB = gzip.compress(b" " * 200_000_000, 1)
FAULTY = [
    (400, "empty", b"", "", ""),
    (400, "empty", b"  \n", "", ""),
    (400, "malformed", b"not json", "", ""),
    (400, "malformed", b'{"a":1,}', "", ""),
    (400, "malformed", b'{"a": 1} // comment', "", ""),
    (400, "malformed", b'{"a":' + b"9" * 5_000 + b"}", "", ""),
    (400, "shape", b"null", "", ""),
    (400, "shape", b"1", "", ""),
    (400, "shape", b'"x"', "", ""),
    (400, "shape", b"true", "", ""),
    (400, "shape", b"[]", "", ""),
    (400, "shape", b'{"events": {"0": {}}}', "", ""),
    (400, "number_range", b'{"a":NaN}', "", ""),
    (400, "number_range", b'{"a":-Infinity}', "", ""),
    (400, "number_range", b'{"a":1e400}', "", ""),
    (400, "depth", b"[" * 100_000, "", ""),
    (400, "encoding", b'{"a":"\xff\xfe"}', "", ""),
    (400, "encoding", b'{"a":"\xc0\x80"}', "", ""),
    (400, "gzip", b"\x1f\x8bgarbage", "", "gzip"),
    (400, "gzip", gzip.compress(b"{}")[:-4], "", "gzip"),
    (400, "gzip", gzip.compress(b"{}") + b"x", "", "gzip"),
    (413, "too_large", BOMB, "", "gzip"),
    (413, "too_many_events", b'{"events":[' + b"1," * 1_000 + b"1]}", "", ""),
    (415, "content_encoding", b"{}", "", "gzip, gzip"),
    (415, "content_encoding", zlib.compress(b"{}"), "", "deflate"),
    (415, "content_encoding", b"x", "", "br"),
    (415, "content_type", b"a=1", "application/x-www-form-urlencoded", ""),
    (415, "content_type", b"x", "multipart/form-data; boundary=x", ""),
    (415, "charset", "{}".encode("utf-16"), "application/json; charset=utf-16", ""),
]


@pytest.mark.parametrize(
    ("status", "code", "body", "kind", "encoding"),
    FAULTY,
    ids=[f"{r[1]}-{i}" for i, r in enumerate(FAULTY)],
)
def test_a_fault_has_its_status_and_code(
    status: int, code: str, body: bytes, kind: str, encoding: str
) -> None:
    from tracking.refusals import Fault

    with pytest.raises(Fault) as caught:
        read(body, kind, encoding)
    assert (caught.value.status, caught.value.code) == (status, code)
    assert len(caught.value.message) > 10


def test_a_bomb_is_never_inflated() -> None:
    """194 kB that would be 200 MB: what is in memory is bounded before it is judged."""
    import tracemalloc

    from tracking.refusals import Fault

    tracemalloc.start()
    with pytest.raises(Fault):
        read(BOMB, "", "gzip")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10_000_000


def test_what_is_fine() -> None:
    from tracking.envelope import MAX_BODY, Envelope

    one = read(b'\xef\xbb\xbf{"property":"AK-1","name":"x"}', "text/plain;charset=UTF-8")
    assert one == Envelope("AK-1", [{"property": "AK-1", "name": "x"}], is_batch=False)
    batch = read(
        gzip.compress(b'{"property":"AK-1","events":[{"name":"x"}],"sent_at":5}'), "", "gzip"
    )
    assert batch == Envelope("AK-1", [{"name": "x"}], is_batch=True, sent_at=5)
    full = b'{"name":"' + b"x" * (MAX_BODY - 11) + b'"}'
    assert len(full) == MAX_BODY
    assert read(full).payloads  # type: ignore[attr-defined]


def test_the_last_of_a_repeated_key_wins() -> None:
    assert read(b'{"name":"a","name":"b"}').payloads == [{"name": "b"}]  # type: ignore[attr-defined]


def test_a_lone_surrogate_harms_nothing_else() -> None:
    assert read(b'{"name":"\\ud800x"}').payloads == [{"name": "\ud800x"}]  # type: ignore[attr-defined]
