import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0005_gate_reason_words'),
    ]

    operations = [
        migrations.AlterModelOptions(
            name='discordaccount',
            options={'verbose_name': 'Discord account', 'verbose_name_plural': 'Discord accounts'},
        ),
        migrations.AlterModelOptions(
            name='discordrefusal',
            options={'verbose_name': 'Discord refusal', 'verbose_name_plural': 'Discord refusals'},
        ),
        migrations.AlterModelOptions(
            name='personalaccesstoken',
            options={'ordering': ['-created_at', '-pk'], 'verbose_name': 'personal access token', 'verbose_name_plural': 'personal access tokens'},
        ),
        migrations.AlterField(
            model_name='discordaccount',
            name='created',
            field=models.DateTimeField(auto_now_add=True, verbose_name='created'),
        ),
        migrations.AlterField(
            model_name='discordaccount',
            name='disconnected_at',
            field=models.DateTimeField(blank=True, help_text='When Discord finally refused our tokens. Nobody calls with them until the person signs in again.', null=True, verbose_name='disconnected'),
        ),
        migrations.AlterField(
            model_name='discordaccount',
            name='modified',
            field=models.DateTimeField(auto_now=True, verbose_name='changed'),
        ),
        migrations.AlterField(
            model_name='discordaccount',
            name='renewal_until',
            field=models.DateTimeField(blank=True, help_text='Until when one call may exchange the refresh token, which works once; other calls wait for it.', null=True, verbose_name='tokens being renewed until'),
        ),
        migrations.AlterField(
            model_name='discordaccount',
            name='token_version',
            field=models.PositiveIntegerField(default=0, help_text='Counted up whenever the tokens are replaced; a writer with an older one has lost.', verbose_name='token version'),
        ),
        migrations.AlterField(
            model_name='discordaccount',
            name='uid',
            field=models.CharField(db_index=True, max_length=255, verbose_name='id at Discord'),
        ),
        migrations.AlterField(
            model_name='discordaccount',
            name='user',
            field=models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, related_name='discord_account', to=settings.AUTH_USER_MODEL, verbose_name='person'),
        ),
        migrations.AlterField(
            model_name='discordgate',
            name='streak',
            field=models.PositiveIntegerField(default=0, help_text='How often in a row the gate was shut.', verbose_name='times in a row'),
        ),
        migrations.AlterField(
            model_name='discordgate',
            name='until',
            field=models.DateTimeField(blank=True, help_text='Nothing is sent before this moment.', null=True, verbose_name='until'),
        ),
        migrations.AlterField(
            model_name='discordgate',
            name='version',
            field=models.BigIntegerField(default=0, help_text='Counted up by every change; a change names the one it read.', verbose_name='version'),
        ),
        migrations.AlterField(
            model_name='discordrefusal',
            name='at',
            field=models.DateTimeField(db_index=True, default=django.utils.timezone.now, help_text='When Discord answered.', verbose_name='at'),
        ),
        migrations.AlterField(
            model_name='discordrefusal',
            name='reason',
            field=models.CharField(blank=True, help_text='The scope of the limit: user, global or cloudflare; empty for any other refusal.', max_length=16, verbose_name='scope'),
        ),
        migrations.AlterField(
            model_name='discordrefusal',
            name='status',
            field=models.PositiveSmallIntegerField(help_text='The HTTP status of the answer.', verbose_name='status'),
        ),
        migrations.AlterField(
            model_name='personalaccesstoken',
            name='created_at',
            field=models.DateTimeField(help_text='When the person made it.', verbose_name='created'),
        ),
        migrations.AlterField(
            model_name='personalaccesstoken',
            name='expires_at',
            field=models.DateTimeField(help_text='From here on it opens nothing.', verbose_name='expires'),
        ),
        migrations.AlterField(
            model_name='personalaccesstoken',
            name='last_used_at',
            field=models.DateTimeField(blank=True, help_text='When it was last used, to the hour.', null=True, verbose_name='last used'),
        ),
        migrations.AlterField(
            model_name='personalaccesstoken',
            name='name',
            field=models.CharField(help_text='What the person calls it.', max_length=64, verbose_name='name'),
        ),
        migrations.AlterField(
            model_name='personalaccesstoken',
            name='user',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='personal_access_tokens', to=settings.AUTH_USER_MODEL, verbose_name='person'),
        ),
        migrations.AlterField(
            model_name='user',
            name='avatar',
            field=models.CharField(blank=True, help_text="Hash of the person's avatar at Discord.", max_length=64, verbose_name='picture'),
        ),
        migrations.AlterField(
            model_name='user',
            name='discord_id',
            field=models.BigIntegerField(blank=True, help_text="The person's id at Discord; names there may change, this doesn't.", null=True, unique=True, verbose_name='id at Discord'),
        ),
        migrations.AlterField(
            model_name='user',
            name='discord_username',
            field=models.CharField(blank=True, help_text="The person's username at Discord.", max_length=64, verbose_name='username at Discord'),
        ),
        migrations.AlterField(
            model_name='user',
            name='global_name',
            field=models.CharField(blank=True, help_text='The display name the person chose at Discord.', max_length=64, verbose_name='display name'),
        ),
    ]
