"""The fleet's bench: its people, its Discord, its strategies, and that it would tell if this site broke a promise."""

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

from accounts.limits import Gate
from bench import fleet
from bench.fleet_discord import BAN, INVALID_REQUESTS, PER_SECOND, Discord, Obedience, Weather
from bench.fleet_ours import MIDNIGHT, Guildhall, Row, is_fresh
from bench.fleet_peers import Events
from bench.fleet_people import DAY, HOUR, MINUTE, NEVER, SECOND, draw
from bench.fleet_tally import Tally, quantile
from guilds.engine.freshness import Reason, Tier, Windows, decide, refresh_moment

PEOPLE = 400
PATIENCE = 4 * SECOND
CLEAR = Weather(outage=(0, 0), limit=(0, 0))
WINDOWS = Windows(timedelta(hours=1), timedelta(hours=24), timedelta(seconds=1), timedelta(seconds=12))


@pytest.fixture(autouse=True)
def default_times(settings: Settings) -> None:
    """The other tests wait in earnest and so make these short; here time costs nothing."""
    settings.DISCORD_FETCH_BUDGET_MS, settings.DISCORD_REQUEST_TIMEOUT_MS = 10_000, 4000
    settings.DISCORD_REFRESH_WAIT_MS = 1000


@pytest.fixture
def discord() -> Discord:
    return Discord(100, 1, CLEAR)


def _outcome(name: str, weather: Weather | None = None, people: int = PEOPLE) -> fleet.Outcome:
    return fleet.live(name, draw(people, 1), 1, weather)


def test_the_same_seed_gives_the_same_day_and_another_seed_another() -> None:
    first, again, other = draw(PEOPLE, 1), draw(PEOPLE, 1), draw(PEOPLE, 2)

    assert list(first.views()) == list(again.views())
    assert list(first.views()) != list(other.views())
    assert first.verified.tolist() == again.verified.tolist()


def test_a_strategy_lives_the_same_day_twice() -> None:
    figures = [_outcome(name).figures() for name in fleet.STRATEGIES for _ in range(2)]

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
    answers = [discord.send(person, 0, PATIENCE) for person in range(PER_SECOND + 1)]
    after_a_second = discord.send(99, SECOND, PATIENCE)

    assert [answer.status for answer in answers] == [200] * PER_SECOND + [429]
    assert (answers[-1].scope, answers[-1].retry_after) == ("global", 1.0)
    assert after_a_second.status == 200


def test_discord_takes_one_request_a_second_from_one_person(discord: Discord) -> None:
    first, soon, other, later = (
        discord.send(person, at, PATIENCE) for person, at in ((1, 0), (1, 999_999), (2, 999_999), (1, SECOND))
    )

    assert [first.status, soon.status, other.status, later.status] == [200, 429, 200, 200]
    assert (soon.scope, soon.retry_after) == ("user", 1.0)


def test_discord_bans_for_an_hour_at_the_ten_thousandth_invalid_request_in_ten_minutes(discord: Discord) -> None:
    step = 50_000  # twenty a second to one person: one is answered, and every other is invalid
    sent = [discord.send(1, at, PATIENCE).scope for at in range(0, 9 * MINUTE, step)]
    ban = sent.index("cloudflare")

    assert sent[:ban].count("user") == INVALID_REQUESTS
    assert discord.bans == 1
    assert discord.send(1, (ban - 1) * step + BAN - 1, PATIENCE).scope == "cloudflare"
    assert discord.send(2, (ban - 1) * step + BAN, PATIENCE).status == 200


