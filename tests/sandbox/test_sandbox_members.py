"""Members, roles and channels, as a person and as the bot read them."""

import pytest

from sandbox.remote import BOT_MEMBER, MEMBER, Remote
from tests.sandbox.schema import DOCUMENT, check, of_route

BOT = "Bot sandbox-bot"
BOT_ID = "1041022600642236426"
LIST = "/users/@me/guilds"
READ = ("guilds", "guilds.members.read")


@pytest.fixture
def remote(unlimited):
    return Remote(unlimited.url)


def guilds_of(sandbox, person="ada"):
    """The ids of a person's guilds by name."""
    return {guild["name"]: guild["id"] for guild in sandbox.control("GET", f"people/{person}").json()["guilds"]}


def club_of(sandbox):
    """The guild of ada and linus, which has the bot."""
    return guilds_of(sandbox)["Analytical Engine Club"]


def without_the_bot(sandbox):
    return guilds_of(sandbox)["Winter Climbers"]


def user_id(sandbox, person):
    return sandbox.control("GET", f"people/{person}").json()["id"]


def member(sandbox, person="ada", guild_id=None):
    return sandbox.get(f"/guilds/{guild_id or club_of(sandbox)}/members/{user_id(sandbox, person)}", BOT)


@pytest.mark.parametrize("person", ["ada", "grace", "linus"])
def test_all_answers_are_what_the_document_says(unlimited, person):
    token = unlimited.token(person, *READ)
    own = unlimited.get(LIST, token).json()
    bots = {guild["id"] for guild in unlimited.get(LIST, BOT).json()}

    for guild_id in [guild["id"] for guild in own if guild["id"] in bots]:
        check(of_route(f"{LIST}/{{guild_id}}/member"), unlimited.get(f"{LIST}/{guild_id}/member", token).json())
        check(of_route("/guilds/{guild_id}/members/{user_id}"), member(unlimited, person, guild_id).json())
        check(of_route("/guilds/{guild_id}/roles"), unlimited.get(f"/guilds/{guild_id}/roles", BOT).json())
        channels = unlimited.get(f"/guilds/{guild_id}/channels", BOT).json()
        for channel in channels:
            check("/components/schemas/GuildChannelResponse", channel)
            assert set(channel) <= set(DOCUMENT["components"]["schemas"]["GuildChannelResponse"]["properties"])


def test_a_server_has_everyone_roles_by_rank_and_the_bots_own(unlimited):
    club = club_of(unlimited)

    roles = unlimited.get(f"/guilds/{club}/roles", BOT).json()

    by_rank = sorted(roles, key=lambda role: role["position"])
    assert [role["name"] for role in by_rank] == [
        "@everyone",
        "Supporters",
        "Server Booster",
        "Moderators",
        "Guildhall",
        "Administrators",
    ]
    assert by_rank[0]["id"] == club
    assert [role["name"] for role in by_rank if role["managed"]] == ["Server Booster", "Guildhall"]
    assert by_rank[4]["tags"] == {"bot_id": BOT_ID}
    assert by_rank[2]["tags"] == {"premium_subscriber": None}
    assert unlimited.get(f"/guilds/{club}", BOT).json()["roles"] == roles


def test_a_server_has_channels_of_every_kind_in_categories(unlimited):
    channels = unlimited.get(f"/guilds/{club_of(unlimited)}/channels", BOT).json()

    categories = {channel["id"] for channel in channels if channel["type"] == 4}
    assert {channel["type"] for channel in channels} == {0, 2, 4, 5, 13, 15}
    assert all(channel["parent_id"] in categories for channel in channels if channel["type"] != 4)
    assert [channel["name"] for channel in channels if channel["permission_overwrites"]] == ["staff"]


def test_what_is_said_of_a_member_is_what_both_routes_answer(unlimited, remote):
    club = club_of(unlimited)
    said = {
        "nick": "Countess",
        "pending": True,
        "joined_at": "2020-02-03T04:05:06+00:00",
        "communication_disabled_until": "2031-01-01T00:00:00+00:00",
    }

    remote.member("ada", club, roles=["Supporters"], **said)

    own = unlimited.get(f"{LIST}/{club}/member", unlimited.token("ada", *READ)).json()
    supporters = next(role for role in remote.call("GET", f"guilds/{club}/roles") if role["name"] == "Supporters")
    assert {name: own[name] for name in said} == said
    assert own["roles"] == [supporters["id"]]
    assert own.pop("permissions")
    assert own == member(unlimited).json()
    assert member(unlimited, "linus").json()["nick"] is None
    assert remote.call("GET", f"members/ada/{club}") == said | {"roles": [supporters["id"]]}


