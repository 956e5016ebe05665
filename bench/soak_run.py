"""A soak's run: readers and writers come through nginx, while faults follow each other and Discord has its moods."""

import os
import random
import re
import signal
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from django.conf import settings
from psycopg import OperationalError

from bench.chaos.known import Gap
from bench.chaos.play import PEOPLE, Chaos, Event, changes, weather
from bench.sites import Site
from bench.soak_checker import ANY, Answer, Favourite, Sample, Shown, most_connections
from bench.soak_machines import CHILDREN, MACHINES, WORKERS, Machines, until
from guilds.models import GuildPreference

READERS, WRITERS = 8, 2
# Of all people, those who star servers; their lists don't change.
STARRING = 20
# Mean seconds between two requests of one reader or writer.
PAUSE = 0.25
NAMES = [f"p{number:03}" for number in range(PEOPLE)]
STAR = re.compile(r'name="(unstar|star)"\s+value="(\d+)"')
# Faults, and for how many seconds they last.
FAULTS = {
    "redis stopped": 5.0,
    "redis frozen": 5.0,
    "database restarted": 0.0,
    "database read-only": 10.0,
    "worker killed": 0.0,
    "machine killed": 2.0,
    "jobs killed": 1.0,
    "database cut off": 15.0,
    "machine cut off": 15.0,
}
NEEDS_NETWORK = frozenset({"database cut off", "machine cut off"})
# From then on, no fault begins that couldn't be over at the end.
REST = 25.0
# Seconds after a fault, by which all is as before.
RECOVERY = 5.0
# Seconds. Longer than nginx waits for a machine.
PATIENCE = 70.0


def draw(seed: int, seconds: float) -> list[Event]:
    """Draw Discord's moods and what changes for people; the people with favourites keep their lists and accounts."""
    chance = random.Random(seed)
    ordinary = NAMES[:-STARRING]
    plan = [*weather(chance, NAMES, seconds), *changes(chance, ordinary, seconds, ("list", "sign-in", "revoke"))]
    return sorted(plan)


def faults(seed: int, kinds: list[str]) -> Iterator[str]:
    """Yield all kinds in a random order, then in another one, and so on."""
    chance = random.Random(f"{seed}/faults")
    while True:
        yield from chance.sample(kinds, len(kinds))


