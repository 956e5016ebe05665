"""The pages about a person's servers."""

import json
import math
from datetime import datetime, timedelta
from hashlib import sha256
from urllib.parse import urlencode

from django.contrib import messages
from django.contrib.auth import logout
from django.contrib.auth.decorators import login_required
from django.contrib.auth.views import redirect_to_login
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.cache import get_conditional_response
from django.utils.translation import get_language, ngettext
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.gzip import gzip_page
from django.views.decorators.http import require_GET, require_http_methods, require_POST
from django_htmx.http import HttpResponseClientRefresh
from django_htmx.middleware import HtmxDetails

from accounts.requests import SignedInRequest
from guilds import bot, personal_data, services
from guilds.decorators import guild_list_required, guild_required
from guilds.extras import get_extras
from guilds.middleware import GuildListRequest, GuildRequest
from guilds.pages.picker import Show, recently_used, sections
from guilds.preferences import open_guild, set_favourite
from guilds.problems.catalogue import WHY
from guilds.problems.responses import came_from
from guilds.services import GuildList, NoAnswer, Reason, RefreshTooSoon
from guilds.templatetags.page_messages import NOT_REFRESHED


class HtmxRequest(GuildListRequest):
    """A request that also passed django-htmx's middleware."""

    htmx: HtmxDetails


# Two hundred similar rows compress well. It is safe despite BREACH: Django masks the CSRF token and pads gzip.
@gzip_page
@never_cache
@require_GET
@guild_list_required
def picker(request: HtmxRequest) -> HttpResponse:
    """The person's servers that match `q` and `show`, as a whole page, or as the list alone for htmx."""
    guild_list = request.guild_list
    query, show = request.GET.get("q", "").strip(), Show.read(request.GET.get("show", ""))
    extras = get_extras(guild_list)
    found = sections(guild_list, extras.with_bot, extras.preferences, query=query, show=show)
    is_narrowed = bool(query) or show is not Show.ALL
    context = {
        "guild_list": guild_list,
        "query": query,
        "show": show,
        "is_narrowed": is_narrowed,
        "sections": found,
        "found": sum(len(section.servers) for section in found),
        "recent": [] if is_narrowed else recently_used(guild_list, extras.preferences),
        "has_bot": extras.with_bot is not None,
        **_freshness(guild_list),
    }
    only_list = request.htmx and not request.htmx.history_restore_request
    return render(request, "guilds/_servers.html" if only_list else "guilds/picker.html", context)


@never_cache
@require_http_methods(["GET", "POST"])
@guild_list_required
def favourites(request: HtmxRequest) -> HttpResponse:
    """Star or unstar a server (POST), then redirect to the page with the button: the picker or the server's page.

    htmx gets the star alone. If the row moved at once, the person's next click would hit another server. A GET arrives
    when the person had to sign in or wait in between, and goes to the picker.
    """
    if request.method == "GET":
        return redirect("guilds:picker")
    favourite = "star" in request.POST
    membership = request.guild_list.get(request.POST.get("star" if favourite else "unstar", ""))
    if membership is None:
        raise Http404("not in this server")
    set_favourite(request.user.pk, membership.guild_id, favourite=favourite)
    if request.htmx:
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
@guild_required
def detail(request: GuildRequest, guild_id: int) -> HttpResponse:
    """The page of one server. Copy it to start a page of your own; docs/your-pages.md explains the decorator."""
    opened = open_guild(request.user.pk, guild_id)
    context = {
        "guild_list": request.guild_list,
        "server": request.guild,
        "is_favourite": opened.is_favourite,
        "has_bot_token": bot.has_token(),
        "bot_seen_at": opened.bot_seen_at,
        **_freshness(request.guild_list),
    }
    return render(request, "guilds/detail.html", context)


@never_cache
@require_GET
@guild_required("manage_guild")
def add_bot(request: GuildRequest, guild_id: int) -> HttpResponse:
    """Redirect to Discord's page for adding the bot to this server. 404 on a site without a bot."""
    if not bot.has_token():
        raise Http404("this site has no bot")
    return redirect(bot.add_url(request.user.pk, guild_id))


@never_cache
@login_required
@require_GET
def bot_added(request: SignedInRequest) -> HttpResponse:
    """Discord redirects here after "Add the bot": check that server now and show the result as a message."""
    guild_id = bot.guild_of_state(request.user.pk, request.GET.get("state", ""))
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
    """Ask Discord now ("Refresh now") and redirect back with the outcome as a message. A failure keeps the old list."""
    if not request.user.is_authenticated:
        return redirect_to_login(reverse("guilds:picker"))
    try:
        services.refresh_guild_list(request.user)
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
    except NoAnswer as error:
        if error.reason.is_refusal:
            raise
        # While Discord is still being asked, the page says so, and the outcome is not known yet.
        if error.reason is not Reason.IN_PROGRESS:
            messages.warning(request, str(WHY[error.reason]), extra_tags=NOT_REFRESHED)
    else:
        messages.success(request, _("Checked with Discord just now."))
    return HttpResponseRedirect(came_from(request) or reverse("guilds:picker"))


