"""People, their authorization at Discord, and the shared state of the site's requests to Discord.

Timestamps come from the database's clock and are written explicitly.
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
from accounts.names import first_visible, isolated


class User(AbstractUser):
    """A person. Those who sign in with Discord have a `discord_id`; staff with a password may have none."""

    first_name = None  # type: ignore[assignment]  # Discord knows no first and last names, and we don't ask for them
    last_name = None  # type: ignore[assignment]  # as above
    discord_id = models.BigIntegerField(
        _("Discord ID"),
        unique=True,
        null=True,
        blank=True,
        help_text=_("The person's Discord ID. Unlike their names, it never changes."),
    )
    discord_username = models.CharField(
        _("Discord username"), max_length=64, blank=True, help_text=_("The person's Discord username.")
    )
    global_name = models.CharField(
        _("display name"), max_length=64, blank=True, help_text=_("The person's display name on Discord.")
    )
    avatar = models.CharField(
        _("avatar"), max_length=64, blank=True, help_text=_("Hash of the person's Discord avatar.")
    )

    REQUIRED_FIELDS: ClassVar[list[str]] = []

    def __str__(self) -> str:
        return isolated(self.display_name)

    @property
    def display_name(self) -> str:
        """The first of the person's names that is visible. For markup; use `str()` in plain text."""
        return first_visible(self.global_name, self.discord_username, self.username)

    def get_full_name(self) -> str:
        return str(self)

    def get_short_name(self) -> str:
        return str(self)


class DiscordAccount(AbstractUserSocialAuth):
    """One person's authorization at Discord: social-auth's association, with encrypted tokens.

    `extra_data` holds `user_id`, `access_token`, `refresh_token`, `expires_at` (epoch seconds) and `scopes`.
    It is replaced by compare-and-swap on `token_version`, which every replacement increments.
    """

    user = models.OneToOneField(
        "accounts.User", models.CASCADE, related_name="discord_account", verbose_name=_("person")
    )
    # As social-auth declares them, with verbose names for operators.
    uid = models.CharField(_("Discord ID"), max_length=UID_LENGTH, db_index=True)
    created = models.DateTimeField(_("created"), auto_now_add=True)
    modified = models.DateTimeField(_("changed"), auto_now=True)
    extra_data = EncryptedJSONField(default=dict, blank=True, help_text=_("Encrypted OAuth tokens."))
    token_version = models.PositiveIntegerField(
        _("token version"),
        default=0,
        help_text=_("Incremented when the tokens are replaced; writes based on an older version are dropped."),
    )
    disconnected_at = models.DateTimeField(
        _("disconnected"),
        null=True,
        blank=True,
        help_text=_("When Discord permanently refused our tokens. They aren't used again until the person signs in."),
    )
    renewal_until = models.DateTimeField(
        _("token renewal until"),
        null=True,
        blank=True,
        help_text=_("Until when one caller may exchange the refresh token, which works only once. Other callers wait."),
    )

    class Meta:
        verbose_name = _("Discord account")
        verbose_name_plural = _("Discord accounts")
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["provider", "uid"], name="one_account_per_discord_user"),
            models.CheckConstraint(condition=~models.Q(uid=""), name="discord_account_has_uid"),
        ]

    @property
    def scopes(self) -> frozenset[str]:
        """The scopes that the person granted; empty if the tokens can't be decrypted."""
        return frozenset(self.extra_data.get("scopes") or ())


class Session(AbstractBaseSession):
    """Django's session with a column for its user, so that all sessions of one person can be ended."""

    # No constraint: a session may briefly outlive its person, and earlier releases had a plain integer column.
    user = models.ForeignKey(
        "accounts.User",
        models.CASCADE,
        null=True,
        db_constraint=False,
        related_name="+",
        help_text="The person signed in with this session.",
    )

    @classmethod
    def get_session_store_class(cls) -> Any:
        from accounts.sessions import SessionStore

        return SessionStore


class DiscordGate(models.Model):
    """The single row that is checked before every request to Discord, and can pause the whole installation.

    Normally `streak` is 0. Above 0, nothing is sent before `until`; then one request is sent as the probe and moves
    `until` to the end of its lease. If the probe succeeds, `streak` is reset to 0.
    """

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    until = models.DateTimeField(
        _("until"), null=True, blank=True, help_text=_("No requests are sent before this time.")
    )
    reason = models.CharField(
        max_length=16, blank=True, help_text=_("Why the gate is shut: global_limit or cloudflare.")
    )
    streak = models.PositiveIntegerField(
        _("times in a row"), default=0, help_text=_("How many times in a row the gate was shut.")
    )
    tat = models.DateTimeField(
        null=True, blank=True, help_text=_("The send clock: the theoretical arrival time of the next request (GCRA).")
    )
    version = models.BigIntegerField(
        _("version"),
        default=0,
        help_text=_("Incremented by every change; an update succeeds only if the version it read is still current."),
    )
    issuer = models.CharField(
        max_length=255,
        blank=True,
        # The previous release inserts this row without the column.
        db_default="",
        help_text="The source of this database's tokens and lists: a Discord application or the sandbox.",
    )
    silent_since = models.DateTimeField(
        null=True, blank=True, help_text="The first request that Discord didn't answer since its last good answer."
    )
    recovered_at = models.DateTimeField(
        null=True, blank=True, help_text="When a good answer of Discord's last ended a silence."
    )
    probe_after = models.DateTimeField(
        null=True, blank=True, help_text="During a silence: from when one reader may ask in spite of their own wait."
    )

    class Meta:
        verbose_name = _("Discord gate")
        verbose_name_plural = _("Discord gate")

    def __str__(self) -> str:
        return str(self._meta.verbose_name)


