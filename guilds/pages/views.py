"""The pages about a person's servers."""

import json
import math
from datetime import datetime, timedelta
from hashlib import sha256
from urllib.parse import urlencode

from django.conf import settings
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

from accounts import scopes
from accounts.decorators import open_to_all
from accounts.discord import Permissions
from accounts.models import User
from accounts.requests import SignedInRequest
from accounts.sign_in import forget_scopes
from guilds import personal_data, services
from guilds.decorators import guild_list_required, guild_required
from guilds.listing import bot
from guilds.listing.discord_names import in_words
from guilds.listing.extras import get_extras
from guilds.listing.preferences import open_guild, set_favourite
from guilds.listing.search import sort_key
from guilds.middleware import GuildListRequest, GuildRequest
from guilds.pages import switcher
from guilds.pages.picker import Show, recently_used, sections
from guilds.problems import NotInGuild
from guilds.problems.catalogue import why
from guilds.problems.responses import came_from, wants_json
from guilds.resources.bot_guilds import verify_one
from guilds.resources.guild_list import GUILD_LIST
from guilds.services import GuildList, NoAnswer, Reason, RefreshTooSoon
from guilds.templatetags.page_messages import NOT_REFRESHED, UNANSWERED


# Two hundred similar rows compress well. It is safe despite BREACH: Django masks the CSRF token and pads gzip.
@gzip_page
@never_cache
@require_GET
def picker(request: GuildListRequest) -> HttpResponse:
    """The person's servers that match `q` and `show`, as a whole page, or as the list alone for htmx.

    On a site whose sign-in doesn't ask for them, it shows those that the bot knows the person from.
    """
    try:
        return _picker(request)
    except NoAnswer as error:
        if error.reason is not Reason.MISSING_SCOPE or scopes.GUILDS in scopes.at_sign_in() or wants_json(request):
            raise
        known = sorted(services.known_memberships(request.user.pk), key=lambda each: sort_key(each.display_name))
        context = {"servers": known, "scope": scopes.SCOPES[scopes.GUILDS]}
        return render(request, "guilds/picker_of_bot.html", context)


@guild_list_required
def _picker(request: GuildListRequest) -> HttpResponse:
    guild_list = request.guild_list
    query, show = request.GET.get("q", "").strip(), Show.read(request.GET.get("show", ""))
    extras = get_extras(guild_list)
    found = sections(guild_list, extras.bot_presence, extras.preferences, query=query, show=show)
    is_narrowed = bool(query) or show is not Show.ALL
    context = {
        "guild_list": guild_list,
        "query": query,
        "show": show,
        "is_narrowed": is_narrowed,
        "sections": found,
        "found": sum(map(len, found)),
        "recent": [] if is_narrowed else recently_used(guild_list, extras.preferences),
        **_freshness(guild_list),
    }
    only_list = request.htmx and not request.htmx.history_restore_request
    return render(request, "guilds/_servers.html" if only_list else "guilds/picker.html", context)


@gzip_page
@never_cache
@require_GET
@guild_list_required
def switch(request: GuildListRequest) -> HttpResponse:
    """The person's servers, each with the link to the page at `from` about it: a page, or a fragment for a dialog."""
    query, came_from_path = request.GET.get("q", "").strip(), request.GET.get("from", "")
    preferences = get_extras(request.guild_list).preferences
    context = {
        "groups": switcher.groups(request.guild_list, preferences, came_from_path, query),
        "query": query,
        "from": came_from_path,
    }
    return render(request, "guilds/_switch.html" if request.htmx else "guilds/switch.html", context)


