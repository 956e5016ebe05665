"""What a server greets its newcomers with, and how many came and left."""

from django.db import models


class WelcomeMessage(models.Model):
    """The message of one server; there is none until somebody writes it."""

    guild_id = models.BigIntegerField(primary_key=True)
    text = models.CharField(max_length=200)

    def __str__(self) -> str:
        return self.text


class Traffic(models.Model):
    """How many people of this site came to one server and left it in one day. It names nobody."""

    guild_id = models.BigIntegerField()
    day = models.DateField()
    joined = models.PositiveIntegerField(default=0)
    left = models.PositiveIntegerField(default=0)

    class Meta:
        constraints = (models.UniqueConstraint(fields=("guild_id", "day"), name="examples_traffic_of_a_day"),)
        ordering = ("-day",)

    def __str__(self) -> str:
        return f"{self.guild_id} on {self.day}"
