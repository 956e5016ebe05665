"""What the bench of weight reads from a report of Lighthouse, and when it fails."""

from typing import Any

import pytest

from bench.weight import Figures, fastest, figures, within_budget

GOOD: Figures = {
    "bytes": 60 * 1024,
    "blocking_ms": 150,
    "performance": 95,
    "accessibility": 95,
    "best-practices": 95,
    "seo": 95,
}


def a_report(*requests: dict[str, Any]) -> dict[str, Any]:
    return {
        "audits": {
            "network-requests": {"details": {"items": list(requests)}},
            "total-blocking-time": {"numericValue": 12.3456},
            "largest-contentful-paint": {"numericValue": 900},
            "cumulative-layout-shift": {"numericValue": 0.01},
        },
        "categories": {name: {"score": 0.97} for name in ("performance", "accessibility", "best-practices", "seo")},
    }


def a_request(path: str, kind: str, size: int) -> dict[str, Any]:
    return {"url": f"http://127.0.0.1{path}", "resourceType": kind, "transferSize": size}


def test_icons_count_neither_as_weight_nor_as_requests() -> None:
    found = figures(
        a_report(
            a_request("/servers/", "Document", 100),
            a_request("/static/guildhall.css", "Stylesheet", 20),
            a_request("/static/favicon.svg", "Other", 3),
            a_request("/cdn/icons/1/a.png", "Image", 5000),
            {"url": "data:image/svg+xml,x", "resourceType": "Image", "transferSize": 0},
        )
    )

    assert (found["page"], found["style"], found["script"], found["other"]) == (100, 20, 0, 3)
    assert (found["bytes"], found["icons"], found["requests"]) == (123, 5000, 3)


def test_times_are_rounded_and_scores_are_percentages() -> None:
    found = figures(a_report())

    assert (found["blocking_ms"], found["largest_paint_ms"], found["layout_shift"]) == (12.346, 900, 0.01)
    assert found["seo"] == 97


def test_the_load_with_the_best_score_counts_and_of_these_the_one_that_blocks_least() -> None:
    loads = [{**GOOD, "performance": score, "blocking_ms": ms} for score, ms in ((96, 1), (99, 40), (99, 30), (99, 50))]

    assert fastest(loads) == loads[2]


def test_a_page_at_its_budgets_passes() -> None:
    assert within_budget(GOOD)


@pytest.mark.parametrize(
    ("name", "value"),
    [("bytes", 60 * 1024 + 1), ("blocking_ms", 151), ("performance", 94), ("accessibility", 94), ("seo", 94)],
)
def test_a_page_over_one_budget_fails(name: str, value: float) -> None:
    assert not within_budget({**GOOD, name: value})
