"""The counts of served lists from several processes: nothing is counted twice, and only a killed one's are lost."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db.models import Sum

from bench.sites import Site, start_all, stop_all
from guilds.models import ServingMinute
from tests.engine.conftest import Fleet, Reader, eventually

pytestmark = pytest.mark.thorough

NewSites = Callable[[str], list[Site]]


@pytest.fixture
def two_sites(fleet: Fleet, new_site: Callable[..., Site]) -> Iterator[NewSites]:
    started: list[Site] = []

    def two_sites(every: str) -> list[Site]:
        started.extend(new_site(f"counting-{name}", SERVING_FLUSH_SECONDS=every) for name in "ab")
        start_all(started)
        return started

    yield two_sites
    stop_all(started)


def counted() -> dict[str, Any]:
    return ServingMinute.objects.aggregate(**{name: Sum(name, default=0) for name in ("fresh", "stale", "refused")})


def test_a_process_that_is_stopped_writes_down_what_it_served(
    two_sites: NewSites, join: Callable[..., Reader], fleet: Fleet
) -> None:
    sites = two_sites("3600")
    fresh, stale, expired = join(minutes=10), join("linus", hours=5), join("grace", hours=30)
    fleet.sandbox.mood("outage")

    replies = [reader.get(site).status for site in sites for reader in (fresh, fresh, stale, expired)]
    nothing_yet = counted()
    stop_all(sites)

    assert replies == [200, 200, 200, 503] * 2
    assert nothing_yet == {"fresh": 0, "stale": 0, "refused": 0}
    assert counted() == {"fresh": 4, "stale": 2, "refused": 2}
    assert ServingMinute.objects.count() == 2
    asked = ServingMinute.objects.aggregate(failed=Sum("failed"), minutes=Sum("within_15_minutes"))
    assert asked == {"failed": fleet.asked(), "minutes": 4}


def test_a_process_writes_down_what_it_served_while_it_runs(two_sites: NewSites, join: Callable[..., Reader]) -> None:
    sites = two_sites("1")
    ada = join(minutes=10)

    for site in sites * 2:
        ada.get(site)

    eventually(lambda: counted()["fresh"] == 4, "both have written")
    for site in sites:
        site.kill()
    assert counted()["fresh"] == 4
