"""People, their Discord accounts and their access tokens in the admin; never a token."""

from datetime import UTC, datetime
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from social_django.models import Association, Nonce, UserSocialAuth

from accounts.admin.kit import AnyUserAdmin, OperatorAdmin, PersonRowsAdmin, PersonSearchMixin, SetFilter, moment
from accounts.clock import Now
from accounts.fields import Sealed
from accounts.models import DiscordAccount, PersonalAccessToken, User

# social-auth's own pages: the first shows tokens, and none of them answers an operator's question.
for model in (UserSocialAuth, Nonce, Association):
    admin.site.unregister(model)


class UserAdmin(PersonSearchMixin, OperatorAdmin, AnyUserAdmin):
    """A person's page; `guilds.admin` registers it, with what it knows of a person's list."""

    person = "pk"
    search_fields = ("username",)
    list_filter = ("is_staff", "is_superuser", "is_active")
    ordering = ("-id",)
    readonly_fields = (
        *("discord_id", "discord_username", "global_name", "avatar", "last_login", "date_joined", "related_links"),
    )
    fieldsets = (
        (None, {"fields": ("username", "password", "related_links")}),
        ("Discord", {"fields": ("discord_id", "discord_username", "global_name", "avatar")}),
        (_("Permissions"), {"fields": ("is_active", "is_staff", "is_superuser", "groups", "user_permissions")}),
        (_("Dates"), {"fields": ("last_login", "date_joined")}),
    )

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """People are deleted by "forget", in the order of locks that the engine depends on, not row by row."""
        return False

    @admin.display(description=_("name"))
    def shown_name(self, user: User) -> str:
        return user.display_name


class DisconnectedFilter(SetFilter):
    title, parameter_name = _("state"), "disconnected_at"
    words = (_("connected"), _("disconnected"))


@admin.register(DiscordAccount)
class DiscordAccountAdmin(PersonRowsAdmin):
    related_link = _("account")
    list_display = ("user", "state", "related_links", "token_expires_at", "scopes", "uid", "created")
    list_filter = (DisconnectedFilter,)
    fields = readonly_fields = (
        *("user", "uid", "state", "disconnected_at", "token_expires_at", "scopes", "token_version"),
        *("renewal_until", "created", "modified", "related_links"),
    )

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        """Nobody reads the sealed tokens letter by letter, with `?extra_data__regex=` in the address."""
        return not lookup.startswith("extra_data") and super().lookup_allowed(lookup, value, request)

    @admin.display(description=_("state"), ordering="disconnected_at")
    def state(self, account: DiscordAccount) -> str:
        if account.disconnected_at:
            return gettext("disconnected: must sign in again")
        if isinstance(account.extra_data, Sealed):
            return gettext("sealed with a key that isn't in TOKEN_KEYS")
        return gettext("connected")

    @admin.display(description=_("access token expires"))
    def token_expires_at(self, account: DiscordAccount) -> str:
        """It is renewed when it is needed, so one in the past is no trouble."""
        seconds = account.extra_data.get("expires_at")
        return moment(datetime.fromtimestamp(seconds, UTC) if seconds else None)

    @admin.display(description=_("scopes"))
    def scopes(self, account: DiscordAccount) -> str:
        return ", ".join(account.extra_data.get("scopes") or ())


@admin.register(PersonalAccessToken)
class PersonalAccessTokenAdmin(PersonRowsAdmin):
    """People's keys to the API. An operator may take one away; the key itself nobody can show."""

    related_link = _("tokens")
    list_display = ("user", "name", "state", "related_links", "last_used_at", "expires_at", "scope_names", "created_at")
    fields = readonly_fields = (
        *("user", "name", "scope_names", "state", "created_at", "expires_at", "last_used_at", "related_links"),
    )
    ordering = ("-pk",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows: QuerySet[Any] = super().get_queryset(request).annotate(now=Now())
        return rows

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(request.user.has_perm("accounts.delete_personalaccesstoken"))

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        return not lookup.startswith("digest") and super().lookup_allowed(lookup, value, request)

    @admin.display(description=_("scopes"))
    def scope_names(self, token: PersonalAccessToken) -> str:
        return ", ".join(token.scopes)

    @admin.display(description=_("state"), ordering="expires_at")
    def state(self, token: Any) -> str:
        return gettext("valid") if token.expires_at > token.now else gettext("expired")
