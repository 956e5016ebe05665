from django.apps import AppConfig
from django.conf import settings
from django.utils.translation import gettext_lazy as _


class GuildsConfig(AppConfig):
    name = "guilds"
    verbose_name = _("Servers")

    def ready(self) -> None:
        from guilds.hooks import load_hooks

        load_hooks(settings.GUILDHALL_MEMBERSHIP_HOOKS)
