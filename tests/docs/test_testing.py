"""The page about tests names the fixtures."""

import re
from pathlib import Path

import pytest
from asgiref.sync import async_to_sync
from django.core.exceptions import SynchronousOnlyOperation

import tests.fixtures
from accounts.models import User

PAGE = (Path(__file__).parents[2] / "docs" / "testing.md").read_text()


def test_every_fixture_is_told() -> None:
    fixtures = [
        thing._get_wrapped_function().__name__.removesuffix("_fixture")
        for thing in vars(tests.fixtures).values()
        if isinstance(thing, pytest.FixtureDef | type(tests.fixtures.sandbox))
    ]

    assert len(fixtures) > 10
    assert [name for name in fixtures if not re.search(rf"`{name}\b", PAGE)] == []


@pytest.mark.django_db
def test_a_database_call_in_an_event_loop_is_found() -> None:
    async def careless() -> bool:
        return User.objects.exists()

    with pytest.raises(SynchronousOnlyOperation):
        async_to_sync(careless)()
