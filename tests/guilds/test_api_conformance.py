"""schemathesis asks the API what the schema allows, and what it doesn't; the schema must name each answer."""

from collections.abc import Callable

import pytest
import schemathesis
from django.core.wsgi import get_wsgi_application
from django.test import Client
from hypothesis import HealthCheck, Phase, settings
from schemathesis.specs.openapi.checks import ignored_auth

from accounts import access_tokens
from accounts.access_tokens import Scope
from accounts.models import User

schema = schemathesis.openapi.from_wsgi("/api/schema/", get_wsgi_application())


def bounded(*phases: Phase) -> settings:
    """The same cases at each run, so that a failure is the code's."""
    return settings(
        max_examples=8,
        derandomize=True,
        database=None,
        deadline=None,
        phases=phases,
        # A case asks a real sandbox now and then, and fixtures are meant to last for all cases.
        suppress_health_check=list(HealthCheck),
    )


@pytest.fixture
def staff(with_list: Callable[..., User]) -> User:
    """Somebody with 12 servers for whom every operation has an answer."""
    user = with_list("ada", minutes=10)
    user.is_staff = True
    user.save()
    return user


@pytest.fixture
def token(staff: User) -> str:
    _row, token = access_tokens.create(staff, "schemathesis", Scope, access_tokens.LONGEST_LIFE)
    return token


@schema.parametrize()
@bounded(Phase.explicit, Phase.generate)  # explicit: schemathesis's own, each parameter at and beyond its bounds
def test_every_answer_to_a_token_is_in_the_schema(case: schemathesis.Case, token: str) -> None:
    case.call_and_validate(headers={"Authorization": f"Bearer {token}"})


@schema.parametrize()
@bounded(Phase.generate)
def test_every_answer_to_a_session_is_in_the_schema(
    case: schemathesis.Case, staff: User, client_of: Callable[[User], Client]
) -> None:
    cookies = {name: morsel.value for name, morsel in client_of(staff).cookies.items()}

    # The check takes a session that we send for one it made up, and so for one that should not work.
    case.call_and_validate(cookies=cookies, excluded_checks=[ignored_auth])
