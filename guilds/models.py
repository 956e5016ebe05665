"""Which guilds a person is in and where the bot is, as Discord last verified it.

Lock order: whoever writes or deletes memberships first updates the person's `GuildListVerification` (several people:
in id order). The verification stands above the membership here because Django deletes in that order.
Moments come from the database's clock and are written explicitly.
"""

import secrets
from datetime import datetime
from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.db.models.lookups import GreaterThan
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts.discord import Permissions
from guilds.engine.records import Record


def new_tag() -> int:
    """What tells one state of some rows from every other, also where a database was restored and counts anew."""
    return secrets.randbits(62)


# `UserGuildMembership.can_manage`, for a database to decide.
MAY_MANAGE = Q(owner=True) | Q(
    GreaterThan(F("permissions").bitand(int(Permissions.ADMINISTRATOR | Permissions.MANAGE_GUILD)), 0)
)


class GuildListVerification(Record):
    """The record of one person's whole list.

    "In no guild" is an answer too and has a row here, without memberships.
    """

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL,
        models.CASCADE,
        primary_key=True,
        related_name="guild_list_verification",
        verbose_name=_("person"),
    )
    # The column got its name before there were other records; renaming it would break the previous release.
    version = models.BigIntegerField(
        _("version of the list"),
        default=0,
        db_column="list_version",
        help_text=_("Counted up whenever the memberships change."),
    )
    joined_count = models.PositiveIntegerField(
        _("joined"), default=0, help_text=_("How many servers the last change added.")
    )
    left_count = models.PositiveIntegerField(
        _("left"), default=0, help_text=_("How many servers the last change removed.")
    )
    preferences_tag = models.BigIntegerField(default=0, help_text=_("Drawn anew whenever a preference changes."))
    # The tag of `BotPresence`, which the resource reads beside the record.
    bot_tag: int | None = None

    class Meta:
        verbose_name = _("verification")
        verbose_name_plural = _("verifications")

    def __str__(self) -> str:
        return gettext("list of %(person)s") % {"person": self.user}


class RefreshLease(GuildListVerification):
    """The same row, looked at as an attempt: somebody asks Discord for this list, or died while asking."""

    class Meta:
        proxy = True
        verbose_name = _("running refresh")
        verbose_name_plural = _("running refreshes")

    def __str__(self) -> str:
        return gettext("refresh of %(person)s") % {"person": self.user}


class UserGuildMembership(models.Model):
    """One person in one guild, as Discord last verified it; ordered by the guild's id, as Discord does."""

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.CASCADE, related_name="guild_memberships", verbose_name=_("person")
    )
    guild_id = models.BigIntegerField(db_index=True, help_text=_("The guild's id at Discord."))
    name = models.CharField(_("name"), max_length=100, help_text=_("The guild's name."))
    icon = models.CharField(
        _("icon"), max_length=64, blank=True, help_text=_("Hash of the guild's icon; empty if it has none.")
    )
    banner = models.CharField(
        _("banner"), max_length=64, blank=True, help_text=_("Hash of the guild's banner; empty if it has none.")
    )
    owner = models.BooleanField(_("owner"), default=False, help_text=_("Whether the person owns the guild."))
    permissions = models.BigIntegerField(
        _("permissions"), default=0, help_text=_("The person's permissions in the whole guild, as Discord's bits.")
    )
    features = models.JSONField(
        _("features"), default=list, blank=True, help_text=_("The guild's features; an open set of names.")
    )
    first_seen_at = models.DateTimeField(_("first seen"), help_text=_("When a list first held this membership."))
    changed_at = models.DateTimeField(_("changed"), help_text=_("When a list last changed this row."))

    class Meta:
        verbose_name = _("membership")
        verbose_name_plural = _("memberships")
        ordering: ClassVar[list[str]] = ["guild_id"]
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["user", "guild_id"], name="one_membership_per_user_and_guild")
        ]

    def __str__(self) -> str:
        return gettext("%(person)s in %(server)s") % {"person": self.user, "server": self.name}

    @property
    def can_manage(self) -> bool:
        return Permissions.can_manage(self.permissions, self.owner)

    @property
    def last_verified_at(self) -> datetime | None:
        """When Discord last verified this membership: the whole list's moment, kept once."""
        return self.user.guild_list_verification.verified_at


