"""Every case of the corpus of bad input (tests/corpus/) against a running collector: the documented
answer within a second, on the short way and on the long one; afterwards the process is the same,
not much larger, and its books are closed."""

import os
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from aktivat.servers.children import Child, spawn
from aktivat.servers.valkey import free_ports
from tests.corpus import CASES, ROWS
from tests.corpus.case import LONG_WAY, Answer, Case
from tests.corpus.sending import SETTINGS, Reply, World
from tests.servers import GUNICORN, ROOT, wait_until_it_answers

SECONDS = 1.0
ATTEMPTS = 3  # a machine that does something else may make one of them late
GROWTH = 50_000_000  # bytes of the web process, over all cases
NAMELESS = ("malformed", "unknown_property")  # of a pixel, counted for the instance


@dataclass
class Running:
    """A collector with one worker, and what it has answered so far."""

    master: Child
    world: World
    before: Counter[str]  # of the instance
    told: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)

    def worker(self) -> psutil.Process:
        (worker,) = psutil.Process(self.master.pid).children()
        return worker

    def tell(self, replies: list[Reply]) -> None:
        """Write down what the sender was told: the ledgers have to say the same."""
        for reply in replies:
            answer = reply.json if reply.body[:1] == b"{" else {}
            if reply.headers.get("content-type") == "image/gif":
                if reply.code in NAMELESS:
                    self.faults[reply.code] += 1
                else:
                    self.told[f"r.{reply.code}" if reply.code else "accepted"] += 1
            elif "error" in answer and reply.status not in (404, 405):
                self.faults[reply.code] += 1
            self.told["accepted"] += answer.get("accepted", 0)
            self.told["duplicate"] += answer.get("duplicate", 0)
            for refusal in answer.get("rejected", ()):
                self.told[f"r.{refusal['reason']}"] += 1

    def ledger(self) -> Counter[str]:
        """What the product says of all its properties together."""
        from django.utils import timezone

        from tracking.ledger import reconcile

        found: Counter[str] = Counter()
        for place in self.world.places.values():
            balance = reconcile(place, timezone.now())
            assert balance.adds_up, balance
            found["accepted"] += balance.accepted
            found["duplicate"] += balance.duplicate
            found.update({f"r.{reason}": count for reason, count in balance.refused.items()})
        return found


def nameless() -> Counter[str]:
    """What named no property, by code, as the instance has counted it so far."""
    from tracking import keys
    from tracking.store import events_client

    found: Counter[str] = Counter()
    for key in events_client().scan_iter(match=f"{keys.INSTANCE}:l:*"):
        for name, count in events_client().hgetall(key).items():
            if name.startswith(b"r."):
                found[name[2:].decode()] += int(count)
    del found["cut_off"]  # nobody was there to hear of it
    return found


