from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0004_renew_tokens_once"),
    ]

    operations = [
        migrations.AlterField(
            model_name="discordgate",
            name="reason",
            field=models.CharField(blank=True, help_text="What shut the gate: global_limit or cloudflare.", max_length=16),
        ),
        migrations.AlterField(
            model_name="discordrefusal",
            name="reason",
            field=models.CharField(
                blank=True,
                help_text="The scope of the limit: user, global or cloudflare; empty for any other refusal.",
                max_length=16,
            ),
        ),
    ]
