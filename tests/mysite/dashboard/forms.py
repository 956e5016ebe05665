"""The forms of the dashboard."""

from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts.models import User
from guilds.fields import ChannelField, RoleField
from guilds.models import UserGuildMembership

from .models import Delegate, ServerSettings


class SettingsForm(forms.ModelForm[ServerSettings]):
    channel_id = ChannelField(label=gettext_lazy("Announcements"), bot="send_messages", required=False)
    role_id = RoleField(label=gettext_lazy("Role of the leader"), assignable=True, required=False)

    class Meta:
        model = ServerSettings
        fields = ["points", "decay", "channel_id", "role_id"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.guild_id = self.instance.guild_id


class DelegateForm(forms.Form):
    """Names a person by their Discord username. They must have signed in here, and be in the server."""

    username = forms.CharField(label=gettext_lazy("Discord username"), max_length=32)

    def __init__(self, guild_id: int, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.guild_id = guild_id

    def clean_username(self) -> User:
        members = UserGuildMembership.objects.filter(guild_id=self.guild_id)
        username = self.cleaned_data["username"]
        person = User.objects.filter(discord_username=username, pk__in=members.values("user")).first()
        if person is None:
            raise ValidationError(_("No one of that name is in this server and has signed in here."))
        return person

    def save(self) -> None:
        Delegate.objects.get_or_create(guild_id=self.guild_id, person=self.cleaned_data["username"])
