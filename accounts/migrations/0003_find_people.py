from django.db import migrations

from accounts.indexes import add_prefix_index


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0002_personal_access_tokens"),
    ]

    operations = [
        add_prefix_index("accounts_user", "username"),
        add_prefix_index("accounts_user", "discord_username"),
        add_prefix_index("accounts_user", "global_name"),
    ]
