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


class ThrottledFirst(APIView):
    """A view that counts a request before its permissions, which may ask Discord; DRF counts it after them.

    Stands left of other views: `class Settings(ThrottledFirst, UpdateAPIView)`.
    """

    def check_permissions(self, request: Request) -> None:
        super().check_throttles(request)
        super().check_permissions(request)

    def check_throttles(self, request: Request) -> None:
        """Do nothing, because `check_permissions` has counted the request."""


class InGuild(BasePermission):
    """Require that the person is in the guild named by the URL, and set `request.guild` to their membership.

    Responds with a problem otherwise: 401, 404 (not in the guild), 403 (permission missing), 409 (the bot is not in the
    guild), 429 or 503 (the list can't be verified as recently as required).
    """

    permission: ClassVar[str | Permissions | None] = None
    max_age: ClassVar[timedelta | None] = None
    bot: ClassVar[bool] = False
    guild_id_kwarg: ClassVar[str] = "guild_id"

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.permission is not None:
            # Makes a wrong name fail when the module is imported, not at the first request.
            cls.permission = Permissions.named(cls.permission)
        if cls.bot:
            assert_bot()

    def has_permission(self, request: Request, view: APIView) -> bool:
        if not request.user.is_authenticated:
            return False
        # Django's request, which has the lazy list. DRF's request passes on its attributes.
        permission = cast(Permissions | None, self.permission)  # since `__init_subclass__`
        enter(request._request, view.kwargs, self.guild_id_kwarg, permission, self.max_age, bot=self.bot)
        return True

    @classmethod
    def within(cls, **age: float) -> type[Self]:
        """The same permission, with a list verified within `timedelta(**age)`."""
        return cls._with(max_age=timedelta(**age))

    @classmethod
    def may(cls, permission: str | Permissions) -> type[Self]:
        """The same permission, for people who have Discord's `permission` in the guild."""
        return cls._with(permission=Permissions.named(permission))

    @classmethod
    def with_bot(cls) -> type[Self]:
        """The same permission, for guilds that have the bot."""
        return cls._with(bot=True)

    @classmethod
    def _with(cls, **attributes: Any) -> type[Self]:
        return cast(type[Self], type(cls.__name__, (cls,), attributes))


class CanManageGuild(InGuild):
    """Require that the person owns the guild or may manage it."""

    permission = Permissions.MANAGE_GUILD
