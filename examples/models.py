"""The welcome message of a server, and how many people joined and left."""

from django.db import models


class WelcomeMessage(models.Model):
    """The message of one server; the row exists once a manager has written it."""

    guild_id = models.BigIntegerField(primary_key=True)
    text = models.CharField(max_length=200)
    channel_id = models.BigIntegerField(null=True, blank=True)
    role_id = models.BigIntegerField(null=True, blank=True)

    def __str__(self) -> str:
        return self.text


class Traffic(models.Model):
    """How many of this site's people joined and left one server on one day. It contains no names."""

    guild_id = models.BigIntegerField()
    day = models.DateField()
    joined = models.PositiveIntegerField(default=0)
    left = models.PositiveIntegerField(default=0)

    class Meta:
        constraints = (models.UniqueConstraint(fields=("guild_id", "day"), name="examples_traffic_of_a_day"),)
        ordering = ("-day",)

    def __str__(self) -> str:
        return f"{self.guild_id} on {self.day}"
