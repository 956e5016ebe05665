"""The examples in each server's menu and on its page."""

from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from guilds.menu import GuildPage, Membership

from .models import WelcomeMessage


def is_written(guild: Membership) -> str:
    return gettext("On") if WelcomeMessage.objects.filter(pk=guild.guild_id).exists() else gettext("Off")


PAGES = [
    GuildPage("examples:server", _("Joins and leaves"), _("What people do who use this site."), icon="chart"),
    GuildPage("examples:lounge", _("Lounge"), _("For people with a role that managers choose."), icon="people"),
    GuildPage(
        "examples:edit",
        _("Welcome message"),
        _("Greets new members."),
        icon="message",
        permission="manage_guild",
        state=is_written,
    ),
    GuildPage("examples:preview", _("Preview"), _("What the bot would post."), icon="page", permission="manage_guild"),
]
