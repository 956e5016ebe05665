"""The bot's events: 10,000 of them in batches, out of order and some of them repeated, about people who have signed in.

They are sent twice, each time to the same rows. First to the site in this process, which counts the statements, and
then to a process of the site that is killed while it stores a batch. That batch was not acknowledged and is sent again;
those before it are not. Each time, the members must end as their last event says.
"""

import argparse
import json
import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import product
from typing import Any

import requests
from django.db import connection
from django.test import Client

from accounts import service_tokens
from accounts.clock import database_now
from accounts.models import User
from bench.cluster import cluster
from bench.sites import Site
from bench.stage import Stage
from guilds.models import GuildListVerification, GuildMember, UserGuildMembership

PATH = "/api/v1/bot/events/"
PEOPLE, GUILDS, ROLES = 50, 20, 8
BATCH = 200
# Of the events, how many a bot sends a second time.
REPEATED = 0.1
# A member's event takes the statements of a read, a compare-and-swap, and what it changes in the person's list.
MAX_STATEMENTS = 5
KINDS = ("GUILD_MEMBER_UPDATE",) * 8 + ("GUILD_MEMBER_REMOVE", "GUILD_MEMBER_ADD")

Json = dict[str, Any]
# The roles of each member, by the ids of the person and the server; None if the person left.
State = dict[tuple[int, int], list[int] | None]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How events were stored: `wrong` counts the members that are not as their last event says."""

    events: int
    seconds: float
    statements: int
    refused: int
    wrong: int
    wrong_after_kill: int
    kills: int

    @property
    def per_second(self) -> float:
        return round(self.events / self.seconds, 1)

    @property
    def statements_per_event(self) -> float:
        return round(self.statements / self.events, 2)

    def broken(self) -> list[str]:
        """Return the expectations that were not met, as sentences."""
        expectations = {
            f"{self.refused} batches were refused": self.refused == 0,
            f"{self.wrong} members are not as their last event says": self.wrong == 0,
            f"{self.wrong_after_kill} members are not as their last event says, after a kill": (
                self.wrong_after_kill == 0
            ),
            "no batch was interrupted by a kill": self.kills > 0,
            f"an event takes {self.statements_per_event} statements": self.statements_per_event <= MAX_STATEMENTS,
        }
        return [what for what, holds in expectations.items() if not holds]


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--events", type=int, default=10_000, help="how many, without repeated ones (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the events and their order (%(default)s)")


def run(stage: Stage, options: argparse.Namespace) -> int:
    """Measure and print. Returns the exit code: 0 if the expectations were met."""
    token = service_tokens.create("bot", ["bot:events"], by="the bench")[1]
    headers = {"Authorization": f"Bearer {token}"}
    chance = random.Random(options.seed)

    events = list(new_events(store_people(), options.events, chance))
    expected, batches = last_state(events), shuffled_batches(events, chance)
    statements = Statements()
    started = time.perf_counter()
    with connection.execute_wrapper(statements):
        statuses = [send_here(headers, batch) for batch in batches]
    seconds = time.perf_counter() - started
    wrong = wrong_members(expected)

    store_rows()
    with cluster(stage, processes=1, threads=4) as site:
        through_kill = send_through_a_kill(site.sites[0], headers, batches)
    outcome = Outcome(
        events=sum(map(len, batches)),
        seconds=seconds,
        statements=statements.count,
        refused=sum(status not in (0, 204) for status in statuses + through_kill),
        wrong=wrong,
        wrong_after_kill=wrong_members(expected),
        kills=through_kill.count(0),
    )
    return report(outcome)


def report(outcome: Outcome) -> int:
    """Print the figures and what is broken, and return the exit code."""
    print(f"{'events, with repeated ones':<36}{outcome.events:>10}")
    print(f"{'events a second':<36}{outcome.per_second:>10}")
    print(f"{'statements per event':<36}{outcome.statements_per_event:>10}")
    print(f"{'members that are wrong':<36}{outcome.wrong:>10}")
    print(f"{'members that are wrong after a kill':<36}{outcome.wrong_after_kill:>10}")
    broken = outcome.broken()
    for what in broken:
        print(f"BROKEN {what}")
    summary = {
        "events": outcome.events,
        "events_per_second": outcome.per_second,
        "statements_per_event": outcome.statements_per_event,
        "wrong": outcome.wrong,
        "wrong_after_kill": outcome.wrong_after_kill,
        "kills": outcome.kills,
        "refused": outcome.refused,
        "database": connection.vendor,
        "seconds": round(outcome.seconds, 1),
    }
    print(json.dumps(summary))
    return 1 if broken else 0


# Rows


def store_people() -> list[int]:
    """Store people who have signed in and whose rows exist, and return their ids at Discord."""
    ids = list(range(1001, 1001 + PEOPLE))
    User.objects.bulk_create(User(username=str(each), discord_username=str(each), discord_id=each) for each in ids)
    store_rows()
    return ids


def store_rows() -> None:
    """Store that all people are in all guilds, without roles, as Discord said an hour ago."""
    verified = {"verified_at": database_now() - timedelta(hours=1), "refresh_after": database_now()}
    for model in (GuildMember, UserGuildMembership, GuildListVerification):
        model._default_manager.all().delete()
    people = User.objects.filter(discord_id__isnull=False)
    GuildListVerification.objects.bulk_create(GuildListVerification(user=user, **verified) for user in people)
    everywhere = list(product(people, range(1, GUILDS + 1)))
    GuildMember.objects.bulk_create(
        GuildMember(user=user, guild_id=guild_id, is_member=True, roles=[], **verified) for user, guild_id in everywhere
    )
    seen = dict.fromkeys(("first_seen_at", "changed_at"), verified["verified_at"])
    UserGuildMembership.objects.bulk_create(
        UserGuildMembership(user=user, guild_id=guild_id, name=f"Server {guild_id}", **seen)
        for user, guild_id in everywhere
    )


def stored_state() -> State:
    rows = GuildMember.objects.values_list("user__discord_id", "guild_id", "is_member", "roles")
    return {
        (discord_id or 0, guild_id): roles if is_member else None for discord_id, guild_id, is_member, roles in rows
    }


def wrong_members(expected: State) -> int:
    """Count the members that differ from the expected state, and those who left and are still in their list."""
    stored = stored_state()
    listed = set(UserGuildMembership.objects.values_list("user__discord_id", "guild_id"))
    return sum(stored[key] != roles or (roles is None and key in listed) for key, roles in expected.items())


# Events


def new_events(people: Sequence[int], count: int, chance: random.Random) -> Iterator[Json]:
    """Yield events of the last half hour, in order, about these people in any of the guilds."""
    began, step = database_now() - timedelta(minutes=30), timedelta(minutes=30) / count
    for number in range(count):
        kind = chance.choice(KINDS)
        event: Json = {
            "type": kind,
            "at": (began + number * step).isoformat(),
            "guild_id": str(chance.randint(1, GUILDS)),
            "user_id": str(chance.choice(people)),
        }
        if kind != "GUILD_MEMBER_REMOVE":
            roles = sorted(chance.sample(range(1, ROLES + 1), chance.randrange(4)))
            event["member"] = {"roles": [str(role) for role in roles], "nick": None}
        yield event


def last_state(events: Iterable[Json]) -> State:
    """Return what each member that the events name is after the latest of them, whatever their order."""
    state: State = {}
    for event in sorted(events, key=lambda event: datetime.fromisoformat(event["at"])):
        member = event.get("member")
        roles = None if member is None else [int(role) for role in member["roles"]]
        state[int(event["user_id"]), int(event["guild_id"])] = roles
    return state


def shuffled_batches(events: Sequence[Json], chance: random.Random) -> list[list[Json]]:
    """Return all events in a random order, some of them twice, in batches."""
    sent = [*events, *chance.sample(events, int(len(events) * REPEATED))]
    chance.shuffle(sent)
    return [sent[start : start + BATCH] for start in range(0, len(sent), BATCH)]


# Sending


class Statements:
    """Counts the database's statements, as a wrapper of a connection."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, execute: Callable[..., Any], *arguments: Any) -> Any:
        self.count += 1
        return execute(*arguments)


