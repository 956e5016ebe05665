"""Helpers for the admin: bounded lists, read-only rows, rows about a person, columns and links."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from django.contrib import admin
from django.contrib.admin.models import ADDITION, CHANGE, DELETION, LogEntry
from django.contrib.admin.views.main import ChangeList
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.forms import UserChangeForm
from django.core.paginator import Paginator
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import formats
from django.utils.functional import Promise, cached_property
from django.utils.html import format_html, format_html_join
from django.utils.http import urlencode
from django.utils.translation import gettext_lazy as _

from accounts import audit
from accounts.models import User
from accounts.names import isolated
from accounts.people_search import find_people
from accounts.rights import operator_of
from accounts.templatetags.durations import span

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise

    # The type of a lazily translated string, for the type checker.
    Words: TypeAlias = _StrPromise
    # Generic for the type checker only.
    AnyModelAdmin = admin.ModelAdmin[Any]
    AnyPaginator = Paginator[Any]
    AnyUserAdmin = DjangoUserAdmin[User]
    AnyUserForm = UserChangeForm[User]
else:
    Words = Promise
    AnyModelAdmin = admin.ModelAdmin
    AnyPaginator = Paginator
    AnyUserAdmin = DjangoUserAdmin
    AnyUserForm = UserChangeForm


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the front page's index: the lists that answer one question."""

    name: Words
    question: Words


PEOPLE = Section(_("People"), _("Who is here, and why don't they see a server?"))
SERVERS = Section(_("Servers"), _("Who is in which server, and where is the bot?"))
DISCORD = Section(_("Discord"), _("Does Discord respond, and does it limit us?"))
ACCESS = Section(_("Access"), _("What may operators and programs do?"))
SECTIONS = (PEOPLE, SERVERS, DISCORD, ACCESS)


class BoundedPaginator(AnyPaginator):
    """Stops counting at `MAX_COUNT`: counting millions of rows takes longer than the page. Operators search instead."""

    MAX_COUNT = 10_000

    @cached_property
    def _found(self) -> int:
        rows: QuerySet[Any] = self.object_list  # type: ignore[assignment]  # the admin gives it nothing else
        return rows.order_by()[: self.MAX_COUNT + 1].count()

    @cached_property
    def count(self) -> int:
        return min(self._found, self.MAX_COUNT)

    @property
    def has_more(self) -> bool:
        """Whether there are more rows than the pages show."""
        return self._found > self.MAX_COUNT


class BoundedPage(ChangeList):
    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        if self.paginator.has_more:
            # This hides the search box's "10000 results"; the end of the list says that there are more.
            self.full_result_count = self.result_count


class OperatorAdmin(AnyModelAdmin):
    """An admin whose list never counts a whole table, and whose change pages offer the list's actions."""

    # Where the front page lists these rows; without it, under their app.
    section: ClassVar[Section | None] = None
    paginator = BoundedPaginator
    show_full_result_count = False
    # Facets would count the whole table for each choice of each filter.
    show_facets = admin.ShowFacets.NEVER
    # Actions that can't be undone; their buttons stand apart in red.
    dangerous_actions: ClassVar[tuple[str, ...]] = ()

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return BoundedPage

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        actions = self.get_actions(request)
        actions.pop("delete_selected", None)  # Django's page has its own button
        context = {
            "row_actions": [
                (name, words, name in self.dangerous_actions) for _func, name, words in filter(None, actions.values())
            ],
            "list_of_this_row": list_url(self.model, pk=object_id),
        }
        return super().change_view(request, object_id, form_url, {**context, **(extra_context or {})})


class ReadOnlyAdmin(OperatorAdmin):
    """Rows that only the site's code writes. They can be viewed, and are deleted together with their owners."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


def list_url(model: type[Model], **query: str | int) -> str:
    """Return the URL of the list of `model`, filtered by `query`."""
    return f"{reverse(f'admin:{model._meta.app_label}_{model._meta.model_name}_changelist')}?{urlencode(query)}"


def change_link(model: type[Model], pk: object, words: str | Words) -> str:
    url = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_change", args=[pk])
    return format_html('<a href="{}">{}</a>', url, words)


def rows_link(model: type[Model], words: str | Words, **query: str | int) -> str:
    return format_html('<a href="{}">{}</a>', list_url(model, **query), words)


def moment(value: datetime | None) -> str:
    """Format a time as Django formats a model's fields; outside of lists it doesn't do so for a method's result."""
    return formats.localize(value) if value else admin.site.empty_value_display


