"""One run: the product, the load on it, faults one after the other or overlapping, the count.

Enters: a Product and a seed. Leaves: what each fault cost (seconds from its healing to the next
accepted event, and to the next move of the drain) and the checker's Verdict. Called by
__main__.py (random faults), matrix.py (named ones) and controls.py (those that have to fail).
"""

import random
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tests.instruments.chaos import checker, journal
from tests.instruments.chaos.faults import ALL, Fault, Missed
from tests.instruments.chaos.load import Load, Probe
from tests.instruments.chaos.product import Product

WITHIN = 10.0  # seconds to recover from a single fault
LONGEST = 90.0  # seconds after which nobody waits any longer
SETTLING = 0.2  # a signal needs a moment to do its harm
IN_THE_WAY = ("web", "the events Valkey")  # nothing is accepted before they run again
VISITOR = 1
ENOUGH = 10.0  # seconds: one that is still not over is late, and the next begins
OVERLAP = 0.4  # chance that the next fault does not wait until this one is over


@dataclass
class Felt:
    """A fault that happened."""

    fault: Fault
    began: float
    heals_at: float
    healed: float | None = None
    accepted: float | None = None  # seconds from healing to an accepted event
    drained: float | None = None
    alone: bool = True
    pid: int = 0  # of the part that has to be started again
    counts_from: float | None = None  # what was accepted and drained before proves nothing

    @property
    def is_over(self) -> bool:
        return self.accepted is not None and self.drained is not None

    @property
    def recovery(self) -> float:
        return max(self.accepted or 0.0, self.drained or 0.0)