def test_fields_that_are_not_named_stay(unlimited, remote):
    club = club_of(unlimited)
    remote.member("ada", club, nick="Countess")

    remote.member("ada", club, pending=True)

    assert (member(unlimited).json()["nick"], member(unlimited).json()["pending"]) == ("Countess", True)


def test_a_person_who_leaves_and_returns_is_a_new_member(unlimited, remote):
    club = club_of(unlimited)
    shared = [{"id": club, "name": "Analytical Engine Club"}]
    remote.member("linus", club, roles=["Moderators"])

    remote.person("linus", guilds=[])
    assert member(unlimited, "linus").json()["code"] == 10007
    remote.person("linus", guilds=shared)

    assert member(unlimited, "linus").json()["roles"] == []


@pytest.mark.parametrize(
    ("body", "wrong"),
    [
        ([], "a member must be an object"),
        ({"role": []}, "'role'"),
        ({"roles": "Moderators"}, "'roles' must be a list"),
        ({"roles": ["Knights"]}, "'Knights', which is no role"),
        ({"roles": ["@everyone"]}, "@everyone"),
        ({"nick": 5}, "'nick' must be a string"),
        ({"nick": "x" * 33}, "'nick' must be at most 32"),
        ({"pending": "no"}, "'pending' must be true or false"),
        ({"joined_at": None}, "'joined_at' must be a string"),
        ({"joined_at": "yesterday"}, "'joined_at' must be a time"),
        ({"communication_disabled_until": "2031-01-01T00:00:00"}, "UTC offset"),
    ],
)
def test_a_wrong_member_is_refused_with_the_reason(unlimited, body, wrong):
    club = club_of(unlimited)
    before = member(unlimited).json()

    reply = unlimited.control("PUT", f"members/ada/{club}", body)

    assert reply.status == 400
    assert wrong in reply.json()["error"]
    assert member(unlimited).json() == before


@pytest.mark.parametrize(
    ("path", "status", "wrong"),
    [
        ("members/nemo/{club}", 400, "no person 'nemo'"),
        ("members/grace/{club}", 400, "grace is in no server"),
        ("members/ada/1", 400, "ada is in no server"),
        ("guilds/1/roles", 400, "none of the people"),
        ("guilds/{club}/emojis", 404, "there is no PUT"),
        ("members/ada", 404, "there is no PUT"),
        ("bot/1", 400, "none of the people"),
    ],
)
def test_an_unknown_person_or_server_is_named(unlimited, path, status, wrong):
    reply = unlimited.control("PUT", path.format(club=club_of(unlimited)), {})

    assert reply.status == status
    assert wrong in reply.json()["error"]


def test_roles_are_created_renamed_and_deleted_by_one_list(unlimited, remote):
    club = club_of(unlimited)
    before = {role["name"]: role for role in remote.call("GET", f"guilds/{club}/roles")}
    remote.member("ada", club, roles=["Moderators", "Supporters"])

    remote.roles(
        club,
        {"id": before["Moderators"]["id"], "name": "Crew"},
        {"name": "Staff", "permissions": "8192", "color": 255, "position": 2},
        {"id": "77", "name": "Guests"},
    )

    roles = {role["name"]: role for role in unlimited.get(f"/guilds/{club}/roles", BOT).json()}
    assert set(roles) == {"@everyone", "Crew", "Staff", "Guests", "Guildhall"}
    assert roles["Crew"]["permissions"] == before["Moderators"]["permissions"]
    assert (roles["Staff"]["permissions"], roles["Staff"]["color"], roles["Staff"]["position"]) == ("8192", 255, 2)
    assert roles["Guests"]["id"] == "77"
    assert roles["Staff"]["id"] not in {role["id"] for role in before.values()}
    assert member(unlimited).json()["roles"] == [roles["Crew"]["id"]]


def test_a_deleted_role_does_not_come_back_with_its_id(unlimited, remote):
    club = club_of(unlimited)
    remote.roles(club, {"id": "77", "name": "Guests"})
    remote.member("ada", club, roles=["77"])

    remote.roles(club)
    remote.roles(club, {"id": "77", "name": "Guests"})

    assert member(unlimited).json()["roles"] == []


