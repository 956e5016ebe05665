"""`@guild_required` for Django REST framework: `permission_classes = [CanManageGuild.within(minutes=5)]`."""

from datetime import timedelta
from typing import Any, ClassVar, Self, cast

from django.utils.translation import gettext_lazy as _
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.views import APIView

from accounts.discord import PermissionName, Permissions
from accounts.models import User
from accounts.service_tokens import Service
from guilds.entered_guild import EnteredGuild
from guilds.guard.access import BotNeed, Requirements, RoleNeed, Rule, Validate
from guilds.guard.near_misses import ATTRIBUTES, refuse_near_misses
from guilds.problems import ProblemRaised
from guilds.problems.catalogue import PERSON_REQUIRED
from guilds.services import GuildList


class GuildAPIRequest(Request):
    """Type of DRF's request in a view with one of these permissions, for annotations."""

    user: User
    guild_list: GuildList
    guild: EnteredGuild


class ThrottledFirst(APIView):
    """A view that throttles before it checks permissions, since those can ask Discord. DRF does it the other way round.

    Put it left of other views: `class Settings(ThrottledFirst, UpdateAPIView)`.
    """

    def check_permissions(self, request: Request) -> None:
        super().check_throttles(request)
        super().check_permissions(request)

    def check_throttles(self, request: Request) -> None:
        """Do nothing, because `check_permissions` has counted the request."""


class IsService(BasePermission):
    """Require a service token: `permission_classes = [IsService]`, or `[IsService | IsAdminUser]` for staff too.

    The view also sets `accepts_services = True`.
    """

    message = _("Only services of this site can use this endpoint.")

    def has_permission(self, request: Request, view: APIView) -> bool:
        return isinstance(request.user, Service)


# What the methods of `InGuild` set.
METHODS = {"role": "required_role", "member": "reads_member", "rule": "own_rule", "validate": "validation"}


class InGuild(BasePermission):
    """Require that the person is in the guild named by the URL, and set `request.guild` to their membership.

    Responds with a problem otherwise: 401, 404 (not in the guild), 403 (permission or role missing), 409 (the bot is
    not in the guild or lacks a permission), 429 or 503 (the list or the roles can't be verified as recently as needed).
    """

    permission: ClassVar[PermissionName | Permissions | None] = None
    required_role: ClassVar[RoleNeed | None] = None
    reads_member: ClassVar[bool] = False
    max_age: ClassVar[timedelta | None] = None
    write_max_age: ClassVar[timedelta | None] = None
    own_rule: ClassVar[Rule | None] = None
    validation: ClassVar[Validate | None] = None
    bot: ClassVar[BotNeed] = False
    guild_id_kwarg: ClassVar[str] = "guild_id"

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        # `role = STAFF`, as on `GuildRequiredMixin`, must not replace the method and so require nothing. It can also
        # come from another base, which keeps it.
        for name, attribute in METHODS.items():
            method = vars(InGuild)[name]
            found = next(vars(each)[name] for each in cls.__mro__ if name in vars(each))
            if found is not method:
                setattr(cls, attribute, found)
                setattr(cls, name, method)
        # Makes a wrong attribute fail when the module is imported, not at the first request.
        refuse_near_misses(cls, InGuild, {*ATTRIBUTES, *METHODS.values()})
        cls._requirements()

    def has_permission(self, request: Request, view: APIView) -> bool:
        if not request.user.is_authenticated:
            return False
        if isinstance(request.user, Service):
            raise ProblemRaised(PERSON_REQUIRED)
        # Set the attributes on Django's request, which has the lazy list. DRF's request forwards to it.
        if self._requirements().enter(request._request, view.args, view.kwargs, request) is not None:
            raise TypeError("In REST framework, validate must raise a ValidationError instead of returning a response.")
        return True

    @classmethod
    def _requirements(cls) -> Requirements:
        return Requirements.of(
            permission=cls.permission,
            role=cls.required_role,
            member=cls.reads_member,
            max_age=cls.max_age,
            write_max_age=cls.write_max_age,
            rule=cls.own_rule,
            validate=cls.validation,
            bot=cls.bot,
            guild_id=cls.guild_id_kwarg,
        )

    @classmethod
    def within(cls, **age: float) -> type[Self]:
        """The same permission, with a list verified within `timedelta(**age)`."""
        return cls._with(max_age=timedelta(**age))

    @classmethod
    def writes_within(cls, **age: float) -> type[Self]:
        """The same permission, for unsafe methods with a list verified within `timedelta(**age)`."""
        return cls._with(write_max_age=timedelta(**age))

    @classmethod
    def rule(cls, rule: Rule) -> type[Self]:
        """The same permission, for people whom `rule` admits: a function of the request and `request.guild`.

        It returns True, False or a `Refusal`.
        """
        return cls._with(own_rule=rule)

    @classmethod
    def validate(cls, validate: Validate) -> type[Self]:
        """The same permission, with input checked before Discord is asked for a list as recent as required.

        `validate` is a function of the request and `request.guild`; it raises REST framework's `ValidationError`.
        """
        return cls._with(validation=validate)

    @classmethod
    def may(cls, permission: PermissionName | Permissions) -> type[Self]:
        """The same permission, for people with Discord's `permission`. Raises `ValueError` for an unknown name."""
        return cls._with(permission=Permissions.named(permission))

    @classmethod
    def role(cls, role: RoleNeed) -> type[Self]:
        """The same permission, for people with the role, one of several, or one that the function returns.

        Raises `ValueError` for what is not an id.
        """
        return cls._with(required_role=role)

    @classmethod
    def member(cls) -> type[Self]:
        """The same permission, with `request.guild.member` read before the view runs."""
        return cls._with(reads_member=True)

    @classmethod
    def with_bot(cls, *permissions: PermissionName | Permissions) -> type[Self]:
        """The same permission, for guilds that have the bot and where it has `permissions`.

        Raises `ValueError` for an unknown name.
        """
        return cls._with(bot=permissions or True)

    @classmethod
    def _with(cls, **attributes: Any) -> type[Self]:
        return cast(type[Self], type(cls.__name__, (cls,), attributes))


class CanManageGuild(InGuild):
    """Require that the person owns the guild or may manage it."""

    permission = Permissions.MANAGE_GUILD