class Trial:
    """Start it, let faults happen, settle it."""

    def __init__(
        self,
        product: Product,
        seed: str,
        say: Callable[[str], None],
        *,
        clients: int = 3,
        threads: int = 3,
        rate: int = 600,
        largest: int = 60,
    ) -> None:
        self.product = product
        self.dice = random.Random(seed)
        self.say = say
        self.folder = product.home / "journals"
        self.folder.mkdir(exist_ok=True)
        self.felt: list[Felt] = []
        self.active: list[Felt] = []
        self.began = time.monotonic()
        self.load = Load(
            product, self.folder, seed=seed, clients=clients, threads=threads, rate=rate,
            largest=largest,
        )  # fmt: skip
        self.probe = Probe(product, self.folder, f"{seed}-probe")
        self.probe.start()
        self.own = journal.Writer(self.folder / f"{seed}-own.journal")
        self.late = False  # a single fault was not over WITHIN

    # --- time goes by ----------------------------------------------------------------------

    def step(self) -> None:
        """A moment: the supervisor looks around, faults end, recoveries are noticed."""
        self.product.look_after_all()
        now = time.monotonic()
        for one in tuple(self.active):
            if one.healed is None:
                if now >= one.heals_at:
                    self.heal(one)
            elif one.counts_from is None:
                child = self.product.child(one.fault.part)
                if child.pid != one.pid and child.is_running():
                    one.counts_from = now
            else:
                self.notice(one, now)
        time.sleep(0.03)

    def heal(self, one: Felt) -> None:
        one.fault.end(self.product)
        one.healed = time.monotonic()
        if not one.fault.part:
            one.counts_from = one.healed + SETTLING

    def notice(self, one: Felt, now: float) -> None:
        assert one.healed is not None and one.counts_from is not None
        in_the_way = one.fault.part in IN_THE_WAY
        accepts_from = one.counts_from if in_the_way else one.healed + SETTLING
        if one.accepted is None and self.probe.accepted_at >= accepts_from:
            one.accepted = self.probe.accepted_told_at - one.healed
        if one.drained is None and self.probe.drained_at >= one.counts_from:
            one.drained = self.probe.drained_at - one.healed
        gave_up = now - one.healed > LONGEST
        if gave_up:
            one.accepted = one.accepted if one.accepted is not None else LONGEST
            one.drained = one.drained if one.drained is not None else LONGEST
        if one.is_over and (gave_up or self.product.is_whole()):
            self.active.remove(one)
            self.say(
                f"[{one.began - self.began:7.1f} s] {one.fault.name:<44}"
                f"lasted {one.healed - one.began:4.1f} s, accepted again after "
                f"{one.accepted:4.1f} s, drained after {one.drained:4.1f} s"
                f"{'' if one.alone else ' (with others)'}"
            )

    def wait(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.step()

    def wait_for_first(self, seconds: float) -> None:
        """Until the first event is accepted, and a moment more."""
        until = time.monotonic() + seconds
        while not self.probe.accepted_at and time.monotonic() < until:
            self.step()
        self.wait(1)

    def wait_until_over(self, seconds: float = 2 * LONGEST) -> None:
        until = time.monotonic() + seconds
        while self.active and time.monotonic() < until:
            self.step()

    def wait_until_whole(self) -> None:
        """Until the supervisor has started everything again."""
        self.step()
        until = time.monotonic() + LONGEST
        while not self.product.is_whole() and time.monotonic() < until:
            self.step()

    def remember(self, event: Mapping[str, Any], place: int = 0) -> None:
        """An event that a case sends itself, under VISITOR's name."""
        is_pageview = event["name"] == "pageview"
        sent = journal.Sent(place, VISITOR, event["time"], is_pageview)
        self.own.attempt(uuid.UUID(event["event_id"]).bytes, sent)

    # --- faults ----------------------------------------------------------------------------

    def happen(self, fault: Fault, lasts: float | None = None) -> Felt | None:
        """Begin a fault; None when there was nothing to harm."""
        now = time.monotonic()
        pid = self.product.child(fault.part).pid if fault.part else 0
        try:
            fault.begin(self.product, self.dice)
        except Missed:
            return None
        seconds = self.dice.uniform(*fault.lasts) if lasts is None else lasts
        one = Felt(fault, now, now + seconds, alone=not self.active, pid=pid)
        for other in self.active:
            other.alone = False
        self.felt.append(one)
        self.active.append(one)
        return one

    def happen_at_random(self, seconds: float, most: int = 10_000) -> None:
        """Draw faults until the time is up, and wait until the last is over."""
        possible = [fault for fault in ALL if fault.is_possible(self.product)]
        until = time.monotonic() + seconds
        while time.monotonic() < until and len(self.felt) < most:
            fault = self.dice.choice(possible)
            if any(fault is one.fault for one in self.active):
                continue
            self.happen(fault)
            if self.dice.random() < OVERLAP:
                self.wait(self.dice.uniform(0.1, 1.0))
            else:
                self.wait_until_over(ENOUGH)
                self.wait(self.dice.uniform(0.1, 0.6))
        self.wait_until_over()

    # --- the end ---------------------------------------------------------------------------

    def finish(self) -> checker.Verdict:
        """Heal all, let the clients end, drain, roll up, count."""
        for one in self.active:
            one.fault.end(self.product)
        self.wait_until_over()
        for process in self.load.processes:
            process.terminate()
        while any(process.poll() is None for process in self.load.processes):
            self.step()
        self.load.finish()
        self.probe.finish()
        self.own.close()
        return self.count()

    def count(self) -> checker.Verdict:
        self.product.look_after_all()
        return checker.check(self.product, journal.read(self.folder))

    def stop(self) -> None:
        """Leave nothing running; safe to repeat."""
        self.load.kill()
        self.probe.ending.set()


def slowest(felt: list[Felt]) -> list[tuple[str, int, float | None]]:
    """By fault: how often, and the longest recovery of those that were alone (None: none was)."""
    names: dict[str, list[Felt]] = {}
    for one in felt:
        names.setdefault(one.fault.name, []).append(one)
    return [
        (name, len(own), max((one.recovery for one in own if one.alone), default=None))
        for name, own in sorted(names.items())
    ]
