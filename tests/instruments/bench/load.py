"""The load generator: plain sockets, one epoll loop, messages that were made beforehand.

A process of its own, `python -m tests.instruments.bench.load`. In: a job as one line of JSON on
stdin (Job); it answers "ready", waits for a second line, and runs. Out: one line of JSON
(Outcome). At a given rate latency counts from the moment at which a request was due, so a server
that stalls is charged for everything that should have been sent meanwhile.
"""

import json
import select
import socket
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from random import Random
from typing import Any

from tests.instruments.bench import answers, messages
from tests.instruments.bench.histogram import Histogram
from tests.instruments.bench.messages import Ids, Message

LAST_ANSWERS = 10.0  # seconds to wait for what is under way at the end
TICK = 0.001  # seconds; the pause of a paced run when nothing happens


@dataclass
class Job:
    """What to send where, and how.

    rate 0: every connection sends its next request when it has its answer. `once`: every message
    one time, then end. `seconds` bounds it in either case.
    """

    address: str | list[Any]  # a unix socket's path, or [host, port]
    messages: str  # of messages.KINDS
    given: dict[str, Any]
    answers: str  # of answers.KINDS
    connections: int
    seconds: float
    rate: float = 0.0
    keep_alive: bool = True
    once: bool = False
    seed: int = 1


@dataclass
class Outcome:
    """What came of it; `events` were acknowledged, `cpu` seconds are the generator's own."""

    seconds: float = 0.0
    requests: int = 0
    events: int = 0
    answers: dict[str, int] = field(default_factory=dict)
    latencies: list[tuple[int, int]] = field(default_factory=list)
    cpu: float = 0.0
    unanswered: int = 0
    late: int = 0  # requests of a paced run that were never sent: no connection was free


class Connection:
    """One request at a time."""

    __slots__ = ("data", "due", "size", "socket")

    def __init__(self) -> None:
        self.socket: socket.socket | None = None
        self.data = b""
        self.due = 0.0
        self.size = 0


class Load:
    """One run of a job."""

    def __init__(self, job: Job) -> None:
        dice = Random(job.seed)
        self.job = job
        self.messages = messages.KINDS[job.messages](job.given, dice)
        self.read = answers.KINDS[job.answers]
        self.ids = Ids(Random())
        self.next_message = 0
        self.epoll = select.epoll()
        self.busy: dict[int, Connection] = {}
        self.free = [Connection() for _ in range(job.connections)]
        self.histogram = Histogram()
        self.kinds: Counter[str] = Counter()
        self.events = 0
        if job.keep_alive:
            for connection in self.free:
                self.connect(connection)

    # -- one request -------------------------------------------------------------------------

    def connect(self, connection: Connection) -> None:
        if isinstance(self.job.address, str):
            made = socket.socket(socket.AF_UNIX)
            made.connect(self.job.address)
        else:
            made = socket.create_connection(tuple(self.job.address))
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.socket = made
        self.epoll.register(made.fileno(), select.EPOLLIN)

    def disconnect(self, connection: Connection) -> None:
        if connection.socket is not None:
            self.epoll.unregister(connection.socket.fileno())
            connection.socket.close()
            connection.socket = None

    def take(self) -> Message:
        message = self.messages[self.next_message % len(self.messages)]
        self.next_message += 1
        return message

    def start(self, connection: Connection, due: float) -> None:
        message = self.take()
        parts = message.parts
        if len(parts) == 2:
            sent = parts[0] + self.ids.new() + parts[1]
        elif len(parts) == 1:
            sent = parts[0]
        else:
            new = self.ids.new
            sent = b"".join([x for part in parts[:-1] for x in (part, new())]) + parts[-1]
        connection.due, connection.size, connection.data = due, message.size, b""
        try:
            if connection.socket is None:
                self.connect(connection)
            assert connection.socket is not None
            connection.socket.sendall(sent)
        except OSError as error:
            self.fail(connection, error)
            return
        self.busy[connection.socket.fileno()] = connection

    def hear(self, connection: Connection) -> bool:
        """Read what came; True when the request has its answer or its connection is lost."""
        assert connection.socket is not None
        number = connection.socket.fileno()
        try:
            came = connection.socket.recv(65_536)
        except OSError as error:
            self.busy.pop(number, None)
            self.fail(connection, error)
            return True
        if not came:
            self.busy.pop(number, None)
            self.fail(connection, ConnectionError("closed"))
            return True
        connection.data = connection.data + came if connection.data else came
        reading = self.read(connection.data, connection.size)
        if reading is None:
            return False
        kind, events = reading
        self.kinds[kind] += 1
        self.events += events
        self.histogram.add(time.perf_counter() - connection.due)
        del self.busy[number]
        if not self.job.keep_alive or b"connection: close" in connection.data[:400].lower():
            self.disconnect(connection)
        return True

    def fail(self, connection: Connection, error: OSError) -> None:
        self.kinds[error.__class__.__name__] += 1
        self.disconnect(connection)

    # -- all of them -------------------------------------------------------------------------

    def run(self) -> Outcome:
        began, cpu = time.perf_counter(), time.process_time()
        late = self._paced(began) if self.job.rate else self._as_fast_as_answered(began)
        self._wait_for_last_answers()
        ended = time.perf_counter()
        return Outcome(
            seconds=ended - began,
            requests=self.kinds.total(),
            events=self.events,
            answers=dict(self.kinds),
            latencies=self.histogram.pairs(),
            cpu=time.process_time() - cpu,
            unanswered=len(self.busy),
            late=late,
        )

    def _as_fast_as_answered(self, began: float) -> int:
        end = began + self.job.seconds
        most = len(self.messages) if self.job.once else sys.maxsize
        clock = time.perf_counter
        waiting, self.free = self.free, []
        while True:
            for connection in waiting:
                if self.next_message < most:
                    self.start(connection, clock())
            waiting = []
            if clock() >= end or not self.busy:
                return 0
            for number, _ in self.epoll.poll(0.1):
                connection = self._of(number)
                if connection is not None and self.hear(connection):
                    waiting.append(connection)

    def _paced(self, began: float) -> int:
        end, rate = began + self.job.seconds, self.job.rate
        clock = time.perf_counter
        count = 0
        while (now := clock()) < end:
            while self.free and (due := began + count / rate) <= now:
                count += 1
                self.start(connection := self.free.pop(), due)
                if connection.socket is None:
                    self.free.append(connection)
                    break
            self._hear_all(TICK)
        return max(int((end - began) * rate) - count, 0)

    def _hear_all(self, seconds: float) -> None:
        for number, _ in self.epoll.poll(seconds):
            connection = self._of(number)
            if connection is not None and self.hear(connection):
                self.free.append(connection)

    def _of(self, number: int) -> Connection | None:
        """The connection that waits for an answer; an idle one that the server closed is left."""
        connection = self.busy.get(number)
        if connection is None:
            self.epoll.unregister(number)
            for idle in self.free:
                if idle.socket is not None and idle.socket.fileno() == number:
                    idle.socket.close()
                    idle.socket = None
        return connection

    def _wait_for_last_answers(self) -> None:
        end = time.perf_counter() + LAST_ANSWERS
        while self.busy and time.perf_counter() < end:
            self._hear_all(0.05)


def main() -> None:
    load = Load(Job(**json.loads(sys.stdin.readline())))
    print("ready", flush=True)
    sys.stdin.readline()
    print(json.dumps(asdict(load.run())), flush=True)


if __name__ == "__main__":
    main()
