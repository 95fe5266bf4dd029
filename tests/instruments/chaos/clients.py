"""One client process: senders that never give an event up, and write down what they were told.

In: `python -m tests.instruments.chaos.clients` with one JSON object: port, places (keys), seed,
name, folder, threads, rate (events a second of this process), senders' `largest` batch. It ends
after SIGTERM, once every event is acknowledged or PATIENCE has passed. Out: journal files, and a
line of JSON with what it met. Started by load.py.
"""

import contextlib
import http.client
import json
import random
import signal
import socket
import sys
import threading
import time
import uuid
from collections import Counter, deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from tests.instruments.chaos.journal import Sent, Writer

AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
TIMEOUT = 6.0  # seconds for an answer; after it nobody knows, and the event goes out again
PATIENCE = 90.0  # seconds after the end of the load
DAY_MS = 86_400_000
VISITORS = 20_000
GIF_LENGTH = 43
AGAIN, LATE, SHUFFLED = 0.10, 0.05, 0.05
NAMES = ("pageview", "pageview", "pageview", "signup", "add_to_cart")


@dataclass(frozen=True, slots=True)
class Made:
    """An event, ready to be sent any number of times."""

    id: bytes
    place: int
    by_pixel: bool
    payload: dict[str, Any]
    sent: Sent


class Maker:
    """Events of one thread, drawn from a seed: new ones, repeated ones, late and shuffled ones."""

    def __init__(self, seed: str, places: int, largest: int, recent: "deque[Made]") -> None:
        self.dice = random.Random(seed)
        self.places = places
        self.largest = largest
        self.recent = recent  # shared by the threads: a copy may overtake its original
        self.held: list[tuple[int, Made]] = []
        self.made = 0

    def next(self) -> list[Made]:
        """The events of the next request: one property, one way of sending."""
        place = self.dice.randrange(self.places)
        chance = self.dice.random()
        if chance < 0.25:
            return [self.one(place, by_pixel=chance < 0.08)]
        size = self.dice.randint(2, self.largest)
        return [self.one(place, by_pixel=False) for _ in range(size)]

    def one(self, place: int, *, by_pixel: bool) -> Made:
        if self.dice.random() < AGAIN and (old := self.earlier(place, by_pixel)):
            return old
        for at, (due, held) in enumerate(self.held):
            if due <= self.made and (held.place, held.by_pixel) == (place, by_pixel):
                del self.held[at]
                return held
        fresh = self.fresh(place, by_pixel)
        if self.dice.random() < SHUFFLED:
            self.held.append((self.made + self.dice.randint(1, 400), fresh))
            fresh = self.fresh(place, by_pixel)
        self.recent.append(fresh)
        return fresh

    def earlier(self, place: int, by_pixel: bool) -> Made | None:
        """One of the latest events of any thread, on its way or long acknowledged."""
        for _ in range(12):
            if not self.recent:
                break
            # An index, not an iteration: other threads append meanwhile.
            old = self.recent[-1 - self.dice.randrange(min(300, len(self.recent)))]
            if (old.place, old.by_pixel) == (place, by_pixel):
                return old
        return None

    def fresh(self, place: int, by_pixel: bool) -> Made:
        self.made += 1
        event_id = uuid.UUID(int=self.dice.getrandbits(128), version=4)
        visitor = self.dice.randrange(VISITORS)
        name = self.dice.choice(NAMES)
        moment = time.time_ns() // 1_000_000 - self.dice.randrange(120_000)
        if self.dice.random() < LATE:
            moment -= 3 * DAY_MS
        payload = {
            "event_id": str(event_id),
            "name": name,
            "visitor": str(visitor_of(visitor)),
            "url": f"https://shop.example/{self.dice.randrange(200)}",
            "time": moment,
        }
        sent = Sent(place, visitor, moment, name == "pageview")
        return Made(event_id.bytes, place, by_pixel, payload, sent)


def visitor_of(number: int) -> uuid.UUID:
    return uuid.uuid5(uuid.NAMESPACE_URL, f"visitor {number}")


