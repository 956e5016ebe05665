"""The gate, the allowances and Discord's refusals in the admin."""

from datetime import datetime
from typing import Any

from django.contrib import admin, messages
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils import formats
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts import allowance, brake, gate, snowflakes
from accounts.admin.kit import (
    DISCORD,
    ReadOnlyAdmin,
    TermSearchMixin,
    Words,
    change_link,
    confirm_page,
    moment,
    state_in_words,
    wait_in_words,
)
from accounts.clock import Now, database_now
from accounts.limits import Allowance, Gate, Priority
from accounts.models import DiscordAllowance, DiscordGate, DiscordRefusal, User
from accounts.people_search import find_people

# What shuts the gate.
LIMITS: dict[str, Words] = {"global_limit": _("global limit"), "cloudflare": _("Cloudflare")}

# What an allowance is for.
ALLOWANCES: dict[str, Words] = {
    allowance.MEMBER: _("a person's roles, asked with their own access"),
    allowance.BOT_MEMBER: _("members of a server, asked by the bot"),
    allowance.BOT_DIRECTORY: _("roles and channels of a server, asked by the bot"),
}


def gate_in_words(state: Gate, now: datetime) -> str:
    """Describe whether the gate is open; if not, why, and what happens when."""
    if not state.streak:
        return gettext("The gate is open.")
    reason = LIMITS.get(state.reason, state.reason)
    if until := state.shut_until(now):
        return gettext(
            "The gate is shut for another %(wait)s, until %(until)s (%(reason)s): no requests are sent to Discord."
        ) % {"wait": wait_in_words(until - now), "until": moment(until), "reason": reason}
    return gettext("The gate waits for its probe (%(reason)s): the next request tests whether the limit has ended.") % {
        "reason": reason
    }


def brake_in_words(status: brake.BrakeStatus, now: datetime) -> str:
    """Describe whether the brake is on; if so, until when."""
    words = brake.state_in_words(status, now)
    return f"{words} " + gettext("Until %(until)s.") % {"until": moment(status.until)} if status.until else words


def blockades(now: datetime, state: Gate) -> list[str]:
    """Describe what stops requests to Discord now: the gate, the brake, both or neither."""
    found = [gate_in_words(state, now)] if state.shut_until(now) else []
    # The count of refusals is needed only for its words.
    if gate.braked_until(Priority.DUE, now):
        found.append(brake_in_words(brake.read(now), now))
    return found


def _shut_until(row: Any) -> datetime | None:
    return Gate(row.until, row.reason, row.streak).shut_until(row.now)


@admin.register(DiscordGate)
class DiscordGateAdmin(ReadOnlyAdmin):
    """The gate's single row, described in words by the database's time. The only action is to open the gate."""

    section = DISCORD
    list_display = ("state", "remaining", "until", "streak", "send_clock")
    fields = readonly_fields = ("state", "remaining", "until", "streak", "send_clock", "version")
    actions = dangerous_actions = ("open_gate",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[DiscordGate]:
        gate.read()  # creates the row on a site that hasn't sent a request yet
        rows: QuerySet[DiscordGate] = super().get_queryset(request).annotate(now=Now())
        return rows

    @admin.display(description=_("state"), ordering="streak")
    def state(self, row: Any) -> str:
        if not row.streak:
            return state_in_words("good", gettext("open"))
        reason = {"reason": LIMITS.get(row.reason, row.reason)}
        if _shut_until(row):
            return state_in_words("bad", gettext("shut (%(reason)s)") % reason)
        return state_in_words("fair", gettext("waiting for the probe (%(reason)s)") % reason)

    @admin.display(description=_("opens in"), ordering="until")
    def remaining(self, row: Any) -> str:
        until = _shut_until(row)
        return wait_in_words(until - row.now) if until else "–"

    @admin.display(description=_("send clock"), ordering="tat")
    def send_clock(self, row: Any) -> str:
        ahead = Gate(tat=row.tat).ahead(row.now)
        if not ahead:
            return gettext("idle")
        return gettext("%(seconds)s s ahead") % {"seconds": formats.number_format(ahead.total_seconds(), 1)}

    def has_open_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("accounts.change_discordgate"))

    @admin.action(description=_("Open the gate"), permissions=["open"])
    def open_gate(self, request: HttpRequest, queryset: QuerySet[DiscordGate]) -> HttpResponse | None:
        if "confirmed" not in request.POST:
            return confirm_page(
                self,
                request,
                queryset,
                title=gettext("Open the gate?"),
                lines=[gate_in_words(*gate.read())],
                words=gettext(
                    "Open it only if you know that Discord's limit has ended. Requests then resume within the send "
                    "budget. If Discord still limits the site, its next response shuts the gate again."
                ),
                action="open_gate",
                button=gettext("Open the gate"),
            )
        found = gate.open_gate(by=f"user {request.user.pk}")
        if found is None:
            messages.info(request, gettext("The gate is already open."))
        else:
            # In English and with its time zone: the log is read by others, elsewhere.
            until = f"{found.until:%Y-%m-%d %H:%M:%S} UTC" if found.until else "an unknown time"
            self.log_change(request, queryset.get(), f"Opened manually. It was shut ({found.reason}) until {until}.")
            messages.success(request, gettext("The gate is open. The send budget still applies."))
        return None


@admin.register(DiscordRefusal)
class DiscordRefusalAdmin(ReadOnlyAdmin):
    section = DISCORD
    list_display = ("at", "status", "reason")
    list_filter = ("status",)
    date_hierarchy = None
    ordering = ("-at",)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        now = database_now()
        words = brake.in_words(brake.read(now), now)
        return super().changelist_view(request, {"note": words, **(extra_context or {})})


@admin.register(DiscordAllowance)
class DiscordAllowanceAdmin(TermSearchMixin, ReadOnlyAdmin):
    """Limits that several requests of one person or server share, by the database's time."""

    section = DISCORD
    list_display = ("limit", "whose", "state", "sent", "window_ends_at", "until")
    fields = readonly_fields = ("limit", "whose", "state", "sent", "window_ends_at", "until", "version")
    ordering = ("-id",)
    search_fields = ("owner",)
    search_help_text = _("Start of a person's name, or the Discord ID of a person or server")

    def get_queryset(self, request: HttpRequest) -> QuerySet[DiscordAllowance]:
        rows: QuerySet[DiscordAllowance] = super().get_queryset(request).annotate(now=Now())
        return rows

    def matching(self, term: str) -> Q:
        personal = Q(kind__in=allowance.PERSONAL)
        wanted = Q(personal, owner__in=find_people(term))
        if (guild_id := snowflakes.parse(term)) is not None:
            wanted |= Q(~personal, owner=guild_id)
        return wanted

    @admin.display(description=_("limit"), ordering="kind")
    def limit(self, row: DiscordAllowance) -> str:
        return str(ALLOWANCES.get(row.kind, row.kind))

    @admin.display(description=_("person or server"), ordering="owner")
    def whose(self, row: DiscordAllowance) -> str:
        if row.kind in allowance.PERSONAL:
            return change_link(User, row.owner, _("person %(n)d") % {"n": row.owner})
        return str(row.owner)

    @admin.display(description=_("state"))
    def state(self, row: Any) -> str:
        found = Allowance(row.window_ends_at, row.sent, row.until, row.version)
        until = found.closed_until(allowance.kind_of(row.kind), row.now, Priority.COLD)
        if until is None:
            return state_in_words("good", gettext("open"))
        return state_in_words(
            "fair", gettext("used up for another %(wait)s") % {"wait": wait_in_words(until - row.now)}
        )
