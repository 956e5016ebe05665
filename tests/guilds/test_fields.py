"""The form fields for roles and channels: what they offer, accept and say."""

import re
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django import forms
from django.core.exceptions import ImproperlyConfigured
from django.db import connection
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from accounts.clock import database_now
from accounts.discord import Channel, ChannelKind, Overwrite, Role
from guilds import services
from guilds.fields import ChannelField, RoleField
from guilds.models import BotGuilds, GuildDirectory
from guilds.resources.directory import DIRECTORY
from guilds.services import NoAnswer, Reason, RefreshTooSoon
from tests.guilds.test_directory_resource import ANSWER, BOTS, EVERYONE, GUILD, STAFF, VIEW, answer, stored

pytestmark = pytest.mark.django_db

SEND = 1 << 11
LOW = replace(STAFF, id=4, name="Readers", position=1)
TEXT_ROOM = Channel(20, ChannelKind.CATEGORY, "Text rooms", 0, None, ())
LOBBY = Channel(10, ChannelKind.TEXT, "lobby", 0, None, ())
GENERAL = Channel(21, ChannelKind.TEXT, "general", 1, 20, ())
LOUNGE = Channel(22, ChannelKind.VOICE, "Lounge", 0, 20, ())
HIDDEN = Channel(23, ChannelKind.TEXT, "staff", 2, 20, (Overwrite(GUILD, True, 0, VIEW),))
READ_ONLY = Channel(24, ChannelKind.ANNOUNCEMENT, "news", 3, 20, (Overwrite(GUILD, True, 0, SEND),))
CHANNELS = (TEXT_ROOM, LOBBY, GENERAL, LOUNGE, HIDDEN, READ_ONLY)


@pytest.fixture(autouse=True)
def directory() -> None:
    """The stored directory of a guild in which the bot may write by default."""
    store()


def store(*roles: Role, channels: tuple[Channel, ...] = CHANNELS) -> None:
    everyone = replace(EVERYONE, permissions=VIEW | SEND)
    stored(answer(roles=[everyone, *(roles or (STAFF, LOW)), BOTS], channels=channels, bot=ANSWER.bot))


def without_directory(reason: str = "rate_limited") -> None:
    later = database_now() + timedelta(seconds=90)
    GuildDirectory.objects.update(
        verified_at=None, roles=[], channels=[], reason=reason, not_before=None if reason == "bot_absent" else later
    )


class Form(forms.Form):
    guild_id = GUILD
    text = forms.CharField(required=False)
    role = RoleField(required=False)
    channel = ChannelField(required=False)


def form_with(data: dict[str, str] | None = None, initial: dict[str, Any] | None = None, **fields: forms.Field) -> Form:
    kind = type("FormOfTest", (Form,), fields)
    form: Form = kind(data, initial=initial)
    return form


def choices(field: forms.Field, initial: int | None = None) -> list[Any]:
    return list(form_with(initial={"it": initial}, it=field)["it"].field.choices)[1:]  # type: ignore[attr-defined]  # ours have


# what is offered


def test_roles_are_offered_by_rank_and_without_everyone() -> None:
    assert choices(RoleField()) == [("3", "Guildhall"), ("2", "Staff"), ("4", "Readers")]


def test_only_roles_that_the_bot_can_give_are_offered_if_wanted() -> None:
    above = replace(STAFF, id=5, name="Owners", position=9)
    store(STAFF, LOW, above)

    assert choices(RoleField(assignable=True)) == [("2", "Staff"), ("4", "Readers")]


