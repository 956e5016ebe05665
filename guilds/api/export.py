"""The export of everything stored about the person's servers, even if it is too old to be served as the list.

It never sends a request to Discord, so Discord can't make it fail. It is not streamed: a person is in at most 200
servers, and a stream that breaks off would still have status 200.
"""

from datetime import timedelta

from django.http import HttpResponse
from rest_framework.views import APIView

from accounts.decorators import open_to_all
from accounts.token_scopes import Scope
from guilds.api import schema
from guilds.api.authentication import PersonRequest
from guilds.api.responses import dumps, with_age
from guilds.api.serializers import stored_freshness_json
from guilds.engine.freshness import Reason
from guilds.personal_data import stored_guilds
from guilds.resources.guild_list import GUILD_LIST

FILE_NAME = "guildhall-servers.json"


@open_to_all
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