def test_fewer_invalid_requests_in_any_ten_minutes_are_no_ban(discord: Discord) -> None:
    for at in range(0, HOUR, 2 * SECOND // 33):  # 16.5 a second, 15.5 of them invalid
        discord.send(1, at, PATIENCE)

    assert discord.rate_limited > 5 * INVALID_REQUESTS
    assert discord.bans == 0


def test_discord_is_silent_or_503_in_the_outage_and_names_the_rest_of_the_limit() -> None:
    discord = Discord(100, 1, Weather(outage=(0, HOUR), limit=(2 * HOUR, 2 * HOUR + 5 * MINUTE)))

    outage = {discord.send(person, person * SECOND, PATIENCE).status for person in range(50)}
    limited = discord.send(1, 2 * HOUR + SECOND // 2, PATIENCE)

    assert outage == {None, 503}
    assert (limited.status, limited.scope, limited.retry_after) == (429, "global", 300.0)


@pytest.mark.parametrize(
    ("sent_at", "disobeyed"),
    [
        ((0, 1), 0),  # on the wire before the answer
        ((0, 5 * SECOND), 1),  # told to wait
        ((0, 11 * SECOND), 0),  # the probe
        ((0, 11 * SECOND, 11 * SECOND + 1), 1),  # beside the probe
        ((0, 11 * SECOND, 12 * SECOND, 12 * SECOND), 0),  # the probe was answered
    ],
)
def test_obedience_is_judged_from_the_wire(sent_at: tuple[int, ...], disobeyed: int) -> None:
    discord = Discord(10, 1, Weather(outage=(0, 0), limit=(0, 10 * SECOND)))
    discord.obedience = Obedience()

    for person, at in enumerate(sent_at):
        discord.send(person, at, PATIENCE)

    assert discord.obedience.disobeyed == disobeyed


@pytest.mark.parametrize("name", fleet.STRATEGIES)
def test_every_view_is_served_or_an_error_once(name: str) -> None:
    outcome = _outcome(name)

    assert outcome.tally.views == len(draw(PEOPLE, 1).moments)
    assert sum(outcome.tally.ages) + outcome.tally.errors == outcome.tally.views


def test_this_site_keeps_its_promises_where_others_do_not() -> None:
    ours, naive = _outcome(fleet.OURS), _outcome("naive_ttl")

    assert ours.broken() == []
    assert ours.discord.requests < naive.discord.requests
    assert ours.discord.rate_limited < naive.discord.rate_limited
    assert any("while told to wait" in what for what in naive.broken())


def test_no_error_is_shown_by_this_site_while_nothing_is_wrong() -> None:
    assert _outcome(fleet.OURS, CLEAR).tally.errors == 0


def test_this_site_stays_within_its_send_rate_when_all_come_at_once(settings: Settings) -> None:
    settings.DISCORD_SEND_RATE = 5
    discord, tally, events = Discord(400, 1, CLEAR), Tally(CLEAR), Events()
    population = replace(draw(400, 1), verified=draw(400, 1).verified * 0 + NEVER)
    site = Guildhall(population, discord, tally, events, 1)

    for person in range(400):
        site.read(person, person)
    events.run_out()

    # A second's worth and one more at once, then one each 0.2 s for the ten seconds of the last reader's budget.
    assert discord.requests == 6 + 50
    # Whoever got the last places may have gone before the answer came.
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

    assert any("requests in one second" in what for what in fleet.Outcome(discord, tally).broken())


def test_this_site_holds_back_once_the_brake_is_on(settings: Settings) -> None:
    settings.DISCORD_BRAKE_SOFT, settings.DISCORD_BRAKE_HARD = 5, 20
    discord, tally, events = Discord(100, 1, CLEAR), Tally(CLEAR), Events()
    site = Guildhall(replace(draw(100, 1), verified=draw(100, 1).verified * 0 - 2 * HOUR), discord, tally, events, 1)
    site._refusals.extend([MIDNIGHT] * 5)

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
        (lambda outcome: setattr(outcome.discord.obedience, "disobeyed", 1), "1 requests beside the probe"),
    ],
)
def test_each_broken_promise_is_told(spoil: Callable[[fleet.Outcome], None], said: str) -> None:
    outcome = _outcome(fleet.OURS, people=100)

    spoil(outcome)

    assert [what[: len(said)] for what in outcome.broken()] == [said]


def test_a_site_that_does_not_shut_its_gate_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Guildhall, "_learn", lambda *_: None)

    assert any("while told to wait" in what for what in _outcome(fleet.OURS, people=4000).broken())


def test_the_bench_prints_a_table_and_a_line_of_json_and_draws(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = fleet.run(None, _options("--people", "300", "--picture", str(tmp_path / "fleet.png")))
    *table, last = capsys.readouterr().out.splitlines()

    assert code == 0
    assert any(line.startswith("rate limited") for line in table)
    assert json.loads(last)["people"] == 300
    assert set(json.loads(last)["strategies"]) == set(fleet.STRATEGIES)
    assert (tmp_path / "fleet.png").read_bytes().startswith(b"\x89PNG")


def test_the_bench_fails_when_this_site_breaks_a_promise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(fleet, "STRATEGIES", {fleet.OURS: fleet.STRATEGIES["naive_ttl"]})

    code = fleet.run(None, _options("--people", "300", "--picture", str(tmp_path / "fleet.png")))

    assert code == 1
    assert "BROKEN " in capsys.readouterr().out


def test_quantiles_are_the_first_bin_that_reaches_the_part() -> None:
    assert [quantile([5, 0, 4, 1], part) for part in (0.5, 0.51, 0.9, 0.91, 1.0)] == [0, 2, 2, 3, 3]


def _options(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    fleet.add_options(parser)
    return parser.parse_args(arguments)
