"""Who is in which server, and where the bot is."""

from typing import Any

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.contrib.humanize.templatetags.humanize import intcomma
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from accounts.admin.kit import (
    BoundedPage,
    PersonRowsAdmin,
    ReadOnlyAdmin,
    SetFilter,
    Words,
    moment,
    rows_link,
)
from accounts.people import find_people, snowflake
from guilds.admin.records import FreshnessFilter
from guilds.models import MAY_MANAGE, Guild, UserGuildMembership
from guilds.operations.server_usage import usage_of


class MembershipFreshnessFilter(FreshnessFilter):
    path = "user__guild_list_verification__"


class ManagesFilter(admin.SimpleListFilter):
    title, parameter_name = _("may manage"), "manages"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Words]]:
        return [("yes", _("Yes")), ("no", _("No"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        match self.value():
            case "yes":
                return queryset.filter(MAY_MANAGE)
            case "no":
                return queryset.exclude(MAY_MANAGE)
        return queryset


@admin.register(UserGuildMembership)
class UserGuildMembershipAdmin(PersonRowsAdmin):
    related_link = _("servers")
    list_display = ("name", "user", "manages", "owner", "related_links", "server_id", "verified_at")
    list_filter = (MembershipFreshnessFilter, "owner", ManagesFilter)
    list_select_related = ("user__guild_list_verification",)
    ordering = ("-id",)
    search_help_text = _("The beginning of a server's or a person's name, or an id at Discord of either")
    fields = (
        *("user", "name", "server_id", "owner", "manages", "permissions", "features", "icon", "banner"),
        *("verified_at", "first_seen_at", "changed_at", "related_links"),
    )
    readonly_fields = ("server_id", "manages", "verified_at", "related_links")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        term = search_term.strip()
        if not term:
            return queryset, False
        wanted = Q(user_id__in=find_people(term)) | Q(name__istartswith=term)
        if (guild_id := snowflake(term)) is not None:
            wanted |= Q(guild_id=guild_id)
        return queryset.filter(wanted), False

    @admin.display(description=_("server"), ordering="guild_id")
    def server_id(self, row: UserGuildMembership) -> str:
        """All of our people in it."""
        return rows_link(UserGuildMembership, str(row.guild_id), guild_id=row.guild_id)

    @admin.display(description=_("may manage"), boolean=True)
    def manages(self, row: UserGuildMembership) -> bool:
        return row.can_manage

    @admin.display(description=_("verified"), ordering="user__guild_list_verification__verified_at")
    def verified_at(self, row: UserGuildMembership) -> str:
        return moment(row.last_verified_at)


class ServersPage(BoundedPage):
    """Counts the people of the servers on the page: not of all of them, and not one by one."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        usage = usage_of(row.pk for row in self.result_list)
        for row in self.result_list:
            row.usage = usage.get(row.pk)


class GoneFilter(SetFilter):
    title, parameter_name = _("the bot"), "deleted_at"
    words = (_("is there"), _("is gone"))


@admin.register(Guild)
class GuildAdmin(ReadOnlyAdmin):
    list_display = ("name", "people", "managers", "deleted_at", "verified_at", "id", "first_seen_at")
    list_filter = (GoneFilter,)
    search_fields = ("name",)
    search_help_text = _("The beginning of a server's name, or its id")
    ordering = ("-id",)
    readonly_fields = ("people", "managers")

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return ServersPage

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        row: Any = super().get_object(request, object_id, from_field)
        if row is not None:
            row.usage = usage_of([row.pk]).get(row.pk)
        return row

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        term = search_term.strip()
        wanted = Q(name__istartswith=term)
        if (guild_id := snowflake(term)) is not None:
            wanted |= Q(pk=guild_id)
        return queryset.filter(wanted), False

    @admin.display(description=_("people here"))
    def people(self, row: Any) -> str:
        return rows_link(UserGuildMembership, intcomma(row.usage.people), guild_id=row.pk) if row.usage else "0"

    @admin.display(description=_("of them may manage"))
    def managers(self, row: Any) -> str:
        if not row.usage:
            return "0"
        return rows_link(UserGuildMembership, intcomma(row.usage.managers), guild_id=row.pk, manages="yes")
