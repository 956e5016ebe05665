"""How pages show names that other people chose: servers' and people's, on the site and in the admin."""

import re
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db.models import F
from django.test import Client

from accounts import access_tokens
from accounts.clock import database_now
from accounts.models import User
from accounts.token_scopes import Scope
from guilds.models import BotGuild, GuildListVerification, UserGuildMembership
from guilds.templatetags.discord_images import initials

pytestmark = pytest.mark.django_db(transaction=True)

WithList = Callable[..., User]
ClientOf = Callable[[User], Client]
HEBREW = "שלום עולם"


@pytest.fixture
def visit(with_list: WithList, client_of: ClientOf) -> Callable[[str, str], str]:
    """The text of a page, for a person who is called `name` and whose only server, with the bot, is called so too."""

    def visited(path: str, name: str) -> str:
        linus = with_list("linus")
        User.objects.update(global_name=name, discord_username=name, is_staff=True, is_superuser=True)
        UserGuildMembership.objects.update(name=name, guild_id=5, owner=True)
        GuildListVerification.objects.update(version=F("version") + 1)
        now = database_now()
        BotGuild.objects.create(pk=5, name=name, first_seen_at=now, verified_at=now)
        access_tokens.create(linus, name, [Scope.GUILDS_READ], timedelta(days=1))
        membership = UserGuildMembership.objects.get()
        client = client_of(User.objects.get())
        response = client.get(path.format(user=linus.pk, membership=membership.pk), follow=True)
        assert response.status_code == 200
        return response.content.decode()

    return visited


PAGES = [
    "/servers/",
    "/servers/5/",
    "/account/",
    "/account/tokens/",
    "/admin/accounts/user/",
    "/admin/accounts/user/{user}/change/",
    "/admin/accounts/personalaccesstoken/",
    "/admin/guilds/userguildmembership/",
    "/admin/guilds/userguildmembership/{membership}/change/",
    "/admin/guilds/guildlistverification/",
    "/admin/guilds/botguild/",
    "/admin/guilds/botguild/5/change/",
    "/admin/guilds/servingminute/",
]


@pytest.mark.parametrize("path", PAGES)
def test_no_page_shows_a_name_that_turns_the_text_around_it(visit: Callable[[str, str], str], path: str) -> None:
    text = visit(path, HEBREW)

    isolated = rf"<bdi[^>]*>{HEBREW}|dir=\"auto\">\s*{HEBREW}|\u2068{HEBREW}\u2069"
    assert re.search(isolated, text)
    # Django's own row for a field of a model, which is a block and so a paragraph of its own.
    rest = re.sub(rf'{isolated}|<div class="readonly">{HEBREW}', "", text)
    assert not re.findall(f".*{HEBREW}.*", rest)


@pytest.mark.parametrize("name", ["\u3164", "\u2800", "\u202e", "  "])
@pytest.mark.parametrize(
    "path", ["/servers/", "/servers/5/", "/admin/guilds/botguild/", "/admin/guilds/servingminute/"]
)
def test_a_server_whose_name_shows_nothing_is_shown_by_its_id(
    visit: Callable[[str, str], str], path: str, name: str
) -> None:
    assert re.search(r"<bdi>5</bdi>|<h1 dir=\"auto\">5</h1>", visit(path, name))


def test_the_title_of_such_a_server_is_its_id(visit: Callable[[str, str], str]) -> None:
    assert re.search(r"<title>\s*5\s*· Guildhall", visit("/servers/5/", "\u200b\u3164"))


@pytest.mark.parametrize(
    ("name", "letters"),
    [("\u200bchess \u3164 club", "cc"), ("\u2800\u2800a", "a"), ("👨\u200d👩 x", "👨\u200d👩x"), ("\u3164", "")],
)
def test_initials_are_letters_that_show(name: str, letters: str) -> None:
    assert initials(name) == letters
