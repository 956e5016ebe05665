"""People and their Discord accounts in the admin: read-only where rows are the engine's, and never a token."""

import math
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from django.contrib import admin, messages
from django.contrib.admin.views.main import ChangeList
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.core.paginator import Paginator
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import formats
from django.utils.functional import Promise, cached_property
from django.utils.html import format_html, format_html_join
from django.utils.http import urlencode
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from social_django.models import Association, Nonce, UserSocialAuth

from accounts import brake, gate
from accounts.clock import Now, database_now
from accounts.fields import Sealed
from accounts.limits import Gate
from accounts.models import DiscordAccount, DiscordGate, DiscordRefusal, PersonalAccessToken, User
from accounts.people import find_people
from accounts.templatetags.durations import span

# social-auth's own pages: the first shows tokens, and none of them answers an operator's question.
for model in (UserSocialAuth, Nonce, Association):
    admin.site.unregister(model)

admin.site.site_header = admin.site.site_title = "Guildhall"
admin.site.empty_value_display = "–"
# A quarter of a desk's width, which the rows need; "Home" is as near.
admin.site.enable_nav_sidebar = False


if TYPE_CHECKING:
    from django.utils.functional import _StrPromise

    # What is translated when it is shown, as the type checker knows it.
    Words: TypeAlias = _StrPromise
    # Generic for the type checker only.
    AnyModelAdmin = admin.ModelAdmin[Any]
    AnyPaginator = Paginator[Any]
    AnyUserAdmin = DjangoUserAdmin[User]
else:
    Words = Promise
    AnyModelAdmin = admin.ModelAdmin
    AnyPaginator = Paginator
    AnyUserAdmin = DjangoUserAdmin


class BoundedPaginator(AnyPaginator):
    """Counts up to a bound: over millions of rows a count takes longer than the page. Who looks further searches."""

    MOST = 10_000

    @cached_property
    def _found(self) -> int:
        rows: QuerySet[Any] = self.object_list  # type: ignore[assignment]  # the admin gives it nothing else
        return rows.order_by()[: self.MOST + 1].count()

    @cached_property
    def count(self) -> int:
        return min(self._found, self.MOST)

    @property
    def has_more(self) -> bool:
        """Whether there are rows that none of the pages show."""
        return self._found > self.MOST


class BoundedPage(ChangeList):
    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        if self.paginator.has_more:
            # The search box then leaves out its "10000 results"; the end of the list says what is true.
            self.full_result_count = self.result_count


class OperatorAdmin(AnyModelAdmin):
    """Rows whose list counts no whole table, and whose own pages offer the list's actions too."""

    paginator = BoundedPaginator
    show_full_result_count = False
    # A count over the whole table for each choice of each filter.
    show_facets = admin.ShowFacets.NEVER

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return BoundedPage

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        actions = self.get_actions(request)
        actions.pop("delete_selected", None)  # has a button of Django's
        context = {
            "row_actions": [action[1:] for action in actions.values() if action],
            "list_of_this_row": list_url(self.model, pk=object_id),
        }
        return super().change_view(request, object_id, form_url, {**context, **(extra_context or {})})


class ReadOnlyAdmin(OperatorAdmin):
    """Rows that only the site's own code writes: looked at, not edited, and deleted through what owns them."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


def list_url(model: type[Model], **query: str | int) -> str:
    """Where the rows of `model` that `query` finds are listed."""
    return f"{reverse(f'admin:{model._meta.app_label}_{model._meta.model_name}_changelist')}?{urlencode(query)}"


def change_link(model: type[Model], pk: object, words: str | Words) -> str:
    url = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_change", args=[pk])
    return format_html('<a href="{}">{}</a>', url, words)


def rows_link(model: type[Model], words: str | Words, **query: str | int) -> str:
    return format_html('<a href="{}">{}</a>', list_url(model, **query), words)


def moment(value: datetime | None) -> str:
    """As Django writes the moments of a model's own fields; what a method returns it writes so in lists only."""
    return formats.localize(value) if value else admin.site.empty_value_display


# Where else a person is shown: a function of their id for each, in order. Applications add their own.
ELSEWHERE: "dict[type[Model], Callable[[int], str]]" = {}