@pytest.fixture(scope="module")
def running(django_db_setup: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with free_ports(1) as ports:
        port = ports[0]
    bind = ("--bind", f"127.0.0.1:{port}", "--workers", "1")
    master = spawn(
        [sys.executable, "-m", "gunicorn", "--config", GUNICORN, *bind],
        name="web",
        log=tmp_path_factory.mktemp("corpus") / "web.log",
        env=os.environ | SETTINGS,
        cwd=ROOT,
    )
    try:
        wait_until_it_answers(master, f"http://127.0.0.1:{port}/healthz")
        yield Running(master, World(f"http://127.0.0.1:{port}"), nameless())
    finally:
        master.stop()


def ways(case: Case) -> list[tuple[bytes, ...]]:
    """A plain POST is tried as it is and with a header that keeps it from the short way."""
    return [(), (LONG_WAY,)] if all(request.is_post for request, _ in case.steps) else [()]


@pytest.mark.parametrize("case", CASES, ids=lambda case: ascii(case.id))
def test_the_documented_answer(running: Running, case: Case) -> None:
    for more in ways(case):
        slowest = SECONDS
        for _ in range(ATTEMPTS):
            names = running.world.names()
            replies = running.world.send(case, names, *more)
            running.tell(replies)
            for (_, answer), reply in zip(case.steps, replies, strict=True):
                check(answer, reply)
                if answer.kept or answer.lacks_text:
                    check_stored(answer, running.world.kept(names["ID"]))
            slowest = max(reply.seconds for reply in replies)
            if slowest < SECONDS:
                break
        assert slowest < SECONDS


def check(answer: Answer, reply: Reply) -> None:
    said = (reply.status, reply.body[:500])
    assert reply.status in answer.status, said
    assert b"Traceback" not in reply.body and b'File "' not in reply.body
    if answer.code and (reply.body or "x-aktivat-reason" in reply.headers):
        assert reply.code == answer.code, said
    if "error" in (reply.json if reply.body[:1] == b"{" else {}):
        assert len(reply.json["error"]["message"]) > 10
    if answer.accepted is not None and reply.headers.get("content-type") == "application/json":
        counts = (reply.json["accepted"], reply.json["duplicate"])
        assert counts == (answer.accepted, answer.duplicate), said
        rejected = [(r["reason"], r.get("field")) for r in reply.json["rejected"]]
        assert rejected == list(answer.rejected)
        assert all(len(refusal["message"]) > 10 for refusal in reply.json["rejected"])
    for name, value in answer.headers.items():
        assert reply.headers[name] == value
    for name in answer.lacks:
        assert name not in reply.headers
    assert reply.closed or not answer.closed


def check_stored(answer: Answer, stored: dict[str, Any] | None) -> None:
    assert stored is not None
    assert {name: stored[name] for name in answer.kept} == dict(answer.kept)
    if answer.lacks_text:
        assert answer.lacks_text not in str(stored)


def test_afterwards_the_process_is_the_same_and_its_books_are_closed(running: Running) -> None:
    """The whole corpus once more, on a process that has seen ordinary events."""
    good = next(case for case in CASES if case.id == "C41-a beacon")
    for _ in range(20):
        running.tell(running.world.send(good, running.world.names()))
    worker = running.worker()
    before = worker.memory_info().rss
    for case in CASES:
        running.tell(running.world.send(case, running.world.names()))
    assert running.worker().pid == worker.pid
    assert worker.memory_info().rss - before < GROWTH
    (reply,) = running.world.send(good, running.world.names())
    running.tell([reply])
    assert (reply.status, reply.json["accepted"]) == (202, 1)
    assert running.ledger() == running.told
    assert nameless() - running.before == running.faults
    log = Path(str(running.master.log)).read_text()
    assert "Traceback" not in log
    assert "DisallowedHost" in log  # said in one line


def test_every_row_has_a_case_and_every_case_a_name_of_its_own() -> None:
    assert {case.row for case in CASES} == set(ROWS)
    names = Counter(case.id for case in CASES)
    assert [name for name, count in names.items() if count > 1] == []


def test_a_wrong_answer_is_found() -> None:
    """What the runner compares with can fail."""
    wanted = Answer((202,), accepted=1, headers={"a": "b"}, lacks=("set-cookie",))
    kind = {"content-type": "application/json", "a": "b"}
    body = b'{"accepted": 1, "duplicate": 0, "rejected": []}'
    check(wanted, Reply(202, kind, body))
    for wrong in (
        Reply(200, kind, body),
        Reply(202, kind, body.replace(b"1", b"0")),
        Reply(202, kind, body.replace(b"[]", b'[{"index": 0, "reason": "x", "message": "y"}]')),
        Reply(202, kind | {"a": "c"}, body),
        Reply(202, kind | {"set-cookie": "x"}, body),
        Reply(202, kind, body + b"Traceback"),
    ):
        with pytest.raises(AssertionError):
            check(wanted, wrong)
    for stored in (None, {"title": "b"}, {"title": "a", "url": "secret"}):
        with pytest.raises(AssertionError):
            check_stored(Answer(kept={"title": "a"}, lacks_text="secret"), stored)
