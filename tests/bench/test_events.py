"""The bench of the bot's events: what it expects of the rows, and when it fails."""

import random
from dataclasses import replace
from typing import Any

import pytest

from bench import events
from bench.events import BATCH, Outcome, last_state, new_events, shuffled_batches, stored_state, wrong_members
from guilds.models import GuildMember, UserGuildMembership

FINE = Outcome(events=11_000, seconds=10, statements=55_000, refused=0, wrong=0, wrong_after_kill=0, kills=1)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({}, 0),
        ({"refused": 1}, 1),
        ({"wrong": 1}, 1),
        ({"wrong_after_kill": 1}, 1),
        ({"kills": 0}, 1),
        ({"statements": 99_000}, 1),
    ],
)
def test_events_are_stored_as_the_last_one_says(change: dict[str, Any], code: int) -> None:
    assert events.report(replace(FINE, **change)) == code


def test_the_figures_are_per_event() -> None:
    assert (FINE.per_second, FINE.statements_per_event) == (1100, 5)


def test_the_last_state_does_not_depend_on_the_order() -> None:
    member = {"user_id": "7", "guild_id": "1"}
    joined = member | {"at": "2026-01-01T00:00:02+00:00", "member": {"roles": ["3", "5"]}}
    left = member | {"at": "2026-01-01T00:00:01+00:00"}

    assert last_state([left, joined]) == last_state([joined, left]) == {(7, 1): [3, 5]}
    assert last_state([left]) == {(7, 1): None}


def test_batches_hold_every_event_and_repeat_some(db: None) -> None:
    chance = random.Random(1)
    all_events = list(new_events([7, 8], 500, chance))

    batches = shuffled_batches(all_events, chance)

    sent = [event for batch in batches for event in batch]
    assert (len(sent), max(map(len, batches))) == (550, BATCH)
    assert {event["at"] for event in sent} == {event["at"] for event in all_events}
    assert sent[:500] != all_events


def test_a_wrong_row_is_counted(transactional_db: None) -> None:
    person, *_ = events.store_people()
    expected = last_state([{"user_id": str(person), "guild_id": "1", "at": "2026-01-01T00:00:00+00:00"}])
    assert (stored_state()[person, 1], wrong_members(expected)) == ([], 1)

    GuildMember.objects.filter(user__discord_id=person, guild_id=1).update(is_member=False)
    assert wrong_members(expected) == 1, "the list still has the server"

    UserGuildMembership.objects.filter(user__discord_id=person, guild_id=1).delete()
    assert wrong_members(expected) == 0
