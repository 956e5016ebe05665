from django.db import migrations

from accounts.indexes import add_prefix_index


class Migration(migrations.Migration):
    dependencies = [
        ("guilds", "0004_serving_minutes"),
    ]

    operations = [
        add_prefix_index("guilds_userguildmembership", "name"),
        add_prefix_index("guilds_guild", "name"),
    ]