@pytest.mark.parametrize(
    ("body", "wrong"),
    [
        ({}, "must be a list"),
        ([5], "'[0]' must be an object"),
        ([{"title": "x"}], "'title'"),
        ([{}], "'[0]' must have a 'name'"),
        ([{"name": " "}], "'[0].name' must not be empty"),
        ([{"name": "x", "id": "abc"}], "'[0].id' must be a snowflake"),
        ([{"name": "x", "permissions": 8}], "'[0].permissions' must be a string of digits"),
        ([{"name": "x", "color": 2**24}], "'[0].color'"),
        ([{"name": "x", "position": 0}], "'[0].position' must be at least 1"),
        ([{"name": "x", "hoist": 1}], "'[0].hoist'"),
        ([{"name": "x", "id": "7"}, {"name": "y", "id": "7"}], "the id 7 twice"),
        ([{"id": "{club}", "name": "all"}], "@everyone can't change"),
        ([{"name": "x"}] * 251, "at most 250 roles"),
    ],
)
def test_wrong_roles_are_refused_with_the_reason(unlimited, body, wrong):
    club = club_of(unlimited)
    if wrong.startswith("@everyone"):
        body = [body[0] | {"id": club}]

    reply = unlimited.control("PUT", f"guilds/{club}/roles", body)

    assert reply.status == 400
    assert wrong in reply.json()["error"]
    assert len(unlimited.get(f"/guilds/{club}/roles", BOT).json()) == 6


def test_channels_are_created_renamed_and_deleted_by_one_list(unlimited, remote):
    club = club_of(unlimited)
    before = {channel["name"]: channel for channel in remote.call("GET", f"guilds/{club}/channels")}
    hidden = {"id": club, "type": 0, "allow": "0", "deny": "1024"}

    remote.channels(
        club,
        {"id": before["general"]["id"], "name": "lobby"},
        {"id": "88", "name": "News", "type": "category"},
        {"id": "89", "name": "news", "type": "announcement", "parent_id": "88", "permission_overwrites": [hidden]},
    )

    channels = {channel["name"]: channel for channel in unlimited.get(f"/guilds/{club}/channels", BOT).json()}
    assert set(channels) == {"lobby", "News", "news"}
    assert channels["lobby"]["parent_id"] is None  # its category is gone
    assert (channels["news"]["type"], channels["news"]["parent_id"]) == (5, "88")
    assert channels["news"]["permission_overwrites"] == [hidden]


def test_the_list_of_channels_can_be_sent_back_without_a_category(unlimited, remote):
    club = club_of(unlimited)
    channels = remote.call("GET", f"guilds/{club}/channels")

    remote.channels(club, *(channel for channel in channels if channel["name"] != "Information"))

    left = {channel["name"]: channel for channel in remote.call("GET", f"guilds/{club}/channels")}
    assert left["rules"]["parent_id"] is None
    assert left["general"]["parent_id"] == left["Text Channels"]["id"]


@pytest.mark.parametrize(
    ("body", "wrong"),
    [
        ({}, "must be a list"),
        ([{"type": 0}], "'[0]' must have a 'name'"),
        ([{"name": "x", "type": 1}], "'[0].type' must be one of 0 (text)"),
        ([{"name": "x", "type": "thread"}], "not 'thread'"),
        ([{"name": "x", "parent_id": "5"}], "'[0].parent_id' names 5"),
        ([{"name": "x", "type": 4, "parent_id": "5"}], "'[0].parent_id' must be null"),
        ([{"name": "x", "position": -1}], "'[0].position'"),
        ([{"name": "x", "permission_overwrites": {}}], "'[0].permission_overwrites' must be a list"),
        ([{"name": "x", "permission_overwrites": [{"id": "5", "deny": 1}]}], "permission_overwrites[0].deny'"),
        ([{"name": "x", "id": "7"}, {"name": "y", "id": "7"}], "the id 7 twice"),
        ([{"name": "x"}] * 501, "at most 500 channels"),
    ],
)
def test_wrong_channels_are_refused_with_the_reason(unlimited, body, wrong):
    club = club_of(unlimited)

    reply = unlimited.control("PUT", f"guilds/{club}/channels", body)

    assert reply.status == 400
    assert wrong in reply.json()["error"]
    assert len(unlimited.get(f"/guilds/{club}/channels", BOT).json()) == 11