class DiscordRefusal(models.Model):
    """One response that counts towards Discord's ban for invalid requests, or refuses the site's own credentials.

    The statuses 401, 403 and 429 count, except for the scope `shared`.
    """

    at = models.DateTimeField(_("time"), default=timezone.now, db_index=True, help_text=_("When Discord responded."))
    status = models.PositiveSmallIntegerField(_("status"), help_text=_("The HTTP status of the response."))
    reason = models.CharField(
        _("scope"),
        max_length=16,
        blank=True,
        help_text=_(
            "The scope of the limit: user, global or cloudflare; or the site's refused credentials: client, "
            "redirect_uri or bot. Empty if a person's token was refused."
        ),
    )

    class Meta:
        verbose_name = _("Discord refusal")
        verbose_name_plural = _("Discord refusals")

    def __str__(self) -> str:
        return f"{self.status} {self.reason}".strip()


class DiscordAllowance(models.Model):
    """One owner's share of a limit that several of their requests count against.

    `accounts.limits.Allowance` has the rules. `owner` is the id of a person or of a guild, depending on the kind.
    """

    # What an allowance is called, by the kinds of `accounts.allowance`.
    NAMES: ClassVar = {
        "member": _("Roles of person %(owner)d"),
        "bot_member": _("Members of server %(owner)d"),
        "bot_directory": _("Roles and channels of server %(owner)d"),
    }

    kind = models.CharField(_("kind"), max_length=16, help_text=_("The limit, such as member."))
    owner = models.BigIntegerField(
        _("owner"), help_text=_("The person's number on this site, or the server's Discord ID.")
    )
    window_ends_at = models.DateTimeField(
        _("window ends"), null=True, blank=True, help_text=_("When the current window ends.")
    )
    sent = models.PositiveIntegerField(_("sent"), default=0, help_text=_("How many requests were sent in the window."))
    until = models.DateTimeField(
        _("limited until"), null=True, blank=True, help_text=_("The end of the last wait that Discord named.")
    )
    version = models.BigIntegerField(
        _("version"),
        default=0,
        help_text=_("Incremented by every change; an update succeeds only if the version it read is current."),
    )

    class Meta:
        verbose_name = _("Discord allowance")
        verbose_name_plural = _("Discord allowances")
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["kind", "owner"], name="one_allowance_per_kind_and_owner")
        ]

    def __str__(self) -> str:
        return str(self.NAMES.get(self.kind, self.kind)) % {"owner": self.owner}


class BearerToken(models.Model):
    """An access token to this site's API, for a program. Only the token's SHA-256 is stored.

    Unrelated to Discord's tokens, which are in `DiscordAccount`.
    """

    digest = models.CharField(max_length=64, unique=True, help_text=_("SHA-256 of the token, in hexadecimal."))
    scopes = models.JSONField(default=list, help_text=_("The scopes granted to the token."))
    created_at = models.DateTimeField(_("created"), help_text=_("When the token was created."))
    last_used_at = models.DateTimeField(
        _("last used"), null=True, blank=True, help_text=_("When the token was last used, accurate to the hour.")
    )

    class Meta:
        abstract = True


class PersonalAccessToken(BearerToken):
    """A person's access token to the API."""

    user = models.ForeignKey(
        "accounts.User", models.CASCADE, related_name="personal_access_tokens", verbose_name=_("person")
    )
    name = models.CharField(_("name"), max_length=64, help_text=_("The name the person gave the token."))
    expires_at = models.DateTimeField(_("expires"), help_text=_("When the token expires."))

    class Meta:
        verbose_name = _("personal access token")
        verbose_name_plural = _("personal access tokens")
        ordering: ClassVar[list[str]] = ["-created_at", "-pk"]
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["user", "name"], name="one_access_token_per_user_and_name")
        ]

    def __str__(self) -> str:
        return gettext("%(token)s (%(person)s)") % {"token": isolated(self.display_name), "person": self.user}

    @property
    def display_name(self) -> str:
        """The name, or the id if the name is invisible. For markup; use `str()` in plain text."""
        return first_visible(self.name, str(self.pk))


class ServiceToken(BearerToken):
    """A token of one of the site's own programs, such as its bot. It belongs to no person."""

    name = models.CharField(
        _("service"), max_length=64, db_index=True, help_text=_("The program that uses the token, such as bot.")
    )
    expires_at = models.DateTimeField(
        _("expires"), null=True, blank=True, help_text=_("When the token expires; empty if it doesn't.")
    )

    class Meta:
        verbose_name = _("service token")
        verbose_name_plural = _("service tokens")
        ordering: ClassVar[list[str]] = ["-created_at", "-pk"]

    def __str__(self) -> str:
        return f"{self.name} {self.pk}"
