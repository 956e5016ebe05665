"""The fleet bench: its people, its Discord, its strategies, and that it reports broken guarantees of this site."""

import argparse
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest_django import Settings

from accounts.limits import Allowance, Gate
from bench.fleet import simulation
from bench.fleet.discord import BAN, INVALID_REQUESTS, PER_GUILD, PER_SECOND, Discord, WaitCompliance, Weather
from bench.fleet.ours import MIDNIGHT, Gatekeeper, Guildhall, Row, is_fresh
from bench.fleet.peers import Events
from bench.fleet.people import DAY, HOUR, MINUTE, NEVER, SECOND, draw
from bench.fleet.roles import NO_GUILD, DayWithRoles, Roles, bot_is_in, draw_guilds
from bench.fleet.tally import Tally, quantile
from guilds.engine.freshness import Reason, Tier, Windows, decide, refresh_moment

PEOPLE = 400
REQUEST_TIMEOUT = 4 * SECOND
CLEAR = Weather(outage=(0, 0), limit=(0, 0))
WINDOWS = Windows(timedelta(hours=1), timedelta(hours=24), timedelta(seconds=1), timedelta(seconds=12))


@pytest.fixture(autouse=True)
def default_times(settings: Settings) -> None:
    """The site's default waits, which other tests shorten because they wait in real time."""
    settings.DISCORD_FETCH_BUDGET_MS, settings.DISCORD_REQUEST_TIMEOUT_MS = 10_000, 4000
    settings.DISCORD_REFRESH_WAIT_MS = 1000


@pytest.fixture
def discord() -> Discord:
    return Discord(100, 1, CLEAR)


def _outcome(name: str, weather: Weather | None = None, people: int = PEOPLE) -> simulation.Outcome:
    return simulation.live(name, draw(people, 1), 1, weather)


def test_the_same_seed_gives_the_same_day_and_another_seed_another() -> None:
    first, again, other = draw(PEOPLE, 1), draw(PEOPLE, 1), draw(PEOPLE, 2)

    assert list(first.views()) == list(again.views())
    assert list(first.views()) != list(other.views())
    assert first.verified.tolist() == again.verified.tolist()


def test_a_strategy_lives_the_same_day_twice() -> None:
    figures = [_outcome(name).figures() for name in simulation.STRATEGIES for _ in range(2)]

    assert figures[::2] == figures[1::2]


def test_the_people_are_as_people_are() -> None:
    population = draw(5_000, 1)
    moments, visits = population.moments.tolist(), population.visits / population.people
    by_hour = [sum(hour * HOUR <= moment < (hour + 1) * HOUR for moment in moments) for hour in range(24)]
    known = [verified for verified in population.verified.tolist() if verified != NEVER]

    assert moments == sorted(moments)
    assert 0 <= moments[0] <= moments[-1] < DAY
    assert 2 < visits < 2.5
    assert set(population.who.tolist()) >= set(range(0, 5_000, 250))
    assert by_hour.index(max(by_hour)) in (20, 21, 22)
    assert max(by_hour) > 5 * min(by_hour)
    assert 0.67 < len(known) / population.people < 0.73
    assert all(verified < 0 for verified in known)


@given(
    verified=st.none() | st.integers(0, 26 * 3600),
    jitter=st.floats(0.9, 1.1),
    refresh_at=st.floats(0.1, 0.9),
    not_before=st.none() | st.integers(0, 27 * 3600),
    lease=st.none() | st.integers(0, 27 * 3600),
    reason=st.sampled_from(["", *(reason for reason in Reason if not reason.is_refusal)]),
    now=st.integers(0, 27 * 3600),
    on_the_bound=st.booleans(),
)
def test_one_comparison_tells_a_fresh_list_exactly_as_the_rule_does(
    verified: int | None,
    jitter: float,
    refresh_at: float,
    not_before: int | None,
    lease: int | None,
    reason: str,
    now: int,
    on_the_bound: bool,
) -> None:
    row = Row(
        not_before=None if not_before is None else MIDNIGHT + timedelta(seconds=not_before),
        lease_until=None if lease is None else MIDNIGHT + timedelta(seconds=lease),
        reason=reason,
    )
    if verified is not None:
        row.verified_at = MIDNIGHT + timedelta(seconds=verified)
        row.refresh_after = refresh_moment(row.verified_at, WINDOWS, refresh_at, jitter)
    moment = MIDNIGHT + timedelta(seconds=now)
    if on_the_bound and row.refresh_after:
        moment = row.refresh_after + timedelta(microseconds=now % 3 - 1)

    decision = decide(row, moment, WINDOWS)

    assert is_fresh(row, moment) == (decision.tier is Tier.FRESH)
    if is_fresh(row, moment):
        assert decision.serve
        assert not decision.ask


