"""The admin of memberships, of the bot's servers, and of their roles and channels."""

from collections.abc import Iterable
from typing import Any

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.contrib.humanize.templatetags.humanize import intcomma
from django.db.models import F, OuterRef, Q, QuerySet, Subquery
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.translation import gettext_lazy as _

from accounts import snowflakes
from accounts.admin.kit import (
    SERVERS,
    BoundedPage,
    NamedAdmin,
    PersonRowsAdmin,
    ReadOnlyAdmin,
    SetFilter,
    TermSearchMixin,
    Words,
    change_link,
    moment,
    rows_link,
    state_in_words,
)
from accounts.discord import Permissions
from accounts.names import first_visible
from accounts.people_search import find_people
from guilds.admin.records import FreshnessFilter, RecordAdmin
from guilds.listing.bot import missing_permissions, needed_permissions
from guilds.listing.discord_names import in_words
from guilds.models import MAY_MANAGE, BotGuild, GuildDirectory, GuildListVerification, UserGuildMembership
from guilds.resources.directory import channels_of, roles_of
from guilds.resources.server_usage import usage_of


class MembershipFreshnessFilter(FreshnessFilter):
    record = GuildListVerification
    path = "user__guild_list_verification__"


class ManagesFilter(admin.SimpleListFilter):
    title, parameter_name = _("can manage"), "manages"

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
class UserGuildMembershipAdmin(NamedAdmin, PersonRowsAdmin):
    section = SERVERS
    related_link = _("servers")
    list_display = ("shown_name", "who", "manages", "owner", "related_links", "server_id", "verified_at")
    list_filter = (MembershipFreshnessFilter, "owner", ManagesFilter)
    list_select_related = ("user__guild_list_verification",)
    ordering = ("-id",)
    search_help_text = _("Start of a server's or person's name, or the Discord ID of either")
    fields = (
        *("user", "shown_name", "server_id", "owner", "manages", "permissions", "features", "icon", "banner"),
        *("verified_at", "first_seen_at", "changed_at", "related_links"),
    )
    readonly_fields = ("shown_name", "server_id", "manages", "verified_at", "related_links")

    def matching(self, term: str) -> Q:
        wanted = Q(user_id__in=find_people(term)) | Q(name__istartswith=term)
        if (guild_id := snowflakes.parse(term)) is not None:
            wanted |= Q(guild_id=guild_id)
        return wanted

    @admin.display(description=_("server"), ordering="guild_id")
    def server_id(self, row: UserGuildMembership) -> str:
        """Link to all of the site's people in the server."""
        return rows_link(UserGuildMembership, str(row.guild_id), guild_id=row.guild_id)

    @admin.display(description=_("can manage"), boolean=True)
    def manages(self, row: UserGuildMembership) -> bool:
        return row.can_manage

    @admin.display(description=_("verified"), ordering="user__guild_list_verification__verified_at")
    def verified_at(self, row: UserGuildMembership) -> str:
        return moment(row.last_verified_at)


