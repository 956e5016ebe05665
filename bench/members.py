"""Pages behind roles while Discord is healthy, then limits everybody, then is silent, with four processes.

Each of 200 people is in eight servers and reads the pages of random ones. For half of the people the bot is in half of
these servers; for the others it is in none, so that all roles have to be asked for with the person's own token, five in
300 s. For comparison, the same reads are put to two common ways of using that token: to ask at every view, and to keep
an answer for five minutes. They are played on the sandbox's own rule, which says what Discord would have answered.
"""

import argparse
import json
import math
import random
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from statistics import median
from typing import Any

from django.db import connection

from accounts import allowance, scopes
from accounts.clock import database_now
from accounts.models import User
from bench.cluster import Cluster, Person, cluster, sign_in
from bench.readers import READER_THREADS, Response, print_table, read
from bench.stage import Stage
from guilds import services
from guilds.models import BotGuild
from sandbox.limits import MEMBER_WINDOW, Limits
from sandbox.remote import BOT_MEMBER, MEMBER

PROCESSES, THREADS = 4, 16
SERVERS, COMMUNITIES = 8, 40
STAFF = 77
SCOPES = ("identify", "guilds", scopes.MEMBER)
ROUTES = [MEMBER, BOT_MEMBER]
HEALTHY, LIMITED, SILENT = "healthy", "limited", "silent"
MOODS: dict[str, dict[str, Any]] = {
    HEALTHY: {},
    LIMITED: {"mode": "rate_limited", "retry_after": 30, "routes": ROUTES},
    SILENT: {"mode": "timeout", "routes": ROUTES},
}
# How far a named wait may be from the moment that the person's window ends: it is in whole seconds.
TRUE_WITHIN = 2.0
CACHED_FOR = 300.0
ALLOWED = 5


@dataclass(frozen=True, slots=True)
class Reader:
    """A person, the servers they are in, and in which of them they are staff."""

    person: Person
    group: str  # "half" or "none": where the bot is
    guild_ids: tuple[int, ...]
    staff_in: frozenset[int]


@dataclass(frozen=True, slots=True)
class View:
    """A page of one server, read `at` this time of the monotonic clock.

    `wait_is_true` says so of a refusal's Retry-After.
    """

    at: float
    phase: str
    reader: Reader
    guild_id: int
    source: str  # "bot" or "person"
    response: Response
    age: int | None
    wait_is_true: bool

    @property
    def is_answered(self) -> bool:
        return self.response.status == 200

    @property
    def reason(self) -> str:
        """Why there were no roles, or wrong ones."""
        if self.is_answered or not self.response.body:
            return str(self.response.status)
        told = self.response.json
        return str(told.get("reason") or told.get("type"))

    @property
    def is_error(self) -> bool:
        """Whether this is neither the right roles nor a refusal with a true wait."""
        if not self.is_answered:
            return not (self.response.status == 429 and self.wait_is_true)
        return bool(self.response.json["roles"]) is not (self.guild_id in self.reader.staff_in)


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--people", type=int, default=200)
    parser.add_argument("--rate", type=float, default=15, help="pages per second, over all processes")
    parser.add_argument("--seed", type=int, default=1, help="the same seed gives the same reads")
    for phase, seconds in ((HEALTHY, 120), (LIMITED, 60), (SILENT, 60)):
        parser.add_argument(f"--{phase}", type=float, default=seconds, metavar="SECONDS", help="duration of this phase")


def run(stage: Stage, options: argparse.Namespace) -> int:
    chance = random.Random(options.seed)
    with cluster(stage, PROCESSES, THREADS, "bench.member_site:application", DISCORD_SEND_RATE="50") as sites:
        bot_in = prepare_communities(stage)
        readers = [join(stage, f"reader{number}", number, chance) for number in range(options.people)]
        views: list[View] = []
        requests: list[dict[str, Any]] = []
        for phase, mood in MOODS.items():
            stage.sandbox.forget_requests()
            stage.sandbox.mood(**mood)
            count = math.ceil(getattr(options, phase) * options.rate)
            views += read_pages(sites, readers, bot_in, phase, count, options.rate, chance)
            requests += [{**line, "phase": phase} for line in stage.sandbox.requests("") if line["route"] in ROUTES]
        stage.sandbox.mood()
    return report(options, views, requests)


