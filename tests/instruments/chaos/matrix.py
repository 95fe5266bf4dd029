"""The failure matrix: one named case for each fault, with what is expected of it.

Enters: the name of a case. Leaves: a line `case | measured`, and whether all of it held: besides
what the case itself looks at, nothing may be lost, doubled or unexpected, the ledger closes, the
numbers agree, and the next event is accepted within 10 s. docs/reliability.md shows the table;
a test keeps both lists equal. Called by __main__.py.
"""

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import psutil
import psycopg
import redis

from tests.instruments.chaos.clients import AGENT, visitor_of
from tests.instruments.chaos.faults import NAMED, Fault, send_all
from tests.instruments.chaos.product import ROOT, NotHere, Product
from tests.instruments.chaos.trial import LONGEST, VISITOR, WITHIN, Trial

Say = Callable[[str], None]


class Failed(Exception):
    """What the case itself expects does not hold."""


@dataclass(frozen=True)
class Case:
    row: str  # of the matrix
    fault: str
    expected: str
    act: Callable[[Trial], str]


def expect(condition: bool, otherwise: str) -> None:
    if not condition:
        raise Failed(otherwise)


# -- faults of the list, alone ---------------------------------------------------------------


def alone(name: str, *seconds: float, times: int = 1) -> Callable[[Trial], str]:
    """One fault, once for each length, and how long it took to be well again."""

    def act(trial: Trial) -> str:
        told = []
        for lasts in seconds or (0.0,) * times:
            told.append(recovery(trial, NAMED[name], lasts))
        return ", ".join(told)

    return act


def recovery(trial: Trial, fault: Fault, lasts: float) -> str:
    felt = None
    while felt is None:  # a process to harm may only just be starting
        felt = trial.happen(fault, lasts)
        trial.step()
    trial.wait_until_over()
    trial.late |= felt.recovery > WITHIN
    held = f"after {lasts:g} s of it " if lasts else ""
    return f"{held}accepting {felt.accepted:.1f} s, draining {felt.drained:.1f} s"


# -- cases with an eye of their own ----------------------------------------------------------


def master_killed(trial: Trial) -> str:
    orphans = trial.product.web_workers()
    told = recovery(trial, NAMED["kill -9 gunicorn master"], 0)
    left = [one.pid for one in orphans if one.is_running() and one.status() != "zombie"]
    expect(not left, f"workers of the killed master still run: {left}")
    return f"{told}; no worker of the old master left"


def cut_by_stop(trial: Trial) -> str:
    """A request that lacks its last byte while gunicorn is asked to end."""
    product = trial.product
    body = one_event(trial)
    with contextlib.closing(socket.create_connection(("127.0.0.1", product.web_port))) as pipe:
        pipe.settimeout(12)
        pipe.sendall(as_request(body)[:-1])
        time.sleep(0.3)
        product.process("web").send_signal(signal.SIGTERM)
        time.sleep(0.5)
        with contextlib.suppress(OSError):
            pipe.sendall(body[-1:])
        answer = b""
        with contextlib.suppress(OSError):
            answer = pipe.recv(100)
    trial.wait_until_whole()
    status = answer.split(b" ")[1].decode() if answer else "connection ended"
    expect(status in ("202", "503", "connection ended"), f"answered {status}")
    return f"the cut request: {status}"


def faulted(point: str) -> Callable[[Trial], str]:
    """The worker dies at that point at every second batch, for a while."""

    def act(trial: Trial) -> str:
        product = trial.product
        set_fault(trial, f"{point}:kill:0.5")
        before, until = product.restarts, time.monotonic() + 60
        while product.restarts < before + 3 and time.monotonic() < until:
            trial.step()
        killed = product.restarts - before
        set_fault(trial, "")
        expect(killed > 0, "the worker was never killed there")
        return f"killed {killed} times exactly there; draining {moves_again(trial):.1f} s later"

    return act


def set_fault(trial: Trial, fault: str) -> None:
    trial.product.environ["AKTIVAT_FAULT"] = fault
    with contextlib.suppress(psutil.Error):
        trial.product.process("worker").kill()
    trial.product.child("worker").process.wait()
    trial.wait_until_whole()


