"""Which guilds a person is in and where the bot is, as Discord last verified it.

Lock order: code that writes or deletes memberships first updates the person's `GuildListVerification` (for several
people, in id order). The verification is defined before the membership because Django deletes in that order.
Timestamps come from the database's clock and are set explicitly.
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
from accounts.names import first_visible, isolated
from guilds.engine.records import Record


def new_tag() -> int:
    """Return a random tag for the state of some rows. Unlike a counter, it does not repeat after a database restore."""
    return secrets.randbits(62)


# `UserGuildMembership.can_manage` as a condition in SQL.
MAY_MANAGE = Q(owner=True) | Q(
    GreaterThan(F("permissions").bitand(int(Permissions.ADMINISTRATOR | Permissions.MANAGE_GUILD)), 0)
)


class GuildListVerification(Record):
    """The record of one person's whole list.

    A person who is in no guild has a row here too, without memberships.
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
        _("list version"),
        default=0,
        db_column="list_version",
        help_text=_("Incremented when the memberships change."),
    )
    joined_count = models.PositiveIntegerField(
        _("joined"), default=0, help_text=_("How many servers the last change added.")
    )
    left_count = models.PositiveIntegerField(
        _("left"), default=0, help_text=_("How many servers the last change removed.")
    )
    preferences_tag = models.BigIntegerField(
        default=0, db_default=0, help_text=_("Random value, replaced when a preference changes.")
    )
    # The tag of `BotGuilds`, and when the bot's servers can be requested again; the resource reads both in the record's
    # query.
    bot_tag: int | None = None
    bot_due_at: datetime | None = None

    class Meta:
        verbose_name = _("verification")
        verbose_name_plural = _("verifications")

    def __str__(self) -> str:
        return gettext("list for %(person)s") % {"person": self.user}


class RefreshLease(GuildListVerification):
    """The same row as a refresh attempt: one that is running, or whose process died before it ended."""

    class Meta:
        proxy = True
        verbose_name = _("running refresh")
        verbose_name_plural = _("running refreshes")

    def __str__(self) -> str:
        return gettext("refresh for %(person)s") % {"person": self.user}


class UserGuildMembership(models.Model):
    """One person in one guild, as Discord last verified it. Ordered by guild id, as Discord's list is."""

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.CASCADE, related_name="guild_memberships", verbose_name=_("person")
    )
    guild_id = models.BigIntegerField(db_index=True, help_text=_("The server's Discord ID."))
    name = models.CharField(_("name"), max_length=100, help_text=_("The server's name."))
    icon = models.CharField(
        _("icon"), max_length=64, blank=True, help_text=_("Hash of the server's icon; empty if it has none.")
    )
    banner = models.CharField(
        _("banner"), max_length=64, blank=True, help_text=_("Hash of the server's banner; empty if it has none.")
    )
    owner = models.BooleanField(_("owner"), default=False, help_text=_("Whether the person owns the server."))
    permissions = models.BigIntegerField(
        _("permissions"), default=0, help_text=_("The person's server-wide permissions, as Discord's bit set.")
    )
    features = models.JSONField(
        _("features"),
        default=list,
        blank=True,
        help_text=_("The server's features. Discord may add new names at any time."),
    )
    first_seen_at = models.DateTimeField(_("first seen"), help_text=_("When this membership first appeared in a list."))
    changed_at = models.DateTimeField(_("changed"), help_text=_("When a list last changed this membership."))
    confirmed_at = models.DateTimeField(
        null=True,
        blank=True,
        help_text=_("When the latest event that shows the person in the server arrived; empty if none did."),
    )

    class Meta:
        verbose_name = _("membership")
        verbose_name_plural = _("memberships")
        ordering: ClassVar[list[str]] = ["guild_id"]
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["user", "guild_id"], name="one_membership_per_user_and_guild")
        ]

    def __str__(self) -> str:
        return gettext("%(person)s in %(server)s") % {"person": self.user, "server": isolated(self.display_name)}

    @property
    def display_name(self) -> str:
        """The name, or the id if the name shows nothing. For markup; `str()` is for plain text."""
        return first_visible(self.name, str(self.guild_id))

    @property
    def can_manage(self) -> bool:
        return Permissions.can_manage(self.permissions, self.owner)

    @property
    def last_verified_at(self) -> datetime | None:
        """When Discord last verified this membership. It is stored once, for the whole list."""
        return self.user.guild_list_verification.verified_at


