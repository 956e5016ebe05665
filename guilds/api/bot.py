"""The endpoints for the site's bot: the guilds it is in, what a person may do in one of them, and its events."""

from dataclasses import dataclass, replace
from typing import Any

from django.http import QueryDict
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.utils.translation import gettext as _
from rest_framework.permissions import IsAdminUser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts import snowflakes
from accounts.discord import Permissions
from accounts.models import User
from accounts.token_scopes import Scope
from guilds import news, services
from guilds.api import events, responses, schema
from guilds.api.authentication import AccessTokenAuthentication, ServiceRequest
from guilds.api.filters import invalid, supported
from guilds.api.serializers import freshness_json, member_json
from guilds.decorators import unguarded
from guilds.listing import bot
from guilds.listing.discord_names import for_programs
from guilds.models import BotGuild, BotGuilds
from guilds.permissions import IsService
from guilds.problems import ProblemRaised
from guilds.problems.catalogue import NOT_FOUND
from guilds.resources.bot_presence import bot_is_in
from guilds.resources.guild_list import GUILD_LIST
from guilds.resources.member import MEMBER
from guilds.services import GuildList, GuildMembership, Membership, NoAnswer, Reason

PRIVATE = {"Cache-Control": "private, no-cache"}


class BotGuildsView(APIView):
    """`GET /api/v1/bot/guilds/`: for staff and services, from the database. Never needs Discord."""

    token_scope = Scope.BOT_READ
    accepts_services = True
    permission_classes = (IsService | IsAdminUser,)

    @schema.list_bot_guilds
    def get(self, request: ServiceRequest) -> Response:
        return Response({"guilds": _bot_guilds()}, headers=PRIVATE)


def _bot_guilds() -> list[dict[str, Any]]:
    """The guilds the bot is in, ascending by id, as the schema's `BotGuild`."""
    if not bot.has_token():
        return []
    listed_at = BotGuilds.last_verified_at()
    return [
        {
            "id": str(guild.pk),
            "name": guild.name,
            "icon": guild.icon or None,
            "permissions": None if guild.permissions is None else str(guild.permissions),
            "missing_permissions": for_programs(bot.missing_permissions(guild.permissions, guild.owner)).split(),
            "verified_at": max(guild.verified_at, listed_at or guild.verified_at),
        }
        for guild in BotGuild.objects.filter(deleted_at=None).order_by("pk")
    ]


@dataclass(frozen=True, slots=True)
class Question:
    """A question about a person in a guild: a permission, and roles of which one is enough."""

    guild_id: int
    permission: Permissions | None = None
    roles: frozenset[int] = frozenset()

    @classmethod
    def parse(cls, guild_id: int, query: QueryDict) -> "Question":
        """Parse a query string. Raises `ProblemRaised` (400) that names the first invalid parameter.

        A number too large to be a guild's id is a 404; the database could not look for it.
        """
        if snowflakes.parse(str(guild_id)) is None:
            raise ProblemRaised(NOT_FOUND)
        supported(query, ("permission", "role"))
        try:
            permission = Permissions.named(str(query["permission"])) if "permission" in query else None
        except ValueError as error:
            raise invalid("permission", str(error)) from None
        roles = {snowflakes.parse(str(role)) for role in query.getlist("role")}
        if None in roles:
            raise invalid("role", _("It must be a Discord ID."))
        return cls(guild_id, permission, frozenset(role for role in roles if role is not None))

    @property
    def is_about_list(self) -> bool:
        """Whether the list answers it, and not what Discord says about the person in this guild."""
        return self.permission is not None or not (self.roles or bot_is_in(self.guild_id))


@dataclass(frozen=True, slots=True)
class Known:
    """The stored answers about one person, of any age: their list, and their membership with roles in one guild."""

    guild_list: GuildList | None
    member: GuildMembership | None

    @classmethod
    def read(cls, user: User, guild_id: int) -> "Known":
        return cls(services.get_guild_list(user, ask=False), services.stored_member(user, guild_id))

    def answer(self, question: Question) -> tuple[bool | None, bool | None]:
        """Return whether the person is in the guild, and whether they have what the question names there.

        None means that it isn't known: nothing is stored that is recent enough to be served. Owners need no role, as
        in `guild_required`.
        """
        guild_list, member = map(_if_served, (self.guild_list, self.member))
        listed: Membership | None = guild_list.get(question.guild_id) if guild_list else None
        is_member = _newest((guild_list, listed is not None), (member, bool(member and member.is_member)))
        if not is_member:
            return is_member, is_member
        if question.permission is not None and (listed is None or not listed.may(question.permission)):
            return True, None if listed is None else False
        if question.roles and not (listed and listed.owner):
            return True, None if member is None else member.has_any(question.roles)
        return True, True