def ticks_lost(trial: Trial) -> str:
    """Every tick of five seconds is thrown away before the worker can take it."""
    lost, until = 0, time.monotonic() + 5
    with redis.Redis(port=trial.product.broker_port) as broker, stopped(trial.product, "worker"):
        while time.monotonic() < until:
            lost += broker.llen("celery")
            broker.delete("celery")
            trial.step()
    moved = moves_again(trial)
    expect(lost > 0, "no tick was lost")
    return f"{lost} ticks lost; draining {moved:.1f} s later"


def moves_again(trial: Trial) -> float:
    begin = time.monotonic()
    while trial.probe.drained_at < begin:
        trial.step()
        expect(time.monotonic() - begin < LONGEST, "the drain does not move")
    return time.monotonic() - begin


def ticks_doubled(trial: Trial) -> str:
    """Four drains and two rollups beside the worker's own, at once."""
    commands = [["drain"]] * 4 + [["roll_up"]] * 2
    running = [
        subprocess.Popen(
            [sys.executable, "manage.py", *command, "--json"], cwd=ROOT,
            env=trial.product.environ, stdout=subprocess.DEVNULL,
        )
        for command in commands
    ]  # fmt: skip
    while any(one.poll() is None for one in running):
        trial.step()
    expect(not any(one.returncode for one in running), "a command failed")
    return f"{len(commands)} at once, all ended well"


def valkey_silent(trial: Trial) -> str:
    """SIGSTOP for 1.5 s and for 30 s; answers have to come all the while."""
    told, longest = [], 0.0
    for lasts in (1.5, 30.0):
        felt = trial.happen(NAMED["stop events Valkey"], lasts)
        assert felt
        trial.wait(1.0)
        while felt.healed is None:
            if felt.heals_at - time.monotonic() > 5:
                begin = time.monotonic()
                status = post(trial.product, one_event(trial))
                longest = max(longest, time.monotonic() - begin)
                expect(status == 503, f"answered {status} while Valkey was silent")
            trial.step()
        trial.wait_until_over()
        trial.late |= felt.recovery > WITHIN
        told.append(f"{lasts:g} s: accepting {felt.accepted:.1f} s later")
    return f"{', '.join(told)}; 503 within {longest:.1f} s meanwhile"


def valkey_slow(trial: Trial) -> str:
    """300 ms on every piece; pages do not stand on this server."""
    before = page_time(trial)
    trial.product.proxies["events"].set("latency", 300)
    slow = page_time(trial)
    trial.product.proxies["events"].set("up")
    return f"median log-in page {before * 1000:.0f} ms before, {slow * 1000:.0f} ms meanwhile"


def page_time(trial: Trial) -> float:
    """Median seconds of fifteen log-in pages."""
    times = []
    for _ in range(15):
        begin = time.monotonic()
        expect(get(trial.product, "/user/login/") == 200, "the log-in page fails")
        times.append(time.monotonic() - begin)
        trial.wait(0.2)
    return sorted(times)[7]


def memory_full(trial: Trial) -> str:
    felt = trial.happen(NAMED["maxmemory reached"], 4)
    assert felt
    trial.wait_until_over()
    with trial.product.valkey() as client:
        evicted = client.info("stats")["evicted_keys"]
    expect(evicted == 0, f"{evicted} keys were evicted")
    trial.late |= felt.recovery > WITHIN
    return f"accepting {felt.accepted:.1f} s after memory was given; 0 keys evicted"


def wrong_policy(trial: Trial) -> str:
    with trial.product.valkey() as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
        begin = time.monotonic()
        while get(trial.product, "/readyz") == 200:
            trial.step()
            expect(time.monotonic() - begin < 30, "/readyz stays green")
        seen = time.monotonic() - begin
        refused = trial.product.check_refuses()
        client.config_set("maxmemory-policy", "noeviction")
    expect(refused, "a start on it is not refused")
    return f"/readyz red after {seen:.1f} s; the next start is refused"


def torn_log(trial: Trial) -> str:
    """kill -9 in the middle of a write: half a command at the end of the log."""
    product = trial.product
    product.process("the events Valkey").kill()
    product.child("the events Valkey").process.wait()
    logs = sorted((product.home / "events" / "data").rglob("*.incr.aof"))
    with logs[-1].open("ab") as log:
        log.write(b"*5\r\n$4\r\nXADD\r\n$9\r\n{1:1")
    begin = time.monotonic()
    trial.wait_until_whole()
    while trial.probe.accepted_at < begin:
        trial.step()
    return f"loaded without the half; accepting {time.monotonic() - begin:.1f} s later"


