from django.db import migrations, models


class Migration(migrations.Migration):
    """Code of before 0006 doesn't know the column, and creates records during an upgrade."""

    dependencies = [
        ("guilds", "0008_field_names"),
    ]

    operations = [
        migrations.AlterField(
            model_name="guildlistverification",
            name="preferences_tag",
            field=models.BigIntegerField(db_default=0, default=0, help_text="Drawn anew whenever a preference changes."),
        ),
    ]
