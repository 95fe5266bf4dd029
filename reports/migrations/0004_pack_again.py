"""Days that were packed before there were samples, new visitors and elements: pack them again.

Until the worker has done so, their rows are read. TRUNCATE and ALTER, for the owner of the tables
sees no row of them.
"""

from typing import ClassVar

from django.db import migrations

AGAIN = """
TRUNCATE columns, packed_days;
ALTER TABLE rolled_zones ALTER COLUMN days_listed TYPE boolean USING false;
"""


class Migration(migrations.Migration):
    dependencies: ClassVar = [("reports", "0003_packed_days")]
    operations: ClassVar = [migrations.RunSQL(AGAIN, migrations.RunSQL.noop)]
