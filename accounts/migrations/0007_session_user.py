import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    # The column is unchanged; only Django's state changes to a foreign key.

    dependencies = [
        ('accounts', '0006_field_names'),
    ]

    operations = [
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.RemoveField('session', 'user_id'),
                migrations.AddField(
                    'session',
                    'user',
                    models.ForeignKey(
                        db_constraint=False,
                        help_text='Who is signed in with this session.',
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name='+',
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
        ),
    ]