def state_in_words(kind: str, words: str | Words) -> str:
    """Format a state. `kind` is its colour: good, fair, poor, bad or none, with the same meanings as in the charts."""
    return format_html('<span class="state {}">{}</span>', kind, words)


def wait_in_words(wait: timedelta) -> str:
    return span(math.ceil(wait.total_seconds()))


def handle(user: User) -> str:
    """Return what identifies a person, as display names repeat: username and id on Discord, or the local username."""
    if user.discord_id:
        return f"@{isolated(user.discord_username)} · {user.discord_id}"
    return isolated(user.username)


def person_in_words(user: User) -> str:
    return format_html('<bdi>{}</bdi> <span class="handle">{}</span>', user.display_name, handle(user))


class NamedAdmin(AnyModelAdmin):
    """Rows with a user-chosen name, which have a `display_name`."""

    @admin.display(description=_("name"), ordering="name")
    def shown_name(self, row: Any) -> str:
        return format_html("<bdi>{}</bdi>", row.display_name)


class TermSearchMixin(AnyModelAdmin):
    """Rows that a search selects by `matching`, for the whole term instead of for each of its words."""

    def matching(self, term: str) -> Q:
        raise NotImplementedError

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        term = search_term.strip()
        return (queryset.filter(self.matching(term)) if term else queryset), False


class PersonSearchMixin(TermSearchMixin):
    """Rows about a person: searchable by name or Discord id, with links to the person's other rows.

    Actions on them are logged by number (see `accounts.audit`).
    """

    person = "user_id"
    # The text of other lists' links to a person's rows here; without it there is no link.
    related_link: ClassVar[Words | None] = None
    # Django shows the search box only if this is set; `matching` does the search.
    search_fields: ClassVar[tuple[str, ...]] = ("user",)
    search_help_text = _("Start of a name, or a Discord ID")

    def matching(self, term: str) -> Q:
        return Q(**{f"{self.person}__in": find_people(term)})

    def log_addition(self, request: HttpRequest, obj: Model, message: Any) -> LogEntry:
        return audit.record(operator_of(request), [obj], ADDITION, message)[0]

    def log_change(self, request: HttpRequest, obj: Model, message: Any) -> LogEntry:
        return audit.record(operator_of(request), [obj], CHANGE, message)[0]

    def log_deletions(self, request: HttpRequest, queryset: Iterable[Model]) -> list[LogEntry]:
        return audit.record(operator_of(request), queryset, DELETION)

    @admin.display(description=_("see also"))
    def related_links(self, row: Any) -> str:
        """Link to the person's page and to each other registered list of rows about them."""
        user_id = getattr(row, self.person)
        links = [] if self.model is User else [change_link(User, user_id, _("person"))]
        for model, model_admin in self.admin_site._registry.items():
            words = getattr(model_admin, "related_link", None)
            if words and model is not self.model:
                links.append(rows_link(model, words, user_id=user_id))
        return format_html_join(" · ", "{}", ((each,) for each in links))


class PersonRowsAdmin(PersonSearchMixin, ReadOnlyAdmin):
    list_select_related: ClassVar[tuple[str, ...]] = ("user",)

    @admin.display(description=_("person"), ordering="user_id")
    def who(self, row: Any) -> str:
        return person_in_words(row.user)


class SetFilter(admin.SimpleListFilter):
    """Filters by whether a time is set. `words` are the labels for unset and set."""

    words: tuple[Words, Words]

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Words]]:
        return list(zip(("no", "yes"), self.words, strict=True))

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() in ("no", "yes"):
            return queryset.filter(**{f"{self.parameter_name}__isnull": self.value() == "no"})
        return queryset


def confirm_page(
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
    """Render the confirmation page of an action. Its button submits the action again, with `confirmed`."""
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
    return TemplateResponse(request, "admin/confirm.html", context)
