"""The machine of each resource: its readers, what Discord says of it, what else happens to its records, and its own
promises."""

import json
from collections.abc import Hashable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, ClassVar
from unittest.mock import patch

from django.db import transaction
from hypothesis import strategies as st
from hypothesis.stateful import rule

from accounts import allowance, tokens
from accounts.clock import database_now
from accounts.discord import Member, PartialGuild, Tokens
from accounts.limits import Reason
from accounts.models import DiscordAccount, User
from guilds import news, personal_data, services
from guilds.engine import policy
from guilds.engine.policy import Served
from guilds.models import BotGuild, BotGuilds, GuildDirectory, GuildListVerification, GuildMember, UserGuildMembership
from guilds.resources import bot_guilds, member
from guilds.resources.bot_guilds import ALL_GUILDS, BOT_GUILDS
from guilds.resources.directory import DIRECTORY
from guilds.resources.guild_list import GUILD_LIST
from guilds.resources.member import BOT_REFRESH_AT, MEMBER
from guilds.services import Directory, GuildList, GuildMembership
from tests.engine.machine import FAILURES, PROCESSES, SPANS, Engine, Row, Seen, columns_of, select
from tests.engine.virtual import SILENCE, Key, Request, Task, answer, guild_list

PEOPLE = 2
TOKEN_ROUTE = "/oauth2/token"
TOKEN_FAILURES = {
    "invalid grant": answer(400, {"error": "invalid_grant"}),
    "wrong secret": answer(401, {"error": "invalid_client"}),
    "outage": FAILURES["outage"],
    "limited, all of us": FAILURES["limited, all of us"],
    "silence": SILENCE,
}
AN_OBJECT = answer(200, {"id": "1"})
LIST = "/users/@me/guilds"
UNKNOWN_GUILD = answer(404, {"message": "Unknown Guild", "code": 10004})
UNKNOWN_MEMBER = answer(404, {"message": "Unknown Member", "code": 10007})
LISTS = {
    "a list": guild_list(1, 2),
    "another list": guild_list(2, 3),
    "no servers": guild_list(),
    "null": answer(200, None),
}


def of_member(*roles: int) -> dict[str, Any]:
    joined = "2026-01-01T00:00:00+00:00"
    return {"roles": [str(role) for role in roles], "nick": None, "joined_at": joined, "pending": False}


class PeoplesEngine(Engine):
    """The records of people, who sign in again and are deleted."""

    grants: ClassVar[Sequence[frozenset[str]]]

    def __init__(self) -> None:
        super().__init__()
        # Its thread is not a task of the virtual world.
        self.stack.enter_context(patch.object(tokens.revoker, "add"))
        self.renewals = 0
        self.granted: dict[str, frozenset[str]] = {}
        self.discord_ids: dict[int, int] = {}

    def sign_up(self) -> int:
        self.renewals += 1
        user = User.objects.create_user(username=f"person {self.renewals}", discord_id=self.renewals)
        self.discord_ids[user.pk] = self.renewals
        sealed: Any = tokens.sealed(self.tokens(self.grants[0]), user.pk)
        DiscordAccount.objects.create(user=user, provider="discord", uid=str(self.renewals), extra_data=sealed)
        return user.pk

    def tokens(self, scopes: frozenset[str]) -> Tokens:
        self.renewals += 1
        access_token = f"access-{self.renewals:020}"
        self.granted[access_token] = scopes
        return Tokens(
            access_token=access_token,
            refresh_token=f"refresh-{self.renewals:020}",
            expires_in=604_800,
            scopes=scopes,
            token_type="Bearer",
        )

    @rule(process=st.integers(0, PROCESSES - 1), number=st.integers(0, 11), data=st.data())
    def sign_in_again(self, process: int, number: int, data: st.DataObject) -> None:
        key, fresh = self.key(number), self.tokens(data.draw(st.sampled_from(self.grants)))

        def link() -> None:
            account = DiscordAccount.objects.filter(user_id=key[0]).first()
            if account:
                tokens.store_sign_in(account, fresh)
                services.relink(key[0])

        self.start(process, key, "sign-in", link)

    def may_change(self, task: Task, key: Key) -> bool:
        return super().may_change(task, key) or (task.what == "sign-in" and key[0] == task.key[0])

    @rule(number=st.integers(0, 11))
    def forget(self, number: int) -> None:
        """Forget the person in one transaction. A new person replaces them, while the old readers are still running."""
        user_id = self.key(number)[0]
        personal_data.forget_user(User.objects.get(pk=user_id))
        seen = self._look()
        assert not [key for key in (*seen.rows, *seen.answers) if key[0] == user_id]
        assert (allowance.MEMBER, user_id) not in seen.allowances
        instead = self.sign_up()
        self.keys = [(instead, *key[1:]) if key[0] == user_id else key for key in self.keys]
        self.look_again()

    def good(self, request: Request) -> Sequence[Any]:
        if TOKEN_ROUTE not in request.route:
            return self.good_answers(request)
        renewed = self.tokens(self.grants[0])
        body = {
            "access_token": renewed.access_token,
            "refresh_token": renewed.refresh_token,
            "expires_in": renewed.expires_in,
            "scope": " ".join(sorted(renewed.scopes)),
            "token_type": "Bearer",
        }
        return [answer(200, body)]

    def good_answers(self, request: Request) -> Sequence[Any]:
        """Return the good responses to a request for the resource."""
        raise NotImplementedError

    def bad(self, request: Request) -> Sequence[Any]:
        return list(TOKEN_FAILURES.values()) if TOKEN_ROUTE in request.route else super().bad(request)


