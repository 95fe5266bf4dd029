"""Months of raw events of which nothing is left are dropped, partition and indexes.

The worker may not drop tables, so a function with the owner's rights does it, and only where there
is no row. The table itself is locked first, in the order in which everybody else locks it, and for
two seconds at most: a report that runs longer keeps the month until the next time.
"""

from typing import ClassVar

from django.db import migrations

FORWARDS = """
CREATE FUNCTION drop_events_partition(month date) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
SET lock_timeout = '2s' AS $$
DECLARE
    part text := 'events_' || to_char(date_trunc('month', month), 'YYYY_MM');
    has_rows boolean;
BEGIN
    IF to_regclass('public.' || part) IS NULL THEN
        RETURN false;
    END IF;
    EXECUTE format('SELECT EXISTS (SELECT FROM public.%I)', part) INTO has_rows;
    IF has_rows THEN
        RETURN false;
    END IF;
    LOCK TABLE public.events IN ACCESS EXCLUSIVE MODE;
    EXECUTE format('SELECT EXISTS (SELECT FROM public.%I)', part) INTO has_rows;
    IF has_rows THEN
        RETURN false;
    END IF;
    EXECUTE format('DROP TABLE public.%I', part);
    RETURN true;
EXCEPTION WHEN lock_not_available THEN
    RETURN false;
END $$;
REVOKE EXECUTE ON FUNCTION drop_events_partition(date) FROM PUBLIC;
"""


class Migration(migrations.Migration):
    dependencies: ClassVar = [("tracking", "0006_usage")]
    operations: ClassVar = [
        migrations.RunSQL(FORWARDS, "DROP FUNCTION drop_events_partition(date);")
    ]
