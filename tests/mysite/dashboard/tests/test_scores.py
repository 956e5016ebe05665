from collections.abc import Callable
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client

from accounts.models import User
from guilds.personal_data import forget_user
from mysite.dashboard.models import Score, ServerSettings

ClientOf = Callable[[User], Client]
STRANGER = 77


def report(client: Client, token: str, *members: dict[str, Any]) -> Any:
    return client.post(
        "/api/dashboard/1/scores/",
        list(members),
        content_type="application/json",
        headers={"Authorization": f"Bearer {token}"},
    )


@pytest.fixture
def token(service_token: Callable[..., str]) -> str:
    """The bot's."""
    return service_token("settings:read", "scores:report")


def test_the_bot_and_managers_programs_read_the_settings(
    chess: int, token: str, grace: User, eve: User, token_of: Callable[..., str], client: Client
) -> None:
    ServerSettings.objects.create(guild_id=chess, points=2, channel_id=2**60 + 1)

    answers = [
        client.get("/api/dashboard/1/settings/", headers={"Authorization": f"Bearer {each}"})
        for each in (token, token_of(grace, "settings:read"), token_of(eve, "settings:read"))
    ]

    assert [answer.status_code for answer in answers] == [200, 200, 403]
    assert answers[0].json() == {"points": 2, "channel_id": str(2**60 + 1), "role_id": None}


def test_the_points_of_the_bots_reports_add_up(chess: int, token: str, client: Client) -> None:
    ServerSettings.objects.create(guild_id=chess, points=2)

    for messages in (1, 4):
        members = [{"discord_id": str(each), "name": f"n{each}", "messages": messages} for each in (STRANGER, 78)]
        assert report(client, token, *members).status_code == 204

    assert list(Score.objects.values_list("person_id", "points")) == [(STRANGER, 10), (78, 10)]


def test_a_faulty_report_changes_nothing(token: str, client: Client) -> None:
    right = {"discord_id": STRANGER, "name": "n", "messages": 1}

    answer = report(client, token, right, right | {"messages": 0})

    assert answer.status_code == 400
    assert answer.json()["type"].endswith("/problems/validation-failed")
    assert not Score.objects.exists()


def test_only_the_bot_reports(
    grace: User, service_token: Callable[..., str], client_of: ClientOf, client: Client
) -> None:
    answers = [report(client, service_token("settings:read")), client_of(grace).post("/api/dashboard/1/scores/")]

    assert [answer.status_code for answer in answers] == [403, 403]
    assert not Score.objects.exists()


def test_members_read_the_leaderboard_page_by_page(chess: int, eve: User, client_of: ClientOf) -> None:
    scores = [Score(guild_id=chess, person_id=each, name=f"Player {each}.", points=each) for each in range(1, 53)]
    Score.objects.bulk_create([*scores, Score(guild_id=2, person_id=1, name="Someone else", points=9)])
    browser = client_of(eve)

    first, second = (browser.get(f"/dashboard/1/leaderboard/?page={page}").content.decode() for page in (1, 2))

    assert "Player 52." in first
    assert "Player 2." not in first
    assert "Player 2." in second
    assert '<ol start="51">' in second
    assert "Someone else" not in first + second


def test_the_nightly_job_takes_a_share_of_the_points(chess: int, tasks_at_once: None) -> None:
    ServerSettings.objects.create(guild_id=chess, decay=10)
    for guild_id in (chess, 2):
        Score.objects.create(guild_id=guild_id, person_id=STRANGER, name="n", points=55)

    call_command("decay_scores")

    assert set(Score.objects.values_list("guild_id", "points")) == {(chess, 49), (2, 55)}


def test_the_scores_of_a_person_are_theirs(chess: int, eve: User, client_of: ClientOf) -> None:
    Score.objects.create(guild_id=chess, person=eve, name="n", points=5)
    Score.objects.create(guild_id=chess, person_id=STRANGER, name="n", points=5)

    export = client_of(eve).get("/servers/my-data.json").json()
    forget_user(eve)

    assert [row["points"] for row in export["dashboard.score"]] == [5]
    assert [score.person_id for score in Score.objects.all()] == [STRANGER]