def rewrite_killed(trial: Trial) -> str:
    """The child that rewrites the log is killed, three times."""
    product, killed = trial.product, 0
    for _ in range(3):
        with product.valkey() as client, contextlib.suppress(redis.RedisError):
            client.bgrewriteaof()
        until = time.monotonic() + 3
        while time.monotonic() < until:
            children = product.tree("the events Valkey")[1:]
            if children:
                with contextlib.suppress(psutil.Error):
                    children[0].kill()
                    killed += 1
                break
        trial.wait(1)
    expect(killed > 0, "no rewrite was caught")
    return f"{killed} rewrites killed; " + recovery(trial, NAMED["kill -9 events Valkey"], 0)


def postgres_away(trial: Trial) -> str:
    """Away for 20 s: everything is accepted, pages say 503, then the backlog goes quickly."""
    product = trial.product
    away = 20.0
    product.proxies["postgres"].set("down")
    before = trial.probe.accepted_told_at
    pages: set[int] = set()
    until = time.monotonic() + away
    while time.monotonic() < until:
        pages.add(get(product, "/api/v1/accounts", product.api_key))
        expect(trial.probe.accepted_told_at > time.monotonic() - 3, "collecting stood still")
        trial.wait(1)
    backlog = waiting(product)
    product.proxies["postgres"].set("up")
    begin = time.monotonic()
    expect(trial.probe.accepted_told_at > before, "nothing was accepted")
    # Still under load, so "gone" is the level of an ordinary second.
    while waiting(product) > 2_000:
        trial.step()
        expect(time.monotonic() - begin < 60, f"{waiting(product)} entries are still waiting")
    took = time.monotonic() - begin
    expect(pages <= {503}, f"pages answered {pages}")
    expect(get(product, "/api/v1/accounts", product.api_key) == 200, "pages do not come back")
    return f"collecting went on, pages 503; {backlog:,} waiting events gone {took:.1f} s later"


def waiting(product: Product) -> int:
    with product.valkey() as client:
        return sum(client.xlen(place.stream) for place in product.places)


def table_locked(trial: Trial) -> str:
    """ACCESS EXCLUSIVE on the events for eight seconds."""
    with psycopg.connect(trial.product.postgres.urls["superuser"]) as to:
        to.execute("LOCK TABLE events IN ACCESS EXCLUSIVE MODE")
        trial.wait(8)
        accepted = trial.probe.accepted_told_at
        expect(time.monotonic() - accepted < 3, "collecting stood still")
        backlog = waiting(trial.product)
    moved = moves_again(trial)
    return f"collecting went on, {backlog:,} events waited; draining {moved:.1f} s after the lock"


def postgres_disk_full(trial: Trial) -> str:
    product = trial.product
    product.fill_disk("postgres")
    trial.wait(6)
    accepted = trial.probe.accepted_told_at
    still = time.monotonic() - accepted < 8
    product.free_disk("postgres")
    begin = time.monotonic()
    moved = 0.0
    while trial.probe.drained_at < begin + 0.2:
        trial.step()
        moved = time.monotonic() - begin
        expect(moved < 30, "the drain does not move")
    expect(still, "collecting stood still")
    return f"collecting went on; draining {moved:.1f} s after there was room"


def networks(mode: str) -> Callable[[Trial], str]:
    def act(trial: Trial) -> str:
        told = []
        for what in ("app and events Valkey", "app and Postgres", "app and broker"):
            told.append(f"{what}: " + recovery(trial, NAMED[f"{what}: {mode}"], 4))
        return "; ".join(told)

    return act


def shuffled(trial: Trial) -> str:
    trial.wait(8)
    return "load without a fault: 10 % again, 5 % late by 3 days, 5 % out of order"


def other_payload(trial: Trial) -> str:
    """Fifty ids twice, the second time with another page."""
    product, told = trial.product, []
    for number in range(50):
        event = json.loads(one_event(trial))
        for page in ("first", "second"):
            event["url"] = f"https://shop.example/{page}{number}"
            told.append(ask(product, json.dumps(event).encode()))
    kept = product.expected_trouble.get("conflicting payloads", 0) + 50
    product.expected_trouble["conflicting payloads"] = kept
    expect([one["duplicate"] for one in told] == [0, 1] * 50, "not accepted, then duplicate")
    return "50 of 50 duplicates, each second payload kept as a conflict"