def test_discord_takes_fifty_requests_a_second(discord: Discord) -> None:
    answers = [discord.send(person, 0, REQUEST_TIMEOUT) for person in range(PER_SECOND + 1)]
    after_a_second = discord.send(99, SECOND, REQUEST_TIMEOUT)

    assert [answer.status for answer in answers] == [200] * PER_SECOND + [429]
    assert (answers[-1].scope, answers[-1].retry_after) == ("global", 1.0)
    assert after_a_second.status == 200


def test_discord_takes_one_request_a_second_from_one_person(discord: Discord) -> None:
    first, soon, other, later = (
        discord.send(person, at, REQUEST_TIMEOUT) for person, at in ((1, 0), (1, 999_999), (2, 999_999), (1, SECOND))
    )

    assert [first.status, soon.status, other.status, later.status] == [200, 429, 200, 200]
    assert (soon.scope, soon.retry_after) == ("user", 1.0)


def test_discord_bans_for_an_hour_at_the_ten_thousandth_invalid_request_in_ten_minutes(discord: Discord) -> None:
    step = 50_000  # twenty requests per second for one person: one succeeds, and the others are invalid
    sent = [discord.send(1, at, REQUEST_TIMEOUT).scope for at in range(0, 9 * MINUTE, step)]
    ban = sent.index("cloudflare")

    assert sent[:ban].count("user") == INVALID_REQUESTS
    assert discord.bans == 1
    assert discord.send(1, (ban - 1) * step + BAN - 1, REQUEST_TIMEOUT).scope == "cloudflare"
    assert discord.send(2, (ban - 1) * step + BAN, REQUEST_TIMEOUT).status == 200


