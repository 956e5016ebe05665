from collections.abc import Callable

import pytest
from django.core.management import call_command

from accounts.models import User
from tests.fixtures import Sandbox

CHESS = 1


@pytest.fixture
def chess(sandbox: Sandbox, transactional_db: None) -> int:
    """The id of the chess club, which ada owns, grace manages and eve is a member of. The bot is there."""
    club = {"id": str(CHESS), "name": "Chess club", "bot": True}
    sandbox.person("ada", guilds=[club | {"owner": True}])
    sandbox.person("grace", guilds=[club | {"permissions": "32"}])
    sandbox.person("eve", guilds=[club | {"permissions": "0"}])
    call_command("sync_bot_guilds")
    return CHESS


@pytest.fixture
def ada(chess: int, with_list: Callable[..., User]) -> User:
    return with_list("ada", minutes=10)


@pytest.fixture
def grace(chess: int, with_list: Callable[..., User]) -> User:
    return with_list("grace", minutes=10)


@pytest.fixture
def eve(chess: int, with_list: Callable[..., User]) -> User:
    return with_list("eve", minutes=10)
