from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class AccountsConfig(AppConfig):
    name = "accounts"
    verbose_name = _("Accounts")

    def ready(self) -> None:
        from django.utils.module_loading import autodiscover_modules

        from accounts import audit, checks  # noqa: F401 - registers the system checks and a signal's receiver
        from accounts.hooks import SIGN_IN_HOOKS, load_hooks

        autodiscover_modules("hooks")
        load_hooks(SIGN_IN_HOOKS)
