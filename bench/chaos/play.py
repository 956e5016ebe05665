"""A chaos test of the site: processes die and freeze, Discord fails in every way, rows age, and many readers read.

Afterwards a checker looks for broken guarantees in the requests to the sandbox, the history of each row and the
readers' responses. The plan of events is drawn from the seed before the start; their interleaving depends on the
machine.
"""

import argparse
import heapq
import json
import random
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from http.client import HTTPConnection, HTTPException
from typing import Any

from django.db import Error, connection
from django.db.models import F

from accounts import scopes, tokens
from accounts.database import is_unavailable
from accounts.discord import Tokens
from accounts.models import DiscordAccount, DiscordGate, DiscordRefusal, User
from bench.chaos import history
from bench.chaos.checker import check
from bench.chaos.known import (
    LISTS,
    MEMBERS,
    Finding,
    Gap,
    Guilds,
    Mood,
    Nick,
    Read,
    Request,
    Run,
    Settings,
    Version,
)
from bench.cluster import Cluster, Person, cluster, sign_in
from bench.sites import Site
from bench.stage import Stage
from guilds import personal_data, services
from guilds.models import GuildListVerification, GuildMember
from sandbox.calls import BOT
from sandbox.remote import LIST, MEMBER, Remote

PROCESSES, PEOPLE, READERS = 4, 200, 16
# Web threads per process, and as many background threads.
THREADS = 16
BUDGET = 4
KNOWN = Settings(
    lease=BUDGET + 2,
    timeout=2,
    fresh=60,
    manual_pause=5,
    retries=3,
    brake_soft=20,
    brake_hard=30,
    # Shorter than Discord's, so that a run contains many windows.
    member_window=15,
    member_margin=BUDGET,
)
SCOPES = ("identify", "guilds", scopes.MEMBER)
# The servers of a person whose members are read: few, so that they are read again.
SERVERS = 3
# A server without any of the people.
ELSEWHERE = 1
ENVIRONMENT = {
    "DISCORD_GUILD_CACHE_FRESH_MINUTES": "1",
    "DISCORD_FETCH_BUDGET_MS": str(BUDGET * 1000),
    "DISCORD_REQUEST_TIMEOUT_MS": str(int(KNOWN.timeout * 1000)),
    "DISCORD_REFRESH_WAIT_MS": "300",
    "DISCORD_API_RETRY_DELAY_MS": "200",
    "DISCORD_SEND_RATE": "50",
    "DISCORD_MANUAL_REFRESH_SECONDS": str(int(KNOWN.manual_pause)),
    "DISCORD_BRAKE_SOFT": str(KNOWN.brake_soft),
    "DISCORD_BRAKE_HARD": str(KNOWN.brake_hard),
    "DISCORD_MEMBER_WINDOW": str(int(KNOWN.member_window)),
}
# Mean seconds between two reads of one reader; two cores run the readers, four processes and a sandbox.
PAUSE = 0.15
# Seconds. Longer than a process stays frozen.
READ_TIMEOUT = 20.0
CSRF = "c" * 32
CLOUDFLARE = ("cloudflare_html", "cloudflare_json")
# The mood that causes enough refusals to engage the brake.
STORM = {"mode": "rate_limited", "retry_after": 1}


@dataclass(frozen=True, slots=True, order=True)
class Event:
    """An event `at` seconds after the start."""

    at: float
    kind: str
    people: tuple[str, ...] = ()
    number: float = 0
    options: str = ""


# The plan


def draw(seed: int, seconds: float) -> list[Event]:
    """Draw the plan of a run from its seed."""
    chance = random.Random(seed)
    names = [f"p{number:03}" for number in range(PEOPLE)]
    return sorted(
        [
            *weather(chance, names, seconds),
            *_accidents(chance, names, seconds),
            *changes(chance, names, seconds, ("list", "nick", "sign-in", "revoke", "forget")),
        ]
    )


