"""People and their Discord accounts in the admin: read-only where rows are the engine's, and never a token."""

import math
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from django.conf import settings
from django.contrib import admin, messages
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.functional import cached_property
from social_django.models import Association, Nonce, UserSocialAuth

from accounts import gate
from accounts.clock import Now, database_now
from accounts.gate import Priority
from accounts.models import DiscordAccount, DiscordGate, DiscordRefusal, User
from accounts.templatetags.durations import span

# social-auth's own pages: the first shows tokens, and none of them answers an operator's question.
for model in (UserSocialAuth, Nonce, Association):
    admin.site.unregister(model)

admin.site.site_header = admin.site.site_title = "Guildhall"


if TYPE_CHECKING:
    # Generic for the type checker only.
    AnyModelAdmin = admin.ModelAdmin[Any]
    AnyPaginator = Paginator[Any]
    AnyUserAdmin = DjangoUserAdmin[User]
else:
    AnyModelAdmin = admin.ModelAdmin
    AnyPaginator = Paginator
    AnyUserAdmin = DjangoUserAdmin


class BoundedPaginator(AnyPaginator):
    """Counts up to a bound: over millions of rows a count takes longer than the page. Who looks further searches."""

    MOST = 10_000

    @cached_property
    def count(self) -> int:
        rows: QuerySet[Any] = self.object_list  # type: ignore[assignment]  # the admin gives it nothing else
        return rows.order_by()[: self.MOST].count()


class ReadOnlyAdmin(AnyModelAdmin):
    """Rows that only the site's own code writes: looked at, not edited, and deleted through what owns them."""

    paginator = BoundedPaginator
    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(User)
class UserAdmin(AnyUserAdmin):
    paginator = BoundedPaginator
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

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        """Nobody reads the sealed tokens letter by letter, with `?extra_data__regex=` in the address."""
        return not lookup.startswith("extra_data") and super().lookup_allowed(lookup, value, request)


@admin.register(DiscordGate)
class DiscordGateAdmin(ReadOnlyAdmin):
    """The one row, in words and in the database's time; "open the gate" is the only thing to do about it."""

    list_display = ("state", "remaining", "until", "streak", "send_clock")
    fields = readonly_fields = ("state", "remaining", "until", "reason", "streak", "send_clock", "version")
    actions = ("open_gate",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[DiscordGate]:
        gate.read()  # makes the row on a site that hasn't asked Discord yet
        rows: QuerySet[DiscordGate] = super().get_queryset(request).annotate(now=Now())
        return rows

    @admin.display(ordering="streak")
    def state(self, row: Any) -> str:
        if not row.streak:
            return "open"
        if row.until and row.until > row.now:
            return f"shut ({row.reason})"
        return f"waiting for the probe ({row.reason})"

    @admin.display(description="opens in", ordering="until")
    def remaining(self, row: Any) -> str:
        return in_words(row.until - row.now) if row.streak and row.until and row.until > row.now else "–"

    @admin.display(description="send clock", ordering="tat")
    def send_clock(self, row: Any) -> str:
        ahead = row.tat - row.now if row.tat else timedelta(0)
        return f"{ahead.total_seconds():.1f} s ahead" if ahead > timedelta(0) else "free"

    def has_open_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("accounts.change_discordgate"))

    @admin.action(description="Open the gate", permissions=["open"])
    def open_gate(self, request: HttpRequest, queryset: QuerySet[DiscordGate]) -> HttpResponse | None:
        if "confirmed" not in request.POST:
            context = {**self.admin_site.each_context(request), "title": "Open the gate?", "opts": self.opts}
            context |= {"rows": [(row.pk, self.state(row), self.remaining(row)) for row in queryset]}
            return TemplateResponse(request, "admin/open_gate.html", context)
        found = gate.open_gate(by=f"user {request.user.pk}")
        if found is None:
            messages.info(request, "The gate isn't shut; there is nothing to open.")
        else:
            self.log_change(
                request, queryset.get(), f"Opened by hand; it was shut ({found.reason}) until {found.until}."
            )
            messages.success(request, "The gate is open. The send budget still holds.")
        return None


@admin.register(DiscordRefusal)
class DiscordRefusalAdmin(ReadOnlyAdmin):
    list_display = ("at", "status", "reason")
    list_filter = ("status",)
    date_hierarchy = None
    ordering = ("-at",)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        return super().changelist_view(request, {"subtitle": brake_in_words(), **(extra_context or {})})


def brake_in_words() -> str:
    """How near the refusals of the sliding window are to the brake, which decides by the same count."""
    now = database_now()
    count = DiscordRefusal.objects.filter(at__gt=now - gate.INVALID_REQUEST_WINDOW).count()
    if hard := gate.braked_until(Priority.COLD, now):
        state = f"The brake is on for another {in_words(hard - now)}: nobody asks Discord."
    elif soft := gate.braked_until(Priority.DUE, now):
        state = f"The brake is on for another {in_words(soft - now)}: only people without a list ask Discord."
    else:
        state = "The brake is off."
    return (
        f"{count:,} in the last {gate.INVALID_REQUEST_WINDOW.total_seconds() / 60:.0f} minutes; from "
        f"{settings.DISCORD_BRAKE_SOFT:,} only people without a list ask Discord, from "
        f"{settings.DISCORD_BRAKE_HARD:,} nobody. {state}"
    )


def in_words(wait: timedelta) -> str:
    return span(math.ceil(wait.total_seconds()))
