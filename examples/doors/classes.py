from datetime import timedelta
from typing import Any

from django.views.generic import TemplateView

from guilds.decorators import GuildRequiredMixin


class WelcomeMessage(GuildRequiredMixin, TemplateView):
    template_name = "welcome_message.html"
    permission = "manage_guild"
    max_age = timedelta(minutes=5)
    bot = True

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return super().get_context_data(guild=self.request.guild, **kwargs)
