"""The pages about one's servers."""

import json
import math
from datetime import datetime, timedelta
from hashlib import sha256
from typing import cast

from django.contrib import messages
from django.contrib.auth import logout
from django.contrib.auth.decorators import login_required
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.cache import get_conditional_response
from django.utils.translation import get_language, ngettext
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods, require_POST
from django_htmx.http import HttpResponseClientRefresh

from accounts.discord import DiscordUnavailable, RateLimited
from guilds import export, services
from guilds.decorators import guild_list_required
from guilds.middleware import GuildListRequest
from guilds.problems import WHY, NotInGuild, problem_of
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
        raise NotInGuild
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
        messages.warning(request, str(problem.detail) if problem else "")
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


@never_cache
@require_GET
def freshness(request: HttpRequest) -> HttpResponse:
    """The lines about the list's age, for a page that follows them; 304 while they are as it shows them.

    The page names the `version` of the list it shows. Once there is another one it is told "due" and gets that list;
    where no list may be shown any more it is loaded as a whole and says why.
    """
    if not request.user.is_authenticated:
        return HttpResponseClientRefresh()
    try:
        guild_list = services.get_guild_list(cast(GuildListRequest, request).user)
    except Exception as error:
        if problem_of(error) is None:
            raise
        return HttpResponseClientRefresh()
    if request.GET.get("version") != str(guild_list.list_version):
        return HttpResponse(status=204, headers={"HX-Trigger": "due"})
    context = _freshness(guild_list)
    response = render(request, "guilds/_freshness.html", {"guild_list": guild_list, **context})
    response["ETag"] = etag = _etag(guild_list)
    return cast(HttpResponse, get_conditional_response(request, etag=etag, response=response))


@never_cache
@login_required
@require_GET
def export_my_data(request: HttpRequest) -> HttpResponse:
    """Everything the site stores about the person, as a file; no token is in it."""
    body = json.dumps(export.everything_about(cast(GuildListRequest, request).user), indent=2, ensure_ascii=False)
    disposition = 'attachment; filename="guildhall.json"'
    return HttpResponse(body, content_type="application/json", headers={"Content-Disposition": disposition})


# A page asks again so soon while an answer is on its way.
ASKING_PAUSE = timedelta(seconds=3)
# That something changed is news for so long.
NEWS_FOR = timedelta(days=1)


def _etag(guild_list: GuildList) -> str:
    """Of what the lines say, ages left out: the page counts those itself."""
    parts = (
        guild_list.verified_at,
        guild_list.list_version,
        guild_list.reason,
        guild_list.next_attempt_at,
        guild_list.is_asking,
        get_language(),
    )
    return f'W/"{sha256(repr(parts).encode()).hexdigest()[:16]}"'


def _freshness(guild_list: GuildList) -> dict[str, object]:
    """What the page says about the list's age, as moments and seconds; the words are the template's."""
    read_at = guild_list.verified_at + guild_list.age
    ready_at = guild_list.verified_at + services.manual_refresh_pause()
    due_at = read_at + ASKING_PAUSE if guild_list.is_asking else guild_list.next_attempt_at or read_at
    follows = guild_list.is_stale or guild_list.is_asking
    return {
        "age_seconds": int(guild_list.age.total_seconds()),
        "why_stale": WHY.get(guild_list.reason) if guild_list.reason else None,
        "next_attempt_seconds": _seconds_until(guild_list.next_attempt_at, read_at),
        "refresh_ready_seconds": _seconds_until(ready_at, read_at),
        "is_asking": guild_list.is_asking,
        "due_seconds": max(_seconds_until(due_at, read_at), 3) if follows else None,
        "if_changed": json.dumps({"If-None-Match": _etag(guild_list)}),
        "news_seconds": _news_age(guild_list, read_at),
    }


def _news_age(guild_list: GuildList, now: datetime) -> int | None:
    """How long ago the last change is, while that is news; None for the first list, in which everything is new."""
    counted = guild_list.joined_count or guild_list.left_count
    first = guild_list.joined_count == len(guild_list) and not guild_list.left_count
    if not counted or first or guild_list.changed_at is None or now - guild_list.changed_at >= NEWS_FOR:
        return None
    return int((now - guild_list.changed_at).total_seconds())


def _seconds_until(moment: datetime | None, now: datetime) -> int:
    return max(-(-(moment - now) // timedelta(seconds=1)), 0) if moment else 0