def slow_clients(trial: Trial) -> str:
    """200 connections that send a byte a second, in the head or in the body."""
    product, pipes = trial.product, []
    request = as_request(one_event(trial))
    body_begins = request.index(b"\r\n\r\n") + 6
    for number in range(200):
        pipe = socket.create_connection(("127.0.0.1", product.web_port), timeout=5)
        pipe.sendall(request[: 20 if number % 2 else body_begins])
        pipe.setblocking(False)
        pipes.append(pipe)
    times, ended = [], 0
    until = time.monotonic() + 16
    while time.monotonic() < until:
        begin = time.monotonic()
        expect(post(product, one_event(trial)) == 202, "others are not served")
        times.append(time.monotonic() - begin)
        trial.wait(0.1)
    for pipe in pipes:
        with contextlib.suppress(BlockingIOError, OSError):
            ended += pipe.recv(10) is not None
        pipe.close()
    expect(ended == len(pipes), f"only {ended} of {len(pipes)} were answered or closed in 16 s")
    times.sort()
    return f"others: median {times[len(times) // 2] * 1000:.0f} ms, slowest " + (
        f"{times[-1] * 1000:.0f} ms; {ended} of 200 were answered or closed in 16 s"
    )


def client_hangs_up(trial: Trial) -> str:
    """Thirty requests whose sender is gone before the answer, then sent again."""
    product, again = trial.product, 0
    for _ in range(30):
        body = one_event(trial)
        with socket.create_connection(("127.0.0.1", product.web_port), timeout=5) as pipe:
            pipe.sendall(as_request(body))
        again += ask(product, body)["duplicate"]
    return f"{again} of 30 were stored before they were sent again, 0 twice"


def after_a_refusal(trial: Trial) -> str:
    """A body that is no JSON, and a good request on the same connection."""
    pipe = http.client.HTTPConnection("127.0.0.1", trial.product.web_port, timeout=20)
    headers = {"Content-Type": "application/json", "User-Agent": AGENT}
    told = []
    for body in (b"nope", one_event(trial)):
        expect(not told or pipe.sock is not None, "the connection was closed")
        pipe.request("POST", "/track", body, headers)
        answer = pipe.getresponse()
        answer.read()
        told.append(answer.status)
    pipe.close()
    expect(told == [400, 202], f"answered {told}")
    return "400, then 202 on the same connection"


def rolling(trial: Trial) -> str:
    """Three HUPs under load, and `migrate` in the middle; every answer meanwhile is looked at."""
    product = trial.product
    met: Counter[int] = Counter()
    for number in range(3):
        product.process("web").send_signal(signal.SIGHUP)
        running = migration(product) if number == 1 else None
        until = time.monotonic() + 7
        while time.monotonic() < until or (running and running.poll() is None):
            met[post(product, one_event(trial))] += 1
            trial.step()
        expect(running is None or running.returncode == 0, "migrate failed")
    expect(not any(status >= 500 for status in met), f"answers were {dict(met)}")
    return f"{met[202]} events accepted meanwhile, {met[0]} connections without an answer, no 5xx"


def migration(product: Product) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "manage.py", "migrate", "--database", "owner", "-v", "0"]
    return subprocess.Popen(command, cwd=ROOT, env=product.environ)


def poison(trial: Trial) -> str:
    """An accepted entry whose row no Postgres can take, among good ones."""
    product = trial.product
    with product.valkey() as client, stopped(product, "worker"):
        trial.wait(0.3)
        stream = product.places[1].stream
        event = one_event(trial, place=1)
        wanted = json.loads(event)["event_id"]
        expect(ask(product, event)["accepted"] == 1, "not accepted")
        entries = client.xrevrange(stream, count=5_000)
        entry, fields = next(one for one in entries if wanted.encode() in one[1][b"d"])
        row = fields[b"d"].split(b"\t")
        row[1] = b"not a time"
        client.xadd(stream, {**fields, b"d": b"\t".join(row)})
        client.xdel(stream, entry)
    product.expected_trouble["events in quarantine"] = (
        product.expected_trouble.get("events in quarantine", 0) + 1
    )
    moved = moves_again(trial)
    return f"one in quarantine, all others stored; draining {moved:.1f} s later"


