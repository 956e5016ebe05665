"""Keys are rotated while two machines, of which one is always a step behind, serve the same people."""

import re
from collections.abc import Callable, Iterator
from io import StringIO
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.core.management import call_command
from django.test import Client, override_settings

from accounts import tokens
from accounts.models import DiscordAccount, Session, User
from guilds.operations import keys

pytestmark = pytest.mark.django_db
ClientOf = Callable[[User], Client]
# The machines' keys in each step, the first key first: one machine is restarted before the other.
OLD, BOTH, TURNED, NEW = ("old",), ("old", "new"), ("new", "old"), ("new",)
STEPS = ((OLD, OLD), (BOTH, OLD), (BOTH, BOTH), (TURNED, BOTH), (TURNED, TURNED))
LAST_STEPS = ((NEW, TURNED), (NEW, NEW))
TOKEN_KEYS = {name: Fernet.generate_key().decode() for name in BOTH}
# All have a session, and the first of them have tokens.
PEOPLE, TOKENS = 6, 5
CREDENTIALS = {"access_token": "access", "refresh_token": "refresh", "scopes": ["guilds"]}


def machine(names: tuple[str, ...]) -> Any:
    """A machine with these keys."""
    secrets = [f"the {name} secret key" for name in names]
    return override_settings(
        SECRET_KEY=secrets[0], SECRET_KEY_FALLBACKS=secrets[1:], TOKEN_KEYS=[TOKEN_KEYS[name] for name in names]
    )


def said(*arguments: str) -> dict[str, str]:
    """What the command counts, by the names of keys."""
    out = StringIO()
    call_command("keys", *arguments, stdout=out)
    return dict(re.findall(r"^(.+): (\d+) ", out.getvalue(), re.MULTILINE))


@pytest.fixture
def people() -> list[User]:
    with machine(OLD):
        found = [User.objects.create_user(username=f"person {number}") for number in range(PEOPLE)]
        for user in found[:TOKENS]:
            stored = {**CREDENTIALS, "user_id": user.pk}
            DiscordAccount.objects.create(user=user, provider="discord", uid=str(user.pk), extra_data=stored)
    return found


@pytest.fixture
def browsers(people: list[User], client_of: ClientOf) -> Iterator[list[Client]]:
    with machine(OLD):
        yield [client_of(user) for user in people]


def signed_in(browsers: list[Client]) -> int:
    return sum(browser.get("/account/").status_code == 200 for browser in browsers)


def readable(people: list[User]) -> int:
    return sum(tokens.read(user.pk).access_token == "access" for user in people[:TOKENS])


def replace_one(people: list[User], number: int) -> None:
    """What a sign-in or a renewal does on this machine."""
    account = DiscordAccount.objects.get(user=people[number])
    DiscordAccount.objects.filter(pk=account.pk).update(
        extra_data=account.extra_data, token_version=account.token_version + 1
    )


def test_nobody_is_signed_out_by_a_rotation_and_every_token_stays_readable(
    people: list[User], browsers: list[Client], client_of: ClientOf
) -> None:
    def serve(step: tuple[tuple[str, ...], ...]) -> None:
        for names in (*step, *step):
            with machine(names):
                assert (signed_in(browsers), readable(people)) == (PEOPLE, TOKENS)
                # Each machine also signs people in, and the other one meets them.
                browsers[0] = client_of(people[0])
                replace_one(people, 0)

    for step in STEPS:
        serve(step)
    with machine(TURNED):
        said("--reseal")
        counted = said()
    for step in LAST_STEPS:
        serve(step)

    assert (counted["TOKEN_KEYS, key 1"], counted["TOKEN_KEYS, key 2"]) == (str(TOKENS), "0")
    assert int(counted["SECRET_KEY"]) >= PEOPLE
    assert counted["SECRET_KEY_FALLBACKS, key 1"] == "0"


def test_a_machine_without_the_new_key_refuses_what_it_seals(people: list[User], client_of: ClientOf) -> None:
    """Why the new key goes last on every machine before it goes first on any."""
    with machine(TURNED):
        browser = client_of(people[0])
        replace_one(people, 0)

    with machine(OLD):
        assert browser.get("/account/").status_code == 302
        with pytest.raises(tokens.TokensUnreadable):
            tokens.read(people[0].pk)


def test_the_command_counts_and_changes_nothing_until_it_is_told_to(people: list[User], browsers: list[Client]) -> None:
    before = set(Session.objects.values_list("session_data"))
    with machine(TURNED):
        counted, resealed = said(), said("--reseal")
        again = said("--reseal")
    with machine(NEW):
        alone = said()
        assert (signed_in(browsers), readable(people)) == (PEOPLE, TOKENS)

    assert counted["TOKEN_KEYS, key 2"] == str(TOKENS)
    assert counted["SECRET_KEY_FALLBACKS, key 1"] == str(PEOPLE)
    assert not before & set(Session.objects.values_list("session_data"))
    assert resealed["resealed"] == str(PEOPLE)
    assert again["resealed"] == alone["no key opens"] == "0"


def test_what_no_key_opens_is_counted_and_left_alone(people: list[User], browsers: list[Client]) -> None:
    with machine(NEW):
        tokens_found, sessions_found = keys.tokens(reseal=True), keys.sessions(reseal=True)

    assert (tokens_found.counts[keys.NO_KEY], tokens_found.resealed) == (TOKENS, 0)
    assert (sessions_found.counts[keys.NO_KEY], sessions_found.resealed) == (PEOPLE, 0)
    with machine(OLD):
        assert (signed_in(browsers), readable(people)) == (PEOPLE, TOKENS)


def test_a_token_renewed_and_a_session_changed_meanwhile_are_kept(people: list[User], browsers: list[Client]) -> None:
    account, session = DiscordAccount.objects.order_by("pk")[0], Session.objects.order_by("pk")[0]
    stored = {**CREDENTIALS, "access_token": "renewed", "user_id": account.user_id}
    DiscordAccount.objects.filter(pk=account.pk).update(extra_data=stored, token_version=account.token_version + 1)
    Session.objects.filter(pk=session.pk).update(session_data="changed")

    with machine(TURNED):
        assert not keys._reseal_tokens(account)
        store = browsers[0].session
        assert not keys._reseal_session(session, store)

    assert DiscordAccount.objects.get(pk=account.pk).extra_data["access_token"] == "renewed"
    assert Session.objects.get(pk=session.pk).session_data == "changed"


def test_pages_are_counted_to_the_end(people: list[User], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "PAGE", 2)

    with machine(OLD):
        assert keys.tokens().counts == {0: TOKENS}


def test_a_session_of_another_password_is_not_revived(people: list[User], client_of: ClientOf) -> None:
    with machine(OLD):
        browser = client_of(people[0])
    people[0].set_password("another")
    people[0].save()

    with machine(TURNED):
        keys.sessions(reseal=True)
        assert browser.get("/account/").status_code == 302
