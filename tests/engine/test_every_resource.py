"""R13: what the engine promises about lists holds for every resource, over several processes."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from itertools import cycle, islice
from typing import Any

import pytest

from accounts.clock import database_now
from accounts.models import User
from bench.sites import Site
from guilds.engine.resource import Resource
from guilds.models import BotGuild, UserGuildMembership
from guilds.resources import ALL
from guilds.resources.bot_guilds import ALL_GUILDS, BOT_GUILDS
from guilds.resources.directory import DIRECTORY
from guilds.resources.guild_list import GUILD_LIST
from guilds.resources.member import MEMBER
from sandbox.calls import BOT
from sandbox.remote import BOT_MEMBER, LIST, ROLES
from tests.engine.conftest import Fleet, eventually, finish, freeze, hold, send
from tests.fixtures import Sandbox, let_pass

CLUB, OTHER = 1000, 1001
STAFF, NEWER = 77, 88


@dataclass(frozen=True)
class Kept:
    """A record of one resource, which nothing has been stored of.

    `route` is the first that an attempt requests, with the bot's token if `is_bots`. `change` gives Discord a newer
    answer.
    """

    resource: Resource[Any, Any]
    key: tuple[int, ...]
    fleet: Fleet
    route: str
    is_bots: bool
    change: Callable[[], None]

    def read(self, site: Site) -> dict[str, Any]:
        """Return what a reader is told: `freshness`, None for no answer; `reason`, and `retry_after` in seconds."""
        path = "/".join(map(str, self.key))
        told: dict[str, Any] = send(site, f"/_read/{self.resource.name}/{path}/").json
        return told

    def crowd(self, readers: int) -> list[dict[str, Any]]:
        """Return what as many readers are told, who read at once, distributed over the processes."""
        sites = islice(cycle(self.fleet.sites), readers)
        with ThreadPoolExecutor(readers) as pool:
            return list(pool.map(self.read, sites))

    def asked(self, **only: Any) -> int:
        """Count the attempts that reached Discord. Of a list in pages, the first is counted."""
        sent = self.fleet.sandbox.requests("", route=self.route, **only)
        return sum((request["person"] == BOT) == self.is_bots and "after" not in request["query"] for request in sent)

    def stored(self) -> list[list[dict[str, Any]]]:
        """Return the rows of all records of the resource, and those of answers that are no part of a record.

        Without the time of the last read, which a process notes some time after it.
        """
        models = (self.resource.model, UserGuildMembership, BotGuild)
        rows = [list(model._default_manager.order_by("pk").values()) for model in models]
        for record in rows[0]:
            del record["last_read_at"]
        return rows


@pytest.fixture(params=ALL, ids=lambda resource: resource.name)
def kept(request: pytest.FixtureRequest, fleet: Fleet, sandbox: Sandbox, sign_up: Callable[..., User]) -> Kept:
    """A record of each resource: a person in two servers, of which the bot is in the first."""
    resource: Resource[Any, Any] = request.param
    guilds = [{"id": str(guild_id), "name": "Chess", "bot": guild_id == CLUB} for guild_id in (CLUB, OTHER)]
    sandbox.person("ada", guilds=guilds)
    sandbox.roles(CLUB, *({"id": str(role), "name": f"Role {role}"} for role in (STAFF, NEWER)))
    user = sign_up("ada")
    if resource is not BOT_GUILDS:
        now = database_now()
        BotGuild.objects.create(id=CLUB, name="Chess", first_seen_at=now, verified_at=now)
    sandbox.forget_requests()
    keys = {GUILD_LIST: (user.pk,), MEMBER: (user.pk, CLUB), DIRECTORY: (CLUB,), BOT_GUILDS: (ALL_GUILDS,)}
    routes = {MEMBER: BOT_MEMBER, DIRECTORY: ROLES}
    changes: dict[Any, Callable[[], None]] = {
        GUILD_LIST: partial(sandbox.person, "ada", guilds=guilds[:1]),
        MEMBER: partial(sandbox.member, "ada", CLUB, roles=[str(NEWER)]),
        DIRECTORY: partial(sandbox.roles, CLUB, {"id": str(NEWER), "name": "Newer"}),
        BOT_GUILDS: partial(sandbox.bot, OTHER, 8),
    }
    is_bots = resource is not GUILD_LIST
    return Kept(resource, keys[resource], fleet, routes.get(resource, LIST), is_bots, changes[resource])


def test_r13_any_number_of_readers_cost_one_attempt(kept: Kept) -> None:
    """As G1 and G9. A reader whose wait ends before the answer comes is told to retry."""
    kept.fleet.sandbox.mood(latency_ms=300)

    first = kept.crowd(12)
    kept.fleet.settle()
    again = kept.crowd(3)

    assert {told["freshness"] for told in first} <= {"fresh", None}
    assert {told["freshness"] for told in again} == {"fresh"}
    assert kept.asked() == 1


def test_r13_a_late_answer_is_dropped_after_a_takeover(kept: Kept) -> None:
    """As G3 and G4. A process is frozen with an answer that it couldn't read yet, until its lease has ended."""
    frozen, other, _ = kept.fleet.sites
    hold(frozen)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(kept.read, frozen)
        eventually(lambda: kept.asked() == 1, "the request has been sent")
        eventually(lambda: kept.asked(status=None) == 0, "the sandbox has answered")
        freeze(frozen)

        let_pass(seconds=kept.resource.windows().lease.total_seconds())
        kept.change()
        kept.read(other)
        finish(other)
        newer = kept.stored()
        frozen.thaw()
        # Also a request for which the process wakes up; without one, it would notice its signal up to a second later.
        finish(frozen)

    assert kept.stored() == newer
    assert {kept.read(site)["freshness"] for site in kept.fleet.sites} == {"fresh"}
    assert kept.asked() == 2


def test_r13_a_wait_that_one_process_was_named_holds_for_all(kept: Kept) -> None:
    """As G2, G12 and G13."""
    kept.fleet.sandbox.mood("raw", status=503, headers={"Retry-After": "90"})
    assert kept.read(kept.fleet[0])["reason"] == "unavailable"
    kept.fleet.sandbox.mood()
    sent = kept.asked()
    record, before = kept.resource.read(*kept.key)
    assert record.not_before

    told = [kept.read(site) for site in kept.fleet.sites]

    after = database_now()
    assert {(one["freshness"], one["reason"]) for one in told} == {(None, "unavailable")}
    for one in told:
        assert before <= record.not_before - timedelta(seconds=one["retry_after"]) <= after, "the wait is true"
    assert kept.asked() == sent
    let_pass(seconds=(record.not_before - before).total_seconds())
    kept.read(kept.fleet[1])
    kept.fleet.settle()
    assert kept.read(kept.fleet[2])["freshness"] == "fresh"
