from django.db import migrations, models


class Migration(migrations.Migration):
    """Rename the field only. The column keeps its name, so neither operation runs SQL."""

    dependencies = [
        ("guilds", "0006_annotations"),
    ]

    operations = [
        migrations.AlterField(
            model_name="guildlistverification",
            name="list_version",
            field=models.BigIntegerField(
                db_column="list_version", default=0, help_text="Counted up whenever the memberships change."
            ),
        ),
        migrations.RenameField(model_name="guildlistverification", old_name="list_version", new_name="version"),
    ]
