"""`manage.py clearsocial`: social-auth's command, whose runs are recorded."""

from social_django.management.commands import clearsocial

from guilds.operations.jobs import JobCommand


class Command(JobCommand, clearsocial.Command):
    pass