def send_here(headers: dict[str, str], batch: Sequence[Json]) -> int:
    """Send a batch to the site in this process, and return the status."""
    client = Client(SERVER_NAME="localhost", headers=headers)
    return int(client.post(PATH, {"events": batch}, content_type="application/json").status_code)


def send_to(site: Site, headers: dict[str, str], batch: Sequence[Json]) -> int:
    """Send a batch to a process of the site, and return the status; 0 without a response."""
    try:
        return requests.post(site.url + PATH, json={"events": batch}, headers=headers, timeout=120).status_code
    except requests.ConnectionError:
        return 0


def send_through_a_kill(site: Site, headers: dict[str, str], batches: Sequence[Sequence[Json]]) -> list[int]:
    """Send all batches, and kill the process once it has begun to store the middle one.

    Returns all statuses, with 0 for a batch that got no response and was sent again.
    """
    statuses = []
    with ThreadPoolExecutor(1) as pool:
        for number, batch in enumerate(batches):
            before = stored_state() if number == len(batches) // 2 else None
            response = pool.submit(send_to, site, headers, batch)
            if before is not None:
                while stored_state() == before and not response.done():
                    time.sleep(0.001)
                site.kill()
                site.start()
                site.wait_until_up()
            statuses.append(response.result())
            if statuses[-1] == 0:
                statuses.append(send_to(site, headers, batch))
    return statuses
