"""`manage.py changepassword`: Django's command, which the log tells of."""

from django.contrib.auth.management.commands import changepassword

from guilds.management.operator import AccountCommand


class Command(AccountCommand, changepassword.Command):
    what = "password"