class GuildMember(Record):
    """The record of one person in one guild, with their roles there.

    A person who is not in the guild has a row here too: `is_member` is False, and there are no roles.
    """

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.CASCADE, related_name="member_records", verbose_name=_("person")
    )
    guild_id = models.BigIntegerField(_("server"), help_text=_("The server's Discord ID."))
    is_member = models.BooleanField(_("member"), default=False, help_text=_("Whether the person is in the server."))
    roles = models.JSONField(
        _("roles"), default=list, blank=True, help_text=_("The ids of the person's roles, in ascending order.")
    )
    nick = models.CharField(
        _("nickname"),
        max_length=64,
        blank=True,
        help_text=_("The person's name in the server, if they chose one."),
    )
    joined_at = models.DateTimeField(_("joined"), null=True, blank=True, help_text=_("When the person joined."))
    timed_out_until = models.DateTimeField(
        _("timed out until"), null=True, blank=True, help_text=_("Until when the person can't write or speak there.")
    )
    pending = models.BooleanField(
        _("pending"), default=False, help_text=_("Whether the person has yet to accept the server's rules.")
    )
    # Whether the bot's token gets the answer; the resource sets it when it asks. News always come from the bot.
    from_bot: bool = True

    class Meta:
        verbose_name = _("member")
        verbose_name_plural = _("members")
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["user", "guild_id"], name="one_member_per_user_and_guild")
        ]

    def __str__(self) -> str:
        return gettext("%(person)s in %(server)s") % {"person": self.user, "server": self.guild_id}


class GuildDirectory(Record):
    """The record of one guild's roles and channels, and of the bot's own roles there."""

    guild_id = models.BigIntegerField(_("server"), primary_key=True, help_text=_("The server's Discord ID."))
    # Lists of objects with the fields of `accounts.discord.Role` and `Channel`, ascending by id.
    roles = models.JSONField(_("roles"), default=list, blank=True)
    channels = models.JSONField(_("channels"), default=list, blank=True)
    bot_id = models.BigIntegerField(_("bot"), null=True, blank=True, help_text=_("The bot's user ID."))
    bot_roles = models.JSONField(
        _("bot's roles"), default=list, blank=True, help_text=_("The ids of the bot's roles, in ascending order.")
    )
    # Whether the bot owns the guild; the resource reads it in the record's query.
    bot_owns: bool | None = None

    class Meta:
        verbose_name = _("roles and channels")
        verbose_name_plural = _("roles and channels")

    def __str__(self) -> str:
        return str(self.guild_id)


class BotGuild(models.Model):
    """A guild the bot is in or was in, as Discord last reported it.

    `verified_at` is when the list that last changed this row was requested, or when Discord last said something about
    this guild alone, if that was later; what is older changes nothing. Every later list, up to `BotGuilds.verified_at`,
    found the row as it is.
    """

    id = models.BigIntegerField(_("Discord ID"), primary_key=True, help_text=_("The server's Discord ID."))
    name = models.CharField(_("name"), max_length=100, help_text=_("The server's name."))
    icon = models.CharField(
        _("icon"), max_length=64, blank=True, help_text=_("Hash of the server's icon; empty if it has none.")
    )
    first_seen_at = models.DateTimeField(_("first seen"), help_text=_("When the bot was first seen in the server."))
    owner = models.BooleanField(
        _("owner"), default=False, db_default=False, help_text=_("Whether the bot owns the server.")
    )
    permissions = models.BigIntegerField(
        _("permissions"),
        null=True,
        blank=True,
        help_text=_("The bot's server-wide permissions, as Discord's bit set; empty while unknown."),
    )
    features = models.JSONField(
        _("features"),
        null=True,
        blank=True,
        help_text=_("The server's features. Discord may add new names at any time."),
    )
    verified_at = models.DateTimeField(
        _("last reported"),
        help_text=_("When Discord last reported a change of this entry, or said something about this server alone."),
    )
    deleted_at = models.DateTimeField(
        _("removed at"),
        null=True,
        blank=True,
        db_index=True,
        help_text=_("When the bot was found to be removed; empty while it is in the server."),
    )

    class Meta:
        db_table = "guilds_guild"  # the model's earlier name
        verbose_name = _("bot server")
        verbose_name_plural = _("bot servers")

    def __str__(self) -> str:
        return isolated(self.display_name)

    @property
    def display_name(self) -> str:
        """The name, or the id if the name shows nothing. For markup; `str()` is for plain text."""
        return first_visible(self.name, str(self.pk))


