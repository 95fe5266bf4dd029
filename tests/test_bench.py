"""The parts of the bench that decide what a figure says: were it wrong, nobody would notice."""

import json
import os
import signal
import socketserver
import subprocess
import sys
import threading
from collections import Counter
from dataclasses import asdict
from math import ceil
from pathlib import Path
from random import Random
from types import SimpleNamespace
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.instruments import processes
from tests.instruments.bench import answers, messages, settings, table
from tests.instruments.bench.asking import sizes
from tests.instruments.bench.histogram import Histogram, bucket, highest
from tests.instruments.bench.load import Job, Load
from tests.instruments.bench.measuring import Failed, Measure, accepted, run_together
from tests.instruments.bench.storing import balance
from tests.instruments.bench.table import Row
from tests.instruments.processes import Process, cpu_seconds, read_stat
from tests.instruments.product import undisturbed

GIF = b"GIF89a"
NOT_ACCEPTED = "202 not accepted"
ACCEPTED = b'{"accepted":1,"duplicate":0,"rejected":[]}'


def answer(status: str, body: bytes = ACCEPTED, *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", "Server: x", *headers, f"Content-Length: {len(body)}"]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


# -- latencies -----------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 10**8), min_size=1, max_size=300), st.integers(1, 100))
def test_percentiles_are_at_most_a_bucket_above_the_truth(values, percent):
    histogram = Histogram()
    for value in values:
        histogram.add(value / 1e6)
    truth = sorted(values)[ceil(len(values) * percent / 100) - 1] / 1000
    assert truth <= histogram.percentile(percent) <= truth * 1.032


@given(st.integers(0, 10**9))
def test_buckets_follow_each_other_without_a_gap(value):
    assert bucket(value) <= bucket(value + 1) <= bucket(value) + 1
    assert bucket(highest(bucket(value))) == bucket(value)
    assert bucket(highest(bucket(value)) + 1) == bucket(value) + 1


def test_a_histogram_survives_json():
    histogram = Histogram()
    for value in (0.001, 0.002, 0.5):
        histogram.add(value)
    again = Histogram(json.loads(json.dumps(histogram.pairs())))
    assert again.percentile(99) == histogram.percentile(99) == pytest.approx(500, rel=0.04)
    assert Histogram().percentile(99) == 0


# -- CPU -----------------------------------------------------------------------------------------

STAT = "4 (a (b) c) S 2 4 4 0 -1 0 1 2 3 4 700 30 5 1 20 0 1 0 99 1 1"


def test_a_line_of_stat_is_read_whatever_the_program_is_called():
    assert read_stat(STAT) == Process(pid=4, parent=2, own=730, reaped=6)


def test_cpu_of_a_family_has_living_and_dead_children_and_nobody_else():
    mother, child, grandchild = (
        Process(10, 1, 100, 7),
        Process(11, 10, 20, 0),
        Process(12, 11, 3, 0),
    )
    stranger = Process(13, 1, 5_000, 5_000)
    found = {one.pid: one for one in (mother, child, grandchild, stranger)}
    assert cpu_seconds([10], lambda: found) == 130 / processes.TICKS


def test_a_child_that_ends_between_two_reads_counts_once():
    mother = Process(10, 1, 100, 0)
    living = {10: mother, 11: Process(11, 10, 40, 0)}
    reaped = {10: mother._replace(reaped=40)}
    reads = iter([living, reaped, reaped])
    assert cpu_seconds([10], lambda: next(reads)) == 140 / processes.TICKS


def test_cpu_of_real_processes_stays_when_a_child_has_ended():
    """A child burns half a second and ends; its parent sleeps on."""
    burn = "import time\nwhile time.process_time() < 0.5: pass"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {burn!r}]); "
    parent += "print('done', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", parent], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        process.stdout.readline()
        own = read_stat(Path(f"/proc/{process.pid}/stat").read_text()).own / processes.TICKS
        assert cpu_seconds([process.pid]) - own > 0.45
        assert process.pid in {
            one.pid for one in processes.family(os.getpid(), processes.all_processes())
        }
        process.stdin.close()


