from typing import Any

from django.db import migrations
from django.db.models import F, Value
from django.db.models.functions import Concat

MODELS = ("user", "personalaccesstoken")


def remove_names(apps: Any, schema_editor: Any) -> None:
    """Remove people's names from the admin's log: entries about deleted tokens could not be found later."""
    entries = apps.get_model("admin", "LogEntry").objects.using(schema_editor.connection.alias)
    for model in MODELS:
        entries.filter(content_type__app_label="accounts", content_type__model=model).update(
            object_repr=Concat(Value(f"{model} "), F("object_id"))
        )


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0007_session_user"),
        ("admin", "0003_logentry_add_action_flag_choices"),
        ("contenttypes", "0002_remove_content_type_name"),
    ]
    operations = [migrations.RunPython(remove_names, migrations.RunPython.noop)]
