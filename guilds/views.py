"""The pages about one's servers."""

import math
from datetime import datetime, timedelta
from typing import cast

from django.contrib import messages
from django.contrib.auth import logout
from django.contrib.auth.decorators import login_required
from django.contrib.auth.views import redirect_to_login
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from accounts.discord import DiscordUnavailable, RateLimited
from guilds import services
from guilds.decorators import guild_list_required
from guilds.freshness import Reason
from guilds.middleware import GuildListRequest
from guilds.problems import WHY, problem_of
from guilds.services import GuildList, Membership, RefreshTooSoon


@never_cache
@require_GET
@guild_list_required
def picker(request: HttpRequest) -> HttpResponse:
    """All servers of the person, or those that match `q`; as a whole page, or its list alone for htmx."""
    guild_list = cast(GuildListRequest, request).guild_list
    query = request.GET.get("q", "").strip()
    servers = matching(guild_list, query)
    context = {"guild_list": guild_list, "query": query, "servers": servers, **_freshness(guild_list)}
    only_list = request.htmx and not request.htmx.history_restore_request  # type: ignore[attr-defined]  # django-htmx
    return render(request, "guilds/_servers.html" if only_list else "guilds/picker.html", context)


def matching(guild_list: GuildList, query: str) -> list[Membership]:
    """The memberships whose name holds `query`, whatever the case; those the person may manage first, then by name."""
    wanted = query.casefold()
    found = [membership for membership in guild_list if wanted in membership.name.casefold()]
    return sorted(found, key=lambda membership: (not membership.can_manage, membership.name.casefold()))


@never_cache
@require_GET
@guild_list_required
def detail(request: HttpRequest, guild_id: int) -> HttpResponse:
    """One server of the person. Copy this for a page of your own: the door is `guild_list.get`."""
    guild_list = cast(GuildListRequest, request).guild_list
    membership = guild_list.get(guild_id)
    if membership is None:
        raise Http404("not in this server")
    return render(
        request, "guilds/detail.html", {"guild_list": guild_list, "server": membership, **_freshness(guild_list)}
    )


@never_cache
@require_POST
def refresh(request: HttpRequest) -> HttpResponse:
    """ "Refresh now": ask Discord and show what came of it; a list that is there is never lost to it."""
    if not request.user.is_authenticated:
        return redirect_to_login(reverse("guilds:picker"))
    try:
        services.refresh_guild_list(cast(GuildListRequest, request).user)
    except RefreshTooSoon as error:
        wait = max(math.ceil(error.retry_after), 1)
        messages.info(
            request,
            ngettext(
                "Checked a moment ago. You can refresh again in %(wait)d second.",
                "Checked a moment ago. You can refresh again in %(wait)d seconds.",
                wait,
            )
            % {"wait": wait},
        )
    except (RateLimited, DiscordUnavailable) as error:
        problem = problem_of(error)
        messages.warning(request, problem.detail if problem else "")
    else:
        messages.success(request, _("Checked with Discord just now."))
    return redirect("guilds:picker")


@never_cache
@login_required
@require_http_methods(["GET", "POST"])
def delete_my_data(request: HttpRequest) -> HttpResponse:
    """Ask first (GET), then delete everything of the person and sign them out everywhere (POST)."""
    if request.method == "GET":
        return render(request, "accounts/delete.html")
    services.forget_user(cast(GuildListRequest, request).user)
    logout(request)
    messages.success(request, _("Everything this site stored about you is deleted."))
    return redirect("home")


def _freshness(guild_list: GuildList) -> dict[str, object]:
    """What the page says about the list's age, as moments and seconds; the words are the template's."""
    read_at = guild_list.verified_at + guild_list.age
    ready_at = guild_list.verified_at + services.manual_refresh_pause()
    return {
        "age_seconds": int(guild_list.age.total_seconds()),
        "why_stale": WHY.get(guild_list.reason) if guild_list.reason else None,
        "next_attempt_seconds": _seconds_until(guild_list.next_attempt_at, read_at),
        "refresh_ready_seconds": _seconds_until(ready_at, read_at),
        "is_asking": guild_list.reason is Reason.IN_PROGRESS,
    }


def _seconds_until(moment: datetime | None, now: datetime) -> int:
    return max(-(-(moment - now) // timedelta(seconds=1)), 0) if moment else 0