class OfGuildList(PeoplesEngine):
    resource = GUILD_LIST
    models = (UserGuildMembership, GuildListVerification, DiscordAccount, User)
    grants = (frozenset({"identify", "guilds"}),)
    failures: ClassVar[Mapping[str, Any]] = {**FAILURES, "an object": AN_OBJECT}

    def begin(self) -> list[Key]:
        return [(self.sign_up(),) for _ in range(PEOPLE)]

    def read_as(self, key: Key, max_age: timedelta | None) -> GuildList:
        return services._read(key[0], max_age, timeout=0)

    def youngest(self) -> timedelta:
        return services.MIN_MAX_AGE

    def stored(self) -> dict[Key, Hashable]:
        lists: dict[Key, tuple[int, ...]] = {}
        rows = select(UserGuildMembership, columns_of(UserGuildMembership, "user_id", "guild_id"))
        for row in sorted(rows, key=lambda row: row["guild_id"]):
            lists[(row["user_id"],)] = (*lists.get((row["user_id"],), ()), row["guild_id"])
        return dict(lists)

    def served(self, result: GuildList) -> Hashable:
        return tuple(one.guild_id for one in result)

    def good_answers(self, _request: Request) -> Sequence[Any]:
        return list(LISTS.values())

    def said(self, task: Task) -> Hashable | None:
        reply = task.replies[-1][1]
        return _ids(reply) if any(reply is one for one in LISTS.values()) else None


def _ids(reply: Any) -> tuple[int, ...]:
    return tuple(sorted(int(entry["id"]) for entry in json.loads(reply.body) or ()))


class BotMovesAbout(Engine):
    """Records that depend on where the bot is."""

    def bot_is_in(self, guild_id: int) -> bool:
        rows = select(BotGuild, columns_of(BotGuild, "id", "deleted_at"))
        return any(row["id"] == guild_id and row["deleted_at"] is None for row in rows)

    @rule(process=st.integers(0, PROCESSES - 1), number=st.integers(0, 11), is_there=st.booleans())
    def bot_moves(self, process: int, number: int, is_there: bool) -> None:
        key = self.key(number)
        guild = PartialGuild(key[-1], "Chess", None, permissions=8 if is_there else 0)
        self.start(process, key, "bot", lambda: self.learn(key[-1], guild if is_there else None))

    def learn(self, guild_id: int, guild: PartialGuild | None) -> None:
        bot_guilds.learn(guild_id, guild, database_now())

    def may_change(self, task: Task, key: Key) -> bool:
        return super().may_change(task, key) or (task.what == "bot" and key[-1] == task.key[-1])

    @rule(data=st.data(), rounds=st.integers(1, 4))
    def all_goes_well(self, data: st.DataObject, rounds: int) -> None:
        """Discord responds to all requests on the wire, and to some of those that follow."""
        for _ in range(rounds):
            self.everybody_goes_on()
            for task in self.world.at_the_network:
                assert task.request
                self.deliver(task, data.draw(st.sampled_from(self.good(task.request))))
            if wakes := [task.wakes for task in self.world.tasks if task.wakes is not None]:
                self.time_passes(max(min(wakes) - self.world.elapsed, 0.0))


