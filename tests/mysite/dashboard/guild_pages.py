from django.utils.translation import gettext_lazy as _

from guilds.menu import GuildPage

from .rules import owns, reads_log

PAGES = [
    GuildPage("dashboard:leaderboard", _("Leaderboard"), _("The points of the members."), icon="chart"),
    GuildPage("dashboard:settings", _("Settings"), _("Points and roles."), icon="gear", permission="manage_guild"),
    GuildPage("dashboard:log", _("Log"), _("Who joined and left."), icon="list", rule=reads_log),
    GuildPage("dashboard:delegates", _("Readers of the log"), _("Chosen by you."), icon="people", rule=owns),
]
