"""The application that `bench.hit` compares the site with: the project with Django's own sessions and authentication.

Besides that, its views only share the rest of the middleware and the web server with the site.
"""

from typing import Any, ClassVar

import django
from django.conf import settings

REPLACED_MIDDLEWARE = {
    "guilds.middleware.SignedInMiddleware": "django.contrib.auth.middleware.AuthenticationMiddleware",
}
STOCK_BACKEND = "django.contrib.auth.backends.ModelBackend"
settings.SESSION_ENGINE = "django.contrib.sessions.backends.db"
settings.AUTHENTICATION_BACKENDS = [STOCK_BACKEND]
settings.MIDDLEWARE = [
    REPLACED_MIDDLEWARE.get(name, name)
    for name in settings.MIDDLEWARE
    if name != "guilds.middleware.GuildListMiddleware"
]
settings.ROOT_URLCONF = "bench.hit_stock"
django.setup()

# ruff: noqa: E402 - models need the settings first
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
from guilds.models import UserGuildMembership


def floor(request: HttpRequest) -> HttpResponse:
    """Load the session and the user, and do nothing else."""
    return HttpResponse(str(request.user.pk))


class UsualSerializer(ModelSerializer[UserGuildMembership]):
    """The same fields as in our API."""

    id = CharField(source="guild_id")
    permissions = CharField()
    can_manage = BooleanField()

    class Meta:
        model = UserGuildMembership
        fields: ClassVar[list[str]] = ["id", "name", "icon", "banner", "owner", "permissions", "can_manage", "features"]


class UsualList(ListAPIView[UserGuildMembership]):
    """The list as in Django REST framework's tutorial."""

    serializer_class = UsualSerializer

    def get_queryset(self) -> QuerySet[UserGuildMembership]:
        return UserGuildMembership.objects.filter(user=self.request.user.pk)


class UsualCache(APIView):
    """The list as in the tutorial, cached for five minutes without invalidation."""

    def get(self, request: Request) -> Response:
        def rows() -> Any:
            return UsualSerializer(UserGuildMembership.objects.filter(user=request.user.pk), many=True).data

        return Response(cache.get_or_set(f"usual:{request.user.pk}", rows, 300))


urlpatterns = [
    path("_bench/floor/", floor),
    path("_bench/usual-drf/", UsualList.as_view()),
    path("_bench/usual-cache/", UsualCache.as_view()),
]
application = WSGIHandler()
