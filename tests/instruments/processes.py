"""How much CPU have these programs used? Read from /proc, children and dead children included.

In: pids of programs that we started. Out: seconds of CPU. A process counts with what its reaped
children used, so a Postgres backend that has ended, or a worker that was replaced, is not lost.
"""

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

TICKS = os.sysconf("SC_CLK_TCK")
ATTEMPTS = 20


class Process(NamedTuple):
    """Of one line of /proc/PID/stat; `own` and `reaped` in clock ticks."""

    pid: int
    parent: int
    own: int
    reaped: int


def read_stat(text: str) -> Process:
    """A line of /proc/PID/stat; the program's name may hold spaces and brackets."""
    pid, _, rest = text.partition(" (")
    fields = rest.rpartition(") ")[2].split()
    user, system, children_user, children_system = map(int, fields[11:15])
    return Process(int(pid), int(fields[1]), user + system, children_user + children_system)


def all_processes() -> dict[int, Process]:
    """Every process of the machine; one that ends while it is read is left out."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                one = read_stat((entry / "stat").read_text())
            except OSError:
                continue
            found[one.pid] = one
    return found


def family(root: int, processes: Mapping[int, Process]) -> list[Process]:
    """The process and all its descendants that are there."""
    children: dict[int, list[int]] = {}
    for one in processes.values():
        children.setdefault(one.parent, []).append(one.pid)
    members, waiting = [], [root]
    while waiting:
        pid = waiting.pop()
        if pid in processes:
            members.append(processes[pid])
            waiting += children.get(pid, [])
    return members


def cpu_seconds(
    roots: Iterable[int], read: Callable[[], Mapping[int, Process]] = all_processes
) -> float:
    """CPU of the programs and of all that they started, seconds; only differences mean anything.

    A child that is reaped between two reads would count twice or not at all, so it is read again
    until the same processes are there before and after.
    """
    roots = list(roots)
    before = [one for root in roots for one in family(root, read())]
    for _ in range(ATTEMPTS):
        after = [one for root in roots for one in family(root, read())]
        if {one.pid for one in before} == {one.pid for one in after}:
            break
        before = after
    return sum(one.own + one.reaped for one in after) / TICKS
