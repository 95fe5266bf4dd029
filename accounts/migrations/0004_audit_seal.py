"""The audit log numbers, dates and seals itself, and lets nobody change what it holds.

An entry's hash covers the entry and the hash before it, so that a changed, missing or inserted
one breaks the chain (`manage.py verify_audit`). The triggers fire ALWAYS: even a superuser who
replays as a replica has to switch them off by hand, which the chain then tells.
"""

from typing import ClassVar

from django.db import migrations

# jsonb writes its keys, numbers and escapes in one way only; the moment stands in microseconds,
# for as text it would follow the zone of the session.
HASH = """
CREATE FUNCTION audit_hash(before bytea, entry audit_entries) RETURNS bytea
LANGUAGE sql STABLE SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT sha256(before || convert_to(jsonb_build_array(
        entry.account_id,
        entry.number,
        (extract(epoch FROM entry.at) * 1000000)::bigint,
        entry.action,
        entry.actor_kind,
        entry.actor_id,
        entry.actor_name,
        entry.impersonator_id,
        entry.impersonator_name,
        entry.address,
        entry.user_agent,
        entry.request_id,
        entry.property_id,
        entry.property_name,
        entry.target,
        entry.old,
        entry.new
    )::text, 'UTF8'))
$$;
"""

# The lock lasts until the transaction ends: of two entries of one account the second waits, and
# then sees the first. Other accounts do not meet.
SEAL = """
CREATE FUNCTION audit_seal() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    last record;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('audit', NEW.account_id));
    SELECT number, hash INTO last FROM audit_entries
        WHERE account_id = NEW.account_id ORDER BY number DESC LIMIT 1;
    NEW.number := coalesce(last.number, 0) + 1;
    NEW.at := clock_timestamp();
    NEW.hash := audit_hash(coalesce(last.hash, ''), NEW);
    RETURN NEW;
END $$;
CREATE TRIGGER audit_seal BEFORE INSERT ON audit_entries
    FOR EACH ROW EXECUTE FUNCTION audit_seal();
ALTER TABLE audit_entries ENABLE ALWAYS TRIGGER audit_seal;
"""

FREEZE = """
CREATE FUNCTION audit_freeze() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'The audit log is append-only: % is refused.', TG_OP
        USING ERRCODE = 'insufficient_privilege';
END $$;
CREATE TRIGGER audit_freeze BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_entries
    FOR EACH STATEMENT EXECUTE FUNCTION audit_freeze();
ALTER TABLE audit_entries ENABLE ALWAYS TRIGGER audit_freeze;
"""


class Migration(migrations.Migration):
    dependencies: ClassVar = [("accounts", "0003_audit_log")]

    operations: ClassVar = [
        migrations.RunSQL(HASH, "DROP FUNCTION audit_hash(bytea, audit_entries)"),
        migrations.RunSQL(
            SEAL, "DROP TRIGGER audit_seal ON audit_entries; DROP FUNCTION audit_seal()"
        ),
        migrations.RunSQL(
            FREEZE, "DROP TRIGGER audit_freeze ON audit_entries; DROP FUNCTION audit_freeze()"
        ),
    ]
