"""Form fields to choose one of a server's roles or channels by name.

The choices are those of `services.get_directory`. While Discord doesn't answer, a form works with older names; without
any, it keeps the stored choice alone and says why. A stored choice that Discord no longer lists stays choosable.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any

from django import forms
from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.template.loader import render_to_string
from django.utils.functional import Promise
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts.discord import Channel, ChannelKind, Permissions, Role
from accounts.names import first_visible, isolated
from guilds import services
from guilds.problems.catalogue import REFRESH_TOO_SOON, why
from guilds.resources.directory import DIRECTORY
from guilds.services import Directory, NoAnswer, RefreshTooSoon

# The name of the button that requests the names again. It sends the whole form, so that no input is lost.
REFRESH = "refresh_directory"
# Fewer options than this need no search.
MIN_SEARCHED = 8
# Kinds whose names Discord shows with a number sign.
_WITH_SIGN = (ChannelKind.TEXT, ChannelKind.ANNOUNCEMENT, ChannelKind.FORUM, ChannelKind.MEDIA)

Choice = tuple[str, str]
Choices = list[Choice | tuple[str, list[Choice]]]


@dataclass
class _Names:
    """A guild's directory as one form shows it, read once for all of its fields.

    `why` says why the names are old or missing. `shown_by` is the field that shows their age and the refresh button;
    `outcome` says what the button did, if it was used.
    """

    directory: Directory | None
    why: str | Promise = ""
    ready_seconds: int = 0
    can_refresh: bool = True
    outcome: str = ""
    shown_by: str = ""

    @classmethod
    def read(cls, guild_id: int, *, refresh: bool) -> "_Names":
        outcome: str | Promise = _refresh(guild_id) if refresh else ""
        try:
            directory = services.get_directory(guild_id)
        except NoAnswer as error:
            cause = why(error.resource, error.reason)
            names = cls(None, cause, math.ceil(error.retry_after or 0), can_refresh=not error.reason.is_refusal)
        else:
            cause = why(DIRECTORY.name, directory.reason) if directory.reason else ""
            names = cls(directory, cause, _seconds_until(services.refresh_ready_at(directory), directory))
        names.outcome = f"{outcome} {_('Nothing has been saved yet.')}" if refresh else ""
        return names

    @classmethod
    def of(cls, form: forms.BaseForm, guild_id: int) -> "_Names":
        """Return the names for the form's fields about the guild."""
        read: dict[int, _Names] = form.__dict__.setdefault("_names_by_guild", {})
        if guild_id not in read:
            refresh = form.is_bound and form.add_prefix(REFRESH) in form.data
            read[guild_id] = cls.read(guild_id, refresh=refresh)
        return read[guild_id]


def _refresh(guild_id: int) -> str | Promise:
    """Request the directory now and say what became of it."""
    try:
        services.refresh_directory(guild_id)
    except RefreshTooSoon:
        return REFRESH_TOO_SOON.detail
    except NoAnswer as error:
        return why(error.resource, error.reason)
    return _("Checked with Discord just now.")


def _seconds_until(moment: datetime, directory: Directory) -> int:
    left = (moment - directory.verified_at - directory.age).total_seconds()
    return max(math.ceil(left), 0)


class DirectorySelect(forms.Select):
    """A select with a search field, which scripts show, and with the age of its names and a button to refresh them."""

    names: _Names | None = None
    label = ""
    refresh_name = REFRESH
    shows_age = False
    option_count = 0

    def render(self, name: str, value: Any, attrs: Any = None, renderer: Any = None) -> SafeString:
        select = super().render(name, value, attrs, renderer)
        names = self.names
        context = {
            "select": select,
            "id": (attrs or {}).get("id", ""),
            "label": self.label,
            "is_searched": self.option_count >= MIN_SEARCHED,
            "shows_age": self.shows_age,
            "directory": names and names.directory,
            "age_seconds": int(names.directory.age.total_seconds()) if names and names.directory else 0,
            "why": names.why if names else "",
            "can_refresh": names is not None and names.can_refresh,
            "refresh_ready_seconds": names.ready_seconds if names else 0,
            "refresh_name": self.refresh_name,
        }
        return SafeString(render_to_string("guilds/_directory_select.html", context))


class _DirectoryField(forms.TypedChoiceField):
    """A field whose value is the id of something in a guild's directory; None if nothing is chosen.

    The guild is that of `guild_id`, or of the form's attribute of this name.
    """

    widget = DirectorySelect
    nothing: Any
    deleted: Any
    saved: Any

    def __init__(self, *, guild_id: int | None = None, **options: Any) -> None:
        super().__init__(coerce=int, empty_value=None, **options)
        self.guild_id = guild_id
        self.outcome = ""

    def get_bound_field(self, form: forms.BaseForm, field_name: str) -> forms.BoundField:
        """Fill in the choices. A form calls this once per field, before it shows or validates it."""
        bound = super().get_bound_field(form, field_name)
        guild_id = self.guild_id if self.guild_id is not None else getattr(form, "guild_id", None)
        if guild_id is None:
            raise ImproperlyConfigured(
                f"{type(self).__name__} {field_name!r} doesn't know the server: pass guild_id=…, or set form.guild_id."
            )
        names = _Names.of(form, guild_id)
        names.shown_by = names.shown_by or field_name
        shows_age = names.shown_by == field_name
        self.outcome = names.outcome if shows_age else ""
        self.choices = self._choices_for(names.directory, _id_of(bound.initial))
        widget = self.widget
        if isinstance(widget, DirectorySelect):
            widget.names, widget.label, widget.shows_age = names, str(bound.label), shows_age
            widget.refresh_name = form.add_prefix(REFRESH)
            widget.option_count = sum(1 for _value in _values(self.choices))
        return bound

    def clean(self, value: Any) -> Any:
        if self.outcome:
            # The visitor asked for newer names and did not save.
            raise ValidationError(self.outcome, code="refreshed")
        return super().clean(value)

    def _choices_for(self, directory: Directory | None, stored: int | None) -> Choices:
        choices: Choices = [("", self.nothing)]
        offered = list(self._offered(directory)) if directory else []
        if stored is not None and str(stored) not in _values(offered):
            choices.append((str(stored), self._name_of(directory, stored)))
        return choices + offered

    def _offered(self, directory: Directory) -> Iterator[Choice | tuple[str, list[Choice]]]:
        """Yield the choices, some of them in groups."""
        raise NotImplementedError

    def _name_of(self, directory: Directory | None, stored: int) -> str:
        """Return the name of a stored choice that is not offered."""
        raise NotImplementedError


