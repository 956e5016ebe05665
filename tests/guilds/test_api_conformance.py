"""schemathesis sends valid and invalid requests to the API; the schema must describe every response."""

import functools
from collections.abc import Callable
from pathlib import Path

import pytest
import schemathesis
import yaml
from django.core.wsgi import get_wsgi_application
from django.test import Client
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import load_all_checks
from schemathesis.generation.feedback import FeedbackSources
from schemathesis.pytest._test_builder import build_operation_test
from schemathesis.python._constants.orchestrator import make_constants_value_source
from schemathesis.schemas import BaseSchema
from schemathesis.specs.openapi.checks import ignored_auth

from accounts import access_tokens
from accounts.models import User
from accounts.token_scopes import Scope, for_services
from tests.guilds.rows import sync_bot_guilds

pytestmark = pytest.mark.thorough

ROOT = Path(__file__).parents[2]
PATHS = yaml.load((ROOT / "docs" / "openapi.yaml").read_text(), yaml.CSafeLoader)["paths"]
OPERATIONS = [f"{method.upper()} {path}" for path, methods in PATHS.items() for method in methods]


@functools.cache
def served() -> BaseSchema:
    return schemathesis.openapi.from_wsgi("/api/schema/", get_wsgi_application())


def try_cases(label: str, check: Callable[[schemathesis.Case], None]) -> None:
    """Check all cases of the operation.

    They are built here. A test with `schema.parametrize()` has them built while tests are collected, which takes
    seconds, and each process of a run would spend these for the few tests that it gets.
    """
    load_all_checks()
    schema = served()
    (operation,) = (found.ok() for found in schema.include(name=label).get_all_operations())
    feedback = FeedbackSources(constants_value_source=make_constants_value_source(schema))
    build_operation_test(
        config=schema.config, operation=operation, test_func=check, given_kwargs={}, feedback=feedback
    )()


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


@pytest.mark.django_db(transaction=True)
def test_every_operation_of_the_schema_is_tried() -> None:
    assert {operation.ok().label for operation in served().get_all_operations()} == set(OPERATIONS)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_answer_to_a_token_is_in_the_schema(
    operation: str, token_for: Callable[[schemathesis.Case], str]
) -> None:
    @bounded(Phase.explicit, Phase.generate)  # explicit: schemathesis's own, each parameter at and beyond its bounds
    def check(case: schemathesis.Case) -> None:
        case.call_and_validate(headers={"Authorization": f"Bearer {token_for(case)}"})

    try_cases(operation, check)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_answer_to_a_session_is_in_the_schema(
    operation: str, staff: User, client_of: Callable[[User], Client]
) -> None:
    @bounded(Phase.generate)
    def check(case: schemathesis.Case) -> None:
        cookies = {name: morsel.value for name, morsel in client_of(staff).cookies.items()}

        # The check takes a session that we send for one it made up, and so for one that should not work.
        case.call_and_validate(cookies=cookies, excluded_checks=[ignored_auth])

    try_cases(operation, check)
