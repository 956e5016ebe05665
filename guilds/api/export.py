"""All that is stored about the person's servers, as a file: also what is too old to be served as the list.

So it never asks Discord and never fails because of it. In one piece: a person is in 200 servers at most, and a stream
that broke off would be a 200.
"""

from datetime import timedelta
from typing import Any, cast

from django.http import HttpResponse
from rest_framework.request import Request
from rest_framework.views import APIView

from accounts.access_tokens import Scope
from accounts.models import User
from guilds import freshness, refresh
from guilds.api import schema
from guilds.api.answers import dumps, with_age
from guilds.api.serializers import freshness_json
from guilds.freshness import Reason, Tier
from guilds.memberships import stored_memberships
from guilds.models import UserGuildMembership
from guilds.services import GuildList
from guilds.snapshots import snapshot_of

FILE_NAME = "guildhall-servers.json"


class ExportView(APIView):
    """`GET /api/v1/memberships/export/`"""

    token_scope = Scope.GUILDS_READ

    @schema.export_memberships
    def get(self, request: Request) -> HttpResponse:
        user = cast(User, request.user)
        record, now = refresh.read_record(user.pk)
        decision = freshness.decide(record, None, now, refresh.windows())
        stored = GuildList(
            snapshot=snapshot_of(record),
            verified_at=record.verified_at or now,
            age=max(now - (record.verified_at or now), timedelta(0)),
            freshness="fresh" if decision.tier is Tier.DUE else str(decision.tier),
            reason=Reason(record.reason) if record.reason else None,
            next_attempt_at=decision.until,
        )
        members = {"verified_at": record.verified_at, "guilds": _guilds(user)}
        response = HttpResponse(dumps({**freshness_json(stored), **members}), content_type="application/json")
        response["Content-Disposition"] = f'attachment; filename="{FILE_NAME}"'
        response["Cache-Control"] = "private, no-cache"
        return with_age(stored, response) if record.verified_at else response


def _guilds(user: User) -> list[dict[str, Any]]:
    moments = UserGuildMembership.objects.filter(user=user).values_list("guild_id", "first_seen_at", "changed_at")
    seen = {guild_id: {"first_seen_at": first, "changed_at": last} for guild_id, first, last in moments}
    return [
        {**membership.as_json(), **seen[membership.guild_id]}
        for membership in stored_memberships(user.pk)
        # One that came between the two queries is in the next export.
        if membership.guild_id in seen
    ]
