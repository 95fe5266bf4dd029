"""Negative controls: four ways to be wrong, run like any trial, each of which has to be noticed.

Enters: nothing. Leaves: for each whether the checker failed it, which is what is wanted: a control
that passes proves the instrument blind. Called by __main__.py.
"""

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass

import redis

from tests.instruments.chaos.checker import Verdict
from tests.instruments.chaos.faults import send_all
from tests.instruments.chaos.product import Product
from tests.instruments.chaos.trial import Trial

Say = Callable[[str], None]


@dataclass(frozen=True)
class Control:
    name: str
    what: str
    run: Callable[[Say], Verdict]


def observed(product: Product, say: Say, harm: Callable[[Trial], None]) -> Verdict:
    """A trial around `harm`, with the product ended whatever happens."""
    trial = None
    try:
        product.start()
        trial = Trial(product, "control", say, clients=2, threads=2, rate=800, largest=40)
        trial.wait(3)
        harm(trial)
        return trial.finish()
    finally:
        if trial:
            trial.stop()
        product.stop()


def acknowledge_before_commit(say: Say) -> Verdict:
    """The worker dies at one commit in four."""
    settings = {"AKTIVAT_SABOTAGE": "acknowledge before commit"}
    settings["AKTIVAT_FAULT"] = "before_commit:kill:0.25"
    return observed(Product(settings=settings), say, lambda trial: trial.wait(20))


def no_duplicate_check(say: Say) -> Verdict:
    settings = {"AKTIVAT_SABOTAGE": "no duplicate check"}
    return observed(Product(settings=settings), say, lambda trial: trial.wait(6))


def evicting(say: Say) -> Verdict:
    """A Valkey that makes room: the product refuses to start on one, so it changes under way."""

    def harm(trial: Trial) -> None:
        stop_drain(trial.product)
        trial.wait(6)
        with trial.product.valkey() as client:
            memory = client.info("memory")
            held = memory["used_memory"] - memory["used_memory_startup"]
            client.config_set("maxmemory-policy", "allkeys-lru")
            client.config_set("maxmemory", memory["used_memory_startup"] + held // 4)
        trial.wait(1)
        let_drain(trial.product)

    return observed(Product(), say, harm)


def everysec_and_full_disk(say: Say) -> Verdict:
    """Valkey answers first and writes later; the disk is full when later comes."""

    def harm(trial: Trial) -> None:
        product = trial.product
        with product.valkey() as client:
            client.config_set("appendfsync", "everysec")
        stop_drain(product)
        trial.wait(1)
        product.fill_disk()
        wait_for(trial, lambda: last_write_failed(product), 20)
        product.process("the events Valkey").kill()
        product.free_disk()
        trial.wait(5)
        let_drain(product)

    return observed(Product(disk_mb=60), say, harm)


def last_write_failed(product: Product) -> bool:
    try:
        with product.valkey() as client:
            return client.info("persistence")["aof_last_write_status"] != "ok"
    except redis.RedisError:
        return False


def stop_drain(product: Product) -> None:
    send_all(product, "worker", signal.SIGSTOP)


def let_drain(product: Product) -> None:
    send_all(product, "worker", signal.SIGCONT)


def wait_for(trial: Trial, condition: Callable[[], bool], seconds: float) -> None:
    until = time.monotonic() + seconds
    while not condition() and time.monotonic() < until:
        trial.step()


CONTROLS = [
    Control("acknowledge-early", "stream entries deleted before COMMIT", acknowledge_before_commit),
    Control("no-duplicate-check", "neither Valkey nor Postgres asks", no_duplicate_check),
    Control("evicting", "allkeys-lru and little memory", evicting),
    Control("everysec-full-disk", "appendfsync everysec, disk full", everysec_and_full_disk),
]
