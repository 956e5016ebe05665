from django.conf import settings
from django.db import migrations

ACTIONS = ("add", "change", "delete", "view")


def copy_permissions(apps, schema_editor):
    """Grant the permissions on `BotGuild` to the operators who have those on `Guild`.

    The old ones stay, because the previous release checks them by their name.
    """
    permissions = apps.get_model("auth", "Permission").objects
    old_names = [f"{action}_guild" for action in ACTIONS]
    for old in permissions.filter(content_type__app_label="guilds", codename__in=old_names):
        new, _ = permissions.get_or_create(
            content_type=old.content_type, codename=old.codename.replace("_guild", "_botguild"), defaults={"name": old.name}
        )
        new.group_set.add(*old.group_set.all())
        new.user_set.add(*old.user_set.all())


class Migration(migrations.Migration):
    """Only names in Python change: the previous release keeps using the tables, so they keep their names."""

    dependencies = [
        ("guilds", "0011_plain_words"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AlterModelTable("guild", "guilds_guild"),
        migrations.AlterModelTable("botpresence", "guilds_botpresence"),
        migrations.RenameModel("Guild", "BotGuild"),
        migrations.RenameModel("BotPresence", "BotGuildsVersion"),
        migrations.RunPython(copy_permissions, migrations.RunPython.noop),
    ]
