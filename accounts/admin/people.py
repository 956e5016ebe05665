"""People and their Discord accounts in the admin."""

from datetime import UTC, datetime
from typing import Any

import social_django.admin  # noqa: F401 - registers the pages that are removed below
from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin
from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from social_django.models import Association, Nonce, UserSocialAuth

from accounts.admin.kit import (
    ACCESS,
    PEOPLE,
    AnyUserAdmin,
    AnyUserForm,
    OperatorAdmin,
    PersonRowsAdmin,
    PersonSearchMixin,
    SetFilter,
    moment,
    person_in_words,
    state_in_words,
)
from accounts.audit import without_tombstones
from accounts.fields import Sealed
from accounts.models import DiscordAccount, User
from accounts.rights import is_last_superuser, operator_of, outranks

# social-auth's own pages: the first one shows tokens, and operators need none of them.
for model in (UserSocialAuth, Nonce, Association):
    admin.site.unregister(model)


# The fields that determine an account's permissions; only superusers change them.
RIGHTS = ("is_staff", "is_superuser", "groups", "user_permissions")


class PersonForm(AnyUserForm):
    def clean(self) -> dict[str, Any] | None:
        """Keep the last superuser. No one changes their own rights, but two superusers may change each other's."""
        values = super().clean() or {}
        stays = all(values.get(name, getattr(self.instance, name)) for name in ("is_active", "is_superuser"))
        if not stays and is_last_superuser(self.instance):
            raise ValidationError(_("This is the site's only superuser."))
        return values


class UserAdmin(PersonSearchMixin, OperatorAdmin, AnyUserAdmin):
    """A person's page. `guilds.admin` extends and registers it."""

    section = PEOPLE
    form = PersonForm
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
        (_("Permissions"), {"fields": ("is_active", *RIGHTS)}),
        (_("Dates"), {"fields": ("last_login", "date_joined")}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        return without_tombstones(super().get_queryset(request))

    def has_change_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        allowed: bool = super().has_change_permission(request, obj)
        return allowed and not (obj and outranks(obj, operator_of(request)))

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> tuple[str, ...]:
        """Only superusers change permissions, and not their own, so that a superuser always remains."""
        operator = operator_of(request)
        if not operator.is_superuser:
            return (*self.readonly_fields, *RIGHTS)
        return (*self.readonly_fields, "is_active", *RIGHTS) if obj == operator else self.readonly_fields

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """People are deleted by the "forget" action only, which takes locks in the order that the engine depends on."""
        return False

    @admin.display(description=_("person"), ordering="pk")
    def who(self, row: User) -> str:
        return person_in_words(row)


admin.site.unregister(Group)


@admin.register(Group)
class RightsGroupAdmin(GroupAdmin):
    """Only superusers change groups, because a group's members get its permissions."""

    section = ACCESS

    def has_add_permission(self, request: HttpRequest) -> bool:
        return operator_of(request).is_superuser

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return operator_of(request).is_superuser

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return operator_of(request).is_superuser


class DisconnectedFilter(SetFilter):
    title, parameter_name = _("state"), "disconnected_at"
    words = (_("connected"), _("disconnected"))


@admin.register(DiscordAccount)
class DiscordAccountAdmin(PersonRowsAdmin):
    section = PEOPLE
    related_link = _("account")
    list_display = ("who", "state", "related_links", "token_expires_at", "scopes", "created")
    list_filter = (DisconnectedFilter,)
    fields = readonly_fields = (
        *("user", "uid", "state", "disconnected_at", "token_expires_at", "scopes", "token_version"),
        *("renewal_until", "created", "modified", "related_links"),
    )

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        """Forbid filters such as `?extra_data__regex=`, which would reveal encrypted tokens letter by letter."""
        return not lookup.startswith("extra_data") and super().lookup_allowed(lookup, value, request)

    @admin.display(description=_("state"), ordering="disconnected_at")
    def state(self, account: DiscordAccount) -> str:
        if account.disconnected_at:
            return state_in_words("bad", gettext("disconnected: must sign in again"))
        if isinstance(account.extra_data, Sealed):
            return state_in_words("bad", gettext("encrypted with a key that isn't in TOKEN_KEYS"))
        return state_in_words("good", gettext("connected"))

    @admin.display(description=_("access token expires"))
    def token_expires_at(self, account: DiscordAccount) -> str:
        """The token is renewed on demand, so a time in the past is normal."""
        seconds = account.extra_data.get("expires_at")
        return moment(datetime.fromtimestamp(seconds, UTC) if seconds else None)

    @admin.display(description=_("scopes"))
    def scopes(self, account: DiscordAccount) -> str:
        return ", ".join(account.extra_data.get("scopes") or ())