def test_the_bot_can_have_fewer_permissions_and_leave(unlimited, remote):
    club = club_of(unlimited)

    def permissions():
        return {guild["id"]: guild["permissions"] for guild in unlimited.get(LIST, BOT).json()}

    remote.bot(club, 3072)

    roles = {role["name"]: role for role in unlimited.get(f"/guilds/{club}/roles", BOT).json()}
    itself = unlimited.get(f"/guilds/{club}/members/{BOT_ID}", BOT).json()
    assert permissions()[club] == roles["Guildhall"]["permissions"] == "3072"
    assert itself["roles"] == [roles["Guildhall"]["id"]]
    assert itself["user"]["bot"] is True

    remote.roles(club, {"id": roles["Guildhall"]["id"], "permissions": "1024"})
    assert permissions()[club] == "1024"

    remote.bot(club, None)
    assert club not in permissions()
    assert "Guildhall" not in {role["name"] for role in remote.call("GET", f"guilds/{club}/roles")}
    assert remote.call("GET", f"bot/{club}") == {"permissions": None}


def test_other_methods_are_refused(unlimited):
    club = club_of(unlimited)

    for path, allowed in ((f"members/ada/{club}", "GET, PUT"), (f"bot/{club}", "GET, PUT, DELETE")):
        reply = unlimited.control("POST", path, {"permissions": "0"})
        assert (reply.status, reply.headers["Allow"]) == (405, allowed)
    assert unlimited.control("PUT", f"bot/{club}", {"permissions": 8}).status == 400


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/guilds/{club}/members/1", 404, 10013),
        ("/guilds/{club}/members/{nobody}", 404, 10007),
        ("/guilds/{club}/members/@me", 400, 50035),
        ("/guilds/{without}/members/{ada}", 403, 50001),
        ("/guilds/{without}/roles", 403, 50001),
        ("/guilds/{without}/channels", 403, 50001),
        ("/guilds/{without}", 404, 10004),
        ("/guilds/1/members/{ada}", 404, 10004),
        ("/guilds/1/roles", 404, 10004),
        ("/guilds/1/channels", 404, 10004),
        ("/guilds/one/roles", 400, 50035),
        (LIST + "/{club}/member", 403, 20001),
    ],
)
def test_the_bot_is_refused_with_discords_code(unlimited, path, status, code):
    ids = {
        "club": club_of(unlimited),
        "without": without_the_bot(unlimited),
        "ada": user_id(unlimited, "ada"),
        "nobody": user_id(unlimited, "nobody"),
    }

    reply = unlimited.get(path.format(**ids), BOT)

    assert (reply.status, reply.json()["code"]) == (status, code)
    check("/components/schemas/ErrorResponse", reply.json())


@pytest.mark.parametrize("route", ["members/1", "roles", "channels"])
def test_a_persons_token_is_refused_on_the_bots_routes(unlimited, route):
    path = f"/guilds/{club_of(unlimited)}/{route}"

    assert unlimited.get(path, unlimited.token("ada", *READ)).status == 401
    assert unlimited.get(path).status == 401
    assert unlimited.ask("DELETE", f"/api/v10{path}", token=BOT).status == 405


def test_a_person_has_five_member_requests_in_300_seconds_over_all_servers(sandbox):
    token, linus = sandbox.token("ada", *READ), sandbox.token("linus", *READ)
    ids = [*list(guilds_of(sandbox).values())[:4], "1"]

    replies = [sandbox.get(f"{LIST}/{guild_id}/member", token) for guild_id in [*ids, ids[0]]]

    assert [reply.status for reply in replies] == [200, 200, 200, 200, 404, 429]
    assert [reply.headers["X-RateLimit-Remaining"] for reply in replies] == ["4", "3", "2", "1", "0", "0"]
    assert {reply.headers["X-RateLimit-Limit"] for reply in replies} == {"5"}
    assert len({reply.headers["X-RateLimit-Bucket"] for reply in replies}) == 1
    assert 290 < replies[5].json()["retry_after"] <= 300
    assert replies[5].headers["X-RateLimit-Scope"] == "user"
    check("/components/schemas/RatelimitedResponse", replies[5].json())
    assert sandbox.get(f"{LIST}/{ids[0]}/member", linus).status == 200
    assert sandbox.get(LIST, token).status == 200
    assert member(sandbox).status == 200


@pytest.mark.parametrize(("limit", "statuses"), [(2, [200, 200, 429]), (None, [200] * 3)])
def test_the_member_limit_can_be_set_and_switched_off(sandbox, limit, statuses):
    sandbox.control("PUT", "limits", {"members_per_300_seconds": limit})
    token, club = sandbox.token("ada", *READ), club_of(sandbox)

    assert [sandbox.get(f"{LIST}/{club}/member", token).status for _ in range(3)] == statuses
    assert sandbox.state()["limits"]["members_per_300_seconds"] == limit