class FoundByPerson(AnyModelAdmin):
    """Rows with a person: found by their name or id at Discord, and with the way to whatever else is theirs."""

    person = "user_id"
    # There to show the box; what it finds is decided below.
    search_fields: ClassVar[tuple[str, ...]] = ("user",)
    search_help_text = _("The beginning of a name, or an id at Discord")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        term = search_term.strip()
        return (queryset.filter(**{f"{self.person}__in": find_people(term)}) if term else queryset), False

    @admin.display(description=_("see also"))
    def elsewhere(self, row: Any) -> str:
        user_id = getattr(row, self.person)
        links = (link(user_id) for model, link in ELSEWHERE.items() if model is not self.model)
        # On one line: the table would rather make each row five lines high.
        return format_html('<span class="nowrap">{}</span>', format_html_join(" · ", "{}", ((each,) for each in links)))


class AboutPeople(FoundByPerson, ReadOnlyAdmin):
    list_select_related: ClassVar[tuple[str, ...]] = ("user",)


def ask_back(
    model_admin: AnyModelAdmin,
    request: HttpRequest,
    queryset: QuerySet[Any],
    *,
    title: str,
    lines: Sequence[str],
    words: str,
    action: str,
    button: str,
) -> HttpResponse:
    """The page between choosing an action and its being done; it comes back with `confirmed`."""
    context = {
        **model_admin.admin_site.each_context(request),
        "title": title,
        "opts": model_admin.opts,
        "lines": lines,
        "words": words,
        "action": action,
        "button": button,
        "chosen": [row.pk for row in queryset],
    }
    return TemplateResponse(request, "admin/ask_back.html", context)


@admin.register(User)
class UserAdmin(FoundByPerson, OperatorAdmin, AnyUserAdmin):
    person = "pk"
    list_display: tuple[str, ...] = (*("shown_name", "elsewhere", "discord_id", "last_login", "is_active", "is_staff"),)
    search_fields = ("username",)
    list_filter = ("is_staff", "is_superuser", "is_active")
    ordering = ("-id",)
    readonly_fields = (
        *("discord_id", "discord_username", "global_name", "avatar", "last_login", "date_joined", "elsewhere"),
    )
    fieldsets = (
        (None, {"fields": ("username", "password", "elsewhere")}),
        ("Discord", {"fields": ("discord_id", "discord_username", "global_name", "avatar")}),
        (_("Permissions"), {"fields": ("is_active", "is_staff", "is_superuser", "groups", "user_permissions")}),
        (_("Dates"), {"fields": ("last_login", "date_joined")}),
    )

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whoever goes is forgotten as a whole, in the order of locks that the engine depends on, not row by row."""
        return False

    @admin.display(description=_("name"))
    def shown_name(self, user: User) -> str:
        return user.display_name


class SetFilter(admin.SimpleListFilter):
    """By whether a moment is set, in words of its own."""

    words: tuple[Words, Words]

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Words]]:
        return list(zip(("no", "yes"), self.words, strict=True))

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() in ("no", "yes"):
            return queryset.filter(**{f"{self.parameter_name}__isnull": self.value() == "no"})
        return queryset


class DisconnectedFilter(SetFilter):
    title, parameter_name = _("state"), "disconnected_at"
    words = (_("connected"), _("disconnected"))


@admin.register(DiscordAccount)
class DiscordAccountAdmin(AboutPeople):
    list_display = ("user", "state", "elsewhere", "token_expires_at", "scopes", "uid", "created")
    list_filter = (DisconnectedFilter,)
    fields = readonly_fields = (
        *("user", "uid", "state", "disconnected_at", "token_expires_at", "scopes", "token_version"),
        *("renewal_until", "created", "modified", "elsewhere"),
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
class PersonalAccessTokenAdmin(AboutPeople):
    """People's keys to the API. An operator may take one away; the key itself nobody can show."""

    list_display = ("user", "name", "state", "elsewhere", "last_used_at", "expires_at", "scope_names", "created_at")
    fields = readonly_fields = (
        *("user", "name", "scope_names", "state", "created_at", "expires_at", "last_used_at", "elsewhere"),
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
        return in_words(row.until - row.now) if row.streak and row.until and row.until > row.now else "–"

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
            return ask_back(
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


def in_words(wait: timedelta) -> str:
    return span(math.ceil(wait.total_seconds()))


ELSEWHERE[User] = lambda user_id: change_link(User, user_id, _("person"))
ELSEWHERE[DiscordAccount] = lambda user_id: rows_link(DiscordAccount, _("account"), user_id=user_id)
ELSEWHERE[PersonalAccessToken] = lambda user_id: rows_link(PersonalAccessToken, _("tokens"), user_id=user_id)
