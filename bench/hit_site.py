"""The site as `bench.hit` serves it: beside its own pages, what they are measured against.

The other views know their people by Django's own backend, so that nothing of ours is in their time.
"""

from typing import Any, ClassVar

import django
from django.conf import settings

django.setup()
settings.ROOT_URLCONF = "bench.hit_site"
STOCK_BACKEND = "django.contrib.auth.backends.ModelBackend"
settings.AUTHENTICATION_BACKENDS = [*settings.AUTHENTICATION_BACKENDS, STOCK_BACKEND]

# ruff: noqa: E402 - models want their settings first
from django.core.cache import cache
from django.core.handlers.wsgi import WSGIHandler
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import path
from rest_framework.generics import ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BooleanField, CharField, ModelSerializer
from rest_framework.views import APIView

from config.urls import handler400, handler403, handler404, handler500  # noqa: F401 - Django reads them of this module
from config.urls import urlpatterns as site_urls
from guilds.models import UserGuildMembership


def floor(request: HttpRequest) -> HttpResponse:
    """Loads the session and the user, and has nothing to say."""
    return HttpResponse(str(request.user.pk))


class UsualSerializer(ModelSerializer[UserGuildMembership]):
    """The same words as ours."""

    id = CharField(source="guild_id")
    permissions = CharField()
    can_manage = BooleanField()

    class Meta:
        model = UserGuildMembership
        fields: ClassVar[list[str]] = ["id", "name", "icon", "banner", "owner", "permissions", "can_manage", "features"]


class UsualList(ListAPIView[UserGuildMembership]):
    """The list as the tutorial has it."""

    serializer_class = UsualSerializer

    def get_queryset(self) -> QuerySet[UserGuildMembership]:
        return UserGuildMembership.objects.filter(user=self.request.user.pk)


class UsualCache(APIView):
    """The list as the tutorial has it, and its answer kept for five minutes, whatever happens meanwhile."""

    def get(self, request: Request) -> Response:
        def rows() -> Any:
            return UsualSerializer(UserGuildMembership.objects.filter(user=request.user.pk), many=True).data

        return Response(cache.get_or_set(f"usual:{request.user.pk}", rows, 300))


urlpatterns = [
    path("_bench/floor/", floor),
    path("_bench/usual-drf/", UsualList.as_view()),
    path("_bench/usual-cache/", UsualCache.as_view()),
    *site_urls,
]
application = WSGIHandler()
