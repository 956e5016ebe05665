from celery import shared_task
from django.db.models import F

from .models import Score, ServerSettings


@shared_task
def decay(guild_id: int) -> None:
    """Let the members of a server lose the share of their points that its settings name."""
    Score.objects.filter(guild_id=guild_id).update(points=F("points") * (100 - ServerSettings.of(guild_id).decay) / 100)
