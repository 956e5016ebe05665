"""A forgotten migration is named, and a page that needs it fails with a 500 and a traceback."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.apps import apps
from django.core.management import call_command
from django.db import connection, models
from django.db.migrations.recorder import MigrationRecorder
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.urls import path
from pytest_django import Settings
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.models import User
from config.urls import handler500  # noqa: F401 - read by Django of this module
from config.urls import urlpatterns as site_urls
from guilds.decorators import guild_required
from guilds.management.commands import runserver
from guilds.middleware import GuildRequest
from guilds.models import GuildPreference
from guilds.operations import migrations
from guilds.permissions import InGuild, ThrottledFirst


@pytest.fixture
def new_model() -> Iterator[type[models.Model]]:
    """A model of `guilds` that no migration knows."""

    class Forgotten(models.Model):
        class Meta:
            app_label = "guilds"

        def __str__(self) -> str:
            return "forgotten"

    yield Forgotten
    del apps.all_models["guilds"]["forgotten"]
    apps.clear_cache()


def warnings_of(capsys: pytest.CaptureFixture[str]) -> str:
    runserver.Command(no_color=True).check_migrations()
    return capsys.readouterr().err


def test_nothing_is_missing() -> None:
    assert migrations.unmade() == []


@pytest.mark.django_db
def test_a_database_of_a_newer_version_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    recorder = MigrationRecorder(connection)
    recorder.record_applied("guilds", "9999_from_the_future")
    # An app that was removed from the site.
    recorder.record_applied("polls", "0001_initial")

    assert migrations.unknown(connection) == ["guilds.9999_from_the_future"]
    call_command("migrate", verbosity=0)
    assert "The database is from a newer version: it has guilds.9999_from_the_future, which" in capsys.readouterr().err


@pytest.mark.django_db
def test_a_model_without_a_migration_is_named(
    new_model: type[models.Model], capsys: pytest.CaptureFixture[str]
) -> None:
    assert "without a migration in guilds; run ./run manage makemigrations guilds, then" in warnings_of(capsys)

    call_command("migrate", verbosity=0)
    assert "without a migration in guilds" in capsys.readouterr().err


@pytest.mark.django_db
def test_an_unapplied_migration_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert warnings_of(capsys) == ""
    latest = MigrationRecorder(connection).migration_qs.filter(app="guilds").order_by("-name")[0]
    latest.delete()

    assert warnings_of(capsys) == "Migrations have not been applied in guilds; run ./run manage migrate.\n"


@guild_required
def page(request: GuildRequest, guild_id: int) -> HttpResponse:
    return HttpResponse(GuildPreference.objects.extra(where=["no_such_column = 1"]).count())


def table(request: HttpRequest) -> HttpResponse:
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM no_such_table")
    return HttpResponse()


class Endpoint(ThrottledFirst):
    permission_classes = (InGuild,)

    def get(self, request: Request, guild_id: int) -> Response:
        return Response(page.__wrapped__(request, guild_id))  # type: ignore[attr-defined]  # set by functools.wraps


urlpatterns: list[Any] = [
    *site_urls,
    path("mine/<int:guild_id>/", page),
    path("mine/table/", table),
    path("api/mine/<int:guild_id>/", Endpoint.as_view()),
]


@pytest.fixture
def browser(
    with_list: Callable[..., User], client_of: Callable[[User], Client], sandbox: Any, settings: Settings
) -> Client:
    settings.ROOT_URLCONF = __name__
    sandbox.person("ada", guilds=[{"id": "1", "owner": True}])
    client = client_of(with_list("ada"))
    client.raise_request_exception = False
    return client


@pytest.mark.parametrize("address", ["/mine/1/", "/mine/table/", "/api/mine/1/"])
def test_a_page_whose_statement_fails_is_a_500_with_a_traceback(
    address: str, browser: Client, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    response = browser.get(address)

    assert response.status_code == 500
    assert "Retry-After" not in response.headers
    assert [record.exc_info is not None for record in caplog.records if record.name == "django.request"] == [True]
    settings.DEBUG = True
    assert "no_such_" in browser.get(address).content.decode()
