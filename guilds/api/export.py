"""All that is stored about the person's servers, as a file: also what is too old to be served as the list.

So it never asks Discord and never fails because of it. In one piece: a person is in 200 servers at most, and a stream
that broke off would be a 200.
"""

from datetime import timedelta

from django.http import HttpResponse
from rest_framework.views import APIView

from accounts.access_tokens import Scope
from guilds.api import schema
from guilds.api.authentication import PersonRequest
from guilds.api.responses import dumps, with_age
from guilds.api.serializers import stored_freshness_json
from guilds.engine.freshness import Reason
from guilds.personal_data import stored_guilds
from guilds.resources.guild_list import GUILD_LIST

FILE_NAME = "guildhall-servers.json"


class ExportView(APIView):
    """`GET /api/v1/memberships/export/`"""

    token_scope = Scope.GUILDS_READ

    @schema.export_memberships
    def get(self, request: PersonRequest) -> HttpResponse:
        user = request.user
        record, now = GUILD_LIST.read(user.pk)
        body = dumps({**stored_freshness_json(record, now), "guilds": stored_guilds(user)})
        response = HttpResponse(body, content_type="application/json")
        response["Content-Disposition"] = f'attachment; filename="{FILE_NAME}"'
        response["Cache-Control"] = "private, no-cache"
        if record.verified_at is None:
            return response
        reason = Reason(record.reason) if record.reason else None
        return with_age(response, max(now - record.verified_at, timedelta(0)), reason)
