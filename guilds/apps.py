from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _

from accounts.token_scopes import Holder, Scope, TokenScope


class GuildsConfig(AppConfig):
    name = "guilds"
    verbose_name = _("Servers")
    token_scopes = (
        TokenScope(Scope.GUILDS_READ, _("Read my servers"), for_services=False),
        TokenScope(Scope.GUILDS_REFRESH, _("Refresh my servers"), for_services=False),
        TokenScope(Scope.ME_READ, _("Read my profile"), for_services=False),
        TokenScope(Scope.BOT_READ, _("Read the bot's servers"), Holder.STAFF),
        TokenScope(Scope.BOT_MEMBERS, _("Read what people may do in servers"), Holder.SERVICE),
        TokenScope(Scope.BOT_VERIFY, _("Ask Discord about people in servers"), Holder.SERVICE),
        TokenScope(Scope.BOT_EVENTS, _("Report Discord's events"), Holder.SERVICE),
    )

    def ready(self) -> None:
        from accounts.hooks import load_hooks
        from guilds.hooks import MEMBERSHIP_HOOKS
        from guilds.whole_site import checks  # noqa: F401 - registers the system checks

        load_hooks(MEMBERSHIP_HOOKS)
