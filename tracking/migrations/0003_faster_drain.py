"""What makes storing cheap: partitions copied into, an index that grows at its end, and room.

COPY, by far the cheapest way in, refuses a table with row-level security, also to a user whose
policy lets everything pass. The worker copies into the month's partition, which is guarded by
rights: the web's user has none. So who makes a partition is told its name and may insert into it.

A visitor's events are looked for in the hours of a session. An index that begins with the visitor
takes each new event at another place: measured, it cost as much as the rest of storing the row,
and more the larger it got. Visitors and sessions are written again and again while they last; on
pages with room an update touches no index.
"""

from typing import ClassVar

from django.db import migrations

FORWARDS = """
CREATE INDEX events_by_hour ON events
    (property_id, date_bin('1 hour', time, TIMESTAMPTZ 'epoch'), visitor);
DROP INDEX events_by_visitor;
ALTER TABLE visitors SET (fillfactor = 80);
ALTER TABLE sessions SET (fillfactor = 70);
DROP FUNCTION ensure_events_partition(date);
CREATE FUNCTION ensure_events_partition(month date) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    first date := date_trunc('month', month)::date;
    part text := 'events_' || to_char(first, 'YYYY_MM');
    place regclass := to_regclass('public.' || part);
BEGIN
    -- session_user is the caller, not the owner as whom this runs; only the worker may call.
    IF place IS NOT NULL AND has_table_privilege(session_user, place, 'INSERT') THEN
        RETURN part;
    END IF;
    -- Two drains may meet a new month at once: the second waits and finds it made.
    PERFORM pg_advisory_xact_lock(hashtext('events_partition'));
    EXECUTE format(
        'CREATE TABLE IF NOT EXISTS public.%I PARTITION OF public.events FOR VALUES FROM (%L) TO (%L)',
        part,
        (first || ' 00:00:00+00')::timestamptz,
        ((first + interval '1 month')::date || ' 00:00:00+00')::timestamptz
    );
    EXECUTE format('GRANT INSERT ON public.%I TO %I', part, session_user);
    RETURN part;
END $$;
REVOKE EXECUTE ON FUNCTION ensure_events_partition(date) FROM PUBLIC;
"""
BACKWARDS = """
CREATE INDEX events_by_visitor ON events (property_id, visitor, time);
DROP INDEX events_by_hour;
ALTER TABLE visitors RESET (fillfactor);
ALTER TABLE sessions RESET (fillfactor);
DROP FUNCTION ensure_events_partition(date);
CREATE FUNCTION ensure_events_partition(month date) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    first date := date_trunc('month', month)::date;
    part text := 'events_' || to_char(first, 'YYYY_MM');
BEGIN
    IF to_regclass('public.' || part) IS NOT NULL THEN
        RETURN;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtext('events_partition'));
    IF to_regclass('public.' || part) IS NOT NULL THEN
        RETURN;
    END IF;
    EXECUTE format(
        'CREATE TABLE public.%I PARTITION OF public.events FOR VALUES FROM (%L) TO (%L)',
        part,
        (first || ' 00:00:00+00')::timestamptz,
        ((first + interval '1 month')::date || ' 00:00:00+00')::timestamptz
    );
END $$;
REVOKE EXECUTE ON FUNCTION ensure_events_partition(date) FROM PUBLIC;
"""


class Migration(migrations.Migration):
    dependencies: ClassVar = [("tracking", "0002_partitions")]
    operations: ClassVar = [migrations.RunSQL(FORWARDS, BACKWARDS)]