# -- what counts as accepted ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "data", "size", "reading"),
    [
        ("events", answer("202 Accepted"), 1, ("202", 1)),
        ("events", answer("202 Accepted", b'{"accepted":0,"duplicate":1}'), 1, (NOT_ACCEPTED, 0)),
        ("events", answer("202 Accepted", b'{"accepted":7}'), 10, (NOT_ACCEPTED, 7)),
        ("events", answer("202 Accepted", b'{"accepted":100}'), 100, ("202", 100)),
        ("events", answer("202 Accepted", b"{}"), 1, (NOT_ACCEPTED, 0)),
        ("events", answer("200 OK"), 1, ("200", 0)),
        ("events", answer("503 Service Unavailable"), 1, ("503 without Retry-After", 0)),
        ("events", answer("503 Service Unavailable", b"{}", "Retry-After: 2"), 1, ("503", 0)),
        ("events", answer("422 Unprocessable"), 1, ("422", 0)),
        ("pings", answer("202 Accepted", b'{"accepted":0,"rejected":[]}'), 5, ("202", 5)),
        ("pings", answer("202 Accepted", b'{"accepted":0,"rejected":[{}]}'), 5, (NOT_ACCEPTED, 0)),
        ("pixels", answer("200 OK", GIF), 1, ("200", 1)),
        ("pixels", answer("200 OK", GIF, "Expose-Headers: x-aktivat-reason"), 1, ("200", 1)),
        ("pixels", answer("200 OK", GIF, "X-Aktivat-Reason: bot"), 1, ("200 not accepted", 0)),
        ("pixels", answer("503 Service Unavailable", b""), 1, ("503", 0)),
        ("questions", answer("200 OK", b"{}"), 1, ("200", 1)),
        ("questions", answer("403 Forbidden", b"{}"), 1, ("403", 0)),
        ("appends", b"$15\r\n1700000000000-0\r\n", 1, ("id", 1)),
        ("appends", b"-OOM command not allowed\r\n", 1, ("-OOM command not allowed", 0)),
    ],
)  # fmt: skip
def test_only_an_acceptance_counts(kind, data, size, reading):
    read = answers.KINDS[kind]
    assert read(data, size) == reading
    for end in range(len(data)):
        assert read(data[:end], size) is None


def test_two_answers_to_one_request_are_no_answer():
    with pytest.raises(ValueError, match="More than one"):
        answers.of_events(answer("202 Accepted") * 2, 1)


# -- the generator -------------------------------------------------------------------------------


class Server(socketserver.ThreadingTCPServer):
    """Answers the nth request of all with `say(n)`, and keeps what was sent."""

    allow_reuse_address = daemon_threads = True

    def __init__(self, say):
        super().__init__(("127.0.0.1", 0), Handler)
        self.say = say
        self.bodies = []
        self.lock = threading.Lock()


class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        while line := self.rfile.readline():
            length, close = 0, False
            while (line := self.rfile.readline()) not in (b"\r\n", b""):
                name, _, value = line.decode().partition(":")
                length = int(value) if name == "Content-Length" else length
                close = close or (name == "Connection" and "close" in value)
            body = self.rfile.read(length)
            with self.server.lock:
                number = len(self.server.bodies)
                self.server.bodies.append(body)
            self.wfile.write(self.server.say(number))
            if close:
                return


@pytest.fixture
def serve():
    started = []

    def start(say):
        server = Server(say)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        started.append(server)
        return server

    yield start
    for server in started:
        server.shutdown()
        server.server_close()


def job(server, kind="single_events", **fields):
    values = {"property": "AK-ABCDEFGH", "keep_alive": fields.get("keep_alive", True)}
    values |= fields.pop("given", {})
    return Job(
        **{
            "address": ["127.0.0.1", server.server_address[1]],
            "messages": kind,
            "given": values,
            "answers": "events",
            "connections": 4,
            "seconds": 0.2,
        }
        | fields
    )


def test_the_generator_counts_what_was_acknowledged_and_nothing_else(serve):
    kinds = [answer("202 Accepted"), answer("202 Accepted", b'{"accepted":0,"duplicate":1}')]
    kinds += [answer("503 Service Unavailable", b"{}", "Retry-After: 2")]
    server = serve(lambda number: kinds[number % 3])
    outcome = Load(job(server)).run()
    sent = len(server.bodies)
    assert outcome.requests == sent > 9
    assert outcome.events == outcome.answers["202"] == (sent + 2) // 3
    assert outcome.answers[NOT_ACCEPTED] == (sent + 1) // 3
    assert outcome.answers["503"] == sent // 3
    assert sum(count for _, count in outcome.latencies) == sent
    assert outcome.unanswered == 0


@pytest.mark.parametrize("keep_alive", [True, False])
def test_every_request_is_an_event_with_an_id_of_its_own(serve, keep_alive):
    server = serve(lambda number: answer("202 Accepted"))
    Load(job(server, keep_alive=keep_alive)).run()
    events = [json.loads(body) for body in server.bodies]
    ids = {UUID(event["event_id"]) for event in events}
    assert len(ids) == len(events) > 9
    assert {one.version for one in ids} == {4}
    assert {event["property"] for event in events} == {"AK-ABCDEFGH"}


def test_batches_have_as_many_ids_as_events(serve):
    server = serve(lambda number: answer("202 Accepted", b'{"accepted":10}'))
    outcome = Load(job(server, "batches", given={"size": 10})).run()
    ids = [event["event_id"] for body in server.bodies for event in json.loads(body)["events"]]
    assert len(set(ids)) == len(ids) == outcome.events == 10 * len(server.bodies)


def test_once_sends_each_message_one_time(serve):
    server = serve(lambda number: answer("202 Accepted", b'{"accepted":0,"rejected":[]}'))
    given = {"first": 10, "last": 1_600}
    outcome = Load(
        job(server, "arrivals", given=given, answers="pings", once=True, seconds=20)
    ).run()
    beats = [beat for body in server.bodies for beat in json.loads(body)["events"]]
    assert len({beat["visitor"] for beat in beats}) == len(beats) == outcome.events == 1_590