class Sender(threading.Thread):
    """One connection: takes requests from its maker and repeats each until it is sure."""

    def __init__(self, client: "Client", number: int) -> None:
        super().__init__(daemon=True)
        self.client = client
        name = f"{client.given['name']}-{number}"
        seed = f"{client.given['seed']} {name}"
        given = client.given
        self.maker = Maker(seed, len(given["places"]), given["largest"], client.recent)
        self.writer = Writer(Path(given["folder"]) / f"{name}.journal")
        self.known: set[bytes] = set()
        self.met: Counter[str] = Counter()
        self.pipe: http.client.HTTPConnection | None = None
        self.next_at = time.monotonic()

    def run(self) -> None:
        while not self.client.ending.is_set():
            events = self.maker.next()
            self.wait_for_turn(len(events))
            self.send_until_sure(events)
        for _, event in self.maker.held:
            self.send_until_sure([event])
        self.writer.close()

    def wait_for_turn(self, count: int) -> None:
        """So many events a second and no more; a pause is not caught up with."""
        now = time.monotonic()
        self.next_at = max(self.next_at, now - 1.0) + count / self.client.rate
        if self.next_at > now:
            self.client.ending.wait(self.next_at - now)

    def send_until_sure(self, events: list[Made]) -> None:
        for event in events:
            if event.id not in self.known:
                self.known.add(event.id)
                self.writer.attempt(event.id, event.sent)
        pause = 0.05
        while True:
            answer = self.send(events)
            if answer is not None:
                self.settle(events, *answer)
                return
            if time.monotonic() > self.client.give_up_at():
                self.met["given up"] += 1
                return
            time.sleep(pause)
            pause = min(0.5, pause * 1.5)

    def send(self, events: list[Made]) -> tuple[int, Any] | None:
        """Status and answer; None when nobody knows and it has to be sent again."""
        key = self.client.given["places"][events[0].place]
        try:
            if self.pipe is None:
                port = self.client.given["port"]
                self.pipe = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
            if events[0].by_pixel:
                self.pipe.request("GET", pixel(key, events[0]), headers={"User-Agent": AGENT})
            else:
                payloads = [event.payload for event in events]
                body = {"property": key, "events": payloads}
                if len(events) == 1:
                    body = {"property": key} | payloads[0]
                headers = {"Content-Type": "application/json", "User-Agent": AGENT}
                self.pipe.request("POST", "/track", json.dumps(body), headers)
            response = self.pipe.getresponse()
            text = response.read()
        except (OSError, http.client.HTTPException) as error:
            return self.unsure(type(error).__name__)
        self.met[str(response.status)] += 1
        if response.status == 429 or response.status >= 500:
            return None
        if events[0].by_pixel:
            if len(text) != GIF_LENGTH:
                return self.unsure("half an answer")
            reason = response.headers.get("X-Aktivat-Reason")
            rejected = [{"index": 0, "reason": reason}] if reason else []
            return response.status, {"rejected": rejected, "accepted": not reason, "duplicate": 0}
        try:
            return response.status, json.loads(text)
        except ValueError:  # headers that were cut off look like the end of them
            return self.unsure("half an answer")

    def unsure(self, why: str) -> None:
        self.met[why] += 1
        if self.pipe:
            self.pipe.close()
        self.pipe = None

    def settle(self, events: list[Made], status: int, answer: Any) -> None:
        rejected = {one["index"]: one["reason"] for one in answer.get("rejected", [])}
        if status not in (200, 202) or self.does_not_add_up(events, answer):
            code = answer.get("error", {}).get("code", "sums") if answer else "empty"
            self.met[f"refused: {status} {code}"] += 1
            for event in events:
                self.writer.refuse(event.id)
            return
        for index, event in enumerate(events):
            if index in rejected:
                self.met[f"refused: {rejected[index]}"] += 1
                self.writer.refuse(event.id)
            else:
                self.writer.acknowledge(event.id)

    @staticmethod
    def does_not_add_up(events: list[Made], answer: Any) -> bool:
        told = answer["accepted"] + answer["duplicate"] + len(answer["rejected"])
        return told != len(events)


def pixel(key: str, event: Made) -> str:
    said = event.payload
    kind = "pageloaded" if said["name"] == "pageview" else said["name"]
    return "/track/it?" + urlencode(
        {
            "config_account": key,
            "config_cookies_v_visitor": said["visitor"],
            "trackr_event_type": f"trackr_{kind}_event",
            "event_id": said["event_id"],
            "url": said["url"],
            "time": said["time"],
        }
    )


class Client:
    """The threads of this process, and when they have to end."""

    def __init__(self, given: dict[str, Any]) -> None:
        self.given = given
        self.rate = given["rate"] / given["threads"]
        self.ending = threading.Event()
        self.ended_at = float("inf")
        self.recent: deque[Made] = deque(maxlen=2_000)

    def give_up_at(self) -> float:
        return self.ended_at + PATIENCE

    def end(self, *_: object) -> None:
        self.ended_at = min(self.ended_at, time.monotonic())
        self.ending.set()

    def run(self) -> Counter[str]:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, self.end)
        senders = [Sender(self, number) for number in range(self.given["threads"])]
        for sender in senders:
            sender.start()
        for sender in senders:
            while sender.is_alive():  # a join without an end would keep signals waiting
                sender.join(0.2)
        return sum((sender.met for sender in senders), Counter())


if __name__ == "__main__":
    with contextlib.suppress(AttributeError):
        socket.setdefaulttimeout(TIMEOUT)
    print(json.dumps(Client(json.loads(sys.argv[1])).run()))
