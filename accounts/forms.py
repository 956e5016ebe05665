"""The forms of the account's pages."""

from datetime import timedelta
from typing import Any, cast

from django import forms
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from accounts.access_tokens import Scope, scopes_for
from accounts.models import PersonalAccessToken, User

LIFETIMES = (7, 30, 90, 365)
SCOPE_LABELS = {
    Scope.GUILDS_READ: _("Read which servers I am in"),
    Scope.GUILDS_REFRESH: _("Ask Discord for them now"),
    Scope.ME_READ: _("Read who I am"),
    Scope.BOT_READ: _("Read which servers the bot is in"),
}


class AccessTokenForm(forms.Form):
    """A new personal access token, with the scopes that the person may give."""

    name = forms.CharField(max_length=PersonalAccessToken._meta.get_field("name").max_length, strip=True)
    scopes = forms.MultipleChoiceField()
    days = forms.TypedChoiceField(coerce=int, initial=30)

    def __init__(self, user: User, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._offer("scopes", [(str(scope), SCOPE_LABELS[scope]) for scope in scopes_for(user)])
        self._offer("days", [(days, ngettext("%d day", "%d days", days) % days) for days in LIFETIMES])

    def _offer(self, name: str, choices: list[tuple[Any, Any]]) -> None:
        cast(forms.ChoiceField, self.fields[name]).choices = choices

    @property
    def lifetime(self) -> timedelta:
        return timedelta(days=self.cleaned_data["days"])

    @property
    def wanted(self) -> list[Scope]:
        return [Scope(scope) for scope in self.cleaned_data["scopes"]]
