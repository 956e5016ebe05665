"""The doctor with a Redis that answers."""

from pytest_django import Settings

from guilds.operations.doctor import site
from tests.config.conftest import RedisServer, needs_redis

pytestmark = needs_redis


def test_redis_and_broker_that_answer_are_fine(settings: Settings, redis: RedisServer) -> None:
    settings.REDIS_URL = settings.CELERY_BROKER_URL = redis.url

    assert [finding.sentence for finding in site.check_redis()] == ["Redis answers."]
    assert [finding.sentence for finding in site.check_broker()] == ["Celery's broker answers."]