class ServersPage(BoundedPage):
    """Counts the people of all servers on the page with one query, and of no other servers."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        usage = usage_of(row.pk for row in self.result_list)
        for row in self.result_list:
            row.usage = usage.get(row.pk)


class GoneFilter(SetFilter):
    title, parameter_name = _("bot"), "deleted_at"
    words = (_("present"), _("removed"))


class LacksFilter(admin.SimpleListFilter):
    """The servers where the bot lacks a permission that the apps need."""

    title, parameter_name = _("permissions"), "lacks"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("yes", _("lacks permissions"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() != "yes":
            return queryset
        needs = int(needed_permissions())
        everything = F("permissions").bitand(int(Permissions.ADMINISTRATOR))
        lacking: QuerySet[Any] = queryset.annotate(held=F("permissions").bitand(needs), everything=everything)
        return lacking.filter(owner=False, everything=0, deleted_at=None).exclude(held=needs)


@admin.register(BotGuild)
class BotGuildAdmin(NamedAdmin, TermSearchMixin, ReadOnlyAdmin):
    section = SERVERS
    list_display = ("shown_name", "state", "people", "managers", "deleted_at", "verified_at", "id", "first_seen_at")
    list_filter = (GoneFilter, LacksFilter)
    search_fields = ("name",)
    search_help_text = _("Start of a server's name, or its ID")
    ordering = ("-id",)
    fields = readonly_fields = (
        *("id", "shown_name", "icon", "owner", "permissions", "lacks", "features"),
        *("first_seen_at", "verified_at", "deleted_at", "people", "managers"),
    )

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return ServersPage

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        row: Any = super().get_object(request, object_id, from_field)
        if row is not None:
            row.usage = usage_of([row.pk]).get(row.pk)
        return row

    def matching(self, term: str) -> Q:
        wanted = Q(name__istartswith=term)
        if (guild_id := snowflakes.parse(term)) is not None:
            wanted |= Q(pk=guild_id)
        return wanted

    @admin.display(description=_("lacks permissions"))
    def lacks(self, row: Any) -> str:
        return in_words(missing_permissions(row.permissions, row.owner)) or "-"

    @admin.display(description=_("bot"), ordering="deleted_at")
    def state(self, row: BotGuild) -> str:
        present, removed = GoneFilter.words
        return state_in_words("good", present) if row.deleted_at is None else state_in_words("none", removed)

    @admin.display(description=_("people"))
    def people(self, row: Any) -> str:
        return rows_link(UserGuildMembership, intcomma(row.usage.people), guild_id=row.pk) if row.usage else "0"

    @admin.display(description=_("managers"))
    def managers(self, row: Any) -> str:
        if not row.usage:
            return "0"
        return rows_link(UserGuildMembership, intcomma(row.usage.managers), guild_id=row.pk, manages="yes")


@admin.register(GuildDirectory)
class GuildDirectoryAdmin(RecordAdmin, TermSearchMixin, ReadOnlyAdmin):
    """The roles and channels of the servers whose names a page has needed."""

    section = SERVERS
    list_display = ("server", "role_count", "channel_count", "state", "why", "next_attempt", "age")
    search_fields = ("guild_id",)
    search_help_text = _("Start of a server's name, or its ID")
    ordering = ("-guild_id",)
    fieldsets = (
        (None, {"fields": ("server", "guild_id", "state", "age", "verified_at", "refresh_after", "last_read_at")}),
        (_("Stored answer"), {"fields": ("role_names", "channel_names", "bot_id", "bot_roles")}),
        (_("Last attempt"), {"fields": ("why", "failure_streak", "next_attempt", "not_before", "lease_until")}),
        (_("Versions"), {"fields": ("generation", "changed_at")}),
    )
    readonly_fields = (*RecordAdmin.readonly_fields, "server", "role_names", "channel_names")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        names = BotGuild.objects.filter(pk=OuterRef("pk")).values("name")
        rows: QuerySet[Any] = super().get_queryset(request).annotate(bot_name=Subquery(names))
        return rows

    def matching(self, term: str) -> Q:
        wanted = Q(pk__in=BotGuild.objects.filter(name__istartswith=term).values("pk"))
        if (guild_id := snowflakes.parse(term)) is not None:
            wanted |= Q(pk=guild_id)
        return wanted

    @admin.display(description=_("server"), ordering="guild_id")
    def server(self, row: Any) -> str:
        """The server's name, linked to the bot's entry. The bot may never have been there."""
        if row.bot_name is None:
            return str(row.pk)
        return change_link(BotGuild, row.pk, format_html("<bdi>{}</bdi>", first_visible(row.bot_name, str(row.pk))))

    @admin.display(description=_("roles"))
    def role_count(self, row: GuildDirectory) -> int:
        return len(row.roles)

    @admin.display(description=_("channels"))
    def channel_count(self, row: GuildDirectory) -> int:
        return len(row.channels)

    @admin.display(description=_("roles"))
    def role_names(self, row: GuildDirectory) -> str:
        return _names((role.name, role.id) for role in roles_of(row))

    @admin.display(description=_("channels"))
    def channel_names(self, row: GuildDirectory) -> str:
        return _names((channel.name, channel.id) for channel in channels_of(row))


def _names(entries: Iterable[tuple[str, int]]) -> str:
    """Names with their ids, as a list."""
    rows = ((first_visible(name, "–"), pk) for name, pk in entries)
    return format_html("<ul>{}</ul>", format_html_join("", "<li><bdi>{}</bdi> ({})</li>", rows))
