"""Responses with data from Discord: its age in the headers, and 304 if the client already has it."""

import hashlib
import json
from collections.abc import Mapping
from copy import copy
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any, TypeVar

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.cache import get_conditional_response
from rest_framework.request import Request
from rest_framework.response import Response as RestResponse
from rest_framework.utils.encoders import JSONEncoder

from guilds.api.serializers import freshness_json, stored_freshness_json
from guilds.engine.freshness import Reason, Tier
from guilds.engine.policy import Served
from guilds.engine.records import Record
from guilds.engine.resource import Resource
from guilds.problems import ProblemRaised
from guilds.problems.catalogue import PRECONDITION_FAILED
from guilds.resources.guild_list import GUILD_LIST
from guilds.services import GuildList

Response = TypeVar("Response", bound=HttpResponseBase)

# RFC 9211, section 2.2: why Discord was asked. A reader that waits despite a fresh list requested the refresh.
FORWARDED = {
    Tier.FRESH: "request",
    Tier.DUE: "request",
    Tier.STALE: "stale",
    Tier.EXPIRED: "stale",
    Tier.NONE: "miss",
}


def whole_list(guild_list: GuildList, request: Request | None = None) -> HttpResponseBase:
    """Return the whole list, with the snapshot's JSON unchanged. A 304 to `request` doesn't read the guilds at all."""
    head = dumps(freshness_json(guild_list))
    etag = _etag(guild_list.snapshot.key.encode() + head)
    response = _conditional(request, etag) or HttpResponse(
        b'%b,"guilds":%b}' % (head[:-1], guild_list.guilds_json), content_type="application/json"
    )
    response["ETag"] = etag
    return _with_age_of(guild_list, response)


def part(
    served: Served, members: Mapping[str, Any], request: Request, resource: Resource[Any, Any] = GUILD_LIST
) -> HttpResponseBase:
    """Return `members`, with the freshness of `served`; 304 if the client of `request` has them already."""
    body = dumps({**freshness_json(served), **members})
    etag = _etag(body)
    response = _conditional(request, etag) or HttpResponse(body, content_type="application/json")
    response["ETag"] = etag
    return _with_age_of(served, response, resource)


def in_progress(record: Record, now: datetime, location: str) -> RestResponse:
    """Return the 202 for a refresh that Discord hasn't responded to yet, with the freshness of what is stored."""
    stored = {**stored_freshness_json(record, now), "reason": Reason.IN_PROGRESS}
    headers = {"Location": location, "Retry-After": "1", "Cache-Control": "private, no-cache"}
    return RestResponse({"status": "in_progress", **stored}, status=202, headers=headers)


def with_age(
    response: Response,
    age: timedelta,
    reason: Reason | None,
    waited_from: Tier | None = None,
    resource: Resource[Any, Any] = GUILD_LIST,
) -> Response:
    """Set `Age` (RFC 9111) and `Cache-Status` (RFC 9211) on `response`. The ttl is negative if the data is stale."""
    ttl = (resource.windows().fresh - age) // timedelta(seconds=1)
    how = f"fwd={FORWARDED[waited_from]}" if waited_from else "hit"
    response["Age"] = str(int(age.total_seconds()))
    response["Cache-Status"] = f"guildhall; {how}; ttl={ttl}" + (f"; detail={reason}" if reason else "")
    response["Cache-Control"] = "private, no-cache"
    return response


def _with_age_of(served: Served, response: Response, resource: Resource[Any, Any] = GUILD_LIST) -> Response:
    return with_age(response, served.age, served.reason, served.waited_from, resource)


def _conditional(request: Request | None, etag: str) -> HttpResponseBase | None:
    """Return a 304 if the client has this ETag, else None. Raises a 412 if `If-Match` does not match."""
    response = get_conditional_response(_without_date(request._request), etag) if request else None
    if response is not None and response.status_code == HTTPStatus.PRECONDITION_FAILED:
        raise ProblemRaised(PRECONDITION_FAILED)
    return response


def _without_date(request: HttpRequest) -> HttpRequest:
    """Return `request` without If-Unmodified-Since, which a resource without a date ignores (RFC 9110, 13.1.4)."""
    if "HTTP_IF_UNMODIFIED_SINCE" not in request.META:
        return request
    undated = copy(request)
    undated.META = {name: value for name, value in request.META.items() if name != "HTTP_IF_UNMODIFIED_SINCE"}
    return undated


def dumps(value: Any) -> bytes:
    return json.dumps(value, cls=JSONEncoder, ensure_ascii=False, separators=(",", ":")).encode()


def _etag(text: bytes) -> str:
    return f'"{hashlib.blake2b(text, digest_size=16).hexdigest()}"'