class OfMember(BotMovesAbout, PeoplesEngine):
    """People in seven servers, with an allowance of five requests for all of them. In one server the bot is."""

    resource = MEMBER
    models = (GuildMember, GuildListVerification, DiscordAccount, User, BotGuild, BotGuilds)
    grants = (frozenset({"identify", "guilds", "guilds.members.read"}), frozenset({"identify", "guilds"}))
    failures: ClassVar[Mapping[str, Any]] = {**FAILURES, "an object": AN_OBJECT}
    spans = (*SPANS, 240, 301, 306)
    nothing = (False,)
    GUILDS, WITH_BOT = range(1, 8), 7
    MEMBERS: ClassVar = (
        answer(200, of_member(5)),
        answer(200, of_member(5, 6)),
        answer(200, of_member()),
        UNKNOWN_MEMBER,
    )

    def begin(self) -> list[Key]:
        now = database_now()
        BotGuild.objects.create(id=self.WITH_BOT, name="Chess", permissions=8, first_seen_at=now, verified_at=now)
        # What Discord's own windows hold: when each began, and how many requests of the person arrived in it.
        self.windows: dict[int, tuple[float, int]] = {}
        self.told: dict[Task, Hashable] = {}
        people = [self.sign_up() for _ in range(PEOPLE)]
        # A few records are read more often than others.
        often = [(people[0], 1), (people[0], 1), (people[0], self.WITH_BOT), (people[1], 1), (people[1], self.WITH_BOT)]
        return [*often, *((people[0], guild_id) for guild_id in self.GUILDS)]

    def read_as(self, key: Key, max_age: timedelta | None) -> GuildMembership:
        return services.get_member(User(pk=key[0]), key[1], max_age)

    def youngest(self) -> timedelta:
        return services.MIN_MAX_AGE

    def stored(self) -> dict[Key, Hashable]:
        columns = columns_of(GuildMember, "user_id", "guild_id", "is_member", "roles")
        return {
            (row["user_id"], row["guild_id"]): (bool(row["is_member"]), *json.loads(row["roles"]))
            for row in select(GuildMember, columns)
        }

    def served(self, result: GuildMembership) -> Hashable:
        return (result.is_member, *sorted(result.roles))

    def good_answers(self, request: Request) -> Sequence[Any]:
        if is_bots(request) and request.route.endswith(LIST):
            return guild_list(self.WITH_BOT), guild_list()
        return self.MEMBERS if is_bots(request) else (*self.MEMBERS, UNKNOWN_GUILD)

    def bad(self, request: Request) -> Sequence[Any]:
        return [*super().bad(request), UNKNOWN_GUILD] if is_bots(request) else super().bad(request)

    def said(self, task: Task) -> Hashable | None:
        request, reply = task.replies[-1]
        if reply is UNKNOWN_MEMBER or (reply is UNKNOWN_GUILD and not is_bots(request)):
            return self.nothing
        return (True, *_roles(reply)) if reply in self.MEMBERS else None

    def share(self, task: Task) -> float:
        return BOT_REFRESH_AT if is_bots(task.replies[-1][0]) else 0.8

    def limits(self, key: Key) -> dict[str, tuple[str, int]]:
        user_id, guild_id = key
        if self.bot_is_in(guild_id):
            return {f"members/{self.discord_ids[user_id]}": (allowance.BOT_MEMBER, guild_id)}
        return {f"@me/guilds/{guild_id}/member": (allowance.MEMBER, user_id)}

    @rule(process=st.integers(0, PROCESSES - 1))
    def read_in_all_servers(self, process: int) -> None:
        for number in range(len(self.keys) - len(self.GUILDS), len(self.keys)):
            self.read(process, number)

    @rule(process=st.integers(0, PROCESSES - 1), number=st.integers(0, 11), roles=st.sampled_from([(5,), (7,), None]))
    def event_arrives(self, process: int, number: int, roles: tuple[int, ...] | None) -> None:
        """The bot hears that the person's roles have changed, or that they left."""
        key, at = self.key(number), database_now()

        def hear() -> None:
            if roles is None:
                news.member_left(*key, at)
            else:
                news.member_changed(*key, Member.from_json(of_member(*roles)), at)

        task = self.start(process, key, "news", hear)
        self.told[task] = self.nothing if roles is None else (True, *roles)

    @rule(number=st.integers(0, 11), is_there=st.booleans(), seconds=st.sampled_from((0, 13)))
    def list_says(self, number: int, is_there: bool, seconds: float) -> None:
        """A list that was requested so long ago is stored, in which a server is missing or new."""
        key, at = self.key(number), self.world.now - timedelta(seconds=seconds)
        old, guild_ids = self.before.rows.get(key), [key[1]]
        joined, left = (guild_ids, []) if is_there else ([], guild_ids)
        was = self.before.answers.get(key)
        with transaction.atomic():
            member.list_says(key[0], joined=joined, left=left, at=at)
        self.look_again()
        if old is None or (old["verified_at"] and old["verified_at"] >= at):
            return
        if not is_there:
            assert self.before.answers[key] == self.nothing, "who left has no roles from now on"
        elif was == self.nothing:
            assert self.before.rows[key]["verified_at"] is None, "who came back is asked about"

    def check_event(self, task: Task, old: Row, new: Row, was: Hashable, is_: Hashable) -> None:
        if task.what != "news" or new["verified_at"] == old["verified_at"]:
            super().check_event(task, old, new, was, is_)
            return
        assert old["verified_at"] is None or new["verified_at"] > old["verified_at"], "older news changes nothing"
        assert is_ == self.told[task]
        assert (new["not_before"], new["silent_at"]) == (old["not_before"], old["silent_at"]), "a wait stays"
        assert new["reason"] == old["reason"] or (not new["reason"] and Reason(old["reason"]).is_refusal)
        self.accepted[task.key].add(is_)

    def check_request(self, task: Task, after: Seen, *, first: bool) -> None:
        super().check_request(task, after, first=first)
        assert task.request
        if not task.request.route.endswith("/member"):
            return
        user_id, now = task.key[0], self.world.elapsed
        began, count = self.windows.get(user_id, (now, 0))
        began, count = (now, 0) if now >= began + 300 else (began, count)
        self.windows[user_id] = began, count + 1
        assert count < 5, "Discord allows a person five requests in 300 s"
        granted = self.granted[task.request.token.removeprefix("Bearer ")]
        assert "guilds.members.read" in granted, "nothing is asked that the person did not allow"


