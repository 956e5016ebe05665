"""schemathesis sends valid and invalid requests to the API; the schema must describe every response."""

from collections.abc import Callable

import pytest
import schemathesis
from django.core.wsgi import get_wsgi_application
from django.test import Client
from hypothesis import HealthCheck, Phase, settings
from schemathesis.specs.openapi.checks import ignored_auth

from accounts import access_tokens
from accounts.models import User
from accounts.token_scopes import Scope, for_services
from tests.guilds.rows import sync_bot_guilds

schema = schemathesis.openapi.from_wsgi("/api/schema/", get_wsgi_application())


def bounded(*phases: Phase) -> settings:
    """Use the same cases in each run, so that only the code can cause a new failure."""
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
    """A staff member with 12 servers, for whom every operation succeeds."""
    user = with_list("ada", minutes=10)
    sync_bot_guilds()
    user.is_staff = True
    user.save()
    return user


@pytest.fixture
def token_for(staff: User, service_token: Callable[..., str]) -> Callable[[schemathesis.Case], str]:
    """Return a token for the case: a service's for an operation that only services can use, else the person's."""
    _row, token = access_tokens.create(staff, "schemathesis", Scope, access_tokens.MAX_LIFETIME)
    of_service = service_token(*for_services())

    def token_for(case: schemathesis.Case) -> str:
        accepted = case.operation.definition.raw["security"]
        return token if {"accessToken"} in map(set, accepted) else of_service

    return token_for


@schema.parametrize()
@bounded(Phase.explicit, Phase.generate)  # explicit: schemathesis's own, each parameter at and beyond its bounds
def test_every_answer_to_a_token_is_in_the_schema(
    case: schemathesis.Case, token_for: Callable[[schemathesis.Case], str]
) -> None:
    case.call_and_validate(headers={"Authorization": f"Bearer {token_for(case)}"})


@schema.parametrize()
@bounded(Phase.generate)
def test_every_answer_to_a_session_is_in_the_schema(
    case: schemathesis.Case, staff: User, client_of: Callable[[User], Client]
) -> None:
    cookies = {name: morsel.value for name, morsel in client_of(staff).cookies.items()}

    # The check takes a session that we send for one it made up, and so for one that should not work.
    case.call_and_validate(cookies=cookies, excluded_checks=[ignored_auth])
