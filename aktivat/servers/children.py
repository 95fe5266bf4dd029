"""Child processes that cannot outlive us, and locks that cannot outlive us either.

In: a command. Out: a Child in its own session (Ctrl-C in the terminal reaches only the
supervisor, which then stops its children in order), with a log file and a parent-death signal.
Called by postgres.py, valkey.py and supervisor.py.
"""

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

LAUNCH = Path(__file__).with_name("launch.py")
LONGEST_SOCKET_PATH = 107  # bytes; the kernel's sun_path holds 108 with the closing zero
LOG_LIMIT = 10_000_000  # bytes; a longer log is set aside at the next start


class ServerError(Exception):
    """A server does not start; the message says why and what to do."""


@dataclass(eq=False)
class Child:
    """A running program. `stop_steps`: signals and the seconds to wait after each."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path | None
    stop_steps: Sequence[tuple[signal.Signals, float]] = ((signal.SIGTERM, 10),)
    log_begin: int = 0  # where this run's part of the log begins, in bytes

    @property
    def pid(self) -> int:
        return self.process.pid

    def is_running(self) -> bool:
        """True while the program runs; an ended one is reaped here, so it leaves no zombie."""
        return self.process.poll() is None

    def stop(self) -> None:
        """Ask, ask harder, end it; return when it is gone."""
        for number, seconds in self.stop_steps:
            if not self.is_running():
                return
            self.process.send_signal(number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(seconds)
        self.kill()

    def kill(self) -> None:
        """kill -9 of the program and what it started in its session, and wait."""
        if self.is_running():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
        self.process.wait()

    def last_words(self, lines: int = 8) -> str:
        """The end of the log, for an error message."""
        return "\n".join(self.said().splitlines()[-lines:])

    def said(self) -> str:
        """What this run has written to its log."""
        if self.log is None or not self.log.exists():
            return ""
        with self.log.open("rb") as file:
            file.seek(self.log_begin)
            return file.read().decode(errors="replace")


def spawn(
    command: Sequence[str | Path],
    *,
    name: str,
    log: Path | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    identity: str = "same",
    on_our_death: signal.Signals = signal.SIGKILL,
    stop_steps: Sequence[tuple[signal.Signals, float]] = ((signal.SIGTERM, 10),),
) -> Child:
    """Start a program that gets `on_our_death` from the kernel when this process ends.

    Only from the main thread: the kernel counts the end of the starting *thread* as our death.
    Raises ServerError when the program file is missing.
    """
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError("Start servers from the main thread; they die with their thread.")
    launch: list[str | Path] = [sys.executable, "-I", "-S", LAUNCH]
    if not Path(command[0]).is_file():
        raise ServerError(f"{command[0]} is missing. Remove .venv and run `make` again.")
    output: IO[bytes] | int = subprocess.DEVNULL
    begin = 0
    if log is not None:
        output = open_log(log)
        begin = log.stat().st_size
    try:
        with _signals_held_back() as came:
            process = subprocess.Popen(  # noqa: S603  the caller's program, no shell
                [*launch, str(os.getpid()), str(int(on_our_death)), identity, *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=None if env is None else dict(env),
                cwd=cwd,
                start_new_session=True,
            )
    finally:
        if not isinstance(output, int):
            output.close()
    child = Child(name, process, log, stop_steps, begin)
    if came:
        child.stop()
        signal.raise_signal(came[0])
    return child


@contextlib.contextmanager
def _signals_held_back() -> Iterator[list[int]]:
    """Those that came meanwhile: if their handler raised while a program is being started, nobody
    would know of it, and nobody stop it."""
    came: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    handlers = {number: signal.getsignal(number) for number in numbers}
    held = {number: handler for number, handler in handlers.items() if callable(handler)}
    for number in held:
        signal.signal(number, lambda number, _: came.append(number))
    try:
        yield came
    finally:
        for number, handler in held.items():
            signal.signal(number, handler)


def open_log(path: Path) -> IO[bytes]:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and path.stat().st_size > LOG_LIMIT:
        path.replace(path.with_suffix(".old.log"))
    return path.open("ab")


class FolderLock:
    """At most one starter per folder. The kernel drops the lock when the holder ends."""

    def __init__(self, folder: Path, what: str) -> None:
        """Raises ServerError when another process holds the folder; `what` names the holder."""
        folder.mkdir(parents=True, exist_ok=True)
        self._file = (folder / "lock").open("a+")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._file.seek(0)
            holder = self._file.read().strip() or "unknown"
            self._file.close()
            raise ServerError(
                f"{what} uses {folder} already (process {holder}). "
                "Stop that one first, or set AKTIVAT_HOME to another folder."
            ) from None
        self._file.truncate(0)
        self._file.write(f"{os.getpid()}\n")
        self._file.flush()

    def release(self) -> None:
        self._file.close()


def is_locked(folder: Path) -> bool:
    """True when a living process holds the FolderLock of this folder."""
    try:
        with (folder / "lock").open("r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


def processes_working_in(folder: Path, program: str) -> Iterator[int]:
    """Pids of living `program` processes whose working folder is `folder`.

    The answer to three traps of pid files: a pid reused by a stranger has another program, a
    zombie has no working folder, and a backend that outlived its postmaster has no pid file.
    """
    wanted = folder.resolve()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            here = (entry / "cwd").readlink() == wanted
            if here and (entry / "exe").readlink().name.startswith(program):
                yield int(entry.name)
        except OSError:  # ended meanwhile, a zombie, or another user's
            continue


def end_leftovers(folder: Path, program: str, number: signal.Signals) -> None:
    """End what an earlier, killed starter left in the folder; wait until it is gone.

    Call it with the folder's lock held: then whatever still runs there is nobody's.
    """
    deadline = time.monotonic() + 20
    while left := list(processes_working_in(folder, program)):
        late = time.monotonic() > deadline
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL if late else number)
        if time.monotonic() > deadline + 10:
            raise ServerError(f"A {program} in {folder} does not end: processes {left}.")
        time.sleep(0.1)


def socket_folder(wanted: Path, longest_name: str) -> Path:
    """A private folder for sockets: `wanted`, or a short one when its path would not do.

    Socket paths over 107 bytes fail, and the URL dialects disagree about rare characters. The
    substitute under the temp folder is remembered in the file `sockets` beside the wanted one.
    """
    wanted.mkdir(parents=True, exist_ok=True, mode=0o700)
    wanted.chmod(0o700)
    plain = all(sign.isalnum() or sign in "/._-" for sign in str(wanted))
    if plain and len(os.fsencode(wanted / longest_name)) <= LONGEST_SOCKET_PATH:
        return wanted
    note = wanted.with_name(wanted.name + ".sockets")
    if note.exists():
        remembered = Path(note.read_text().strip())
        if is_private(remembered):
            return remembered
    short = Path(tempfile.mkdtemp(prefix="aktivat-", dir=short_temp_folder(longest_name)))
    note.write_text(f"{short}\n")
    return short


def short_temp_folder(longest_name: str) -> str:
    """The temp folder, unless TMPDIR itself is too long."""
    chosen = tempfile.gettempdir()
    needed = len(os.fsencode(chosen)) + len("/aktivat-12345678/") + len(longest_name)
    return chosen if needed <= LONGEST_SOCKET_PATH else "/tmp"  # noqa: S108  mkdtemp makes it private


def is_private(folder: Path) -> bool:
    """A real folder of ours that nobody else can enter (anyone may write to /tmp)."""
    try:
        status = folder.lstat()
    except OSError:
        return False
    is_folder = status.st_mode & 0o170777 == 0o040700
    return is_folder and status.st_uid == os.geteuid()
