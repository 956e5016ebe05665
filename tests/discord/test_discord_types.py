import copy
import json
import pickle
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accounts.discord import (
    Channel,
    CurrentUser,
    Guild,
    GuildPage,
    InvalidPayload,
    Member,
    Overwrite,
    PartialGuild,
    Permissions,
    Role,
    Tokens,
)

# The example in Discord's documentation.
DOCUMENTED_GUILD = {
    "id": "80351110224678912",
    "name": "1337 Krew",
    "icon": "8342729096ea3675442027381ff50dfe",
    "banner": "bb42bdc37653b7cf58c4c8cc622e76cb",
    "owner": True,
    "permissions": "36953089",
    "features": ["COMMUNITY", "NEWS", "ANIMATED_ICON"],
    "approximate_member_count": 3268,
    "approximate_presence_count": 784,
}
DOCUMENTED_USER = {
    "id": "80351110224678912",
    "username": "Nelly",
    "discriminator": "1337",
    "avatar": "8342729096ea3675442027381ff50dfe",
    "global_name": None,
    "locale": "en-US",
    "primary_guild": {"identity_enabled": False},
}
DOCUMENTED_TOKENS = {
    "access_token": "6qrZcUqja7812RVdnEKjpzOL4CvHBFG",
    "token_type": "Bearer",
    "expires_in": 604800,
    "refresh_token": "D43f5y0ahjqew82jZ4NViEr2YafMKhue",
    "scope": "identify guilds",
}

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


# Discord's own OpenAPI document.
DOCUMENT = json.loads((Path(__file__).parents[1] / "sandbox" / "discord-openapi.json").read_text())
LISTED = DOCUMENT["components"]["schemas"]["MyGuildResponse"]
# More precise patterns from the documentation, for fields that are only strings in the document.
NUMBERS = st.integers(0, 2**63 - 1).map(str)
OF_FIELD = {"id": NUMBERS, "permissions": st.integers(0, 2**80).map(str), "features": st.lists(st.text(), unique=True)}
OF_TYPE = {"string": st.text(), "boolean": st.booleans(), "integer": st.integers(), "null": st.none()}


LISTED_FIELDS = {
    name: OF_FIELD[name]
    if name in OF_FIELD
    else st.one_of(*(OF_TYPE[kind] for kind in OF_TYPE if kind in field["type"]))
    for name, field in LISTED["properties"].items()
}
listed_guilds = st.lists(
    st.fixed_dictionaries(
        {name: LISTED_FIELDS[name] for name in LISTED["required"]},
        optional={name: LISTED_FIELDS[name] for name in LISTED_FIELDS.keys() - LISTED["required"]},
    ),
    unique_by=lambda guild: guild["id"],
    max_size=10,
)


@settings(max_examples=300)
@given(listed=listed_guilds)
def test_whatever_the_document_allows_is_readable(listed: list[dict[str, Any]]) -> None:
    for parse in (Guild.from_json, PartialGuild.from_json):
        page: GuildPage[Any] = GuildPage.from_json(listed, parse)

        assert [guild.id for guild in page.guilds] == sorted(int(guild["id"]) for guild in listed)
        assert (page.unreadable, page.without_id) == ({}, 0)


@given(value=st.lists(json_values | st.fixed_dictionaries({"id": NUMBERS}), min_size=1))
def test_entries_that_are_nothing_are_counted_and_raise_nothing(value: list[object]) -> None:
    page = GuildPage.from_json(value, Guild.from_json)

    assert not page.guilds
    assert len(page.unreadable) + page.without_id <= len(value)
    assert page.unreadable or page.without_id


def test_the_documented_guild_is_understood() -> None:
    guild = Guild.from_json(DOCUMENTED_GUILD)

    assert guild == Guild(
        id=80351110224678912,
        name="1337 Krew",
        icon="8342729096ea3675442027381ff50dfe",
        banner="bb42bdc37653b7cf58c4c8cc622e76cb",
        owner=True,
        permissions=36953089,
        features=("ANIMATED_ICON", "COMMUNITY", "NEWS"),
    )


def test_a_guild_may_have_no_icon_no_banner_and_unheard_of_features() -> None:
    plain = DOCUMENTED_GUILD | {"icon": None, "features": ["NOT_INVENTED_YET"]}
    del plain["banner"]

    guild = Guild.from_json(plain)

    assert (guild.icon, guild.banner, guild.features) == (None, None, ("NOT_INVENTED_YET",))


def test_features_in_another_order_are_the_same_guild() -> None:
    reordered = DOCUMENTED_GUILD | {"features": ["NEWS", "ANIMATED_ICON", "COMMUNITY", "NEWS"]}

    assert Guild.from_json(reordered) == Guild.from_json(DOCUMENTED_GUILD)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("id", 80351110224678912),
        ("id", "080351110224678912"),
        ("id", "-1"),
        ("id", ""),
        ("id", "12\n"),
        ("id", "١٢"),
        ("id", str(2**63)),
        ("id", "9" * 5000),
        ("id", None),
        ("name", None),
        ("name", 7),
        ("icon", 7),
        ("banner", []),
        ("owner", 1),
        ("owner", None),
        ("permissions", 8),
        ("permissions", "0x8"),
        ("permissions", "-8"),
        ("permissions", "9" * 5000),
        ("features", None),
        ("features", "NEWS"),
        ("features", ["NEWS", None]),
    ],
)
def test_a_wrong_field_is_named(field: str, value: object) -> None:
    with pytest.raises(InvalidPayload, match=rf"^guild\.{field} "):
        Guild.from_json(DOCUMENTED_GUILD | {field: value})


