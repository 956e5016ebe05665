"""People and their Discord accounts in the admin: read-only where rows are the engine's, and never a token."""

from typing import TYPE_CHECKING, Any, ClassVar

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.http import HttpRequest
from social_django.models import Association, Nonce, UserSocialAuth

from accounts.models import DiscordAccount, DiscordGate, DiscordRefusal, User

# social-auth's own pages: the first shows tokens, and none of them answers an operator's question.
for model in (UserSocialAuth, Nonce, Association):
    admin.site.unregister(model)

admin.site.site_header = admin.site.site_title = "Guildhall"


if TYPE_CHECKING:
    # Generic for the type checker only.
    AnyModelAdmin = admin.ModelAdmin[Any]
    AnyUserAdmin = DjangoUserAdmin[User]
else:
    AnyModelAdmin = admin.ModelAdmin
    AnyUserAdmin = DjangoUserAdmin


class ReadOnlyAdmin(AnyModelAdmin):
    """Rows that only the site's own code writes: looked at, not edited, and deleted through what owns them."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(User)
class UserAdmin(AnyUserAdmin):
    list_display = ("username", "display_name", "discord_id", "is_staff", "is_active", "last_login")
    search_fields = ("username", "discord_username", "global_name", "=discord_id")
    list_filter = ("is_staff", "is_superuser", "is_active")
    ordering = ("-id",)
    show_full_result_count = False
    readonly_fields = ("discord_id", "discord_username", "global_name", "avatar", "last_login", "date_joined")
    fieldsets = (
        (None, {"fields": ("username", "password")}),
        ("Discord", {"fields": ("discord_id", "discord_username", "global_name", "avatar")}),
        ("Permissions", {"fields": ("is_active", "is_staff", "is_superuser", "groups", "user_permissions")}),
        ("Dates", {"fields": ("last_login", "date_joined")}),
    )

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whoever goes is forgotten as a whole, in the order of locks that the engine depends on, not row by row."""
        return False


@admin.register(DiscordAccount)
class DiscordAccountAdmin(ReadOnlyAdmin):
    list_display = ("user", "uid", "token_version", "disconnected_at", "created")
    list_filter = (("disconnected_at", admin.EmptyFieldListFilter),)
    list_select_related = ("user",)
    search_fields = ("uid", "user__discord_username", "user__global_name")
    exclude: ClassVar[list[str]] = ["extra_data"]
    show_full_result_count = False

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        """Nobody reads the sealed tokens letter by letter, with `?extra_data__regex=` in the address."""
        return not lookup.startswith("extra_data") and super().lookup_allowed(lookup, value, request)


@admin.register(DiscordGate)
class DiscordGateAdmin(ReadOnlyAdmin):
    list_display = ("__str__", "until", "reason", "streak")


@admin.register(DiscordRefusal)
class DiscordRefusalAdmin(ReadOnlyAdmin):
    list_display = ("at", "status", "reason")
    list_filter = ("status",)
    date_hierarchy = None
    ordering = ("-at",)
    show_full_result_count = False
