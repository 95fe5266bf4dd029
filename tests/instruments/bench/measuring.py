"""Run a job of the load generator and read the CPU of every part around it.

In: a Product and a Job. Out: a Measure. Called by the parts that send requests.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from statistics import median_low
from typing import Any

from aktivat.servers.supervisor import ROOT
from tests.instruments.bench.histogram import Histogram
from tests.instruments.bench.load import Job, Outcome
from tests.instruments.bench.settings import Settings
from tests.instruments.bench.table import Row
from tests.instruments.product import Product

REFUSALS = {"429", "503"}  # with Retry-After: for another time


class Failed(Exception):
    """Something did not go as it must, so its figures would mean nothing."""


@dataclass
class Measure:
    """A job's outcome and the seconds of CPU that each part used meanwhile."""

    job: Job
    outcome: Outcome
    cpu: dict[str, float]

    @property
    def web_cpu(self) -> float:
        """Microseconds an event."""
        return self.cpu.get("web", 0) / max(self.outcome.events, 1) * 1e6

    def row(self, name: str, bare: float | None = None, unit: str = "event", note: str = "") -> Row:
        """A row of the table; `bare`: microseconds of the web for the bare answer."""
        outcome, count = self.outcome, max(self.outcome.events, 1)
        latencies = Histogram(outcome.latencies)
        return Row(
            name,
            outcome.events / outcome.seconds,
            unit,
            latencies.percentile(50),
            latencies.percentile(99),
            {part: seconds / count * 1e6 for part, seconds in self.cpu.items()},
            outcome.cpu / count * 1e6,
            self.web_cpu / bare if bare else None,
            "; ".join(filter(None, (note, self.surprises()))),
        )

    def surprises(self) -> str:
        """Answers that are no acceptance, in words."""
        odd = {k: n for k, n in self.outcome.answers.items() if k not in ("202", "200", "id")}
        said = [f"{n:,} x {kind}" for kind, n in sorted(odd.items())]
        if self.outcome.unanswered:
            said.append(f"{self.outcome.unanswered} unanswered")
        if self.outcome.late:
            said.append(f"{self.outcome.late:,} not sent for want of a connection")
        return ", ".join(said)


def run(product: Product, job: Job, settings: Settings) -> Measure:
    """Send the job's requests. Raises Failed when the generator itself does."""
    return run_together(product, [job], settings)[0]


def run_together(product: Product, jobs: Sequence[Job], settings: Settings) -> list[Measure]:
    """Send the requests of several jobs at the same time; each has the CPU of all."""
    with ExitStack() as stack:
        generators = [stack.enter_context(generator()) for _ in jobs]
        for one, job in zip(generators, jobs, strict=True):
            said(one, json.dumps(asdict(job)))
        before = product.cpu()
        for one in generators:
            say(one, "go")
        outcomes = [Outcome(**json.loads(heard(one))) for one in generators]
        cpu = spent(before, product.cpu())
    for job, outcome in zip(jobs, outcomes, strict=True):
        if job.answers in ("events", "pixels") and "property" in job.given:
            settings.acknowledged[job.given["property"]] += outcome.events
    return [Measure(job, outcome, cpu) for job, outcome in zip(jobs, outcomes, strict=True)]


@contextmanager
def generator() -> Iterator["subprocess.Popen[str]"]:
    """The load generator's process."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.instruments.bench.load"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def spent(before: dict[str, float], after: dict[str, float]) -> dict[str, float]:
    """Seconds of CPU of each part between two looks at it."""
    return {part: after[part] - before.get(part, 0) for part in after}


def said(process: "subprocess.Popen[str]", line: str) -> str:
    """Write a line, read the answer. Raises Failed when the process has ended."""
    say(process, line)
    return heard(process)


def say(process: "subprocess.Popen[str]", line: str) -> None:
    assert process.stdin
    process.stdin.write(line + "\n")
    process.stdin.flush()


def heard(process: "subprocess.Popen[str]") -> str:
    assert process.stdout
    answer = process.stdout.readline()
    if not answer:
        raise Failed("A process of the bench ended early; its error stands above.")
    return answer


def typical(product: Product, job: Job, settings: Settings) -> Measure:
    """Of several runs the one with the median of web CPU, or of the rate where no web is."""
    seeds = range(job.seed, job.seed + settings.repeat)
    found = [run(product, replace(job, seed=seed), settings) for seed in seeds]
    key: Callable[[Measure], float] = lambda one: (  # noqa: E731
        one.web_cpu or one.outcome.seconds / max(one.outcome.events, 1)
    )
    middle = median_low(map(key, found))
    return next(one for one in found if key(one) == middle)


def accepted(measure: Measure) -> Measure:
    """The measure, if every request was acknowledged or turned away for another time.

    A 503 stays a remark in the table: on a machine that others load, Valkey may take a second.
    Raises Failed.
    """
    wrong = set(measure.outcome.answers) - {"202", "200", "id"} - REFUSALS
    if wrong or measure.outcome.unanswered or not measure.outcome.events:
        raise Failed(f"{measure.job.messages}: {measure.surprises() or 'nothing was accepted'}")
    return measure


def given(**values: Any) -> dict[str, Any]:
    return {"keep_alive": True, **values}