class RoleField(_DirectoryField):
    """A choice of one of the guild's roles, without @everyone; the value is its id.

    With `assignable`, it offers only roles that the bot can give to members: below its own highest and not managed.
    """

    nothing, deleted, saved = gettext_lazy("No role"), gettext_lazy("Deleted role"), gettext_lazy("Saved role")
    default_error_messages = {"invalid_choice": gettext_lazy("Choose one of the listed roles.")}  # noqa: RUF012 - Django's

    def __init__(self, *, guild_id: int | None = None, assignable: bool = False, **options: Any) -> None:
        super().__init__(guild_id=guild_id, **options)
        self.assignable = assignable

    def _offered(self, directory: Directory) -> Iterator[Choice]:
        for role in directory.assignable_roles if self.assignable else directory.roles:
            if role.id != directory.guild_id:
                yield str(role.id), _role_name(role)

    def _name_of(self, directory: Directory | None, stored: int) -> str:
        if directory is None:
            return str(self.saved)
        return next((_role_name(role) for role in directory.roles if role.id == stored), str(self.deleted))


class ChannelField(_DirectoryField):
    """A choice of one of the guild's channels, grouped by category; the value is its id.

    `kinds` are names of `ChannelKind` such as "text" and "voice"; by default all but categories. With `bot`, it offers
    only channels that the bot can see; with names such as `bot=("send_messages",)`, only those where it also has these
    permissions. Unknown names raise `ValueError`.
    """

    nothing = gettext_lazy("No channel")
    deleted, saved = gettext_lazy("Deleted channel"), gettext_lazy("Saved channel")
    default_error_messages = {"invalid_choice": gettext_lazy("Choose one of the listed channels.")}  # noqa: RUF012 - Django's

    def __init__(
        self,
        *,
        guild_id: int | None = None,
        kinds: Iterable[str | ChannelKind] = (),
        bot: bool | str | Permissions | Iterable[str | Permissions] = False,
        **options: Any,
    ) -> None:
        super().__init__(guild_id=guild_id, **options)
        self.kinds = frozenset(map(_kind, kinds))
        self.bot_permissions = _bot_permissions(bot)

    def _offered(self, directory: Directory) -> Iterator[Choice | tuple[str, list[Choice]]]:
        categories = {each.id: each for each in directory.channels if each.kind == ChannelKind.CATEGORY}
        offered = [channel for channel in directory.channels if self._offers(directory, channel)]
        for parent_id, channels in groupby(offered, key=lambda channel: channel.parent_id):
            choices = [(str(channel.id), _channel_name(channel)) for channel in channels]
            category = categories.get(parent_id or 0)
            if category:
                yield _channel_name(category), choices
            else:
                yield from choices

    def _offers(self, directory: Directory, channel: Channel) -> bool:
        if channel.kind not in self.kinds if self.kinds else channel.kind == ChannelKind.CATEGORY:
            return False
        needed = self.bot_permissions
        return needed is None or directory.bot_permissions(channel) & needed == needed

    def _name_of(self, directory: Directory | None, stored: int) -> str:
        if directory is None:
            return str(self.saved)
        found = (_channel_name(channel) for channel in directory.channels if channel.id == stored)
        return next(found, str(self.deleted))


def _role_name(role: Role) -> str:
    return isolated(first_visible(role.name, str(role.id)))


def _channel_name(channel: Channel) -> str:
    name = first_visible(channel.name, str(channel.id))
    return isolated(f"#{name}" if channel.kind in _WITH_SIGN else name)


def _kind(kind: str | ChannelKind) -> ChannelKind:
    if isinstance(kind, ChannelKind):
        return kind
    try:
        return ChannelKind[kind.upper()]
    except KeyError:
        known = ", ".join(each.name.lower() for each in ChannelKind)
        raise ValueError(f"Discord has no kind of channel {kind!r}; the kinds are {known}") from None


def _bot_permissions(bot: bool | str | Permissions | Iterable[str | Permissions]) -> int | None:
    """Return the permissions that the bot needs in a channel; None if it needn't see it."""
    if bot is False:
        return None
    names = () if bot is True else (bot,) if isinstance(bot, str | Permissions) else bot
    return int(Permissions.VIEW_CHANNEL | Permissions.all_named(names))


def _values(choices: Iterable[Any]) -> Iterator[str]:
    """Yield the values of choices, some of which are groups."""
    for value, name in choices:
        if isinstance(name, list | tuple):
            yield from _values(name)
        else:
            yield value


def _id_of(initial: Any) -> int | None:
    """Return the stored id; None if there is none. A stored 0 or "" means that nothing was chosen."""
    return int(initial) if initial else None
