"""`@guild_required` for Django REST framework: `permission_classes = [CanManageGuild.within(minutes=5)]`."""

from datetime import timedelta
from typing import Any, ClassVar, Self, cast

from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.views import APIView

from accounts.discord import Permissions
from accounts.models import User
from guilds.decorators import assert_bot, enter
from guilds.services import GuildList, Membership


class GuildAPIRequest(Request):
    """For annotations: DRF's request in a view that has one of these permissions."""

    user: User
    guild_list: GuildList
    guild: Membership


class InGuild(BasePermission):
    """The person is in the guild that the URL names; `request.guild` is their membership.

    401, 404 (not in it), 403 (may not), 409 (the bot isn't there), 429 or 503 (can't be verified young enough), each as
    a problem.
    """

    permission: ClassVar[str | Permissions | None] = None
    max_age: ClassVar[timedelta | None] = None
    bot: ClassVar[bool] = False
    guild_id_kwarg: ClassVar[str] = "guild_id"

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.permission is not None:
            # A wrong name is found when the site starts, not when somebody comes.
            cls.permission = Permissions.named(cls.permission)
        if cls.bot:
            assert_bot()

    def has_permission(self, request: Request, view: APIView) -> bool:
        if not request.user.is_authenticated:
            return False
        # DRF counts after the permissions, and this one may ask Discord. Not twice: the view serves this request alone.
        view.check_throttles(request)
        view.check_throttles = lambda request: None  # type: ignore[method-assign]
        # The request below DRF's: there the list is lazy, and DRF's own shows its attributes.
        permission = cast(Permissions | None, self.permission)  # since `__init_subclass__`
        enter(request._request, view.kwargs, self.guild_id_kwarg, permission, self.max_age, bot=self.bot)
        return True

    @classmethod
    def within(cls, **age: float) -> type[Self]:
        """The same, of a list verified no longer ago than `timedelta(**age)`."""
        return cls._with(max_age=timedelta(**age))

    @classmethod
    def may(cls, permission: str | Permissions) -> type[Self]:
        """The same, of people who have Discord's `permission` there."""
        return cls._with(permission=Permissions.named(permission))

    @classmethod
    def with_bot(cls) -> type[Self]:
        """The same, of guilds that the bot is in."""
        return cls._with(bot=True)

    @classmethod
    def _with(cls, **attributes: Any) -> type[Self]:
        return cast(type[Self], type(cls.__name__, (cls,), attributes))


class CanManageGuild(InGuild):
    """The person owns the guild, or may manage it."""

    permission = Permissions.MANAGE_GUILD