@contextlib.contextmanager
def stopped(product: Product, name: str) -> Any:
    send_all(product, name, signal.SIGSTOP)
    try:
        yield
    finally:
        send_all(product, name, signal.SIGCONT)


# -- talking to the product ------------------------------------------------------------------


def one_event(trial: Trial, place: int = 0) -> bytes:
    """A body that the checker knows of, though nobody claims that it is stored."""
    event = {
        "property": trial.product.places[place].key,
        "name": "pageview",
        "event_id": str(uuid.uuid4()),
        "visitor": str(visitor_of(VISITOR)),
        "url": "https://shop.example/case",
        "time": time.time_ns() // 1_000_000,
    }
    trial.remember(event, place)
    return json.dumps(event).encode()


def as_request(body: bytes) -> bytes:
    head = f"POST /track HTTP/1.1\r\nHost: x\r\nUser-Agent: {AGENT}\r\nContent-Type: text/plain\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def post(product: Product, body: bytes) -> int:
    return fetch(product, "/track", body)[0]


def ask(product: Product, body: bytes) -> Any:
    return json.loads(fetch(product, "/track", body)[1])


def get(product: Product, path: str, key: str = "") -> int:
    return fetch(product, path, None, key)[0]


def fetch(product: Product, path: str, body: bytes | None, key: str = "") -> tuple[int, bytes]:
    headers = {"User-Agent": AGENT, "Content-Type": "text/plain"}
    if key:
        headers["Authorization"] = f"Bearer {key}"
    request = urllib.request.Request(f"http://127.0.0.1:{product.web_port}{path}", body, headers)
    try:
        with urllib.request.urlopen(request, timeout=15) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()
    except OSError:
        return 0, b"{}"


# -- the table -------------------------------------------------------------------------------

CASES = {
    "web-worker-killed": Case("1", "kill -9 a gunicorn worker, 3 times",
        "the master forks another; clients repeat with the same id",
        alone("kill -9 gunicorn worker", times=3)),
    "web-master-killed": Case("2", "kill -9 the gunicorn master",
        "the supervisor starts it again; no worker of the old one stays", master_killed),
    "request-cut-by-stop": Case("3", "SIGTERM while a request lacks its last byte",
        "202, 503 or an ended connection, never a silent drop", cut_by_stop),
    "drain-worker-killed": Case("4", "kill -9 the Celery worker, 3 times",
        "what it had read is read again", alone("kill -9 Celery worker", times=3)),
    "killed-after-commit": Case("5", "the worker dies between COMMIT and deleting the entries",
        "read again, known by their ids: doubled 0", faulted("after_commit")),
    "killed-before-commit": Case("6", "the worker dies between COPY and COMMIT",
        "rolled back, read again: lost 0", faulted("before_commit")),
    "beat-killed": Case("7", "kill -9 beat", "the next start goes on with the ticks",
        alone("kill -9 beat")),
    "ticks-lost": Case("8", "all ticks in the broker deleted for 5 s", "the next tick drains",
        ticks_lost),
    "ticks-doubled": Case("9", "6 drains and rollups beside the worker's own", "doubled 0",
        ticks_doubled),
    "valkey-killed": Case("10", "kill -9 the events Valkey",
        "503 while it is down; its log is replayed", alone("kill -9 events Valkey")),
    "valkey-stopped": Case("11", "SIGSTOP of the events Valkey for 1.5 s and 30 s",
        "503 within the time-out; a retry is a duplicate", valkey_silent),
    "valkey-slow": Case("12", "300 ms on every piece to and from the events Valkey",
        "pages are not slowed down", valkey_slow),
    "memory-full": Case("13", "maxmemory reached", "503, the drain goes on, nothing evicted",
        memory_full),
    "wrong-policy": Case("14", "maxmemory-policy allkeys-lru",
        "/readyz red within 30 s, the next start refused", wrong_policy),
    "disk-full": Case("15", "disk full under the log of the events Valkey for 3 s",
        "it ends instead of answering; 503", alone("disk full under the AOF", 3.0)),
    "log-torn": Case("16", "half a command at the end of the log", "loaded up to there",
        torn_log),
    "rewrite-killed": Case("17", "the child that rewrites the log killed, then kill -9",
        "nothing is lost", rewrite_killed),
    "backend-killed": Case("18", "kill -9 one Postgres backend",
        "all sessions end, Postgres recovers, batches are repeated",
        alone("kill -9 a Postgres backend")),
    "postmaster-killed": Case("19", "kill -9 the postmaster", "the same, after a start",
        alone("kill -9 postmaster")),
    "postgres-away": Case("20", "Postgres away for 20 s", "202 all the while; pages 503",
        postgres_away),
    "table-locked": Case("21", "ACCESS EXCLUSIVE on `events` for 8 s",
        "202 all the while; the drain tries again", table_locked),
    "postgres-disk-full": Case("23", "disk full under Postgres for 6 s",
        "202 all the while; the batch is repeated", postgres_disk_full),
    "network-silent": Case("28", "silence for 4 s on the wire to each server",
        "time-outs, 503, recovery without a restart", networks("silent")),
    "network-reset": Case("28", "resets for 4 s on the wire to each server",
        "503, recovery without a restart", networks("reset")),
    "answers-cut": Case("29", "connections cut inside the answer, on the wire to each server",
        "what was done is a duplicate when repeated", networks("cut inside answers")),
    "shuffled": Case("30", "10 % again, 5 % three days late, 5 % out of order",
        "every number as if in order", shuffled),
    "other-payload": Case("31", "the same id with another payload",
        "the first counts, the second is kept as a conflict", other_payload),
    "slow-clients": Case("32", "200 senders of a byte a second", "408 or closed; others served",
        slow_clients),
    "client-hangs-up": Case("33", "the sender is gone before the answer",
        "stored, or accepted when repeated", client_hangs_up),
    "after-a-refusal": Case("34", "a good request after a refused one on its connection", "202",
        after_a_refusal),
    "rolling": Case("37", "three HUPs of gunicorn and a migration under load", "no 5xx", rolling),
    "poison": Case("42", "an entry that Postgres cannot take", "it alone goes to quarantine",
        poison),
}  # fmt: skip
NEEDS_DISK = {"disk-full", "postgres-disk-full"}


