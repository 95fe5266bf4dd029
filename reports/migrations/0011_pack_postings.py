"""Blocks that were packed before they told who has each page, and what events are worth: pack them
again.

Until the worker has done so, their rows are read. As in 0004, for the owner of the tables sees no
row of them.
"""

from typing import ClassVar

from django.db import migrations

AGAIN = """
TRUNCATE columns, packed_days;
ALTER TABLE rolled_zones ALTER COLUMN days_listed TYPE boolean USING false;
"""


class Migration(migrations.Migration):
    dependencies: ClassVar = [("reports", "0010_pack_every_touch")]
    operations: ClassVar = [migrations.RunSQL(AGAIN, migrations.RunSQL.noop)]