@never_cache
@login_required
@require_http_methods(["GET", "POST"])
def delete_my_data(request: SignedInRequest) -> HttpResponse:
    """Ask for confirmation (GET), then delete all data about the person and end all their sessions (POST)."""
    if request.method == "GET":
        return render(request, "accounts/delete.html")
    personal_data.forget_user(request.user)
    logout(request)
    messages.success(request, _("Everything this site stored about you is deleted."))
    return redirect("home")


@never_cache
@require_GET
def freshness(request: HttpRequest) -> HttpResponseBase:
    """The lines about the list's age, for a page that polls them; 304 while they have not changed.

    The page sends the `version` of the list it shows. If there is a newer version, the response triggers the page's
    "due" event, and the page fetches that list. If no list may be shown any more, or the person is signed out, the
    response makes the page reload, and the reloaded page says why.
    """
    if not request.user.is_authenticated:
        return HttpResponseClientRefresh()
    try:
        guild_list = services.get_guild_list(request.user)
    except NoAnswer:
        return HttpResponseClientRefresh()
    if request.GET.get("version") != _version(guild_list):
        return HttpResponse(status=204, headers={"HX-Trigger": "due"})
    context = _freshness(guild_list)
    response = render(request, "guilds/_followed.html", {"guild_list": guild_list, **context})
    response["ETag"] = etag = _etag(guild_list)
    return get_conditional_response(request, etag=etag, response=response) or response


@never_cache
@login_required
@require_GET
def export_my_data(request: SignedInRequest) -> HttpResponse:
    """Download everything the site stores about the person, without tokens, as a JSON file."""
    body = json.dumps(personal_data.everything_about(request.user), indent=2, ensure_ascii=False)
    disposition = 'attachment; filename="guildhall.json"'
    return HttpResponse(body, content_type="application/json", headers={"Content-Disposition": disposition})


# How often a page polls while Discord is being asked.
POLL_INTERVAL = timedelta(seconds=3)
# How long the page mentions what changed last.
NEWS_TTL = timedelta(days=1)


def _version(guild_list: GuildList) -> str:
    """The version of the servers and of where the bot is. Favourites don't count: the page itself changes them."""
    return f"{guild_list.version}.{guild_list.tags.bot or 0}"


def _etag(guild_list: GuildList) -> str:
    """The ETag of the lines about the list's age. Ages don't count: the page updates them itself."""
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
    """Template variables about the list's age, as moments and seconds."""
    read_at = guild_list.verified_at + guild_list.age
    ready_at = guild_list.verified_at + services.manual_refresh_pause()
    if guild_list.is_stale and guild_list.next_attempt_at:
        # Until then Discord must not be asked, or is being asked.
        ready_at = max(ready_at, guild_list.next_attempt_at)
    due_at = read_at + POLL_INTERVAL if guild_list.is_asking else guild_list.next_attempt_at or read_at
    follows = guild_list.is_stale or guild_list.is_asking
    return {
        "version": _version(guild_list),
        "age_seconds": int(guild_list.age.total_seconds()),
        "why_stale": WHY.get(guild_list.reason) if guild_list.reason else None,
        "next_attempt_seconds": _seconds_until(guild_list.next_attempt_at, read_at),
        "refresh_ready_seconds": _seconds_until(ready_at, read_at),
        "is_asking": guild_list.is_asking,
        "explains_list": follows,
        "due_seconds": max(_seconds_until(due_at, read_at), 3) if follows else None,
        "if_changed": json.dumps({"If-None-Match": _etag(guild_list)}),
        "news_seconds": _news_age(guild_list, read_at),
    }


def _news_age(guild_list: GuildList, now: datetime) -> int | None:
    """Seconds since the last change; None if that is older than NEWS_TTL, or if this is the person's first list."""
    counted = guild_list.joined_count or guild_list.left_count
    first = guild_list.joined_count == len(guild_list) and not guild_list.left_count
    if not counted or first or guild_list.changed_at is None or now - guild_list.changed_at >= NEWS_TTL:
        return None
    return int((now - guild_list.changed_at).total_seconds())


def _seconds_until(moment: datetime | None, now: datetime) -> int:
    return max(-(-(moment - now) // timedelta(seconds=1)), 0) if moment else 0
