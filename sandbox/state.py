"""Everything the sandbox knows, in one place and under one lock.

People, codes, tokens and the bot's servers survive a restart: they are written to a file beside the old one, which it
then replaces, within a fifth of a second after a change and at the stop. Moods, limits and counts do not.

The lock is held for looking things up and writing them down, never while somebody sleeps or uses a socket.
"""

import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Condition, Event, RLock, Thread
from typing import Any

from sandbox.inputs import BadInput
from sandbox.journal import Journal
from sandbox.limits import Limits
from sandbox.moods import HEALTHY, Mood
from sandbox.oauth import Authorizations
from sandbox.people import EVERYTHING, Guild, Person, first_people, guilds_with_the_bot, person_from_json

# Long enough to gather the changes of a benchmark's sign-ins into few writes, short enough to lose nothing by hand.
SAVE_PAUSE = 0.2
# Of ada's servers and of grace's, by position: the ones that have the bot at the start.
BOT_AT_THE_START = {"ada": (0, 1, 3, 5, 8), "grace": tuple(range(0, 60, 5))}


@dataclass(frozen=True, slots=True)
class Scenario:
    """People to create and moods to come, each with its seconds after the start."""

    people: Mapping[str, Any]
    moods: Sequence[tuple[float, Mood]] = ()


NOTHING_PLANNED = Scenario({})


