"""The sandbox's whole state, protected by one lock.

People, servers, codes and tokens survive a restart: they are saved within a fifth of a second after a change and when
the sandbox stops. Moods, limits, counts and the application's settings are not saved.

The lock is held only while reading and changing the state, never while sleeping or using a socket.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Condition, Event, RLock, Thread
from typing import Any

from sandbox.application import SITE_URL, Application
from sandbox.channels import Channel
from sandbox.communities import Communities
from sandbox.inputs import BadInput
from sandbox.journal import Journal
from sandbox.limits import Limits
from sandbox.members import Member
from sandbox.moods import HEALTHY, Mood
from sandbox.oauth import Authorizations
from sandbox.people import (
    EVERYTHING,
    Guild,
    Person,
    as_permissions,
    first_people,
    guilds_with_the_bot,
    person_from_json,
)
from sandbox.roles import Role

# Seconds. Long enough to batch the changes of a benchmark's sign-ins, short enough not to lose manual changes.
SAVE_PAUSE = 0.2
# The servers that initially have the bot, by position in the person's list.
BOT_AT_THE_START = {"ada": (0, 1, 3, 5, 8), "grace": tuple(range(0, 60, 5))}


@dataclass(frozen=True, slots=True)
class Scenario:
    """People to create, and moods with the seconds after the start at which they begin."""

    people: Mapping[str, Any]
    moods: Sequence[tuple[float, Mood]] = ()


EMPTY_SCENARIO = Scenario({})


class Sandbox:
    """The people, the application's tokens, the mood, the limits and the journal. Hold `lock` to access them."""

    def __init__(
        self, *, state_file: Path | None = None, scenario: Scenario = EMPTY_SCENARIO, site_url: str = SITE_URL
    ) -> None:
        self.lock = RLock()
        self.stopping = Event()
        self.state_file = state_file
        self.scenario = scenario
        self.site_url = site_url
        # What each session of the gateway calls after a change, holding the lock.
        self.gateway_sessions: list[Callable[[], None]] = []
        self._changed = Condition(self.lock)
        self._dirty = False
        self._saver: Thread | None = None
        self.restore_initial_state()
        if state_file is not None:
            self._load(state_file)
        self._add_planned_people()
        if state_file is not None:
            self._saver = Thread(target=self._save_changes, args=(state_file,), name="sandbox-saver", daemon=True)
            self._saver.start()

    def restore_initial_state(self) -> None:
        """Restore the initial people and a healthy mood, without tokens and counts, and restart the scenario."""
        with self.lock:
            self.people: dict[str, Person] = first_people()
            # The bot's permissions by guild id.
            self.bot: dict[str, str] = {
                self.people[name].guilds[position].id: str(EVERYTHING)
                for name, positions in BOT_AT_THE_START.items()
                for position in positions
            }
            self.application = Application.of_site(self.site_url)
            # Memberships that `leave` ended, by the person's name. Like moods, they are not saved.
            self.left: list[tuple[str, Guild]] = []
            self.communities = Communities()
            self.oauth = Authorizations(time.time)
            self.limits = Limits()
            self.journal = Journal()
            self._mood = HEALTHY
            self._started = time.monotonic()
            self._planned = list(self.scenario.moods)

    def reset(self, limits: Limits) -> None:
        """Restore the initial state, with these limits and the scenario's people."""
        with self.lock:
            self.restore_initial_state()
            self.limits = limits
            self._add_planned_people()
            self.changed()

    # Moods

    def mood(self) -> Mood:
        """Return the current mood."""
        with self.lock:
            now = time.monotonic()
            while self._planned and self._planned[0][0] <= now - self._started:
                at, mood = self._planned.pop(0)
                self._mood = _shifted(mood, self._started + at)
            if self._mood.until is not None and self._mood.until <= now:
                self._mood = HEALTHY
            return self._mood

    def mood_for(self, path: str, route: str, person: str | None) -> Mood:
        """Return the mood for a request, and count the request towards the mood's `for_requests`."""
        with self.lock:
            mood = self.mood()
            if not mood.applies_to(path, route, person):
                return HEALTHY
            if mood.for_requests is not None:
                self._mood = HEALTHY if mood.for_requests == 1 else replace(mood, for_requests=mood.for_requests - 1)
            return mood

    def set_mood(self, mood: Mood) -> None:
        with self.lock:
            self.mood()  # drops the moods planned until now
            self._mood = mood

    # People

    def put_person(self, name: str, data: Any) -> tuple[Person, bool]:
        """Create or replace a person, and return them with whether they are new. Raises BadInput."""
        with self.lock:
            previous = self.people.get(name)
            person = person_from_json(name, data, previous)
            for other in self.people.values():
                if other.id == person.id and other.name != name:
                    raise BadInput(f"the id {person.id} belongs to {other.name}")
            joined, left = guilds_with_the_bot(data, person)
            self.people[name] = person
            self.communities.person_left(person)
            self.bot |= dict.fromkeys(joined, str(EVERYTHING))
            for guild_id in left:
                self.bot.pop(guild_id, None)
            self.changed()
            return person, previous is None

    def person_by_id(self, user_id: str) -> Person | None:
        return next((person for person in self.people.values() if person.id == user_id), None)

    def bot_guilds(self) -> list[Guild]:
        """Return the bot's servers from its point of view, by ascending id, without servers that have no members."""
        with self.lock:
            members = self.people.values()
            guilds = {guild.id: guild for person in members for guild in person.guilds if guild.id in self.bot}
            there = [self._seen_by_the_bot(guild) for guild in guilds.values()]
            return sorted(there, key=lambda guild: int(guild.id))

    def bot_guild(self, guild_id: str) -> Guild | None:
        """Return the server from the bot's point of view, or None if the bot is not in it."""
        with self.lock:
            guild = self.guild(guild_id) if guild_id in self.bot else None
            return self._seen_by_the_bot(guild) if guild else None

    def _seen_by_the_bot(self, guild: Guild) -> Guild:
        return replace(guild, owner=False, permissions=self.bot[guild.id])

    # Servers

    def guild(self, guild_id: str) -> Guild | None:
        """Return the server from the point of view of one of its members, or None if none of the people is in it."""
        with self.lock:
            guilds = (person.guild(guild_id) for person in self.people.values())
            return next((guild for guild in guilds if guild), None)

    def roles(self, guild_id: str) -> tuple[Role, ...]:
        with self.lock:
            return self.communities.roles(guild_id, self.bot.get(guild_id))

    def put_roles(self, guild_id: str, data: Any) -> tuple[Role, ...]:
        """Replace the server's roles and return them. The bot's permissions are those of its role. Raises BadInput."""
        with self.lock:
            self.existing_guild(guild_id)
            permissions = self.communities.put_roles(guild_id, data, self.bot.get(guild_id, "0"))
            if guild_id in self.bot:
                self.bot[guild_id] = permissions
            self.changed()
            return self.roles(guild_id)

    def channels(self, guild_id: str) -> tuple[Channel, ...]:
        with self.lock:
            return self.communities.channels(guild_id)

    def put_channels(self, guild_id: str, data: Any) -> tuple[Channel, ...]:
        """Replace the server's channels and return them. Raises BadInput."""
        with self.lock:
            self.existing_guild(guild_id)
            self.communities.put_channels(guild_id, data)
            self.changed()
            return self.channels(guild_id)

    def member(self, person: Person, guild: Guild) -> Member:
        """Return what the person is in one of their servers."""
        with self.lock:
            return self.communities.member(person, guild, self.roles(guild.id))

    def put_member(self, person: Person, guild: Guild, data: Any) -> Member:
        """Change the person's member in one of their servers, and return it. Raises BadInput."""
        with self.lock:
            self.communities.put_member(person, guild, self.roles(guild.id), data)
            self.changed()
            return self.member(person, guild)

    def leave(self, person: Person, guild: Guild) -> None:
        """Remove the person from one of their servers. A server whose last member leaves is gone."""
        with self.lock:
            self._put_guilds(person, tuple(other for other in person.guilds if other.id != guild.id))
            self.left.append((person.name, guild))

    def rejoin(self) -> None:
        """Undo the last `leave`, unless the person is in the server again or gone."""
        with self.lock:
            name, guild = self.left.pop() if self.left else ("", None)
            person = self.people.get(name)
            if person is not None and guild is not None:
                self.join(person, guild)

    def join(self, person: Person, guild: Guild) -> None:
        """Add the person to the server, with the permissions in `guild`. Does nothing for a member."""
        with self.lock:
            if person.guild(guild.id) is None:
                self._put_guilds(person, tuple(sorted((*person.guilds, guild), key=lambda each: int(each.id))))

    def _put_guilds(self, person: Person, guilds: tuple[Guild, ...]) -> None:
        changed = replace(person, guilds=guilds, count=None)
        self.people[person.name] = changed
        self.communities.person_left(changed)
        self.changed()

    def put_bot(self, guild_id: str, permissions: Any) -> None:
        """Add the bot to the server with these permissions, or change them; None removes the bot. Raises BadInput."""
        with self.lock:
            self.existing_guild(guild_id)
            if permissions is None:
                self.bot.pop(guild_id, None)
            else:
                self.bot[guild_id] = as_permissions(permissions, "bot")
            self.changed()

    def existing_guild(self, guild_id: str) -> Guild:
        """Return the server from the point of view of one of its members. Raises BadInput if there is none."""
        guild = self.guild(guild_id)
        if guild is None:
            raise BadInput(f"none of the people is in a server with the id {guild_id[:40]!r}")
        return guild

    # Saving

    def changed(self) -> None:
        """Announce a change that must survive a restart: schedule saving, and tell the gateway's sessions."""
        with self.lock:
            self._dirty = True
            self._changed.notify_all()
            for announce in self.gateway_sessions:
                announce()

    def stop(self) -> None:
        """Wake all waiting threads and save the state."""
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
                picture = (dict(self.people), dict(self.bot), self.communities.to_json(), self.oauth.copy())
            if dirty:
                _save(file, *picture)
            if self.stopping.is_set() and not self._dirty:
                return
            self.stopping.wait(SAVE_PAUSE)

    def _load(self, state_file: Path) -> None:
        """Load the state of an earlier run. An unreadable file is renamed, so that the sandbox can start."""
        try:
            data = json.loads(state_file.read_text(encoding="utf-8"))
            people = {name: person_from_json(name, person) for name, person in data["people"].items()}
            oauth = Authorizations(time.time)
            oauth.load(data["oauth"])
            bot = dict(data["bot"])
            communities = Communities()
            communities.load(data.get("communities", {}), people)
        except FileNotFoundError:
            return
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            aside = state_file.with_name(f"{state_file.name}.broken")
            _warn(f"{state_file} cannot be read ({error}); it was renamed to {aside.name}, and the state is reset")
            with suppress(OSError):
                state_file.replace(aside)
            return
        self.people, self.bot, self.communities, self.oauth = people, bot, communities, oauth

    def _add_planned_people(self) -> None:
        for name, data in self.scenario.people.items():
            self.put_person(name, data)


def _shifted(mood: Mood, start: float) -> Mood:
    """Return a planned mood with `until` relative to the sandbox's clock instead of the mood's start."""
    return mood if mood.until is None else replace(mood, until=start + mood.until)


def _save(
    file: Path,
    people: Mapping[str, Person],
    bot: Mapping[str, str],
    communities: Mapping[str, Any],
    oauth: Authorizations,
) -> None:
    """Write a new file and rename it, so that readers see either the old or the new state."""
    stored = {name: person.to_json() for name, person in people.items()}
    text = json.dumps({"people": stored, "bot": bot, "communities": communities, "oauth": oauth.to_json()})
    beside = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        beside.write_text(text, encoding="utf-8")
        # It holds tokens, if only for the sandbox.
        beside.chmod(0o600)
        beside.replace(file)
    except OSError as error:
        _warn(f"the state could not be saved to {file}: {error}")


def _warn(sentence: str) -> None:
    sys.stderr.write(f"sandbox: {sentence}\n")
    sys.stderr.flush()
