"""Access tokens of people and services in the admin, which shows a token only once: when an operator creates it."""

from datetime import timedelta
from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.admin.widgets import AdminTextInputWidget
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts import access_tokens, service_tokens, token_scopes
from accounts.admin.kit import ACCESS, NamedAdmin, PersonRowsAdmin, ReadOnlyAdmin, state_in_words
from accounts.clock import Now
from accounts.models import BearerToken, PersonalAccessToken, ServiceToken
from accounts.rights import operator_of, outranks


class TokenRowsAdmin(ReadOnlyAdmin):
    """Access tokens. Operators can revoke them but can't see the tokens themselves."""

    section = ACCESS
    ordering = ("-pk",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows: QuerySet[Any] = super().get_queryset(request).annotate(now=Now())
        return rows

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(request.user.has_perm(f"accounts.delete_{self.opts.model_name}"))

    def delete_model(self, request: HttpRequest, obj: BearerToken) -> None:
        self.delete_queryset(request, self.model._default_manager.filter(pk=obj.pk))

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        return not lookup.startswith("digest") and super().lookup_allowed(lookup, value, request)

    @admin.display(description=_("scopes"))
    def scope_names(self, token: BearerToken) -> str:
        return ", ".join(token.scopes)

    @admin.display(description=_("state"), ordering="expires_at")
    def state(self, token: Any) -> str:
        if token.expires_at is None or token.expires_at > token.now:
            return state_in_words("good", gettext("valid"))
        return state_in_words("none", gettext("expired"))


@admin.register(PersonalAccessToken)
class PersonalAccessTokenAdmin(TokenRowsAdmin, NamedAdmin, PersonRowsAdmin):
    related_link = _("tokens")
    list_display = (
        *("who", "shown_name", "state", "related_links"),
        *("last_used_at", "expires_at", "scope_names", "created_at"),
    )
    fields = readonly_fields = (
        *("user", "shown_name", "scope_names", "state", "created_at", "expires_at", "last_used_at", "related_links"),
    )

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        if obj and outranks(obj.user, operator_of(request)):
            return False
        return super().has_delete_permission(request, obj)

    def delete_queryset(self, request: HttpRequest, queryset: "QuerySet[PersonalAccessToken]") -> None:
        access_tokens.revoke(queryset)


class ServiceTokenForm(forms.Form):
    """What an operator decides about a new service token."""

    name = forms.CharField(
        label=_("Service"),
        widget=AdminTextInputWidget,
        help_text=_("The program that will use the token, such as bot: a-z, 0-9, dots, hyphens and underscores."),
    )
    scopes = forms.MultipleChoiceField(
        label=_("Scopes"),
        widget=forms.CheckboxSelectMultiple,
        required=False,
        help_text=_("Without a scope, the new token has those of the service's newest token."),
    )
    days = forms.IntegerField(
        label=_("Expires after days"),
        min_value=1,
        max_value=3650,
        required=False,
        help_text=_("If empty, the token doesn't expire."),
    )
    hours = forms.IntegerField(
        label=_("End earlier tokens after hours"),
        min_value=0,
        max_value=8760,
        required=False,
        help_text=_(
            "If empty, the service's earlier token stays valid until you revoke it. With 0, earlier tokens end at once."
        ),
    )

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        scopes: Any = self.fields["scopes"]
        scopes.choices = [(name, f"{name} – {scope.label}") for name, scope in token_scopes.for_services().items()]

    def create(self, by: str) -> tuple[ServiceToken, str] | None:
        """Create the token and return it with its row; None if it can't be created, and the form then says why."""
        days, hours = self.cleaned_data["days"], self.cleaned_data["hours"]
        try:
            return service_tokens.create(
                self.cleaned_data["name"],
                self.cleaned_data["scopes"],
                lifetime=None if days is None else timedelta(days=days),
                overlap=None if hours is None else timedelta(hours=hours),
                by=by,
            )
        except service_tokens.WrongName:
            self.add_error("name", _("A name has a-z, 0-9, dots, hyphens and underscores, and up to 64 in all."))
        except service_tokens.NoScopes:
            self.add_error("scopes", _("Choose a scope: the service has no earlier token."))
        except service_tokens.TooManyValid:
            self.add_error("name", _("Two tokens of this service are valid already. Revoke one first."))
        return None


@admin.register(ServiceToken)
class ServiceTokenAdmin(TokenRowsAdmin):
    """The tokens of the site's own programs. Operators create them here or with `create_token`."""

    list_display = ("name", "state", "last_used_at", "expires_at", "scope_names", "created_at")
    fields = readonly_fields = ("name", "scope_names", "state", "created_at", "expires_at", "last_used_at")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("accounts.add_servicetoken"))

    def delete_queryset(self, request: HttpRequest, queryset: "QuerySet[ServiceToken]") -> None:
        service_tokens.revoke(queryset, by=_by(request))

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the form, or the new token. No redirect, because the site would have to store the token for it."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        form, token = ServiceTokenForm(request.POST if request.method == "POST" else None), None
        if form.is_valid() and (created := form.create(_by(request))):
            row, token = created
            self.log_addition(request, row, [{"added": {}}])
        context = {
            **self.admin_site.each_context(request),
            "title": gettext("Create a service token"),
            "opts": self.opts,
            "form": form,
            "token": token,
        }
        return TemplateResponse(request, "admin/service_token.html", context, status=422 if form.errors else 200)


def _by(request: HttpRequest) -> str:
    return f"user {operator_of(request).pk}"
