"""Three users over one database of your own: owner, web and worker.

In: the database URLs that are set. Out: all three, after making the users that are missing, where
the given one may do that; else a ServerError with the SQL to run. Rights on tables are not given
here but after every migration (accounts/rls.py). Called by the supervisor and prepare_database.
"""

from collections.abc import Mapping

import psycopg
from psycopg import sql

from aktivat import dburl
from aktivat.servers.children import ServerError
from aktivat.servers.secrets import Secrets

VARIABLES = {
    "web": "DATABASE_URL",
    "owner": "DATABASE_OWNER_URL",
    "worker": "DATABASE_WORKER_URL",
}
Connection = psycopg.Connection[tuple[object, ...]]


def complete(environ: Mapping[str, str], secrets: Secrets) -> dict[str, str]:
    """The three URLs by variable name; safe to repeat. Every one of them has been tried.

    With DATABASE_URL alone, its user becomes the owner, and web and worker are made.
    """
    given = {role: environ.get(name, "") for role, name in VARIABLES.items()}
    if not given["web"]:
        raise ServerError("DATABASE_URL is not set. Write postgresql://user:password@host/name.")
    alone = not given["owner"]
    owner = given["owner"] or given["web"]
    wanted = [role for role in ("web", "worker") if not given[role] or (alone and role == "web")]
    urls = {**given, "owner": owner}
    if wanted:
        urls |= make_missing(owner, wanted, secrets)
    for role, url in urls.items():
        connect(url, VARIABLES[role]).close()
    return {VARIABLES[role]: url for role, url in urls.items()}


def connect(url: str, variable: str) -> Connection:
    try:
        return psycopg.connect(url, connect_timeout=10, autocommit=True)
    except psycopg.OperationalError as error:
        raise ServerError(
            f"The database of {variable} cannot be reached: {str(error).strip()}\n"
            f"Start it, or correct {variable}."
        ) from None


def make_missing(owner_url: str, wanted: list[str], secrets: Secrets) -> dict[str, str]:
    """URLs of the wanted users, who now exist and may connect."""
    with connect(owner_url, "DATABASE_OWNER_URL (or DATABASE_URL)") as owner:
        parts = dburl.parse(owner_url)
        database = parts["dbname"]
        users = {role: f"{database}_{role}" for role in wanted}
        if not may_create_roles(owner):
            raise ServerError(advice(database, list(users.values())))
        place = f"{parts.get('host', '')}:{parts.get('port', '')}/{database}"
        urls = {}
        for role, user in users.items():
            password = secrets.get_or_make(f"{place} {role}")
            try:
                make_user(owner, database, user, password)
            except psycopg.errors.InsufficientPrivilege:
                raise ServerError(
                    f"The database user {user} exists, and the given user may not change it.\n"
                    + advice(database, [user])
                ) from None
            urls[role] = dburl.with_user(owner_url, user, password)
        return urls


def may_create_roles(connection: Connection) -> bool:
    question = "SELECT rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = current_user"
    row = connection.execute(question).fetchone()
    return bool(row and row[0])


def make_user(owner: Connection, database: str, user: str, password: str) -> None:
    """Create the user or set its password, and let it connect."""
    exists = owner.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [user]).fetchone()
    names = {"user": sql.Identifier(user), "database": sql.Identifier(database)}
    act = sql.SQL("ALTER" if exists else "CREATE")
    owner.execute(
        sql.SQL("{act} ROLE {user} LOGIN PASSWORD {password}").format(
            act=act, password=sql.Literal(password), **names
        )
    )
    owner.execute(sql.SQL("GRANT CONNECT ON DATABASE {database} TO {user}").format(**names))


def advice(database: str, users: list[str]) -> str:
    """The SQL that a database administrator runs once, and the variables to set afterwards."""
    lines = [f"Ask the administrator of the database {database} to run, with passwords chosen:"]
    for user in users:
        name = sql.Identifier(user).as_string()
        place = sql.Identifier(database).as_string()
        lines += [
            f"  CREATE ROLE {name} LOGIN PASSWORD 'choose-one';",
            f"  GRANT CONNECT ON DATABASE {place} TO {name};",
        ]
    lines += [
        "Then set DATABASE_OWNER_URL to the URL with the user that owns the database,",
        "DATABASE_URL to that of the web user and DATABASE_WORKER_URL to that of the worker.",
    ]
    return "\n".join(lines)
