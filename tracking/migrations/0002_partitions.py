"""Raw events by month of their time, event ids by hash; both written by the worker only.

The worker may not create tables, so the month's partition is made by a function that runs with
the owner's rights and can do nothing else.
"""

from typing import ClassVar

from django.db import migrations

EVENTS = """
CREATE TABLE events (
    account_id bigint NOT NULL,
    property_id bigint NOT NULL,
    time timestamptz NOT NULL,
    received_at timestamptz NOT NULL,
    event_id uuid NOT NULL,
    visitor integer NOT NULL,
    name text NOT NULL,
    bot boolean NOT NULL,
    sanitized boolean NOT NULL,
    hostname text NOT NULL,
    page text NOT NULL,
    query text NOT NULL,
    title text NOT NULL,
    referrer text NOT NULL,
    source text NOT NULL,
    medium text NOT NULL,
    campaign text NOT NULL,
    term text NOT NULL,
    content text NOT NULL,
    channel text NOT NULL,
    country text NOT NULL,
    device text NOT NULL,
    browser text NOT NULL,
    browser_version text NOT NULL,
    os text NOT NULL,
    language text NOT NULL,
    screen text NOT NULL,
    tab uuid,
    session uuid,
    "user" text NOT NULL,
    engaged_ms integer,
    scroll smallint,
    load_ms integer,
    revenue numeric(18, 6),
    currency text NOT NULL,
    props jsonb
) PARTITION BY RANGE (time);
CREATE INDEX events_by_time ON events (property_id, time);
CREATE INDEX events_by_visitor ON events (property_id, visitor, time);

CREATE FUNCTION ensure_events_partition(month date) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    first date := date_trunc('month', month)::date;
    part text := 'events_' || to_char(first, 'YYYY_MM');
BEGIN
    IF to_regclass('public.' || part) IS NOT NULL THEN
        RETURN;
    END IF;
    -- Two drains may meet a new month at once: the second waits and finds it made.
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

EVENT_IDS = """
CREATE TABLE event_ids (
    account_id bigint NOT NULL,
    property_id bigint NOT NULL,
    event_id uuid NOT NULL,
    received_at timestamptz NOT NULL,
    fingerprint integer NOT NULL,
    time timestamptz NOT NULL,
    PRIMARY KEY (property_id, event_id)
) PARTITION BY HASH (property_id, event_id);
DO $$
BEGIN
    FOR part IN 0..15 LOOP
        EXECUTE format(
            'CREATE TABLE event_ids_%s PARTITION OF event_ids'
            ' FOR VALUES WITH (MODULUS 16, REMAINDER %s)',
            part,
            part
        );
    END LOOP;
END $$;
"""


class Migration(migrations.Migration):
    dependencies: ClassVar = [("tracking", "0001_initial")]
    operations: ClassVar = [
        migrations.RunSQL(
            EVENTS, "DROP TABLE events; DROP FUNCTION ensure_events_partition(date);"
        ),
        migrations.RunSQL(EVENT_IDS, "DROP TABLE event_ids;"),
    ]