class Sandbox:
    """The people, the application's tokens, the mood, the limits and the journal. Hold `lock` to use any of them."""

    def __init__(self, *, state_file: Path | None = None, scenario: Scenario = NOTHING_PLANNED) -> None:
        self.lock = RLock()
        self.stopping = Event()
        self.state_file = state_file
        self.scenario = scenario
        self._changed = Condition(self.lock)
        self._dirty = False
        self._saver: Thread | None = None
        self.start_afresh()
        if state_file is not None:
            self._load(state_file)
        self._add_planned_people()
        if state_file is not None:
            self._saver = Thread(target=self._save_changes, args=(state_file,), name="sandbox-saver", daemon=True)
            self._saver.start()

    def start_afresh(self) -> None:
        """Back to the first people, a healthy mood, no tokens, no counts; the scenario begins again."""
        with self.lock:
            self.people: dict[str, Person] = first_people()
            # The bot's permissions, by guild.
            self.bot: dict[str, str] = {
                self.people[name].guilds[position].id: str(EVERYTHING)
                for name, positions in BOT_AT_THE_START.items()
                for position in positions
            }
            self.oauth = Authorizations(time.time)
            self.limits = Limits()
            self.journal = Journal()
            self._mood = HEALTHY
            self._started = time.monotonic()
            self._planned = list(self.scenario.moods)

    def reset(self) -> None:
        with self.lock:
            self.start_afresh()
            self._add_planned_people()
            self.changed()

    # Moods

    def mood(self) -> Mood:
        """The mood that is on now."""
        with self.lock:
            now = time.monotonic()
            while self._planned and self._planned[0][0] <= now - self._started:
                at, mood = self._planned.pop(0)
                self._mood = _moved(mood, self._started + at)
            if self._mood.until is not None and self._mood.until <= now:
                self._mood = HEALTHY
            return self._mood

    def mood_for(self, path: str, route: str, person: str | None) -> Mood:
        """The mood in which a request is answered, which counts as one of those that the mood is for."""
        with self.lock:
            mood = self.mood()
            if not mood.applies_to(path, route, person):
                return HEALTHY
            if mood.for_requests is not None:
                self._mood = HEALTHY if mood.for_requests == 1 else replace(mood, for_requests=mood.for_requests - 1)
            return mood

    def set_mood(self, mood: Mood) -> None:
        with self.lock:
            self.mood()  # what was planned until now is over
            self._mood = mood

    # People

    def put_person(self, name: str, data: Any) -> tuple[Person, bool]:
        """Create or replace a person; whether it is a new one comes with it. Raises BadInput."""
        with self.lock:
            previous = self.people.get(name)
            person = person_from_json(name, data, previous)
            for other in self.people.values():
                if other.id == person.id and other.name != name:
                    raise BadInput(f"the id {person.id} is {other.name}'s")
            joined, left = guilds_with_the_bot(data, person)
            self.people[name] = person
            self.bot |= dict.fromkeys(joined, str(EVERYTHING))
            for guild_id in left:
                self.bot.pop(guild_id, None)
            self.changed()
            return person, previous is None

    def person_by_id(self, user_id: str) -> Person | None:
        return next((person for person in self.people.values() if person.id == user_id), None)

    def bot_guilds(self) -> list[Guild]:
        """The bot's servers as the bot sees them, by ascending id; a server that nobody is in any more is not one."""
        with self.lock:
            return sorted(
                (
                    Guild(
                        id=guild.id,
                        name=guild.name,
                        icon=guild.icon,
                        banner=guild.banner,
                        owner=False,
                        permissions=self.bot[guild.id],
                        features=guild.features,
                        members=guild.members,
                        online=guild.online,
                    )
                    for guild in {
                        guild.id: guild
                        for person in self.people.values()
                        for guild in person.guilds
                        if guild.id in self.bot
                    }.values()
                ),
                key=lambda guild: int(guild.id),
            )

    # Memory

    def changed(self) -> None:
        """Something that has to survive a restart is different now."""
        with self.lock:
            self._dirty = True
            self._changed.notify_all()

    def stop(self) -> None:
        """Let everybody who waits go, and write down what there is."""
        self.stopping.set()
        with self.lock:
            self._changed.notify_all()
        if self._saver is not None:
            self._saver.join(timeout=10)

    def _save_changes(self, file: Path) -> None:
        while True:
            with self.lock:
                while not self._dirty and not self.stopping.is_set():
                    self._changed.wait()
                dirty, self._dirty = self._dirty, False
                picture = (dict(self.people), dict(self.bot), self.oauth.copy())
            if dirty:
                _save(file, *picture)
            if self.stopping.is_set() and not self._dirty:
                return
            self.stopping.wait(SAVE_PAUSE)

    def _load(self, state_file: Path) -> None:
        """Take over what an earlier run wrote. What cannot be read is put aside: a toy has to start."""
        try:
            data = json.loads(state_file.read_text(encoding="utf-8"))
            people = {name: person_from_json(name, person) for name, person in data["people"].items()}
            oauth = Authorizations(time.time)
            oauth.load(data["oauth"])
            bot = dict(data["bot"])
        except FileNotFoundError:
            return
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            aside = state_file.with_name(f"{state_file.name}.broken")
            _complain(f"{state_file} cannot be read ({error}); it is kept as {aside.name}, and all is new")
            with suppress(OSError):
                state_file.replace(aside)
            return
        self.people, self.bot, self.oauth = people, bot, oauth

    def _add_planned_people(self) -> None:
        for name, data in self.scenario.people.items():
            self.put_person(name, data)


def _moved(mood: Mood, start: float) -> Mood:
    """A planned mood's `until` counts from its own start."""
    return mood if mood.until is None else replace(mood, until=start + mood.until)


def _save(file: Path, people: Mapping[str, Person], bot: Mapping[str, str], oauth: Authorizations) -> None:
    """Write a whole new file, then put it in the old one's place: whoever reads sees one or the other."""
    everybody = {name: person.to_json() for name, person in people.items()}
    text = json.dumps({"people": everybody, "bot": bot, "oauth": oauth.to_json()})
    beside = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        beside.write_text(text, encoding="utf-8")
        # It holds tokens, though only good for a toy.
        beside.chmod(0o600)
        beside.replace(file)
    except OSError as error:
        _complain(f"the state could not be saved to {file}: {error}")


def _complain(sentence: str) -> None:
    sys.stderr.write(f"sandbox: {sentence}\n")
    sys.stderr.flush()
