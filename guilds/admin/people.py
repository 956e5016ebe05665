"""What an operator may do for people: have their lists verified again, and forget them."""

from typing import Any, cast

from django.contrib import admin, messages
from django.contrib.admin.models import DELETION, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse

from accounts.admin import AnyModelAdmin, UserAdmin, ask_back
from accounts.discord import DiscordAPIError
from accounts.models import User
from accounts.tokens import ReconnectRequired
from guilds import services
from guilds.problems import problem_of

# More at once would spend the operator's patience and the send budget; the rest is done by selecting again.
MOST_AT_ONCE = 20


class ActsOnPeople(AnyModelAdmin):
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
        chosen = list(self.people(queryset).order_by("pk")[: MOST_AT_ONCE + 1])
        if len(chosen) <= MOST_AT_ONCE:
            return chosen
        messages.error(request, f"Select at most {MOST_AT_ONCE} people at once.")
        return []

    @admin.action(description="Verify again with Discord", permissions=["verify"])
    def verify_again(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        for user in self._chosen(request, queryset):
            try:
                services.verify_again(user)
            except (DiscordAPIError, ReconnectRequired) as error:
                problem = problem_of(error)
                wait = f" Try again in {problem.retry_after} s." if problem and problem.retry_after else ""
                messages.warning(request, f"{user}: {problem.detail if problem else error}{wait}")
            else:
                messages.success(request, f"{user}: verified.")

    @admin.action(description="Forget, with everything stored", permissions=["forget"])
    def forget(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        chosen = self._chosen(request, queryset)
        if not chosen:
            return None
        if "confirmed" not in request.POST:
            return ask_back(
                self,
                request,
                queryset,
                title="Forget these people?",
                lines=[f"{user} ({user.discord_id or user.username})" for user in chosen],
                words="All that is stored about them is deleted, and their sessions end: the Discord account with its "
                "tokens, the list, favourites, and access tokens. It can't be undone; whoever signs in again starts "
                "anew.",
                action="forget",
                button="Forget them",
            )
        for user in chosen:
            if user == request.user:
                messages.error(request, f"{user}: that is you. Delete your own data on your account page.")
                continue
            services.forget_user(user)
            # By number: the log outlives the person, and shall not keep their name.
            LogEntry.objects.create(
                user=cast(User, request.user),
                content_type=ContentType.objects.get_for_model(User),
                object_id=str(user.pk),
                object_repr=f"user {user.pk}",
                action_flag=DELETION,
                change_message="Forgotten, with everything stored.",
            )
            messages.success(request, f"{user}: forgotten.")
        return None


admin.site.unregister(User)


@admin.register(User)
class PersonAdmin(ActsOnPeople, UserAdmin):
    """`UserAdmin`, with what `accounts` doesn't know of: a person's list."""

    list_display = (
        *("username", "display_name", "discord_id", "checked", "elsewhere"),
        *("is_staff", "is_active", "last_login"),
    )
    list_select_related = ("guild_list_verification",)

    def people(self, queryset: QuerySet[Any]) -> QuerySet[User]:
        return queryset

    @admin.display(description="list verified at", ordering="guild_list_verification__verified_at")
    def checked(self, user: Any) -> Any:
        verification = getattr(user, "guild_list_verification", None)
        return verification.verified_at if verification else None
