"""The rules that admit people to a page where Discord's permissions don't suffice."""

from django.http import HttpRequest
from django.utils.translation import gettext as _

from guilds.entered_guild import EnteredGuild
from guilds.problems import Refusal

from .models import Delegate


def owns(request: HttpRequest, guild: EnteredGuild) -> bool | Refusal:
    return guild.owner or Refusal(_("Only the owner of the server can choose who reads its log."))


def reads_log(request: HttpRequest, guild: EnteredGuild) -> bool | Refusal:
    named = Delegate.objects.filter(guild_id=guild.guild_id, person=guild.user)
    return (
        guild.may("manage_guild") or named.exists() or Refusal(_("The owner of the server can let you read its log."))
    )