@pytest.mark.parametrize("number", [0, 1, 2**53, 2**63 - 1])
def test_ids_and_permissions_go_to_the_edge_of_a_database_column(number: int) -> None:
    guild = Guild.from_json(DOCUMENTED_GUILD | {"id": str(number), "permissions": str(number)})

    assert (guild.id, guild.permissions) == (number, number)


@pytest.mark.parametrize(("sent", "kept"), [(2**63, 0), (2**64 + 0x28, 0x28), (10**999, 10**999 % 2**63)])
def test_permission_bits_that_no_column_can_hold_are_dropped(sent: int, kept: int) -> None:
    assert Guild.from_json(DOCUMENTED_GUILD | {"permissions": str(sent)}).permissions == kept


def test_names_hold_nothing_that_a_database_refuses() -> None:
    guild = Guild.from_json(DOCUMENTED_GUILD | {"name": "a\x00b\ud800c 🦊 مرحبا"})

    assert guild.name == "ab?c 🦊 مرحبا"


@pytest.mark.parametrize(
    "parse",
    [
        Guild.from_json,
        CurrentUser.from_json,
        Tokens.from_json,
        Member.from_json,
        Role.from_json,
        Channel.from_json,
    ],
)
@given(value=json_values)
def test_no_json_value_raises_anything_but_invalid_payload(parse: Any, value: object) -> None:
    with pytest.raises(InvalidPayload):
        parse(value)


def test_the_documented_user_is_understood() -> None:
    user = CurrentUser.from_json(DOCUMENTED_USER)

    assert user == CurrentUser(
        id=80351110224678912,
        username="Nelly",
        global_name=None,
        avatar="8342729096ea3675442027381ff50dfe",
    )


def test_a_user_needs_an_id_and_a_name_and_little_else() -> None:
    assert CurrentUser.from_json({"id": "1", "username": "ada"}) == CurrentUser(1, "ada", None, None)
    with pytest.raises(InvalidPayload, match=r"user\.username"):
        CurrentUser.from_json({"id": "1"})


def test_the_documented_tokens_are_understood() -> None:
    tokens = Tokens.from_json(DOCUMENTED_TOKENS)

    assert tokens.access_token == "6qrZcUqja7812RVdnEKjpzOL4CvHBFG"
    assert tokens.refresh_token == "D43f5y0ahjqew82jZ4NViEr2YafMKhue"
    assert (tokens.expires_in, tokens.token_type) == (604800, "Bearer")
    assert tokens.scopes == {"identify", "guilds"}


def test_tokens_do_not_show_themselves() -> None:
    tokens = Tokens.from_json(DOCUMENTED_TOKENS)

    assert tokens.access_token not in repr(tokens)
    assert tokens.refresh_token not in f"{tokens}"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("access_token", ""),
        ("access_token", "secret\r\nX-Evil: 1"),
        ("access_token", None),
        ("refresh_token", "secret with spaces"),
        ("expires_in", "604800"),
        ("expires_in", 0),
        ("expires_in", True),
        ("expires_in", 2**31),
        ("scope", None),
        ("token_type", None),
    ],
)
def test_a_wrong_token_field_is_named_and_its_value_is_not(field: str, value: object) -> None:
    with pytest.raises(InvalidPayload, match=rf"^token\.{field} ") as caught:
        Tokens.from_json(DOCUMENTED_TOKENS | {field: value})

    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "value",
    [
        Guild.from_json(DOCUMENTED_GUILD),
        CurrentUser.from_json(DOCUMENTED_USER),
        Tokens.from_json(DOCUMENTED_TOKENS),
    ],
)
def test_values_survive_pickling(value: object) -> None:
    assert pickle.loads(pickle.dumps(value)) == value == copy.deepcopy(value)


@pytest.mark.parametrize(
    ("permissions", "owner", "may"),
    [
        (0, False, False),
        (0, True, True),
        (0x8, False, True),
        (0x20, False, True),
        (0x10, False, False),
        (36953089, False, False),  # the documentation's owned guild: neither bit is set
        (36953089, True, True),
        ((1 << 63) - 1 - 0x28, False, False),
        (1 << 60 | 0x20, False, True),
    ],
)
def test_owners_administrators_and_managers_may_manage(permissions: int, owner: bool, may: bool) -> None:
    guild = Guild.from_json(DOCUMENTED_GUILD | {"permissions": str(permissions), "owner": owner})

    assert Permissions.can_manage(permissions, owner) is may
    assert Permissions.can_manage(Permissions(permissions), owner) is may
    assert guild.can_manage is may