def is_bots(request: Request) -> bool:
    """Whether the request was sent with the bot's token."""
    return request.token.startswith("Bot ")


def _roles(reply: Any) -> tuple[int, ...]:
    return tuple(sorted(int(role) for role in json.loads(reply.body)["roles"]))


def of_role(number: int) -> dict[str, Any]:
    return {"id": str(number), "name": f"Role {number}", "position": number, "permissions": "0", "managed": False}


def of_channel(number: int) -> dict[str, Any]:
    return {"id": str(number), "type": 0, "name": f"channel-{number}", "position": number}


class OfDirectory(BotMovesAbout):
    """Three servers, whose roles and channels take up to four requests."""

    resource = DIRECTORY
    models = (GuildDirectory, BotGuild, BotGuilds)
    spans = (*SPANS, 8 * 24 * 3600)
    nothing = ((), (), ())
    failures: ClassVar[Mapping[str, Any]] = {**FAILURES, "unknown guild": UNKNOWN_GUILD, "an object": AN_OBJECT}
    GUILDS = (1, 2, 3)
    GOOD: ClassVar[Mapping[str, Sequence[Any]]] = {
        "/roles": (answer(200, [of_role(5)]), answer(200, [of_role(5), of_role(6)]), answer(200, [])),
        "/channels": (answer(200, [of_channel(7)]), answer(200, [of_channel(7), of_channel(8)]), answer(200, [])),
        "/users/@me": (answer(200, {"id": "99", "username": "bot"}),),
        LIST: (guild_list(1), guild_list(2, 3), guild_list()),
        "/members/99": (answer(200, of_member(5)), answer(200, of_member())),
    }

    def begin(self) -> list[Key]:
        return [(guild_id,) for guild_id in self.GUILDS]

    def read_as(self, key: Key, max_age: timedelta | None) -> Directory:
        return services.get_directory(key[0], max_age)

    def youngest(self) -> timedelta:
        return services.MIN_MAX_AGE

    def stored(self) -> dict[Key, Hashable]:
        columns = columns_of(GuildDirectory, "guild_id", "roles", "channels", "bot_roles")
        return {
            (row["guild_id"],): (
                *(tuple(entry["id"] for entry in json.loads(row[name])) for name in ("roles", "channels")),
                tuple(json.loads(row["bot_roles"])),
            )
            for row in select(GuildDirectory, columns)
        }

    def served(self, result: Directory) -> Hashable:
        ids = (tuple(sorted(entry.id for entry in entries)) for entries in (result.roles, result.channels))
        return (*ids, tuple(sorted(result.bot_roles)))

    def good(self, request: Request) -> Sequence[Any]:
        return self.GOOD[_ending(request, self.GOOD)]

    def bad(self, request: Request) -> Sequence[Any]:
        return [*super().bad(request), UNKNOWN_MEMBER] if "/members/" in request.route else super().bad(request)

    def said(self, task: Task) -> Hashable | None:
        last = {_ending(request, self.GOOD): reply for request, reply in task.replies}
        if not {"/roles", "/channels", "/members/99"} <= last.keys():
            return None
        if not all(reply in self.GOOD[route] for route, reply in last.items()):
            return None
        return _ids(last["/roles"]), _ids(last["/channels"]), _roles(last["/members/99"])

    def limits(self, key: Key) -> dict[str, tuple[str, int]]:
        of_lists, of_member = (allowance.BOT_DIRECTORY, key[0]), (allowance.BOT_MEMBER, key[0])
        return {"/roles": of_lists, "/channels": of_lists, "/members/99": of_member}

    @rule(process=st.integers(0, PROCESSES - 1), number=st.integers(0, 11))
    def event_arrives(self, process: int, number: int) -> None:
        """The bot hears that something in the server has changed."""
        key, at = self.key(number), database_now()
        self.start(process, key, "news", lambda: news.directory_changed(key[0], at))


