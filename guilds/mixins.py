"""`@guild_required` for class-based views."""

from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.views import View
from django.views.generic.base import TemplateResponseMixin

from accounts.discord import Permissions
from guilds.decorators import guild_required
from guilds.middleware import GuildRequest

if TYPE_CHECKING:

    class _AnyView(TemplateResponseMixin, View):
        """Both of Django's classes that declare `request`, so that ours stands before theirs in any view."""

else:
    _AnyView = View


class GuildRequiredMixin(_AnyView):
    """`self.request.guild` is there before the view's own methods run; what becomes of the others see `guild_required`.

    Stands left of the view: `class Settings(GuildRequiredMixin, FormView)`.
    """

    permission: ClassVar[str | Permissions | None] = None
    max_age: ClassVar[timedelta | None] = None
    bot: ClassVar[bool] = False
    guild_id_kwarg: ClassVar[str] = "guild_id"
    request: GuildRequest

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        # What is wrong with it is found when the site starts, not when somebody comes.
        guild_required(cls.permission, bot=cls.bot)

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        door = guild_required(self.permission, max_age=self.max_age, bot=self.bot, guild_id=self.guild_id_kwarg)
        answer: HttpResponseBase = door(super().dispatch)(request, *args, **kwargs)
        return answer