def test_a_paced_run_charges_a_stall_to_the_server(serve):
    """One connection and an answer that takes 100 ms: whoever was due meanwhile has waited."""
    stall = threading.Event()
    server = serve(
        lambda number: (stall.wait(0.1) if number == 0 else 0, answer("202 Accepted"))[1]
    )
    outcome = Load(job(server, connections=1, rate=100, seconds=0.5)).run()
    slow = sum(n for number, n in outcome.latencies if highest(number) > 20_000)
    assert slow >= 5
    assert outcome.requests + outcome.late >= 49


def test_a_server_that_hangs_up_is_no_acceptance(serve):
    server = serve(lambda number: b"")
    server.say = lambda number: b"HTTP/1.1 202 Accepted\r\nContent-Le"
    outcome = Load(job(server, keep_alive=False, seconds=0.05)).run()
    assert outcome.events == 0
    assert outcome.answers.keys() <= {"ConnectionError", "ConnectionResetError"}


def test_ids_never_repeat():
    ids = messages.Ids(Random(1))
    made = {ids.new() for _ in range(20_000)}
    assert len(made) == 20_000
    assert {UUID(one.decode()).version for one in made} == {4}


# -- rows ----------------------------------------------------------------------------------------


def measure(server_answers, **cpu):
    from tests.instruments.bench.load import Outcome

    outcome = Outcome(2.0, 100, 100, server_answers, [(100, 100)], cpu=0.001)
    return Measure(Job("/s", "appends", {}, "appends", 1, 1), outcome, cpu)


def test_a_row_has_microseconds_an_event_and_the_ratio_to_the_bare_answer():
    row = measure({"202": 100}, web=0.01, valkey=0.002).row("a", bare=40)
    assert (row.per_second, row.cpu, row.load) == (50, {"web": 100, "valkey": 20}, 10)
    assert (row.ratio, row.total, row.note) == (2.5, 120, "")


def test_odd_answers_are_told_and_wrong_ones_refused():
    assert accepted(measure({"202": 97, "503": 3})).surprises() == "3 x 503"
    for wrong in ("422", "503 without Retry-After", "ConnectionResetError"):
        with pytest.raises(Failed, match=f"2 x {wrong}"):
            accepted(measure({"202": 98, wrong: 2}))


def test_the_table_is_a_table():
    lines = table.lines(
        [Row("a", 1234.5, p50=0.21, cpu={"web": 41.4, "valkey": 8}), Row("b", 3.14)]
    )
    assert len({line.count("|") for line in lines}) == 1
    assert [cell.strip() for cell in lines[2].split("|")[1:10]] == [
        "a", "1,234", "0.2", "", "41", "8.0", "", "", "49",
    ]  # fmt: skip


def test_sizes_of_histories_are_read_or_refused():
    assert sizes("") == [1_000_000]
    assert sizes("100_000, 10000000") == [100_000, 10_000_000]
    for wrong in ("many", "1", "1000,-5"):
        with pytest.raises(SystemExit, match="EVENTS"):
            sizes(wrong)


def test_two_jobs_at_once_have_an_outcome_each(serve):
    servers = [serve(lambda number: answer("202 Accepted")) for _ in range(2)]
    jobs = [job(servers[0], seconds=0.3), job(servers[1], seconds=0.3, rate=40)]
    product = SimpleNamespace(cpu=lambda: {"web": 0.0})
    wanted = settings.Settings()
    measures = run_together(product, jobs, wanted)
    assert [one.outcome.events for one in measures] == [len(one.bodies) for one in servers]
    assert len(servers[1].bodies) <= 13 < len(servers[0].bodies)
    assert wanted.acknowledged["AK-ABCDEFGH"] == sum(len(one.bodies) for one in servers)


def test_an_acknowledged_event_that_is_not_stored_is_told():
    found = {"properties": [{"property": "AK-A", "stored": 99}, {"property": "AK-B", "stored": 7}]}
    product = SimpleNamespace(manage=lambda *words: found)
    wanted = settings.Settings()
    wanted.acknowledged["AK-A"] = 99
    balance(product, wanted)
    for key, count, said in (("AK-B", 8, "8 events were acknowledged, 7"), ("AK-C", 1, "1 .* 0")):
        with pytest.raises(Failed, match=f"{key}: {said} are stored"):
            balance(product, settings.Settings(acknowledged=Counter({key: count})))


def test_options_that_mean_nothing_are_refused():
    assert settings.read({"ROWS": "b, a"}, ("a", "b")).rows == ("a", "b")
    for wrong in ({"ROWS": "c"}, {"SECONDS": "x"}, {"REPEAT": "0"}):
        with pytest.raises(SystemExit):
            settings.read(wrong, ("a", "b"))


def test_a_job_survives_json():
    made = Job("/s", "appends", {"key": "k"}, "appends", 1, 1.0)
    assert Job(**json.loads(json.dumps(asdict(made)))) == made


def test_a_second_signal_does_not_cut_off_the_cleaning_up():
    """Each of these would end this process, or raise KeyboardInterrupt."""
    before = signal.getsignal(signal.SIGINT)
    with undisturbed():
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(os.getpid(), number)
    assert signal.getsignal(signal.SIGINT) is before