def prepare_communities(stage: Stage) -> set[int]:
    """Create the communities; the bot is in every second one. Returns their ids."""
    now = database_now()
    bot_in = {community(number) for number in range(0, COMMUNITIES, 2)}
    BotGuild.objects.bulk_create(
        BotGuild(id=guild_id, name="Chess", first_seen_at=now, verified_at=now) for guild_id in sorted(bot_in)
    )
    return bot_in


def community(number: int) -> int:
    return 10_000 + number


def join(stage: Stage, name: str, number: int, chance: random.Random) -> Reader:
    """Create a signed-in person with a fresh list, who is staff in some of their servers."""
    group = "half" if number % 2 else "none"
    # Of the communities with an odd number the bot is in none.
    numbers = range(COMMUNITIES) if group == "half" else range(1, COMMUNITIES, 2)
    with_bot, without = [one for one in numbers if one % 2 == 0], [one for one in numbers if one % 2]
    half = SERVERS // 2 if with_bot else 0
    chosen = sorted(chance.sample(with_bot, half) + chance.sample(without, SERVERS - half))
    guild_ids = tuple(map(community, chosen))
    staff_in = frozenset(chance.sample(guild_ids, SERVERS // 2))
    person = sign_in(stage, name, guilds=0, scopes=SCOPES)
    guilds = [
        {"id": str(guild_id), "name": f"Community {guild_id}", "bot": guild_id % 2 == 0} for guild_id in guild_ids
    ]
    stage.sandbox.person(name, guilds=guilds)
    for guild_id in guild_ids:
        stage.sandbox.roles(guild_id, {"id": str(STAFF + guild_id * 1000), "name": "Staff"})
        roles = ["Staff"] if guild_id in staff_in else []
        stage.sandbox.member(name, guild_id, roles=roles)
    user = User.objects.get(pk=person.user_id)
    # Without it the bot can't name the person.
    user.discord_id = int(stage.sandbox.call("GET", f"people/{name}")["id"])
    user.save()
    services.get_guild_list(user)
    return Reader(person, group, guild_ids, staff_in)


def read_pages(
    sites: Cluster,
    readers: Sequence[Reader],
    bot_in: set[int],
    phase: str,
    count: int,
    rate: float,
    chance: random.Random,
) -> list[View]:
    """Read at a steady rate. Each read is due at a fixed time, however long earlier ones take.

    Returns when all have been answered, so that each read belongs to one phase.
    """

    def view(due: float, reader: Reader, guild_id: int, site: int) -> View:
        try:
            response = read(sites.sites[site], reader.person, f"/_member/{guild_id}/", due)
            source = "bot" if guild_id in bot_in else "person"
            age = response.age if response.status == 200 else None
            wait_is_true = response.status == 429 and is_true(reader.person, response)
            return View(due, phase, reader, guild_id, source, response, age, wait_is_true)
        finally:
            connection.close()

    start = time.monotonic()
    started: list[Future[View]] = []
    with ThreadPoolExecutor(READER_THREADS) as pool:
        for number in range(count):
            due = start + number / rate
            time.sleep(max(due - time.monotonic(), 0))
            reader = chance.choice(readers)
            guild_id = chance.choice(reader.guild_ids)
            started.append(pool.submit(view, due, reader, guild_id, number % PROCESSES))
    return [each.result() for each in started]


def is_true(person: Person, response: Response) -> bool:
    """Whether the person's requests are used up, and the named wait ends when their window does."""
    state, now = allowance.read(allowance.MEMBER, person.user_id)
    if state.window_ends_at is None or response.retry_after is None:
        return False
    told = timedelta(seconds=response.retry_after)
    used_up = state.sent >= (allowance.kind_of(allowance.MEMBER).requests or 0)
    return used_up and abs((now + told - state.window_ends_at).total_seconds()) <= TRUE_WITHIN


# The usual ways


def usual_way(views: Iterable[View], keep: float) -> tuple[list[View], "Counter[str]"]:
    """Return the views that would have been answered with answers kept for `keep` seconds, and what Discord would say.

    Each view that finds no kept answer sends one request with the person's token.
    """
    limits = Limits()
    kept: dict[tuple[str, int], float] = {}
    answered: list[View] = []
    discord: Counter[str] = Counter()
    for view in sorted(views, key=lambda view: view.at):
        key = view.reader.person.name, view.guild_id
        if key in kept and view.at < kept[key] + keep:
            answered.append(view)
            continue
        if view.phase == SILENT:
            said = "nothing"
        elif view.phase == LIMITED or not limits.take_member(view.reader.person.name, view.at).allowed:
            said = "429"
        else:
            said = "200"
            kept[key] = view.at
            answered.append(view)
        discord[said] += 1
    return answered, discord


# The report


def most_in_a_window(requests: Iterable[dict[str, Any]]) -> int:
    """Return the most requests with one person's token in one of Discord's windows, which begin with a request."""
    of_person: dict[str, list[float]] = defaultdict(list)
    for request in requests:
        if request["route"] == MEMBER:
            of_person[request["person"]].append(request["time"])
    most = 0
    for moments in of_person.values():
        began, count = float("-inf"), 0
        for at in sorted(moments):
            began, count = (began, count + 1) if at < began + MEMBER_WINDOW else (at, 1)
            most = max(most, count)
    return most


def share(part: Sequence[View], of: Sequence[View], **only: str) -> float:
    """Return the share of views in `part`, of those whose group or phase is given."""

    def counted(view: View) -> bool:
        return only.get("group", view.reader.group) == view.reader.group and only.get("phase", view.phase) == view.phase

    total = sum(map(counted, of))
    return round(sum(map(counted, part)) / total, 3) if total else 0.0


def report(options: argparse.Namespace, views: Sequence[View], requests: Sequence[dict[str, Any]]) -> int:
    answered = [view for view in views if view.is_answered]
    ways = {"ask_on_each_view": usual_way(views, 0), "five_minute_cache": usual_way(views, CACHED_FOR)}
    ages = {
        source: [view.age for view in answered if view.source == source and view.age is not None]
        for source in ("bot", "person")
    }

    def shares(part: Sequence[View]) -> dict[str, dict[str, float]]:
        return {
            phase: {f"bot_in_{group}": share(part, views, group=group, phase=phase) for group in ("half", "none")}
            for phase in MOODS
        }

    summary: dict[str, Any] = {
        "database": connection.vendor,
        "people": options.people,
        "views": len(views),
        "requests": len(requests),
        "requests_by_source": dict(Counter("bot" if one["route"] == BOT_MEMBER else "person" for one in requests)),
        "sent_per_person_window_max": most_in_a_window(requests),
        "discord_429": sum(one["status"] == 429 for one in requests if one["phase"] == HEALTHY),
        "discord_429_limited": sum(one["status"] == 429 for one in requests if one["phase"] == LIMITED),
        "errors_healthy": sum(view.is_error for view in views if view.phase == HEALTHY),
        "errors_healthy_by_reason": dict(
            Counter(view.reason for view in views if view.phase == HEALTHY and view.is_error)
        ),
        "statuses": {
            phase: dict(Counter(str(view.response.status) for view in views if view.phase == phase)) for phase in MOODS
        },
        "answered_share": shares(answered),
        "ages_s": {source: {"median": median(known), "max": max(known)} for source, known in ages.items() if known},
        "usual": {
            name: {"answered_share": shares(part), "requests": discord.total(), "discord": dict(discord)}
            for name, (part, discord) in ways.items()
        },
    }
    others = {name: f"{one['requests']} ({one['discord'].get('429', 0)})" for name, one in summary["usual"].items()}
    print_table(
        {
            "views": len(views),
            "requests to Discord (429 while healthy)": f"{len(requests)} ({summary['discord_429']})",
            **{f"{name.replace('_', ' ')}, in all (429)": told for name, told in others.items()},
            "most of one person in a window": summary["sent_per_person_window_max"],
            "errors while healthy": summary["errors_healthy"],
        }
    )
    print(f"\n{'answered':<24}{'bot in half':>14}{'bot in none':>14}")
    for name, found in {"the site": summary["answered_share"], **_shares_of(summary["usual"])}.items():
        for phase, part in found.items():
            print(f"{name + ', ' + phase:<38}{part['bot_in_half']:>8.1%}{part['bot_in_none']:>12.1%}")
    print(json.dumps(summary))
    most: int = summary["sent_per_person_window_max"]
    return 0 if most <= ALLOWED and not summary["discord_429"] + summary["errors_healthy"] else 1


def _shares_of(usual: dict[str, Any]) -> dict[str, Any]:
    return {name.replace("_", " "): one["answered_share"] for name, one in usual.items()}
