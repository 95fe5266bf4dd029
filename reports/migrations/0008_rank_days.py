"""An index of the rollups of days in the order of their numbers, most first."""

from typing import ClassVar

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies: ClassVar = [("reports", "0007_annotations")]
    operations: ClassVar = [
        migrations.AddIndex(
            model_name="rollup",
            index=models.Index(
                "property_id",
                "dimension",
                "measure",
                "starts_at",
                models.F("number").desc(),
                name="rollups_ranked",
                condition=models.Q(("grain", "d")),
            ),
        )
    ]
