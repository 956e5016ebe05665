"""Responses that show a list: how old it is in the headers, and 304 for a reader who has just that."""

import hashlib
import json
from collections.abc import Mapping
from copy import copy
from datetime import timedelta
from http import HTTPStatus
from typing import Any, TypeVar

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.cache import get_conditional_response
from rest_framework.request import Request
from rest_framework.utils.encoders import JSONEncoder

from guilds.api.serializers import freshness_json
from guilds.engine.freshness import Reason, Tier
from guilds.problems import ProblemRaised
from guilds.problems.catalogue import PRECONDITION_FAILED
from guilds.resources.guild_list import GUILD_LIST
from guilds.services import GuildList

Response = TypeVar("Response", bound=HttpResponseBase)

# RFC 9211, section 2.2: why Discord was asked. Who finds a list that could be served, and waits, has demanded it.
FORWARDED = {
    Tier.FRESH: "request",
    Tier.DUE: "request",
    Tier.STALE: "stale",
    Tier.EXPIRED: "stale",
    Tier.NONE: "miss",
}


def whole_list(guild_list: GuildList, request: Request | None = None) -> HttpResponseBase:
    """The whole list, its guilds as the snapshot has them, and not even looked at for a 304 to `request`."""
    head = dumps(freshness_json(guild_list))
    etag = _etag(guild_list.snapshot.key.encode() + head)
    response = _conditional(request, etag) or HttpResponse(
        b'%b,"guilds":%b}' % (head[:-1], guild_list.guilds_json), content_type="application/json"
    )
    response["ETag"] = etag
    return _with_age_of(guild_list, response)


def part(guild_list: GuildList, members: Mapping[str, Any], request: Request) -> HttpResponseBase:
    """`members` beside the list's freshness; 304 if that is what the reader of `request` has."""
    body = dumps({**freshness_json(guild_list), **members})
    etag = _etag(body)
    response = _conditional(request, etag) or HttpResponse(body, content_type="application/json")
    response["ETag"] = etag
    return _with_age_of(guild_list, response)


def with_age(response: Response, age: timedelta, reason: Reason | None, waited_from: Tier | None = None) -> Response:
    """`response` with its age: `Age` (RFC 9111), and `Cache-Status` (RFC 9211), whose ttl is negative when stale."""
    ttl = (GUILD_LIST.windows().fresh - age) // timedelta(seconds=1)
    how = f"fwd={FORWARDED[waited_from]}" if waited_from else "hit"
    response["Age"] = str(int(age.total_seconds()))
    response["Cache-Status"] = f"guildhall; {how}; ttl={ttl}" + (f"; detail={reason}" if reason else "")
    response["Cache-Control"] = "private, no-cache"
    return response


def _with_age_of(guild_list: GuildList, response: Response) -> Response:
    return with_age(response, guild_list.age, guild_list.reason, guild_list.waited_from)


def _conditional(request: Request | None, etag: str) -> HttpResponseBase | None:
    """304 for a reader who has just that; raises a 412 for one who demands something else."""
    response = get_conditional_response(_without_date(request._request), etag) if request else None
    if response is not None and response.status_code == HTTPStatus.PRECONDITION_FAILED:
        raise ProblemRaised(PRECONDITION_FAILED)
    return response


def _without_date(request: HttpRequest) -> HttpRequest:
    """`request` without If-Unmodified-Since, which a resource without a date ignores (RFC 9110, section 13.1.4)."""
    if "HTTP_IF_UNMODIFIED_SINCE" not in request.META:
        return request
    undated = copy(request)
    undated.META = {name: value for name, value in request.META.items() if name != "HTTP_IF_UNMODIFIED_SINCE"}
    return undated


def dumps(value: Any) -> bytes:
    return json.dumps(value, cls=JSONEncoder, ensure_ascii=False, separators=(",", ":")).encode()


def _etag(text: bytes) -> str:
    return f'"{hashlib.blake2b(text, digest_size=16).hexdigest()}"'
