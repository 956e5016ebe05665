"""The gate and Discord's refusals in the admin."""

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils import formats
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts import brake, gate
from accounts.admin.kit import ReadOnlyAdmin, Words, confirm_page, wait_in_words
from accounts.clock import Now, database_now
from accounts.limits import Gate
from accounts.models import DiscordGate, DiscordRefusal

# What shuts the gate.
LIMITS: dict[str, Words] = {"global_limit": _("global limit"), "cloudflare": _("Cloudflare")}


@admin.register(DiscordGate)
class DiscordGateAdmin(ReadOnlyAdmin):
    """The one row, in words and in the database's time; "open the gate" is the only thing to do about it."""

    list_display = ("state", "remaining", "until", "streak", "send_clock")
    fields = readonly_fields = ("state", "remaining", "until", "streak", "send_clock", "version")
    actions = ("open_gate",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[DiscordGate]:
        gate.read()  # makes the row on a site that hasn't asked Discord yet
        rows: QuerySet[DiscordGate] = super().get_queryset(request).annotate(now=Now())
        return rows

    @admin.display(description=_("state"), ordering="streak")
    def state(self, row: Any) -> str:
        if not row.streak:
            return gettext("open")
        reason = {"reason": LIMITS.get(row.reason, row.reason)}
        if row.until and row.until > row.now:
            return gettext("shut (%(reason)s)") % reason
        return gettext("waiting for the probe (%(reason)s)") % reason

    @admin.display(description=_("opens in"), ordering="until")
    def remaining(self, row: Any) -> str:
        return wait_in_words(row.until - row.now) if row.streak and row.until and row.until > row.now else "–"

    @admin.display(description=_("send clock"), ordering="tat")
    def send_clock(self, row: Any) -> str:
        ahead = Gate(tat=row.tat).ahead(row.now)
        if not ahead:
            return gettext("free")
        return gettext("%(seconds)s s ahead") % {"seconds": formats.number_format(ahead.total_seconds(), 1)}

    def has_open_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("accounts.change_discordgate"))

    @admin.action(description=_("Open the gate"), permissions=["open"])
    def open_gate(self, request: HttpRequest, queryset: QuerySet[DiscordGate]) -> HttpResponse | None:
        if "confirmed" not in request.POST:
            line = gettext("%(state)s; it opens by itself in: %(wait)s")
            return confirm_page(
                self,
                request,
                queryset,
                title=gettext("Open the gate?"),
                lines=[line % {"state": self.state(row), "wait": self.remaining(row)} for row in queryset],
                words=gettext(
                    "Open it only if you know that Discord's limit is over. Requests then go out again, within the "
                    "send budget. If Discord still limits the site, its next answer shuts the gate again."
                ),
                action="open_gate",
                button=gettext("Open the gate"),
            )
        found = gate.open_gate(by=f"user {request.user.pk}")
        if found is None:
            messages.info(request, gettext("The gate isn't shut; there is nothing to open."))
        else:
            self.log_change(
                request, queryset.get(), f"Opened by hand; it was shut ({found.reason}) until {found.until}."
            )
            messages.success(request, gettext("The gate is open. The send budget still holds."))
        return None


@admin.register(DiscordRefusal)
class DiscordRefusalAdmin(ReadOnlyAdmin):
    list_display = ("at", "status", "reason")
    list_filter = ("status",)
    date_hierarchy = None
    ordering = ("-at",)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        now = database_now()
        words = brake.in_words(brake.read(now), now)
        return super().changelist_view(request, {"note": words, **(extra_context or {})})