def _ending(request: Request, endings: Mapping[str, Any]) -> str:
    return next(ending for ending in endings if request.route.endswith(ending))


class OfBotGuilds(BotMovesAbout):
    """The bot's servers, on two pages."""

    resource = BOT_GUILDS
    models = (BotGuild, BotGuilds)
    failures: ClassVar[Mapping[str, Any]] = {**FAILURES, "an object": AN_OBJECT}
    FIRST = (guild_list(1, 2), guild_list(2, 3), guild_list())
    SECOND = (guild_list(), guild_list(4), guild_list(4, 5))

    def begin(self) -> list[Key]:
        # What was last said about single servers: when, and whether the bot is there.
        self.learned: dict[int, tuple[datetime, bool]] = {}
        return [(ALL_GUILDS,)]

    def read_as(self, key: Key, max_age: timedelta | None) -> Served:
        return Served.of(policy.read(BOT_GUILDS, *key, max_age=max_age, timeout=0))

    def youngest(self) -> timedelta:
        return services.MIN_MAX_AGE

    def learn(self, guild_id: int, guild: PartialGuild | None) -> None:
        at = database_now()
        bot_guilds.learn(guild_id, guild, at)
        if self.rows().get(guild_id, (None,))[0] == at:
            self.learned[guild_id] = at, guild is not None

    def rows(self) -> dict[int, tuple[Any, bool]]:
        """Return when each stored server was last said to have changed, and whether the bot is there."""
        columns = columns_of(BotGuild, "id", "verified_at", "deleted_at")
        return {row["id"]: (row["verified_at"], row["deleted_at"] is None) for row in select(BotGuild, columns)}

    def stored(self) -> dict[Key, Hashable]:
        return {(ALL_GUILDS,): tuple(sorted(guild_id for guild_id, (_, is_there) in self.rows().items() if is_there))}

    def served(self, result: Served) -> None:
        """A reader gets no list, but looks for each server."""

    def good(self, request: Request) -> Sequence[Any]:
        if request.after < 0:
            return self.FIRST
        return self.SECOND if request.after < 4 else self.SECOND[:1]

    def said(self, task: Task) -> Hashable | None:
        assert task.claimed
        pages = [reply for request, reply in task.replies if reply in self.good(request)]
        if not pages or _ids(pages[-1]):
            return None
        there = {guild_id for page in pages for guild_id in _ids(page)}
        for guild_id, (at, is_there) in self.learned.items():
            if at > task.claimed.at:
                there = there | {guild_id} if is_there else there - {guild_id}
        return tuple(sorted(there))

    def check_event(self, task: Task, old: Row, new: Row, was: Hashable, is_: Hashable) -> None:
        super().check_event(task, old, new, was if task.what == "news" else is_, is_)
        assert task.what == "news" or new == old, "news of one server end no attempt"

    @rule(process=st.integers(0, PROCESSES - 1))
    def event_arrives(self, process: int) -> None:
        """The bot's connection had a gap, in which something may have happened."""
        at = database_now()
        self.start(process, (ALL_GUILDS,), "news", lambda: news.after_gap(at))


MACHINES: tuple[type[Engine], ...] = (OfGuildList, OfMember, OfDirectory, OfBotGuilds)
