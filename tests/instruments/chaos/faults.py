"""What can go wrong, one entry each: how it begins, how it ends, how long it may last.

Enters: a running Product. A fault that finds nothing to harm (it has ended already) is a `Missed`
and counts nowhere. Called by trial.py, which draws from ALL, and by matrix.py.
"""

import contextlib
import random
import signal
from collections.abc import Callable
from dataclasses import dataclass

import psutil
import redis

from tests.instruments.chaos.product import Product
from tests.instruments.chaos.proxy import Mode


class Missed(Exception):
    """There was nothing to harm."""


Begin = Callable[[Product, random.Random], None]
End = Callable[[Product], None]


def nothing(product: Product) -> None:
    """Ended by the supervisor, or by itself."""


@dataclass(frozen=True)
class Fault:
    """`lasts`: seconds, from and to. `needs`: a feature of this run's product, by attribute."""

    name: str
    begin: Begin
    end: End = nothing
    lasts: tuple[float, float] = (0.0, 0.0)
    needs: str = ""
    part: str = ""  # what the supervisor has to start again before it can be over

    def is_possible(self, product: Product) -> bool:
        return not self.needs or bool(getattr(product, self.needs))


def harm(processes: list[psutil.Process], dice: random.Random, number: signal.Signals) -> None:
    """One of them."""
    if not processes:
        raise Missed
    try:
        dice.choice(processes).send_signal(number)
    except psutil.NoSuchProcess:
        raise Missed from None


def signalling(name: str, number: signal.Signals) -> Begin:
    def begin(product: Product, dice: random.Random) -> None:
        try:
            product.process(name).send_signal(number)
        except psutil.NoSuchProcess:
            raise Missed from None

    return begin


def send_all(product: Product, name: str, number: signal.Signals) -> None:
    """To a part and all its processes; one that is just ending is left out."""
    for process in product.tree(name):
        with contextlib.suppress(psutil.Error):
            process.send_signal(number)


def kill_web_worker(product: Product, dice: random.Random) -> None:
    harm(product.web_workers(), dice, signal.SIGKILL)


def kill_backend(product: Product, dice: random.Random) -> None:
    harm(product.backends(), dice, signal.SIGKILL)


def stop_all(name: str) -> Begin:
    def begin(product: Product, dice: random.Random) -> None:
        send_all(product, name, signal.SIGSTOP)

    return begin


def stop_web_worker(product: Product, dice: random.Random) -> None:
    harm(product.web_workers(), dice, signal.SIGSTOP)


def stop_backend(product: Product, dice: random.Random) -> None:
    harm(product.backends(), dice, signal.SIGSTOP)


def go_on(name: str) -> End:
    def end(product: Product) -> None:
        send_all(product, name, signal.SIGCONT)

    return end


def wire(name: str, mode: Mode, most: int = 0) -> Begin:
    def begin(product: Product, dice: random.Random) -> None:
        product.proxies[name].set(mode, dice.randint(most // 4, most) if mode != "cut" else
                                  dice.choice((0, 1, dice.randint(1, max(1, most)))))  # fmt: skip

    return begin


def heal(name: str) -> End:
    return lambda product: product.proxies[name].set("up")


def fill_memory(product: Product, dice: random.Random) -> None:
    """64 kB more, and the events Valkey is full."""
    try:
        with product.valkey() as client:
            used = client.info("memory")["used_memory"]
            client.config_set("maxmemory", used + 65_536)
    except redis.RedisError:
        raise Missed from None


def give_memory(product: Product) -> None:
    try:
        with product.valkey() as client:
            client.config_set("maxmemory", product.events_settings.get("maxmemory", "2gb"))
    except redis.RedisError:
        pass  # it is starting again, with its own settings


def fill_disk(product: Product, dice: random.Random) -> None:
    product.fill_disk()


def free_disk(product: Product) -> None:
    product.free_disk()


def jump(product: Product, dice: random.Random) -> None:
    """Past the 36 hours for which the events Valkey remembers ids."""
    product.set_clock(dice.choice((40, 60)) * 3_600)


def jump_back(product: Product) -> None:
    product.set_clock(0)


PARTS = {
    "gunicorn master": "web",
    "Celery worker": "worker",
    "beat": "beat",
    "events Valkey": "the events Valkey",
    "broker Valkey": "the broker Valkey",
    "postmaster": "PostgreSQL",
}
RESTARTS = {
    "gunicorn": ("web", signal.SIGTERM),
    "Celery worker": ("worker", signal.SIGTERM),
    "beat": ("beat", signal.SIGTERM),
    "events Valkey": ("the events Valkey", signal.SIGTERM),
    "broker Valkey": ("the broker Valkey", signal.SIGTERM),
    "Postgres": ("PostgreSQL", signal.SIGINT),
}
STOPS = {
    "Celery worker": "worker",
    "beat": "beat",
    "events Valkey": "the events Valkey",
    "broker Valkey": "the broker Valkey",
    "whole Postgres": "PostgreSQL",
    "whole web": "web",
}
WIRES = {
    "clients and web": "web",
    "app and events Valkey": "events",
    "app and Postgres": "postgres",
    "app and broker": "broker",
}
MODES: tuple[tuple[Mode, int, str], ...] = (
    ("down", 0, "down"),
    ("reset", 0, "reset"),
    ("half_open", 0, "silent"),
    ("latency", 300, "slow by up to 300 ms"),
    ("cut", 300, "cut inside answers"),
)
BRIEF, LONGER = (0.3, 2.0), (0.5, 4.0)

ALL: list[Fault] = [
    Fault("kill -9 gunicorn worker", kill_web_worker),
    *(
        Fault(f"kill -9 {what}", signalling(name, signal.SIGKILL), part=name)
        for what, name in PARTS.items()
    ),
    Fault("kill -9 a Postgres backend", kill_backend),
    Fault("stop a gunicorn worker", stop_web_worker, go_on("web"), BRIEF),
    Fault("stop a Postgres backend", stop_backend, go_on("PostgreSQL"), LONGER),
    *(Fault(f"stop {what}", stop_all(name), go_on(name), LONGER) for what, name in STOPS.items()),
    *(
        Fault(f"restart {what}", signalling(name, number), part=name)
        for what, (name, number) in RESTARTS.items()
    ),
    Fault("reload gunicorn (HUP)", signalling("web", signal.SIGHUP)),
    *(
        Fault(f"{what}: {said}", wire(name, mode, most), heal(name), LONGER)
        for what, name in WIRES.items()
        for mode, most, said in MODES
    ),
    Fault("maxmemory reached", fill_memory, give_memory, LONGER),
    Fault("disk full under the AOF", fill_disk, free_disk, LONGER, needs="disk"),
    Fault("clock of the events Valkey +40 h", jump, jump_back, LONGER, needs="clock"),
]
NAMED = {fault.name: fault for fault in ALL}
