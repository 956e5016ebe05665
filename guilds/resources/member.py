"""One person in one guild, with their roles there.

The member is requested with the bot's token where the bot is, and with the person's own elsewhere.
"""

from collections.abc import Collection
from dataclasses import asdict
from datetime import datetime
from functools import partial

import structlog
from django.conf import settings
from django.db.models import Case, DateTimeField, F, Q, Value, When

from accounts import allowance, scopes, tokens
from accounts.clock import database_now
from accounts.discord import DiscordClient, Member, MissingAccess, UnknownGuild
from accounts.limits import Priority, Reason
from accounts.models import User
from accounts.tokens import ReconnectRequired
from guilds import hooks
from guilds.engine.freshness import Windows
from guilds.engine.refusal import Refused
from guilds.engine.resource import Change, Claim, Resource, windows_of_settings
from guilds.hooks import MembershipChange, RolesChange
from guilds.models import GuildMember
from guilds.resources.bot_presence import bot_is_in, learn_denial

logger = structlog.get_logger(__name__)

PERSON_ROUTE = "GET /users/@me/guilds/{guild.id}/member"
BOT_ROUTE = "GET /guilds/{guild.id}/members/{user.id}"
# The bot's requests count against no person's limit, so its answers are renewed early.
BOT_REFRESH_AT = 0.2
# The columns for a person who is not in the guild.
ABSENT = {"is_member": False, "roles": [], "nick": "", "joined_at": None, "timed_out_until": None, "pending": False}
MAX_NICK = 64  # twice Discord's limit; a longer one is cut, so that it does not make the answer fail


class MemberResource(Resource[GuildMember, Member | None]):
    """The resource for one person in one guild. The answer None means that Discord said they are not in it."""

    name = "member"
    key = ("user_id", "guild_id")

    def windows(self) -> Windows:
        return windows_of_settings()

    def refresh_at(self, record: GuildMember) -> float:
        share: float = settings.DISCORD_REFRESH_AT
        return min(BOT_REFRESH_AT, share) if record.from_bot else share

    def limits_guild(self, record: GuildMember) -> bool:
        return bot_is_in(record.guild_id)

    def held_until(self, record: GuildMember, now: datetime, priority: Priority) -> datetime | None:
        if self.limits_guild(record):
            return allowance.closed_until(allowance.BOT_MEMBER, record.guild_id, priority)
        return allowance.closed_until(allowance.MEMBER, record.user_id, priority)

    def is_refusal_over(self, record: GuildMember) -> bool:
        """Whether a refusal for want of the bot or the scope has ended: by the bot's presence, or by a setting."""
        if record.reason == Reason.BOT_ABSENT and scopes.MEMBER in scopes.allowed():
            return True
        return record.reason in (Reason.BOT_ABSENT, Reason.MISSING_SCOPE) and bot_is_in(record.guild_id)

    def ask(self, record: GuildMember, client: DiscordClient) -> Member | None:
        """Request the member with the bot's token, or with the person's if the bot is not in the guild after all.

        That it isn't is stored like any news about the bot, so that its return ends what is then refused. Raises
        `Refused` if the settings say that people's own tokens are never asked for members.
        """
        # One client for both, because an attempt that ends at a limit says whether it sent anything before.
        client = allowance.limited(client, allowance.BOT_MEMBER, record.guild_id, BOT_ROUTE)
        client = allowance.limited(client, allowance.MEMBER, record.user_id, PERSON_ROUTE)
        record.from_bot = bot_is_in(record.guild_id)
        if record.from_bot:
            at = database_now()
            try:
                return self._ask_as_bot(record, client)
            except (UnknownGuild, MissingAccess) as error:
                logger.warning("bot_not_in_guild", **self.whose(record), code=error.code)
                learn_denial(record.guild_id, error, client, at)
                record.from_bot = False
        if scopes.MEMBER not in scopes.allowed():
            raise Refused(Reason.BOT_ABSENT)
        ask = partial(client.get_user_guild_member, record.guild_id)
        return tokens.call(record.user_id, scopes.MEMBER, client, ask)

    def _ask_as_bot(self, record: GuildMember, client: DiscordClient) -> Member | None:
        discord_id = User.objects.filter(pk=record.user_id).values_list("discord_id", flat=True).first()
        if discord_id is None:
            # An operator with a password, who has no account at Discord.
            raise ReconnectRequired
        return client.get_guild_member(record.guild_id, discord_id, settings.DISCORD_BOT_TOKEN)

    def compare(self, claimed: Claim[GuildMember], value: Member | None) -> Change | None:
        fields = ABSENT if value is None else _columns(value)
        if all(getattr(claimed.record, name) == wanted for name, wanted in fields.items()):
            return None
        return Change(fields, follow_up=hooks.follow_up(_difference(claimed, value)))


def _difference(claimed: Claim[GuildMember], member: Member | None) -> MembershipChange:
    record = claimed.record
    before, after = set(record.roles), set(member.roles if member else ())
    changed = RolesChange(record.guild_id, tuple(sorted(after - before)), tuple(sorted(before - after)))
    return MembershipChange(
        record.user_id,
        claimed.at,
        joined=(),
        left=(),
        permissions=(),
        is_first=record.verified_at is None,
        roles=(changed,) if changed.added or changed.removed else (),
    )


def _columns(member: Member) -> dict[str, object]:
    return {**asdict(member), "is_member": True, "roles": list(member.roles), "nick": member.nick[:MAX_NICK]}


MEMBER = MemberResource(GuildMember)


def list_says(user_id: int, *, joined: Collection[int], left: Collection[int], at: datetime) -> None:
    """Apply a list verified at `at`: people who left a guild have no roles there, and those who joined are asked about.

    Belongs into the transaction that stores the list. Responses in flight are dropped, and so is a list that is older
    than the stored answer. Waits and refusals stay.
    """
    ended = Q(guild_id__in=left) & (Q(verified_at=None) | Q(verified_at__lt=at))
    began = Q(guild_id__in=joined, is_member=False, verified_at__lt=at)
    GuildMember.objects.filter(ended | began, user_id=user_id).update(
        **ABSENT,
        verified_at=Case(When(guild_id__in=left, then=Value(at)), default=None, output_field=DateTimeField()),
        refresh_after=None,
        lease_until=None,
        generation=F("generation") + 1,
        version=F("version") + 1,
        changed_at=at,
    )