@dataclass
class Soak(Chaos):
    """A run on machines of which any may be away."""

    machines: Machines = field(kw_only=True)
    seconds: float = field(kw_only=True)
    patience: float = PATIENCE
    answers: list[Answer] = field(default_factory=list)
    starred: list[Favourite | Shown] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    struck: list[tuple[str, float, float]] = field(default_factory=list)

    @property
    def kinds(self) -> list[str]:
        """The faults that can happen to these machines."""
        return [kind for kind in FAULTS if kind not in self.left_out]

    @property
    def left_out(self) -> list[str]:
        without_network = NEEDS_NETWORK if self.machines.network.number is None else ()
        without_jobs = () if self.machines.worker else ("jobs killed",)
        return sorted({*without_network, *without_jobs})

    @property
    def most_connections(self) -> int:
        # The worker's children and beat.
        jobs = CHILDREN + 1 if self.machines.worker else 0
        options: Any = settings.DATABASES["default"]["OPTIONS"]
        return most_connections(MACHINES, WORKERS, jobs, options["pool"]["max_size"])

    # Readers and writers

    def door(self, site: int) -> Site:
        return self.machines.door

    def ask(self, *arguments: Any) -> tuple[int | None, dict[str, str], bytes]:
        _, person, method, *_ = arguments
        began = time.time()
        answer = super().ask(*arguments)
        self.answers.append(Answer(began, time.time(), person.user_id, answer[0], method == "GET"))
        return answer

    def read_on(self, number: int) -> None:
        chance = random.Random(f"{self.seed}/{number}")
        while not self.over.is_set():
            self.read(ANY, chance.choice(NAMES), chance.choices(("list", "page", "refresh"), (70, 25, 5))[0])
            time.sleep(chance.expovariate(1 / PAUSE))

    def write_on(self, number: int) -> None:
        """Star and unstar servers of some people, whom no other thread writes for, and look at their pages."""
        chance = random.Random(f"{self.seed}/writer {number}")
        names = NAMES[-STARRING:][number::WRITERS]
        while not self.over.is_set():
            name = chance.choice(names)
            person = self.people[name]
            guild_id, star = chance.choice(self.servers_of(name)), chance.random() < 0.5
            body = f"{'star' if star else 'unstar'}={guild_id}"
            began = time.time()
            status, headers, _ = self.ask(ANY, person, "POST", "/servers/favourites/", body)
            is_stored = status == 302 and headers.get("location", "").endswith("/servers/#servers")
            self.starred.append(Favourite(began, person.user_id, guild_id, star, is_stored))
            status, _, page = self.ask(ANY, person, "GET", "/servers/")
            if status == 200:
                stars = {int(guild): each == "unstar" for each, guild in STAR.findall(page.decode())}
                self.starred.append(Shown(time.time(), person.user_id, stars))
            time.sleep(chance.expovariate(1 / PAUSE))

    def look_up_favourites(self) -> None:
        """Note what is stored at the end."""
        for name in NAMES[-STARRING:]:
            user_id = self.people[name].user_id
            rows = GuildPreference.objects.filter(user_id=user_id).values_list("guild_id", "favourite")
            self.starred.append(
                Shown(time.time(), user_id, {**dict.fromkeys(self.servers_of(name), False), **dict(rows)})
            )

    # Machines

    def sample_on(self) -> None:
        """Each second, note the sites' connections to PostgreSQL and the memory of their workers."""
        count = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'machine-%'"
        while not self.over.wait(1):
            try:
                connections = self.machines.database.run(count)
            except OperationalError:
                continue
            if memory := [size for site in self.machines.sites for pid in site.children() if (size := _memory(pid))]:
                self.samples.append(Sample(time.time(), connections, statistics.median(memory)))

    def suffer(self) -> None:
        """Let one fault follow the other, and upgrade the machines half-way."""
        chance = random.Random(f"{self.seed}/places")
        start, upcoming, is_upgraded = time.monotonic(), faults(self.seed, self.kinds), False
        while not self.over.wait(chance.uniform(3, 5)):
            passed = time.monotonic() - start
            if passed >= self.seconds / 2 and not is_upgraded:
                self.counts["upgrade"] += 1
                began = time.time()
                self.upgrade()
                self.struck.append(("upgrade", began, time.time()))
                is_upgraded = True
            elif passed < self.seconds - REST:
                kind = next(upcoming)
                self.counts[kind] += 1
                print(f"{passed:7.1f}  {kind}", flush=True)
                began = time.time()
                self.strike(kind, chance.randrange(MACHINES))
                self._note(kind, began, time.time())

    def _note(self, kind: str, began: float, ended: float) -> None:
        """Note when readers may meet the fault; Redis is not needed."""
        self.struck.append((kind, began, ended))
        if not kind.startswith("redis"):
            resumes = "frozen" if kind in NEEDS_NETWORK else "killed"
            self.gaps.append(Gap(ANY, began, began + FAULTS[kind], ended + RECOVERY, resumes))

    def strike(self, kind: str, number: int) -> None:
        """Let the fault happen, and end."""
        machines, site, lasts = self.machines, self.machines.sites[number], FAULTS[kind]
        match kind:
            case "redis stopped":
                machines.redis.stop()
                self.over.wait(lasts)
                machines.redis.start()
            case "redis frozen":
                machines.redis.freeze()
                self.over.wait(lasts)
                machines.redis.thaw()
            case "database restarted":
                machines.database.restart()
            case "database read-only":
                machines.database.read_only(True)
                self.over.wait(lasts)
                machines.database.read_only(False)
            case "worker killed":
                os.kill(site.children()[0], signal.SIGKILL)
            case "machine killed":
                site.kill()
                self.over.wait(lasts)
                site.start()
                site.wait_until_up()
            case "jobs killed" if machines.worker:
                machines.worker.kill()
                self.over.wait(lasts)
                machines.worker.start()
            case "database cut off" | "machine cut off":
                host = machines.database.host if kind.startswith("database") else machines.hosts[number]
                host.link("down")
                self.over.wait(lasts)
                host.link("up")

    def upgrade(self) -> None:
        """Replace the workers of one machine after the other."""
        for site in self.machines.sites:
            print(f"         upgrade of machine on port {site.port}", flush=True)
            old = set(site.children())
            site.reload()
            until(lambda site=site, old=old: _are_new(site, old), "the new workers did not start")  # type: ignore[misc]

    def jobs(self) -> list[Callable[[], None]]:
        readers = (partial(self.read_on, number) for number in range(READERS))
        writers = (partial(self.write_on, number) for number in range(WRITERS))
        return [*readers, *writers, self.sample_on, self.suffer]


def _are_new(site: Site, old: set[int]) -> bool:
    new = set(site.children())
    return len(new) == WORKERS and not new & old


def _memory(pid: int) -> int:
    """Return the process's resident memory in bytes, or 0 if it has ended."""
    try:
        pages = Path(f"/proc/{pid}/statm").read_text().split()[1]
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return int(pages) * os.sysconf("SC_PAGE_SIZE")
