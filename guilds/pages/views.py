"""The pages about one's servers."""

import json
import math
from datetime import datetime, timedelta
from hashlib import sha256
from typing import cast
from urllib.parse import urlencode

from django.contrib import messages
from django.contrib.auth import logout
from django.contrib.auth.decorators import login_required
from django.contrib.auth.views import redirect_to_login
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.cache import get_conditional_response
from django.utils.translation import get_language, ngettext
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.gzip import gzip_page
from django.views.decorators.http import require_GET, require_http_methods, require_POST
from django_htmx.http import HttpResponseClientRefresh

from accounts.discord import DiscordUnavailable, RateLimited
from accounts.models import User
from guilds import bot, export, services
from guilds.decorators import guild_list_required
from guilds.engine.freshness import Reason
from guilds.extras import annotations_of
from guilds.middleware import GuildListRequest
from guilds.pages.picker import Show, recently_used, sections
from guilds.preferences import open_guild, set_favourite
from guilds.problems import WHY, NotInGuild, came_from, problem_of
from guilds.services import GuildList, RefreshTooSoon


# Two hundred rows that are all alike. Their names stay private: Django masks the form's token, and pads what it packs.
@gzip_page
@never_cache
@require_GET
@guild_list_required
def picker(request: HttpRequest) -> HttpResponse:
    """The servers of the person that match `q` and `show`; as a whole page, or its list alone for htmx."""
    guild_list = cast(GuildListRequest, request).guild_list
    query, show = request.GET.get("q", "").strip(), Show.read(request.GET.get("show", ""))
    annotations = annotations_of(guild_list)
    found = sections(guild_list, annotations.with_bot, annotations.preferences, query=query, show=show)
    is_narrowed = bool(query) or show is not Show.ALL
    context = {
        "guild_list": guild_list,
        "query": query,
        "show": show,
        "is_narrowed": is_narrowed,
        "sections": found,
        "found": sum(len(section.servers) for section in found),
        "recent": [] if is_narrowed else recently_used(guild_list, annotations.preferences),
        "has_bot": annotations.with_bot is not None,
        **_freshness(guild_list),
    }
    only_list = request.htmx and not request.htmx.history_restore_request  # type: ignore[attr-defined]  # django-htmx
    return render(request, "guilds/_servers.html" if only_list else "guilds/picker.html", context)


@never_cache
@require_http_methods(["GET", "POST"])
@guild_list_required
def favourites(request: HttpRequest) -> HttpResponse:
    """Star a server or take its star, and show the list again, or the server's page if that was where it happened.

    For htmx it is the star alone: a row that moved away under somebody's finger would take the next press elsewhere.
    GET is where a browser lands that had to sign in, or to wait, between.
    """
    if request.method == "GET":
        return redirect("guilds:picker")
    guild_list, user = cast(GuildListRequest, request).guild_list, cast(GuildListRequest, request).user
    favourite = "star" in request.POST
    membership = guild_list.get(request.POST.get("star" if favourite else "unstar", ""))
    if membership is None:
        raise Http404("not in this server")
    set_favourite(user.pk, membership.guild_id, favourite=favourite)
    if request.htmx:  # type: ignore[attr-defined]  # django-htmx
        response = render(request, "guilds/_star.html", {"server": membership, "is_favourite": favourite})
        response["HX-Retarget"] = f'#servers button[value="{membership.guild_id}"]'
        response["HX-Reswap"] = "outerHTML"
        return response
    if "detail" in request.POST:
        return redirect("guilds:detail", membership.guild_id)
    kept = {name: request.POST[name] for name in ("q", "show") if request.POST.get(name)}
    return redirect(f"{reverse('guilds:picker')}{'?' if kept else ''}{urlencode(kept)}#servers")


