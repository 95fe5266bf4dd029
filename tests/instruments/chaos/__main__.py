"""`make chaos`: MINUTES= (5), SEED= (1), CASE= (all), FAULTS= (at most so many), RATE= (2,000
events a second), BATCH= (300: the largest; a machine that is busy wants smaller ones).

CASE: `random`, `controls`, `matrix`, `power-cut`, or names of cases of matrix.py or controls.py;
several with spaces between. Without: all of them. Exit 0 when everything holds, else 1.
"""

import os
import signal
import sys
import time
from collections.abc import Mapping

from tests.instruments.chaos.controls import CONTROLS, Control
from tests.instruments.chaos.matrix import CASES, run_cases
from tests.instruments.chaos.power_cut import show_order
from tests.instruments.chaos.product import NotHere, Product
from tests.instruments.chaos.trial import WITHIN, Trial, slowest


class Ended(BaseException):
    """Ctrl-C or SIGTERM: everything is stopped on the way out."""


def say(line: str = "") -> None:
    print(line, flush=True)


def on_signal(number: int, frame: object) -> None:
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, signal.SIG_IGN)
    raise Ended


def random_run(environ: Mapping[str, str]) -> bool:
    """Load and faults for MINUTES; the table of both, and the verdict."""
    minutes, seed = float(environ.get("MINUTES") or 5), environ.get("SEED") or "1"
    most, rate = int(environ.get("FAULTS") or 10_000), int(environ.get("RATE") or 2_000)
    largest = int(environ.get("BATCH") or 300)
    say(f"== random faults: {minutes:g} minutes, seed {seed}, {rate:,} events a second ==")
    product = start_with_what_is_here()
    trial = None
    try:
        began = time.monotonic()
        trial = Trial(product, seed, say, rate=rate, threads=4, largest=largest)
        trial.wait(3)
        trial.happen_at_random(minutes * 60, most)
        say(f"Load and faults took {time.monotonic() - began:.0f} s. Counting ...")
        verdict = trial.finish()
    finally:
        if trial:
            trial.stop()
        product.stop()
    say()
    say(f"{'fault':<46}{'times':>6}{'slowest recovery':>18}")
    for name, times, longest in slowest(trial.felt):
        told = "never alone" if longest is None else f"{longest:.1f} s"
        say(f"{name:<46}{times:>6}{told:>18}")
    late = [one for one in trial.felt if one.alone and one.recovery > WITHIN]
    say(f"{'all':<46}{len(trial.felt):>6}")
    say(f"single faults that took longer than {WITHIN:.0f} s: {len(late)}")
    say(f"programs started again by the supervisor: {product.restarts}")
    say(f"what the clients met: {dict(trial.load.met.most_common())}")
    say()
    for row in verdict.rows():
        say(f"{row[0]:<14}{row[1]:>14}")
    for fault in verdict.faults[:40]:
        say(f"WRONG: {fault}")
    say("The ledger closes, and all numbers agree." if not verdict.faults else "NOT RIGHT.")
    return verdict.holds


def start_with_what_is_here() -> Product:
    """With a small disk and a clock that can jump, where the machine allows it."""
    settings = {"AKTIVAT_FAULT": "before_commit:kill:0.002,after_commit:kill:0.002"}
    for wanted in ({"disk_mb": 1_200, "with_clock": True}, {"with_clock": True}, {}):
        try:
            return Product(settings=settings, **wanted).start()  # type: ignore[arg-type]
        except NotHere as missing:
            say(f"NOT RUN: {missing}")
    raise AssertionError


def all_controls(environ: Mapping[str, str]) -> bool:
    """Each has to fail the checker."""
    say("== negative controls: the checker has to fail each of them ==")
    seen = True
    for control in CONTROLS:
        seen &= one_control(control)
    return seen


def one_control(control: Control) -> bool:
    try:
        verdict = control.run(lambda line: None)
    except NotHere as missing:
        say(f"{control.name:<20} NOT RUN: {missing}")
        return True
    failed = not verdict.holds
    wrong = [f"{name} {number}" for name, number in verdict.rows()]
    wrong += verdict.faults[:2]
    say(f"{control.name:<20} {'noticed' if failed else 'NOT NOTICED: the checker is blind'}")
    say(f"{'':<20} {'; '.join(wrong)[:400]}")
    return failed


def power_cut(environ: Mapping[str, str]) -> bool:
    say("== power cut: fdatasync before the answer ==")
    try:
        return show_order(say)
    except NotHere as missing:
        say(f"NOT RUN: {missing}")
        return True


def matrix(environ: Mapping[str, str], *names: str) -> bool:
    return run_cases(say, names)


def main(environ: Mapping[str, str]) -> int:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, on_signal)
    parts = {
        "power-cut": power_cut,
        "matrix": matrix,
        "controls": all_controls,
        "random": random_run,
    }
    wanted = (environ.get("CASE") or "power-cut matrix controls random").split()
    single = {control.name: control for control in CONTROLS}
    unknown = [name for name in wanted if name not in {*parts, *single, *CASES}]
    if unknown:
        say(f"CASE={unknown[0]} is not known. Choose: {', '.join([*parts, *single, *CASES])}.")
        return 2
    held = True
    try:
        for name in wanted:
            if name in parts:
                held &= parts[name](environ)
            elif name in single:
                held &= one_control(single[name])
        if cases := [name for name in wanted if name in CASES]:
            held &= matrix(environ, *cases)
    except Ended:
        say("Stopped; nothing is left running.")
        return 1
    say("Everything holds." if held else "SOMETHING DOES NOT HOLD.")
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main(os.environ))
