"""Hours of an open day are packed, too: what is packed has a grain. Days stay as they are."""

from typing import ClassVar

from django.db import migrations, models

# Django alters no composite key by itself.
KEYS = """
ALTER TABLE packed_days DROP CONSTRAINT packed_days_pkey,
    ADD PRIMARY KEY (property_id, grain, starts_at);
ALTER TABLE columns DROP CONSTRAINT columns_pkey,
    ADD PRIMARY KEY (property_id, grain, starts_at, name);
"""


def grain() -> models.CharField:
    return models.CharField(
        choices=[("h", "hour"), ("q", "quarter of a day: six hours"), ("d", "day")],
        db_default="d",
        max_length=1,
    )


def key(*names: str) -> models.CompositePrimaryKey:
    return models.CompositePrimaryKey(
        *names, blank=True, editable=False, primary_key=True, serialize=False
    )


class Migration(migrations.Migration):
    dependencies: ClassVar = [("reports", "0008_rank_days")]
    operations: ClassVar = [
        migrations.AddField("packedday", "grain", grain()),
        migrations.AddField("column", "grain", grain()),
        migrations.RunSQL(
            KEYS,
            migrations.RunSQL.noop,
            state_operations=[
                migrations.AlterField("packedday", "pk", key("property_id", "grain", "starts_at")),
                migrations.AlterField(
                    "column", "pk", key("property_id", "grain", "starts_at", "name")
                ),
            ],
        ),
        migrations.AlterField(
            "packedday",
            "changed_at",
            models.DateTimeField(help_text="when the rollup last counted it"),
        ),
    ]
