"""What a server's dashboard stores: its settings, its members' points, and who may read its log."""

from django.core.validators import MaxValueValidator
from django.db import models
from django.utils.translation import gettext_lazy as _

from accounts.models import User


class ServerSettings(models.Model):
    """The settings of one server; a server without a row has the defaults."""

    guild_id = models.BigIntegerField(primary_key=True)
    points = models.PositiveSmallIntegerField(_("Points per message"), default=1)
    decay = models.PositiveSmallIntegerField(
        _("Points lost each night, in percent"), default=0, validators=[MaxValueValidator(100)]
    )
    channel_id = models.BigIntegerField(null=True, blank=True)
    role_id = models.BigIntegerField(null=True, blank=True)

    def __str__(self) -> str:
        return str(self.guild_id)

    @classmethod
    def of(cls, guild_id: int) -> "ServerSettings":
        return cls.objects.filter(pk=guild_id).first() or cls(guild_id=guild_id)


class Score(models.Model):
    """The points of one member, who need not have signed in on this site: the key is their Discord id."""

    guild_id = models.BigIntegerField()
    person = models.ForeignKey(User, models.DO_NOTHING, to_field="discord_id", db_constraint=False)
    name = models.CharField(max_length=32)
    points = models.PositiveIntegerField(default=0)

    class Meta:
        constraints = (models.UniqueConstraint(fields=("guild_id", "person"), name="dashboard_score_of_a_member"),)
        ordering = ("-points", "pk")
        verbose_name_plural = _("scores")

    def __str__(self) -> str:
        return self.name


class Entry(models.Model):
    """One line of a server's log."""

    class Event(models.TextChoices):
        JOINED = "joined", _("joined")
        LEFT = "left", _("left")
        DEMOTED = "demoted", _("no longer manages the server")

    guild_id = models.BigIntegerField(db_index=True)
    person = models.ForeignKey(User, models.CASCADE)
    event = models.CharField(max_length=16, choices=Event.choices)
    at = models.DateTimeField()

    class Meta:
        ordering = ("-at", "-pk")
        verbose_name_plural = _("log entries")

    def __str__(self) -> str:
        return f"{self.person} {self.get_event_display()}"


class Delegate(models.Model):
    """A person whom the owner of a server lets read its log."""

    guild_id = models.BigIntegerField()
    person = models.ForeignKey(User, models.CASCADE)

    class Meta:
        constraints = (models.UniqueConstraint(fields=("guild_id", "person"), name="dashboard_delegate_once"),)
        verbose_name_plural = _("delegations")

    def __str__(self) -> str:
        return str(self.person)