def run_cases(say: Say, names: Sequence[str] = ()) -> bool:
    """The named cases, or all, one after the other on one product under one load; one count."""
    wanted = list(names or CASES)
    say(f"== failure matrix: {len(wanted)} cases ==")
    product = Product(disk_mb=600, postgres_disk_mb=1_000)
    try:
        product.start()
    except NotHere as missing:
        say(f"{', '.join(sorted(NEEDS_DISK & set(wanted)))}: NOT RUN. {missing}")
        wanted = [name for name in wanted if name not in NEEDS_DISK]
        product = Product().start()
    trial, held = None, True
    try:
        trial = Trial(
            product, "matrix", lambda line: None, clients=2, threads=2, rate=400, largest=30
        )
        trial.wait_for_first(30)
        for name in wanted:
            held &= run_case(say, trial, name)
        verdict = trial.finish()
    finally:
        if trial:
            trial.stop()
        product.stop()
    say("; ".join(f"{what} {by}" for what, by in verdict.rows()))
    for fault in verdict.faults[:20]:
        say(f"WRONG: {fault}")
    if not verdict.holds and len(wanted) > 1:
        say("Run the cases one by one to see which of them it is.")
    return held and verdict.holds


def run_case(say: Say, trial: Trial, name: str) -> bool:
    """One case; all is healed after it, and the count comes at the end of all."""
    case = CASES[name]
    trial.late = False
    wrong, measured = [], ""
    try:
        measured = case.act(trial)
    except Failed as reason:
        wrong.append(str(reason))
    for proxy in trial.product.proxies.values():
        proxy.set("up")
    trial.wait_until_over()
    trial.wait_until_whole()
    trial.wait(0.5)
    if trial.late:
        wrong.append(f"it took longer than {WITHIN:.0f} s to be well again; {load_of_machine()}")
    say(f"{case.row:>3}  {name:<22}{measured}{' WRONG' if wrong else ''}")
    for reason in wrong:
        say(f"     WRONG: {reason}")
    return not wrong


def load_of_machine() -> str:
    return f"{os.getloadavg()[0]:.0f} processes wanted {os.cpu_count()} processors"
