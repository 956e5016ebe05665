from django.apps import AppConfig
from django.conf import settings


class GuildsConfig(AppConfig):
    name = "guilds"
    verbose_name = "Servers"

    def ready(self) -> None:
        from guilds.hooks import load_hooks

        load_hooks(settings.GUILDHALL_MEMBERSHIP_HOOKS)
