"""The examples in each server's menu and on its page."""

from guilds.menu import GuildPage, Membership

from .models import WelcomeMessage


def is_written(guild: Membership) -> str:
    return "On" if WelcomeMessage.objects.filter(pk=guild.guild_id).exists() else "Off"


PAGES = [
    GuildPage("examples:server", "Joins and leaves", "What people do who use this site.", icon="chart"),
    GuildPage("examples:lounge", "Lounge", "For people with a role that managers choose.", icon="people"),
    GuildPage(
        "examples:edit",
        "Welcome message",
        "Greets new members.",
        icon="message",
        permission="manage_guild",
        state=is_written,
    ),
    GuildPage("examples:preview", "Preview", "What the bot would post.", icon="page", permission="manage_guild"),
]