@never_cache
@require_GET
@guild_list_required
def detail(request: HttpRequest, guild_id: int) -> HttpResponse:
    """One server of the person. Copy this for a page of your own: the door is `guild_list.get`."""
    guild_list = cast(GuildListRequest, request).guild_list
    membership = guild_list.get(guild_id)
    if membership is None:
        raise NotInGuild
    opened = open_guild(cast(GuildListRequest, request).user.pk, guild_id)
    context = {
        "guild_list": guild_list,
        "server": membership,
        "is_favourite": opened.is_favourite,
        "has_bot_token": bot.has_token(),
        "bot_seen_at": opened.bot_seen_at,
        **_freshness(guild_list),
    }
    return render(request, "guilds/detail.html", context)


@never_cache
@require_GET
@guild_list_required
def add_bot(request: HttpRequest, guild_id: int) -> HttpResponse:
    """Off to Discord, to add the bot to a server that the person may manage."""
    membership = cast(GuildListRequest, request).guild_list.get(guild_id)
    if membership is None or not membership.can_manage or not bot.has_token():
        raise Http404("not theirs to add a bot to")
    return redirect(bot.add_url(cast(GuildListRequest, request).user.pk, guild_id))


@never_cache
@login_required
@require_GET
def bot_added(request: HttpRequest) -> HttpResponse:
    """Back from Discord's page: ask about that one server at once, and say what is the case."""
    guild_id = bot.guild_of_state(cast(GuildListRequest, request).user.pk, request.GET.get("state", ""))
    if guild_id is None or not bot.has_token():
        messages.warning(request, _("That was started by somebody else, or too long ago. Nothing has changed here."))
        return redirect("guilds:picker")
    if "error" in request.GET:
        messages.info(request, _("The bot was not added. You can do so whenever you like."))
        return redirect("guilds:detail", guild_id)
    is_there = bot.check(guild_id)
    if is_there:
        messages.success(request, _("The bot is in this server now."))
    elif is_there is None:
        messages.warning(request, _("Discord can't tell yet whether the bot is there. We will look again soon."))
    else:
        messages.warning(request, _("Discord says the bot isn't in this server. Did you add it to another one?"))
    return redirect("guilds:detail", guild_id)


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
        # That one is being asked for, the page says itself, and who has no list yet waits for it there.
        is_asking = error.scope == Reason.IN_PROGRESS
        if not is_asking and _is_calm(cast(GuildListRequest, request).user) and (problem := problem_of(error)):
            messages.warning(request, str(problem.detail))
    else:
        messages.success(request, _("Checked with Discord just now."))
    return HttpResponseRedirect(came_from(request) or reverse("guilds:picker"))


def _is_calm(user: User) -> bool:
    """Whether the person's page won't say by itself why there is no newer list, and for as long as that is true."""
    try:
        guild_list = services.get_guild_list(user)
    except Exception as error:
        if problem_of(error) is None:
            raise
        return False
    return not guild_list.is_stale and not guild_list.is_asking


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

    The page names the `version` of what it lists. Once there is another one it is told "due" and gets that list;
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
    if request.GET.get("version") != _version(guild_list):
        return HttpResponse(status=204, headers={"HX-Trigger": "due"})
    context = _freshness(guild_list)
    response = render(request, "guilds/_followed.html", {"guild_list": guild_list, **context})
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


def _version(guild_list: GuildList) -> str:
    """Of the servers and of where the bot is; a star is of the page that set it."""
    return f"{guild_list.version}.{guild_list.bot_tag or 0}"


def _etag(guild_list: GuildList) -> str:
    """Of what the lines say, ages left out: the page counts those itself."""
    parts = (
        guild_list.verified_at,
        _version(guild_list),
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
    if guild_list.is_stale and guild_list.next_attempt_at:
        # Asking is forbidden, or going on.
        ready_at = max(ready_at, guild_list.next_attempt_at)
    due_at = read_at + ASKING_PAUSE if guild_list.is_asking else guild_list.next_attempt_at or read_at
    follows = guild_list.is_stale or guild_list.is_asking
    return {
        "version": _version(guild_list),
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
