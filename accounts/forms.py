"""The forms on the account pages."""

from datetime import timedelta
from typing import Any, cast

from django import forms
from django.utils.translation import ngettext

from accounts.access_tokens import scopes_for
from accounts.models import PersonalAccessToken, User
from accounts.names import shows_nothing
from accounts.token_scopes import Scope

LIFETIMES = (7, 30, 90, 365)


class AccessTokenForm(forms.Form):
    """Creates a personal access token with scopes that the person may grant."""

    name = forms.CharField(max_length=PersonalAccessToken._meta.get_field("name").max_length, strip=True)
    scopes = forms.MultipleChoiceField(initial=[str(Scope.GUILDS_READ)])
    days = forms.TypedChoiceField(coerce=int, initial=30)

    def __init__(self, user: User, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._offer("scopes", [(scope.name, scope.label) for scope in scopes_for(user)])
        self._offer("days", [(days, ngettext("%d day", "%d days", days) % days) for days in LIFETIMES])

    def _offer(self, name: str, choices: list[tuple[Any, Any]]) -> None:
        cast(forms.ChoiceField, self.fields[name]).choices = choices

    def clean_name(self) -> str:
        name: str = self.cleaned_data["name"]
        if shows_nothing(name):
            raise forms.ValidationError(self.fields["name"].error_messages["required"], code="required")
        return name

    @property
    def lifetime(self) -> timedelta:
        return timedelta(days=self.cleaned_data["days"])

    @property
    def wanted(self) -> list[str]:
        scopes: list[str] = self.cleaned_data["scopes"]
        return scopes
