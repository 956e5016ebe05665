from guilds.operations.jobs import JobCommand
from mysite.dashboard.models import ServerSettings
from mysite.dashboard.tasks import decay


class Command(JobCommand):
    help = "Let members lose a share of their points, in each server that wants it."

    def handle(self, *args: object, **options: object) -> None:
        for guild_id in ServerSettings.objects.filter(decay__gt=0).values_list("pk", flat=True):
            decay.delay(guild_id)
