from django.db import migrations, models


class Migration(migrations.Migration):
    """The previous release keeps using the row of the bot's servers: its columns keep their names, and it can create
    the row without the new ones."""

    dependencies = [("guilds", "0014_job_runs")]

    operations = [
        migrations.RenameModel("BotGuildsVersion", "BotGuilds"),
        migrations.AlterModelOptions("botguilds", {"verbose_name": "bot's servers"}),
        migrations.AlterField(
            "botguilds",
            "synced_at",
            models.DateTimeField(
                blank=True,
                db_column="synced_at",
                help_text="When the request for the stored list was sent.",
                null=True,
            ),
        ),
        migrations.RenameField("botguilds", "synced_at", "verified_at"),
        migrations.AlterField("botguilds", "id", models.BigIntegerField(default=1, primary_key=True, serialize=False)),
        migrations.AlterField(
            "botguilds",
            "tag",
            models.BigIntegerField(default=0, help_text="Random value, replaced when the bot's servers change."),
        ),
        migrations.AddField(
            "botguilds",
            "refresh_after",
            models.DateTimeField(
                blank=True,
                help_text="After this time, reading the list refreshes it in the background. Set when the list is stored.",
                null=True,
                verbose_name="due",
            ),
        ),
        migrations.AddField(
            "botguilds",
            "not_before",
            models.DateTimeField(
                blank=True,
                help_text="No request is sent to Discord before this time.",
                null=True,
                verbose_name="not before",
            ),
        ),
        migrations.AddField(
            "botguilds",
            "silent_at",
            models.DateTimeField(
                blank=True,
                help_text="When Discord didn't answer the last attempt; empty if it named how long to wait.",
                null=True,
            ),
        ),
        migrations.AddField("botguilds", "reason", models.CharField(blank=True, db_default="", default="", max_length=24)),
        migrations.AddField("botguilds", "failure_streak", models.PositiveIntegerField(db_default=0, default=0)),
        migrations.AddField(
            "botguilds",
            "lease_until",
            models.DateTimeField(
                blank=True,
                help_text="When the lease of the running attempt expires.",
                null=True,
                verbose_name="lease until",
            ),
        ),
        migrations.AddField("botguilds", "generation", models.BigIntegerField(db_default=0, default=0)),
        migrations.AddField("botguilds", "version", models.BigIntegerField(db_default=0, default=0)),
        migrations.AddField(
            "botguilds",
            "last_read_at",
            models.DateTimeField(
                blank=True,
                db_index=True,
                help_text="When the list was last read, accurate to the hour.",
                null=True,
                verbose_name="last read",
            ),
        ),
        migrations.AddField(
            "botguilds",
            "changed_at",
            models.DateTimeField(
                blank=True, help_text="When the memberships last changed.", null=True, verbose_name="changed"
            ),
        ),
        migrations.AddField(
            "botguild",
            "owner",
            models.BooleanField(
                db_default=False, default=False, help_text="Whether the bot owns the server.", verbose_name="owner"
            ),
        ),
        migrations.AddField(
            "botguild",
            "permissions",
            models.BigIntegerField(
                blank=True,
                help_text="The bot's server-wide permissions, as Discord's bit set; empty while unknown.",
                null=True,
                verbose_name="permissions",
            ),
        ),
        migrations.AddField(
            "botguild",
            "features",
            models.JSONField(
                blank=True,
                help_text="The server's features. Discord may add new names at any time.",
                null=True,
                verbose_name="features",
            ),
        ),
        migrations.AlterField(
            "botguild",
            "verified_at",
            models.DateTimeField(
                help_text="When Discord last reported a change of this entry.", verbose_name="changed"
            ),
        ),
    ]
