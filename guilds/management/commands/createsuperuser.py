"""`manage.py createsuperuser`: Django's command, which the log tells of."""

from django.contrib.auth.management.commands import createsuperuser

from guilds.management.operator import AccountCommand


class Command(AccountCommand, createsuperuser.Command):
    what = "superuser"