def test_channels_are_grouped_by_category() -> None:
    assert choices(ChannelField()) == [
        ("10", "#lobby"),
        ("Text rooms", [("21", "#general"), ("23", "#staff"), ("24", "#news"), ("22", "Lounge")]),
    ]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"kinds": ["voice"]}, ["22"]),
        ({"kinds": ["text", ChannelKind.ANNOUNCEMENT]}, ["10", "21", "23", "24"]),
        ({"kinds": ["category"]}, ["20"]),
        ({"bot": True}, ["10", "21", "24", "22"]),
        ({"bot": "send_messages"}, ["10", "21", "22"]),
        ({"bot": ("send_messages",), "kinds": ["text"]}, ["10", "21"]),
        ({"bot": ("manage_messages",)}, []),
    ],
)
def test_kinds_and_what_the_bot_can_do_narrow_the_channels(options: dict[str, Any], expected: list[str]) -> None:
    offered = choices(ChannelField(**options))

    flat = [value for each in offered for value, _name in (each[1] if isinstance(each[1], list) else [each])]
    assert flat == expected


@pytest.mark.parametrize("options", [{"kinds": ["txt"]}, {"bot": "send_mesages"}])
def test_an_unknown_name_fails_when_the_form_is_defined(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="Discord has no"):
        ChannelField(**options)


def test_the_guild_is_the_fields_or_the_forms() -> None:
    class Nowhere(forms.Form):
        role = RoleField()

    with pytest.raises(ImproperlyConfigured, match="'role' doesn't know the server"):
        str(Nowhere())
    assert "Staff" in str(form_with(role=RoleField(guild_id=GUILD)))


# what is stored


@pytest.mark.parametrize(
    ("field", "stored_id", "name"),
    [
        (RoleField(), 404, "Deleted role"),
        (ChannelField(), 404, "Deleted channel"),
        # It is still there, but is not offered.
        (RoleField(assignable=True), 3, "Guildhall"),
        (ChannelField(bot=True), 23, "#staff"),
    ],
)
def test_a_stored_choice_that_is_not_offered_stays(field: forms.Field, stored_id: int, name: str) -> None:
    assert choices(field, stored_id)[0] == (str(stored_id), name)
    form = form_with({"it": str(stored_id)}, {"it": stored_id}, it=field)
    assert form.is_valid()
    assert form.cleaned_data["it"] == stored_id


def test_a_stored_choice_that_is_offered_is_offered_once() -> None:
    assert choices(RoleField(), 2) == choices(RoleField())
    assert choices(ChannelField(), 21) == choices(ChannelField())


def test_without_names_only_the_stored_choice_is_left() -> None:
    without_directory()

    assert choices(RoleField(), 2) == [("2", "Saved role")]
    assert choices(ChannelField(), 21) == [("21", "Saved channel")]
    assert choices(RoleField()) == []
    assert form_with({"role": "2", "channel": ""}, {"role": 2}).is_valid()
    assert form_with({"role": "4"}, {"role": 2}).errors == {"role": ["Choose one of the listed roles."]}


# what is accepted


@pytest.mark.parametrize("value", ["1", "404", "x", "2 ", "0x2", "２"])
def test_only_what_is_offered_is_accepted(value: str) -> None:
    form = form_with({"role": value, "channel": value})

    assert form.errors == {
        "role": ["Choose one of the listed roles."],
        "channel": ["Choose one of the listed channels."],
    }


def test_a_choice_is_a_number_or_nothing() -> None:
    form = form_with({"role": "2", "channel": ""})

    assert form.is_valid()
    assert (form.cleaned_data["role"], form.cleaned_data["channel"]) == (2, None)
    assert form_with({"it": ""}, it=RoleField()).errors == {"it": ["This field is required."]}


# what is shown


def test_names_are_untrusted() -> None:
    store(replace(STAFF, name='<script>"x"</script>'), replace(LOW, name="\u202eevil"), replace(LOW, id=6, name=" "))

    page = str(form_with())

    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert "\u202e" not in page
    assert ('<option value="6">6</option>') in page


def test_two_fields_read_the_directory_once_and_show_its_age_once() -> None:
    str(form_with())  # notes that the directory was read

    with CaptureQueriesContext(connection) as queries:
        page = str(form_with())

    assert len(queries) == 1
    assert page.count("Names checked with Discord:") == 1
    assert page.count('name="refresh_directory"') == 1


