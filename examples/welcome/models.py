"""What a server greets its newcomers with."""

from django.db import models


class WelcomeMessage(models.Model):
    """The message of one server; there is none until somebody writes it."""

    guild_id = models.BigIntegerField(primary_key=True)
    text = models.CharField(max_length=200)

    def __str__(self) -> str:
        return self.text
