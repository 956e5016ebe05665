"""`manage.py clearsessions`: Django's command, whose runs are recorded."""

from django.contrib.sessions.management.commands import clearsessions

from guilds.operations.jobs import JobCommand


class Command(JobCommand, clearsessions.Command):
    pass
