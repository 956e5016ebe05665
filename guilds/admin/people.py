"""What an operator may do for people: have their lists verified again, and forget them."""

from typing import Any, cast

from django.contrib import admin, messages
from django.contrib.admin.models import DELETION, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from accounts.admin.kit import AnyModelAdmin, Words, confirm_page, moment
from accounts.admin.people import UserAdmin
from accounts.models import User
from accounts.templatetags.durations import span
from guilds import personal_data, services
from guilds.problems.of_errors import whole_seconds
from guilds.services import NoAnswer, Reason

# More at once would spend the operator's patience and the send budget; the rest is done by selecting again.
MAX_AT_ONCE = 20

# What an operator is told; the person themselves reads `guilds.problems.catalogue`.
WHY_NOT: dict[str, Words] = {
    Reason.RATE_LIMITED: _("Discord limits how often it may be asked about this person."),
    Reason.GLOBAL_LIMIT: _("Discord limits the whole site, and the gate is shut."),
    Reason.CLOUDFLARE: _("Cloudflare keeps the site out, and the gate is shut."),
    Reason.UNAVAILABLE: _("Discord doesn't answer."),
    Reason.BRAKE: _("Discord has refused so many requests that the brake is on."),
    Reason.BUSY: _("The send budget or the threads for refreshes are used up."),
    Reason.IN_PROGRESS: _("Discord hasn't answered yet; its answer is stored when it comes."),
    Reason.RECONNECT_REQUIRED: _(
        "Discord doesn't accept the site's access to their account, or there is none; they have to sign in again."
    ),
    Reason.MISSING_SCOPE: _(
        "They didn't let Discord share their servers; they have to sign in again and leave that switched on."
    ),
}


class PersonActionsMixin(AnyModelAdmin):
    """The actions on people, for whatever admin lists them in some form; `people` says who was chosen."""

    actions = ("verify_again", "forget")

    def people(self, queryset: QuerySet[Any]) -> QuerySet[User]:
        raise NotImplementedError

    def has_verify_permission(self, request: HttpRequest) -> bool:
        """Asking Discord is more than looking."""
        return bool(request.user.has_perm("guilds.change_guildlistverification"))

    def has_forget_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("accounts.delete_user"))

    def _chosen(self, request: HttpRequest, queryset: QuerySet[Any]) -> list[User]:
        """Nobody, and a message, if they are too many."""
        chosen = list(self.people(queryset).order_by("pk")[: MAX_AT_ONCE + 1])
        if len(chosen) <= MAX_AT_ONCE:
            return chosen
        messages.error(request, gettext("Select at most %(n)d people at once.") % {"n": MAX_AT_ONCE})
        return []

    @admin.action(description=_("Verify again with Discord"), permissions=["verify"])
    def verify_again(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        for user in self._chosen(request, queryset):
            try:
                services.verify_again(user)
            except NoAnswer as error:
                messages.warning(request, f"{user}: {why_not(error)}")
            else:
                messages.success(request, gettext("%(person)s: verified.") % {"person": user})

    @admin.action(description=_("Forget, with everything stored"), permissions=["forget"])
    def forget(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        chosen = self._chosen(request, queryset)
        if not chosen:
            return None
        if "confirmed" not in request.POST:
            return confirm_page(
                self,
                request,
                queryset,
                title=ngettext("Forget this person?", "Forget these people?", len(chosen)),
                lines=[f"{user} ({user.discord_id or user.username})" for user in chosen],
                words=gettext(
                    "All that is stored about them is deleted, and their sessions end: the Discord account with its "
                    "tokens, the list, favourites, and access tokens. It can't be undone; whoever signs in again "
                    "starts anew."
                ),
                action="forget",
                button=gettext("Forget them"),
            )
        for user in chosen:
            if user == request.user:
                words = gettext("%(person)s: that is you. Delete your own data on your account page.")
                messages.error(request, words % {"person": user})
                continue
            personal_data.forget_user(user)
            # By number: the log outlives the person, and shall not keep their name.
            LogEntry.objects.create(
                user=cast(User, request.user),
                content_type=ContentType.objects.get_for_model(User),
                object_id=str(user.pk),
                object_repr=f"user {user.pk}",
                action_flag=DELETION,
                change_message="Forgotten, with everything stored.",
            )
            messages.success(request, gettext("%(person)s: forgotten.") % {"person": user})
        return None


def why_not(error: NoAnswer) -> str:
    """Why a list couldn't be verified, and when it is worth trying again."""
    if error.retry_after is None:
        return str(WHY_NOT[error.reason])
    wait = span(whole_seconds(error.retry_after))
    return f"{WHY_NOT[error.reason]} " + gettext("Try again in %(wait)s.") % {"wait": wait}


@admin.register(User)
class PersonAdmin(PersonActionsMixin, UserAdmin):
    """`UserAdmin`, with what `accounts` doesn't know of: a person's list."""

    list_display = (*("shown_name", "related_links", "checked", "discord_id", "last_login", "is_active", "is_staff"),)
    list_select_related = ("guild_list_verification",)

    def people(self, queryset: QuerySet[Any]) -> QuerySet[User]:
        return queryset

    @admin.display(description=_("list verified"), ordering="guild_list_verification__verified_at")
    def checked(self, user: Any) -> str:
        verification = getattr(user, "guild_list_verification", None)
        return moment(verification.verified_at if verification else None)
