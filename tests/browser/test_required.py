"""A site for one server's members: refused, then let in after joining, on a phone and a desk."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, ViewportSize, expect

from tests.browser.conftest import Site, running_site, start_sign_in
from tests.browser.looks import DESK, PHONE, faults_of, inspect_at_its_size

pytestmark = pytest.mark.thorough

CLUB, STAFF = 11, 501


@pytest.fixture(scope="module")
def club_site(tmp_path_factory: pytest.TempPathFactory, prepared: Path) -> Iterator[Site]:
    settings = {
        "DISCORD_SCOPES": "identify",
        "REQUIRED_GUILD": str(CLUB),
        "REQUIRED_ROLES": str(STAFF),
        "REQUIRED_GUILD_INVITE": "https://discord.gg/club",
    }
    with running_site(tmp_path_factory.mktemp("club"), settings, prepared) as site:
        site.sandbox.person("host", guilds=[{"id": str(CLUB), "name": "Club", "permissions": "0"}])
        site.sandbox.bot(CLUB, 0)
        site.sandbox.roles(CLUB, {"id": str(STAFF), "name": "Staff"})
        site.shell(f"from guilds.resources.bot_guilds import verify_one; assert verify_one({CLUB})")
        yield site


@pytest.mark.parametrize("size", [PHONE, DESK], ids=["phone", "desk"])
def test_a_person_joins_and_comes_in(club_site: Site, browser: Browser, size: ViewportSize) -> None:
    name = f"joiner{size['width']}"
    club_site.sandbox.person(name, count=0)
    context = browser.new_context(viewport=size)
    page = context.new_page()
    faults = faults_of(page)

    start_sign_in(club_site, page, name)
    expect(page.get_by_role("heading", name="This site is for members")).to_be_visible()
    expect(page.get_by_role("link", name="Join the server")).to_have_attribute("href", "https://discord.gg/club")
    inspect_at_its_size(page)

    club_site.sandbox.person(name, guilds=[{"id": str(CLUB), "name": "Club", "permissions": "0"}])
    club_site.sandbox.member(name, CLUB, roles=[str(STAFF)])
    club_site.shell(
        "from datetime import timedelta; from django.db.models import F; from guilds.models import GuildMember as M;"
        "M.objects.update(verified_at=F('verified_at') - timedelta(minutes=2))"
    )
    page.get_by_role("button", name="Check again").click()

    expect(page.get_by_role("heading", name="Your servers with the bot")).to_be_visible()
    expect(page.get_by_role("link", name="Club")).to_be_visible()
    inspect_at_its_size(page)
    assert faults == []
    context.close()
