"""Become another program that dies with its starter: the last step between fork and exec.

In: `launch.py STARTER_PID SIGNAL IDENTITY COMMAND...`; IDENTITY is `same`, `namespace` (a user
namespace in which root appears as an ordinary user) or `UID:GID`. Out: the command, under the
same pid. A program of its own, with the standard library only, because Python code between fork
and exec can lock up in a process that has threads. Called by children.py.
"""

import ctypes
import os
import sys
from pathlib import Path

PR_SET_PDEATHSIG = 1
CLONE_NEWUSER = 0x10000000
SEEN_AS = 1000  # the uid and gid that a program in the namespace believes to have
libc = ctypes.CDLL(None, use_errno=True)


def main(arguments: list[str]) -> None:
    starter, signal, identity, *command = arguments
    if identity == "namespace":
        enter_namespace()
    elif identity != "same":
        drop_to(*map(int, identity.split(":")))
    # After the change of identity, which would clear it.
    die_with(int(starter), int(signal))
    os.execv(command[0], command)  # noqa: S606  no shell wanted


def enter_namespace() -> None:
    """Root outside, an ordinary user inside: PostgreSQL refuses to run as root."""
    uid, gid = os.geteuid(), os.getegid()
    if libc.unshare(CLONE_NEWUSER):
        raise OSError(ctypes.get_errno(), "no user namespace")
    for file, content in (
        ("setgroups", "deny"),
        ("uid_map", f"{SEEN_AS} {uid} 1"),
        ("gid_map", f"{SEEN_AS} {gid} 1"),
    ):
        Path("/proc/self", file).write_text(content)


def drop_to(uid: int, gid: int) -> None:
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)


def die_with(starter: int, signal: int) -> None:
    """Ask the kernel for `signal` when the starter ends; exit if it has ended already."""
    if libc.prctl(PR_SET_PDEATHSIG, signal, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "no parent-death signal")
    if os.getppid() != starter:
        sys.exit("The process that started this one is gone.")


if __name__ == "__main__":
    main(sys.argv[1:])
