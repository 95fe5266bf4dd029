"""Row-level security and table rights, applied after every migration.

Enters: the list of tenant tables (models with `row_level_security = True`). Leaves: grants for
the web and worker users, forced policies on tenant tables. A table of a model with
`append_only = True` takes new rows from the web too, those of its tenant, and no change from
anybody; of one with `written_by_web = True` the web makes and changes its tenant's rows, and with
`deleted_by_web = True` deletes them, too. Runs as owner; safe to repeat.
"""

from typing import Any

from django.apps import apps
from django.db import connections
from psycopg import sql

from accounts.tenancy import SETTING


def tenant_tables() -> list[str]:
    """Names of the tables that row-level security guards."""
    return _tables("row_level_security")


def append_only_tables() -> list[str]:
    """Those of them to which rows are only added."""
    return _tables("append_only")


def tables_of_web() -> list[str]:
    """Those of them whose rows the web makes and changes."""
    return _tables("written_by_web")


def tables_deleted_by_web() -> list[str]:
    """Those of them whose rows the web deletes."""
    return _tables("deleted_by_web")


def _tables(trait: str) -> list[str]:
    return [model._meta.db_table for model in apps.get_models() if getattr(model, trait, False)]


def protect_after_migrate(using: str, **kwargs: Any) -> None:
    users = {alias: connections[alias].settings_dict["USER"] for alias in ("default", "worker")}
    owner = connections[using].settings_dict["USER"]
    if users["default"] in ("", owner):
        return  # one user for everything: the start-up checks refuse to serve like this
    with connections[using].cursor() as cursor:
        for statement in statements(users["default"], users["worker"]):
            cursor.execute(statement)


def statements(web: str, worker: str) -> list[sql.Composed]:
    """SQL that gives both users their rights: web reads tenant tables under policies and owns
    no data of the pipeline; worker may write everywhere and sees every tenant."""
    web_name, worker_name = sql.Identifier(web), sql.Identifier(worker)
    every = sql.SQL(
        "GRANT USAGE ON SCHEMA public TO {web}, {worker};"
        "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {web}, {worker};"
        "GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO {web}, {worker};"
        "GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO {worker}"
    ).format(web=web_name, worker=worker_name)
    # Partitions are reached through their parent only: rights on the parent are what counts.
    partitions = sql.SQL(
        "DO $$ DECLARE part regclass; BEGIN "
        "FOR part IN SELECT inhrelid::regclass FROM pg_inherits"
        " JOIN pg_class ON pg_class.oid = inhrelid AND relkind IN ('r', 'p') LOOP "
        "EXECUTE format('REVOKE ALL ON %s FROM %I', part, {web}); END LOOP; END $$"
    ).format(web=sql.Literal(web))
    return [
        every,
        partitions,
        *(_policy(table, web_name, worker_name) for table in tenant_tables()),
        *(_append_only(table, web_name, worker_name) for table in append_only_tables()),
        *(_written_by_web(table, web_name) for table in tables_of_web()),
        *(_deleted_by_web(table, web_name) for table in tables_deleted_by_web()),
    ]


def _policy(table: str, web: sql.Identifier, worker: sql.Identifier) -> sql.Composed:
    # (SELECT ...): the tenant is looked up once a statement. Once a row, it cost a quarter of what
    # reading a hundred thousand rollups did.
    return sql.SQL(
        "ALTER TABLE {table} ENABLE ROW LEVEL SECURITY;"
        "ALTER TABLE {table} FORCE ROW LEVEL SECURITY;"
        "REVOKE INSERT, UPDATE, DELETE ON {table} FROM {web};"
        "DROP POLICY IF EXISTS tenant ON {table};"
        "DROP POLICY IF EXISTS worker ON {table};"
        "CREATE POLICY tenant ON {table} FOR SELECT TO {web} USING"
        " (account_id = (SELECT nullif(current_setting({setting}, true), '')::bigint));"
        "CREATE POLICY worker ON {table} TO {worker} USING (true) WITH CHECK (true)"
    ).format(
        table=sql.Identifier(table),
        web=web,
        worker=worker,
        setting=sql.Literal(SETTING),
    )


def _append_only(table: str, web: sql.Identifier, worker: sql.Identifier) -> sql.Composed:
    return sql.SQL(
        "REVOKE UPDATE, DELETE, TRUNCATE ON {table} FROM {worker};"
        "GRANT INSERT ON {table} TO {web};"
        "DROP POLICY IF EXISTS tenant_adds ON {table};"
        "CREATE POLICY tenant_adds ON {table} FOR INSERT TO {web} WITH CHECK"
        " (account_id = nullif(current_setting({setting}, true), '')::bigint)"
    ).format(
        table=sql.Identifier(table),
        web=web,
        worker=worker,
        setting=sql.Literal(SETTING),
    )


def _written_by_web(table: str, web: sql.Identifier) -> sql.Composed:
    """Inserting and updating, never from or to another tenant; deleting is mostly the worker's."""
    return sql.SQL(
        "GRANT INSERT, UPDATE ON {table} TO {web};"
        "DROP POLICY IF EXISTS tenant_adds ON {table};"
        "DROP POLICY IF EXISTS tenant_changes ON {table};"
        "CREATE POLICY tenant_adds ON {table} FOR INSERT TO {web} WITH CHECK"
        " (account_id = nullif(current_setting({setting}, true), '')::bigint);"
        "CREATE POLICY tenant_changes ON {table} FOR UPDATE TO {web} USING"
        " (account_id = nullif(current_setting({setting}, true), '')::bigint) WITH CHECK"
        " (account_id = nullif(current_setting({setting}, true), '')::bigint)"
    ).format(table=sql.Identifier(table), web=web, setting=sql.Literal(SETTING))


def _deleted_by_web(table: str, web: sql.Identifier) -> sql.Composed:
    return sql.SQL(
        "GRANT DELETE ON {table} TO {web};"
        "DROP POLICY IF EXISTS tenant_deletes ON {table};"
        "CREATE POLICY tenant_deletes ON {table} FOR DELETE TO {web} USING"
        " (account_id = nullif(current_setting({setting}, true), '')::bigint)"
    ).format(table=sql.Identifier(table), web=web, setting=sql.Literal(SETTING))