def test_enter_does_not_press_the_refresh_button() -> None:
    buttons = re.findall(r"<button[^>]*>", str(form_with()))

    assert [("refresh_directory" in button) for button in buttons] == [False, True]


def test_many_choices_can_be_searched_and_few_need_it_not() -> None:
    assert 'type="search"' not in str(form_with(channel=forms.CharField()))
    store(*(replace(STAFF, id=pk, name=f"Role {pk}") for pk in range(100, 120)))

    page = str(form_with(channel=forms.CharField()))

    # Scripts show it, since it does nothing without them.
    assert re.search(r'<input type="search"\s+hidden', page)
    assert 'aria-label="Search: Role"' in page
    assert 'aria-controls="id_role"' in page


def test_old_names_are_offered_and_say_why() -> None:
    GuildDirectory.objects.update(
        verified_at=database_now() - timedelta(days=3),
        reason="rate_limited",
        not_before=database_now() + timedelta(seconds=90),
    )

    page = str(form_with())

    assert "Discord is rate-limiting requests about this server." in page
    assert "72 hours ago" in page
    assert "#general" in page
    assert "saved choice" not in page


@pytest.mark.parametrize(
    ("reason", "words", "can_refresh"),
    [
        ("rate_limited", "Discord is rate-limiting requests about this server.", True),
        ("bot_absent", "The bot isn&#x27;t in this server", False),
    ],
)
def test_without_names_the_form_says_why(reason: str, words: str, can_refresh: bool) -> None:
    without_directory(reason)

    page = str(form_with(initial={"role": 2}))

    assert words in page
    assert "You can keep the saved choice." in page
    assert ("refresh_directory" in page) is can_refresh


# the refresh button


def pressed(**data: str) -> Form:
    return form_with({"text": "typed", "role": "4", **data, "refresh_directory": "1"}, {"role": 2})


def test_the_button_refreshes_and_saves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def refresh(guild_id: int) -> None:
        asked.append(guild_id)
        store(STAFF, LOW, replace(LOW, id=7, name="Newcomers"))

    monkeypatch.setattr(services, "refresh_directory", refresh)

    form = pressed()

    assert form.errors == {"role": ["Checked with Discord just now. Nothing has been saved yet."]}
    assert asked == [GUILD]
    page = str(form)
    assert "Newcomers" in page
    assert 'value="typed"' in page
    assert '<option value="4" selected>' in page


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (RefreshTooSoon(20), "The list was checked with Discord a moment ago."),
        (NoAnswer("directory", Reason.UNAVAILABLE, 30), "Discord isn't responding at the moment."),
    ],
)
def test_a_refresh_that_fails_says_why(monkeypatch: pytest.MonkeyPatch, error: Exception, words: str) -> None:
    def refresh(guild_id: int) -> None:
        raise error

    monkeypatch.setattr(services, "refresh_directory", refresh)

    assert pressed().errors == {"role": [f"{words} Nothing has been saved yet."]}


def test_the_button_has_a_cool_down(settings: Settings) -> None:
    settings.DISCORD_MANUAL_REFRESH_SECONDS = 60

    assert re.search(r'data-countdown="(59|60)"', str(form_with()))

    GuildDirectory.objects.update(verified_at=database_now() - timedelta(minutes=2))
    assert "data-countdown" not in str(form_with())


def test_the_first_reader_of_a_form_without_the_bot_asks_nobody() -> None:
    GuildDirectory.objects.all().delete()
    BotGuilds.objects.update_or_create(pk=1, defaults={"verified_at": database_now()})

    assert "The bot isn&#x27;t in this server" in str(form_with())
    assert not GuildDirectory.objects.exists()
    assert DIRECTORY.find(GUILD) is None
