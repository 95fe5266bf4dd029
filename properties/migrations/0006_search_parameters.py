from django.db import migrations, models

import properties.capture


class Migration(migrations.Migration):
    dependencies = [
        ("properties", "0005_invitation"),
    ]

    operations = [
        migrations.AddField(
            model_name="property",
            name="search_parameters",
            field=models.JSONField(default=properties.capture.search_parameters),
        ),
    ]
