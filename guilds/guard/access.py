"""What a view about a guild requires, and the one function that decides about it for decorators, mixin and REST."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cache, partial
from inspect import signature
from typing import Any, Self, cast

from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest, HttpResponse

from accounts import snowflakes, throttles
from accounts.discord import PermissionName, Permissions
from accounts.models import User
from guilds.entered_guild import EnteredGuild, role_ids
from guilds.listing.bot import Presence, has_token, present_in
from guilds.listing.extras import get_extras
from guilds.middleware import GuildRequest
from guilds.problems import (
    BotMissingPermission,
    BotNotInGuild,
    BotPresenceUnknown,
    MissingPermission,
    MissingRole,
    NotInGuild,
    ProblemRaised,
    Refusal,
)
from guilds.problems.of_errors import problem_of, problem_of_no_answer
from guilds.problems.responses import is_safe
from guilds.resources.guild_list import GUILD_LIST
from guilds.services import (
    GuildList,
    Membership,
    NoAnswer,
    Reason,
    bot_membership,
    get_guild_list,
    is_member_known,
)

# What a view needs from the bot: nothing (False), that it is in the guild (True), or permissions by Discord's names.
BotNeed = bool | PermissionName | Permissions | tuple[PermissionName | Permissions, ...]
RoleId = int | str
RolesOfRequest = Callable[[Any], RoleId | Iterable[RoleId] | None]
# One role, several of which one is enough, or a function of the request that returns them.
RoleNeed = RoleId | Iterable[RoleId] | RolesOfRequest
# These get the request that the view gets, and its `request.guild`.
Rule = Callable[[Any, EnteredGuild], bool | Refusal]
# Rejects bad input with a response, or by an exception.
Validate = Callable[[Any, EnteredGuild], HttpResponse | bool | None]


@dataclass(frozen=True, kw_only=True)
class Requirements:
    """What a view requires. `guild_id` is the name of its URL argument; see `guild_required` for the others."""

    permission: Permissions | None = None
    role: frozenset[int] | RolesOfRequest | None = None
    member: bool = False
    max_age: timedelta | None = None
    write_max_age: timedelta | None = None
    bot: Permissions | None = None
    rule: Rule | None = None
    validate: Validate | None = None
    guild_id: str = "guild_id"

    @classmethod
    def of(
        cls,
        *,
        permission: str | Permissions | None = None,
        role: RoleNeed | None = None,
        member: bool = False,
        max_age: timedelta | None = None,
        write_max_age: timedelta | None = None,
        bot: BotNeed = False,
        rule: Rule | None = None,
        validate: Validate | None = None,
        guild_id: str = "guild_id",
    ) -> Self:
        """Return the requirements as views declare them.

        Raises `ValueError` for an unknown name or a wrong id, and `TypeError` for what can't be such a requirement.
        """
        for name, value, kind in (("member", member, bool), ("guild_id", guild_id, str)):
            if not isinstance(value, kind):
                raise TypeError(f"{name} must be a {kind.__name__}, not {value!r}.")
        for name, age in {"max_age": max_age, "write_max_age": write_max_age}.items():
            if age is not None and not isinstance(age, timedelta):
                raise TypeError(f"{name} is {age!r}. Write a timedelta, such as {name}=timedelta(minutes=5).")
        for name, function in {"rule": rule, "validate": validate}.items():
            if function is not None and not (callable(function) and _takes_request_and_guild(function)):
                raise TypeError(
                    f"{name} must be a function that takes (request, guild), not {_name(function)}. "
                    "In a class, such a function takes no self: make it a @staticmethod."
                )
        return cls(
            permission=None if permission is None else Permissions.named(permission),
            role=role if role is None or callable(role) else role_ids(role),
            member=member,
            max_age=max_age,
            write_max_age=write_max_age,
            bot=_bot_needs(bot),
            rule=rule,
            validate=validate,
            guild_id=guild_id,
        )

    def enter(
        self, request: HttpRequest, args: Sequence[Any], kwargs: Mapping[str, Any], view_request: object = None
    ) -> HttpResponse | None:
        """Set `request.guild` of a signed-in person, or raise the problem to respond with.

        `args` and `kwargs` are the arguments of the view, and `view_request` is the request that the view gets, if it
        is not `request`. Returns the response of `validate` if it rejected the input, else None.
        """
        if self.guild_id not in kwargs:
            raise ImproperlyConfigured(_without_guild_id(request, args, kwargs, self.guild_id))
        entering, guild_id = cast(GuildRequest, request), kwargs[self.guild_id]
        view_request = view_request or request
        max_age = self._max_age(request)
        if max_age is not None and self.validate is not None and not is_safe(request):
            response = self._rejected(self.validate, entering, guild_id, view_request)
            if response is not None:
                return response
        try:
            self._enter(entering, guild_id, max_age, view_request)
        except NoAnswer as error:
            if max_age is None or error.reason.is_refusal:
                raise
            # It names the age, since the person may well have an older answer.
            aged = replace(problem_of_no_answer(error), max_age=int(max_age.total_seconds()))
            raise ProblemRaised(aged) from error
        return None

    def _enter(
        self, entering: GuildRequest, guild_id: int | str, max_age: timedelta | None, view_request: object
    ) -> None:
        try:
            if max_age is not None:
                entering.guild_list = get_guild_list(entering.user, max_age)
            membership = entering.guild_list.get(guild_id)
        except NoAnswer as error:
            known = self._known_to_bot(entering, guild_id, max_age) if _is_not_shared(error) else None
            if known is None:
                raise
            self._admit(entering, known, partial(present_in, (known.guild_id,)), view_request)
        else:
            guild = self._entered(membership, entering.user, max_age)
            self._admit(entering, guild, partial(_presence, entering.guild_list), view_request)

    @property
    def _reads_member(self) -> bool:
        return self.member or self.role is not None

    def _entered(self, membership: Membership | None, user: User, max_age: timedelta | None) -> EnteredGuild:
        """Return the guild as the view gets it. Raises `NotInGuild` without a membership."""
        if membership is None:
            raise NotInGuild
        return EnteredGuild.enter(membership, user, max_age, reads_member=self._reads_member)

    def _known_to_bot(
        self, request: GuildRequest, guild_id: int | str, max_age: timedelta | None
    ) -> EnteredGuild | None:
        """Return the guild for a person who shares no list, as far as the bot there knows them.

        It is enough for a view that requires a role or a member, and no permission. Raises `NotInGuild`, and
        `TooManyRequests` if the person tries too many servers: each costs a request to Discord.
        """
        if self.permission is not None or not self._reads_member or snowflakes.parse(str(guild_id)) is None:
            return None
        membership = bot_membership(int(guild_id))
        if membership is None:
            return None
        if not is_member_known(request.user.pk, membership.guild_id):
            throttles.require(throttles.Limit.MEMBER_USER, request, request.user.pk)
        guild = self._entered(membership, request.user, max_age)
        if not guild.member.is_member:
            raise NotInGuild
        return guild

    def _max_age(self, request: HttpRequest) -> timedelta | None:
        if self.write_max_age is None or is_safe(request):
            return self.max_age
        return min(self.write_max_age, self.max_age or self.write_max_age)

    def _rejected(
        self, validate: Validate, entering: GuildRequest, guild_id: int | str, view_request: object
    ) -> HttpResponse | None:
        """Let the view reject bad input before Discord is asked, if older answers admit the person."""
        stored = entering.guild_list.stored
        if stored is None or stored.freshness == "expired":
            return None
        try:
            guild = self._entered(stored.get(guild_id), entering.user, None)
            self._admit(entering, guild, partial(_presence, stored), view_request)
        except Exception as error:
            if problem_of(error) is None:
                raise
            return None  # recent answers decide
        result = validate(view_request, entering.guild)
        if result is None or result is True:
            return None
        if isinstance(result, HttpResponse):
            return result
        raise TypeError(f"{_name(validate)} returned {result!r}. Return a response to reject the input, else None.")

    def _admit(
        self,
        entering: GuildRequest,
        guild: EnteredGuild,
        presence: Callable[[], Presence | None],
        view_request: object,
    ) -> None:
        # Set before anything is checked, because the 403 page links to this guild's page.
        entering.guild = guild
        if self.permission is not None and not guild.may(self.permission):
            raise MissingPermission(self.permission)
        # Before the roles, since it is known without asking Discord.
        if self.bot is not None:
            _require_bot(presence(), guild.guild_id, self.bot)
        self._require_role(guild, view_request)
        if self.rule is not None:
            _require(self.rule, view_request, guild)

    def _require_role(self, guild: EnteredGuild, view_request: object) -> None:
        """Admit owners without asking about them, since they can take any role and must not be locked out."""
        wanted: frozenset[int] | None = None
        if self.role is not None and not guild.owner:
            found = self.role(view_request) if callable(self.role) else self.role
            wanted = role_ids(found) if found else frozenset()
            if not wanted:
                raise MissingRole(guild.guild_id, wanted)
        if (wanted or self.member) and not guild.member.is_member:
            raise NotInGuild
        if wanted and not guild.has_any(wanted):
            raise MissingRole(guild.guild_id, wanted)


@cache  # the mixin declares its requirements again for each request
def _takes_request_and_guild(function: Callable[..., object]) -> bool:
    try:
        signature(function).bind(None, None)
    except TypeError:
        return False
    except ValueError:  # some functions that aren't written in Python don't tell
        return True
    return True


def _require(rule: Rule, view_request: object, guild: EnteredGuild) -> None:
    verdict = rule(view_request, guild)
    if verdict is True:
        return
    if verdict is False:
        raise Refusal
    if isinstance(verdict, Refusal):
        raise verdict
    raise TypeError(f"The rule {_name(rule)} returned {verdict!r}. Return True, False or a Refusal.")


def _name(function: object) -> str:
    return getattr(function, "__qualname__", repr(function))


def _without_guild_id(request: HttpRequest, args: Sequence[Any], kwargs: Mapping[str, Any], name: str) -> str:
    if args:
        return (
            f"The guild's id is read from the argument '{name}', but the view was called with positional arguments. "
            f"Call it with {name}={name}; in a regular expression for a URL, write (?P<{name}>[0-9]+)."
        )
    there = ", ".join(kwargs) or "none"
    return (
        f"The guild's id is read from the URL argument '{name}', but {request.path} has {there}. "
        f"Write <int:{name}> in the URL, or name the argument: guild_id='server' for the decorator, "
        "guild_id_kwarg = 'server' in a class."
    )


def _is_not_shared(error: NoAnswer) -> bool:
    """Whether the person has not granted the scope that shares their list."""
    return error.resource == GUILD_LIST.name and error.reason is Reason.MISSING_SCOPE


def _presence(guild_list: GuildList) -> Presence | None:
    return get_extras(guild_list).bot_presence


def _require_bot(presence: Presence | None, guild_id: int, needs: Permissions) -> None:
    includes = presence.includes(guild_id) if presence else False
    if includes is None:
        raise BotPresenceUnknown
    if presence is None or not includes:
        raise BotNotInGuild
    missing = presence.missing(guild_id, needs) if needs else 0
    if missing is None:
        raise BotPresenceUnknown
    if missing:
        raise BotMissingPermission(Permissions(missing))


def _bot_needs(bot: BotNeed) -> Permissions | None:
    """Return the permissions that a view needs the bot to have; None if it doesn't need the bot.

    Raises `ValueError` for an unknown name, and stops the start of a site that has such a view but no bot.
    """
    if bot is False:
        return None
    needs = Permissions.all_named(() if bot is True else bot if isinstance(bot, tuple) else (bot,))
    if not has_token():
        raise ImproperlyConfigured(f"A view requires the bot (bot={bot!r}), but DISCORD_BOT_TOKEN is not set.")
    return needs