class BotGuilds(Record):
    """The record of the list of all the bot's guilds; its single row has the key 1.

    `tag` changes whenever the bot joins or leaves a guild, or gains or loses permissions.
    """

    id = models.BigIntegerField(primary_key=True, default=1)
    tag = models.BigIntegerField(default=0, help_text="Random value, replaced when the bot's servers change.")
    # The column's name is that of the previous release, which reads and writes it too.
    verified_at = models.DateTimeField(
        db_column="synced_at", null=True, blank=True, help_text="When the request for the stored list was sent."
    )
    # The previous release creates the row without these columns.
    reason = models.CharField(max_length=24, blank=True, default="", db_default="")
    failure_streak = models.PositiveIntegerField(default=0, db_default=0)
    generation = models.BigIntegerField(default=0, db_default=0)
    version = models.BigIntegerField(default=0, db_default=0)

    class Meta:
        db_table = "guilds_botpresence"  # the model's earlier name
        verbose_name = "bot's servers"

    def __str__(self) -> str:
        return str(self.tag)

    @classmethod
    def last_verified_at(cls) -> datetime | None:
        """When the last complete list was requested; None before the first."""
        return cls._default_manager.filter(pk=1).values_list("verified_at", flat=True).first()


class GuildPreference(models.Model):
    """One person's preferences for one guild. They stay stored after the person leaves the guild, but are not shown."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="guild_preferences")
    guild_id = models.BigIntegerField(help_text="The server's Discord ID.")
    favourite = models.BooleanField(default=False, help_text="Whether the server is one of the person's favourites.")
    last_used_at = models.DateTimeField(
        null=True, blank=True, help_text="When the person last opened the server's page, accurate to the minute."
    )

    class Meta:
        verbose_name = "preference"
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["user", "guild_id"], name="one_preference_per_user_and_guild")
        ]

    def __str__(self) -> str:
        return f"{self.user} and {self.guild_id}"


class JobRun(models.Model):
    """The last finished run of one scheduled job, and its last success."""

    command = models.CharField(max_length=50, primary_key=True, help_text="The management command.")
    started_at = models.DateTimeField(help_text="When the last run started.")
    finished_at = models.DateTimeField(help_text="When the last run finished.")
    succeeded = models.BooleanField(help_text="Whether the last run succeeded.")
    succeeded_at = models.DateTimeField(
        null=True, blank=True, help_text="When the last successful run finished; empty if none has."
    )

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return self.command


class DoctorReport(models.Model):
    """What the last run of `manage.py doctor` found; its single row has the key 1."""

    id = models.BigIntegerField(primary_key=True, default=1)
    examined_at = models.DateTimeField(help_text="When the last run ended.")
    findings = models.JSONField(help_text="Check, level, sentence and advice of each finding.")

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.examined_at:%Y-%m-%d %H:%M:%S} UTC"


class ServingMinute(models.Model):
    """Counts of what one process served and how Discord responded, since its previous row; usually one minute.

    Each process only adds rows, about one per minute, and readers add them up, so no process waits for another. Counts
    that a killed process had not yet written are lost.
    """

    minute = models.DateTimeField(db_index=True, help_text="The minute in which these counts were stored.")
    fresh = models.PositiveIntegerField(default=0, help_text="Fresh lists served.")
    stale = models.PositiveIntegerField(default=0, help_text="Stale lists served.")
    refused = models.PositiveIntegerField(default=0, help_text="Requests that got no list.")
    within_5_minutes = models.PositiveIntegerField(default=0, help_text="Lists served that were up to 5 minutes old.")
    within_15_minutes = models.PositiveIntegerField(default=0, help_text="Lists served that were up to 15 minutes old.")
    within_1_hour = models.PositiveIntegerField(default=0, help_text="Lists served that were up to 1 hour old.")
    within_4_hours = models.PositiveIntegerField(default=0, help_text="Lists served that were up to 4 hours old.")
    within_1_day = models.PositiveIntegerField(default=0, help_text="Lists served that were up to 24 hours old.")
    older = models.PositiveIntegerField(
        default=0, help_text="Lists served that were more than 24 hours old, if the settings allow that."
    )
    answered = models.PositiveIntegerField(default=0, help_text="Requests that succeeded.")
    limited = models.PositiveIntegerField(default=0, help_text="Requests answered with 429.")
    rejected = models.PositiveIntegerField(default=0, help_text="Requests answered with another 4xx.")
    failed = models.PositiveIntegerField(default=0, help_text="Requests answered with 5xx.")
    unanswered = models.PositiveIntegerField(default=0, help_text="Requests that got no response.")

    class Meta:
        verbose_name = _("minute")
        verbose_name_plural = _("last 24 hours")

    def __str__(self) -> str:
        return f"{self.minute:%Y-%m-%d %H:%M}"
