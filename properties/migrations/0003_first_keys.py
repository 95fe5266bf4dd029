from typing import Any

from django.db import migrations, models


def name_first_keys(apps: Any, schema_editor: Any) -> None:
    """A property that was there before keys could be replaced still has its first one."""
    owner = schema_editor.connection.alias
    apps.get_model("properties", "Property").objects.using(owner).update(first_key=models.F("key"))


class Migration(migrations.Migration):
    dependencies = [
        ("properties", "0002_capture_keys_goals"),
    ]

    operations = [
        migrations.RunPython(name_first_keys, migrations.RunPython.noop),
    ]
