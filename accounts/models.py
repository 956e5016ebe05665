"""Who a person is at Discord, and what our calls to Discord have met.

Moments are stamped by the database's clock and written explicitly.
"""

from typing import Any, ClassVar

from django.contrib.auth.models import AbstractUser
from django.contrib.sessions.base_session import AbstractBaseSession
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from social_django.models import UID_LENGTH, AbstractUserSocialAuth

from accounts.fields import EncryptedJSONField


class User(AbstractUser):
    """A person. Those who sign in with Discord have a `discord_id`; staff with a password may have none."""

    first_name = None  # type: ignore[assignment]  # Discord knows no first and last names, and we don't ask for them
    last_name = None  # type: ignore[assignment]  # as above
    discord_id = models.BigIntegerField(
        _("id at Discord"),
        unique=True,
        null=True,
        blank=True,
        help_text=_("The person's id at Discord; names there may change, this doesn't."),
    )
    discord_username = models.CharField(
        _("username at Discord"), max_length=64, blank=True, help_text=_("The person's username at Discord.")
    )
    global_name = models.CharField(
        _("display name"), max_length=64, blank=True, help_text=_("The display name the person chose at Discord.")
    )
    avatar = models.CharField(
        _("picture"), max_length=64, blank=True, help_text=_("Hash of the person's avatar at Discord.")
    )

    REQUIRED_FIELDS: ClassVar[list[str]] = []

    def __str__(self) -> str:
        return self.display_name

    @property
    def display_name(self) -> str:
        return self.global_name or self.discord_username or self.username

    def get_full_name(self) -> str:
        return self.display_name

    def get_short_name(self) -> str:
        return self.display_name


class DiscordAccount(AbstractUserSocialAuth):
    """One person's authorization at Discord: social-auth's association, with its tokens sealed.

    `extra_data` holds `access_token`, `refresh_token`, `expires_at` (epoch seconds) and `scopes`.
    It is replaced only where `token_version` still is what the writer read, and counted up by every replacement.
    """

    user = models.OneToOneField(
        "accounts.User", models.CASCADE, related_name="discord_account", verbose_name=_("person")
    )
    # As social-auth declares them, with names for operators.
    uid = models.CharField(_("id at Discord"), max_length=UID_LENGTH, db_index=True)
    created = models.DateTimeField(_("created"), auto_now_add=True)
    modified = models.DateTimeField(_("changed"), auto_now=True)
    extra_data = EncryptedJSONField(default=dict, blank=True, help_text=_("Sealed tokens."))
    token_version = models.PositiveIntegerField(
        _("token version"),
        default=0,
        help_text=_("Counted up whenever the tokens are replaced; a writer with an older one has lost."),
    )
    disconnected_at = models.DateTimeField(
        _("disconnected"),
        null=True,
        blank=True,
        help_text=_("When Discord finally refused our tokens. Nobody calls with them until the person signs in again."),
    )
    renewal_until = models.DateTimeField(
        _("tokens being renewed until"),
        null=True,
        blank=True,
        help_text=_("Until when one call may exchange the refresh token, which works once; other calls wait for it."),
    )

    class Meta:
        verbose_name = _("Discord account")
        verbose_name_plural = _("Discord accounts")
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["provider", "uid"], name="one_account_per_discord_user"),
            models.CheckConstraint(condition=~models.Q(uid=""), name="discord_account_has_uid"),
        ]


class Session(AbstractBaseSession):
    """Django's session with its user beside it, so that all sessions of one person can be ended."""

    user_id = models.BigIntegerField(null=True, db_index=True, help_text="Who is signed in with this session.")

    @classmethod
    def get_session_store_class(cls) -> Any:
        from accounts.sessions import SessionStore

        return SessionStore


class DiscordGate(models.Model):
    """The one row that every call to Discord passes; it may pause the whole installation.

    `streak` 0 is the ordinary state. Above it, nothing is sent before `until`; then one call goes as the probe and
    moves `until` to the end of its lease, and the probe's success sets `streak` back to 0.
    """

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    until = models.DateTimeField(_("until"), null=True, blank=True, help_text=_("Nothing is sent before this moment."))
    reason = models.CharField(max_length=16, blank=True, help_text=_("What shut the gate: global_limit or cloudflare."))
    streak = models.PositiveIntegerField(
        _("times in a row"), default=0, help_text=_("How often in a row the gate was shut.")
    )
    tat = models.DateTimeField(
        null=True, blank=True, help_text=_("The send clock: the theoretical arrival time of the next request (GCRA).")
    )
    version = models.BigIntegerField(
        _("version"), default=0, help_text=_("Counted up by every change; a change names the one it read.")
    )

    class Meta:
        verbose_name = _("Discord gate")
        verbose_name_plural = _("Discord gate")

    def __str__(self) -> str:
        return str(self._meta.verbose_name)


class DiscordRefusal(models.Model):
    """One answer that counts towards Discord's ban on invalid requests: 401, 403, or 429 of any scope but shared."""

    at = models.DateTimeField(_("at"), default=timezone.now, db_index=True, help_text=_("When Discord answered."))
    status = models.PositiveSmallIntegerField(_("status"), help_text=_("The HTTP status of the answer."))
    reason = models.CharField(
        _("scope"),
        max_length=16,
        blank=True,
        help_text=_("The scope of the limit: user, global or cloudflare; empty for any other refusal."),
    )

    class Meta:
        verbose_name = _("Discord refusal")
        verbose_name_plural = _("Discord refusals")

    def __str__(self) -> str:
        return f"{self.status} {self.reason}".strip()


class PersonalAccessToken(models.Model):
    """One key to the API that a person made for a program. Of the key itself only its SHA-256 is kept.

    Not Discord's token: that one is `DiscordAccount`'s.
    """

    user = models.ForeignKey(
        "accounts.User", models.CASCADE, related_name="personal_access_tokens", verbose_name=_("person")
    )
    name = models.CharField(_("name"), max_length=64, help_text=_("What the person calls it."))
    digest = models.CharField(max_length=64, unique=True, help_text=_("SHA-256 of the token, in hexadecimal."))
    scopes = models.JSONField(default=list, help_text=_("What the token may do."))
    created_at = models.DateTimeField(_("created"), help_text=_("When the person made it."))
    expires_at = models.DateTimeField(_("expires"), help_text=_("From here on it opens nothing."))
    last_used_at = models.DateTimeField(
        _("last used"), null=True, blank=True, help_text=_("When it was last used, to the hour.")
    )

    class Meta:
        verbose_name = _("personal access token")
        verbose_name_plural = _("personal access tokens")
        ordering: ClassVar[list[str]] = ["-created_at", "-pk"]
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["user", "name"], name="one_access_token_per_user_and_name")
        ]

    def __str__(self) -> str:
        return gettext("%(token)s of %(person)s") % {"token": self.name, "person": self.user}