@never_cache
@require_http_methods(["GET", "POST"])
@guild_list_required
def favourites(request: GuildListRequest) -> HttpResponse:
    """Star or unstar a server (POST), then redirect to the page with the button: the picker or the server's page.

    htmx gets a 204, because the page has turned the star already. The row stays in its place until the next load, so
    that the person's next click hits the server it was meant for. A GET arrives when the person had to sign in or wait
    in between, and goes to the picker.
    """
    if request.method == "GET":
        return redirect("guilds:picker")
    favourite = "star" in request.POST
    membership = request.guild_list.get(request.POST.get("star" if favourite else "unstar", ""))
    if membership is None:
        raise NotInGuild
    set_favourite(request.user.pk, membership.guild_id, favourite=favourite)
    if request.htmx:
        return HttpResponse(status=204)
    if "detail" in request.POST:
        return redirect("guilds:detail", membership.guild_id)
    kept = {name: request.POST[name] for name in ("q", "show") if request.POST.get(name)}
    return redirect(f"{reverse('guilds:picker')}{'?' if kept else ''}{urlencode(kept)}#servers")


@never_cache
@require_GET
@guild_required
def detail(request: GuildRequest, guild_id: int) -> HttpResponse:
    """The page of one server. Copy it to start a page of your own; docs/your-pages.md explains the decorator."""
    bot.refresh_when_due(request.guild_list)
    # With htmx's header, an open page brings itself up to date, which is no visit.
    opened = open_guild(request.user.pk, guild_id, is_visit=not request.htmx)
    context = {
        "guild_list": request.guild_list,
        "server": request.guild,
        "is_favourite": opened.is_favourite,
        "has_bot_token": bot.has_token(),
        "bot_seen_at": opened.bot_seen_at,
        "is_bot_known": opened.is_bot_known,
        "bot_missing": in_words(bot.missing_permissions(opened.bot_permissions, opened.bot_owns)),
        **_freshness(request.guild_list),
    }
    return render(request, "guilds/detail.html", context)


@never_cache
@require_GET
@guild_required("manage_guild")
def add_bot(request: GuildRequest, guild_id: int) -> HttpResponse:
    """Redirect to Discord's page for adding the bot to this server. 404 on a site without a bot.

    For a bot that is there, that page gives it what it has, what the apps need, and what `permission` names.
    """
    if not bot.has_token():
        raise Http404("this site has no bot")
    try:
        also = Permissions.all_named(request.GET.get("permission", "").split())
    except ValueError as error:
        raise Http404("not a permission") from error
    return redirect(bot.add_url(request.user.pk, guild_id, bot.wanted_permissions(guild_id, int(also))))


@never_cache
@login_required
@require_GET
def bot_added(request: SignedInRequest) -> HttpResponse:
    """Discord redirects here after "Add the bot": check that server once and show the result as a message.

    A link that this site did not create has no state. Then Discord's `guild_id` says which server to check, if it is
    one that the person manages.
    """
    state = request.GET.get("state", "")
    by_state = bot.guild_of_state(request.user.pk, state) if bot.has_token() else None
    guild_id = by_state or (_managed_guild(request) if bot.has_token() else None)
    if guild_id is None:
        messages.warning(request, _("This was started by someone else or too long ago. Nothing was changed."))
        return redirect("guilds:picker")
    if "error" in request.GET:
        messages.info(request, _("The bot wasn't added. You can add it at any time."))
        return redirect("guilds:detail", guild_id)
    is_first = bot.is_first_return(state) if by_state else bot.is_first_return_this_minute(request.user.pk, guild_id)
    if is_first:
        _check_bot(request, guild_id)
    return redirect("guilds:detail", guild_id)


def _managed_guild(request: SignedInRequest) -> int | None:
    """The query's `guild_id`, if the person may manage that server."""
    wanted = request.GET.get("guild_id")
    membership = services.get_guild_list(request.user).get(wanted) if wanted else None
    return membership.guild_id if membership and membership.can_manage else None


def _check_bot(request: HttpRequest, guild_id: int) -> None:
    is_there = verify_one(guild_id)
    if is_there:
        messages.success(request, _("The bot is now in this server."))
    elif is_there is None:
        messages.warning(request, _("Discord hasn't confirmed yet whether the bot was added. We'll check again soon."))
    else:
        messages.warning(request, _("Discord says the bot isn't in this server. Did you add it to another one?"))


