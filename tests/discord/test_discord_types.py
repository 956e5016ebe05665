import copy
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounts.discord import CurrentUser, Guild, InvalidPayload, Permissions, Tokens

# The example of Discord's own documentation.
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
        ("permissions", str(2**63)),
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


def test_names_hold_nothing_that_a_database_refuses() -> None:
    guild = Guild.from_json(DOCUMENTED_GUILD | {"name": "a\x00b\ud800c 🦊 مرحبا"})

    assert guild.name == "ab?c 🦊 مرحبا"


@pytest.mark.parametrize("parse", [Guild.from_json, CurrentUser.from_json, Tokens.from_json])
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
        locale="en-US",
    )


def test_a_user_needs_an_id_and_a_name_and_little_else() -> None:
    assert CurrentUser.from_json({"id": "1", "username": "ada"}) == CurrentUser(1, "ada", None, None, "")
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
