"""`CompiledQuery`: compiled once, and correct for any values."""

import pytest
from django.db import connection
from django.db.models import F, QuerySet
from django.test.utils import CaptureQueriesContext

from accounts.compiled import CompiledQuery
from accounts.models import User

pytestmark = pytest.mark.django_db


def by_discord_and_own_id(own_id: int, discord_id: int) -> "QuerySet[User, tuple[int, int | None]]":
    """In this query the second value comes before the first."""
    return User.objects.filter(discord_id=discord_id).filter(pk=own_id).values_list("pk", "discord_id")


def test_each_value_stands_in_its_own_place() -> None:
    people = [User.objects.create(username=f"person {number}", discord_id=10**18 + number) for number in range(3)]
    query = CompiledQuery(by_discord_and_own_id, int, int)

    for person in people:
        assert query.rows(person.pk, person.discord_id) == [[person.pk, person.discord_id]]
    assert query.rows(people[0].pk, people[1].discord_id) == []


def test_a_query_is_built_once() -> None:
    built: list[int] = []

    def build(own_id: int) -> "QuerySet[User, tuple[int]]":
        built.append(own_id)
        return User.objects.filter(pk=own_id).values_list(F("pk") + 0)

    query = CompiledQuery(build, int)
    with CaptureQueriesContext(connection) as asked:
        query.rows(1)
        query.rows(2)

    assert (len(built), len(asked)) == (1, 2)


def test_text_stands_in_its_place_too() -> None:
    people = [User.objects.create(username=f"person {number}") for number in range(2)]
    query = CompiledQuery(lambda name, pk: User.objects.filter(pk__gte=pk, username=name).values_list("pk"), str, int)

    assert query.rows("person 1", 0) == [[people[1].pk]]
    assert query.rows("person 2", 0) == []


@pytest.mark.parametrize("values", [(1,), (1, 2, 3)])
def test_a_value_too_many_or_too_few_is_an_error(values: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="zip"):
        CompiledQuery(by_discord_and_own_id, int, int).rows(*values)