@open_to_all
@never_cache
@require_POST
def refresh(request: HttpRequest) -> HttpResponse:
    """Ask Discord now ("Refresh now") and redirect back with the outcome as a message. A failure keeps the old answer.

    It asks for the list, or for the person's roles in the server that `guild` names.
    """
    if not request.user.is_authenticated:
        return redirect_to_login(reverse("guilds:picker"))
    try:
        if "guild" in request.POST:
            _refresh_roles(request.user, request.POST["guild"])
        else:
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
        if error.reason is Reason.IN_PROGRESS:
            words = _(
                "Discord is still answering. If this page doesn't show the result by itself, reload it in a moment."
            )
            messages.info(request, words, extra_tags=UNANSWERED)
        else:
            cause = why(error.resource, error.reason, limits_guild=error.limits_guild)
            messages.warning(request, str(cause), extra_tags=NOT_REFRESHED)
    else:
        messages.success(request, _("Checked with Discord just now."))
    return HttpResponseRedirect(came_from(request) or reverse("guilds:picker"))


def _refresh_roles(user: User, guild_id: str) -> None:
    required: int | None = settings.REQUIRED_GUILD
    if required is not None and guild_id == str(required):
        # Known without a list, which the person need not have shared.
        services.refresh_member(user, required)
        return
    membership = services.get_guild_list(user).get(guild_id)
    if membership is None:
        raise NotInGuild
    services.refresh_member(user, membership.guild_id)


@open_to_all
@never_cache
@login_required
@require_http_methods(["GET", "POST"])
def delete_my_data(request: SignedInRequest) -> HttpResponse:
    """Ask for confirmation (GET), then delete all data about the person and end all their sessions (POST)."""
    if request.method == "GET":
        return render(request, "accounts/delete.html")
    try:
        personal_data.forget_user(request.user)
    except personal_data.LastSuperuserError:
        words = _(
            "You're this site's only superuser, so your account can't be deleted. Create another superuser first."
        )
        messages.error(request, words)
        return redirect("account")
    logout(request)
    messages.success(request, _("Everything this site stored about you has been deleted."))
    response = redirect("home")
    forget_scopes(response)
    return response


@never_cache
@require_GET
def freshness(request: GuildListRequest) -> HttpResponseBase:
    """The lines about the list's age, for a page that polls them; 304, for one query, while they have not changed.

    The page sends the `version` of the list it shows. If there is a newer version, the response triggers the page's
    "due" event, and the page fetches that list. If no list may be shown any more, or the person is signed out, the
    response makes the page reload, and the reloaded page says why. A page that said that Discord is being asked also
    sends when the list was verified, as `asking`, and learns if there is no newer answer.
    """
    if not request.user.is_authenticated:
        return HttpResponseClientRefresh()
    guild_list = request.guild_list
    try:
        version = _version(guild_list)
    except NoAnswer:
        return HttpResponseClientRefresh()
    if request.GET.get("version") != version:
        return HttpResponse(status=204, headers={"HX-Trigger": "due"})
    etag = _etag(guild_list)
    response = get_conditional_response(request, etag=etag)
    if response is None:
        context = {"guild_list": guild_list, **_freshness(guild_list)}
        is_unanswered = not guild_list.is_asking and request.GET.get("asking") == context["verified"]
        response = render(request, "guilds/_followed.html", {"is_unanswered": is_unanswered, **context})
    response["ETag"] = etag
    return response


@open_to_all
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
    due_at = read_at + POLL_INTERVAL if guild_list.is_asking else guild_list.next_attempt_at or read_at
    follows = guild_list.is_stale or guild_list.is_asking
    return {
        "version": _version(guild_list),
        "verified": str(guild_list.verified_at.timestamp()),
        "hears_events": bot.has_token(),
        "age_seconds": int(guild_list.age.total_seconds()),
        "why_stale": why(GUILD_LIST.name, guild_list.reason) if guild_list.reason else None,
        "next_attempt_seconds": _seconds_until(guild_list.next_attempt_at, read_at),
        "refresh_ready_seconds": _seconds_until(services.refresh_ready_at(guild_list), read_at),
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