def test_fewer_invalid_requests_in_any_ten_minutes_are_no_ban(discord: Discord) -> None:
    for at in range(0, HOUR, 2 * SECOND // 33):  # 16.5 a second, 15.5 of them invalid
        discord.send(1, at, REQUEST_TIMEOUT)

    assert discord.rate_limited > 5 * INVALID_REQUESTS
    assert discord.bans == 0


def test_discord_is_silent_or_503_in_the_outage_and_names_the_rest_of_the_limit() -> None:
    discord = Discord(100, 1, Weather(outage=(0, HOUR), limit=(2 * HOUR, 2 * HOUR + 5 * MINUTE)))

    outage = {discord.send(person, person * SECOND, REQUEST_TIMEOUT).status for person in range(50)}
    limited = discord.send(1, 2 * HOUR + SECOND // 2, REQUEST_TIMEOUT)

    assert outage == {None, 503}
    assert (limited.status, limited.scope, limited.retry_after) == (429, "global", 300.0)


@pytest.mark.parametrize(
    ("sent_at", "violations"),
    [
        ((0, 1), 0),  # in flight before the response
        ((0, 5 * SECOND), 1),  # told to wait
        ((0, 11 * SECOND), 0),  # the probe
        ((0, 11 * SECOND, 11 * SECOND + 1), 1),  # during the probe
        ((0, 11 * SECOND, 12 * SECOND, 12 * SECOND), 0),  # after the probe's response
    ],
)
def test_compliance_is_judged_from_the_wire(sent_at: tuple[int, ...], violations: int) -> None:
    discord = Discord(10, 1, Weather(outage=(0, 0), limit=(0, 10 * SECOND)))
    discord.compliance = WaitCompliance()

    for person, at in enumerate(sent_at):
        discord.send(person, at, REQUEST_TIMEOUT)

    assert discord.compliance.violations == violations


@pytest.mark.parametrize("name", simulation.STRATEGIES)
def test_every_view_is_served_or_an_error_once(name: str) -> None:
    outcome = _outcome(name)

    assert outcome.tally.views == len(draw(PEOPLE, 1).moments)
    assert sum(outcome.tally.ages) + outcome.tally.errors == outcome.tally.views


def test_this_site_keeps_its_promises_where_others_do_not() -> None:
    ours, naive = _outcome(simulation.OURS), _outcome("naive_ttl")

    assert ours.broken() == []
    assert ours.discord.requests < naive.discord.requests
    assert ours.discord.rate_limited < naive.discord.rate_limited
    assert any("while told to wait" in what for what in naive.broken())


def test_no_error_is_shown_by_this_site_while_nothing_is_wrong() -> None:
    assert _outcome(simulation.OURS, CLEAR).tally.errors == 0


def test_this_site_stays_within_its_send_rate_when_all_come_at_once(settings: Settings) -> None:
    settings.DISCORD_SEND_RATE = 5
    discord, tally, events = Discord(400, 1, CLEAR), Tally(CLEAR), Events()
    population = replace(draw(400, 1), verified=draw(400, 1).verified * 0 + NEVER)
    site = Guildhall(population, discord, tally, events, 1)

    for person in range(400):
        site.read(person, person)
    events.run_out()

    # One second's requests plus one at once, then one every 0.2 s for the ten seconds of the last reader's budget.
    assert discord.requests == 6 + 50
    # The readers with the last places may have given up before the response arrived.
    assert 400 - discord.requests <= tally.errors <= 400 - discord.requests + 3
    assert discord.busiest_second <= 11


def test_a_burst_beyond_discords_limit_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    discord, tally, events = Discord(200, 1, CLEAR), Tally(CLEAR), Events()
    population = replace(draw(200, 1), verified=draw(200, 1).verified * 0 + NEVER)
    monkeypatch.setattr(Gate, "admit", lambda gate, *_, **__: gate)
    site = Guildhall(population, discord, tally, events, 1)

    for person in range(200):
        site.read(person, person)
    events.run_out()

    assert any("requests in one second" in what for what in simulation.Outcome(discord, tally).broken())


def test_this_site_holds_back_once_the_brake_is_on(settings: Settings) -> None:
    settings.DISCORD_BRAKE_SOFT, settings.DISCORD_BRAKE_HARD = 5, 20
    discord, tally, events = Discord(100, 1, CLEAR), Tally(CLEAR), Events()
    site = Guildhall(replace(draw(100, 1), verified=draw(100, 1).verified * 0 - 2 * HOUR), discord, tally, events, 1)
    site.gatekeeper.refusals.extend([MIDNIGHT] * 5)

    site.read(0, 0)
    site.read(10 * MINUTE, 1)
    events.run_out()

    assert discord.requests == 1
    assert tally.stale == 1


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda outcome: setattr(outcome.discord, "bans", 1), "1 bans"),
        (lambda outcome: setattr(outcome.tally, "max_age", DAY), "a list 86400 s old"),
        (lambda outcome: setattr(outcome.discord, "busiest_second", 51), "51 requests in one second"),
        (lambda outcome: setattr(outcome.discord.compliance, "violations", 1), "1 requests beside the probe"),
    ],
)
def test_each_broken_promise_is_told(spoil: Callable[[simulation.Outcome], None], said: str) -> None:
    outcome = _outcome(simulation.OURS, people=100)

    spoil(outcome)

    assert [what[: len(said)] for what in outcome.broken()] == [said]


def test_a_site_that_does_not_shut_its_gate_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Gatekeeper, "learn", lambda *_: None)

    assert any("while told to wait" in what for what in _outcome(simulation.OURS, people=4000).broken())


