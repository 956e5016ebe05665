"""The page of a server: its forms change members, roles, channels and the bot without a script."""

import html
import re

import pytest

from sandbox.remote import Remote

CLUB = "Analytical Engine Club"


@pytest.fixture
def remote(unlimited):
    return Remote(unlimited.url)


@pytest.fixture
def club(remote):
    return next(guild["id"] for guild in remote.call("GET", "people/ada")["guilds"] if guild["name"] == CLUB)


def submit(sandbox, club, form, **fields):
    reply = sandbox.ask("POST", f"/_sandbox/guilds/{club}/{form}", form=fields)
    assert (reply.status, reply.headers["Location"]) == (303, f"/_sandbox/guilds/{club}"), reply.text


def named(remote, path):
    return {entry["name"]: entry for entry in remote.call("GET", path)}


def test_the_start_page_leads_to_every_server_of_every_person(unlimited, club):
    start = unlimited.ask("GET", "/_sandbox/").text

    links = re.findall(r'href="(/_sandbox/guilds/\d+)"', start)
    assert len(links) == 12 + 200 + 1
    assert links.count(f"/_sandbox/guilds/{club}") == 2
    assert all(unlimited.ask("GET", link).status == 200 for link in links[:12])


def test_the_page_shows_members_roles_and_channels_and_escapes_names(unlimited, remote, club):
    remote.member("linus", club, roles=["Supporters"], nick="<Linus>")
    remote.roles(club, *remote.call("GET", f"guilds/{club}/roles"), {"name": "<b>Staff</b>"})

    page = unlimited.ask("GET", f"/_sandbox/guilds/{club}").text

    assert "<script" not in page
    assert "<b>Staff" not in page
    assert html.escape("<b>Staff</b>") in page
    assert 'value="&lt;Linus&gt;"' in page
    assert "The bot is in this server." in page
    assert all(name in page for name in ("Ada Lovelace", "linus", "Moderators", "bot-commands", "Town Hall"))
    supporters = named(remote, f"guilds/{club}/roles")["Supporters"]["id"]
    assert page.count(f'name="role.{supporters}"') == 2
    assert page.count(f'name="role.{supporters}" checked') == 1


def test_a_form_changes_a_member(unlimited, remote, club):
    roles = named(remote, f"guilds/{club}/roles")
    before = remote.call("GET", f"members/linus/{club}")

    submit(
        unlimited,
        club,
        "member",
        person="linus",
        nick="Finn",
        pending="on",
        communication_disabled_until="2031-01-01T00:00:00+00:00",
        **{f"role.{roles['Moderators']['id']}": "on"},
    )

    assert remote.call("GET", f"members/linus/{club}") == {
        "roles": [roles["Moderators"]["id"]],
        "nick": "Finn",
        "pending": True,
        "communication_disabled_until": "2031-01-01T00:00:00+00:00",
        "joined_at": before["joined_at"],
    }
    submit(unlimited, club, "member", person="linus", nick="", communication_disabled_until="")
    assert remote.call("GET", f"members/linus/{club}") == before


def test_forms_create_rename_and_delete_a_role(unlimited, remote, club):
    submit(unlimited, club, "role", name="Staff", permissions="8192")
    staff = named(remote, f"guilds/{club}/roles")["Staff"]
    assert staff["permissions"] == "8192"

    submit(unlimited, club, "role", id=staff["id"], name="Crew", position="4", color="#00ff10")
    crew = named(remote, f"guilds/{club}/roles")["Crew"]
    assert crew == staff | {"name": "Crew", "position": 4, "color": 0x00FF10}

    submit(unlimited, club, "role", id=staff["id"], name="Crew", do="delete")
    assert set(named(remote, f"guilds/{club}/roles")) == {
        "@everyone",
        "Supporters",
        "Server Booster",
        "Moderators",
        "Guildhall",
        "Administrators",
    }


def test_forms_create_rename_and_delete_a_channel(unlimited, remote, club):
    text = named(remote, f"guilds/{club}/channels")["Text Channels"]["id"]

    submit(unlimited, club, "channel", name="ideas", type="15", parent_id=text)
    ideas = named(remote, f"guilds/{club}/channels")["ideas"]
    assert (ideas["type"], ideas["parent_id"]) == (15, text)

    submit(unlimited, club, "channel", id=ideas["id"], name="plans", type="0", parent_id="")
    plans = named(remote, f"guilds/{club}/channels")["plans"]
    assert plans == ideas | {"name": "plans", "type": 0, "parent_id": None}

    submit(unlimited, club, "channel", id=ideas["id"], name="plans", do="delete")
    assert len(named(remote, f"guilds/{club}/channels")) == 11
    assert "plans" not in named(remote, f"guilds/{club}/channels")


def test_the_bots_form_changes_its_permissions_and_removes_it(unlimited, remote, club):
    submit(unlimited, club, "bot", permissions="3072")
    assert remote.call("GET", f"bot/{club}") == {"permissions": "3072"}

    submit(unlimited, club, "bot", permissions="3072", do="delete")
    assert remote.call("GET", f"bot/{club}") == {"permissions": None}
    assert "The bot is not in this server." in unlimited.ask("GET", f"/_sandbox/guilds/{club}").text


def test_a_member_is_removed_and_another_person_added(unlimited, remote, club):
    submit(unlimited, club, "member", person="linus", do="delete")
    submit(unlimited, club, "join", person="nobody")
    submit(unlimited, club, "join", person="nobody")

    assert remote.call("GET", "people/linus")["guilds"] == []
    (guild,) = remote.call("GET", "people/nobody")["guilds"]
    assert (guild["id"], guild["owner"]) == (club, False)
    assert int(guild["permissions"]) & 0x28 == 0


def test_a_server_is_gone_with_its_last_member(unlimited, remote):
    guild = remote.call("GET", "people/ada")["guilds"][1]["id"]

    reply = unlimited.ask("POST", f"/_sandbox/guilds/{guild}/member", form={"person": "ada", "do": "delete"})

    assert (reply.status, reply.headers["Location"]) == (303, "/_sandbox/")
    assert unlimited.ask("GET", f"/_sandbox/guilds/{guild}").status == 400


@pytest.mark.parametrize(
    ("form", "fields", "wrong"),
    [
        ("member", {"person": "grace"}, "'grace' is not in the server"),
        ("join", {"person": "mallory"}, "there is no person 'mallory'"),
        ("member", {"person": "ada", "communication_disabled_until": "soon"}, "'communication_disabled_until'"),
        ("role", {"name": "x", "position": "high"}, "'position' must be a number"),
        ("role", {"name": "x", "color": "red"}, "'color' must be a number"),
        ("role", {"id": "5", "do": "delete"}, "there is no '5'"),
        ("channel", {"name": "x", "type": "text"}, "'type' must be a number"),
        ("bot", {"permissions": ""}, "permissions' must be a string of digits"),
    ],
)
def test_a_wrong_form_says_what_is_wrong(unlimited, club, form, fields, wrong):
    reply = unlimited.ask("POST", f"/_sandbox/guilds/{club}/{form}", form=fields)

    assert reply.status == 400
    assert wrong in reply.json()["error"]


def test_an_unknown_server_or_form_is_refused(unlimited, club):
    assert unlimited.ask("GET", "/_sandbox/guilds/1").status == 400
    assert unlimited.ask("POST", f"/_sandbox/guilds/{club}/emojis", form={"name": "x"}).status == 404
