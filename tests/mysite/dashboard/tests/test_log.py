from collections.abc import Callable
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from accounts.models import User
from guilds.services import get_guild_list
from mysite.dashboard.models import Delegate, Entry
from tests.fixtures import Sandbox, end_jobs, let_pass

ClientOf = Callable[[User], Client]
LOG, DELEGATES = "/dashboard/1/log/", "/dashboard/1/delegates/"


def test_the_log_says_who_lost_the_right_left_and_joined(
    chess: int, ada: User, grace: User, client_of: ClientOf, sandbox: Sandbox
) -> None:
    club = {"id": str(chess), "permissions": "0"}
    for guilds in ([club], [], [club]):
        sandbox.person("grace", guilds=guilds)
        get_guild_list(grace, max_age=timedelta(minutes=1))
        end_jobs()
        let_pass(minutes=2)

    events = Entry.objects.filter(guild_id=chess, person=grace).values_list("event", flat=True)
    assert sorted(events) == ["demoted", "joined", "left"]
    assert "no longer manages the server" in client_of(ada).get(LOG).content.decode()


def test_a_first_list_is_no_news(ada: User) -> None:
    assert not Entry.objects.exists()


@pytest.fixture
def entry(chess: int, grace: User) -> Entry:
    return Entry.objects.create(guild_id=chess, person=grace, event=Entry.Event.JOINED, at=timezone.now())


def test_a_member_reads_the_log_once_the_owner_allows_it(
    entry: Entry, ada: User, eve: User, client_of: ClientOf
) -> None:
    owner, member = client_of(ada), client_of(eve)
    assert member.get(LOG).status_code == 403

    owner.post(DELEGATES, {"username": "eve"})
    allowed = member.get(LOG)

    assert allowed.status_code == 200
    assert f"{entry.person} joined" in allowed.content.decode()

    owner.post(f"{DELEGATES}{Delegate.objects.get().pk}/remove/")
    assert member.get(LOG).status_code == 403


def test_the_menu_shows_each_person_their_pages(
    chess: int, ada: User, grace: User, eve: User, client_of: ClientOf
) -> None:
    def menu(user: User) -> list[bool]:
        page = client_of(user).get("/dashboard/1/leaderboard/").content.decode()
        return [f'href="/dashboard/1/{name}/"' in page for name in ("leaderboard", "settings", "log", "delegates")]

    assert menu(ada) == [True, True, True, True]
    assert menu(grace) == [True, True, True, False]
    assert menu(eve) == [True, False, False, False]
    Delegate.objects.create(guild_id=chess, person=eve)
    assert menu(eve) == [True, False, True, False]


def test_only_people_of_the_server_can_be_named(
    ada: User, with_list: Callable[..., User], sandbox: Sandbox, client_of: ClientOf
) -> None:
    sandbox.person("linus", guilds=[])
    with_list("linus")

    assert client_of(ada).post(DELEGATES, {"username": "linus"}).status_code == 400
    assert not Delegate.objects.exists()


def test_a_manager_who_is_not_the_owner_names_no_one(grace: User, client_of: ClientOf) -> None:
    answer = client_of(grace).post(DELEGATES, {"username": "grace"})

    assert answer.status_code == 403
    assert "Only the owner of the server" in answer.content.decode()
    assert not Delegate.objects.exists()