def test_the_bots_requests_are_limited_by_server_and_route(sandbox):
    sandbox.control("PUT", "limits", {"per_guild": 2})
    club, other = [guild["id"] for guild in sandbox.get(LIST, BOT).json()[:2]]

    replies = [sandbox.get(f"/guilds/{club}/roles", BOT) for _ in range(3)]

    assert [reply.status for reply in replies] == [200, 200, 429]
    assert replies[2].json()["retry_after"] <= 1
    assert sandbox.get(f"/guilds/{other}/roles", BOT).status == 200
    assert sandbox.get(f"/guilds/{club}/channels", BOT).status == 200


@pytest.mark.parametrize("limits", [{"members_per_300_seconds": 0}, {"per_guild": "5"}])
def test_a_wrong_limit_is_named(sandbox, limits):
    reply = sandbox.control("PUT", "limits", limits)

    assert reply.status == 400
    assert next(iter(limits)) in reply.json()["error"]


@pytest.mark.parametrize("path", ["/roles", "/channels", "/members/{ada}"])
def test_a_mood_applies_to_one_of_the_new_routes_or_one_server(unlimited, path):
    club, other = club_of(unlimited), guilds_of(unlimited)["1337 Krew"]
    path = path.format(ada=user_id(unlimited, "ada"))

    unlimited.mood("rate_limited", retry_after=7, routes=[f"/guilds/{club}{path}"])

    limited = unlimited.get(f"/guilds/{club}{path}", BOT)
    assert (limited.status, limited.json()["retry_after"]) == (429, 7)
    assert unlimited.get(f"/guilds/{other}{path}", BOT).status == 200
    assert unlimited.get(f"/guilds/{club}", BOT).status == 200


def test_the_log_tells_routes_people_and_servers_apart(unlimited, remote):
    club, other = club_of(unlimited), guilds_of(unlimited)["1337 Krew"]
    ada, linus = unlimited.token("ada", *READ), unlimited.token("linus", *READ)
    for token, guild_id in ((ada, club), (ada, other), (linus, club)):
        unlimited.get(f"{LIST}/{guild_id}/member", token)
    member(unlimited)
    unlimited.get(LIST, ada)

    state = unlimited.state()

    assert state["by_route"] == {f"GET {MEMBER}": 3, f"GET {BOT_MEMBER}": 1, f"GET {LIST}": 1}
    assert state["by_guild"] == {club: 3, other: 1}
    assert state["by_person"] == {"ada": 3, "linus": 1, "(bot)": 1}
    assert len(remote.requests("", route=MEMBER)) == 3
    assert len(remote.requests("", route=MEMBER, person="ada")) == 2
    assert len(remote.requests("", guild=club)) == 3
    assert [line["person"] for line in remote.requests("", route=BOT_MEMBER, guild=club)] == ["(bot)"]


def test_members_roles_and_channels_survive_a_restart(start_sandbox, tmp_path):
    state = str(tmp_path / "sandbox.json")
    before = start_sandbox("--state", state)
    remote, club = Remote(before.url), club_of(before)
    remote.roles(club, {"name": "Staff", "id": "77"})
    remote.channels(club, {"name": "lobby", "id": "88"})
    remote.member("ada", club, roles=["77"], nick="Countess")
    remote.bot(club, 1024)
    paths = (f"guilds/{club}/roles", f"guilds/{club}/channels", f"members/ada/{club}", f"bot/{club}")
    said = [remote.call("GET", path) for path in paths]
    assert before.stop() == 0

    after = Remote(start_sandbox("--state", state).url)

    assert [after.call("GET", path) for path in paths] == said


def test_reset_restores_members_roles_channels_and_limits(unlimited, remote):
    club = club_of(unlimited)
    paths = (f"guilds/{club}/roles", f"guilds/{club}/channels", f"members/ada/{club}", f"bot/{club}")
    first = [remote.call("GET", path) for path in paths]
    remote.roles(club)
    remote.channels(club)
    remote.member("ada", club, nick="Countess")
    remote.bot(club, 0)

    remote.reset()

    assert [remote.call("GET", path) for path in paths] == first
    assert unlimited.state()["limits"]["members_per_300_seconds"] == 5