def _if_served(answer: Any) -> Any:
    return None if answer is None or answer.freshness == "expired" else answer


def _newest(*said: tuple[Any, bool]) -> bool | None:
    """Return what the answer says that was verified last; None without an answer."""
    known = [(answer.verified_at, says) for answer, says in said if answer is not None]
    return max(known)[1] if known else None


@unguarded("answers the site's bot, not a person")
class BotMemberView(APIView):
    """`GET /api/v1/bot/guilds/{id}/members/{id}/`: what is stored about a person in a guild. Never needs Discord."""

    token_scope = Scope.BOT_MEMBERS
    accepts_services = True
    authentication_classes = (AccessTokenAuthentication,)
    permission_classes = (IsService,)

    @schema.get_bot_member
    def get(self, request: ServiceRequest, guild_id: int, discord_id: int) -> Response:
        question = Question.parse(guild_id, request._request.GET)
        return Response(_about(_person(discord_id), question), headers=PRIVATE)


@unguarded("answers the site's bot, not a person")
class VerifyBotMemberView(APIView):
    """`POST /api/v1/bot/guilds/{id}/members/{id}/verify/`: the same, after asking Discord. 202 while it takes its time.

    Only people who have signed in can be verified: 404 for others.
    """

    token_scope = Scope.BOT_VERIFY
    accepts_services = True
    authentication_classes = (AccessTokenAuthentication,)
    permission_classes = (IsService,)

    @schema.verify_bot_member
    def post(self, request: ServiceRequest, guild_id: int, discord_id: int) -> HttpResponseBase:
        question = Question.parse(guild_id, request._request.GET)
        user = _person(discord_id)
        if user is None:
            raise ProblemRaised(replace(NOT_FOUND, detail=_("No one with this Discord ID has signed in here.")))
        about_list = question.is_about_list
        try:
            if about_list:
                services.refresh_guild_list(user)
            else:
                services.refresh_member(user, guild_id)
        except NoAnswer as error:
            if error.reason is not Reason.IN_PROGRESS:
                raise
            record, now = GUILD_LIST.read(user.pk) if about_list else MEMBER.read(user.pk, guild_id)
            return responses.in_progress(record, now, reverse("api:bot-member", args=[guild_id, discord_id]))
        return Response(_about(user, question), headers=PRIVATE)


def _person(discord_id: int) -> User | None:
    return User.objects.filter(discord_id=discord_id, is_active=True).first()


def _about(user: User | None, question: Question) -> dict[str, Any]:
    """Return the schema's `BotMember`."""
    if user is None:
        return {"has_signed_in": False, "is_member": None, "allowed": None, "list": None, "member": None}
    known = Known.read(user, question.guild_id)
    is_member, allowed = known.answer(question)
    guild_list, member = known.guild_list, known.member
    listed = guild_list.get(question.guild_id) if guild_list else None
    return {
        "has_signed_in": True,
        "is_member": is_member,
        "allowed": allowed,
        "list": guild_list and {**freshness_json(guild_list), "guild": listed and listed.as_json()},
        "member": member and {**freshness_json(member), "member": member_json(member) if member.is_member else None},
    }


class BotEventsView(APIView):
    """`POST /api/v1/bot/events/`: store what Discord told the bot. 204 once all of it is stored."""

    token_scope = Scope.BOT_EVENTS
    accepts_services = True
    authentication_classes = (AccessTokenAuthentication,)
    permission_classes = (IsService,)

    @schema.send_bot_events
    def post(self, request: Request) -> Response:
        batch = events.parse(request.data)
        news.receive(batch.events, batch.sent_at)
        return Response(status=204, headers=PRIVATE)
