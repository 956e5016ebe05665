from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0008_audit_by_number'),
    ]

    operations = [
        migrations.AddField(
            model_name='discordgate',
            name='issuer',
            field=models.CharField(blank=True, db_default='', help_text='Who issued the tokens and lists of this database: an application at Discord, or the sandbox.', max_length=255),
        ),
    ]
