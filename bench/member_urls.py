"""The site's URLs, and pages about the signed-in person in one server.

`_member/` returns what the person is there. `_guild/` is the smallest page about a server, and `_role/` is that page
behind the role `STAFF`.
"""

from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path

from config.urls import handler400, handler403, handler404, handler500  # noqa: F401 - read by Django of this module
from config.urls import urlpatterns as site_urls
from guilds.decorators import guild_required
from guilds.middleware import GuildRequest
from guilds.problems.catalogue import NOT_SIGNED_IN
from guilds.problems.responses import problem_response
from guilds.services import get_member

STAFF = 41771983423143936


def member(request: HttpRequest, guild_id: int) -> HttpResponse:
    # Signed out or forgotten since the request was sent, as the chaos bench does at any moment.
    if not request.user.is_authenticated:
        return problem_response(request, NOT_SIGNED_IN)
    found = get_member(request.user, guild_id)
    answer: dict[str, Any] = {
        "is_member": found.is_member,
        "roles": sorted(found.roles),
        "nick": found.nick,
        "freshness": found.freshness,
        "reason": found.reason,
        "verified_at": found.verified_at,
        "next_attempt_at": found.next_attempt_at,
    }
    return JsonResponse(answer, headers={"Age": str(int(found.age.total_seconds()))})


def guild(request: GuildRequest, guild_id: int) -> HttpResponse:
    return HttpResponse(request.guild, content_type="text/plain")


urlpatterns = [
    path("_member/<int:guild_id>/", member),
    path("_guild/<int:guild_id>/", guild_required(guild)),
    path("_role/<int:guild_id>/", guild_required(role=STAFF)(guild)),
    *site_urls,
]