def test_permissions_carry_discords_names_and_keep_bits_without_one() -> None:
    assert [bit.value.bit_length() - 1 for bit in Permissions] == [*range(47), *range(48, 53)]
    assert Permissions.MANAGE_GUILD | Permissions.PIN_MESSAGES == 0x8000000000020
    assert int(Permissions(1 << 61 | 0x8)) == 1 << 61 | 0x8


# members, roles and channels

# The examples in Discord's documentation.
DOCUMENTED_MEMBER: dict[str, Any] = {
    "user": {},
    "nick": "NOT API SUPPORT",
    "avatar": None,
    "roles": [],
    "joined_at": "2015-04-26T06:26:56.936000+00:00",
    "deaf": False,
    "mute": False,
}
DOCUMENTED_ROLE = {
    "id": "41771983423143936",
    "name": "WE DEM BOYZZ!!!!!!",
    "color": 3447003,
    "hoist": True,
    "icon": "cf3ced8600b777c9486c6d8d84fb4327",
    "unicode_emoji": None,
    "position": 1,
    "permissions": "66321471",
    "managed": False,
    "mentionable": False,
    "flags": 0,
}
DOCUMENTED_CHANNEL = {
    "id": "41771983423143937",
    "guild_id": "41771983423143937",
    "name": "general",
    "type": 0,
    "position": 6,
    "permission_overwrites": [{"id": "7", "type": 1, "allow": "1024", "deny": "2048"}],
    "rate_limit_per_user": 2,
    "nsfw": True,
    "topic": "24/7 chat about how to gank Mike #2",
    "last_message_id": "155117677105512449",
    "parent_id": "399942396007890945",
    "default_auto_archive_duration": 60,
}


def test_the_documented_member() -> None:
    joined = datetime(2015, 4, 26, 6, 26, 56, 936000, tzinfo=UTC)

    assert Member.from_json(DOCUMENTED_MEMBER) == Member((), "NOT API SUPPORT", joined, None, False)


def test_a_members_roles_are_in_order_and_its_times_in_utc() -> None:
    member = Member.from_json(
        {
            "roles": ["300", "20", "300"],
            "nick": None,
            "joined_at": "2026-03-14T15:09:26",
            "communication_disabled_until": "2026-03-14T15:09:26+02:00",
            "pending": True,
        }
    )

    assert member == Member(
        (20, 300),
        "",
        datetime(2026, 3, 14, 15, 9, 26, tzinfo=UTC),
        datetime(2026, 3, 14, 13, 9, 26, tzinfo=UTC),
        True,
    )


def test_the_documented_role() -> None:
    assert Role.from_json(DOCUMENTED_ROLE) == Role(41771983423143936, "WE DEM BOYZZ!!!!!!", 3447003, 1, 66321471, False)


def test_the_documented_channel() -> None:
    assert Channel.from_json(DOCUMENTED_CHANNEL) == Channel(
        41771983423143937, 0, "general", 6, 399942396007890945, (Overwrite(7, False, 1024, 2048),)
    )


def test_a_channel_may_have_no_category_and_no_overwrites() -> None:
    channel = Channel.from_json({"id": "1", "type": 99, "name": "new", "position": 0, "parent_id": None})

    assert (channel.kind, channel.parent_id, channel.overwrites) == (99, None, ())


@pytest.mark.parametrize(
    ("parse", "value", "field"),
    [
        (Member.from_json, {"roles": None}, "member.roles"),
        (Member.from_json, {"roles": ["x"]}, "member.roles"),
        (Member.from_json, {"roles": [7]}, "member.roles"),
        (Member.from_json, {"roles": [], "joined_at": "yesterday"}, "member.joined_at"),
        (Member.from_json, {"roles": [], "joined_at": "0001-01-01T00:00:00+23:59"}, "member.joined_at"),
        (Member.from_json, {"roles": [], "communication_disabled_until": 7}, "member.communication_disabled_until"),
        (Member.from_json, {"roles": [], "pending": 1}, "member.pending"),
        (Role.from_json, DOCUMENTED_ROLE | {"position": "1"}, "role.position"),
        (Role.from_json, DOCUMENTED_ROLE | {"position": True}, "role.position"),
        (Role.from_json, DOCUMENTED_ROLE | {"color": 2**31}, "role.color"),
        (Role.from_json, DOCUMENTED_ROLE | {"permissions": 8}, "role.permissions"),
        (Channel.from_json, DOCUMENTED_CHANNEL | {"type": None}, "channel.type"),
        (Channel.from_json, DOCUMENTED_CHANNEL | {"parent_id": 7}, "channel.parent_id"),
        (Channel.from_json, DOCUMENTED_CHANNEL | {"permission_overwrites": {}}, "channel.permission_overwrites"),
        (Channel.from_json, DOCUMENTED_CHANNEL | {"permission_overwrites": [{"id": "7"}]}, "overwrite.type"),
    ],
)
def test_a_wrong_field_of_these_is_named(parse: Any, value: object, field: str) -> None:
    with pytest.raises(InvalidPayload, match=rf"^{field}"):
        parse(value)
