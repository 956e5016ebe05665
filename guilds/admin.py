"""What an operator sees: rows, never a call to Discord by looking, and never a token."""

from datetime import datetime, timedelta
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin import SimpleListFilter
from django.db.models import F, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.timesince import timesince

from accounts.admin import ReadOnlyAdmin, in_words
from accounts.clock import Now, database_now
from accounts.discord import DiscordAPIError
from accounts.tokens import ReconnectRequired
from guilds import services
from guilds.freshness import Reason, Tier, tier
from guilds.models import Guild, GuildListVerification, RefreshLease, UserGuildMembership
from guilds.problems import problem_of
from guilds.refresh import windows

# More at once would spend the operator's patience and the send budget; the rest is done by selecting again.
MOST_AT_ONCE = 20


class FreshnessFilter(SimpleListFilter):
    """By the tier of the list, in the database's time."""

    title = "freshness"
    parameter_name = "freshness"
    path = ""

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("fresh", "fresh"), ("stale", "stale"), ("expired", "expired"), ("none", "never verified")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        now, bounds = database_now(), windows()
        moment = f"{self.path}verified_at"
        match self.value():
            case "fresh":
                return queryset.filter(**{f"{moment}__gt": now - bounds.fresh})
            case "stale":
                return queryset.filter(**{f"{moment}__lte": now - bounds.fresh, f"{moment}__gt": now - bounds.stale})
            case "expired":
                return queryset.filter(**{f"{moment}__lte": now - bounds.stale})
            case "none":
                return queryset.filter(**{f"{moment}__isnull": True})
        return queryset


class MembershipFreshnessFilter(FreshnessFilter):
    path = "user__guild_list_verification__"


def search_people(queryset: QuerySet[Any], term: str, guild_ids: Any = None) -> QuerySet[Any]:
    """Rows whose person has `term` in a name or as an id at Discord, or, given how, in that guild."""
    wanted = (
        Q(user__discord_username__icontains=term)
        | Q(user__global_name__icontains=term)
        | Q(user__username__icontains=term)
    )
    if term.isdecimal() and int(term) < 2**63:
        wanted |= Q(user__discord_id=int(term))
        if guild_ids:
            wanted |= guild_ids(int(term))
    return queryset.filter(wanted)


@admin.register(GuildListVerification)
class GuildListVerificationAdmin(ReadOnlyAdmin):
    list_display = ("user", "state", "age", "reason", "next_attempt", "failure_streak", "generation", "list_version")
    list_filter = (FreshnessFilter, "reason")
    list_select_related = ("user",)
    search_fields = ("user__discord_username",)
    search_help_text = "A name or an id at Discord"
    ordering = (F("verified_at").desc(nulls_last=True),)
    actions = ("verify_again",)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        return (search_people(queryset, search_term.strip()) if search_term.strip() else queryset), False

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows: QuerySet[Any] = super().get_queryset(request).select_related("user").annotate(now=Now())
        return rows

    @admin.display(ordering="verified_at")
    def state(self, row: Any) -> str:
        if row.reason and Reason(row.reason).is_refusal:
            return "refused"
        kind = tier(row, row.now, windows())
        return "never verified" if kind is Tier.NONE else str(kind)

    @admin.display(ordering="verified_at")
    def age(self, row: Any) -> str:
        return timesince(row.verified_at, row.now) if row.verified_at else "–"

    @admin.display(ordering="not_before")
    def next_attempt(self, row: Any) -> datetime | str:
        return row.not_before if row.not_before and row.not_before > row.now else "when read"

    def has_verify_permission(self, request: HttpRequest) -> bool:
        """Asking Discord is more than looking."""
        return bool(request.user.has_perm("guilds.change_guildlistverification"))

    @admin.action(description="Verify again with Discord", permissions=["verify"])
    def verify_again(self, request: HttpRequest, queryset: QuerySet[GuildListVerification]) -> None:
        rows = list(queryset.select_related("user")[: MOST_AT_ONCE + 1])
        if len(rows) > MOST_AT_ONCE:
            messages.error(request, f"Select at most {MOST_AT_ONCE} people at once.")
            return
        for row in rows:
            try:
                services.verify_again(row.user)
            except (DiscordAPIError, ReconnectRequired) as error:
                problem = problem_of(error)
                wait = f" Try again in {problem.retry_after} s." if problem and problem.retry_after else ""
                messages.warning(request, f"{row.user}: {problem.detail if problem else error}{wait}")
            else:
                messages.success(request, f"{row.user}: verified.")


@admin.register(RefreshLease)
class RefreshLeaseAdmin(ReadOnlyAdmin):
    """Who is being asked for right now, and whose attempt was never ended."""

    list_display = ("user", "generation", "since", "ends_in", "overdue")
    list_select_related = ("user",)
    fields = readonly_fields = ("user", "generation", "since", "lease_until", "ends_in", "overdue", "reason")
    search_fields = ("user__discord_username",)
    search_help_text = "A name or an id at Discord"
    ordering = ("lease_until",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        claimed: QuerySet[Any] = super().get_queryset(request).filter(lease_until__isnull=False)
        rows: QuerySet[Any] = claimed.select_related("user").annotate(now=Now())
        return rows

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        return (search_people(queryset, search_term.strip()) if search_term.strip() else queryset), False

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        words = "Overdue: its process died or hangs; the next read of that person takes over."
        return super().changelist_view(request, {"subtitle": words, **(extra_context or {})})

    @admin.display(ordering="lease_until")
    def since(self, row: Any) -> datetime:
        moment: datetime = row.lease_until - windows().lease
        return moment

    @admin.display(ordering="lease_until")
    def ends_in(self, row: Any) -> str:
        left = row.lease_until - row.now
        return in_words(left) if left > timedelta(0) else f"{in_words(-left)} ago"

    @admin.display(boolean=True)
    def overdue(self, row: Any) -> bool:
        return bool(row.lease_until <= row.now)


@admin.register(UserGuildMembership)
class UserGuildMembershipAdmin(ReadOnlyAdmin):
    list_display = ("name", "guild_id", "user", "owner", "manages", "verified_at", "first_seen_at", "changed_at")
    list_filter = (MembershipFreshnessFilter, "owner")
    list_select_related = ("user__guild_list_verification",)
    search_fields = ("name",)
    search_help_text = "A server's name or id, or a person's name or id at Discord"
    ordering = ("-id",)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        term = search_term.strip()
        if not term:
            return queryset, False
        people = search_people(queryset, term, lambda guild_id: Q(guild_id=guild_id))
        return people | queryset.filter(name__icontains=term), False

    @admin.display(boolean=True)
    def manages(self, row: UserGuildMembership) -> bool:
        return row.can_manage

    @admin.display(ordering="user__guild_list_verification__verified_at")
    def verified_at(self, row: UserGuildMembership) -> datetime | None:
        return row.last_verified_at


@admin.register(Guild)
class GuildAdmin(ReadOnlyAdmin):
    list_display = ("name", "id", "first_seen_at", "verified_at", "deleted_at")
    list_filter = (("deleted_at", admin.EmptyFieldListFilter),)
    search_fields = ("name",)
    search_help_text = "A server's name or id"
    ordering = ("-id",)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        term = search_term.strip()
        wanted = Q(name__icontains=term)
        if term.isdecimal() and int(term) < 2**63:
            wanted |= Q(pk=int(term))
        return queryset.filter(wanted), False
