"""The tool kit of the admin: bounded lists, read-only rows, rows about a person, columns and links."""

import math
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from django.contrib import admin
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
from django.utils.translation import gettext_lazy as _

from accounts.models import User
from accounts.people import find_people
from accounts.templatetags.durations import span

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise

    # The type of a lazily translated string, for the type checker.
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
        """Whether there are rows that none of the pages show."""
        return self._found > self.MAX_COUNT


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


def wait_in_words(wait: timedelta) -> str:
    return span(math.ceil(wait.total_seconds()))


class PersonSearchMixin(AnyModelAdmin):
    """Rows about a person: found by the person's name or id at Discord, with links to the person's other rows."""

    person = "user_id"
    # What the other lists call the link to a person's rows here; without it they have none.
    related_link: ClassVar[Words | None] = None
    # Django shows the search box only if this is set; `get_search_results` does the search.
    search_fields: ClassVar[tuple[str, ...]] = ("user",)
    search_help_text = _("The beginning of a name, or an id at Discord")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        term = search_term.strip()
        return (queryset.filter(**{f"{self.person}__in": find_people(term)}) if term else queryset), False

    @admin.display(description=_("see also"))
    def related_links(self, row: Any) -> str:
        """The person's own page, then each registered list of rows about them, but for this one."""
        user_id = getattr(row, self.person)
        links = [] if self.model is User else [change_link(User, user_id, _("person"))]
        for model, model_admin in self.admin_site._registry.items():
            words = getattr(model_admin, "related_link", None)
            if words and model is not self.model:
                links.append(rows_link(model, words, user_id=user_id))
        # On one line: the table would rather make each row five lines high.
        return format_html('<span class="nowrap">{}</span>', format_html_join(" · ", "{}", ((each,) for each in links)))


class PersonRowsAdmin(PersonSearchMixin, ReadOnlyAdmin):
    list_select_related: ClassVar[tuple[str, ...]] = ("user",)


class SetFilter(admin.SimpleListFilter):
    """By whether a moment is set, in words of its own."""

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
    """The page that asks for confirmation of an action; its button sends the action again, with `confirmed`."""
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