class Guild(models.Model):
    """A guild the bot is in, or was in once; what Discord said last, whichever question came first.

    `verified_at` is the moment before the question. An answer to an earlier question than that changes nothing, so that
    any number of syncs and single looks may run at once.
    """

    id = models.BigIntegerField(_("id at Discord"), primary_key=True, help_text=_("The guild's id at Discord."))
    name = models.CharField(_("name"), max_length=100, help_text=_("The guild's name."))
    icon = models.CharField(
        _("icon"), max_length=64, blank=True, help_text=_("Hash of the guild's icon; empty if it has none.")
    )
    first_seen_at = models.DateTimeField(_("first seen"), help_text=_("When the bot was first seen there."))
    verified_at = models.DateTimeField(_("verified"), help_text=_("When Discord last said whether the bot is there."))
    deleted_at = models.DateTimeField(
        _("gone since"),
        null=True,
        blank=True,
        db_index=True,
        help_text=_("When the bot was found gone; empty while it is there."),
    )

    class Meta:
        verbose_name = _("server of the bot")
        verbose_name_plural = _("servers of the bot")

    def __str__(self) -> str:
        return self.name


class BotPresence(models.Model):
    """One row, which changes with every guild that the bot joins or leaves: what follows from them is known by it."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    tag = models.BigIntegerField(
        default=0, help_text="Drawn anew whenever the bot is in another guild, or in one less."
    )

    class Meta:
        verbose_name = "presence of the bot"

    def __str__(self) -> str:
        return str(self.tag)


class GuildPreference(models.Model):
    """What one person does with one guild here. It stays when they leave the guild, and is shown only while in it."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="guild_preferences")
    guild_id = models.BigIntegerField(help_text="The guild's id at Discord.")
    favourite = models.BooleanField(default=False, help_text="Whether the person has starred it.")
    last_used_at = models.DateTimeField(
        null=True, blank=True, help_text="When the person last opened its page, to the minute."
    )

    class Meta:
        verbose_name = "preference"
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["user", "guild_id"], name="one_preference_per_user_and_guild")
        ]

    def __str__(self) -> str:
        return f"{self.user} and {self.guild_id}"


class ServingMinute(models.Model):
    """What one process served, and what Discord answered it, since it last wrote such a row; a minute as a rule.

    Rows are only ever added, one a process and a minute, and read as sums: nobody waits for anybody. What a killed
    process had not yet written is lost.
    """

    minute = models.DateTimeField(db_index=True, help_text="The minute in which it was written down.")
    fresh = models.PositiveIntegerField(default=0, help_text="Fresh lists that were served.")
    stale = models.PositiveIntegerField(default=0, help_text="Stale lists that stood in.")
    refused = models.PositiveIntegerField(default=0, help_text="Readers who got no list.")
    within_5_minutes = models.PositiveIntegerField(default=0, help_text="Lists served that were at most so old.")
    within_15_minutes = models.PositiveIntegerField(default=0, help_text="Older than 5 minutes.")
    within_1_hour = models.PositiveIntegerField(default=0, help_text="Older than 15 minutes.")
    within_4_hours = models.PositiveIntegerField(default=0, help_text="Older than an hour.")
    within_1_day = models.PositiveIntegerField(default=0, help_text="Older than 4 hours.")
    older = models.PositiveIntegerField(default=0, help_text="Older than a day, where the settings allow that.")
    answered = models.PositiveIntegerField(default=0, help_text="Requests that Discord answered as wanted.")
    limited = models.PositiveIntegerField(default=0, help_text="Requests answered with 429.")
    rejected = models.PositiveIntegerField(default=0, help_text="Requests answered with another 4xx.")
    failed = models.PositiveIntegerField(default=0, help_text="Requests answered with 5xx.")
    unanswered = models.PositiveIntegerField(default=0, help_text="Requests without an answer.")

    class Meta:
        verbose_name = _("serving minute")
        verbose_name_plural = _("numbers of the last day")

    def __str__(self) -> str:
        return f"{self.minute:%Y-%m-%d %H:%M}"