def test_the_bench_prints_a_table_and_a_line_of_json_and_draws(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = simulation.run(None, _options("--people", "300", "--picture", str(tmp_path / "fleet.png")))
    *table, last = capsys.readouterr().out.splitlines()

    assert code == 0
    assert any(line.startswith("rate limited") for line in table)
    assert json.loads(last)["people"] == 300
    assert set(json.loads(last)["strategies"]) == set(simulation.STRATEGIES)
    assert set(json.loads(last)["with_roles"]) == {"list", "roles"}
    assert (tmp_path / "fleet.png").read_bytes().startswith(b"\x89PNG")


def test_the_bench_fails_when_this_site_breaks_a_promise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(simulation, "STRATEGIES", {simulation.OURS: simulation.STRATEGIES["naive_ttl"]})

    code = simulation.run(None, _options("--people", "300", "--picture", str(tmp_path / "fleet.png")))

    assert code == 1
    assert "BROKEN " in capsys.readouterr().out


# A day with roles

WITH_BOT, WITHOUT_BOT = 2, 3


def _with_roles(people: int, weather: Weather = CLEAR) -> Roles:
    """A site whose people all have a fresh list, and no roles yet."""
    discord, events = Discord(people, 1, weather), Events()
    population = replace(draw(people, 1), verified=draw(people, 1).verified * 0)
    return Roles(Guildhall(population, discord, Tally(weather), events, 1), Tally(weather), 1)


def test_one_visit_in_five_is_behind_a_role_and_the_bot_is_in_half_of_the_guilds() -> None:
    population = draw(5_000, 1)
    guilds = draw_guilds(population, 1)
    of_visits = dict(zip(population.visit.tolist(), guilds.tolist(), strict=True))
    behind = [guild for guild in of_visits.values() if guild != NO_GUILD]

    assert [of_visits[visit] for visit in population.visit.tolist()] == guilds.tolist(), "one guild for a whole visit"
    assert 0.18 < len(behind) / len(of_visits) < 0.22
    assert 0.4 < sum(map(bot_is_in, behind)) / len(behind) < 0.6


def test_a_view_behind_a_role_reads_the_list_and_then_the_roles_unless_it_has_none() -> None:
    day = simulation.live_with_roles(draw(PEOPLE, 1), 1)
    list_views, role_views = day.site.tally.views, day.roles.tally.views
    guilds = draw_guilds(draw(PEOPLE, 1), 1)

    assert list_views == len(guilds)
    assert 0 <= (guilds != NO_GUILD).sum() - role_views <= day.site.tally.errors
    assert day.site.requests + day.roles.requests == day.discord.requests
    assert day.figures() == simulation.live_with_roles(draw(PEOPLE, 1), 1).figures()
    assert list(day.broken()) == []


def test_a_person_gets_five_answers_in_a_window_and_the_bot_more() -> None:
    roles = _with_roles(10)

    for number in range(6):
        at = number * 2 * SECOND
        roles.events.run_until(at)
        roles.read(at, (1, WITHOUT_BOT + 2 * number))
        roles.read(at, (1, WITH_BOT + 2 * number))
    roles.events.run_out()

    assert (roles.requests, roles.rate_limited) == (5 + 6, 0)
    assert (roles.tally.views, roles.tally.errors) == (12, 1)


def test_requests_beyond_the_allowance_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Allowance, "closed_until", lambda *_: None)
    roles = _with_roles(10)

    for number in range(6):
        roles.read(0, (1, WITHOUT_BOT + 2 * number))
    roles.events.run_out()
    day = DayWithRoles(roles.discord, Guildhall(draw(10, 1), roles.discord, Tally(CLEAR), Events(), 1), roles)

    assert [what[:23] for what in day.broken()] == ["1 requests beyond a per"]


def test_the_wait_that_discord_names_to_the_bot_holds_for_its_guild_alone() -> None:
    roles = _with_roles(20)

    for person in range(PER_GUILD + 1):
        roles.read(0, (person, WITH_BOT))
    roles.events.run_until(SECOND // 2)
    roles.read(SECOND // 2, (18, WITH_BOT))
    roles.read(SECOND // 2, (19, WITH_BOT + 2))

    assert (roles.rate_limited, roles.refused_by_person) == (1, 0)
    assert roles.tally.errors == 1, "the person who came during the wait"
    roles.events.run_out()
    assert roles.tally.errors == 1, "the refused request was sent again"


def test_roles_from_the_bot_are_due_earlier() -> None:
    roles = _with_roles(2)

    roles.read(0, (1, WITH_BOT))
    roles.read(0, (1, WITHOUT_BOT))
    roles.events.run_out()
    for key in ((1, WITH_BOT), (1, WITHOUT_BOT)):
        roles.read(20 * MINUTE, key)
    roles.events.run_out()

    assert roles.requests == 3
    assert roles.tally.stale == 0


def test_old_roles_are_told() -> None:
    day = simulation.live_with_roles(draw(100, 1), 1)

    day.roles.tally.max_age = DAY

    assert [what[:17] for what in day.broken()] == ["roles 86400 s old"]


def test_quantiles_are_the_first_bin_that_reaches_the_part() -> None:
    assert [quantile([5, 0, 4, 1], part) for part in (0.5, 0.51, 0.9, 0.91, 1.0)] == [0, 2, 2, 3, 3]


def _options(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    simulation.add_options(parser)
    return parser.parse_args(arguments)
