from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _

from accounts.token_scopes import Holder, TokenScope


class DashboardConfig(AppConfig):
    name = "mysite.dashboard"
    personal_data = {"Score": "person", "Entry": "person", "Delegate": "person"}
    token_scopes = (
        TokenScope("settings:read", _("Read the settings of your servers")),
        TokenScope("scores:report", _("Report messages"), Holder.SERVICE),
    )
