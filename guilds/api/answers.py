"""Answers that show a list: how old it is in the headers, and 304 for a reader who has just that."""

import hashlib
import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, TypeVar

from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.utils.cache import get_conditional_response
from rest_framework.request import Request
from rest_framework.utils.encoders import JSONEncoder

from guilds.api.serializers import freshness_json
from guilds.refresh import windows
from guilds.services import GuildList

Answer = TypeVar("Answer", bound=HttpResponseBase)


def whole_list(guild_list: GuildList, request: Request | None = None) -> HttpResponseBase:
    """The whole list, its guilds as the snapshot has them, and not even looked at for a 304 to `request`."""
    head = dumps(freshness_json(guild_list))
    etag = _etag(guild_list.snapshot.key.encode() + head)
    unchanged = get_conditional_response(request._request, etag) if request else None
    response = unchanged or HttpResponse(
        b'%b,"guilds":%b}' % (head[:-1], guild_list.guilds_json), content_type="application/json"
    )
    response["ETag"] = etag
    return with_age(guild_list, response)


def part(guild_list: GuildList, members: Mapping[str, Any], request: Request) -> HttpResponseBase:
    """`members` beside the list's freshness; 304 if that is what the reader of `request` has."""
    body = dumps({**freshness_json(guild_list), **members})
    etag = _etag(body)
    response = get_conditional_response(request._request, etag) or HttpResponse(body, content_type="application/json")
    response["ETag"] = etag
    return with_age(guild_list, response)


def with_age(guild_list: GuildList, response: Answer) -> Answer:
    """`response` with its age: `Age` (RFC 9111), and `Cache-Status` (RFC 9211), whose ttl is negative when stale."""
    age = int(guild_list.age.total_seconds())
    ttl = (windows().fresh - guild_list.age) // timedelta(seconds=1)
    status = f"guildhall; hit; ttl={ttl}" + (f"; detail={guild_list.reason}" if guild_list.reason else "")
    response["Age"] = str(age)
    response["Cache-Status"] = status
    response["Cache-Control"] = "private, no-cache"
    return response


def dumps(value: Any) -> bytes:
    return json.dumps(value, cls=JSONEncoder, ensure_ascii=False, separators=(",", ":")).encode()


def _etag(text: bytes) -> str:
    return f'"{hashlib.blake2b(text, digest_size=16).hexdigest()}"'
