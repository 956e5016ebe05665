"""Discord's names, in words."""

from collections.abc import Callable

from django.db.models import F
from django.test import Client

from accounts.discord import Permissions
from accounts.models import User
from guilds.listing.discord_names import PERMISSIONS
from guilds.models import GuildListVerification, UserGuildMembership


def test_every_permission_has_a_name() -> None:
    assert set(PERMISSIONS) == set(Permissions)
    assert len(set(map(str, PERMISSIONS.values()))) == len(PERMISSIONS)


def test_a_servers_page_says_what_one_may_do_in_the_readers_language(
    with_list: Callable[..., User], client_of: Callable[[User], Client]
) -> None:
    browser = client_of(with_list("ada"))
    server = UserGuildMembership.objects.all()[0]
    features = ["COMMUNITY", "WELCOME_SCREEN_ENABLED", "SOMETHING_OF_DISCORDS_OWN"]
    UserGuildMembership.objects.filter(pk=server.pk).update(
        owner=False, permissions=int(Permissions.MANAGE_GUILD | Permissions.MODERATE_MEMBERS), features=features
    )
    GuildListVerification.objects.update(version=F("version") + 1)

    page = browser.get(f"/servers/{server.guild_id}/", headers={"Accept-Language": "de"}).content.decode()

    for words in ("Server verwalten", "Mitglieder in Timeout versetzen", "Willkommensbildschirm"):
        assert f"<li>{words}</li>" in page
    assert "omething" not in page
