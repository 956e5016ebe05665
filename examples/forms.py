"""A form with a channel and a role of the server."""

from typing import Any, ClassVar

from django import forms
from django.utils.translation import gettext_lazy as _

from guilds.fields import ChannelField, RoleField

from .models import WelcomeMessage


class WelcomeForm(forms.ModelForm[WelcomeMessage]):
    channel_id = ChannelField(label=_("Channel"), kinds=("text", "announcement"), bot="send_messages", required=False)
    role_id = RoleField(label=_("Role for new members"), assignable=True, required=False)

    class Meta:
        model = WelcomeMessage
        fields: ClassVar = ["text", "channel_id", "role_id"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.guild_id = self.instance.guild_id