def changes(chance: random.Random, names: list[str], seconds: float, kinds: tuple[str, ...]) -> Iterator[Event]:
    """Draw what changes for people at Discord and on the site."""
    every = {"list": (0.5, 3), "nick": (0.3, 3), "sign-in": (1.0, 2), "revoke": (3.0, 1), "forget": (5.0, 1)}
    for kind in kinds:
        at, (pause, count) = 2.0, every[kind]
        while at < seconds:
            yield Event(round(at, 2), kind, tuple(chance.sample(names, count)), chance.randrange(7))
            at += pause * chance.uniform(0.7, 1.3)


def _moods(chance: random.Random, names: list[str]) -> list[tuple[float, dict[str, Any]]]:
    """Return each mood once, in a random order, with its duration in seconds."""
    some = sorted(chance.sample(names, PEOPLE // 2))
    few = sorted(chance.sample(names, PEOPLE // 8))
    moods: list[tuple[float, dict[str, Any]]] = [
        (5, {"mode": "rate_limited", "retry_after": chance.randint(3, 20), "people": some}),
        (4, STORM),
        # Slow, so that many requests are in flight when the first response arrives.
        (2, {"mode": "global_limit", "retry_after": chance.randint(3, 6), "latency_ms": 300}),
        (2, {"mode": chance.choice(CLOUDFLARE), "retry_after": chance.choice((None, 4)), "latency_ms": 300}),
        (4, {"mode": chance.choice(("outage", "bad_gateway"))}),
        (5, {"mode": "healthy", "latency_ms": chance.randint(500, 2500)}),
        (4, {"mode": chance.choice(("timeout", "drip"))}),
        (3, {"mode": chance.choice(("garbage", "truncated", "wrong_type", "reset"))}),
        (2, {"mode": "null_body", "people": few}),
        (2, {"mode": chance.choice(("shared_limit", "no_headers")), "retry_after": 3}),
        (4, {"mode": chance.choice(("unauthorized", "forbidden", "dead_refresh")), "people": few}),
    ]
    chance.shuffle(moods)
    return moods


def weather(chance: random.Random, names: list[str], seconds: float) -> Iterator[Event]:
    """Draw Discord's moods, and how old the rows are that meet them."""
    at = 2.0
    while at < seconds:
        for lasts, mood in _moods(chance, names):
            if at >= seconds:
                return
            old = tuple(sorted(chance.sample(names, PEOPLE * 2 // 5)))
            if mood is STORM:
                old = tuple(names)
                yield Event(round(at, 2), "pass", old, 3600)
            yield Event(round(at, 2), "age", old, chance.choice((5, 5, 5, 25)))
            yield Event(round(at + 0.1, 2), "mood", options=json.dumps(mood))
            at += lasts * chance.uniform(0.8, 1.2)
            yield Event(round(at, 2), "mood", options=json.dumps({"mode": "healthy"}))
            at += chance.uniform(2.0, 3.0)
            spared = tuple(sorted(chance.sample(names, PEOPLE // 2)))
            yield Event(round(at, 2), "pass", spared, 3600)


def _accidents(chance: random.Random, names: list[str], seconds: float) -> Iterator[Event]:
    """Alternately kill and restart a process, and freeze one for longer than a lease."""
    at, kill = 5.0, True
    while at < seconds:
        bait = tuple(chance.sample(names, 6))
        yield Event(round(at, 2), "kill" if kill else "freeze", bait, chance.randrange(PROCESSES))
        at += chance.uniform(5, 7) if kill else chance.uniform(KNOWN.lease + 3, KNOWN.lease + 5)
        kill = not kill


# The run


@dataclass
class Chaos:
    """The state of a run. One thread plays the events, the others read."""

    stage: Stage
    cluster: Cluster
    seed: int
    people: dict[str, Person] = field(default_factory=dict)
    users: dict[int, str] = field(default_factory=dict)
    versions: dict[str, list[Version]] = field(default_factory=lambda: defaultdict(list))
    nicks: dict[tuple[str, int], list[Nick]] = field(default_factory=lambda: defaultdict(list))
    moods: list[Mood] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    revoked: list[tuple[float, str]] = field(default_factory=list)
    reads: list[Read] = field(default_factory=list)
    counts: "Counter[str]" = field(default_factory=Counter)
    away: dict[int, tuple[str, float]] = field(default_factory=dict)
    over: threading.Event = field(default_factory=threading.Event)
    heirs: list[tuple[float, str]] = field(default_factory=list)
    weather: dict[str, Any] = field(default_factory=lambda: {"mode": "healthy"})
    helpers: list[threading.Thread] = field(default_factory=list)
    failures: list[BaseException] = field(default_factory=list)
    patience: float = READ_TIMEOUT

    @property
    def sandbox(self) -> Remote:
        return self.stage.sandbox

    # Discord

    def set_mood(self, mood: dict[str, Any], *, for_now: bool = False) -> None:
        if not for_now:
            self.weather = mood
        options = {name: value for name, value in mood.items() if value is not None}
        wait = options.get("retry_after") if "limit" in options["mode"] or "cloudflare" in options["mode"] else None
        if options["mode"] == "no_headers":
            wait = options["retry_after"]
        people = frozenset(options["people"]) if "people" in options else None
        began = time.time()
        self.sandbox.mood(**options)
        felt = time.time()
        if self.moods:
            last = self.moods.pop()
            self.moods.append(Mood(last.at, felt, last.mode, last.people, last.wait))
        self.moods.append(Mood(began, float("inf"), options["mode"], people, wait))

    @contextmanager
    def _another_version(self, name: str) -> Iterator[None]:
        began = time.time()
        yield
        found = self.sandbox.call("GET", f"people/{name}")
        guilds = frozenset((int(guild["id"]), guild["name"]) for guild in found["guilds"])
        known = self.versions[name]
        if known:
            known[-1] = Version(known[-1].at, time.time(), name, known[-1].guilds)
        known.append(Version(began, float("inf"), name, guilds))

    def change_list(self, name: str, count: int) -> None:
        with self._another_version(name):
            number = len(self.versions[name])
            self.sandbox.person(name, guilds=[{"name": f"{name} {number}.{guild}"} for guild in range(count)])

    def change_nick(self, name: str) -> None:
        """Change the person's member in one of their servers."""
        guild_ids = self.servers_of(name)
        if not guild_ids:
            return
        guild_id = guild_ids[len(self.nicks[name, guild_ids[0]]) % len(guild_ids)]
        known = self.nicks[name, guild_id]
        nick = f"{name} {len(known)}"
        began = time.time()
        self.sandbox.member(name, guild_id, nick=nick)
        if known:
            known[-1] = replace(known[-1], until=time.time())
        known.append(Nick(began, float("inf"), name, guild_id, nick))

    def servers_of(self, name: str) -> list[int]:
        """Return the first servers that the person was in at their last change, by the bench's own record."""
        return [guild_id for guild_id, _ in sorted(self.versions[name][-1].guilds)][:SERVERS]

    # People

    def join(self, name: str) -> None:
        with self._another_version(name), history.acting_as("sign-in"):
            person = sign_in(self.stage, name, guilds=4, scopes=SCOPES)
            self.users[person.user_id] = name
        self.people[name] = person

    def sign_in_again(self, name: str) -> None:
        """Do what social-auth's pipeline does at a sign-in."""
        brought = Tokens.from_json(self.sandbox.token(name, *SCOPES))
        with history.acting_as("sign-in"):
            tokens.store_sign_in(DiscordAccount.objects.get(user_id=self.people[name].user_id), brought)
            services.relink(self.people[name].user_id)

    def revoke(self, name: str) -> None:
        self.revoked.append((time.time(), name))
        self.sandbox.revoke(name)

    def forget(self, name: str, chance: float) -> None:
        """Delete the person's data, as they would on the page or as an operator would, and let them join again."""
        person = self.people[name]
        site = self._site_that_is_up(int(chance))
        # The site revokes the tokens of people it forgets.
        self.revoked.append((time.time(), name))
        if chance % 2:
            self.ask(site, person, "POST", "/servers/delete-my-data/")
        if user := User.objects.filter(pk=person.user_id).first():
            with history.acting_as("forget"):
                personal_data.forget_user(user)
        self.join(name)

    # Time

    def age(self, names: tuple[str, ...], hours: float) -> None:
        delta = timedelta(hours=hours)
        with history.acting_as("age"):
            for rows in self._rows(names):
                rows.update(verified_at=F("verified_at") - delta, refresh_after=F("refresh_after") - delta)

    def advance_time(self, names: tuple[str, ...], seconds: float) -> None:
        """Shorten the waits of `names` and those for everybody by moving them into the past.

        Allowances stay, because Discord's windows do.
        """
        delta = timedelta(seconds=seconds)
        with history.acting_as("pass"):
            for rows in self._rows(names):
                rows.update(not_before=F("not_before") - delta)
            gate = {"until": F("until") - delta, "tat": F("tat") - delta, "version": F("version") + 1}
            DiscordGate.objects.update(**gate)
            DiscordRefusal.objects.update(at=F("at") - delta)

    def _rows(self, names: tuple[str, ...]) -> Iterator[Any]:
        """Yield the rows of these people's lists and members."""
        for model in (GuildListVerification, GuildMember):
            yield model._default_manager.filter(user_id__in=[self.people[name].user_id for name in names])

    # Processes

    def accident(self, kind: str, number: int, bait: tuple[str, ...]) -> None:
        """Kill or freeze a process while it refreshes the lists of `bait`."""
        if number in self.away:
            number = (number + 1) % PROCESSES
        if number in self.away:
            return
        self.advance_time(bait, 3600)
        self.age(bait, 5)
        self.set_mood({"mode": "healthy", "latency_ms": 1500}, for_now=True)
        for name in bait:
            self.help(partial(self.read, number, name, "list"))
            self.help(partial(self.read, number, name, "member"))
        # By then all of them wait for Discord.
        time.sleep(0.8)
        began = time.time()
        self.away[number] = (kind, began)
        site = self.cluster.sites[number]
        (site.kill if kind == "kill" else site.freeze)()
        self.set_mood(self.weather)
        for leased in GuildListVerification.objects.exclude(lease_until=None):
            assert leased.lease_until
            for later in (0.1, 0.5):
                heapq.heappush(self.heirs, (leased.lease_until.timestamp() + later, self.users[leased.pk]))
        self.help(partial(self._restart if kind == "kill" else self._thaw, number, began))

    def _restart(self, number: int, began: float) -> None:
        time.sleep(1)
        resumed = time.time()
        self.cluster.sites[number].start()
        self.cluster.sites[number].wait_until_up()
        self.gaps.append(Gap(number, began, resumed, time.time(), "killed"))
        del self.away[number]

    def _thaw(self, number: int, began: float) -> None:
        time.sleep(KNOWN.lease + 1.5)
        resumed = time.time()
        self.cluster.sites[number].thaw()
        self.gaps.append(Gap(number, began, resumed, time.time(), "frozen"))
        del self.away[number]

    def _site_that_is_up(self, number: int) -> int:
        return next(site for site in range(number, number + PROCESSES) if site % PROCESSES not in self.away) % PROCESSES

    # Readers

    def help(self, job: Any) -> None:
        """Run the job in a thread of its own; what it raises ends the run."""
        thread = threading.Thread(target=self._safely, args=(job,), daemon=True)
        self.helpers.append(thread)
        thread.start()

    def _safely(self, job: Any) -> None:
        try:
            job()
        except BaseException as error:
            self.failures.append(error)
        finally:
            connection.close()

    def read_on(self, number: int) -> None:
        """Read as one reader; a quarter of the readers obey Retry-After."""
        chance = random.Random(f"{self.seed}/{number}")
        obeys = number % 4 == 0
        told: dict[str, float] = {}
        names = sorted(self.people)
        while not self.over.is_set():
            name = chance.choice(names)
            kind = chance.choices(("list", "member", "page", "refresh"), (58, 30, 8, 4))[0]
            site = chance.randrange(PROCESSES)
            # Occasionally a read goes to a dead or frozen process.
            if chance.random() < 0.98:
                site = self._site_that_is_up(site)
            if told.get(name, 0) < time.time():
                read = self.read(site, name, kind)
                if obeys and read.retry_after:
                    told[name] = read.end + read.retry_after
            time.sleep(chance.expovariate(1 / PAUSE))

    def read_as_heirs(self) -> None:
        """Read the lists whose lease holder was stopped, as soon as their leases end."""
        while not self.over.is_set():
            while self.heirs and self.heirs[0][0] <= time.time():
                _, name = heapq.heappop(self.heirs)
                self.help(partial(self.read, self._site_that_is_up(len(self.reads) % PROCESSES), name, "list"))
            time.sleep(0.02)

    def read(self, site: int, name: str, kind: str) -> Read:
        person = self.people[name]
        guild_id = 0
        if kind == "member":
            servers = self.servers_of(name)
            # Lists change, so that some are read that the person has left.
            guild_id = servers[len(self.reads) % len(servers)] if servers else ELSEWHERE
        method, path = {
            "list": ("GET", "/api/v1/guilds/"),
            "page": ("GET", "/servers/"),
            "refresh": ("POST", "/api/v1/guilds/refresh/"),
            "member": ("GET", f"/_member/{guild_id}/"),
        }[kind]
        began = time.time()
        status, headers, body = self.ask(site, person, method, path)
        end = time.time()
        found = json.loads(body) if body and "json" in headers.get("content-type", "") else {}
        verified_at, guilds = found.get("verified_at"), found.get("guilds")
        read = Read(
            *(began, end, site, person.user_id, kind, status),
            retry_after=int(headers["retry-after"]) if "retry-after" in headers else None,
            reason=found.get("reason") or (found.get("type") if status != 200 else None),
            verified_at=datetime.fromisoformat(verified_at).timestamp() if verified_at else None,
            age=int(headers["age"]) if "age" in headers else None,
            guilds=_guilds(guilds) if guilds is not None else None,
            guild_id=guild_id,
            nick=found["nick"] if found.get("is_member") else None,
        )
        self.reads.append(read)
        return read

    def door(self, site: int) -> Site:
        """Return what takes the requests for a process of the site."""
        return self.cluster.sites[site]

    def ask(
        self, site: int, person: Person, method: str, path: str, body: str | None = None
    ) -> tuple[int | None, dict[str, str], bytes]:
        http = HTTPConnection(self.door(site).address, self.door(site).port, timeout=self.patience)
        headers = {
            "Cookie": f"guildhall_session={person.cookie}; guildhall_csrf={CSRF}",
            "X-CSRFToken": CSRF,
            "Accept": "text/html" if path.startswith("/servers/") else "application/json",
            **({"Content-Type": "application/x-www-form-urlencoded"} if body else {}),
        }
        try:
            http.request(method, path, body, headers)
            response = http.getresponse()
            return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
        except (OSError, HTTPException):
            return None, {}, b""
        finally:
            http.close()

    # The conductor

    def happen(self, event: Event) -> None:
        """Let the event happen, again and again while the database is away or a frozen process holds a lock."""
        self.counts[event.kind] += 1
        while True:
            try:
                self._happen(event)
                return
            except Error as error:
                if not is_unavailable(error):
                    raise
                connection.close()

    def _happen(self, event: Event) -> None:
        match event.kind:
            case "mood":
                self.set_mood(json.loads(event.options))
            case "age":
                self.age(event.people, event.number)
            case "pass":
                self.advance_time(event.people, event.number)
            case "kill" | "freeze":
                self.accident(event.kind, int(event.number), event.people)
            case "list" | "nick" | "sign-in":
                changes: dict[str, Callable[[str], None]] = {
                    "list": partial(self.change_list, count=int(event.number)),
                    "nick": self.change_nick,
                    "sign-in": self.sign_in_again,
                }
                for name in event.people:
                    changes[event.kind](name)
            case "revoke":
                self.revoke(event.people[0])
            case "forget":
                self.forget(event.people[0], event.number)

    def jobs(self) -> list[Callable[[], None]]:
        """Return what runs beside the events until `over` is set."""
        return [*(partial(self.read_on, number) for number in range(READERS)), self.read_as_heirs]

    def play(self, plan: list[Event], seconds: float) -> None:
        """Play all events, then wait until every attempt has ended."""
        self.set_mood({"mode": "healthy"})
        for number in range(PEOPLE):
            self.join(f"p{number:03}")
        for job in self.jobs():
            self.help(job)
        start = time.monotonic()
        for event in plan:
            time.sleep(max(start + event.at - time.monotonic(), 0))
            self.happen(event)
            if self.failures:
                raise self.failures[0]
        time.sleep(max(start + seconds - time.monotonic(), 0))
        self.set_mood({"mode": "healthy"})
        time.sleep(KNOWN.lease + 3)
        self.over.set()
        for thread in self.helpers:
            thread.join(60)
        if self.failures:
            raise self.failures[0]

    def told(self) -> Run:
        """Return everything that is known about the run."""
        lines = [json.loads(line) for line in self.sandbox.call("GET", "requests").splitlines()]
        requests = [
            Request(
                line["time"],
                line["time"] + (line["duration"] or 0.0),
                # The bot's list of servers has the same path.
                line["path"].endswith(LIST) and line["person"] != BOT,
                line["person"],
                line["status"],
                int(line["guild"]) if line["route"] == MEMBER else 0,
            )
            for line in lines
        ]
        return Run(
            KNOWN,
            self.users,
            history.read(),
            requests,
            self.reads,
            self.moods,
            self.gaps,
            [version for versions in self.versions.values() for version in versions],
            self.revoked,
            [nick for nicks in self.nicks.values() for nick in nicks],
        )


def _guilds(guilds: list[dict[str, Any]]) -> Guilds:
    return frozenset((int(guild["id"]), guild["name"]) for guild in guilds)


# The report


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--minutes", type=float, default=10, help="duration of the run")
    parser.add_argument("--seed", type=int, default=1, help="the same seed gives the same plan")


def run(stage: Stage, options: argparse.Namespace) -> int:
    """Play, check and print. Returns the exit code: 0 if every guarantee held."""
    seconds = options.minutes * 60
    plan = draw(options.seed, seconds)
    history.install()
    with cluster(stage, PROCESSES, THREADS, "bench.member_site:application", **ENVIRONMENT) as sites:
        # Its window is as long as Discord's, so the checker counts instead.
        stage.sandbox.limits(members_per_300_seconds=None)
        chaos = Chaos(stage, sites, options.seed)
        chaos.play(plan, seconds)
    known = chaos.told()
    findings = check(known)

    violations = sum(len(finding.broken) for finding in findings)
    vacuous = [finding.promise for finding in findings if not finding.checked and options.minutes >= 1]
    print_report(chaos, known, findings)
    for promise in vacuous:
        print(f"BROKEN {promise}: the run contained nothing to check it against")
    if violations or vacuous:
        _print_plan(plan)
        print_examples(known, findings)
        print_faults(sites.sites)
    summary = {
        "seed": options.seed,
        "minutes": options.minutes,
        "database": connection.vendor,
        "reads": len(known.reads),
        "discord_requests": len(known.requests),
        "kills": sum(gap.kind == "killed" for gap in known.gaps),
        "freezes": sum(gap.kind == "frozen" for gap in known.gaps),
        "checks": sum(finding.checked for finding in findings),
        "violations": violations,
        "vacuous": vacuous,
    }
    print(json.dumps(summary))
    return 1 if violations or vacuous else 0


def print_report(chaos: Chaos, known: Run, findings: list[Finding]) -> None:
    responses = Counter("connection lost" if read.status is None else str(read.status) for read in known.reads)
    statuses = Counter("no response" if request.status is None else str(request.status) for request in known.requests)
    outcomes = Counter(attempt.outcome for attempt in known.all_attempts())
    for name, counts in (
        ("events", chaos.counts),
        ("reads", responses),
        ("Discord's responses", statuses),
        ("attempts", outcomes),
    ):
        listed = ", ".join(f"{what} {count:,}" for what, count in sorted(counts.items()))
        print(f"{name:<18} {counts.total():>7,}  {listed}")
    print(f"\n{'guarantee':<30}{'checked':>9}{'broken':>8}")
    for finding in findings:
        print(f"{finding.promise:<30}{finding.checked:>9,}{len(finding.broken):>8,}")


def _print_plan(plan: list[Event]) -> None:
    print("\nthe plan:")
    for event in plan:
        people = f"{len(event.people)} people" if len(event.people) > 6 else " ".join(event.people)
        options = event.options if len(event.options) < 100 else f"{event.options[:100]}…"
        print(f"{event.at:8.2f}  {event.kind:<8} {event.number or '':<6} {people} {options}")


def print_examples(known: Run, findings: list[Finding]) -> None:
    start = known.moods[0].at
    for finding in findings:
        for broken in finding.broken[:3]:
            who = f" {known.people.get(broken.user_id)} (user {broken.user_id})" if broken.user_id else ""
            print(f"\nBROKEN {finding.promise} at {broken.at - start:.3f}:{who} {broken.what}")
            for at, line in timeline(known, broken.at, broken.user_id):
                print(f"   {at - start:9.3f}  {line}")


def print_faults(sites: list[Site]) -> None:
    """Print the tracebacks in the processes' logs; refusals, which are logged too, are no errors."""
    for number, site in enumerate(sites):
        for text in site.logged().split("Traceback (most recent call last)")[1:4]:
            print(f"\nprocess {number} logged: …{text[:4000]}")


def timeline(known: Run, at: float, user_id: int | None) -> list[tuple[float, str]]:
    """Return the events around a time, for one person or the gate."""
    start, end = at - 10, at + 3
    person = known.people.get(user_id or 0)
    lines: list[tuple[float, str]] = []
    for change in known.changes:
        of_gate = change.model == "discordgate" and (change.before or {}).get("streak") != (change.after or {}).get(
            "streak"
        )
        mine = change.model in (LISTS, MEMBERS, "discordaccount") and change.user_id == user_id
        if start <= change.at <= end and (of_gate or mine):
            lines.append(
                (change.at, f"{change.actor or 'site'} {change.model}: {_difference(change.before, change.after)}")
            )
    lines += [
        (request.at, f"request of {request.person}: {request.status} after {request.end - request.at:.3f} s")
        for request in known.requests
        if start <= request.at <= end and (user_id is None or request.person == person)
    ]
    lines += [
        (read.at, f"{read.kind} at process {read.site}: {read.status} {read.reason} after {read.end - read.at:.3f} s")
        for read in known.reads
        if start <= read.at <= end and user_id is not None and read.user_id == user_id
    ]
    lines += [(mood.at, f"mood {mood.mode} {mood.wait or ''}") for mood in known.moods if start <= mood.at <= end]
    for gap in known.gaps:
        lines += [(gap.at, f"process {gap.site} {gap.kind}"), (gap.until, f"process {gap.site} back")]
    return sorted(line for line in lines if start <= line[0] <= end)[-60:]


def _difference(before: dict[str, Any] | None, after: dict[str, Any] | None) -> str:
    if before is None or after is None:
        return "deleted" if after is None else "created"
    return ", ".join(f"{name} {before[name]} → {after[name]}" for name in after if before[name] != after[name])
