"""Operators' actions on people: verify their lists again, and delete their data."""

from typing import Any, ClassVar

from django.contrib import admin, messages
from django.contrib.admin.models import CHANGE, DELETION
from django.db import transaction
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from accounts import audit
from accounts.admin.kit import AnyModelAdmin, Words, confirm_page, handle, moment
from accounts.admin.people import UserAdmin
from accounts.models import PersonalAccessToken, Session, User
from accounts.rights import operator_of, outranks
from accounts.templatetags.durations import span
from guilds import personal_data, services
from guilds.models import GuildPreference, UserGuildMembership
from guilds.problems.of_errors import whole_seconds
from guilds.services import NoAnswer, Reason

# More would take too long and use up the send budget. Operators repeat the action for the rest.
MAX_AT_ONCE = 20

# Texts for operators. The texts for the person are in `guilds.problems.catalogue`.
WHY_NOT: dict[str, Words] = {
    Reason.RATE_LIMITED: _("Discord is rate-limiting requests for this person."),
    Reason.GLOBAL_LIMIT: _("Discord is rate-limiting the whole site, so the gate is shut."),
    Reason.CLOUDFLARE: _("Cloudflare is blocking the site, so the gate is shut."),
    Reason.UNAVAILABLE: _("Discord isn't responding."),
    Reason.UNUSABLE: _("Discord sent an unexpected reply. See the log for details."),
    Reason.SITE_REFUSED: _("Discord rejects this site's credentials."),
    Reason.BRAKE: _("Discord has refused so many requests that the brake is on."),
    Reason.BUSY: _("The send budget or the refresh threads are used up."),
    Reason.DATABASE: _("The database refuses to save a new list."),
    Reason.IN_PROGRESS: _("Discord hasn't responded yet. The response is stored when it arrives."),
    Reason.MISCONFIGURED: _("The site's settings don't match its database. Run discord_status for details."),
    Reason.RECONNECT_REQUIRED: _(
        "The site's connection to their Discord account has expired or was removed. They need to sign in again."
    ),
    Reason.MISSING_SCOPE: _(
        "They didn't share their servers. They need to sign in again and leave that permission on."
    ),
    Reason.BOT_ABSENT: _("The bot isn't in the server."),
}


class PersonActionsMixin(AnyModelAdmin):
    """Actions on people, for every admin whose rows belong to people. `people` returns the selected ones."""

    actions = ("verify_again", "forget")
    dangerous_actions: ClassVar[tuple[str, ...]] = ("forget",)

    def people(self, queryset: QuerySet[Any]) -> QuerySet[User]:
        raise NotImplementedError

    def has_verify_permission(self, request: HttpRequest) -> bool:
        """Require the change permission, since viewing alone must not send requests to Discord."""
        return bool(request.user.has_perm("guilds.change_guildlistverification"))

    def has_forget_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("accounts.delete_user"))

    def _chosen(self, request: HttpRequest, queryset: QuerySet[Any]) -> list[User]:
        """Return the selected people; if they are too many, add a message and return none."""
        chosen = list(self.people(queryset).order_by("pk")[: MAX_AT_ONCE + 1])
        if len(chosen) <= MAX_AT_ONCE:
            return chosen
        messages.error(request, gettext("Select at most %(n)d people at a time.") % {"n": MAX_AT_ONCE})
        return []

    @admin.action(description=_("Verify again with Discord"), permissions=["verify"])
    def verify_again(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        for user in self._chosen(request, queryset):
            audit.record(operator_of(request), [user], CHANGE, "Asked Discord for the list.")
            try:
                services.verify_again(user)
            except NoAnswer as error:
                messages.warning(request, f"{user}: {why_not(error)}")
            else:
                messages.success(request, gettext("%(person)s: verified.") % {"person": user})

    @admin.action(description=_("Delete all data"), permissions=["forget"])
    def forget(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        chosen = self._chosen(request, queryset)
        if not chosen:
            return None
        if "confirmed" not in request.POST:
            return confirm_page(
                self,
                request,
                queryset,
                title=ngettext(
                    "Delete all data about this person?", "Delete all data about these people?", len(chosen)
                ),
                lines=[f"{user} ({handle(user)}): {_what_goes(user)}" for user in chosen],
                words=gettext(
                    "This deletes everything stored about them: Discord account and tokens, server list, favourites "
                    "and access tokens. It also ends their sessions. You can't undo this. Anyone who signs in again "
                    "starts over."
                ),
                action="forget",
                button=gettext("Delete all data"),
            )
        for user in chosen:
            self._forget(request, user)
        return None

    def _forget(self, request: HttpRequest, user: User) -> None:
        operator = operator_of(request)
        if user == operator:
            words = gettext("%(person)s: this is your own account. Delete your data on your account page.")
            messages.error(request, words % {"person": user})
        elif outranks(user, operator):
            words = gettext("%(person)s: this account has rights that you don't have; only a superuser can delete it.")
            messages.error(request, words % {"person": user})
        else:
            try:
                with transaction.atomic():
                    personal_data.forget_user(user)
                    audit.record(operator, [user], DELETION, "Deleted all data.")
            except personal_data.LastSuperuserError:
                # Two superusers chose each other at the same moment.
                words = gettext("%(person)s: this is the site's only superuser, so the account can't be deleted.")
                messages.error(request, words % {"person": user})
            else:
                messages.success(request, gettext("%(person)s: all data deleted.") % {"person": user})


def _what_goes(user: User) -> str:
    """Count what is deleted with the person."""

    def count(model: type[Model]) -> int:
        return model._default_manager.filter(user=user).count()

    servers, kept, tokens, sessions = map(count, (UserGuildMembership, GuildPreference, PersonalAccessToken, Session))
    return ", ".join(
        [
            ngettext("%(n)d server in the list", "%(n)d servers in the list", servers) % {"n": servers},
            ngettext("preferences for %(n)d server", "preferences for %(n)d servers", kept) % {"n": kept},
            ngettext("%(n)d access token", "%(n)d access tokens", tokens) % {"n": tokens},
            ngettext("%(n)d session", "%(n)d sessions", sessions) % {"n": sessions},
        ]
    )


def why_not(error: NoAnswer) -> str:
    """Say why a list couldn't be verified, and when to try again."""
    if error.retry_after is None:
        return str(WHY_NOT[error.reason])
    wait = span(whole_seconds(error.retry_after))
    return f"{WHY_NOT[error.reason]} " + gettext("Try again in %(wait)s.") % {"wait": wait}


@admin.register(User)
class PersonAdmin(PersonActionsMixin, UserAdmin):
    """`UserAdmin` with the state of the person's list, which `accounts` can't import."""

    list_display = ("who", "related_links", "checked", "last_login", "is_active", "is_staff")
    list_select_related = ("guild_list_verification",)

    def people(self, queryset: QuerySet[Any]) -> QuerySet[User]:
        return queryset

    @admin.display(description=_("list verified"), ordering="guild_list_verification__verified_at")
    def checked(self, user: Any) -> str:
        verification = getattr(user, "guild_list_verification", None)
        return moment(verification.verified_at if verification else None)
